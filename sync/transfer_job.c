/* SPDX-License-Identifier: MIT */
/* Why a job always ends: every phase but OPEN waits for exactly one thing that comes (a place, an
 * answer of the disk threads, the end of its strands). OPEN has strands, each bounded by fetch.h's
 * stall; or waits for a place or a time; or is done. Attempts are counted, and a job that nobody
 * waits for any more makes no other.
 *
 * What follows when the strands are gone is decided once, by the phase: a strand that ends in
 * RESTARTING or CLOSING changes nothing any more. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cache/scoped.h"
#include "sync/transfer_private.h"

/* From this share of the blob on, the rest is fetched too. */
#define REST_FROM 3

void job_say(struct job *job, enum attempt_end end, int error, const char *message)
{
    job->attempt.end = end;
    job->error = error;
    snprintf(job->message, sizeof(job->message), "%s", message);
}

struct partial *job_partial(const struct job *job)
{
    return job->sink && !job->asked ? atomic_load(&job->sink->partial) : NULL;
}

static bool job_is_complete(const struct job *job)
{
    struct partial *partial = job_partial(job);

    return partial && partial_bytes(partial) == job->key.size;
}

/* --- to the disk --- */

void job_ask_disk(struct job *job, enum disk_kind kind)
{
    job->op = (struct disk_op){
        .kind = kind,
        .sink = job->sink,
        .job = job,
        .keep = job->attempt.end != ATTEMPT_CORRUPT && job->attempt.end != ATTEMPT_REFUSED,
    };
    job->asked = true;
    transfers_post(job->transfers, &job->op);
}

static int job_new_sink(struct job *job)
{
    struct sink *sink = calloc(1, sizeof(*sink));

    if (!sink)
        return -ENOMEM;
    memcpy(sink->name, job->name, sizeof(sink->name));
    memcpy(sink->md5, job->md5, sizeof(sink->md5));
    sink->key = job->key;
    sink->promised = job->promised;
    sink->cap = job->limit;
    sink->exact = job->exact;
    sink->form = job->form;
    job->sink = sink;
    return 0;
}

void job_start(struct job *job)
{
    if (job_new_sink(job) < 0) {
        job_say(job, ATTEMPT_LOCAL, -ENOMEM, "no memory");
        job_end(job, -ENOMEM);
        return;
    }
    job->transfers->busy++;
    job->progress_ms = transfers_now_ms();
    job->url = transfers_first_url(job->transfers, job->urls);
    job->url_recalled = job->url > 0;
    job->phase = JOB_OPENING;
    job_ask_disk(job, DISK_OPEN);
}

/* --- the end --- */

static void job_cancel_strands(struct job *job)
{
    struct strand *strand = job->strands;

    while (strand) {
        if (strand->exchange) {
            strand_cancel(strand); /* which may take it out of the list */
            strand = job->strands;
        } else {
            strand = strand->next;
        }
    }
}

/* Whoever is told of this may ask for something smaller at once. */
static bool lacks_room(int error)
{
    return error == -ENOSPC || error == -EDQUOT;
}

void job_end(struct job *job, int error)
{
    if (job->phase == JOB_CLOSING)
        return;
    job->phase = JOB_CLOSING;
    job->end_error = error;
    if (!job->document && job->waiters)
        transfers_note_end(job->transfers, job, error);
    if (!lacks_room(error)) /* else once what came of it may make room for others */
        waiters_end(job, error, job->message);
    job_cancel_strands(job);
}

/* A job is there until its sink is not: the next one of that name opens the same partial. */
static void job_bury(struct job *job)
{
    struct job **at = &job->transfers->jobs;

    if (job->sink) {
        job_ask_disk(job, DISK_CLOSE);
        return;
    }
    waiters_end(job, job->end_error, job->message);
    while (*at != job)
        at = &(*at)->next;
    *at = job->next;
    job_free(job);
}

/* --- what next --- */

static void job_forget_version(struct job *job)
{
    job->tag[0] = '\0';
}

void job_restart(struct job *job)
{
    job_forget_version(job);
    job->phase = JOB_RESTARTING;
    job_cancel_strands(job);
}

/* What worked before does not any more: perhaps the first URL does by now. */
static bool job_asks_all_again(struct job *job)
{
    if (!job->url_recalled || job->attempt.end != ATTEMPT_STATUS)
        return false;
    transfers_doubt_urls(job->transfers, job->urls);
    job->url_recalled = false;
    job->url = 0;
    job->tries = 0;
    return true;
}

/* What has come of it is lost with the connection. */
static bool is_stream(const struct job *job)
{
    return job->no_ranges || job->key.kind == BLOB_NONE;
}

