/* libfuse3's low-level interface, version 3.14: one number that decides which declarations exist. */
#define FUSE_USE_VERSION 314
#include <fuse3/fuse_lowlevel.h>
/* The kernel's own structures, for what libfuse 3.14 has no name for. */
#include <linux/fuse.h>
