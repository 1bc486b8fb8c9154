/* SPDX-License-Identifier: MIT */
/* service_control.c - somebody asks through the control socket: a thread for each. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cache/scoped.h"
#include "cache/text.h"
#include "fs/cli/report_text.h"
#include "fs/cli/service.h"

enum { LOOK_MS = 100, PASS_ON_MS = 60 * 1000 };

/* {"exit": CODE, "text": what people read, "report": what programs read} */
static int refresh_answer(const struct report *report, const struct service *service, bool verbose,
                          struct json **ret_root)
{
    scoped(json_freep) struct json *root = json_new_object();
    scoped(text_freep) struct text *text = NULL;
    struct json *details = NULL;
    const char *bytes;
    size_t size;

    if (!root || text_open(&text) < 0)
        return -ENOMEM;
    report_print(report, verbose, text_stream(text));
    if (text_look(text, &bytes, &size) < 0)
        return -ENOMEM;

    int r = json_add_u64(root, "exit", exit_code_of_report(report));

    r |= json_add_string(root, "text", bytes);
    r |= json_add_string(root, "source", session_source(service->session));
    r |= json_add_string(root, "origin", service->session->discovery.origin);
    r |= json_add_bool(root, "token", token_present(service->session->token));
    r |= json_add_u64(root, "errno", (uint64_t)-report->error);
    r |= json_add_string(root, "message", report->message);
    if (r == 0 && (r = report_json(report, &details)) == 0) {
        r = json_add_string(details, "source", session_source(service->session));
        r |= json_add(root, "report", details);
    }
    if (r < 0)
        return -ENOMEM;
    *ret_root = take_ptr(root);
    return 0;
}

static int answer_refresh(struct service *service, unsigned flags,
                          const struct control_request *request, char **ret_text, size_t *ret_size)
{
    scoped(report_freep) struct report *report = NULL;
    scoped(json_freep) struct json *root = NULL;
    uint64_t ticket;
    int r = engine_refresh(service->engine, flags, &ticket);

    if (r < 0)
        return r;
    while ((r = engine_wait(service->engine, ticket, LOOK_MS, &report)) == -ETIMEDOUT)
        if (atomic_load(request->ending))
            return -ECANCELED;
    if (r == 0)
        r = refresh_answer(report, service, request->verbose, &root);
    return r < 0 ? r : json_print(root, true, ret_text, ret_size);
}

/* The glob first: what it matches is fetched by the refresh. */
static int answer_pin(struct service *service, const struct control_request *request,
                      char **ret_text, size_t *ret_size)
{
    int r = request->argument ? engine_pin(service->engine, request->argument) : -EINVAL;

    if (r < 0 && r != -EEXIST)
        return r;
    return answer_refresh(service, REFRESH_PINNED, request, ret_text, ret_size);
}

static int answer_with(char *text, char **ret_text, size_t *ret_size)
{
    if (!text)
        return -ENOMEM;
    *ret_text = text;
    *ret_size = strlen(text);
    return 0;
}

static int answer_log_level(struct service *service, const struct control_request *request,
                            char **ret_text, size_t *ret_size)
{
    enum log_level level;

    if (!log_level_parse(request->argument, &level))
        return -EINVAL;
    log_set_level(service->log, level);
    return answer_with(strdup("{}\n"), ret_text, ret_size);
}

static int answer_prune(struct service *service, const struct control_request *request,
                        char **ret_text, size_t *ret_size)
{
    struct prune_result result;
    char *text = NULL;
    int r = engine_prune(service->engine,
                         request->argument ? strtoull(request->argument, NULL, 10) : 0, &result);

    if (r < 0)
        return r;
    if (asprintf(&text, "{\"blobs\":%llu,\"bytes\":%llu,\"used\":%llu}\n",
                 (unsigned long long)result.blobs, (unsigned long long)result.bytes,
                 (unsigned long long)result.used) < 0)
        text = NULL;
    return answer_with(text, ret_text, ret_size);
}

/* --- a mount that shares our cache wants bytes --- */

enum { ANSWER_MS = 900 };

/* Kept by the one who asks and the one who brings; whoever is last frees it. */
struct lending {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned refs;
    bool ended;
    struct want_result result;
};

static struct lending *lending_new(void)
{
    struct lending *lending = calloc(1, sizeof(*lending));
    pthread_condattr_t monotonic;

    if (!lending)
        return NULL;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&lending->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pthread_mutex_init(&lending->lock, NULL);
    lending->refs = 1;
    return lending;
}

static void lending_put(struct lending *lending)
{
    bool last;

    {
        scoped_lock(&lending->lock);
        last = --lending->refs == 0;
    }
    if (!last)
        return;
    pthread_cond_destroy(&lending->changed);
    pthread_mutex_destroy(&lending->lock);
    free(lending);
}

static void lending_putp(struct lending *const *lending)
{
    if (*lending)
        lending_put(*lending);
}

