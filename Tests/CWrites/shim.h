/* The ways in which a program may write: pwritev2, libaio and io_uring by their system calls, which Swift cannot import.
   Each writes once, waits for the answer, and returns the count or a negative error number. */
#ifndef FLATCOW_CWRITES_H
#define FLATCOW_CWRITES_H

#include <errno.h>
#include <linux/aio_abi.h>
#include <linux/io_uring.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

long syscall(long number, ...);

#define FLATCOW_RWF_DSYNC 2
#define FLATCOW_RWF_SYNC 4

static inline long flatcow_pwritev2(int fd, const void *bytes, unsigned count, long offset, int flags) {
  struct iovec part = {(void *)bytes, count};
  long result = syscall(SYS_pwritev2, fd, &part, 1, offset, 0, flags);
  return result < 0 ? -errno : result;
}

static inline long flatcow_fallocate(int fd, int mode, long offset, long length) {
  long result = syscall(SYS_fallocate, fd, mode, offset, length);
  return result < 0 ? -errno : result;
}

static inline long flatcow_aio_write(int fd, const void *bytes, unsigned count, long offset, int flags) {
  aio_context_t context = 0;
  struct iocb call = {0}, *calls = &call;
  struct io_event event = {0};
  call.aio_lio_opcode = IOCB_CMD_PWRITE;
  call.aio_rw_flags = flags;
  call.aio_fildes = fd;
  call.aio_buf = (uintptr_t)bytes;
  call.aio_nbytes = count;
  call.aio_offset = offset;
  if (syscall(SYS_io_setup, 1, &context) < 0) return -errno;
  long result = syscall(SYS_io_submit, context, 1L, &calls);
  if (result == 1) do {
    result = syscall(SYS_io_getevents, context, 1L, 1L, &event, NULL);
  } while (result < 0 && errno == EINTR);
  result = result == 1 ? event.res : -errno;
  syscall(SYS_io_destroy, context);
  return result;
}

/* Whether this kernel lets this process use io_uring. */
static inline int flatcow_has_uring(void) {
  struct io_uring_params ring = {0};
  int fd = syscall(SYS_io_uring_setup, 1, &ring);
  return fd >= 0 && close(fd) == 0;
}

static inline long flatcow_uring_write(int fd, const void *bytes, unsigned count, long offset, int flags) {
  struct io_uring_params ring = {0};
  int ring_fd = syscall(SYS_io_uring_setup, 1, &ring);
  if (ring_fd < 0) return -errno;
  size_t queue_size = ring.sq_off.array + ring.sq_entries * sizeof(unsigned);
  size_t done_size = ring.cq_off.cqes + ring.cq_entries * sizeof(struct io_uring_cqe);
  char *queue = mmap(0, queue_size, PROT_READ | PROT_WRITE, MAP_SHARED, ring_fd, IORING_OFF_SQ_RING);
  char *done = mmap(0, done_size, PROT_READ | PROT_WRITE, MAP_SHARED, ring_fd, IORING_OFF_CQ_RING);
  struct io_uring_sqe *entry = mmap(0, sizeof *entry, PROT_READ | PROT_WRITE, MAP_SHARED, ring_fd, IORING_OFF_SQES);
  long result = -ENOMEM;
  if (queue != MAP_FAILED && done != MAP_FAILED && entry != MAP_FAILED) {
    entry->opcode = IORING_OP_WRITE;
    entry->fd = fd;
    entry->addr = (uintptr_t)bytes;
    entry->len = count;
    entry->off = offset;
    entry->rw_flags = flags;
    *(unsigned *)(queue + ring.sq_off.array) = 0;
    __atomic_store_n((unsigned *)(queue + ring.sq_off.tail), 1, __ATOMIC_RELEASE);
    unsigned submitted = 1;
    while (__atomic_load_n((unsigned *)(done + ring.cq_off.tail), __ATOMIC_ACQUIRE) == 0) {
      if (syscall(SYS_io_uring_enter, ring_fd, submitted, 1, IORING_ENTER_GETEVENTS, NULL, 0) >= 0) submitted = 0;
    }
    result = ((struct io_uring_cqe *)(done + ring.cq_off.cqes))->res;
  }
  munmap(queue, queue_size);
  munmap(done, done_size);
  munmap(entry, sizeof *entry);
  close(ring_fd);
  return result;
}

#endif
