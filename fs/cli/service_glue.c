/* SPDX-License-Identifier: MIT */
/* service_glue.c - the callbacks that tie engine, cache, folder and control socket together. Each
 * says on which thread it runs. Only publish and service_signal take the service's lock, and
 * nothing is called from inside publish that would come back here. */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "cache/scoped.h"
#include "fs/cli/service.h"
#include "fs/cli/status_doc.h"

enum { MAX_PROBLEMS = 100 };

/* --- fs asks for bytes: the mount's threads --- */

/* Design 9: what the reader sees. */
static int reader_errno(int error)
{
    switch (-error) {
    case 0: return 0;
    case EACCES: return -EACCES;
    case ENOENT: /* no generation lists it any more */
    case ESTALE: return -ESTALE;
    case ETIMEDOUT: return -ETIMEDOUT;
    default: return -EIO;
    }
}

static int open_blob(void *arg, const struct blob_key *key, int *ret_fd)
{
    const struct service *service = arg;
    int r = store_get(service->session->store, key, ret_fd);

    return r == -EUCLEAN ? -ENOENT : r;
}

static bool is_resident(void *arg, const struct blob_key *key)
{
    const struct service *service = arg;

    return store_expects(service->session->store, key);
}

static bool is_present(void *arg, const struct blob_key *key)
{
    const struct service *service = arg;

    return store_has(service->session->store, key);
}

static int find_partial(void *arg, const struct blob_key *key, struct partial **ret_partial)
{
    const struct service *service = arg;

    if (!engine_may_read(service->engine, key))
        return -ENOENT;

    int r = partial_find(service->session->store, key, ret_partial);

    if (r == 0 && !partial_tagged(*ret_partial)) { /* of no version that we could name */
        partial_put(take_ptr(*ret_partial));
        r = -ENOENT;
    }
    return r;
}

static void want_ahead(void *arg, const struct blob_key *key, uint64_t offset, uint64_t size,
                       bool rest)
{
    const struct service *service = arg;

    engine_want_ahead(service->engine, key, offset, size, rest);
}

struct asked {
    struct service *service;
    struct reader_ticket reader;
    struct blob_key key;
    provider_done done;
    void *arg;
};

/* With its name and its key: "WHAT: KEY: WHY". */
static void log_blob(const struct service *service, enum log_level level,
                     const struct blob_key *key, const struct log_fields *more, const char *what,
                     const char *why)
{
    scoped(tree_unrefp) struct tree *tree = engine_tree(service->engine);
    struct log_fields fields = *more;
    char text[BLOB_KEY_TEXT_SIZE];
    char path[TREE_PATH_MAX];

    blob_key_format(key, text);
    status_name_of(tree, key, path);
    fields.path = path;
    fields.key = text;
    log_event(service->log, level, &fields, "%s: %s%s%s", what, text, *why ? ": " : "", why);
}

static void want_ended(void *arg, const struct want_result *result)
{
    scoped_free struct asked *asked = arg;
    pid_t pid = readers_end(asked->service->readers, &asked->reader, result->fresh);

    if (result->error && result->error != -ECANCELED)
        log_blob(asked->service, LOG_WARNING, &asked->key,
                 &(struct log_fields){.error = result->error, .reader_pid = pid},
                 "could not be read", result->message);
    asked->done(asked->arg, reader_errno(result->error));
}

static int want_bytes(void *arg, const struct blob_key *key, uint64_t offset, uint64_t size,
                      pid_t reader, provider_done done, void *done_arg)
{
    struct service *service = arg;
    struct asked *asked = malloc(sizeof(*asked));
    int r;

    if (!asked)
        return -EIO;
    *asked = (struct asked){.service = service, .key = *key, .done = done, .arg = done_arg};
    readers_begin(service->readers, reader, key, &asked->reader);
    r = engine_want(service->engine, key, offset, size, want_ended, asked);
    if (r < 0) {
        readers_end(service->readers, &asked->reader, 0);
        free(asked);
    }
    return reader_errno(r);
}

static void blob_problem(void *arg, const struct blob_key *key, char ret_text[static 160])
{
    const struct service *service = arg;

    engine_blob_error(service->engine, key, ret_text);
}

