/* SPDX-License-Identifier: MIT */
/* Another process has the cache: it refreshes and fetches, we show what it published, and ask it for
 * bytes (engine_conf.borrow). When it is gone, whoever gets the lock first goes on in its place; the
 * kernel gives a lock back however its holder dies, so there is nothing to detect but that.
 *
 * Why nobody sees half of what the other one does: its state file appears by rename and names only
 * blobs that are durable or can be fetched, exactly as after a restart. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>

#include "cache/scoped.h"
#include "sync/engine_private.h"

#define LOOK_MS 300

/* Followers hold a shared lock on a file beside the cache's own, so that the other process can see
 * whether there are any. Where it can not be had, they may find a blob gone a moment too early. */
static int open_followers(const struct engine *engine)
{
    return openat(store_dirfd(engine->conf.store), "followers",
                  O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
}

static void join(struct engine *engine)
{
    engine->followers_fd = open_followers(engine);
    if (engine->followers_fd >= 0)
        flock(engine->followers_fd, LOCK_SH | LOCK_NB);
}

static void leave(struct engine *engine)
{
    if (engine->followers_fd >= 0)
        close(engine->followers_fd);
    engine->followers_fd = -1;
}

bool engine_has_followers(const struct engine *engine)
{
    scoped_fd int fd = open_followers(engine);

    return fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) < 0;
}

bool engine_follows(const struct engine *engine)
{
    return atomic_load(&engine->following);
}

/* Takes over what the state file says, if it says something else than we show. */
static void take_state(struct engine *engine)
{
    struct state state = {.tree = NULL};
    bool previous = false;
    char message[160];

    if (state_load(store_dirfd(engine->conf.store), engine_decorator(engine), engine->conf.arg,
                   &state, &previous, message) < 0)
        return;

    scoped(tree_unrefp) struct tree *last = engine_tree(engine);
    scoped(tree_unrefp) struct tree *view = NULL;
    bool news = (!last || tree_generation(last) != tree_generation(state.tree)) &&
                engine_view(engine, state.tree, &view) == 0;

    {
        scoped_lock(&engine->lock);
        engine->status.last_success_unix = state.last_sync_unix;
    }
    memcpy(engine->doubt_since, state.doubt_since, sizeof(engine->doubt_since));
    engine->torn = previous;
    engine->state_unix = state.last_sync_unix;
    engine->image_due = true;
    if (news)
        engine_show(engine, state.tree, view);
    state_release(&state);
}

static void look(struct engine *engine, struct state_stamp *stamp)
{
    struct state_stamp now;

    if (state_look(store_dirfd(engine->conf.store), &now) < 0 || state_same(&now, stamp))
        return;
    *stamp = now;
    take_state(engine);
}

/* A refresh of ours is to look at what the other one has published. */
static void answer(struct engine *engine, const struct ask *ask)
{
    scoped(tree_unrefp) struct tree *tree = engine_tree(engine);
    struct report *report = report_new();

    if (report && tree)
        report->generation = tree_generation(tree);
    else if (report)
        report->error = -EBUSY;
    if (report && report->error)
        snprintf(report->message, sizeof(report->message),
                 "the process that has the cache has not published anything yet");
    engine_ended(engine, ask, report);
}

static bool take_over(struct engine *engine)
{
    if (store_promote(engine->conf.store) < 0)
        return false;
    take_state(engine);
    engine_set_budget(engine);
    engine->sweep_due = true;
    atomic_store(&engine->following, false);
    if (engine->conf.took_over)
        engine->conf.took_over(engine->conf.arg);
    if (engine->conf.refresh_s > 0)
        engine_refresh(engine, 0, NULL);
    return true;
}

bool engine_follow(struct engine *engine)
{
    struct state_stamp stamp = {0};
    struct ask ask;

    join(engine);
    for (;;) {
        if (take_over(engine)) {
            leave(engine);
            return true;
        }
        look(engine, &stamp);
        switch (engine_sleep(engine, engine_now_ms() + LOOK_MS, &ask)) {
        case DUTY_STOP: leave(engine); return false;
        case DUTY_REFRESH:
            look(engine, &stamp);
            answer(engine, &ask);
            break;
        case DUTY_TIMER:
        case DUTY_ROUND:
        default: break;
        }
    }
}
