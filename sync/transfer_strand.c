/* SPDX-License-Identifier: MIT */
/* One request, from its beginning to its end; what it brings is transfer_body.c's. A strand leaves
 * the job's list when the disk thread has done what it posted, not when its request ends: until then
 * its blocks are coming. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cache/scoped.h"
#include "sync/transfer_private.h"

void strand_say(struct strand *strand, enum attempt_end end, int error, const char *message)
{
    strand->attempt.end = end;
    strand->error = error;
    snprintf(strand->message, sizeof(strand->message), "%s", message);
}

/* --- the end --- */

static int end_error(enum fetch_end end)
{
    switch (end) {
    case FETCH_STALLED: return -ETIMEDOUT;
    case FETCH_REFUSED: return -EPROTO;
    case FETCH_LOCAL: return -ENOMEM;
    default: return -EHOSTUNREACH;
    }
}

/* Complete, but not as long as it should be. */
static void note_short_body(struct strand *strand)
{
    char message[160];

    if (strand->job->document || strand->to == UINT64_MAX || strand->at >= strand->to)
        return;
    if (strand->ranged) {
        strand_say(strand, ATTEMPT_NETWORK, -EHOSTUNREACH, "the server sent less than was asked");
        return;
    }
    snprintf(message, sizeof(message), "the server has %llu bytes, the manifest says %llu",
             (unsigned long long)strand->at, (unsigned long long)strand->job->key.size);
    strand_say(strand, ATTEMPT_CORRUPT, -EBADMSG, message);
}

/* What the exchange came to, unless a callback said so already. */
static void note_end(struct strand *strand, const struct fetch_result *result)
{
    const struct transfers *transfers = strand->job->transfers;
    bool no_answer = result->end == FETCH_RESOLVE || result->end == FETCH_CONNECT ||
                     result->end == FETCH_TLS;
    char message[160];
    int error;

    strand->status = result->end == FETCH_NOT_FOUND ? 404 : result->status;
    strand->attempt.status = strand->status;
    if (strand->attempt.end != ATTEMPT_OK || strand->done)
        return;
    if (strand->status >= 400) {
        const struct answer_refusal refusal = {.status = strand->status,
                                               .token = strand->ours ? transfers->token : NULL,
                                               .body = strand->excuse,
                                               .body_size = strand->excuse_size};

        error = answer_status_error(&refusal, message, sizeof(message));
        strand_say(strand, ATTEMPT_STATUS, error, message);
    } else if (result->end == FETCH_ABORTED) { /* our own memory, or what the disk will tell */
        strand_say(strand, ATTEMPT_LOCAL, -ENOMEM, "no memory");
    } else if (no_answer) {
        snprintf(message, sizeof(message), "could not reach %.60s: %.80s",
                 source_host(transfers->conf.source), result->message);
        strand_say(strand, ATTEMPT_NETWORK, -EHOSTUNREACH, message);
    } else if (result->end != FETCH_COMPLETE) {
        strand_say(strand, result->end == FETCH_REFUSED ? ATTEMPT_REFUSED : ATTEMPT_NETWORK,
                   end_error(result->end), result->message);
    } else {
        note_short_body(strand);
    }
}

static void on_done(void *arg, const struct fetch_result *result)
{
    struct strand *strand = arg;
    struct job *job = strand->job;

    strand->exchange = NULL;
    note_end(strand, result);
    if (job->document) {
        strand_settled(strand);
        return;
    }
    if (!strand->drop && strand_flush(strand) < 0) /* else what it brought is given up already */
        strand_say(strand, ATTEMPT_LOCAL, -ENOMEM, "no memory");
    strand->op = (struct disk_op){.kind = DISK_SETTLE, .sink = job->sink, .strand = strand};
    transfers_post(job->transfers, &strand->op);
}

void strand_settled(struct strand *strand)
{
    struct job *job = strand->job;
    struct strand **at = &job->strands;

    while (*at != strand)
        at = &(*at)->next;
    *at = strand->next;
    job->strand_count--;
    job->transfers->busy--;
    job_judge(job, strand);
    strand_free(strand);
}

