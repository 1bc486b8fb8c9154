/* SPDX-License-Identifier: MIT */
/* points.h - the system calls that change a cache, counted, and one of them the last.
 *
 * points.c defines openat, pwrite, renameat and the others that libcache and libsync change files
 * with, in the place of the C library's. So the product needs no hooks, and what is tested is what
 * is built. A call is a point if it works on something in a cache: its name says so ("trust.new",
 * a key, a map), or the descriptor was opened under such a name.
 *
 *     points_share     once, before any fork: what processes leave behind for others
 *     points_begin     in the child; what it does from then on is counted
 *     ... the child dies, or points_end
 *
 * At the point that was asked for the process dies by SIGKILL: before the call, or, where the call
 * writes, in the middle of it, which is what a kill does to a large write. `cut` is called first: a
 * power cut takes the disk along.
 *
 * Lies are the negative controls: a system that does what it should not, for which the tests must
 * fail. Threads: any; the counter is atomic, and which thread dies is as open as in real life. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum lie {
    LIE_NONE,
    LIE_NO_SYNC,  /* nothing is ever synced, nor written past the page cache */
    LIE_IN_PLACE, /* small files are written over, not replaced */
    LIE_TORN,     /* now and then a write says it wrote all, and wrote half */
};

enum { POINT_KINDS = 128, POINT_NAME_SIZE = 40 };

/* "renameat state.tmp", "fsync shard": how often it was done, and how often it was the last. */
struct point_kind {
    char name[POINT_NAME_SIZE];
    uint32_t seen;
    uint32_t last;
};

struct points {
    atomic_uint calls; /* of the last life */
    atomic_uint died;  /* in it: 0 or 1 */
    unsigned lie;      /* enum lie */
    struct point_kind kinds[POINT_KINDS];
};

struct points *points_share(void);

struct point {
    unsigned at;                   /* which call is the last; 0: none */
    const struct point_kind *kind; /* only those of this kind count; NULL: all do */
    bool torn;                     /* writes are cut in the middle */
    void (*cut)(void *arg);        /* may be NULL */
    void *arg;
};

void points_begin(struct points *points, const struct point *point);
void points_end(void);

/* Has the last call been made? What other threads meet from then on says nothing. */
bool points_are_over(void);

/* The kind that was the last call least often; NULL before any was seen. */
const struct point_kind *points_rarest(const struct points *points);
