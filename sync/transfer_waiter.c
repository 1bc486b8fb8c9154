/* SPDX-License-Identifier: MIT */
/* Why every want ends, once: a waiter is in exactly one list (that of a job on its way in, or of a
 * job) until waiter_end takes it out and calls it. The network thread's round looks at every job at
 * least each quarter of a second, and a waiter ends no later than its deadline, whatever its job is
 * doing. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cache/scoped.h"
#include "sync/transfer_private.h"

static void waiter_end(struct job *job, struct waiter *waiter, int error, bool resident,
                       const char *message)
{
    struct transfers *transfers = job->transfers;
    struct want_result result = {
        .error = error,
        .status = job->status,
        .key = job->key,
        .resident = resident,
        .other = job->other,
        .by_signed = error == 0 && job->by_signed,
        .bytes = job->bytes,
        .requests = job->requests,
    };

    if (waiter->priority == WANT_DEMAND) {
        result.fresh = job->bytes - job->told;
        job->told = job->bytes;
    }
    if (error < 0)
        snprintf(result.message, sizeof(result.message), "%s", message);
    {
        scoped_lock(&transfers->lock);
        transfers->stats.wants_waiting--;
        if (error < 0)
            transfers->stats.wants_failed++;
        else
            transfers->stats.wants_done++;
    }
    if (waiter->got)
        waiter->got(waiter->arg, &result, error == 0 && job->text ? job->text : "",
                    error == 0 ? job->text_size : 0);
    else
        waiter->done(waiter->arg, &result);
    free(waiter);
}

void waiters_end(struct job *job, int error, const char *message)
{
    while (job->waiters) {
        struct waiter *waiter = job->waiters;

        job->waiters = waiter->next;
        waiter_end(job, waiter, error, error == 0, message);
    }
}

/* Bytes that no version can be told of are not served before the whole is verified. */
void waiters_serve(struct job *job)
{
    struct partial *partial = job_partial(job);
    struct waiter **at = &job->waiters;
    bool awaited = false;

    if (!partial || job->tag[0] == '\0')
        return;

    unsigned written = atomic_load(&job->sink->written);

    if (written == job->served && job->looked)
        return;
    job->served = written;
    job->looked = true;
    atomic_store(&job->sink->awaited, true); /* first: what is written from now on wakes us */
    while (*at) {
        struct waiter *waiter = *at;

        if (waiter->size == 0 || !partial_has(partial, waiter->offset, waiter->size)) {
            awaited = awaited || waiter->size > 0;
            at = &waiter->next;
            continue;
        }
        *at = waiter->next;
        waiter_end(job, waiter, 0, false, "");
    }
    atomic_store(&job->sink->awaited, awaited);
}

enum want_priority job_priority(const struct job *job)
{
    enum want_priority most = WANT_PREFETCH;

    for (const struct waiter *waiter = job->waiters; waiter; waiter = waiter->next)
        most = waiter->priority > most ? waiter->priority : most;
    return most;
}

/* It makes no request, or only such as we hold back ourselves. */
static bool is_in_line(const struct job *job, int64_t now)
{
    for (const struct strand *strand = job->strands; strand; strand = strand->next) {
        if (!strand->held && !strand->full)
            return false;
    }
    return job->not_before_ms <= now && (job->phase == JOB_QUEUED || job->phase == JOB_OPEN);
}

/* Whose clock counts: the job's own, or, while it waits for others, everybody's. */
static int64_t last_progress(const struct job *job, int64_t now)
{
    int64_t everybodys = job->transfers->progress_ms;

    return is_in_line(job, now) && everybodys > job->progress_ms ? everybodys : job->progress_ms;
}

static bool is_late(const struct job *job, const struct waiter *waiter, int64_t now)
{
    return now - waiter->submitted_ms >= (int64_t)job->transfers->conf.timeout_s * 1000;
}

static bool all_are_late(const struct job *job, int64_t now)
{
    for (const struct waiter *waiter = job->waiters; waiter; waiter = waiter->next) {
        if (!is_late(job, waiter, now))
            return false;
    }
    return true;
}

/* A request that brings too little keeps its place from others, whether anybody waits for it or not. */
void waiters_expire(struct job *job, int64_t now)
{
    int64_t patience = (int64_t)job->transfers->conf.timeout_s * 1000;
    struct waiter **at = &job->waiters;
    char message[160];

    if (job->phase == JOB_CLOSING || (!job->waiters && !job->strands) ||
        now - last_progress(job, now) < patience)
        return;
    snprintf(message, sizeof(message), "no progress for %u s%s%.110s",
             job->transfers->conf.timeout_s, job->message[0] ? ": " : "", job->message);
    if (all_are_late(job, now)) {
        job_say(job, ATTEMPT_NETWORK, -ETIMEDOUT, message);
        job_end(job, -ETIMEDOUT);
        return;
    }
    while (*at) {
        struct waiter *waiter = *at;

        if (!is_late(job, waiter, now)) {
            at = &waiter->next;
            continue;
        }
        *at = waiter->next;
        waiter_end(job, waiter, -ETIMEDOUT, false, message);
    }
}
