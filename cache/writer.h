/* SPDX-License-Identifier: MIT */
/* writer.h - the only way in.
 *
 *     writer_begin -> writer_write... -> writer_commit     the blob exists, complete and verified
 *                                     -> writer_suspend    the bytes so far wait for a resume
 *                                     -> writer_abort      nothing was here
 *
 * All three ends free the writer. Bytes go to partial/<name> and through MD5 and XXH3 in the same
 * pass; commit compares, makes the data durable, and publishes by renaming, never replacing:
 *
 *     length and digest -> fchmod 0400 -> fdatasync -> rename without replacing
 *
 * The rename's durability is store_flush's, once for a whole batch. That the blob is already there,
 * and trusted, is success: same key, same bytes. Anything else under its name is replaced by ours,
 * which is verified.
 *
 * | crash                          | disk shows              | next start                      |
 * |--------------------------------|-------------------------|---------------------------------|
 * | while writing                  | a partial               | resumed, or swept               |
 * | after fdatasync, before rename | a whole partial         | resumed: nothing left to fetch  |
 * | after rename, before flush     | either name             | either is right                 |
 *
 * A failed fsync poisons the file: the kernel may have dropped the pages and will not say so
 * again. Such a partial is removed, never retried.
 *
 * Tag: an opaque string (the ETag) kept beside a suspended partial, so that whoever resumes can
 * insist on the same version.
 *
 * Threads: one writer belongs to one thread; several writers of one store may run at once, under
 * different names. Errors: -EFBIG more bytes than the cap, -EBADMSG commit found other bytes than
 * expected, -EBUSY that name is being written, -EROFS reader store, -EINVAL name or tag,
 * else what the system said. */
#pragma once

#include "cache/store.h"

struct writer;

/* The tag's limit, NUL included. No control characters. */
#define WRITER_TAG_SIZE 256

/* name: [A-Za-z0-9_.-]{1,128}, not "." or "..", not *.tag; cap: the size that must not be passed.
 * With resume, bytes of a suspended partial of that name are taken up (and hashed again); if they
 * can not be, or exceed the cap, the writer starts empty. */
int writer_begin(struct store *store, const char *name, uint64_t cap, bool resume,
                 struct writer **ret_writer);

/* Bytes written so far, resumed ones included: the offset to ask the server for. */
uint64_t writer_size(const struct writer *writer);

/* The tag of the bytes so far, "" if none was set. */
const char *writer_tag(const struct writer *writer);
int writer_set_tag(struct writer *writer, const char *tag);

/* Appends. After an error nothing of it counts: the same write may be tried again (after making
 * room on the disk, say), or restart, suspend, abort. */
int writer_write(struct writer *writer, const void *data, size_t size);

/* The first and the last four bytes written so far say what the file is without parsing it.
 * False when fewer than eight bytes are there. */
bool writer_edges(const struct writer *writer, uint8_t ret_head[static 4],
                  uint8_t ret_tail[static 4]);

/* Forgets all bytes and the tag: the server sent the whole thing again. */
int writer_restart(struct writer *writer);

/* expected: the key the bytes must have; NULL names them by what they are (an xxh key), which is
 * refused with -EBADMSG for bytes resumed after anything but an orderly suspend: nobody could tell
 * whether they are damaged. ret_key may be NULL. Consumes the writer whatever it returns; on error
 * the partial is gone. */
int writer_commit(struct writer *writer, const struct blob_key *expected, struct blob_key *ret_key);

/* Keeps the partial for a later resume, unless it is empty. Consumes the writer. */
void writer_suspend(struct writer *writer);

/* Removes the partial. Consumes the writer; NULL is allowed. */
void writer_abort(struct writer *writer);
