/* SPDX-License-Identifier: MIT */
/* service_glue.c - the callbacks that tie engine, cache, folder and control socket together. Each
 * says on which thread it runs. Only publish and service_signal take the service's lock, and
 * nothing is called from inside publish that would come back here. */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <time.h>

#include "cache/scoped.h"
#include "fs/cli/report_text.h"
#include "fs/cli/service.h"
#include "fs/cli/status_doc.h"

enum { MAX_PROBLEMS = 100, LOOK_MS = 100 };

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

    return store_has(service->session->store, key);
}

struct asked {
    struct service *service;
    struct blob_key key;
    provider_done done;
    void *arg;
};

static void want_ended(void *arg, const struct want_result *result)
{
    scoped_free struct asked *asked = arg;
    char key[BLOB_KEY_TEXT_SIZE];

    if (result->error && result->error != -ECANCELED) {
        blob_key_format(&asked->key, key);
        log_write(asked->service->log, LOG_WARNING, "could not be read: %s: %s", key,
                  result->message);
    }
    asked->done(asked->arg, reader_errno(result->error));
}

static int want_blob(void *arg, const struct blob_key *key, provider_done done, void *done_arg)
{
    struct service *service = arg;
    struct asked *asked = malloc(sizeof(*asked));
    int r;

    if (!asked)
        return -EIO;
    *asked = (struct asked){service, *key, done, done_arg};
    r = engine_want(service->engine, key, want_ended, asked);
    if (r < 0)
        free(asked);
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

        if (store_has(store, &blob->key)) {
            facts->resident_files++;
            facts->resident_bytes += blob->key.size;
        }
    }
}

static int render_status(struct service *service, char **ret_text, size_t *ret_size)
{
    scoped(json_freep) struct json *root = NULL;
    scoped(tree_unrefp) struct tree *tree = engine_tree(service->engine);
    scoped_free struct engine_problem *problems = calloc(MAX_PROBLEMS, sizeof(*problems));
    struct engine_status engine;
    struct mount *shown = service->mount;
    struct mount_facts mount = {0};
    struct status_facts facts = {
        .source = session_source(service->session),
        .mountpoint = service->mountpoint,
        .cache_dir = service->session->cache_dir,
        .log = service->log_path,
        .pid = getpid(),
        .started_unix = service->started_unix,
        .now_unix = (uint64_t)time(NULL),
        .refresh_s = options_number(service->session->options, OPTION_REFRESH),
        .tree = tree,
        .engine = &engine,
        .problems = problems,
        .mount = &mount,
    };

    if (!problems)
        return -ENOMEM;
    engine_status(service->engine, &engine);
    if (shown)
        mount_facts(shown, &mount);
    facts.problem_count = engine_problems(service->engine, problems, MAX_PROBLEMS);
    count_resident(&facts, service->session->store);

    int r = status_doc_make(&facts, &root);

    return r < 0 ? r : json_print(root, true, ret_text, ret_size);
}

static int render_generation(struct service *service, char **ret_text, size_t *ret_size)
{
    scoped(tree_unrefp) struct tree *tree = engine_tree(service->engine);
    int length = asprintf(ret_text, "%llu\n",
                          (unsigned long long)(tree ? tree_generation(tree) : 0));

    if (length < 0)
        return -ENOMEM;
    *ret_size = (size_t)length;
    return 0;
}

static int render(void *arg, unsigned live, char **ret_text, size_t *ret_size)
{
    switch (live) {
    case LIVE_STATUS: return render_status(arg, ret_text, ret_size);
    case LIVE_GENERATION: return render_generation(arg, ret_text, ret_size);
    default: return -ENOENT;
    }
}

struct provider service_provider(struct service *service)
{
    return (struct provider){
        .arg = service,
        .open = open_blob,
        .want = want_blob,
        .resident = is_resident,
        .problem = blob_problem,
        .render = render,
    };
}

/* --- the engine reports: the sync thread --- */

static int decorate(void *arg, struct tree_builder *builder)
{
    int r = tree_builder_add_live(builder, ".agnes/status.json", LIVE_STATUS);

    return r < 0 ? r : tree_builder_add_live(builder, ".agnes/generation", LIVE_GENERATION);
}

