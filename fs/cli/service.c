/* SPDX-License-Identifier: MIT */
/* service.c - the order of things.
 *
 * Up:   how the process before us ended -> control claim (nobody else serves this mount point) -> log
 *       -> giving up privileges (before any thread) -> signals (likewise) -> engine -> control socket
 *       -> [first refresh] -> mount -> its thread -> systemd's watchdog
 * Down: control socket, metrics (nobody asks any more) -> mount pointer (nobody publishes any more) ->
 *       engine (every want that is waiting ends) -> mount -> watchdog -> log -> control lock.
 *       Whoever waits for the lock finds everything else gone but the cache's own lock, which the
 *       session's end releases right after; so the lock is given up last of all, by
 *       control_free after session_close (verb_mount.c). */
#include "fs/cli/service.h"

#include <errno.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>

#include "cache/scoped.h"
#include "fs/cli/format.h"
#include "fs/cli/paths.h"

enum { LOOK_MS = 100 };

/* --- up --- */

static int claim(struct service *service, struct complaint *ret_complaint)
{
    scoped_free char *runtime = NULL;
    pid_t owner = 0;
    int r = paths_runtime(&runtime);

    if (r < 0)
        return complain(ret_complaint, EXIT_MOUNT, "control socket", "no private folder for it: %s",
                        strerror(-r));
    if (death_find(runtime, service->mountpoint, &service->before) < 0)
        service->before.pid = 0;
    r = control_claim(runtime, service->mountpoint, &service->control);
    if (r == -EBUSY && control_owner(runtime, service->mountpoint, &owner) == 0) {
        complain(ret_complaint, EXIT_MOUNT, service->mountpoint, "process %d serves it already",
                 (int)owner);
        complaint_hint(ret_complaint, "agnesfs status %s; agnesfs umount %s", service->mountpoint,
                       service->mountpoint);
        return r;
    }
    return r < 0 ? complain(ret_complaint, EXIT_MOUNT, runtime, "%s", strerror(-r)) : 0;
}

/* Only a mount that shares the cache of another one borrows. */
static int open_borrower(struct service *service)
{
    const struct borrower_conf conf = {
        .cache_dir = service->session->cache_dir,
        .own = service->mountpoint,
        .timeout_s = (unsigned)options_number(service->session->options, OPTION_TIMEOUT),
        .engine = service->engine,
    };

    return engine_follows(service->engine) ? borrower_new(&conf, &service->borrower) : 0;
}

static int open_engine(struct service *service, struct complaint *ret_complaint)
{
    scoped_free char *decoration = service_decoration(service);
    struct engine_conf conf;
    int r;

    session_engine_conf(service->session, &conf);
    service_fill_conf(service, &conf);
    conf.decoration = decoration;
    r = engine_new(&conf, &service->engine);
    if (r == 0)
        r = open_borrower(service);
    return r < 0
               ? complain(ret_complaint, EXIT_DISK, service->session->cache_dir, "%s", strerror(-r))
               : 0;
}

static void tell_of_the_dead(const struct service *service)
{
    char when[FORMAT_SIZE];

    if (!service->before.pid)
        return;
    format_time(service->before.alive_unix, when);
    log_write(service->log, LOG_WARNING, "the process before this one, %d, was %s (alive at %s)",
              (int)service->before.pid, service->before.reason, when);
}

static int open_log(struct service *service, struct complaint *ret_complaint)
{
    const struct options *options = service->session->options;
    const char *format = options_text(options, OPTION_LOG_FORMAT);
    struct log_conf conf = {
        .path = service->log_path,
        .level = LOG_INFO,
        .format = log_format_pick(format, !service->log_path),
        .mountpoint = service->mountpoint,
        .journal = LOG_JOURNAL_SOCKET,
    };

    log_level_parse(options_text(options, OPTION_LOG_LEVEL), &conf.level);

    int r = log_open(&conf, &service->log);

    if (r < 0 && conf.format == LOG_JOURNAL && !format) {
        conf.format = LOG_TEXT;
        r = log_open(&conf, &service->log);
    }
    if (r == 0)
        return 0;
    complain(ret_complaint, EXIT_DISK, conf.format == LOG_JOURNAL ? conf.journal : conf.path, "%s",
             strerror(-r));
    if (conf.format == LOG_JOURNAL)
        complaint_hint(ret_complaint, "without systemd's journal: --log-format text or json");
    return r;
}

