/* SPDX-License-Identifier: MIT */
/* What goes, and when. A look-up and the open that follows are two requests, so a blob whose last
 * name went stays while somebody who found it may open it; from then on he keeps the file, whatever
 * happens to its name. Mostly nobody is: the kernel, told of the switch, forgets the old name within
 * milliseconds, so it is worth waiting for that rather than coming back later. Other processes that
 * follow us see the switch a little later, and nobody tells us what they have found. */
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "cache/scoped.h"
#include "cache/sweep.h"
#include "sync/engine_private.h"

#define GRACE_MS 2000
#define AGAIN_MS 100
#define FORGET_MS 20
#define FORGET_STEP_MS 2
#define FORGET_KEYS 1000 /* more of them than that are not asked about again and again */

static int leave_later(struct engine *engine, const struct blob_key *key)
{
    struct leaving *longer = reallocarray(engine->leaving, engine->leaving_count + 1,
                                          sizeof(*longer));

    if (!longer)
        return -ENOMEM;
    engine->leaving = longer;
    longer[engine->leaving_count++] = (struct leaving){*key, engine_now_ms() + GRACE_MS};
    return 0;
}

void engine_note_leaving(struct engine *engine, const struct tree *last, const struct tree *next)
{
    for (uint32_t i = 0; last && i < tree_blob_count(last); i++) {
        const struct blob_key *key = &tree_blob(last, i)->key;

        if (!tree_blob_find(next, key) && leave_later(engine, key) < 0)
            engine->sweep_due = true;
    }
}

static bool may_go(const struct engine *engine, const struct leaving *leaving, int64_t now)
{
    const struct engine_conf *conf = &engine->conf;

    switch (conf->use ? conf->use(conf->arg, &leaving->key) : BLOB_IDLE) {
    case BLOB_WAITING: return false;
    case BLOB_OPEN: /* those who have it open keep the file; others may have found it beside them */
    case BLOB_FOUND: return leaving->until_ms <= now;
    case BLOB_IDLE:
    default: return !engine->followed || leaving->until_ms <= now;
    }
}

/* True: it is off the list, gone or listed again. */
static bool let_go(struct engine *engine, const struct tree *tree, const struct leaving *leaving,
                   int64_t now)
{
    if (tree_blob_find(tree, &leaving->key))
        return true;
    return may_go(engine, leaving, now) && store_drop(engine->conf.store, &leaving->key) == 0;
}

static void drop_idle(struct engine *engine, const struct tree *tree)
{
    int64_t now = engine_now_ms();
    size_t kept = 0;

    for (size_t i = 0; i < engine->leaving_count; i++) {
        if (!let_go(engine, tree, &engine->leaving[i], now))
            engine->leaving[kept++] = engine->leaving[i];
    }
    engine->leaving_count = kept;
    engine->sweep_at_ms = kept > 0 ? now + AGAIN_MS : 0;
}

static void drop_all(struct engine *engine, const struct tree *tree)
{
    for (size_t i = 0; i < engine->leaving_count; i++) {
        if (!tree_blob_find(tree, &engine->leaving[i].key))
            store_drop(engine->conf.store, &engine->leaving[i].key);
    }
    engine->leaving_count = 0;
}

static bool is_any_found(const struct engine *engine)
{
    const struct engine_conf *conf = &engine->conf;

    for (size_t i = 0; conf->use && i < engine->leaving_count; i++)
        if (conf->use(conf->arg, &engine->leaving[i].key) == BLOB_FOUND)
            return true;
    return false;
}

/* The forgets that follow a switch are on their way. What is open is not worth waiting for. */
static void let_forget(struct engine *engine, const struct tree *tree)
{
    const struct timespec step = {.tv_nsec = FORGET_STEP_MS * 1000000};

    drop_idle(engine, tree);
    if (engine->followed || engine->leaving_count > FORGET_KEYS)
        return;
    for (int waited = 0; waited < FORGET_MS && is_any_found(engine); waited += FORGET_STEP_MS) {
        nanosleep(&step, NULL);
        drop_idle(engine, tree);
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

/* Everything that is in the store, compared with what is to be there. */
static void sweep_all(struct engine *engine, const struct tree *tree)
{
    scoped_free struct blob_key *keys = NULL;
    size_t count;

    {
        scoped_lock(&engine->lock);
        engine->sweep_due |= engine->stray;
        engine->stray = false;
    }
    if (!engine->sweep_due)
        return;
    keys = keys_to_keep(engine, tree, &count);
    if (keys && store_sweep(engine->conf.store, &(struct store_keep){keys, count}, NULL) == 0)
        engine->sweep_due = false;
}

void engine_sweep(struct engine *engine, enum sweep_when when)
{
    scoped(tree_unrefp) struct tree *tree = engine_generation(engine);

    if (!tree || engine->blind)
        return;
    engine->followed = engine->leaving_count > 0 && engine_has_followers(engine);
    if (when == SWEEP_AFTER_SWITCH)
        let_forget(engine, tree);
    else if (when == SWEEP_AGAIN)
        drop_idle(engine, tree);
    else
        drop_all(engine, tree);
    sweep_all(engine, tree);
}