static void publish(void *arg, struct tree *tree)
{
    struct service *service = arg;

    scoped_lock(&service->lock);
    if (service->mount)
        mount_publish(service->mount, tree);
}

/* The mount outlives the engine, so this needs no lock. */
static enum blob_use use(void *arg, const struct blob_key *key)
{
    const struct service *service = arg;
    struct mount *mount = service->mount;
    bool found = false;
    bool waiting = false;

    if (mount)
        mount_use(mount, key, &found, &waiting);
    return waiting ? BLOB_OPEN : found ? BLOB_FOUND : BLOB_IDLE;
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
            log_write(service->log, line ? LOG_WARNING : LOG_ERROR, "%s", text);
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

    for (unsigned i = 0; i < TREE_SECTIONS; i++) {
        added += report->sections[i].added;
        updated += report->sections[i].updated;
        removed += report->sections[i].removed;
    }
    if (report->error == -ECANCELED)
        return; /* the mount is ending */
    if (report->changed)
        log_write(service->log, LOG_INFO, "generation %llu: +%llu ~%llu -%llu",
                  (unsigned long long)report->generation, (unsigned long long)added,
                  (unsigned long long)updated, (unsigned long long)removed);
    else
        log_write(service->log, LOG_DEBUG, "refresh: nothing changed");
    log_errors(service, report);
}

void service_fill_conf(struct service *service, struct engine_conf *conf)
{
    const struct options *options = service->session->options;

    conf->refresh_s = (unsigned)options_number(options, OPTION_REFRESH);
    conf->prefetch = strcmp(options_text(options, OPTION_PREFETCH), "all") == 0 ? PREFETCH_ALL
                                                                                : PREFETCH_NONE;
    conf->decorate = decorate;
    conf->publish = publish;
    conf->use = use;
    conf->refreshed = refreshed;
    conf->arg = service;
}

/* --- somebody asks through the control socket: a thread for each --- */

/* {"exit": CODE, "text": what people read, "report": what programs read} */
static int refresh_answer(const struct report *report, const struct service *service, bool verbose,
                          struct json **ret_root)
{
    scoped(json_freep) struct json *root = json_new_object();
    scoped_free char *text = NULL;
    struct json *details = NULL;
    size_t size;
    FILE *memory = open_memstream(&text, &size);

    if (!root || !memory)
        return -ENOMEM;
    report_print(report, verbose, memory);
    fclose(memory);

    int r = json_add_u64(root, "exit", exit_code_of_report(report));

    r |= json_add_string(root, "text", text);
    r |= json_add_string(root, "source", session_source(service->session));
    r |= json_add_string(root, "origin", service->session->discovery.origin);
    r |= json_add_bool(root, "token", token_present(service->session->token));
    r |= json_add_u64(root, "errno", (uint64_t)-report->error);
    r |= json_add_string(root, "message", report->message);
    if (r == 0 && (r = report_json(report, &details)) == 0)
        r = json_add(root, "report", details);
    if (r < 0)
        return -ENOMEM;
    *ret_root = take_ptr(root);
    return 0;
}

static int answer_refresh(struct service *service, const struct control_request *request,
                          char **ret_text, size_t *ret_size)
{
    scoped(report_freep) struct report *report = NULL;
    scoped(json_freep) struct json *root = NULL;
    uint64_t ticket;
    int r = engine_refresh(service->engine, 0, &ticket);

    if (r < 0)
        return r;
    while ((r = engine_wait(service->engine, ticket, LOOK_MS, &report)) == -ETIMEDOUT)
        if (atomic_load(request->ending))
            return -ECANCELED;
    if (r == 0)
        r = refresh_answer(report, service, request->verbose, &root);
    return r < 0 ? r : json_print(root, true, ret_text, ret_size);
}

int service_answer(void *arg, const struct control_request *request, char **ret_text,
                   size_t *ret_size)
{
    struct service *service = arg;

    if (strcmp(request->verb, "status") == 0)
        return render_status(service, ret_text, ret_size);
    if (strcmp(request->verb, "refresh") == 0)
        return answer_refresh(service, request, ret_text, ret_size);
    if (strcmp(request->verb, "stop") == 0) {
        service_signal(service, SIGTERM);
        *ret_text = strdup("{}\n");
        *ret_size = 3;
        return *ret_text ? 0 : -ENOMEM;
    }
    return -ENOTSUP;
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
