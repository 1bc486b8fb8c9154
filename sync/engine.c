/* SPDX-License-Identifier: MIT */
/* Why readers never see half an update: engine_refresh_once below is the only place that changes
 * what is published, its steps are in the order of the design, and whichever fails returns before
 * the next. What it publishes names only bytes that are durable or that can still be had; what it
 * removes is removed last. One thread runs it, so two refreshes can not meet. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "cache/scoped.h"
#include "sync/engine_private.h"

#define FLUSH_EVERY_MS 3000
#define SAVE_EVERY_MS 30000
#define RETRY_S 60

/* --- the whole of it --- */

static int engine_refresh_once(struct refresh *refresh)
{
    struct engine *engine = refresh->engine;
    bool dry = refresh->flags & REFRESH_DRY_RUN;
    int r;

    /* One request; parsed, or a reason why none of it counts. */
    r = refresh_fetch_manifest(refresh);
    if (r < 0)
        return r;

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
    r = refresh_make_tree(refresh);
    if (r < 0 || dry)
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

    /* Only now does anything go. */
    refresh_sweep(refresh);

    if (refresh->flags & (REFRESH_FILL | REFRESH_PINNED))
        return refresh_fill(refresh);
    engine_prefetch_from(engine, engine->conf.prefetch == PREFETCH_NONE ? NULL : refresh->next);
    return 0;
}

