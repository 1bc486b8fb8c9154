/* SPDX-License-Identifier: MIT */
/* session.c - who holds a busy cache is read from /proc/locks: the kernel knows it even when the
 * holder never got as far as telling anybody. */
#include "fs/cli/session.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>

#include "cache/scoped.h"
#include "fs/cli/control.h"
#include "fs/cli/paths.h"
#include "fs/cli/progress.h"
#include "fs/cli/signals.h"

enum { LOOK_MS = 100 };

/* --- who has the cache? --- */

static pid_t lock_holder(const char *cache_dir)
{
    scoped_file FILE *file = fopen("/proc/locks", "re");
    scoped_free char *path = NULL;
    char line[256];
    struct stat st;

    if (!file || asprintf(&path, "%s/lock", cache_dir) < 0 || stat(path, &st) < 0)
        return 0;
    while (fgets(line, sizeof(line), file)) {
        unsigned major;
        unsigned minor;
        unsigned long inode;
        int pid;

        if (sscanf(line, "%*s FLOCK ADVISORY WRITE %d %x:%x:%lu", &pid, &major, &minor, &inode) ==
                4 &&
            inode == st.st_ino && makedev(major, minor) == st.st_dev)
            return pid;
    }
    return 0;
}

/* What that process has mounted; NULL if nothing we know of. */
static char *mountpoint_of(pid_t pid)
{
    scoped(control_list_freep) char **list = NULL;
    scoped_free char *runtime = NULL;

    if (pid <= 0 || paths_runtime(&runtime) < 0 || control_list(runtime, &list) < 0)
        return NULL;
    for (char **at = list; *at; at++) {
        pid_t owner;

        if (control_owner(runtime, *at, &owner) == 0 && owner == pid)
            return strdup(*at);
    }
    return NULL;
}

char *session_cache_mount(const char *cache_dir)
{
    return mountpoint_of(lock_holder(cache_dir));
}

static int refuse_store(const struct session *session, int error, enum store_mode mode,
                        struct complaint *ret_complaint)
{
    pid_t holder = error == -EBUSY ? lock_holder(session->cache_dir) : 0;
    scoped_free char *mountpoint = mountpoint_of(holder);

    if (error == -ENOENT && mode == STORE_READER) {
        complain(ret_complaint, EXIT_FAILED, session_source(session),
                 "nothing of it is in the cache yet");
        complaint_hint(ret_complaint, "agnesfs sync %s (source from %s)", session_source(session),
                       session->discovery.origin);
        return error;
    }
    return complain_store(ret_complaint, session->cache_dir, error, holder, mountpoint);
}

int session_find_mount(const struct options *options, const char *argument, char **ret_mountpoint,
                       struct complaint *ret_complaint)
{
    struct discovery discovery;
    scoped_free char *cache_dir = NULL;
    int r = discovery_find(argument, options, &discovery, ret_complaint);

    if (r < 0)
        return r;
    r = paths_cache(options_text(options, OPTION_CACHE_DIR), discovery.source, &cache_dir);
    discovery_release(&discovery);
    if (r < 0)
        return complain(ret_complaint, EXIT_DISK, "cache", "no place for it: %s", strerror(-r));
    *ret_mountpoint = session_cache_mount(cache_dir);
    return 0;
}

/* --- opening --- */

/* A mount shares a cache that another one has (engine.h); nobody else does. */
static int open_store(struct session *session, enum store_mode mode)
{
    bool shares = strcmp(options_verb(session->options), "mount") == 0;
    int r = store_open(session->cache_dir, mode, &session->store);
    scoped_free char *mountpoint = r == -EBUSY && shares ? session_cache_mount(session->cache_dir)
                                                         : NULL;

    return mountpoint ? store_open(session->cache_dir, STORE_READER, &session->store) : r;
}

static int open_filter(const struct options *options, struct filter **ret_filter,
                       struct complaint *ret_complaint)
{
    const char *only = options_text(options, OPTION_ONLY);
    const char *except = options_text(options, OPTION_EXCEPT);
    int r = filter_new(only, except, ret_filter);