int service_open(struct session *session, struct mounter *mounter, char *mountpoint, char *log_path,
                 struct service *ret_service, struct complaint *ret_complaint)
{
    struct service *service = ret_service;
    int r;

    *service = (struct service){.session = session,
                                .mounter = mounter,
                                .mountpoint = mountpoint,
                                .log_path = log_path,
                                .started_unix = (uint64_t)time(NULL)};
    pthread_mutex_init(&service->lock, NULL);
    pthread_cond_init(&service->changed, NULL);
    if ((r = claim(service, ret_complaint)) < 0 ||
        (r = service_check_metrics(service, ret_complaint)) < 0)
        return r;
    if ((r = open_log(service, ret_complaint)) < 0)
        return r;
    tell_of_the_dead(service);
    if ((r = readers_new(&service->readers)) < 0)
        return complain(ret_complaint, EXIT_FAILED, mountpoint, "%s", strerror(-r));
    if ((r = service_harden(service)) < 0)
        return complain(ret_complaint, EXIT_FAILED, "sandbox", "%s", strerror(-r));
    if ((r = signals_start(true, service_signal, service, &service->signals)) < 0)
        return complain(ret_complaint, EXIT_FAILED, "signals", "%s", strerror(-r));
    return open_engine(service, ret_complaint);
}

int service_first_report(struct service *service, int timeout_ms, struct report **ret_report)
{
    return engine_wait(service->engine, service->first_refresh, timeout_ms, ret_report);
}

/* Whoever has the cache has nothing to show yet either. */
static int ask_again(struct service *service, struct report **report)
{
    report_free(take_ptr(*report));
    return engine_refresh(service->engine, 0, &service->first_refresh);
}

/* Nothing to show yet: the first refresh must succeed. */
static int wait_for_generation(struct service *service, struct complaint *ret_complaint)
{
    const struct session *session = service->session;
    scoped(report_freep) struct report *report = NULL;
    int r;

    while ((r = service_first_report(service, LOOK_MS, &report)) == -ETIMEDOUT ||
           (r == 0 && report->error == -EBUSY)) {
        if (service->stopping)
            return complain(ret_complaint, EXIT_INTERRUPTED, service->mountpoint, "interrupted");
        if (r == 0 && (r = ask_again(service, &report)) < 0)
            break;
    }
    if (r < 0)
        return complain(ret_complaint, exit_code_of(r), session_source(session), "%s",
                        strerror(-r));
    if (report->error)
        return complain_refresh(ret_complaint, session_source(session), session->discovery.origin,
                                token_present(session->token), report->error, report->message);
    return 0;
}

static void now_answers(void *arg)
{
    struct service *service = arg;

    scoped_lock(&service->lock);
    service->answers = true;
    pthread_cond_broadcast(&service->changed);
}

static void *run_mount(void *arg)
{
    struct service *service = arg;
    int r = mount_run(service->mount, now_answers, service);

    scoped_lock(&service->lock);
    service->run_error = r;
    service->ended = true;
    pthread_cond_broadcast(&service->changed);
    return NULL;
}

/* On overlayfs, as in most containers, or on another of the stacked kind? */
static bool is_stacked(const char *path)
{
    struct statfs fs;

    return statfs(path, &fs) == 0 &&
           (fs.f_type == OVERLAYFS_SUPER_MAGIC || fs.f_type == ECRYPTFS_SUPER_MAGIC ||
            fs.f_type == FUSE_SUPER_MAGIC);
}

/* Without it the mount works all the same. */
static void watch_over(struct service *service)
{
    scoped_free char *runtime = NULL;

    if (paths_runtime(&runtime) == 0)
        death_watch(runtime, service->mountpoint, service->log, &service->watch);
}

/* The generation and the mount that shows it come together under the lock: what the engine
 * publishes meanwhile waits, and is published to this mount afterwards. */