/* --- what the mount says of itself: the mount's threads, and the control socket's --- */

static void count_resident(struct status_facts *facts, struct store *store)
{
    for (uint32_t i = 0; facts->tree && i < tree_blob_count(facts->tree); i++) {
        const struct tree_blob *blob = tree_blob(facts->tree, i);

        if (store_expects(store, &blob->key)) {
            facts->resident_files++;
            facts->resident_bytes += blob->key.size;
        }
    }
}

int service_status(struct service *service, struct json **ret_root)
{
    scoped(tree_unrefp) struct tree *tree = engine_tree(service->engine);
    scoped_free struct engine_problem *problems = calloc(MAX_PROBLEMS, sizeof(*problems));
    struct engine_status engine;
    struct budget_facts budget;
    struct mount *shown = service->mount;
    struct mount_facts mount = {0};
    struct reader_facts readers[READERS_MAX];
    struct reader_facts others;
    struct status_facts facts = {
        .source = session_source(service->session),
        .source_from = service->session->discovery.origin,
        .token_from = token_origin(service->session->token),
        .token_ends_unix = token_ends(service->session->token),
        .only = options_text(service->session->options, OPTION_ONLY),
        .except = options_text(service->session->options, OPTION_EXCEPT),
        .mountpoint = service->mountpoint,
        .cache_dir = service->session->cache_dir,
        .state_dir = service->session->state_dir,
        .follows = engine_follows(service->engine),
        .log = service->log_path,
        .log_level = log_level_of(service->log),
        .pid = getpid(),
        .started_unix = service->started_unix,
        .before = service->before.pid ? &service->before : NULL,
        .now_unix = (uint64_t)time(NULL),
        .refresh_s = options_number(service->session->options, OPTION_REFRESH),
        .tree = tree,
        .engine = &engine,
        .budget = &budget,
        .problems = problems,
        .mount = &mount,
        .hardened = &service->hardened,
        .store = service->session->store,
        .readers = readers,
        .others = &others,
    };

    if (!problems)
        return -ENOMEM;
    engine_status(service->engine, &engine);
    store_budget(service->session->store, &budget);
    if (shown)
        mount_facts(shown, &mount);
    facts.problem_count = engine_problems(service->engine, problems, MAX_PROBLEMS);
    facts.reader_count = readers_list(service->readers, readers, &others);
    count_resident(&facts, service->session->store);

    return status_doc_make(&facts, ret_root);
}

struct provider service_provider(struct service *service)
{
    return (struct provider){
        .arg = service,
        .open = open_blob,
        .find = find_partial,
        .want = want_bytes,
        .ahead = want_ahead,
        .resident = is_resident,
        .present = is_present,
        .problem = blob_problem,
        .render = service_render,
    };
}

/* --- the engine reports: the sync thread --- */

static void publish(void *arg, struct tree *tree)
{
    struct service *service = arg;

    scoped_lock(&service->lock);
    if (service->mount)
        mount_publish(service->mount, tree);
}

/* From any thread of the engine. The mount outlives them, so this needs no lock. */
static enum blob_use use(void *arg, const struct blob_key *key)
{
    const struct service *service = arg;
    struct mount *mount = service->mount;

    switch (mount ? mount_use(mount, key) : MOUNT_IDLE) {
    case MOUNT_FOUND: return BLOB_FOUND;
    case MOUNT_OPENED: return BLOB_OPEN;
    case MOUNT_WAITING: return BLOB_WAITING;
    case MOUNT_IDLE:
    default: return BLOB_IDLE;
    }
}

/* The transfer threads; the mount outlives them too. */
static void arrived(void *arg, const struct blob_key *key)
{
    const struct service *service = arg;
    struct mount *mount = service->mount;

    if (mount)
        mount_arrived(mount, key);
}

static void spoiled(void *arg, const struct blob_key *key)
{
    const struct service *service = arg;
    struct mount *mount = service->mount;

    log_blob(service, LOG_ERROR, key, &(struct log_fields){.error = -EBADMSG},
             "bytes already read were not the promised ones", "");
    if (mount)
        mount_spoiled(mount, key);
}

