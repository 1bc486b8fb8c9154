/* SPDX-License-Identifier: MIT */
/* The engine's beginning and end. Why it starts with what is on disk alone: the last generation is
 * shown before anybody is asked; a state that can not be read is none, and no ground for deleting. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cache/scoped.h"
#include "sync/engine_private.h"
#include "sync/tree_image.h"

/* The strings of conf become ours, all or none. */
static int own_strings(struct engine_conf *conf)
{
    const char **strings[] = {&conf->state_dir, &conf->user_agent, &conf->ca_file, &conf->proxy,
                              &conf->decoration};
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
    free((char *)conf->decoration);
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

/* It is of a decorated generation. */
static bool has_image(const struct engine *engine)
{
    return engine->conf.decoration && !engine->conf.filter;
}

/* What can not be read is no generation, and no ground for deleting anything. */
static int load_last_generation(struct engine *engine)
{
    struct state state = {.tree = NULL};
    bool previous = false;
    char message[160];
    int dirfd = store_dirfd(engine->conf.store);
    bool image = has_image(engine) && state_image_load(dirfd, engine->conf.decoration, &state) == 0;
    int r = image ? 0
                  : state_load(dirfd, engine_decorator(engine), engine->conf.arg, &state, &previous,
                               message);

    engine->image_due = !image && !previous;
    engine->blind = r < 0 || previous;
    engine->torn = previous;
    engine->sweep_due = true;
    if (r == -ENOENT || r == -EBADMSG)
        return 0;
    if (r < 0)
        return r;
    tree_settle(&state.tree);
    engine->tree = state.tree;
    r = engine_view(engine, state.tree, &engine->view);
    if (r < 0)
        return r;
    r = engine_pinned_in(engine, state.tree, &engine->pinned);
    if (r < 0)
        return r;
    engine->status.last_success_unix = engine->state_unix = state.last_sync_unix;
    memcpy(engine->doubt_since, state.doubt_since, sizeof(engine->doubt_since));
    return 0;
}

/* For the next start. Not to have it only makes that slower. */
void engine_save_image(struct engine *engine)
{
    scoped(tree_unrefp) struct tree *tree = engine_tree(engine);
    struct state state = {.tree = tree, .last_sync_unix = engine->state_unix};

    if (!tree || !has_image(engine) || !engine->image_due || engine->torn)
        return;
    memcpy(state.doubt_since, engine->doubt_since, sizeof(state.doubt_since));
    state_image_save(store_dirfd(engine->conf.store), engine->conf.decoration, &state);
    engine->image_due = false;
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
        .signed_url = engine_signed_url,
        .signed_arg = engine,
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

/* The order matters: first nobody waits, then no want runs, then the sync thread has ended. Only now
 * nothing can come any more, so that what is to go stays away. */
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
    if (!engine_follows(engine) && (engine->leaving_count > 0 || engine->stray))
        engine_sweep(engine, SWEEP_AT_END);
    confirm_free(engine->confirm);
    transfers_free(engine->transfers);
    for (size_t i = 0; i < TICKETS_KEPT; i++)
        report_free(engine->ended[i].report);
    first_seen_close(engine->first_seen);
    if (engine->state_dirfd >= 0)
        close(engine->state_dirfd);
    engine_prefetch_from(engine, NULL);
    store_set_budget(engine->conf.store, &(struct budget){.judge = NULL});
    signed_urls_free(engine->signed_urls);
    engine_forget_words(engine);
    tree_unref(engine->tree);
    tree_unref(engine->view);
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

struct tree *engine_generation(struct engine *engine)
{
    scoped_lock(&engine->lock);
    return engine->tree ? tree_ref(engine->tree) : NULL;
}

struct tree *engine_tree(struct engine *engine)
{
    scoped_lock(&engine->lock);
    return engine->view ? tree_ref(engine->view) : NULL;
}

int engine_view(const struct engine *engine, struct tree *tree, struct tree **ret_view)
{
    const struct engine_conf *conf = &engine->conf;

    if (conf->filter)
        return filter_tree(conf->filter, tree, conf->decorate, conf->arg, ret_view);
    *ret_view = tree_ref(tree);
    return 0;
}

decorate_fn *engine_decorator(const struct engine *engine)
{
    return engine->conf.filter ? NULL : engine->conf.decorate;
}
