/* SPDX-License-Identifier: MIT */
/* caller.c - what an answer's head must look like, and what a status means, is transfer_answer.c's
 * word here too, so that the same server is not judged in two ways. */
#include "sync/caller.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cache/scoped.h"
#include "sync/fetch.h"
#include "sync/json.h"
#include "sync/transfer_answer.h"

enum { LOOK_MS = 100, REFUSAL_MAX = 64 << 10, PROGRESS_BYTES = 64 << 10 };

struct caller {
    struct caller_conf conf;
    struct fetch *fetch;
};

/* One call, while it runs. */
struct call {
    const struct caller_request *request;
    struct caller_answer *answer;
    uint64_t limit; /* of the body, now that its status is known */
    int error;      /* why we stopped it */
    size_t counted; /* of the body, as progress */
    int64_t until_ms;
    bool server;
    bool satisfied; /* by the head */
    bool done;
    struct fetch_result result;
};

__attribute__((format(printf, 3, 4))) static int say(struct caller_answer *answer, int error,
                                                     const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(answer->message, sizeof(answer->message), format, arguments);
    va_end(arguments);
    return error;
}

static int64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* A trickle is no progress, nor are header lines without end. */
static void note_progress(const struct caller *caller, struct call *call)
{
    call->counted = call->answer->size;
    call->until_ms = now_ms() + (int64_t)caller->conf.timeout_s * 1000;
}

/* --- what arrives --- */

static int on_head(void *arg, const struct fetch_head *head)
{
    struct call *call = arg;
    const struct answer_rules rules = {
        .key = {.kind = BLOB_NONE},
        .limit = call->request->limit,
        .tag = "",
        .document = true,
        .json = true,
        .server = call->server,
    };
    struct answer_verdict verdict;

    call->answer->status = head->status;
    call->answer->date_unix = head->date_unix;
    call->limit = head->status >= 400 ? REFUSAL_MAX : call->request->limit;
    if (head->status == 204)
        return 0;
    answer_judge(&rules, head, &verdict);
    call->satisfied = verdict.end == ATTEMPT_OK && call->request->head_only;
    if (call->satisfied)
        return -ECANCELED;
    if (verdict.end == ATTEMPT_OK || verdict.end == ATTEMPT_STATUS)
        return 0;
    call->error = say(call->answer, verdict.error, "%s", verdict.message);
    return -ECANCELED;
}

static int on_body(void *arg, const void *data, size_t size)
{
    struct call *call = arg;
    struct caller_answer *answer = call->answer;
    char *grown = NULL;

    if (size > call->limit - answer->size)
        call->error = say(answer, -EPROTO, "the answer is longer than the %llu bytes allowed",
                          (unsigned long long)call->limit);
    else if (!(grown = realloc(answer->text, answer->size + size + 1)))
        call->error = say(answer, -ENOMEM, "no memory");
    if (!grown)
        return -ECANCELED;
    memcpy(grown + answer->size, data, size);
    answer->text = grown;
    answer->size += size;
    grown[answer->size] = '\0';
    return 0;
}

static void on_done(void *arg, const struct fetch_result *result)
{
    struct call *call = arg;

    call->result = *result;
    call->answer->times = result->times;
    call->answer->certificate_ends_unix = result->certificate_ends_unix;
    call->done = true;
}

/* --- what it came to --- */

static enum caller_stage stage_of(const struct call *call, bool tls)
{
    const struct fetch_times *times = &call->result.times;

    if (call->answer->status > 0)
        return CALLER_DONE;
    switch (call->result.end) {
    case FETCH_RESOLVE: return CALLER_NAME;
    case FETCH_CONNECT: return times->name > 0 ? CALLER_CONNECTION : CALLER_NAME;
    case FETCH_TLS: return CALLER_TLS;
    default: break;
    }
    if (times->name == 0)
        return CALLER_NAME;
    if (times->connection == 0)
        return CALLER_CONNECTION;
    return tls && times->tls == 0 ? CALLER_TLS : CALLER_ANSWER;
}

