/* Constants and ioctls of Linux that Swift cannot import from Glibc, as values and one-line calls.
   No logic belongs here. */
#ifndef FLATCOW_CLINUX_H
#define FLATCOW_CLINUX_H

/* What Glibc's module leaves out of fcntl.h, since it is imported without _GNU_SOURCE. */
#define FLATCOW_SEEK_DATA 3
#define FLATCOW_SEEK_HOLE 4
#define FLATCOW_FALLOC_KEEP_SIZE 0x01
#define FLATCOW_FALLOC_PUNCH_HOLE 0x02
#define FLATCOW_FALLOC_ZERO_RANGE 0x10
#define FLATCOW_F_OFD_GETLK 36
#define FLATCOW_F_OFD_SETLK 37
#define FLATCOW_F_OFD_SETLKW 38

long syscall(long number, ...);
int fallocate(int fd, int mode, long offset, long length);
long copy_file_range(int in, long *in_offset, int out, long *out_offset, unsigned long count, unsigned int flags);

#endif
