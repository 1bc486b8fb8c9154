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
#include "cache/partial_object.h"
#include "cache/room.h"
#include "cache/scoped.h"
#include "cache/walk.h"

static void store_free(struct store *store)
{
    if (!store)
        return;
    root_release(&store->root);
    trust_free(store->trust);
    partials_free(store->partials);
    room_free(store->room);
    claims_free(store->names);
    claims_free(store->keys);
    free(store->path);
    free(store);
}

static void store_freep(struct store *const *store)
{
    store_free(*store);
}

/* Names that the last writer left unflushed are as good as ours, once they are flushed. */
static void mark_unclean(struct store *store)
{
    atomic_store(&store->unclean, true);
    for (size_t i = 0; i < SHARDS; i++)
        atomic_store(&store->dirty[i], true);
    atomic_store(&store->shards_dirty, true);
}

/* Whose word counts? A writer knows that it is alone, so the marker says it all. A reader may sit
 * next to a living writer, who has taken the marker away: records of this boot are good then. */
static int load_trust(struct store *store)
{
    bool same_boot = false;
    int r = trust_load(store->root.dir, &store->trust, &same_boot);

    if (r < 0)
        return r;
    if (store->root.orderly || (store_mode(store) == STORE_READER && same_boot))
        return 0;
    trust_doubt(store->trust);
    mark_unclean(store);
    return 0;
}

int store_open(const char *root, enum store_mode mode, struct store **ret_store)
{
    scoped(store_freep) struct store *store = calloc(1, sizeof(*store));

    if (!store)
        return -ENOMEM;
    atomic_store(&store->mode, mode);
    store->root = ROOT_NONE;
    store->path = strdup(root);
    if (!store->path)
        return -ENOMEM;

    int r = claims_new(&store->names);

    if (r == 0)
        r = claims_new(&store->keys);
    if (r == 0)
        r = partials_new(&store->partials);
    if (r == 0)
        r = room_new(&store->room);
    if (r == 0)
        r = root_open(root, mode, &store->root);
    if (r == 0)
        r = load_trust(store);
    if (r < 0)
        return r;
    room_assume(store);
    *ret_store = take_ptr(store);
    return 0;
}

void store_close(struct store *store)
{
    if (!store)
        return;
    if (store_mode(store) == STORE_WRITER && store_flush(store) == 0 &&
        store_save_trust(store) == 0)
        root_mark_clean(&store->root);
    store_free(store);
}

const char *store_root(const struct store *store)
{
    return store->path;
}

enum store_mode store_mode(const struct store *store)
{
    return (enum store_mode)atomic_load(&store->mode);
}

int store_dirfd(const struct store *store)
{
    return store->root.dir;
}

bool store_was_unclean(const struct store *store)
{
    return atomic_load(&store->unclean);
}

int store_promote(struct store *store)
{
    scoped(trust_freep) struct trust *saved = NULL;
    bool same_boot = false;

    if (store_mode(store) == STORE_WRITER)
        return 0;

    /* A lock is of one open file, so a second thread of ours is refused like anybody else. */
    int r = root_lock(&store->root);

    if (r < 0)
        return r;
    bool unclean = !store->root.orderly;

    r = trust_load(store->root.dir, &saved, &same_boot);
    if (r == 0)
        r = root_prepare(&store->root);
    if (r == 0)
        r = trust_adopt(store->trust, saved, unclean);
    if (r < 0) {
        root_unlock(&store->root);
        return r;
    }
    atomic_store(&store->unclean, unclean);
    if (unclean)
        mark_unclean(store);
    atomic_store(&store->mode, STORE_WRITER);

    /* What a reader has found, a writer can not fill; it stays with those who hold it. */
    partials_leave_all(store->partials);
    room_assume(store);
    return 0;
}

static bool looks_right(struct store *store, const struct blob_key *key)
{
    struct stat st;

    return blob_stat(store, key, &st) == 0 && stat_is_plain(&st, store->root.owner) &&
           trust_holds(store->trust, key, &st);
}

/* Whoever took the file away or changed it is found out here; from now on nobody expects it. The
 * claim keeps a record that is being made for a new file out of this. */
static void note_absence(struct store *store, const struct blob_key *key)
{
    scoped_claim struct claim claim = {0};
    char path[BLOB_PATH_SIZE];

    blob_path(key, path);
    if (trust_expects(store->trust, key) && claim_take(&claim, store->keys, path) == 0 &&
        !looks_right(store, key))
        trust_suspect(store->trust, key);
}

int store_get(struct store *store, const struct blob_key *key, int *ret_fd)
{
    scoped_fd int fd = -1;
    struct stat st;
    int r = blob_open(store, key, &fd, &st);

    if (r == 0 && !trust_holds(store->trust, key, &st))
        r = -EUCLEAN;
    if (r == -ENOENT || r == -EUCLEAN)
        note_absence(store, key);
    if (r < 0)
        return r;
    trust_touch(store->trust, key);
    *ret_fd = take_fd(fd);
    return 0;
}

bool store_has(struct store *store, const struct blob_key *key)
{
    if (looks_right(store, key))
        return true;
    note_absence(store, key);
    return false;
}

bool store_expects(struct store *store, const struct blob_key *key)
{
    return trust_expects(store->trust, key);
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

    if (store_mode(store) == STORE_READER) {
        trust_forget(store->trust, key);
        return -EBADMSG;
    }
    r = blob_remove(store, key, &judged, NULL);
    return r < 0 ? r : -EBADMSG;
}

int store_drop(struct store *store, const struct blob_key *key)
{
    if (store_mode(store) != STORE_WRITER)
        return -EROFS;

    int r = blob_remove(store, key, NULL, NULL);

    return r < 0 ? r : partial_discard(store, key, NULL);
}

int store_vouch(struct store *store, const struct blob_key *key)
{
    scoped_fd int fd = -1;
    struct stat st;

    if (store_mode(store) == STORE_WRITER)
        return -EINVAL;

    int r = blob_open(store, key, &fd, &st);

    if (r == 0 && !trust_holds(store->trust, key, &st))
        r = trust_vouch(store->trust, key, &st);
    return r;
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
    if (store_mode(store) == STORE_READER)
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

    if (store_mode(store) != STORE_WRITER)
        return -EROFS;

    int r = claim_take(&claim, store->keys, "trust");

    return r < 0 ? r : trust_save(store->trust, store->root.dir);
}

struct usage_count {
    struct store *store;
    struct store_usage usage;
};

static int count_object(void *arg, const struct found_object *object)
{
    struct usage_count *count = arg;
    struct store_usage *usage = &count->usage;

    if (object->kind == FOUND_BLOB) {
        usage->blobs++;
        usage->bytes += (uint64_t)object->st.st_size;
    } else if (object->kind == FOUND_PARTIAL) {
        usage->partial_bytes += partial_usage(count->store, &object->key);
    } else if (object->kind == FOUND_DRAFT) {
        usage->partial_bytes += (uint64_t)object->st.st_size;
    }
    return 0;
}

int store_usage(struct store *store, struct store_usage *ret_usage)
{
    struct usage_count count = {.store = store};
    int r = walk_shared(store, count_object, &count);

    if (r == 0)
        r = walk_partial(store, count_object, &count);
    if (r == 0)
        *ret_usage = count.usage;
    return r;
}
