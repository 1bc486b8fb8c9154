/* SPDX-License-Identifier: MIT */
/* Why readers never see half an update: engine_refresh_once below is the only place that changes
 * what is published, its steps are in the order of the design, and whichever fails returns before
 * the next. What it publishes names only bytes that are durable or that can still be had; what it
 * removes is removed last. One thread runs it, so two refreshes can not meet. */
#include <errno.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif
#include <string.h>
#include <time.h>

#include "cache/scoped.h"
#include "sync/engine_private.h"

#define FLUSH_EVERY_MS 3000
#define SAVE_EVERY_MS 30000
#define RETRY_S 60
#define SOONEST_S 60 /* a server is not asked for its manifest more often by itself */
#define RECOUNT_MS 1000

/* --- the whole of it --- */

/* From the manifest to the next generation. */
static int decide(struct refresh *refresh)
{
    bool dry = refresh->flags & REFRESH_DRY_RUN;
    int r;

    /* Why the server keeps tables to itself, asked where that is news. */
    r = refresh_explain(refresh);
    if (r < 0)
        return r;

    /* Sudden emptiness is cross-checked, else held. Then: what must be here first? */
    r = refresh_plan(refresh);
    if (r < 0)
        return r;

    /* What fails keeps what it had. */
    r = dry ? 0 : refresh_stage(refresh);
    if (r < 0)
        return r;

    /* The next generation, or, without news, the very same tree. */
    return refresh_make_tree(refresh);
}

static int engine_refresh_once(struct refresh *refresh)
{
    struct engine *engine = refresh->engine;
    int r;

    /* One request; parsed, or a reason why none of it counts. What says what the last one said is
     * not parsed: then the next generation is the last. */
    r = refresh_fetch_manifest(refresh);
    if (r == 0 && !refresh->next)
        r = decide(refresh);
    if (r < 0 || refresh->flags & REFRESH_DRY_RUN)
        return r;

    /* Blobs, then the state that names them; then one pointer. */
    if (refresh->next != refresh->last) {
        r = refresh_make_durable(refresh);
        if (r < 0)
            return r;
        refresh_publish(refresh);
    } else if (engine->torn || refresh_doubts_changed(refresh)) {
        r = refresh_save_state(refresh);
        if (r < 0)
            return r;
    }

    refresh_remember(refresh);
    for (enum tree_section section = 0; section < TREE_SECTIONS; section++)
        refresh->holds |= refresh->report->sections[section].held;

    /* Only now does anything go, and where nobody waits for bytes, later still: see clear_up. */
    refresh->unswept = !(refresh->flags & (REFRESH_FILL | REFRESH_PINNED));
    if (refresh->unswept)
        return 0;
    refresh_sweep(refresh);
    return refresh_fill(refresh);
}

/* What nobody waits for: names are gone when the switch is made, whenever their bytes go. */
static void clear_up(struct refresh *refresh)
{
    struct engine *engine = refresh->engine;
    scoped(tree_unrefp) struct tree *tree = engine_generation(engine);
    scoped(tree_unrefp) struct tree *view = engine_tree(engine);

    if (refresh->published)
        first_seen_save(engine->first_seen, tree);
    if (!refresh->unswept)
        return;
    refresh_sweep(refresh);
    engine_prefetch_from(engine, engine->conf.prefetch == PREFETCH_NONE ? NULL : view);
}

static void refresh_release(struct refresh *refresh)
{
    plan_free(refresh->plan);
    manifest_free(refresh->manifest);
    tree_unref(refresh->before);
    tree_unref(refresh->last);
    tree_unref(refresh->next);
    tree_unref(refresh->view);
    refutations_release(&refresh->refutations);
    report_free(refresh->report);
}

static void engine_set_staging(struct engine *engine, bool staging)
{
    scoped_lock(&engine->lock);
    engine->staging = staging;
}

/* While the source does not answer, readers of cold data are told so at once. */
static void note_source(struct engine *engine, int error)
{
    if (error == 0 || error == -EHOSTUNREACH || error == -ETIMEDOUT || error == -EAGAIN)
        transfers_set_away(engine->transfers, error != 0);
}

/* Names of blobs that came by demand or prefetch, made durable in batches; and now and then what is
 * known of all blobs, which spares reading them after a crash. */
