/* SPDX-License-Identifier: MIT */
/* budget.h - how much a store may hold, and what goes when it is full.
 *
 *     store_open -> store_set_budget -> store_recount, in the background -> store_budget, to see
 *
 * The bounds hold before each write, not after it: partials and writers take room first. Where there
 * is none, blobs and idle partials go until the store is at its low-water mark (nine tenths of the
 * bound): first what nobody refers to, then what was opened longest ago. What is pinned or open never
 * goes. If that is not enough, the write fails with -ENOSPC and nothing else is harmed. A write that
 * the file system refuses with ENOSPC or EDQUOT evicts and is tried once more; where evicting can not
 * help, or was just seen not to, only what nobody refers to goes for that.
 *
 * What counts is the size of blobs and of drafts, and the filled bytes of partials; not the few
 * bytes of maps and lists. Blobs are counted once, by store_recount, which walks the directories:
 * O(blobs), off the path of whoever waits for a mount. Until then the size that the trust records
 * tell is what is known; a write for which that leaves no room counts first. What is committed while
 * it counts may count twice, until it is counted again; at rest it is exact.
 *
 * When a blob was opened last is kept in the trust records, by the second, and saved with them. A
 * partial that nobody in this process holds is as old as its last write; others never go.
 *
 * Threads: any. judge is called without locks, from whatever thread writes; it must not call the
 * store. A blob may be judged twice, the second time just before it goes. Readers evict nothing.
 * Errors: -ENOSPC, -EROFS for readers, else what reading the directories says. */
#pragma once

#include "cache/store.h"

enum keep_class {
    KEEP_UNWANTED, /* nobody refers to it: goes first */
    KEEP_LISTED,   /* goes by age */
    KEEP_PINNED,   /* stays */
    KEEP_OPEN,     /* stays: somebody is reading it, or is about to */
};

struct budget {
    uint64_t cache_size; /* bytes; 0: no bound */
    uint64_t min_free;   /* bytes of the file system that stay free; 0: none */
    enum keep_class (*judge)(void *arg, const struct blob_key *key); /* NULL: all KEEP_LISTED */
    void *arg;
};

/* May be set again at any time. */
void store_set_budget(struct store *store, const struct budget *budget);

struct budget_facts {
    uint64_t used; /* bytes of blobs and partials */
    bool exact;    /* at rest; else it may be less */
    uint64_t cache_size;
    uint64_t min_free;
    uint64_t disk_free;
    uint64_t evicted_blobs; /* ever */
    uint64_t evicted_bytes;
};

void store_budget(struct store *store, struct budget_facts *ret_facts);

/* Counts anew what is there. Blobs that nothing is known of get on record, as not to be believed. */
int store_recount(struct store *store);

/* Evicts until the bounds hold. 0, or -ENOSPC when what may go is not enough: then nothing goes. */
int store_shrink(struct store *store);