    if (r == -EINVAL) {
        complain(ret_complaint, EXIT_USAGE, "only and except",
                 "not at most %d globs of at most %d bytes, with ':' between them",
                 FILTER_GLOBS_MAX, FILTER_GLOB_MAX);
        complaint_hint(ret_complaint, "--only 'sales/*:events/clicks'; \\: is a colon");
    } else if (r < 0) {
        complain(ret_complaint, EXIT_FAILED, "only and except", "%s", strerror(-r));
    }
    return r;
}

int session_view(const struct session *session,
                 int (*decorate)(void *arg, struct tree_builder *builder), void *arg,
                 struct tree **tree)
{
    struct tree *view;
    int r;

    if (!session->filter)
        return 0;
    r = filter_tree(session->filter, *tree, decorate, arg, &view);
    if (r < 0)
        return r;
    tree_unref(*tree);
    *tree = view;
    return 0;
}

int session_open(const struct options *options, const char *argument, enum store_mode mode,
                 struct session *ret_session, struct complaint *ret_complaint)
{
    struct session session = {.options = options};
    const char *cache_dir = options_text(options, OPTION_CACHE_DIR);
    int r = discovery_find(argument, options, &session.discovery, ret_complaint);

    if (r < 0)
        return r;
    r = open_filter(options, &session.filter, ret_complaint);
    if (r < 0) {
        session_close(&session);
        return r;
    }
    if ((r = paths_cache(cache_dir, session.discovery.source, &session.cache_dir)) < 0 ||
        (r = paths_state(session.discovery.source, &session.state_dir)) < 0)
        r = complain(ret_complaint, EXIT_DISK, "cache", "no place for it: %s", strerror(-r));
    if (r == 0 && mode == STORE_WRITER)
        r = token_new(options, session.discovery.source, &session.token, ret_complaint);
    if (r == 0 && mode == STORE_WRITER && (r = paths_make_private(session.state_dir)) < 0)
        r = complain(ret_complaint, EXIT_DISK, session.state_dir,
                     r == -EPERM ? "not ours alone: chmod 700 it" : "%s", strerror(-r));
    if (r == 0 && (r = open_store(&session, mode)) < 0)
        r = refuse_store(&session, r, mode, ret_complaint);
    if (r < 0) {
        session_close(&session);
        return r;
    }
    *ret_session = session;
    return 0;
}

void session_close(struct session *session)
{
    store_close(session->store);
    token_free(session->token);
    free(session->cache_dir);
    free(session->state_dir);
    discovery_release(&session->discovery);
    filter_free(session->filter);
    *session = (struct session){0};
}

const char *session_source(const struct session *session)
{
    return source_text(session->discovery.source);
}

uint64_t session_bound(const struct options *options, enum option_key key, const char *cache_dir)
{
    bool size = key == OPTION_CACHE_SIZE;
    uint64_t most = (uint64_t)(size ? 20 : 1) << 30;
    struct statvfs disk;
    uint64_t part;

    if (options_text(options, key))
        return options_number(options, key);
    if (statvfs(cache_dir, &disk) < 0)
        return most;
    part = (uint64_t)disk.f_blocks * disk.f_frsize / (size ? 4 : 20);
    return part < most ? part : most;
}

void session_engine_conf(const struct session *session, struct engine_conf *ret_conf)
{
    const struct options *options = session->options;

    *ret_conf = (struct engine_conf){
        .store = session->store,
        .source = session->discovery.source,
        .state_dir = session->state_dir,
        .jobs = (unsigned)options_number(options, OPTION_JOBS),
        .timeout_s = (unsigned)options_number(options, OPTION_TIMEOUT),
        .prefetch = PREFETCH_NONE,
        .verify = strcmp(options_text(options, OPTION_VERIFY), "strict") == 0 ? VERIFY_STRICT
                                                                              : VERIFY_AUTO,
        .cache_size = session_bound(options, OPTION_CACHE_SIZE, session->cache_dir),
        .min_free = session_bound(options, OPTION_MIN_FREE, session->cache_dir),
        .user_agent = SESSION_USER_AGENT,
        .ca_file = options_text(options, OPTION_CA_FILE),
        .proxy = options_text(options, OPTION_PROXY),
        .token = token_read,
        .token_arg = session->token,
        .confirm = options_number(options, OPTION_REPORT) != 0,
        .filter = session->filter,
    };
}

