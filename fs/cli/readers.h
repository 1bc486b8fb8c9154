/* SPDX-License-Identifier: MIT */
/* readers.h - which programs cause which transfers.
 *
 *     readers_begin -> readers_end     around each read that has to wait for bytes
 *     readers_list                     who they were
 *
 * Only reads that wait are counted. What is here already is read without anybody asking, by
 * passthrough even without this process knowing, and such a read costs nothing for this.
 *
 * A program is a process and its name at that time: one that starts another in its place is two. The
 * kernel tells the thread; whose it is and what it is called is read from /proc, at most once a second a
 * thread, and without the lock. What is in another pid namespace, or has ended meanwhile, has no name.
 *
 * Bytes are those that came over the wire, each told once, to the read that was waiting for them
 * (transfer.h, `fresh`). A file that is fetched whole for a few bytes of it counts whole: that is the
 * point. What comes with nobody waiting (prefetch, the rest of a file) is nobody's.
 *
 * The last READERS_MAX programs are kept. Who is left out is summed up: readers_list, ret_others.
 *
 * Threads: any. One lock, never held over I/O. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "cache/key.h"

#define READERS_MAX 64
#define READER_NAME_SIZE 16 /* as the kernel's, which cuts it there */

struct readers;

/* Between begin and end. */
struct reader_ticket {
    unsigned index;
    uint64_t serial; /* of who had the place then */
};

struct reader_facts {
    pid_t pid; /* 0: not of our pid namespace */
    char name[READER_NAME_SIZE];
    unsigned waiting; /* reads, now */
    uint64_t reads;   /* that waited, ever; those waiting included */
    uint64_t bytes;
    uint64_t last_unix;  /* of the last of them */
    struct blob_key key; /* of what it read then */
};

int readers_new(struct readers **ret_readers);
void readers_free(struct readers *readers); /* NULL is allowed */

/* thread: as the kernel says it, 0 if it is none of our namespace. */
void readers_begin(struct readers *readers, pid_t thread, const struct blob_key *key,
                   struct reader_ticket *ret_ticket);
/* Returns the process, 0 if it is not known any more. */
pid_t readers_end(struct readers *readers, const struct reader_ticket *ticket, uint64_t bytes);

/* Who they are, the latest first. ret_facts: READERS_MAX. ret_others: reads and bytes of those that are
 * not kept any more. */
size_t readers_list(struct readers *readers, struct reader_facts *ret_facts,
                    struct reader_facts *ret_others);
