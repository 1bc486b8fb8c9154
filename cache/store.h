/* SPDX-License-Identifier: MIT */
/* store.h - a bag of verified bytes: key in, read-only descriptor out.
 *
 *     <root>/                   0700, owned by us
 *         _shared/<aa>/<key>    0400, complete and verified; <aa> = first two hex digits of the key
 *         partial/              what is not all here yet (partial.h), what writers fill (writer.h)
 *         trust                 one record a blob: what it looked like when it was verified
 *         clean                 exists only after an orderly store_close
 *         lock                  flock(2), held by the one writer
 *         CACHEDIR.TAG          so that backups leave it out
 *
 * The store has never heard of a table name, a URL or an inode, and it never decides what to keep:
 * sweep.h and budget.h ask.
 *
 * Trust. Bytes are hashed once, on the way in. From then on every store_get compares
 * (dev, ino, size, mtime, ctime) with the record made then. Whoever touched the file in between
 * changed its ctime, so a difference answers -EUCLEAN: present, but not to be believed until
 * store_verify has read it all again. After an unclean stop every blob is in that state; the
 * record's XXH3 makes the second look cheaper than an MD5. A blob with a second hard link can be
 * changed through the other name, so it is never believed: copy or reflink blobs, do not link them.
 *
 * Modes. One STORE_WRITER at a time (flock on `lock`, released by the kernel however we die).
 * Any number of STORE_READER next to it: they see whole blobs only, since a blob appears by
 * rename, and they change nothing on disk. A reader knows the trust records as they were when it
 * opened; of what came later it says -EUCLEAN until it has verified it, for itself, or the writer,
 * which has, tells it (store_vouch). When the writer is gone, one reader can take its place
 * (store_promote).
 *
 * Threads: every function may be called from any thread, store_close last and alone, after the
 * writers have ended and the partials were put. The trust table, two lists of claimed names, the
 * list of partials and the account of bytes have a mutex each, never held over I/O and never two
 * together.
 *
 * Errors: -ENOENT no such blob, -EUCLEAN verify it first, -EBADMSG bytes do not fit their key,
 * -EBUSY another writer, -EPERM the root is not ours or open to others, -EROFS asked a reader to
 * write, and what the system calls say (-ENOSPC, -EMFILE, -EIO...). */
#pragma once

#include <sys/stat.h>
#include <time.h>

#include "cache/digest.h"
#include "cache/key.h"

struct store;

enum store_mode {
    STORE_READER,
    STORE_WRITER,
};

/* Opens the root, making it (and its parents, 0700) if a writer finds none; a reader then gets
 * -ENOENT. Cost: one read of `trust` and of each partial's map; nothing that grows with the number
 * of blobs on disk. */
int store_open(const char *root, enum store_mode mode, struct store **ret_store);

/* Orderly end. A writer flushes, saves trust and sets the clean marker. NULL is allowed. */
void store_close(struct store *store);

/* Makes a reader the writer, while others go on using the store; 0 also when it is the writer
 * already. -EBUSY while another process has the lock (or another thread is at it): try again later.
 * Does what opening as a writer does: makes what is missing, takes the clean marker away, and after
 * an unclean stop doubts every blob, save those that this process has verified itself, having lived
 * through it. What the last writer had on record is taken over. On error it is still a reader.
 * Partials found before stay readable; partial_begin makes the key's next object. */
int store_promote(struct store *store);

const char *store_root(const struct store *store);
enum store_mode store_mode(const struct store *store);

/* A directory descriptor on the root, for files of others that live beside the blobs (the state
 * file). Owned by the store. */
int store_dirfd(const struct store *store);

/* The previous writer did not end in order. A reader, who can not tell that from a writer at work,
 * says so when the machine has restarted since trust was last saved. */
bool store_was_unclean(const struct store *store);

/* A descriptor of our own on a complete, trusted blob (O_RDONLY | O_CLOEXEC); the caller closes it.
 * Notes, in memory, that the blob was opened now (budget.h).
 * It keeps the bytes readable whatever happens to the name. Symbolic links, fifos, directories and
 * files with other owners, sizes or a second hard link are never opened as blobs: -EUCLEAN. */
int store_get(struct store *store, const struct blob_key *key, int *ret_fd);

/* Would store_get succeed? One stat. */
bool store_has(struct store *store, const struct blob_key *key);

/* The same from memory. What was done to the file behind our back is not known before one of the two
 * above has said no; after that it is not expected any more, until it is verified. */
bool store_expects(struct store *store, const struct blob_key *key);

/* Is it there at its full size, be it to be verified first? One stat. */
bool store_holds(struct store *store, const struct blob_key *key);

/* Reads the whole blob, compares with its key, renews its trust. -EBADMSG: the bytes are wrong, or
 * it is no plain file of ours (a writer has removed it: it can only mislead). -EUCLEAN: changed
 * while it was read. Slow: never on a thread that serves. */
int store_verify(struct store *store, const struct blob_key *key);

/* For readers: the living writer says that it has verified this blob. What has the name now is
 * trusted from then on, without being read, as long as it looks the same. Only on the word of the
 * writer of this very root, given after the blob was committed. -ENOENT, -EUCLEAN as store_get;
 * -EINVAL in a writer, who takes nobody's word. */
int store_vouch(struct store *store, const struct blob_key *key);

/* Removes a blob's name, and a partial that nobody holds: -EBUSY if somebody does. Open descriptors
 * keep the bytes. 0 also when there was nothing. */
int store_drop(struct store *store, const struct blob_key *key);

/* Makes the names of everything committed so far durable: fsync of each directory that changed
 * since the last flush. Publish nothing before it. */
int store_flush(struct store *store);

/* Saves the trust records now (a long-lived writer does so after each sync). */
int store_save_trust(struct store *store);

struct store_usage {
    uint64_t blobs; /* trusted or not, as counted from the directories */
    uint64_t bytes;
    uint64_t partial_bytes; /* filled, drafts included */
};

/* Counts by reading the directories: O(blobs), for `status` and `verify`, not for serving. */
int store_usage(struct store *store, struct store_usage *ret_usage);
