/* SPDX-License-Identifier: MIT */
/* blob.h (private to cache/) - one blob's place on disk, and the store's insides.
 *
 * Whoever changes which file a key names (publish, remove) or what is known about it (verify)
 * holds the key's claim, so that a record never describes a file that has just been replaced.
 * Looking needs no claim: a name appears whole or not at all, and what counts is fstat of the
 * descriptor. */
#pragma once

#include <stdatomic.h>

#include "cache/claims.h"
#include "cache/root.h"
#include "cache/store.h"
#include "cache/trust.h"

#define SHARDS 256

struct partials;
struct room;

struct store {
    char *path;
    atomic_int mode; /* enum store_mode; only ever from reader to writer */
    atomic_bool unclean;
    struct root root;
    struct trust *trust;
    struct partials *partials;
    struct room *room;
    struct claims *names;      /* drafts being written */
    struct claims *keys;       /* blobs being published or removed; also one-at-a-time chores */
    atomic_bool dirty[SHARDS]; /* shards with names not known to be on disk */
    atomic_bool shards_dirty;  /* the same of _shared itself */
};

/* "_shared"-relative: <aa>/<key>. */
#define BLOB_PATH_SIZE (3 + BLOB_KEY_TEXT_SIZE)

void blob_path(const struct blob_key *key, char ret_path[static BLOB_PATH_SIZE]);

/* Is this text the shard of this key? */
bool blob_in_shard(const struct blob_key *key, const char *shard);

/* Opens what has the name; a plain file of ours and of the key's size, or -EUCLEAN. No word on
 * trust. -ENOENT, else what open says. */
int blob_open(struct store *store, const struct blob_key *key, int *ret_fd, struct stat *ret_st);

/* Stats the name, whatever it is. */
int blob_stat(struct store *store, const struct blob_key *key, struct stat *ret_st);

/* Reads the whole blob and renews its trust. -EBADMSG, also for what blob_open finds unclean;
 * removes nothing. progress may be NULL; it gets the bytes read so far. */
int blob_check(struct store *store, const struct blob_key *key,
               void (*progress)(void *arg, uint64_t bytes_read), void *arg);

/* Renames partial/<name>, which is fd: verified, synced, complete, with this XXH3. Its bytes, open
 * until now, count as the blob's. */
int blob_publish(struct store *store, const char *name, int fd, const struct blob_key *key,
                 const uint8_t xxh[static BLOB_DIGEST_SIZE]);

/* Frees the key's name and forgets its record. judged: only while the name still is that file;
 * NULL: in any case. ret_freed, the bytes that count no longer, may be NULL. */
int blob_remove(struct store *store, const struct blob_key *key, const struct stat *judged,
                uint64_t *ret_freed);
