/* SPDX-License-Identifier: MIT */
/* room.h (private to cache/) - the account that budget.h's bounds are held against.
 *
 * Two sums, in bytes:
 *
 *     open   in partials and drafts that this process has open: exact, since every write of theirs
 *            goes through room_write
 *     rest   blobs, and partials and drafts that nobody has open
 *
 * Counting walks the directories while the store is at work. What comes into `rest` meanwhile, or is
 * about to leave it, may or may not be seen by the walk, so it is added to what was seen: the result
 * is never too little, and exact when nothing happened. That needs an order:
 *
 *     open -> rest    accounted before the key leaves the list of partials in use
 *     rest -> open    accounted before the key's entry is open there
 *     rest -> gone    announced before the unlink, accounted after it
 *
 * Threads: any. The account's mutex is never held over I/O, nor when the judge is asked. One thread
 * evicts at a time; the others wait for it and look again. So nobody may hold a claim when he asks
 * for room. In a reader nothing is accounted and nothing evicted. */
#pragma once

#include "cache/budget.h"

struct room;

int room_new(struct room **ret_room);
void room_free(struct room *room);

/* Before anybody has counted: what trust tells of blobs, and the partials, which are few. */
void room_assume(struct store *store);

/* Writes all of it, after making room, and counts it as open; once more after an eviction if the
 * file system has no space. On error nothing is counted. */
int room_write(struct store *store, int fd, const void *data, size_t size, uint64_t offset);

/* Did r say that the file system has no space? Then evicts; true: it may be tried once more. What is
 * listed only goes where that can help: not while the file system has plenty of room all the same, nor
 * for a minute after it was seen not to help.
 *
 *     if (room_retry(store, r))
 *         r = room_retried(store, the same again); */
bool room_retry(struct store *store, int r);
int room_retried(struct store *store, int r);

/* Moves between the sums. */
void room_add_open(struct store *store, uint64_t bytes); /* what waited is opened */
void room_end_open(struct store *store, uint64_t bytes); /* what was open is gone */
void room_put_aside(struct store *store, uint64_t bytes);

/* What waited, or a blob: before its name is removed, and after, with the bytes that went. */
void room_will_end(struct store *store, uint64_t bytes);
void room_has_ended(struct store *store, uint64_t bytes, uint64_t gone);

/* Something went of which nobody knows how much it was: the account may say too much until it is
 * counted again, which whoever finds no room does. */
void room_doubt(struct store *store);

/* --- between budget.c and evict.c --- */

struct room_need {
    uint64_t least; /* bytes that must go; 0: the bounds hold */
    uint64_t goal;  /* bytes that should go while we are at it */
    bool orphans;   /* nothing but what nobody refers to */
};

/* Removes what may go, in the order of budget.h. -ENOSPC when that is less than the least: then
 * nothing was removed. */
int evict(struct store *store, const struct budget *budget, const struct room_need *need,
          uint64_t *ret_freed);

void room_note_eviction(struct store *store, uint64_t bytes, bool blob);