void strand_free(struct strand *strand)
{
    piece_give(strand->job->transfers, strand->piece);
    free(strand);
}

void strand_cancel(struct strand *strand)
{
    if (!strand->exchange)
        return;
    strand_say(strand, ATTEMPT_STOPPED, -ECANCELED, "stopped");
    fetch_cancel(strand->exchange);
}

/* --- the beginning --- */

/* A token goes to the origin of a server and nowhere else. */
static bool wants_token(const struct job *job, const char *url)
{
    const struct source *source = job->transfers->conf.source;
    scoped_free char *origin = NULL;

    return source_kind(source) == SOURCE_SERVER && fetch_url_origin(url, &origin) == 0 &&
           strcmp(origin, source_origin(source)) == 0;
}

/* Half the patience of those who wait, so that there is time for a second attempt. */
static unsigned stall_seconds(const struct transfers *transfers)
{
    unsigned half = transfers->conf.timeout_s / 2;

    return half < 1 ? 1 : half > 30 ? 30 : half;
}

static int request(struct strand *strand, const char *signed_url)
{
    struct job *job = strand->job;
    struct transfers *transfers = job->transfers;
    const char *url = signed_url ? signed_url : job->urls[job->url];

    strand->ours = !strand->by_signed && wants_token(job, url);

    const struct fetch_request request = {
        .url = url,
        .bearer = strand->ours ? transfers_token(transfers) : NULL,
        .if_range = strand->ranged ? job->tag : NULL,
        .offset = strand->at,
        .length = strand->ranged && (strand->at == 0 || strand->to < job->key.size)
                      ? strand->to - strand->at
                      : 0,
        .gzip = job->document || tree_form_is_text(job->form),
        .no_cache = job->no_cache,
        .foreign = strand->by_signed && source_is_foreign(transfers->conf.source, url),
        .stall_s = stall_seconds(transfers),
        .head = strand_head,
        .body = strand_body,
        .done = on_done,
        .arg = strand,
    };

    return fetch_start(transfers->fetch, &request, &strand->exchange);
}

/* Whole, and nothing of it is here: then the request need not be of a range, which is what every
 * source can answer. */
static bool is_ranged(const struct job *job, const struct span *span)
{
    return job->key.kind != BLOB_NONE && !job->document && !job->no_ranges &&
           (span->from > 0 || span->to < job->key.size || job->tag[0]);
}

void strand_start(struct job *job, const struct errand *errand)
{
    struct transfers *transfers = job->transfers;
    scoped_free char *signed_url = job->by_signed ? job_signed_url(job) : NULL;
    struct strand *strand;
    int r;

    if (job->by_signed && !signed_url) {
        job_leave_signed(job);
        return;
    }
    strand = calloc(1, sizeof(*strand));
    if (!strand) {
        job_say(job, ATTEMPT_LOCAL, -ENOMEM, "no memory");
        job_end(job, -ENOMEM);
        return;
    }
    job_cut_short(job, errand);
    *strand = (struct strand){
        .next = job->strands,
        .job = job,
        .priority = errand->priority,
        .url = job->url,
        .ranged = is_ranged(job, &errand->span),
        .from = errand->span.from,
        .at = errand->span.from,
        .to = errand->span.to,
        .by_signed = job->by_signed,
        .token_version = transfers->token_version,
        .attempt = {.end = ATTEMPT_OK, .retry_after_s = -1},
    };
    job->strands = strand;
    job->strand_count++;
    transfers->busy++;
    r = request(strand, signed_url);
    if (r == 0) {
        job->requests++;
        scoped_lock(&transfers->lock);
        transfers->stats.requests++;
        transfers->stats.by_signed += strand->by_signed;
        return;
    }
    bool refused = r != -ENOMEM;

    strand_say(strand, refused ? ATTEMPT_REFUSED : ATTEMPT_LOCAL, refused ? -EPROTO : r,
               refused ? "not a usable URL or token" : "no memory");
    strand_settled(strand);
}
