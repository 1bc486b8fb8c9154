/* SPDX-License-Identifier: MIT */
/* What goes, and when. A look-up and the open that follows are two requests, so a blob whose last
 * name went stays while somebody who found it may open it; from then on he keeps the file, whatever
 * happens to its name. Mostly nobody is: the kernel, told of the switch, forgets the old name within
 * milliseconds, so it is worth waiting for that rather than coming back later. */
#include <stdlib.h>
#include <time.h>

#include "cache/scoped.h"
#include "cache/sweep.h"
#include "sync/engine_private.h"

#define GRACE_MS 2000
#define FORGET_MS 100
#define FORGET_STEP_MS 5
#define FORGET_KEYS 1000 /* more of them than that are not asked about again and again */

/* Without memory it goes at once. */
static void leave_later(struct engine *engine, const struct blob_key *key)
{
    struct leaving *longer = reallocarray(engine->leaving, engine->leaving_count + 1,
                                          sizeof(*longer));

    if (!longer)
        return;
    engine->leaving = longer;
    longer[engine->leaving_count++] = (struct leaving){*key, engine_now_ms() + GRACE_MS};
}

void engine_note_leaving(struct engine *engine, const struct tree *last, const struct tree *next)
{
    for (uint32_t i = 0; last && i < tree_blob_count(last); i++) {
        const struct blob_key *key = &tree_blob(last, i)->key;

        if (tree_blob_find(next, key))
            continue;
        engine->sweep_due = true;
        if (engine->conf.use)
            leave_later(engine, key);
    }
}

static bool may_go(const struct engine *engine, const struct leaving *leaving, int64_t now)
{
    switch (engine->conf.use(engine->conf.arg, &leaving->key)) {
    case BLOB_OPEN: return false;
    case BLOB_FOUND: return leaving->until_ms <= now;
    case BLOB_IDLE:
    default: return true;
    }
}

/* Takes from the list what nobody needs any more. */
static void drop_idle(struct engine *engine)
{
    int64_t now = engine_now_ms();
    size_t kept = 0;

    for (size_t i = 0; i < engine->leaving_count; i++) {
        if (!may_go(engine, &engine->leaving[i], now))
            engine->leaving[kept++] = engine->leaving[i];
    }
    engine->leaving_count = kept;
    engine->sweep_at_ms = kept > 0 ? now + GRACE_MS : 0;
}

/* The forgets that follow a switch are on their way. */
static void let_forget(struct engine *engine)
{
    const struct timespec step = {.tv_nsec = FORGET_STEP_MS * 1000000};

    drop_idle(engine);
    for (int waited = 0;
         waited < FORGET_MS && engine->leaving_count > 0 && engine->leaving_count <= FORGET_KEYS;
         waited += FORGET_STEP_MS) {
        nanosleep(&step, NULL);
        drop_idle(engine);
    }
}

static int compare_keys(const void *a, const void *b)
{
    return blob_key_compare(a, b);
}

/* What is listed, and what is still leaving; sorted. */
static struct blob_key *keys_to_keep(const struct engine *engine, const struct tree *tree,
                                     size_t *ret_count)
{
    size_t listed = tree_blob_count(tree);
    size_t count = listed + engine->leaving_count;
    struct blob_key *keys = calloc(count + 1, sizeof(*keys));

    if (!keys)
        return NULL;
    for (uint32_t i = 0; i < listed; i++)
        keys[i] = tree_blob(tree, i)->key;
    for (size_t i = 0; i < engine->leaving_count; i++)
        keys[listed + i] = engine->leaving[i].key;
    if (engine->leaving_count > 0)
        qsort(keys, count, sizeof(*keys), compare_keys);
    *ret_count = count;
    return keys;
}

void engine_sweep(struct engine *engine, enum sweep_when when)
{
    scoped(tree_unrefp) struct tree *tree = engine_tree(engine);
    scoped_free struct blob_key *keys = NULL;
    struct sweep_result swept;
    size_t count;

    {
        scoped_lock(&engine->lock);
        engine->sweep_due |= engine->stray;
        engine->stray = false;
    }
    if (!tree || !engine->sweep_due || engine->blind)
        return;
    if (when == SWEEP_AFTER_SWITCH)
        let_forget(engine);
    else if (when == SWEEP_AGAIN)
        drop_idle(engine);
    else
        engine->leaving_count = 0;
    keys = keys_to_keep(engine, tree, &count);
    if (!keys || store_sweep(engine->conf.store, &(struct store_keep){keys, count}, &swept) < 0)
        return;
    engine->sweep_due = engine->leaving_count > 0;
    if (swept.blobs > 0)
        store_save_trust(engine->conf.store);
}