static int conclude(const struct caller *caller, const struct call *call, const char *token)
{
    struct caller_answer *answer = call->answer;
    const struct fetch_result *result = &call->result;

    /* A refusal that is too long to be read is a refusal all the same. */
    if (answer->status >= 400) {
        const struct answer_refusal refusal = {
            .status = answer->status,
            .token = token,
            .body = answer->text,
            .body_size = result->end == FETCH_COMPLETE ? answer->size : 0,
        };

        answer_detail(&refusal, answer->detail);
        return answer_status_error(&refusal, answer->message, sizeof(answer->message));
    }
    if (call->error)
        return call->error;
    if (call->satisfied)
        return 0;
    switch (result->end) {
    case FETCH_COMPLETE: return 0;
    case FETCH_RESOLVE:
    case FETCH_CONNECT:
    case FETCH_TLS:
        return say(answer, -EHOSTUNREACH, "could not reach %.60s: %.100s",
                   source_host(caller->conf.source), result->message);
    case FETCH_STALLED: return say(answer, -ETIMEDOUT, "%s", result->message);
    case FETCH_REFUSED: return say(answer, -EPROTO, "%s", result->message);
    case FETCH_ABORTED: return say(answer, -ECANCELED, "given up");
    case FETCH_LOCAL: return say(answer, -ENOMEM, "no memory");
    default: return say(answer, -EHOSTUNREACH, "%s", result->message);
    }
}

/* --- the call --- */

static void wipe(char *const *token)
{
    if (*token)
        explicit_bzero(*token, strlen(*token));
    free(*token);
}

static void wait_for(struct caller *caller, struct call *call, struct fetch_exchange *exchange)
{
    const struct caller_request *request = call->request;

    while (!call->done) {
        bool late = now_ms() >= call->until_ms;

        if (call->answer->size - call->counted >= PROGRESS_BYTES)
            note_progress(caller, call);
        else if (late)
            call->error = say(call->answer, -ETIMEDOUT, "no progress for %u s",
                              caller->conf.timeout_s);
        if (call->error || (request->give_up && request->give_up(request->arg)))
            fetch_cancel(exchange);
        else
            fetch_run(caller->fetch, LOOK_MS);
    }
}

static int url_of(const struct source *source, const char *path, char **ret_url)
{
    if (path)
        return source_endpoint_url(source, path, ret_url);
    *ret_url = strdup(source_manifest_url(source));
    return *ret_url ? 0 : -ENOMEM;
}

int caller_call(struct caller *caller, const struct caller_request *request,
                struct caller_answer *ret_answer)
{
    const struct caller_conf *conf = &caller->conf;
    scoped_free char *url = NULL;
    scoped(wipe) char *token = conf->token ? conf->token(conf->token_arg) : NULL;
    struct call call = {
        .request = request,
        .answer = ret_answer,
        .server = source_kind(conf->source) == SOURCE_SERVER,
    };
    struct fetch_exchange *exchange = NULL;
    int r = url_of(conf->source, request->path, &url);

    *ret_answer = (struct caller_answer){.date_unix = -1};
    if (r == 0) {
        const struct fetch_request asked = {
            .url = url,
            .method = request->method,
            .json = request->json,
            .bearer = token,
            .gzip = true,
            .certificate = request->head_only,
            .stall_s = conf->timeout_s,
            .head = on_head,
            .body = on_body,
            .done = on_done,
            .arg = &call,
        };

        r = fetch_start(caller->fetch, &asked, &exchange);
    }
    if (r < 0)
        return say(ret_answer, r, "%s", r == -EINVAL ? "not a usable URL or token" : strerror(-r));
    note_progress(caller, &call);
    wait_for(caller, &call, exchange);
    ret_answer->stage = stage_of(&call, strncmp(url, "https:", 6) == 0);
    return conclude(caller, &call, token);
}

void caller_answer_release(struct caller_answer *answer)
{
    free(answer->text);
    *answer = (struct caller_answer){.status = 0};
}

int caller_new(const struct caller_conf *conf, struct caller **ret_caller)
{
    const struct fetch_conf fetch = {
        .user_agent = conf->user_agent,
        .ca_file = conf->ca_file,
        .proxy = conf->proxy,
        .connections_per_host = 1,
    };
    struct caller *caller = calloc(1, sizeof(*caller));
    int r = caller ? fetch_new(&fetch, &caller->fetch) : -ENOMEM;

    if (r < 0) {
        free(caller);
        return r;
    }
    caller->conf = *conf;
    *ret_caller = caller;
    return 0;
}

void caller_free(struct caller *caller)
{
    if (!caller)
        return;
    fetch_free(caller->fetch);
    free(caller);
}

void caller_freep(struct caller *const *caller)
{
    caller_free(*caller);
}
