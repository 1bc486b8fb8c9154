/* SPDX-License-Identifier: MIT */
/* fault.h - makes the N-th call of a kind fail, in a program that knows nothing of it.
 *
 *     fault.c defines the C library's calls (open, pwrite, malloc, ...) once more. Linked into a test
 *     program or preloaded into agnesfs (libfault.so), its definitions come before the library's.
 *
 *     arm: fill in a struct fault, set armed last. The calls of that kind are counted from then on;
 *     number `at` fails with `error`, and where it is persistent all that come after it.
 *     disarm: armed = 0. seen and hits tell what happened.
 *
 * The struct lies in shared memory, so that whoever arms it need not be the program: fault_use in
 * the program itself, or the file that AGNESFS_FAULT names, at its full size.
 *
 * Which calls count: those that work on regular files and folders (not on sockets, pipes or
 * /dev/fuse), by descriptor or by a path that is not below /dev, /proc or /sys; those that make
 * descriptors of any sort; and, as one kind, whatever allocates. A call that fails has done nothing,
 * save close(2), which has always closed.
 *
 * A persistent EINTR lets one call of four through: a storm of signals, since something that is
 * interrupted for ever may wait for ever. A short call (error FAULT_SHORT) moves half the bytes. A
 * write that is lost (FAULT_LOST) claims to have been made: what no program can notice, and so the
 * proof that whoever looks at the bytes does.
 *
 * Threads: arm and disarm while nothing else changes the struct; the rest from any thread. */
#pragma once

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define FAULT_SHORT (-1)
#define FAULT_LOST (-2)

/* It does not agree with itself about this one: */
/* clang-format off */
#define FAULT_CALLS(X)                                                                             \
    X(none) X(malloc)                                                                              \
    X(open) X(close) X(read) X(pread) X(write) X(pwrite) X(stat) X(fstat) X(access) X(fsync)       \
    X(fdatasync) X(ftruncate) X(fchmod) X(rename) X(link) X(unlink) X(mkdir) X(opendir)            \
    X(readdir) X(statvfs) X(flock) X(mmap) X(utimens) X(realpath) X(descriptor)
/* clang-format on */

#define FAULT_ENUM(name) FAULT_##name,
enum fault_call { FAULT_CALLS(FAULT_ENUM) FAULT_KINDS };

struct fault {
    atomic_uint armed;
    atomic_uint call; /* enum fault_call; none: count only */
    atomic_int error; /* errno, or FAULT_SHORT */
    atomic_uint at;   /* 1 is the first */
    atomic_uint persistent;
    atomic_uint seen; /* calls of that kind since it was armed */
    atomic_uint hits; /* of them, those that failed */
    atomic_uint counts[FAULT_KINDS];
};

/* From now on this one counts. NULL: none. */
void fault_use(struct fault *fault);

/* Arms it anew, all counts 0. */
void fault_arm(struct fault *fault, enum fault_call call, int error, unsigned at, int persistent);

const char *fault_name(enum fault_call call);

/* --- blocks of memory that are in use --- */

/* Remembers, from now on, each block that is allocated by anybody but the dynamic linker. */
void fault_track(void);

/* How many of those are still there; prints where each came from to stderr, the whole way if
 * AGNESFS_FAULT_FRAMES is set. What libcrypto asked for does not count: it has caches. */
unsigned fault_leaks(void);