static void refresh_release(struct refresh *refresh)
{
    plan_free(refresh->plan);
    manifest_free(refresh->manifest);
    tree_unref(refresh->last);
    tree_unref(refresh->next);
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

static void engine_run(struct engine *engine, const struct ask *ask)
{
    struct report *report = report_new();
    int64_t began_ms = engine_now_ms();
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    if (report) {
        scoped(refresh_release) struct refresh refresh = {
            .engine = engine,
            .flags = ask->flags,
            .report = report,
            .last = engine_tree(engine),
            .now_ns = (int64_t)now.tv_sec * 1000000000 + now.tv_nsec,
        };

        memcpy(refresh.doubt_since, engine->doubt_since, sizeof(refresh.doubt_since));
        report->dry_run = ask->flags & REFRESH_DRY_RUN;
        report->generation = refresh.last ? tree_generation(refresh.last) : 0;
        engine_set_staging(engine, true);
        engine_refresh_once(&refresh);
        engine_set_staging(engine, false);
        note_source(engine, report->error);
        flush_now_and_then(engine);
        report->seconds = (double)(engine_now_ms() - began_ms) / 1000;
        if (engine->conf.refreshed)
            engine->conf.refreshed(engine->conf.arg, report);
        confirm_post(engine->confirm, report);
    }
    engine_ended(engine, ask, report);
}

/* --- the sync thread --- */

static bool engine_last_failed(struct engine *engine)
{
    scoped_lock(&engine->lock);
    return engine->status.error != 0;
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
    engine->refresh_at_ms = engine->conf.refresh_s ? now + wait : 0;
    scoped_lock(&engine->lock);
    engine->status.next_refresh_unix = engine->conf.refresh_s
                                           ? engine_unix_now() + (uint64_t)wait / 1000
                                           : 0;
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

enum duty engine_sleep(struct engine *engine, int64_t until_ms, struct ask *ret_ask)
{
    const struct timespec until = {.tv_sec = until_ms / 1000, .tv_nsec = until_ms % 1000 * 1000000};

    scoped_lock(&engine->lock);
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
    int64_t until_ms = earlier(engine->refresh_at_ms, engine->sweep_at_ms);

    {
        scoped_lock(&engine->lock);
        if (engine->unflushed)
            until_ms = earlier(until_ms, engine->flush_at_ms);
    }
    if (engine->unsaved)
        until_ms = earlier(until_ms, engine->save_at_ms);
    return engine_sleep(engine, until_ms, ret_ask);
}

static void *engine_main(void *arg)
{
    struct engine *engine = arg;
    enum duty duty;
    struct ask ask;

    if (engine_follows(engine) && !engine_follow(engine))
        return NULL;
    store_recount(engine->conf.store);
    plan_next_refresh(engine);
    while ((duty = engine_next(engine, &ask)) != DUTY_STOP) {
        if (duty == DUTY_REFRESH)
            engine_run(engine, &ask);
        if (duty == DUTY_REFRESH)
            plan_next_refresh(engine);
        if (duty == DUTY_TIMER)
            engine_refresh(engine, 0, NULL);
        if (engine->sweep_at_ms != 0 && engine_now_ms() >= engine->sweep_at_ms)
            engine_sweep(engine, SWEEP_AGAIN);
        engine_prefetch_more(engine);
        flush_now_and_then(engine);
    }
    if (engine->leaving_count > 0)
        engine_sweep(engine, SWEEP_AT_END);
    return NULL;
}

/* --- the whole --- */

/* The strings of conf become ours, all or none. */
static int own_strings(struct engine_conf *conf)
{
    const char **strings[] = {&conf->state_dir, &conf->user_agent, &conf->ca_file, &conf->proxy};
    bool failed = false;

    for (size_t i = 0; i < sizeof(strings) / sizeof(*strings); i++) {
        const char *given = *strings[i];

        *strings[i] = given ? strdup(given) : NULL;
        failed |= given && !*strings[i];
    }
    return failed ? -ENOMEM : 0;
}

static void free_strings(const struct engine_conf *conf)
{
    free((char *)conf->state_dir);
    free((char *)conf->user_agent);
    free((char *)conf->ca_file);
    free((char *)conf->proxy);
}

static int open_state_dir(struct engine *engine)
{
    const char *path = engine->conf.state_dir;
    int dirfd = store_dirfd(engine->conf.store);

    if (path) {
        if (mkdir(path, 0700) < 0 && errno != EEXIST)
            return negative_errno();
        engine->state_dirfd = dirfd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (dirfd < 0)
            return negative_errno();
    }
    int r = pins_open(dirfd, &engine->pins);

    return r < 0 ? r : first_seen_open(dirfd, &engine->first_seen);
}

/* What can not be read is no generation, and no ground for deleting anything. */
static int load_last_generation(struct engine *engine)
{
    struct state state = {.tree = NULL};
    bool previous = false;
    char message[160];
    int r = state_load(store_dirfd(engine->conf.store), engine->conf.decorate, engine->conf.arg,
                       &state, &previous, message);

    engine->blind = r < 0 || previous;
    engine->torn = previous;
    engine->sweep_due = true;
    if (r == -ENOENT || r == -EBADMSG)
        return 0;
    if (r < 0)
        return r;
    engine->tree = state.tree;
    engine->pinned = engine_pinned_in(engine, state.tree);
    engine->status.last_success_unix = state.last_sync_unix;
    memcpy(engine->doubt_since, state.doubt_since, sizeof(engine->doubt_since));
    return 0;
}

static void init_lock(struct engine *engine)
{
    pthread_condattr_t monotonic;

    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&engine->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pthread_mutex_init(&engine->lock, NULL);
    pthread_mutex_init(&engine->pins_lock, NULL);
}

int engine_new(const struct engine_conf *conf, struct engine **ret_engine)
{
    struct engine *engine = calloc(1, sizeof(*engine));
    int r;

    if (!engine)
        return -ENOMEM;
    init_lock(engine);
    engine->conf = *conf;
    engine->state_dirfd = -1;
    engine->followers_fd = -1;
    engine->flush_at_ms = engine_now_ms();
    atomic_init(&engine->following, store_mode(conf->store) == STORE_READER);
    r = own_strings(&engine->conf);
    if (r == 0)
        r = open_state_dir(engine);
    if (r == 0)
        r = load_last_generation(engine);
    if (r == 0 && !engine_follows(engine))
        engine_set_budget(engine);
    if (r < 0) {
        engine_free(engine);
        return r;
    }
    *ret_engine = engine;
    return 0;
}

static void on_spoiled(void *arg, const struct blob_key *key)
{
    const struct engine *engine = arg;

    if (engine->conf.spoiled)
        engine->conf.spoiled(engine->conf.arg, key);
}

int engine_start(struct engine *engine)
{
    const struct engine_conf *conf = &engine->conf;
    struct transfers_conf transfers = {
        .store = conf->store,
        .source = conf->source,
        .jobs = conf->jobs,
        .timeout_s = conf->timeout_s,
        .user_agent = conf->user_agent,
        .ca_file = conf->ca_file,
        .proxy = conf->proxy,
        .token = conf->token,
        .token_arg = conf->token_arg,
        .spoiled = on_spoiled,
        .spoiled_arg = engine,
    };
    int r = transfers_new(&transfers, &engine->transfers);

    if (r < 0)
        return r;
    engine_begin_to_confirm(engine);
    r = pthread_create(&engine->thread, NULL, engine_main, engine);
    engine->started = r == 0;
    return -r;
}

/* The order matters: first nobody waits, then no want runs, then the sync thread has ended. */
void engine_free(struct engine *engine)
{
    if (!engine)
        return;
    {
        scoped_lock(&engine->lock);
        engine->stopping = true;
        pthread_cond_broadcast(&engine->changed);
    }
    if (engine->transfers)
        transfers_stop(engine->transfers);
    if (engine->started)
        pthread_join(engine->thread, NULL);
    confirm_free(engine->confirm);
    transfers_free(engine->transfers);
    for (size_t i = 0; i < TICKETS_KEPT; i++)
        report_free(engine->ended[i].report);
    first_seen_close(engine->first_seen);
    if (engine->state_dirfd >= 0)
        close(engine->state_dirfd);
    engine_prefetch_from(engine, NULL);
    store_set_budget(engine->conf.store, &(struct budget){.judge = NULL});
    tree_unref(engine->tree);
    free(engine->problems);
    free(engine->leaving);
    free(engine->pinned);
    pins_close(engine->pins);
    free_strings(&engine->conf);
    pthread_cond_destroy(&engine->changed);
    pthread_mutex_destroy(&engine->lock);
    pthread_mutex_destroy(&engine->pins_lock);
    free(engine);
}

struct tree *engine_tree(struct engine *engine)
{
    scoped_lock(&engine->lock);
    return engine->tree ? tree_ref(engine->tree) : NULL;
}
