/* SPDX-License-Identifier: MIT */
/* Why a job always ends: every phase but RUNNING waits for exactly one thing that comes (a place,
 * an answer of the disk thread), and RUNNING is bounded by fetch.h's stall. Attempts are counted,
 * and a job that nobody waits for any more makes no other. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cache/scoped.h"
#include "sync/transfer_private.h"

void job_say(struct job *job, enum attempt_end end, int error, const char *message)
{
    job->attempt.end = end;
    job->error = error;
    snprintf(job->message, sizeof(job->message), "%s", message);
}

/* --- to the disk --- */

void job_ask_disk(struct job *job, enum disk_kind kind)
{
    job->op = (struct disk_op){.kind = kind, .sink = job->sink, .job = job};
    if (kind == DISK_COMMIT)
        job->sink = NULL;
    transfers_post(job->transfers, &job->op);
}

static void job_end_sink(struct job *job, bool keep)
{
    struct sink *sink = take_ptr(job->sink);

    if (!sink)
        return;
    sink->last = (struct disk_op){.kind = DISK_END, .sink = sink, .keep = keep};
    transfers_post(job->transfers, &sink->last);
}

/* --- what next --- */

static void job_requeue(struct job *job, uint32_t wait_ms)
{
    job->transfers->busy--;
    job->phase = JOB_QUEUED;
    job->not_before_ms = transfers_now_ms() + wait_ms;
}

static void job_from_zero(struct job *job)
{
    job->offset = 0;
    job->tag[0] = '\0';
}

static void job_give_up(struct job *job)
{
    bool keep = job->attempt.end != ATTEMPT_CORRUPT && job->attempt.end != ATTEMPT_REFUSED;

    job_end_sink(job, keep);
    job_end(job, job->error);
}

/* Each kind of trouble has its own count: a broken connection is no excuse for wrong bytes. */
void job_judge(struct job *job)
{
    struct transfers *transfers = job->transfers;
    struct retry retry;

    if (job->attempt.end == ATTEMPT_OK) {
        job_end(job, 0);
        return;
    }
    if (!job->waiters) {
        job_give_up(job);
        return;
    }
    if (job->attempt.end == ATTEMPT_STATUS && job->status == 401 && !job->token_renewed) {
        job->token_renewed = true;
        if (transfers_renew_token(transfers, job->token_version)) {
            job->tries--;
            job_requeue(job, 0);
            return;
        }
    }
    job->attempt.number = job->attempt.end == ATTEMPT_MISFIT    ? ++job->misfits
                          : job->attempt.end == ATTEMPT_CORRUPT ? ++job->corruptions
                                                                : job->tries;
    job->attempt.another_url = job->urls[job->url + 1] != NULL;
    transfers->random = transfers->random * 1664525u + 1013904223u;
    retry = retry_decide(&job->attempt, transfers->random);
    switch (retry.action) {
    case RETRY_NEXT_URL:
        job->url++;
        job->tries = 0;
        job_from_zero(job);
        break;
    case RETRY_RESTART:
        job->no_cache = job->no_cache || job->attempt.end == ATTEMPT_CORRUPT;
        job_from_zero(job);
        break;
    case RETRY_SAME: break;
    case RETRY_GIVE_UP:
    default: job_give_up(job); return;
    }
    job_requeue(job, retry.wait_ms);
}

/* --- what the disk says --- */

/* The sink's own complaint is better than what the network made of it. */
static void job_blame_disk(struct job *job, int error)
{
    switch (error) {
    case -EBADMSG:
        job_say(job, ATTEMPT_CORRUPT, error,
                job->key.kind != BLOB_NONE || job->md5[0]
                    ? "the bytes are not those that the manifest promises"
                : job->exact ? "the bytes are no parquet file of the length that the manifest says"
                             : "the bytes are no parquet file");
        break;
    case -EPROTO: job_say(job, ATTEMPT_REFUSED, error, "the bundle is no markdown text"); break;
    case -ENOSPC: job_say(job, ATTEMPT_LOCAL, error, "no space left for the cache"); break;
    default:
        job_say(job, ATTEMPT_LOCAL, error, "");
        snprintf(job->message, sizeof(job->message), "cache: error %d", -error);
        break;
    }
}

static void job_opened(struct job *job)
{
    if (job->op.resident || job->op.error < 0)
        job->sink = NULL;
    if (job->op.resident) {
        job_end(job, 0);
        return;
    }
    if (job->op.error < 0) {
        job_blame_disk(job, job->op.error);
        job_give_up(job);
        return;
    }
    if (!job->waiters) {
        job_say(job, ATTEMPT_STOPPED, -ECANCELED, "stopped");
        job_give_up(job);
        return;
    }
    job->offset = job->op.size;
    memcpy(job->tag, job->op.tag, sizeof(job->tag));
    if (job->offset > 0 && job->key.kind != BLOB_NONE && job->offset == job->key.size) {
        job->phase = JOB_COMMITTING;
        job_ask_disk(job, DISK_COMMIT);
        return;
    }
    job_request(job);
}

void job_answered(struct job *job)
{
    int error = job->op.error;

    switch (job->phase) {
    case JOB_OPENING:
        transfers_progress(job->transfers, job, 0); /* it may have read much */
        job_opened(job);
        break;
    case JOB_SETTLING:
        if (error < 0)
            job_blame_disk(job, error);
        job->offset = job->op.size;
        memcpy(job->tag, job->op.tag, sizeof(job->tag));
        if (job->tag[0] == '\0')
            job_from_zero(job);
        job_judge(job);
        break;
    case JOB_COMMITTING:
        job->key = error == 0 ? job->op.key : job->key;
        if (error < 0)
            job_blame_disk(job, error);
        job_from_zero(job);
        job_judge(job);
        break;
    case JOB_QUEUED:
    case JOB_RUNNING:
    default: break;
    }
}

static int job_new_sink(struct job *job)
{
    struct sink *sink = calloc(1, sizeof(*sink));

    if (!sink)
        return -ENOMEM;
    memcpy(sink->name, job->name, sizeof(sink->name));
    memcpy(sink->md5, job->md5, sizeof(sink->md5));
    sink->key = job->key;
    sink->cap = job->key.kind == BLOB_NONE ? job->limit : job->key.size;
    sink->exact = job->exact;
    sink->bundle = job->bundle;
    job->sink = sink;
    return 0;
}

void job_start(struct job *job)
{
    job->transfers->busy++;
    if (job->requests == 0) /* an attempt after a failed one is no progress */
        job->progress_ms = transfers_now_ms();
    if (job->document || job->sink) {
        job_request(job);
        return;
    }
    if (job_new_sink(job) < 0) {
        job_say(job, ATTEMPT_LOCAL, -ENOMEM, "no memory");
        job_give_up(job);
        return;
    }
    job->phase = JOB_OPENING;
    job_ask_disk(job, DISK_OPEN);
}

/* --- the end --- */

void job_drop(struct job *job)
{
    if (job->phase == JOB_RUNNING) {
        job_say(job, ATTEMPT_STOPPED, -ECANCELED, "stopped");
        fetch_cancel(job->exchange); /* which leaves it SETTLING; a document has ended */
    } else if (job->phase == JOB_QUEUED) {
        job_end_sink(job, true);
        job->transfers->busy++; /* it holds no place, and job_end gives one back */
        job_end(job, -ECANCELED);
    }
}