static void lent(void *arg, const struct want_result *result)
{
    struct lending *lending = arg;

    {
        scoped_lock(&lending->lock);
        lending->result = *result;
        lending->ended = true;
        pthread_cond_signal(&lending->changed);
    }
    lending_put(lending);
}

/* Not for longer than a moment: who asks must be able to end. */
static struct want_result lending_wait(struct lending *lending)
{
    struct timespec until;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += ANSWER_MS * 1000000L;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    scoped_lock(&lending->lock);
    while (!lending->ended &&
           pthread_cond_timedwait(&lending->changed, &lending->lock, &until) == 0)
        continue;
    if (!lending->ended)
        lending->result.error = -EINPROGRESS;
    return lending->result;
}

static int lend(struct service *service, const struct borrow *borrow,
                struct want_result *ret_result)
{
    scoped(lending_putp) struct lending *lending = NULL;
    int r;

    if (borrow->ahead) {
        engine_want_ahead(service->engine, &borrow->key, borrow->offset, borrow->size,
                          borrow->rest);
        return 0;
    }
    lending = lending_new();
    if (!lending)
        return -ENOMEM;
    lending->refs = 2;
    r = engine_want(service->engine, &borrow->key, borrow->offset,
                    borrow->size ? borrow->size : borrow->key.size, lent, lending);
    if (r < 0) {
        lending->refs = 1; /* nobody else will come */
        return r;
    }
    *ret_result = lending_wait(lending);
    return 0;
}

static int answer_want(struct service *service, const struct control_request *request,
                       char **ret_text, size_t *ret_size)
{
    scoped(json_freep) struct json *root = json_new_object();
    struct want_result result = {.error = 0};
    struct borrow borrow;
    int r = request->argument ? borrow_parse(request->argument, &borrow) : -EINVAL;

    if (r == 0 && engine_follows(service->engine))
        return -EBUSY; /* we have not the cache ourselves */
    if (r == 0)
        r = lend(service, &borrow, &result);
    if (r == -ENOENT) /* no generation of ours lists it: an answer too */
        result.error = -ESTALE;
    else if (r < 0 || !root)
        return r < 0 ? r : -ENOMEM;
    r = json_add_u64(root, "errno", (uint64_t)-result.error);
    r |= json_add_string(root, "message", result.message);
    r |= json_add_bool(root, "resident", result.resident);
    r |= json_add_u64(root, "fresh", result.fresh);
    return r < 0 ? -ENOMEM : json_print(root, false, ret_text, ret_size);
}

/* What only the process that has the cache can do is passed on to it, and its answer back. */
static bool is_for_the_other(const struct service *service, const char *verb)
{
    static const char *const verbs[] = {"refresh", "pin", "unpin", "prune"};

    for (size_t i = 0; i < sizeof(verbs) / sizeof(*verbs); i++)
        if (strcmp(verb, verbs[i]) == 0)
            return engine_follows(service->engine);
    return false;
}

static int pass_on(struct service *service, const struct control_request *request, char **ret_text,
                   size_t *ret_size)
{
    uint64_t ticket;
    scoped(report_freep) struct report *report = NULL;
    int r = borrower_ask(service->borrower, request, PASS_ON_MS, ret_text, ret_size);

    if (r < 0)
        return r;
    /* Whoever asked wants to see it here. */
    r = engine_refresh(service->engine, 0, &ticket);
    while (r == 0 && engine_wait(service->engine, ticket, LOOK_MS, &report) == -ETIMEDOUT)
        if (atomic_load(request->ending))
            break;
    return 0;
}

int service_answer(void *arg, const struct control_request *request, char **ret_text,
                   size_t *ret_size)
{
    struct service *service = arg;
    int r;

    if (is_for_the_other(service, request->verb))
        return pass_on(service, request, ret_text, ret_size);
    if (strcmp(request->verb, "want") == 0)
        return answer_want(service, request, ret_text, ret_size);
    if (strcmp(request->verb, "status") == 0)
        return service_render_status(service, ret_text, ret_size);
    if (strcmp(request->verb, "refresh") == 0)
        return answer_refresh(service, 0, request, ret_text, ret_size);
    if (strcmp(request->verb, "pin") == 0)
        return answer_pin(service, request, ret_text, ret_size);
    if (strcmp(request->verb, "prune") == 0)
        return answer_prune(service, request, ret_text, ret_size);
    if (strcmp(request->verb, "unpin") == 0) {
        r = request->argument ? engine_unpin(service->engine, request->argument) : -EINVAL;
        return r < 0 ? r : answer_with(strdup("{}\n"), ret_text, ret_size);
    }
    if (strcmp(request->verb, "log-level") == 0)
        return answer_log_level(service, request, ret_text, ret_size);
    if (strcmp(request->verb, "stop") == 0) {
        service_signal(service, SIGTERM);
        return answer_with(strdup("{}\n"), ret_text, ret_size);
    }
    return -ENOTSUP;
}
