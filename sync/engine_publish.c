/* SPDX-License-Identifier: MIT */
/* The last steps of a refresh: tree, disk, publish, sweep. Why a crash between any two of them is
 * harmless: the state file is written after every blob it names is durable, readers get the tree
 * after the state that names it, and what is removed was named by neither. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cache/scoped.h"
#include "sync/engine_private.h"
#include "sync/tree_image.h"

/* What is left out is no news; that it is another one by now is, like that of other withheld rows. */
static int report_views(struct refresh *refresh)
{
    scoped(tree_unrefp) struct tree *before = NULL;
    int r = refresh->before ? engine_view(refresh->engine, refresh->before, &before) : 0;

    if (r == 0)
        r = report_fill(refresh->report, before, refresh->view, refresh->manifest, refresh->plan);
    if (r == 0 && before && refresh->engine->conf.filter)
        refresh->report->changed = !tree_equal(before, refresh->view);
    return r;
}

int refresh_make_tree(struct refresh *refresh)
{
    const struct engine_conf *conf = &refresh->engine->conf;
    uint64_t generation = refresh->last ? tree_generation(refresh->last) + 1 : 1;
    size_t items;
    int r = plan_tree(refresh->plan, generation, engine_decorator(refresh->engine), conf->arg,
                      &refresh->next);

    if (r == 0)
        tree_settle(&refresh->next);
    if (r == 0)
        r = engine_view(refresh->engine, refresh->next, &refresh->view);
    if (r == 0)
        r = report_views(refresh);
    if (r < 0)
        return refresh_fail(refresh, r, "no tree could be made: %s", strerror(-r));
    plan_items(refresh->plan, &items);
    if (refresh->flags & REFRESH_DRY_RUN && items > 0)
        refresh->report->changed = true;
    return 0;
}

int refresh_save_state(struct refresh *refresh)
{
    struct engine *engine = refresh->engine;
    struct state state = {.tree = refresh->next, .last_sync_unix = engine_unix_now()};
    int r;

    memcpy(state.doubt_since, refresh->doubt_since, sizeof(state.doubt_since));
    r = state_save(store_dirfd(engine->conf.store), &state);
    if (r < 0)
        return refresh_fail(refresh, r, "the state can not be written: %s", strerror(-r));
    memcpy(engine->doubt_since, refresh->doubt_since, sizeof(engine->doubt_since));
    engine->torn = false;
    engine->state_unix = state.last_sync_unix;
    engine->image_due = true;
    return 0;
}

int refresh_make_durable(struct refresh *refresh)
{
    int r = store_flush(refresh->engine->conf.store);

    if (r < 0)
        return refresh_fail(refresh, r, "the cache can not be written: %s", strerror(-r));
    return refresh_save_state(refresh);
}

/* The counts that `stat` shows are the ones that a recount gives, or somebody hears of it. */
static void audit_references(struct refresh *refresh)
{
    const struct tree *tree = refresh->next;
    scoped_free uint32_t *counts = calloc(tree_blob_count(tree) + 1, sizeof(*counts));
    char text[BLOB_KEY_TEXT_SIZE];
    char line[160];

    if (!counts)
        return;
    for (uint32_t i = 0; i < tree_node_count(tree); i++) {
        const struct tree_node *node = tree_node(tree, i);

        if (node->type == TREE_BLOB)
            counts[node->blob]++;
    }
    for (uint32_t i = 0; i < tree_blob_count(tree); i++) {
        const struct tree_blob *blob = tree_blob(tree, i);

        if (blob->references == counts[i])
            continue;
        blob_key_format(&blob->key, text);
        snprintf(line, sizeof(line), "%s has %u references, %u are counted", text, counts[i],
                 blob->references);
        report_add_violation(refresh->report, line);
    }
}

void engine_show(struct engine *engine, struct tree *tree, struct tree *view)
{
    scoped_free bool *pinned = NULL;
    struct tree *old, *old_view;
    int r = engine_pinned_in(engine, tree, &pinned);

    {
        scoped_lock(&engine->lock);
        old = engine->tree;
        engine->tree = tree_ref(tree);
        old_view = engine->view;
        engine->view = tree_ref(view);
        pinned = engine_set_pinned(engine, r, pinned);
    }
    tree_unref(old);
    tree_unref(old_view);
    engine_forget_problems(engine, tree);
    if (engine->conf.publish)
        engine->conf.publish(engine->conf.arg, view);
}

void refresh_publish(struct refresh *refresh)
{
    struct engine *engine = refresh->engine;

    engine_show(engine, refresh->next, refresh->view);
    refresh->published = true;
    engine_note_leaving(engine, refresh->last, refresh->next);
    audit_references(refresh);
}

/* Not while part of what was listed is neither known nor said: an orphan may be what is missing. */
void refresh_sweep(struct refresh *refresh)
{
    if (!refresh->holds)
        refresh->engine->blind = false;
    engine_sweep(refresh->engine, SWEEP_AFTER_SWITCH);
    refresh->engine->unsaved |= refresh->published;
}

bool refresh_doubts_changed(const struct refresh *refresh)
{
    return memcmp(refresh->doubt_since, refresh->engine->doubt_since,
                  sizeof(refresh->doubt_since)) != 0;
}
