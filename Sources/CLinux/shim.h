/* Constants and ioctls of Linux that Swift cannot import from Glibc, as values and one-line calls.
   No logic belongs here. */
#ifndef FLATCOW_CLINUX_H
#define FLATCOW_CLINUX_H

#include <linux/fs.h>
#include <linux/stat.h>
#include <malloc.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <syslog.h>
#include <time.h>

/* What Glibc's module leaves out of fcntl.h, since it is imported without _GNU_SOURCE. */
#define FLATCOW_O_PATH 010000000
#define FLATCOW_SEEK_DATA 3
#define FLATCOW_SEEK_HOLE 4
#define FLATCOW_FALLOC_KEEP_SIZE 0x01
#define FLATCOW_FALLOC_PUNCH_HOLE 0x02
#define FLATCOW_FALLOC_ZERO_RANGE 0x10
#define FLATCOW_F_OFD_GETLK 36
#define FLATCOW_F_OFD_SETLK 37

long syscall(long number, ...);
int pthread_setname_np(unsigned long thread, const char *name);
int fallocate(int fd, int mode, long offset, long length);
ssize_t preadv2(int fd, const struct iovec *parts, int count, off_t offset, int flags);

/* pread(2) of what is in the page cache: a count, or -1 and errno; EAGAIN where it would wait. */
static inline ssize_t flatcow_read_cached(int fd, void *to, size_t count, long offset) {
  struct iovec part = {to, count};
  return preadv2(fd, &part, 1, offset, 8 /* RWF_NOWAIT */);
}

/* fstat(2) of what the host knows without asking a server, which may hang: 0, or -1 and errno. */
static inline int flatcow_known_status(int fd, struct stat *to) {
  struct statx found;
  if (syscall(SYS_statx, fd, "", 0x1000 /* AT_EMPTY_PATH */ | 0x4000 /* AT_STATX_DONT_SYNC */, 0x7ff, &found)) return -1;
  *to = (struct stat){
    .st_dev = makedev(found.stx_dev_major, found.stx_dev_minor), .st_ino = found.stx_ino, .st_mode = found.stx_mode,
    .st_nlink = found.stx_nlink, .st_rdev = makedev(found.stx_rdev_major, found.stx_rdev_minor),
    .st_size = found.stx_size, .st_blocks = found.stx_blocks,
    .st_mtim = {found.stx_mtime.tv_sec, found.stx_mtime.tv_nsec}};
  return 0;
}

/* Shares the extents of a range of `from` with `to`: 0, or -1 and errno. */
static inline int flatcow_clone_range(int to, long offset, int from, long from_offset, long length) {
  struct file_clone_range range = {from, from_offset, length, offset};
  return ioctl(to, FICLONERANGE, &range);
}

/* futex(2) on a word of this process: sleep while the word is `value` (the time is relative, CLOCK_MONOTONIC), and wake
   up to `count` threads that sleep on it. */
static inline long flatcow_futex_wait(const void *word, unsigned value, long seconds, long nanoseconds) {
  struct timespec time = {seconds, nanoseconds};
  return syscall(SYS_futex, word, 128 /* FUTEX_WAIT_PRIVATE */, value, &time, 0, 0);
}
static inline long flatcow_futex_wake(const void *word, int count) {
  return syscall(SYS_futex, word, 129 /* FUTEX_WAKE_PRIVATE */, count, 0, 0, 0);
}

#define FLATCOW_POSIX_SPAWN_SETSID 0x80
#define FLATCOW_UMOUNT_NOFOLLOW 8

/* A line for the system's log; syslog(3) itself takes a list of arguments. */
static inline void flatcow_syslog(int priority, const char *line) { syslog(LOG_DAEMON | priority, "%s", line); }

/* Every descriptor of this process from `first` on is closed when it executes another program. */
static inline void flatcow_close_all_on_exec(unsigned first) {
  syscall(SYS_close_range, first, ~0U, 4 /* CLOSE_RANGE_CLOEXEC */);
}

/* Gives the calling thread a table of descriptors of its own, without those from `first` on: 0, or -1 and errno. */
static inline int flatcow_unshare_descriptors(unsigned first) {
  return syscall(SYS_close_range, first, ~0U, 2 /* CLOSE_RANGE_UNSHARE */);
}

/* Has the kernel write the dirty pages of a range, and waits for them: 0, or -1 and errno. */
static inline int flatcow_write_back(int fd, long offset, long count) {
  return syscall(SYS_sync_file_range, fd, offset, count, 1 | 2 | 4 /* wait, write, wait */);
}

static inline int flatcow_limit_heaps(int count) { return mallopt(M_ARENA_MAX, count); }

/* PR_SET_IO_FLUSHER for the calling thread and those that it starts: 0, or -1 and errno. */
static inline int flatcow_become_io_flusher(void) { return prctl(57, 1, 0, 0, 0); }

static inline int flatcow_thread_id(void) { return syscall(SYS_gettid); }
static inline int flatcow_signal_thread(int thread, int signal) {
  return syscall(SYS_tgkill, syscall(SYS_getpid), thread, signal);
}

/* memfd_create(2) and flock(2); the numbers are those of linux/memfd.h, of which older headers lack some. */
#define FLATCOW_MFD_CLOEXEC 1
#define FLATCOW_MFD_NOEXEC_SEAL 8
static inline int flatcow_memory_file(const char *name, unsigned flags) { return syscall(SYS_memfd_create, name, flags); }
static inline int flatcow_lock(int fd, int operation) { return syscall(SYS_flock, fd, operation); }

#endif
