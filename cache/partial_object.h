/* SPDX-License-Identifier: MIT */
/* partial_object.h (private to cache/) - a partial's insides.
 *
 *     partial.c         its life: opened once a key, shared, put aside
 *     partial_write.c   bytes in
 *     partial_read.c    bytes out, and the proof before them
 *     partial_commit.c  its end: flush, hash, publish, or give up
 *
 * What may be believed of a block:
 *
 *     filled  proved   by
 *     0       -        nobody: not here
 *     n       no       the map says so: hashed before its first byte is served, hashed or continued
 *     n       yes      this process wrote or hashed these n bytes
 *
 * Three facts hold it together. Blocks that end below `hashed` are proved. Only an unproved block is
 * dropped by a reader, so the filler is never surprised where it writes. Each drop is counted, so a
 * reader sees that what it has just read was given up meanwhile, and looks again. */
#pragma once

#include <pthread.h>

#include "cache/blob.h"
#include "cache/partial.h"
#include "cache/partial_map.h"
#include "cache/partials.h"

/* Blocks that are being filled at the same moment. More work too, each at the price of reading its
 * block back whenever it goes on. */
#define STRANDS 8

/* The running sum of a block that is not full yet. */
struct strand {
    struct checksum *sum;
    uint32_t block;
    uint32_t filled; /* bytes in sum; 0: free */
    uint64_t used;   /* the higher, the later */
};

enum partial_state {
    PARTIAL_FILLING,
    PARTIAL_COMMITTED,
    PARTIAL_GIVEN_UP,
};

struct partial {
    struct listed listed; /* first */
    struct store *store;
    bool writable; /* false: a reader's, another process may be filling it */
    int fd;
    int map; /* -1: none yet. Made by the filler or by the last holder */

    /* Of whoever hashes. What is hashed has been written before. */
    struct digest *digest; /* of the first `hashed` bytes */
    uint64_t hashed;

    int direct;    /* the data again, past the page cache; -1: not opened */
    bool indirect; /* that can not be had here */

    /* The filler's. The tag changes under the lock, for partial_tagged. */
    char tag[PARTIAL_TAG_SIZE];
    struct strand strands[STRANDS];
    uint64_t strand_uses;

    pthread_mutex_t lock; /* guards all below */
    struct block *blocks;
    uint64_t bytes; /* sum of filled */
    uint32_t drops;
    enum partial_state state;
};

static inline const struct blob_key *key_of(const struct partial *partial)
{
    return &partial->listed.key;
}

static inline uint32_t block_at(uint64_t offset)
{
    return (uint32_t)(offset / PARTIAL_BLOCK);
}

static inline uint32_t within_block(uint64_t offset)
{
    return (uint32_t)(offset % PARTIAL_BLOCK);
}

/* The last block that a range, not empty, touches. */
static inline uint32_t last_block(uint64_t offset, uint64_t size)
{
    return block_at(offset + size - 1);
}

/* How far into the block the range reaches. */
static inline uint32_t reach(uint32_t block, uint64_t offset, uint64_t size)
{
    uint64_t end = offset + size - block * PARTIAL_BLOCK;

    return (uint32_t)(end < PARTIAL_BLOCK ? end : PARTIAL_BLOCK);
}

static inline bool in_bounds(const struct partial *partial, uint64_t offset, uint64_t size)
{
    return offset <= key_of(partial)->size && size <= key_of(partial)->size - offset;
}

/* For the filler: reads the block's bytes into a buffer of PARTIAL_BLOCK and proves them, again
 * where they have been proved. 0, and how many they are.
 * -EAGAIN: none, or they did not fit and are dropped. */
int partial_prove(struct partial *partial, uint32_t block, void *buffer, uint32_t *ret_filled);

/* Of a reader: takes over what the map on disk says of blocks that are not full. */
void partial_refresh(struct partial *partial, uint32_t first, uint32_t last);

/* The digest has to begin again. */
int partial_rewind(struct partial *partial);

/* Makes the map of a partial that has none yet. */
int partial_make_map(struct partial *partial);

/* Unlinks the files. */
void partial_unlink(const struct partial *partial);

/* Filled bytes of a partial on disk that nobody holds; 0 when there is none to be had. */
uint64_t partial_measure(struct store *store, const struct blob_key *key);

/* The same, whoever holds it. */
uint64_t partial_usage(struct store *store, const struct blob_key *key);

/* Removes a key's files from partial/, whatever is left of them. -EBUSY: somebody holds it.
 * ret_freed may be NULL. */
int partial_discard(struct store *store, const struct blob_key *key, uint64_t *ret_freed);

/* Aborts when the object contradicts itself (AGNESFS_DEBUG). */
void partial_assert(struct partial *partial);