static int make_mount(struct service *service, struct complaint *ret_complaint)
{
    const struct options *options = service->session->options;
    bool has_uid = options_text(options, OPTION_UID) != NULL;
    bool has_gid = options_text(options, OPTION_GID) != NULL;
    const struct mount_conf conf = {
        .mounter = service->mounter,
        .source = session_source(service->session),
        .provider = service_provider(service),
        .uid = has_uid ? (uid_t)options_number(options, OPTION_UID) : getuid(),
        .gid = has_gid ? (gid_t)options_number(options, OPTION_GID) : getgid(),
        .umask = (mode_t)options_number(options, OPTION_UMASK),
        .io_uring = options_number(options, OPTION_IO_URING),
        .stacked = is_stacked(service->session->cache_dir),
    };

    scoped_lock(&service->lock);

    struct tree *tree = engine_tree(service->engine);
    struct mount *mount = NULL;
    int r = tree ? mount_new(&conf, tree, &mount) : -ENODATA;

    tree_unref(tree);
    if (r < 0)
        return complain_mount(ret_complaint, service->mountpoint, r);
    service->mount = mount;
    if (service->stopping)
        mount_stop(service->mount);
    r = -pthread_create(&service->thread, NULL, run_mount, service);
    service->threaded = r == 0;
    return r < 0 ? complain_mount(ret_complaint, service->mountpoint, r) : 0;
}

/* Until the kernel has shaken hands, and then the proof: a stat from outside. */
static int wait_for_answer(struct service *service, struct complaint *ret_complaint)
{
    int r;

    pthread_mutex_lock(&service->lock);
    while (!service->answers && !service->ended)
        pthread_cond_wait(&service->changed, &service->lock);
    r = service->answers ? 0 : service->run_error < 0 ? service->run_error : -EIO;
    pthread_mutex_unlock(&service->lock);
    if (r == 0)
        r = mounter_look(service->mounter);
    return r < 0 ? complain_mount(ret_complaint, service->mountpoint, r) : 0;
}

int service_mount(struct service *service, struct complaint *ret_complaint)
{
    scoped(tree_unrefp) struct tree *known = engine_tree(service->engine);
    int r = engine_start(service->engine);

    if (r == 0 && !known)
        r = engine_refresh(service->engine, 0, &service->first_refresh);
    if (r == 0)
        r = control_serve(service->control, service_answer, service);
    if (r < 0)
        return complain(ret_complaint, exit_code_of(r), session_source(service->session), "%s",
                        strerror(-r));
    if ((!known && (r = wait_for_generation(service, ret_complaint)) < 0) ||
        (r = make_mount(service, ret_complaint)) < 0 ||
        (r = wait_for_answer(service, ret_complaint)) < 0)
        return r;
    if ((r = systemd_watch_new(service->mountpoint, &service->watchdog)) < 0)
        return complain(ret_complaint, EXIT_FAILED, "watchdog", "%s", strerror(-r));
    watch_over(service);
    service_start_metrics(service);
    if (known) /* not sooner: what is known is shown first, and nothing competes with that */
        engine_refresh(service->engine, 0, &service->first_refresh);
    log_event(service->log, LOG_INFO, &(struct log_fields){.url = session_source(service->session)},
              "mounted %s at %s", session_source(service->session), service->mountpoint);
    return 0;
}

/* --- down --- */

int service_wait(struct service *service)
{
    pthread_join(service->thread, NULL);
    service->threaded = false;
    log_write(service->log, LOG_INFO, "unmounted %s", service->mountpoint);
    return service->run_error;
}

static struct mount *take_mount(struct service *service)
{
    scoped_lock(&service->lock);
    return atomic_exchange(&service->mount, NULL);
}

void service_close(struct service *service)
{
    systemd_stopping();
    if (service->control)
        control_end(service->control);
    metrics_file_end(service->metrics);
    if (service->threaded) {
        mount_stop(service->mount);
        pthread_join(service->thread, NULL);
    }

    struct mount *mount = take_mount(service);

    borrower_free(service->borrower);
    engine_free(service->engine);
    if (mount)
        mount_free(mount);
    readers_free(service->readers);
    systemd_watch_free(service->watchdog);
    signals_stop(service->signals);
    service_forget_errors(service);
    death_end(service->watch);
    log_close(service->log);
    pthread_cond_destroy(&service->changed);
    pthread_mutex_destroy(&service->lock);
    free(service->mountpoint);
    free(service->log_path);
    service->engine = NULL;
}