static int borrow(void *arg, const struct borrow *wanted, want_done done, void *done_arg)
{
    const struct service *service = arg;

    return service->borrower ? borrower_want(service->borrower, wanted, done, done_arg)
                             : -ECANCELED;
}

/* The sync thread. */
static void took_over(void *arg)
{
    const struct service *service = arg;

    log_write(service->log, LOG_INFO, "this process has the cache now");
}

/* What the last refresh complained of. Only what is new in it is logged. */
struct known_errors {
    size_t count;
    char *texts[];
};

void service_forget_errors(struct service *service)
{
    for (size_t i = 0; service->known && i < service->known->count; i++)
        free(service->known->texts[i]);
    free(service->known);
    service->known = NULL;
}

static bool is_known(const struct service *service, const char *text)
{
    for (size_t i = 0; service->known && i < service->known->count; i++)
        if (strcmp(service->known->texts[i], text) == 0)
            return true;
    return false;
}

static void log_errors(struct service *service, const struct report *report)
{
    struct known_errors *known = calloc(1, sizeof(*known) +
                                               (report->error_count + 1) * sizeof(known->texts[0]));
    char *text = NULL;

    if (!known)
        return;
    for (size_t i = 0; i <= report->error_count; i++) {
        const struct report_line *line = i > 0 ? &report->errors[i - 1] : NULL;

        if (!line && !report->error)
            continue;
        if (asprintf(&text, line ? "%s/%s: %s" : "refresh failed: %s%s%s",
                     line ? line->group : report->message, line ? line->name : "",
                     line ? line->reason : "") < 0)
            break;
        if (!is_known(service, text))
            log_event(service->log, line ? LOG_WARNING : LOG_ERROR,
                      &(struct log_fields){.path = line ? line->name : NULL,
                                           .url = line ? NULL : session_source(service->session),
                                           .error = line ? line->error : report->error},
                      "%s", text);
        known->texts[known->count++] = text;
    }
    service_forget_errors(service);
    service->known = known;
}

static void refreshed(void *arg, const struct report *report)
{
    struct service *service = arg;
    uint64_t added = 0;
    uint64_t updated = 0;
    uint64_t removed = 0;

    death_alive(service->watch);
    for (unsigned i = 0; i < TREE_SECTIONS; i++) {
        added += report->sections[i].added;
        updated += report->sections[i].updated;
        removed += report->sections[i].removed;
    }
    if (report->error == -ECANCELED)
        return; /* the mount is ending */
    service_tell(service, report);
    if (report->changed)
        log_event(service->log, LOG_INFO, &(struct log_fields){.generation = report->generation},
                  "generation %llu: +%llu ~%llu -%llu", (unsigned long long)report->generation,
                  (unsigned long long)added, (unsigned long long)updated,
                  (unsigned long long)removed);
    else
        log_write(service->log, LOG_DEBUG, "refresh: nothing changed");
    log_errors(service, report);
}

void service_fill_conf(struct service *service, struct engine_conf *conf)
{
    const struct options *options = service->session->options;
    const char *prefetch = options_text(options, OPTION_PREFETCH);

    conf->refresh_s = (unsigned)options_number(options, OPTION_REFRESH);
    conf->prefetch = strcmp(prefetch, "all") == 0      ? PREFETCH_ALL
                     : strcmp(prefetch, "pinned") == 0 ? PREFETCH_PINNED
                                                       : PREFETCH_NONE;
    conf->decorate = service_decorate;
    conf->publish = publish;
    conf->use = use;
    conf->borrow = borrow;
    conf->took_over = took_over;
    conf->arrived = arrived;
    conf->spoiled = spoiled;
    conf->refreshed = refreshed;
    conf->arg = service;
}

/* --- signals: their thread --- */

void service_signal(void *arg, int signal)
{
    struct service *service = arg;
    uint64_t ticket;

    if (signal == SIGHUP) {
        if (service->engine)
            engine_refresh(service->engine, 0, &ticket);
        return;
    }
    service->stopping = true;
    scoped_lock(&service->lock);
    if (service->mount)
        mount_stop(service->mount);
}