static void flush_now_and_then(struct engine *engine)
{
    int64_t now = engine_now_ms();
    bool flush;

    {
        scoped_lock(&engine->lock);
        flush = engine->unflushed && now >= engine->flush_at_ms;
        engine->unflushed = engine->unflushed && !flush;
    }
    if (flush) {
        store_flush(engine->conf.store);
        engine->flush_at_ms = now + FLUSH_EVERY_MS;
        engine->unsaved = true;
    }
    if (engine->unsaved && now >= engine->save_at_ms) {
        store_save_trust(engine->conf.store);
        engine->unsaved = false;
        engine->save_at_ms = now + SAVE_EVERY_MS;
    }
}

static int refresh_begin(struct engine *engine, const struct ask *ask, struct refresh *ret_refresh)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    *ret_refresh = (struct refresh){
        .engine = engine,
        .flags = ask->flags,
        .last = engine_generation(engine),
        .before = engine_generation(engine),
        .now_ns = (int64_t)now.tv_sec * 1000000000 + now.tv_nsec,
    };
    if (refresh_recall_refutations(ret_refresh) < 0)
        return -ENOMEM;
    ret_refresh->report = report_new();
    if (!ret_refresh->report)
        return -ENOMEM;
    memcpy(ret_refresh->doubt_since, engine->doubt_since, sizeof(engine->doubt_since));
    ret_refresh->report->dry_run = ask->flags & REFRESH_DRY_RUN;
    ret_refresh->report->generation = ret_refresh->last ? tree_generation(ret_refresh->last) : 0;
    return 0;
}

/* Other bytes came than the manifest says: there may be a newer manifest by now. If it can not be
 * had, what the first one brought stands. */
static void refresh_again(struct refresh *refresh, const struct ask *ask)
{
    scoped(refresh_release) struct refresh again = {.engine = refresh->engine};
    int r;

    if (refresh_begin(refresh->engine, ask, &again) < 0)
        return;
    refresh_hand_on(refresh, &again);
    r = engine_refresh_once(&again);
    refresh->published |= again.published;
    if (r < 0)
        return;
    refresh->holds = again.holds;
    report_absorb(again.report, refresh->report);
    report_free(refresh->report);
    refresh->report = take_ptr(again.report);
}

/* What has come of it, before whoever asked is told. */
static void conclude(struct refresh *refresh, int64_t began_ms)
{
    struct engine *engine = refresh->engine;
    struct report *report = refresh->report;

    note_source(engine, report->error);
    report->seconds = (double)(engine_now_ms() - began_ms) / 1000;
    if (engine->conf.refreshed)
        engine->conf.refreshed(engine->conf.arg, report);
    confirm_post(engine->confirm, report);
}

/* True: it has read a manifest. */
static bool engine_run(struct engine *engine, const struct ask *ask)
{
    int64_t began_ms = engine_now_ms();
    scoped(refresh_release) struct refresh refresh = {.engine = engine};

    if (refresh_begin(engine, ask, &refresh) == 0) {
        engine_set_staging(engine, true);
        if (engine_refresh_once(&refresh) == 0 && refresh_was_refuted(&refresh))
            refresh_again(&refresh, ask);
        engine_set_staging(engine, false);
        conclude(&refresh, began_ms);
    }
    engine_ended(engine, ask, take_ptr(refresh.report));
    clear_up(&refresh);
    engine_save_image(engine);
    return refresh.manifest;
}

/* --- the sync thread --- */

static bool engine_last_failed(struct engine *engine)
{
    scoped_lock(&engine->lock);
    return engine->status.error != 0;
}

/* 0: not by itself. */
static void refresh_at(struct engine *engine, int64_t at_ms)
{
    engine->refresh_at_ms = at_ms;
    scoped_lock(&engine->lock);
    engine->status.next_refresh_unix = at_ms == 0 ? 0
                                                  : engine_unix_now() +
                                                        (uint64_t)(at_ms - engine_now_ms()) / 1000;
}

/* A tenth more or less, so that many mounts of one server drift apart. After a failure it is tried
 * again sooner, but never so often that it would be a burden there. */
static void plan_next_refresh(struct engine *engine)
{
    int64_t now = engine_now_ms();
    bool failed = engine_last_failed(engine);
    int64_t wait = (int64_t)(failed && engine->conf.refresh_s > RETRY_S ? RETRY_S
                                                                        : engine->conf.refresh_s) *
                   1000;
    struct timespec time;

    clock_gettime(CLOCK_REALTIME, &time);
    wait += wait / 10 * (time.tv_nsec / 1000 % 201 - 100) / 100;
    refresh_at(engine, engine->conf.refresh_s ? now + wait : 0);
    engine->soonest_ms = now + SOONEST_S * 1000;
}