static void job_apply(struct job *job, const struct retry *retry)
{
    bool stream = is_stream(job);

    switch (retry->action) {
    case RETRY_NEXT_URL:
        job->url++;
        job->tries = 0;
        break;
    case RETRY_RESTART:
        job->no_cache = job->no_cache || job->attempt.end == ATTEMPT_CORRUPT;
        stream = true;
        break;
    case RETRY_SAME: break;
    case RETRY_GIVE_UP:
    default:
        if (!job_asks_all_again(job)) {
            job_end(job, job->error);
            return;
        }
        break;
    }
    job->not_before_ms = transfers_now_ms() + retry->wait_ms;
    if (stream && !job->document)
        job_restart(job);
}

static enum patience job_patience(const struct job *job)
{
    if (job->document || job_priority(job) != WANT_DEMAND)
        return PATIENCE_SOME;
    return atomic_load(&job->transfers->away) ? PATIENCE_NONE : PATIENCE_ENDLESS;
}

/* Each kind of trouble has its own count: a broken connection is no excuse for wrong bytes. What
 * came in vain looked like progress, so there the clock is no bound: only the count is. */
static void job_retry(struct job *job, const struct strand *strand)
{
    struct transfers *transfers = job->transfers;
    bool lost = strand && strand->brought > 0 && is_stream(job);
    struct retry retry;

    job->attempt.number = job->attempt.end == ATTEMPT_MISFIT    ? ++job->misfits
                          : job->attempt.end == ATTEMPT_CORRUPT ? ++job->corruptions
                          : lost                                ? ++job->losses
                                                                : ++job->tries;
    job->attempt.another_url = job->urls[job->url + 1] != NULL;
    job->attempt.patience = lost ? PATIENCE_SOME : job_patience(job);
    transfers->random = transfers->random * 1664525u + 1013904223u;
    retry = retry_decide(&job->attempt, transfers->random);
    job_apply(job, &retry);
}

/* A 401 may only mean that somebody has logged in anew since. */
static bool job_renews_token(struct job *job, const struct strand *strand)
{
    if (strand->attempt.end != ATTEMPT_STATUS || strand->status != 401 || job->token_renewed)
        return false;
    job->token_renewed = true;
    return transfers_renew_token(job->transfers, strand->token_version);
}

static void job_came(struct job *job, const struct strand *strand)
{
    struct partial *partial = job_partial(job);

    job->tries = 0;
    if (strand->by_signed) {
        job_signed_came(job);
    } else {
        transfers_note_url(job->transfers, job->urls, strand->url);
        atomic_store(&job->transfers->away, false);
    }
    transfers_progress(job->transfers, job);
    if (job->document) {
        job_end(job, 0);
    } else if (job->key.kind == BLOB_NONE) {
        job->transfers->busy++;
        job->phase = JOB_COMMITTING;
        job_ask_disk(job, DISK_COMMIT);
    } else if (partial && partial_bytes(partial) >= job->key.size / REST_FROM) {
        job->rest = true;
    }
}

static void job_say_other_bytes(struct job *job)
{
    bool promised = job->key.kind != BLOB_NONE || job->promised.kind != BLOB_NONE || job->md5[0];

    if (promised)
        snprintf(job->message, sizeof(job->message),
                 "the bytes are not those that the manifest promises");
    else
        snprintf(job->message, sizeof(job->message), "the bytes are no %s file%s",
                 job->form == FORM_DATABASE ? "DuckDB" : "parquet",
                 job->exact ? " of the length that the manifest says" : "");
}

/* The sink's own complaint is better than what the network made of it. */
static void job_blame_disk(struct job *job, int error)
{
    switch (error) {
    case -EBADMSG:
        job_say(job, ATTEMPT_CORRUPT, error, "");
        job_say_other_bytes(job);
        break;
    case -EPROTO:
        job_say(job, ATTEMPT_REFUSED, error,
                job->form == FORM_DIGEST ? "the digest makes no sense"
                                         : "the bundle is no markdown text");
        break;
    case -ENOSPC: job_say(job, ATTEMPT_LOCAL, error, "no space left for the cache"); break;
    case -EDQUOT:
        job_say(job, ATTEMPT_LOCAL, error, "no space left for the cache: the quota is used up");
        break;
    case -ENOMEM: job_say(job, ATTEMPT_LOCAL, error, "no memory"); break;
    case -EINVAL: /* a block that was begun before this process has rotted (partial.h) */
        job_say(job, ATTEMPT_MISFIT, -EIO, "what was here of it is damaged");
        break;
    default:
        job_say(job, ATTEMPT_LOCAL, error, "");
        snprintf(job->message, sizeof(job->message), "cache: %s", strerror(-error));
        break;
    }
}

/* The server stores a table by its name and grants it by its id (contract 2). */
static void job_blame_names(struct job *job)
{
    char refusal[sizeof(job->message)];

    snprintf(refusal, sizeof(refusal), "%s", job->message);
    snprintf(job->message, sizeof(job->message), "not there under its id (404); by its name %.110s",
             refusal);
}

