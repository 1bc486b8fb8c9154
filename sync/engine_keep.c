/* SPDX-License-Identifier: MIT */
/* What a full cache may let go. The store asks for single keys, from whatever thread writes; the
 * answer must not take long, so which blobs are pinned is worked out once for each generation.
 *
 * While a refresh stages, blobs come that no generation lists yet: until it has published (or
 * failed), what is not listed stays. */
#include <errno.h>
#include <string.h>

#include "cache/scoped.h"
#include "sync/engine_private.h"

static void mark(const struct tree *tree, const struct tree_node *node, bool *pinned)
{
    if (node->type == TREE_BLOB)
        pinned[node->blob] = true;
    for (uint32_t i = 0; node->type == TREE_DIR && i < node->dir.count; i++)
        mark(tree, tree_node(tree, node->dir.first + i), pinned);
}

int engine_pinned_in(struct engine *engine, const struct tree *tree, bool **ret_pinned)
{
    bool *pinned;

    scoped_lock(&engine->pins_lock);
    if (pins_count(engine->pins) == 0) {
        *ret_pinned = NULL;
        return 0;
    }
    pinned = calloc(tree_blob_count(tree) + 1, sizeof(*pinned));
    if (!pinned)
        return -ENOMEM;
    for (uint32_t i = 0; i < tree_row_count(tree); i++) {
        const struct tree_row *row = tree_row(tree, i);

        if (row->path && pins_match(engine->pins, tree, row))
            mark(tree, tree_find(tree, row->path), pinned);
    }
    *ret_pinned = pinned;
    return 0;
}

bool *engine_set_pinned(struct engine *engine, int r, bool *pinned)
{
    bool *old = engine->pinned;

    engine->pinned = pinned;
    engine->pinned_unknown = r < 0;
    return old;
}

/* The pins have changed, the generation has not; if it does meanwhile, whoever publishes sees them. */
static void find_anew(struct engine *engine)
{
    scoped(tree_unrefp) struct tree *tree = engine_generation(engine);
    scoped_free bool *pinned = NULL;
    int r = tree ? engine_pinned_in(engine, tree, &pinned) : 0;

    scoped_lock(&engine->lock);
    if (tree && engine->tree == tree)
        pinned = engine_set_pinned(engine, r, pinned);
}

/* The caller holds the lock. */
static bool is_pinned(const struct engine *engine, const struct tree_blob *blob)
{
    return engine->pinned && engine->pinned[blob - tree_blob(engine->tree, 0)];
}

bool engine_is_pinned(struct engine *engine, const struct blob_key *key)
{
    const struct tree_blob *blob;

    scoped_lock(&engine->lock);
    blob = engine->tree ? tree_blob_find(engine->tree, key) : NULL;
    return blob && is_pinned(engine, blob);
}

static enum keep_class judge(void *arg, const struct blob_key *key)
{
    struct engine *engine = arg;
    const struct tree_blob *blob;
    enum blob_use use = engine->conf.use ? engine->conf.use(engine->conf.arg, key) : BLOB_IDLE;

    if (use == BLOB_OPEN || use == BLOB_WAITING)
        return KEEP_OPEN;
    scoped_lock(&engine->lock);
    blob = engine->tree ? tree_blob_find(engine->tree, key) : NULL;
    if (!blob)
        return engine->staging || atomic_load(&engine->blind) ? KEEP_PINNED : KEEP_UNWANTED;
    return is_pinned(engine, blob) || engine->pinned_unknown ? KEEP_PINNED : KEEP_LISTED;
}

static void set_budget(struct engine *engine, uint64_t cache_size)
{
    const struct budget budget = {
        .cache_size = cache_size,
        .min_free = engine->conf.min_free,
        .judge = judge,
        .arg = engine,
    };

    store_set_budget(engine->conf.store, &budget);
}

void engine_set_budget(struct engine *engine)
{
    set_budget(engine, engine->conf.cache_size);
}

int engine_prune(struct engine *engine, uint64_t cache_size, struct prune_result *ret_result)
{
    struct store *store = engine->conf.store;
    struct budget_facts before;
    struct budget_facts after;
    int r = store_recount(store);

    if (r < 0)
        return r;
    store_budget(store, &before);
    if (cache_size > 0)
        set_budget(engine, cache_size);
    r = store_shrink(store);
    engine_set_budget(engine);
    store_budget(store, &after);
    *ret_result = (struct prune_result){
        .blobs = after.evicted_blobs - before.evicted_blobs,
        .bytes = after.evicted_bytes - before.evicted_bytes,
        .used = after.used,
    };
    return r == -ENOSPC ? 0 : r;
}

static bool matches_something(const char *glob, const struct tree *tree)
{
    for (uint32_t i = 0; i < tree_row_count(tree); i++) {
        const struct tree_row *row = tree_row(tree, i);

        if (row->path && pin_matches(glob, tree_group(tree, row->group), row))
            return true;
    }
    return false;
}

int engine_pin(struct engine *engine, const char *glob)
{
    scoped(tree_unrefp) struct tree *tree = engine_tree(engine);
    int r;

    if (tree && !matches_something(glob, tree))
        return -ENXIO;
    {
        scoped_lock(&engine->pins_lock);
        r = pins_add(engine->pins, glob);
    }
    if (r == 0)
        find_anew(engine);
    return r;
}

int engine_unpin(struct engine *engine, const char *glob)
{
    int r;

    {
        scoped_lock(&engine->pins_lock);
        r = pins_remove(engine->pins, glob);
    }
    if (r == 0)
        find_anew(engine);
    return r;
}
