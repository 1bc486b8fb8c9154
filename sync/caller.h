/* SPDX-License-Identifier: MIT */
/* caller.h - one request to an endpoint of an Agnes server, and waiting for its answer.
 *
 * For what is neither a blob nor a manifest to be followed: the stack's endpoints (stack.h) and
 * pull-confirm (confirm.h). No cache, no threads, no second attempt; otherwise as fetch.h insists:
 * no redirect is followed, the token goes nowhere else, TLS is verified.
 *
 *     caller_new -> caller_call, caller_answer_release ... -> caller_free
 *
 * A connection is kept from one call to the next.
 *
 * Threads: one at a time; give_up is called on the thread of the call.
 * Errors: -EACCES 401 or 403; -ESTALE 404 or 410; -EAGAIN 5xx or 429; -EPROTO any other refusal, a
 * redirect, or an answer that makes no sense; -EHOSTUNREACH, -ETIMEDOUT no answer; -ECANCELED given
 * up; -ENOTSUP a path of a static source; -EINVAL a token that is none; -ENOMEM. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sync/fetch.h"
#include "sync/source.h"

struct caller;

/* Strings, source and token_arg outlive the caller. */
struct caller_conf {
    const struct source *source;
    const char *user_agent;
    const char *ca_file;       /* as in fetch_conf */
    const char *proxy;         /* likewise */
    unsigned timeout_s;        /* without 64 KiB of an answer, or its end */
    char *(*token)(void *arg); /* malloc'd, NULL for none; asked at each call. May be NULL */
    void *token_arg;
};

struct caller_request {
    const char *method; /* NULL: GET */
    const char *path;   /* with its query; NULL: the manifest, of a static source too */
    const char *json;   /* to send, NULL for none */
    uint64_t limit;     /* bytes of answer at most */
    bool head_only;     /* a good answer has been heard with its head; its certificate is told */
    /* Asked now and then; true ends the call. May be NULL. */
    bool (*give_up)(void *arg);
    void *arg;
};

/* What it was waiting for when it ended. */
enum caller_stage {
    CALLER_NAME,
    CALLER_CONNECTION,
    CALLER_TLS,
    CALLER_ANSWER,
    CALLER_DONE, /* a head came */
};

struct caller_answer {
    int status;        /* HTTP, 0 if none came */
    char *text;        /* NUL-terminated; NULL if no body came */
    size_t size;       /* of text */
    char detail[160];  /* of a refusal: the server's own word for it, "" if it gave none */
    char message[200]; /* of a failure: one phrase, without secrets */
    enum caller_stage stage;
    struct fetch_times times;
    int64_t date_unix;             /* the server's clock; -1: it did not say */
    int64_t certificate_ends_unix; /* 0: not known */
};

int caller_new(const struct caller_conf *conf, struct caller **ret_caller);
void caller_free(struct caller *caller); /* NULL is allowed */
void caller_freep(struct caller *const *caller);

/* 0: it answered 2xx. ret_answer is filled, and to be released, in every case. */
int caller_call(struct caller *caller, const struct caller_request *request,
                struct caller_answer *ret_answer);
void caller_answer_release(struct caller_answer *answer);
