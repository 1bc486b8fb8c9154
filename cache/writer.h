/* SPDX-License-Identifier: MIT */
/* writer.h - the way in for bytes whose key only they can tell: bundles, tables of which the
 * manifest gives no md5 or no size. What has a key comes in through partial.h.
 *
 *     writer_begin -> writer_write... -> writer_commit     the blob exists, complete and verified
 *                                     -> writer_abort      nothing was here
 *
 * Both ends free the writer. Bytes go to a draft, partial/<name>, and through MD5 and XXH3 in the
 * same pass; commit names or compares them, makes the data durable, and publishes by renaming,
 * never replacing:
 *
 *     length and digest -> fchmod 0400 -> fdatasync -> rename without replacing
 *
 * The rename's durability is store_flush's, once for a whole batch. That the blob is already there,
 * and trusted, is success: same key, same bytes. Anything else under its name is replaced by ours,
 * which is verified.
 *
 * | crash                          | disk shows              | next start                      |
 * |--------------------------------|-------------------------|---------------------------------|
 * | while writing                  | a draft                 | swept: it vouches for nothing   |
 * | after fdatasync, before rename | a whole draft           | the same                        |
 * | after rename, before flush     | either name             | either is right                 |
 *
 * A failed fsync poisons the file: the kernel may have dropped the pages and will not say so
 * again. Such a draft is removed, never retried.
 *
 * Threads: one writer belongs to one thread; several writers of one store may run at once, under
 * different names. Errors: -EFBIG more bytes than the cap, -EBADMSG commit found other bytes than
 * expected, -EBUSY that name is being written, -EROFS reader store, -EINVAL name, -ENOSPC (after
 * eviction, budget.h), else what the system said. */
#pragma once

#include "cache/store.h"

struct writer;

/* name: [A-Za-z0-9_.-]{1,128}, not "." or "..", not *.map, and no key; cap: the size that must not
 * be passed. The writer starts empty, whatever lies there. */
int writer_begin(struct store *store, const char *name, uint64_t cap, struct writer **ret_writer);

/* Bytes written so far. */
uint64_t writer_size(const struct writer *writer);

/* Appends. After an error nothing of it counts: the same write may be tried again, or restart,
 * abort. */
int writer_write(struct writer *writer, const void *data, size_t size);

/* The first and the last four bytes written so far say what the file is without parsing it.
 * False when fewer than eight bytes are there. */
bool writer_edges(const struct writer *writer, uint8_t ret_head[static 4],
                  uint8_t ret_tail[static 4]);

/* Forgets all bytes: the server sent the whole thing again. */
int writer_restart(struct writer *writer);

/* expected: the key the bytes must have; NULL names them by what they are (an xxh key). ret_key may
 * be NULL. Consumes the writer whatever it returns; on error the draft is gone. */
int writer_commit(struct writer *writer, const struct blob_key *expected, struct blob_key *ret_key);

/* Removes the draft. Consumes the writer; NULL is allowed. */
void writer_abort(struct writer *writer);
