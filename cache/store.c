/* SPDX-License-Identifier: MIT */
/* store.c - the store's life, and the questions it answers.
 *
 * Why a descriptor from store_get is right: it was opened first and judged afterwards, by fstat, so
 * what was judged is what the caller reads. The name may be anything by then.
 *
 * Why the clean marker is right: it is removed durably before the first change (root.c), and set
 * after names and trust are on disk. Where either of the two failed, it is not set. */
#include "cache/store.h"

#include <errno.h>
#include <string.h>

#include "cache/blob.h"
#include "cache/files.h"
#include "cache/scoped.h"
#include "cache/walk.h"

static void store_free(struct store *store)
{
    if (!store)
        return;
    root_release(&store->root);
    trust_free(store->trust);
    claims_free(store->names);
    claims_free(store->keys);
    free(store->path);
    free(store);
}

static void store_freep(struct store *const *store)
{
    store_free(*store);
}

/* Whose word counts? A writer knows that it is alone, so the marker says it all. A reader may sit
 * next to a living writer, who has taken the marker away: records of this boot are good then. */
static int load_trust(struct store *store)
{
    bool same_boot = false;
    int r = trust_load(store->root.dir, &store->trust, &same_boot);

    if (r < 0)
        return r;
    store->unclean = !store->root.orderly && !(store->mode == STORE_READER && same_boot);
    if (!store->unclean)
        return 0;
    trust_doubt(store->trust);

    /* Names that the last writer left unflushed are as good as ours, once they are flushed. */
    for (size_t i = 0; i < SHARDS; i++)
        atomic_store(&store->dirty[i], true);
    atomic_store(&store->shards_dirty, true);
    return 0;
}

int store_open(const char *root, enum store_mode mode, struct store **ret_store)
{
    scoped(store_freep) struct store *store = calloc(1, sizeof(*store));

    if (!store)
        return -ENOMEM;
    store->mode = mode;
    store->root = ROOT_NONE;
    store->path = strdup(root);
    if (!store->path)
        return -ENOMEM;

    int r = claims_new(&store->names);

    if (r == 0)
        r = claims_new(&store->keys);
    if (r == 0)
        r = root_open(root, mode, &store->root);
    if (r == 0)
        r = load_trust(store);
    if (r < 0)
        return r;
    *ret_store = take_ptr(store);
    return 0;
}

void store_close(struct store *store)
{
    if (!store)
        return;
    if (store->mode == STORE_WRITER && store_flush(store) == 0 && store_save_trust(store) == 0)
        root_mark_clean(&store->root);
    store_free(store);
}

const char *store_root(const struct store *store)
{
    return store->path;
}

enum store_mode store_mode(const struct store *store)
{
    return store->mode;
}

int store_dirfd(const struct store *store)
{
    return store->root.dir;
}

bool store_was_unclean(const struct store *store)
{
    return store->unclean;
}

int store_get(struct store *store, const struct blob_key *key, int *ret_fd)
{
    scoped_fd int fd = -1;
    struct stat st;
    int r = blob_open(store, key, &fd, &st);

    if (r < 0)
        return r;
    if (!trust_holds(store->trust, key, &st))
        return -EUCLEAN;
    *ret_fd = take_fd(fd);
    return 0;
}

bool store_has(struct store *store, const struct blob_key *key)
{
    struct stat st;

    return blob_stat(store, key, &st) == 0 && stat_is_plain(&st, store->root.owner) &&
           trust_holds(store->trust, key, &st);
}

bool store_holds(struct store *store, const struct blob_key *key)
{
    struct stat st;

    return blob_stat(store, key, &st) == 0 && stat_is_plain(&st, store->root.owner) &&
           (uint64_t)st.st_size == key->size;
}

int store_verify(struct store *store, const struct blob_key *key)
{
    struct stat judged;
    int r = blob_stat(store, key, &judged);

    if (r == 0)
        r = blob_check(store, key, NULL, NULL);
    if (r != -EBADMSG)
        return r;

    if (store->mode == STORE_READER) {
        trust_forget(store->trust, key);
        return -EBADMSG;
    }
    r = blob_remove(store, key, &judged);
    return r < 0 ? r : -EBADMSG;
}

int store_drop(struct store *store, const struct blob_key *key)
{
    return store->mode == STORE_WRITER ? blob_remove(store, key, NULL) : -EROFS;
}

/* The flag is taken down before the fsync: a name that comes in meanwhile puts it up again. */
static int flush_dir(int dir, const char *name, atomic_bool *dirty)
{
    scoped_fd int fd = -1;

    if (!atomic_exchange(dirty, false))
        return 0;

    int r = dir_open(dir, name, false, &fd);

    if (r == 0 && fsync(fd) < 0)
        r = negative_errno();
    if (r == -ENOENT) /* gone, and its names with it */
        return 0;
    if (r < 0)
        atomic_store(dirty, true);
    return r;
}

int store_flush(struct store *store)
{
    if (store->mode == STORE_READER)
        return 0;

    /* One at a time: a second caller must not return while the first, who took the flags down, is
     * still waiting for the disk. */
    scoped_claim struct claim claim = {0};
    int r = claim_take(&claim, store->keys, "flush");

    for (unsigned int i = 0; r == 0 && i < SHARDS; i++) {
        const char digits[] = "0123456789abcdef";
        const char shard[] = {digits[i >> 4], digits[i & 15], '\0'};

        r = flush_dir(store->root.shared, shard, &store->dirty[i]);
    }
    return r < 0 ? r : flush_dir(store->root.shared, ".", &store->shards_dirty);
}

int store_save_trust(struct store *store)
{
    scoped_claim struct claim claim = {0};

    if (store->mode != STORE_WRITER)
        return -EROFS;

    int r = claim_take(&claim, store->keys, "trust");

    return r < 0 ? r : trust_save(store->trust, store->root.dir);
}

static int count_blob(void *arg, const struct found_object *object)
{
    struct store_usage *usage = arg;

    if (object->kind == FOUND_BLOB) {
        usage->blobs++;
        usage->bytes += (uint64_t)object->st.st_size;
    } else if (object->kind == FOUND_PARTIAL) {
        usage->partial_bytes += (uint64_t)object->st.st_size;
    }
    return 0;
}

int store_usage(struct store *store, struct store_usage *ret_usage)
{
    struct store_usage usage = {0};
    int r = walk_shared(store, count_blob, &usage);

    if (r == 0)
        r = walk_partial(store, count_blob, &usage);
    if (r == 0)
        *ret_usage = usage;
    return r;
}
