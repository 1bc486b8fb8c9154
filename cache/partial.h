/* SPDX-License-Identifier: MIT */
/* partial.h - a blob of a known key that is not all here yet.
 *
 *     partial_begin -> partial_write, partial_hash... -> partial_commit    a blob
 *                                                     -> partial_put       the bytes so far are kept
 *                                                     -> partial_fail      they were not as promised
 *     partial_find  -> partial_read                   -> partial_put       readers of what is here
 *
 * On disk: partial/<key> is a sparse file of the blob's size, partial/<key>.map says what of it is
 * here. A block of PARTIAL_BLOCK bytes is filled from its beginning; the map has, for each, how many
 * bytes are here and their XXH3-64. So an entry proves itself: one that became durable before its
 * data (a power cut), a flipped bit, a foreign map are bytes that do not fit their sum, and count as
 * not here. What was read from disk is proved before its first byte is served or hashed.
 * A blob of one block gets a map only when its partial is put aside.
 *
 * One object a key and store, shared by its one filler and any number of readers, counted by
 * references; when the last one is put, data and map stay on disk, unless there is nothing in them.
 *
 * MD5 and XXH3 run along where partial_hash is told of what was written, in order; all else is read
 * back, at most PARTIAL_SLICE bytes a call of partial_commit, so that whoever calls can do something
 * else in between. The end is writer.h's: length and digest -> fchmod 0400 -> fdatasync -> rename without
 * replacing; descriptors and readers of the partial go on as those of the blob.
 *
 * Threads: begin, find, ref, put, read and the questions from any thread. Write, the tag and flush from
 * one thread at a time; hash from one, which may be another, beside them; commit and fail while none of
 * these runs. The lock of the store's list of partials guards that list, each
 * partial's own lock its map; neither is held over I/O, nor both together.
 * A STORE_READER may find and read: it looks the map up on disk again where a block seems missing,
 * since another process may be filling it.
 *
 * All references are put before store_close.
 *
 * Errors: -ENOENT no such partial, -EAGAIN not here (yet), -EBADMSG given up: not the promised bytes,
 * -EFBIG beyond the size, -EINVAL not where a block goes on, -EROFS, -ENOSPC (after eviction,
 * budget.h), what the system says. */
#pragma once

#include "cache/store.h"

#define PARTIAL_BLOCK ((uint64_t)1 << 20)
#define PARTIAL_SLICE ((uint64_t)32 << 20)

/* An opaque string (the strong ETag) kept with the bytes. NUL included; no control characters. */
#define PARTIAL_TAG_SIZE 256

struct partial;

/* The key's partial, made if there is none on disk or in use. -EROFS for readers. */
int partial_begin(struct store *store, const struct blob_key *key, struct partial **ret_partial);

/* The key's partial, if there is one. In a writer, the same object that partial_begin gives. */
int partial_find(struct store *store, const struct blob_key *key, struct partial **ret_partial);

/* At most max of those in use in this process at this moment, for the caller to put. */
size_t partial_list(struct store *store, struct partial **ret_partials, size_t max);

struct partial *partial_ref(struct partial *partial);
void partial_put(struct partial *partial); /* NULL is allowed */
void partial_putp(struct partial *const *partial);

const struct blob_key *partial_key(const struct partial *partial);

/* How many bytes of a block are here, from its beginning. As the map says: not proved yet. */
uint64_t partial_filled(struct partial *partial, uint32_t block);
uint32_t partial_blocks(const struct partial *partial);
bool partial_has(struct partial *partial, uint64_t offset, uint64_t size);
uint64_t partial_bytes(struct partial *partial); /* here, all blocks together */

/* All of the range or -EAGAIN. -EBADMSG for ever once the partial was given up. Goes on after the
 * commit. */
int partial_read(struct partial *partial, void *buffer, size_t size, uint64_t offset);

/* Goes on where the blocks it touches end; may span several. After an error nothing of it counts.
 * -EINVAL also where the block's beginning, from before this process, is found rotten just now: ask
 * partial_filled again. */
int partial_write(struct partial *partial, uint64_t offset, const void *data, size_t size);

/* The same, past the page cache where the file system can and the data, the offset and the size are
 * multiples of PARTIAL_ALIGN: for what nobody is about to read. It saves a copy, which costs half as
 * much as the MD5, and leaves in memory what somebody is using. */
#define PARTIAL_ALIGN 4096
int partial_write_direct(struct partial *partial, uint64_t offset, const void *data, size_t size);

/* Takes bytes that partial_write has taken along into the digest, if they are those that it waits for.
 * What is left out costs a second reading, and nothing else: so does a failure. */
void partial_hash(struct partial *partial, uint64_t offset, const void *data, size_t size);

/* "" if none was set. Good until the next partial_set_tag, so for whoever calls that. The others may
 * ask whether there is one. */
const char *partial_tag(const struct partial *partial);
bool partial_tagged(struct partial *partial);
int partial_set_tag(struct partial *partial, const char *tag);

/* Data, then the map, on disk. */
int partial_flush(struct partial *partial);

/* Hashes what has not been, and ends in the blob. -EINPROGRESS: call again. -EAGAIN: blocks are
 * missing, perhaps some that seemed to be here; what was hashed up to the first of them stays hashed,
 * so whoever has time may call early. -EBADMSG: it is not the key's content; given up, as after
 * partial_fail and after a failed sync (-EIO...). -ENOSPC and other errors of publishing: as before,
 * may be called again. 0: the blob is there; no partial_find finds the object any more. */
int partial_commit(struct partial *partial);

/* The bytes are given up and the files removed; whoever holds a reference reads -EBADMSG. The next
 * partial_begin makes a new one. */
void partial_fail(struct partial *partial);