/* What readers met may be in order in a newer manifest. */
static void refresh_sooner(struct engine *engine)
{
    {
        scoped_lock(&engine->lock);
        if (!engine->outdated)
            return;
        engine->outdated = false;
    }
    if (engine->refresh_at_ms > engine->soonest_ms)
        refresh_at(engine, engine->soonest_ms);
}

/* The caller holds the lock. The older ask first. */
static bool take_ask(struct engine *engine, struct ask *ret_ask)
{
    struct ask *real = &engine->asks[0];
    struct ask *dry = &engine->asks[1];
    struct ask *first = !real->ticket || (dry->ticket && dry->ticket < real->ticket) ? dry : real;

    if (first->ticket == 0)
        return false;
    *ret_ask = *first;
    *first = (struct ask){.ticket = 0};
    engine->status.refreshing = true;
    engine->status.last_attempt_unix = engine_unix_now();
    return true;
}

/* 0 is never. */
static int64_t earlier(int64_t a_ms, int64_t b_ms)
{
    return a_ms == 0 ? b_ms : b_ms == 0 || a_ms < b_ms ? a_ms : b_ms;
}

bool engine_is_asked(struct engine *engine)
{
    scoped_lock(&engine->lock);
    return engine->stopping || engine->asks[0].ticket || engine->asks[1].ticket;
}

enum duty engine_sleep(struct engine *engine, int64_t until_ms, struct ask *ret_ask)
{
    const struct timespec until = {.tv_sec = until_ms / 1000, .tv_nsec = until_ms % 1000 * 1000000};

    scoped_lock(&engine->lock);
    engine->status.refreshing = false;
    if (!engine->stopping && !engine->asks[0].ticket && !engine->asks[1].ticket) {
        if (until_ms == 0)
            pthread_cond_wait(&engine->changed, &engine->lock);
        else
            pthread_cond_timedwait(&engine->changed, &engine->lock, &until);
    }
    if (engine->stopping)
        return DUTY_STOP;
    if (take_ask(engine, ret_ask))
        return DUTY_REFRESH;
    return engine->refresh_at_ms != 0 && engine_now_ms() >= engine->refresh_at_ms ? DUTY_TIMER
                                                                                  : DUTY_ROUND;
}

static enum duty engine_next(struct engine *engine, struct ask *ret_ask)
{
    int64_t until_ms = earlier(earlier(engine->refresh_at_ms, engine->sweep_at_ms),
                               engine->recount_at_ms);

    {
        scoped_lock(&engine->lock);
        if (engine->unflushed)
            until_ms = earlier(until_ms, engine->flush_at_ms);
    }
    if (engine->unsaved)
        until_ms = earlier(until_ms, engine->save_at_ms);
    return engine_sleep(engine, until_ms, ret_ask);
}

/* A manifest, read and thrown away, leaves holes that the C library would keep: four times what a
 * mount of 100,000 tables needs. */
static void give_back_memory(void)
{
#ifdef __GLIBC__
    malloc_trim(0);
#endif
}

void *engine_main(void *arg)
{
    struct engine *engine = arg;
    enum duty duty;
    struct ask ask;

    if (engine_follows(engine) && !engine_follow(engine))
        return NULL;
    plan_next_refresh(engine);
    engine->recount_at_ms = engine_now_ms() + RECOUNT_MS;
    while ((duty = engine_next(engine, &ask)) != DUTY_STOP) {
        if (engine->recount_at_ms != 0)
            store_recount(engine->conf.store);
        engine->recount_at_ms = 0;
        if (duty == DUTY_REFRESH && engine_run(engine, &ask))
            give_back_memory();
        if (duty == DUTY_REFRESH)
            plan_next_refresh(engine);
        if (duty == DUTY_TIMER)
            engine_refresh(engine, 0, NULL);
        if (engine->sweep_at_ms != 0 && engine_now_ms() >= engine->sweep_at_ms)
            engine_sweep(engine, SWEEP_AGAIN);
        refresh_sooner(engine);
        engine_prefetch_more(engine);
        flush_now_and_then(engine);
    }
    return NULL;
}
