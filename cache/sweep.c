/* SPDX-License-Identifier: MIT */
/* sweep.c - removal of what is not wanted, and of nothing else.
 *
 * The list of what to keep is the only authority; a store without such a list (NULL) is not swept
 * at all. Only objects that the walk knows for ours are candidates: what is foreign is the audit's.
 * A partial is removed while its key is taken in the list of those in use, a draft under its name's
 * claim, so whoever is filling one, or is just about to, never loses it. */
#include "cache/sweep.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "cache/blob.h"
#include "cache/files.h"
#include "cache/keep.h"
#include "cache/partial_object.h"
#include "cache/room.h"
#include "cache/walk.h"

struct sweep {
    struct store *store;
    const struct store_keep *keep;
    struct sweep_result result;
};

static int sweep_blob(void *arg, const struct found_object *object)
{
    struct sweep *sweep = arg;

    if (object->kind != FOUND_BLOB || keep_has(sweep->keep, &object->key))
        return 0;

    int r = blob_remove(sweep->store, &object->key, NULL, NULL);

    if (r == 0) {
        sweep->result.blobs++;
        sweep->result.bytes += (uint64_t)object->st.st_size;
    }
    return r;
}

/* Drafts are never taken up: one that nobody is writing is what a crash left behind. */
static int sweep_draft(struct sweep *sweep, const struct found_object *object)
{
    scoped_claim struct claim claim = {0};
    int r = claim_take(&claim, sweep->store->names, object->name);

    if (r < 0)
        return r;

    const uint64_t bytes = (uint64_t)object->st.st_size;

    room_will_end(sweep->store, bytes);
    r = name_clear(object->dir, object->name);
    room_has_ended(sweep->store, bytes, r == 0 ? bytes : 0);
    return r;
}

/* Is this map all that is left? */
static bool is_lonely(const struct found_object *map)
{
    char name[BLOB_KEY_TEXT_SIZE];

    blob_key_format(&map->key, name);
    return faccessat(map->dir, name, F_OK, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT;
}

static int sweep_partial(void *arg, const struct found_object *object)
{
    struct sweep *sweep = arg;
    int r = 0;

    switch (object->kind) {
    case FOUND_DRAFT: r = sweep_draft(sweep, object); break;
    case FOUND_PARTIAL:
        if (keep_has(sweep->keep, &object->key))
            return 0;
        r = partial_discard(sweep->store, &object->key, NULL);
        break;
    case FOUND_MAP:
        r = is_lonely(object) ? partial_discard(sweep->store, &object->key, NULL) : 0;
        break;
    default: return 0;
    }
    if (r == 0 && object->kind != FOUND_MAP)
        sweep->result.partials++;
    return r == -EBUSY ? 0 : r;
}

int store_sweep(struct store *store, const struct store_keep *keep, struct sweep_result *ret_result)
{
    struct sweep sweep = {.store = store, .keep = keep};

    if (store_mode(store) != STORE_WRITER)
        return -EROFS;
    if (!keep)
        return -EINVAL;

    int r = walk_shared(store, sweep_blob, &sweep);

    if (r == 0)
        r = walk_partial(store, sweep_partial, &sweep);
    if (r == 0)
        trust_retain(store->trust, keep->keys, keep->count);
    if (r == 0 && ret_result)
        *ret_result = sweep.result;
    return r;
}
