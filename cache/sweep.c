/* SPDX-License-Identifier: MIT */
/* sweep.c - removal of what is not wanted, and of nothing else.
 *
 * The list of what to keep is the only authority; a store without such a list (NULL) is not swept
 * at all. Only objects that the walk knows for ours are candidates: what is foreign is the audit's.
 * A partial is removed under its name's claim, so a writer that is filling it, or is just about to,
 * never loses it. */
#include "cache/sweep.h"

#include <errno.h>
#include <string.h>

#include "cache/blob.h"
#include "cache/files.h"
#include "cache/keep.h"
#include "cache/names.h"
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

    int r = blob_remove(sweep->store, &object->key, NULL);

    if (r == 0) {
        sweep->result.blobs++;
        sweep->result.bytes += (uint64_t)object->st.st_size;
    }
    return r;
}

static int sweep_partial(void *arg, const struct found_object *object)
{
    struct sweep *sweep = arg;
    scoped_claim struct claim claim = {0};
    char name[PARTIAL_FILE_SIZE];

    if (object->kind == FOUND_PARTIAL)
        snprintf(name, sizeof(name), "%s", object->name);
    else if (object->kind != FOUND_TAG || !partial_name_of_tag(object->name, name))
        return 0;

    int r = claim_take(&claim, sweep->store->names, name);

    if (r == -EBUSY)
        return 0;
    if (r == 0)
        r = name_clear(object->dir, object->name);
    if (r == 0 && object->kind == FOUND_PARTIAL)
        sweep->result.partials++;
    return r;
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
