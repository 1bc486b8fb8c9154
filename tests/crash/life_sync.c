/* SPDX-License-Identifier: MIT */
/* life_sync.c - an engine's life: one refresh after the other, and what readers ask in between. */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "cache/scoped.h"
#include "cache/sweep.h"
#include "sync/engine.h"
#include "tests/crash/life.h"

enum { REFRESH_MS = 20000, KEYS_MAX = CONTENTS };

struct life {
    struct world *world;
    struct store *store;
    struct engine *engine;
    uint64_t random;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned waiting; /* wants; the lock's */
};

static void on_publish(void *arg, struct tree *tree)
{
    struct life *life = arg;

    world_note_published(life->world, tree, life->store);
}

static struct engine *engine_of(struct life *life, const struct source *source)
{
    const struct engine_conf conf = {
        .store = life->store,
        .source = source,
        .state_dir = life->world->home,
        .jobs = 4,
        .timeout_s = 10,
        .prefetch = world_pick(&life->random, 4) ? PREFETCH_NONE : PREFETCH_ALL,
        .user_agent = "crash",
        .decoration = "none",
        .publish = on_publish,
        .arg = life,
    };
    struct engine *engine = NULL;
    int r = engine_new(&conf, &engine);

    if (r == 0 && (r = engine_start(engine)) < 0) {
        engine_free(engine);
        engine = NULL;
    }
    if (r < 0)
        world_fail(life->world, "no engine: %s", strerror(-r));
    return engine;
}

/* --- what it is asked to do --- */

static void note_filled(struct world *world)
{
    struct promises *promises = world->promises;

    for (int i = 0; i < CONTENTS; i++)
        if (world_lists(world, promises->shown, i))
            promises->levels[i] = LEVEL_DURABLE;
}

static void refresh(struct life *life, unsigned flags)
{
    struct promises *promises = life->world->promises;
    scoped(report_freep) struct report *report = NULL;
    uint64_t ticket = 0;

    if (promises->shown < VERSIONS - 1)
        promises->next = promises->shown + 1;
    world_serve(life->world, promises->next);
    int r = engine_refresh(life->engine, flags, &ticket);

    if (r == 0)
        r = engine_wait(life->engine, ticket, REFRESH_MS, &report);
    if (r < 0)
        world_fail(life->world, "a refresh: %s", strerror(-r));
    else if (report->error < 0 || report->error_count > 0 || report->invariant_count > 0)
        world_fail(life->world, "a refresh: %s%s%s", report->message,
                   report->error_count > 0 ? report->errors[0].reason : "",
                   report->invariant_count > 0 ? report->invariant_violations[0] : "");
    else if (promises->shown != promises->next)
        world_fail(life->world, "version %d was served and is not published", promises->next);
    else if (flags & REFRESH_FILL)
        note_filled(life->world);
}

static void on_want(void *arg, const struct want_result *result)
{
    struct life *life = arg;

    if (result->error < 0 && result->error != -ECANCELED)
        world_fail(life->world, "a want: %s", result->message);
    scoped_lock(&life->lock);
    life->waiting--;
    pthread_cond_signal(&life->changed);
}

/* A reader opens something, or reads the end of it. */
static void want(struct life *life)
{
    const struct version *version = &life->world->versions[life->world->promises->shown];
    int index = version->slots[world_pick(&life->random, SLOTS)];

    if (index < 0)
        return;
    const struct blob_key *key = &life->world->contents[index].key;
    uint64_t size = world_pick(&life->random, 2) ? 0 : 8;

    {
        scoped_lock(&life->lock);
        life->waiting++;
    }
    int r = engine_want(life->engine, key, size ? key->size - size : 0, size, on_want, life);

    scoped_lock(&life->lock);
    if (r < 0) {
        life->waiting--;
        world_fail(life->world, "engine_want: %s", strerror(-r));
    }
    while (life->waiting > 0)
        pthread_cond_wait(&life->changed, &life->lock);
}

static void pin(struct life *life)
{
    int *pinned = &life->world->promises->pinned;
    int before = *pinned;

    *pinned = -1;
    int r = before ? engine_unpin(life->engine, WORLD_PIN) : engine_pin(life->engine, WORLD_PIN);

    if (r < 0)
        world_fail(life->world, "a pin: %s", strerror(-r));
    else
        *pinned = !before;
}

/* --- what is left when all is done --- */

static void on_finding(void *arg, const struct audit_finding *finding)
{
    struct life *life = arg;

    world_fail(life->world, "after a whole refresh: %s %s", audit_kind_name(finding->kind),
               finding->path);
}

/* sorted: as a tree has them. */
static void audit(struct life *life, const struct tree *tree)
{
    const struct audit_options options = {.deep = true};
    struct blob_key keys[KEYS_MAX];
    size_t count = tree_blob_count(tree);

    for (uint32_t i = 0; i < count; i++)
        keys[i] = tree_blob(tree, i)->key;

    const struct store_keep keep = {keys, count};
    int r = store_audit(life->store, &keep, &keep, &options, on_finding, life);

    if (r < 0)
        world_fail(life->world, "store_audit: %s", strerror(-r));
}

static void work(struct life *life)
{
    unsigned rounds = 1 + world_pick(&life->random, 2);

    for (unsigned i = 0; i < rounds && !*world_failure(life->world); i++) {
        bool fill = i + 1 == rounds && world_pick(&life->random, 2);

        refresh(life, fill ? REFRESH_FILL : 0);
        if (!*world_failure(life->world) && world_pick(&life->random, 2))
            want(life);
        if (!*world_failure(life->world) && world_pick(&life->random, 4) == 0)
            pin(life);
        if (!fill || *world_failure(life->world))
            continue;

        scoped(tree_unrefp) struct tree *tree = engine_tree(life->engine);

        engine_free(take_ptr(life->engine));
        audit(life, tree);
    }
}

void life_of_sync(struct world *world, struct store *store, uint64_t seed)
{
    struct life life = {.world = world, .store = store, .random = seed};
    scoped(source_freep) struct source *source = NULL;
    char url[512];

    pthread_mutex_init(&life.lock, NULL);
    pthread_cond_init(&life.changed, NULL);
    snprintf(url, sizeof(url), "%s/manifest.json", world->stack);
    world_serve(world, world->promises->shown < 0 ? 0 : world->promises->shown);
    if (source_parse(url, &source) < 0)
        world_fail(world, "%s is no source", url);
    else
        life.engine = engine_of(&life, source);
    if (life.engine)
        work(&life);
    engine_free(life.engine);
    store_close(store);
}