/* --- one refresh in the foreground --- */

static void interrupted(void *arg, int signal)
{
    atomic_store((atomic_bool *)arg, true);
}

static void engine_freep(struct engine *const *engine)
{
    engine_free(*engine);
}

static int run_refresh(struct engine *engine, unsigned flags, struct progress *progress,
                       const atomic_bool *stop, struct report **ret_report)
{
    struct engine_status status;
    uint64_t ticket = 0;
    int r = engine_start(engine);

    if (r == 0)
        r = engine_refresh(engine, flags, &ticket);
    if (r < 0)
        return r;
    while ((r = engine_wait(engine, ticket, LOOK_MS, ret_report)) == -ETIMEDOUT) {
        if (atomic_load(stop))
            return -EINTR;
        engine_status(engine, &status);
        progress_show(progress, &(struct progress_state){"asking for the manifest",
                                                         status.files_total, status.files_done,
                                                         status.bytes_total, status.bytes_done});
    }
    progress_end(progress);
    return r;
}

int complain_pin(struct complaint *ret_complaint, const char *glob, int error)
{
    int r;

    switch (error) {
    case -ENXIO:
        r = complain(ret_complaint, EXIT_FAILED, glob, "nothing listed matches it");
        complaint_hint(ret_complaint, "agnesfs ls shows what there is");
        return r;
    case -ENOENT:
        r = complain(ret_complaint, EXIT_FAILED, glob, "was not pinned");
        complaint_hint(ret_complaint, "agnesfs ls shows what is");
        return r;
    case -EINVAL: return complain(ret_complaint, EXIT_USAGE, glob, "not a glob");
    case -EFBIG: return complain(ret_complaint, EXIT_FAILED, glob, "too many pins");
    default: return complain(ret_complaint, EXIT_DISK, glob, "%s", strerror(-error));
    }
}

int session_engine(struct session *session, struct engine **ret_engine,
                   struct complaint *ret_complaint)
{
    struct engine_conf conf;
    int r;

    session_engine_conf(session, &conf);
    r = engine_new(&conf, ret_engine);
    if (r < 0)
        return complain(ret_complaint, EXIT_DISK, session->cache_dir, "%s", strerror(-r));
    return 0;
}

static int refresh(struct session *session, unsigned flags, const char *pin,
                   struct report **ret_report, struct complaint *ret_complaint)
{
    bool silent = options_flag(session->options, FLAG_QUIET) ||
                  options_flag(session->options, FLAG_JSON);
    atomic_bool stop = false;
    scoped(signals_stopp) struct signals *signals = NULL;
    scoped(progress_freep) struct progress *progress = progress_new(stderr, silent);
    scoped(engine_freep) struct engine *engine = NULL;
    int r = progress ? signals_start(false, interrupted, &stop, &signals) : -ENOMEM;

    if (r == 0 && session_engine(session, &engine, ret_complaint) < 0)
        return -EIO;
    if (r == 0 && pin && (r = engine_pin(engine, pin)) < 0 && r != -EEXIST)
        return complain_pin(ret_complaint, pin, r);
    if (r == 0 || r == -EEXIST)
        r = run_refresh(engine, flags, progress, &stop, ret_report);
    if (r == -EINTR)
        return complain(ret_complaint, EXIT_INTERRUPTED, session_source(session),
                        "interrupted; what came so far is kept");
    if (r < 0)
        return complain(ret_complaint, exit_code_of(r), session_source(session), "%s",
                        strerror(-r));
    return 0;
}

int session_refresh(struct session *session, unsigned flags, struct report **ret_report,
                    struct complaint *ret_complaint)
{
    return refresh(session, flags, NULL, ret_report, ret_complaint);
}

int session_pin(struct session *session, const char *glob, struct report **ret_report,
                struct complaint *ret_complaint)
{
    return refresh(session, REFRESH_PINNED, glob, ret_report, ret_complaint);
}
