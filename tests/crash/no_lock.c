/* SPDX-License-Identifier: MIT */
/* no_lock.c - LD_PRELOAD: every flock is granted. So is being the one writer of a cache, to
 * everybody: what test_writers.py must notice. */
#include <sys/file.h>

int flock(int fd, int operation)
{
    (void)fd;
    (void)operation;
    return 0;
}