void job_judge(struct job *job, const struct strand *strand)
{
    int error = job->sink ? atomic_load(&job->sink->error) : 0;

    job->planned = false;
    if (strand->brought >= PARTIAL_BLOCK && !is_stream(job)) {
        job->tries = 0;
        job->signed_again = false;
    }
    if (job->phase != JOB_OPEN || strand->drop)
        return;
    if (error == 0 && strand->attempt.end == ATTEMPT_OK) {
        job_came(job, strand);
        return;
    }
    if (error == 0 && strand->by_signed && strand->attempt.end != ATTEMPT_LOCAL) {
        job_signed_failed(job, strand);
        return;
    }
    if (error == 0 && strand->url != job->url) /* of the next one that says nothing */
        return;
    job->attempt = strand->attempt;
    job->status = strand->status;
    job_say(job, strand->attempt.end, strand->error, strand->message);
    if (error < 0)
        job_blame_disk(job, error);
    else if (job->url > 0 && job->attempt.end == ATTEMPT_STATUS && job->status == 403)
        job_blame_names(job);
    if (!job->waiters && !job->rest) {
        job_end(job, job->error);
    } else if (job_renews_token(job, strand)) {
        job->not_before_ms = 0;
    } else if (job->no_ranges && strand->ranged && strand->attempt.end == ATTEMPT_MISFIT) {
        job->not_before_ms = 0; /* no failure: now we know what this source can do */
        job_restart(job);
    } else {
        job_retry(job, strand);
    }
}

/* --- what the disk says --- */

static void job_opened(struct job *job)
{
    job->transfers->busy--;
    job->planned = false;
    transfers_progress(job->transfers, job); /* it may have read much */
    if (job->phase != JOB_OPENING) {         /* closing meanwhile */
        if (job->op.resident || job->op.error < 0)
            job->sink = NULL;
        return;
    }
    if (job->op.resident || job->op.error < 0)
        job->sink = NULL;
    if (job->op.resident) {
        job->key = job->op.key;
        job_end(job, 0);
    } else if (job->op.error < 0) {
        job_blame_disk(job, job->op.error);
        job_end(job, job->op.error);
    } else {
        job_take_tag(job, job->op.tag);
        job->phase = JOB_OPEN;
    }
}

/* With strands left it was not the phase that asked: the source sends all of it anew. */
static void job_restarted(struct job *job)
{
    job->planned = job->looked = false;
    if (job->phase != JOB_RESTARTING || job->strands)
        return;
    if (job->op.error < 0) {
        job_blame_disk(job, job->op.error);
        job_end(job, job->op.error);
        return;
    }
    job->phase = JOB_OPEN;
}

static void job_committed(struct job *job)
{
    int error = job->op.error;

    if (error == -EINPROGRESS) {
        transfers_progress(job->transfers, job);
        job_ask_disk(job, DISK_COMMIT);
        return;
    }
    job->transfers->busy--;
    if (error == 0)
        job->sink = NULL;
    if (job->phase != JOB_COMMITTING)
        return;
    job->phase = JOB_OPEN;
    job->planned = false;
    if (error == 0) {
        job->key = job->op.key;
        job_end(job, 0);
    } else if (error == -EBADMSG && job->by_signed) {
        job_signed_lied(job);
    } else if (error != -EAGAIN) {
        job_blame_disk(job, error);
        job_retry(job, NULL);
    }
}

void job_answered(struct job *job)
{
    job->asked = false;
    switch (job->op.kind) {
    case DISK_OPEN: job_opened(job); break;
    case DISK_RESTART: job_restarted(job); break;
    case DISK_COMMIT: job_committed(job); break;
    case DISK_CLOSE: job->sink = NULL; break;
    default: break;
    }
}

void job_step(struct job *job)
{
    if (job->phase != JOB_CLOSING)
        waiters_serve(job);
    if (job->asked || job->strands)
        return;
    switch (job->phase) {
    case JOB_CLOSING: job_bury(job); break;
    case JOB_RESTARTING: job_ask_disk(job, DISK_RESTART); break;
    case JOB_OPEN:
        if (job_is_complete(job)) {
            job->transfers->busy++;
            job->phase = JOB_COMMITTING;
            job_ask_disk(job, DISK_COMMIT);
        } else if (!job->waiters && !job->rest) {
            job_say(job, ATTEMPT_STOPPED, -ECANCELED, "stopped");
            job_end(job, -ECANCELED);
            job_bury(job);
        }
        break;
    case JOB_QUEUED:
        if (!job->waiters && !job->rest)
            job_bury(job);
        break;
    case JOB_OPENING:
    case JOB_COMMITTING:
    default: break;
    }
}
