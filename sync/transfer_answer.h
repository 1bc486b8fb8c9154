/* SPDX-License-Identifier: MIT */
/* transfer_answer.h - what the head of an answer must look like, and what a refusal means. Pure.
 *
 *     answer_judge           the head: is its body one to take?
 *     answer_status_error    a status that is no success, when we give up
 *
 * For transfers and for calls (caller.h), so that one server is not judged in two ways. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cache/key.h"
#include "sync/fetch.h"
#include "sync/retry.h"
#include "sync/tree.h"

struct answer_rules {
    struct blob_key key;
    uint64_t limit;
    bool exact;
    uint64_t offset;
    bool ranged;     /* a range was asked for */
    const char *tag; /* the ETag that ranges are pinned to, "" for none yet */
    enum tree_form form;
    bool document;
    bool json;
    bool server;  /* else static: no word on types */
    bool vouches; /* at the source's own origin: its word on what it sends counts */
};

struct answer_verdict {
    enum attempt_end end;  /* ATTEMPT_OK: take the body; ATTEMPT_STATUS: read past it */
    bool whole;            /* the body begins at 0, though a range was asked for */
    bool unpinned;         /* a range, but of what version nobody can tell */
    struct blob_key other; /* what it says it has instead; BLOB_NONE: it does not say */
    int error;
    char message[160];
};

void answer_judge(const struct answer_rules *rules, const struct fetch_head *head,
                  struct answer_verdict *ret_verdict);

struct answer_refusal {
    int status;
    const char *token; /* that was sent, NULL for none: it is in no message */
    const char *body;  /* its beginning, NUL-terminated */
    size_t body_size;
};

/* The server's own words for a refusal, made printable: {"detail": "words"}, or {"detail": {"code":
 * ..., "hint": "words"}} (contract 1.8, 2). "" if it gives none, or such as quote the token. */
#define ANSWER_DETAIL_SIZE 101
void answer_detail(const struct answer_refusal *refusal, char ret_text[static ANSWER_DETAIL_SIZE]);

/* What a status that is no success means when we give up: an errno and a phrase, with the server's
 * own reason (the "detail" of its JSON, contract 1.8, made printable) where it refuses us. */
int answer_status_error(const struct answer_refusal *refusal, char *ret_message, size_t size);
