/* SPDX-License-Identifier: MIT */
/* Why every want ends, once: a waiter is in exactly one list (incoming, or a job's) until
 * waiter_end takes it out and calls it. The network thread's round looks at every job at least each
 * ROUND_MS, and a job's waiters end no later than their deadline, whatever the job is doing. When
 * the engine stops, the thread ends all waiters first and then waits for the disk thread to hand
 * back the jobs it has; nobody else frees them.
 *
 * The lock guards lists and numbers; nothing is written, fetched or called back under it. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cache/scoped.h"
#include "sync/transfer_private.h"

#define ROUND_MS 250
#define DEMAND_PLACES 2

int64_t transfers_now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* --- between the threads --- */

void transfers_post(struct transfers *transfers, struct disk_op *op)
{
    scoped_lock(&transfers->lock);
    op->next = NULL;
    if (transfers->disk_last)
        transfers->disk_last->next = op;
    else
        transfers->disk_first = op;
    transfers->disk_last = op;
    transfers->queued_bytes += op->bytes_size;
    pthread_cond_signal(&transfers->disk_work);
}

void transfers_progress(struct transfers *transfers, struct job *job, size_t bytes)
{
    job->progress_ms = transfers->progress_ms = transfers_now_ms();
    if (bytes > 0) {
        scoped_lock(&transfers->lock);
        transfers->stats.bytes += bytes;
    }
}

static struct job *take_incoming(struct transfers *transfers, bool *ret_stopping)
{
    scoped_lock(&transfers->lock);
    *ret_stopping = transfers->stopping;
    return take_ptr(transfers->incoming);
}

static struct disk_op *take_answers(struct transfers *transfers)
{
    scoped_lock(&transfers->lock);
    transfers->answers_last = NULL;
    return take_ptr(transfers->answers);
}

/* --- jobs and those who wait --- */

static void waiter_end(struct job *job, struct waiter *waiter, int error, const char *message)
{
    struct transfers *transfers = job->transfers;
    struct want_result result = {
        .error = error,
        .status = job->status,
        .key = job->key,
        .bytes = job->bytes,
        .requests = job->requests,
    };

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

static void end_waiters(struct job *job, int error, const char *message)
{
    while (job->waiters) {
        struct waiter *waiter = job->waiters;

        job->waiters = waiter->next;
        waiter_end(job, waiter, error, message);
    }
}

void job_end(struct job *job, int error)
{
    struct transfers *transfers = job->transfers;
    struct job **at = &transfers->jobs;

    while (*at != job)
        at = &(*at)->next;
    *at = job->next;
    transfers->busy--;
    if (!job->document && job->waiters)
        transfers_note_end(transfers, job, error);
    end_waiters(job, error, job->message);
    job_free(job);
}

static struct job *find_flight(const struct transfers *transfers, const char *name)
{
    for (struct job *job = transfers->jobs; job; job = job->next) {
        if (!job->document && strcmp(job->name, name) == 0)
            return job;
    }
    return NULL;
}

/* Those who come a moment after a failure share it: they would only make the same request. */
static void share_setback(struct job *job, const struct setback *setback)
{
    job->status = setback->status;
    end_waiters(job, setback->error, setback->message);
    job_free(job);
}

/* A want for what is on its way joins it, else it becomes a job at the end of the line. */
static void accept_job(struct transfers *transfers, struct job *job)
{
    struct job *flight = job->document ? NULL : find_flight(transfers, job->name);
    struct job **end = &transfers->jobs;

    if (flight) {
        job->waiters->next = flight->waiters;
        flight->waiters = take_ptr(job->waiters);
        if (job->priority > flight->priority)
            flight->priority = job->priority;
        job_free(job);
        return;
    }

    const struct setback *setback = job->document ? NULL : transfers_setback(transfers, job->name);

    if (setback && job->priority == WANT_DEMAND) {
        share_setback(job, setback);
        return;
    }
    job->not_before_ms = setback ? setback->until_ms : 0;
    while (*end)
        end = &(*end)->next;
    job->next = NULL;
    *end = job;
}

/* The list is newest first: reversed it is a line. */
static void accept_incoming(struct transfers *transfers, struct job *incoming)
{
    struct job *line = NULL;

    while (incoming) {
        struct job *next = incoming->next;

        incoming->next = line;
        line = incoming;
        incoming = next;
    }
    while (line) {
        struct job *next = line->next;

        accept_job(transfers, line);
        line = next;
    }
}

/* --- the network thread's round --- */

static struct job *next_to_start(const struct transfers *transfers, int64_t now)
{
    struct job *best = NULL;

    for (struct job *job = transfers->jobs; job; job = job->next) {
        if (job->phase == JOB_QUEUED && job->not_before_ms <= now &&
            (!best || job->priority > best->priority))
            best = job;
    }
    return best;
}

static void start_jobs(struct transfers *transfers)
{
    int64_t now = transfers_now_ms();
    struct job *job;

    while ((job = next_to_start(transfers, now))) {
        unsigned places = transfers->conf.jobs + (job->priority == WANT_DEMAND ? DEMAND_PLACES : 0);

        if (transfers->busy >= places)
            break;
        job_start(job);
    }
    scoped_lock(&transfers->lock);
    transfers->stats.running = transfers->busy;
}

/* Whose clock counts: the job's own, or, while it only waits for a place, everybody's. */
static int64_t last_progress(const struct job *job, const struct waiter *waiter, int64_t now)
{
    const struct transfers *transfers = job->transfers;
    bool in_line = job->phase == JOB_QUEUED && job->not_before_ms <= now;
    int64_t last = waiter->submitted_ms;

    if (job->progress_ms > last)
        last = job->progress_ms;
    if (in_line && transfers->progress_ms > last)
        last = transfers->progress_ms;
    return last;
}

static void expire_waiters(struct job *job, int64_t now)
{
    int64_t patience = (int64_t)job->transfers->conf.timeout_s * 1000;
    struct waiter **at = &job->waiters;
    char message[160];

    snprintf(message, sizeof(message), "no progress for %u s%s%.110s",
             job->transfers->conf.timeout_s, job->message[0] ? ": " : "", job->message);
    while (*at) {
        struct waiter *waiter = *at;

        if (now - last_progress(job, waiter, now) < patience) {
            at = &waiter->next;
            continue;
        }
        *at = waiter->next;
        waiter_end(job, waiter, -ETIMEDOUT, message);
    }
}

static void expire(struct transfers *transfers)
{
    int64_t now = transfers_now_ms();
    struct job *next;

    for (struct job *job = transfers->jobs; job; job = next) {
        next = job->next;
        expire_waiters(job, now);
        if (!job->waiters)
            job_drop(job);
    }
}

static void resume_paused(struct transfers *transfers)
{
    bool room;

    {
        scoped_lock(&transfers->lock);
        room = transfers->queued_bytes < QUEUE_LOW;
    }
    for (struct job *job = transfers->jobs; room && job; job = job->next) {
        if (job->paused && job->exchange) {
            job->paused = false;
            fetch_pause(job->exchange, false);
        }
    }
}

static void take_in_answers(struct transfers *transfers)
{
    struct disk_op *answer = take_answers(transfers);

    while (answer) {
        struct disk_op *next = answer->next; /* the answer may be freed with its job */

        job_answered(answer->job);
        answer = next;
    }
}

/* How long nothing can happen by itself. */
static int round_ms(const struct transfers *transfers)
{
    int64_t now = transfers_now_ms();
    int64_t wait = transfers->jobs ? ROUND_MS : 60000;

    for (struct job *job = transfers->jobs; job; job = job->next) {
        int64_t until = job->not_before_ms - now;

        if (job->phase == JOB_QUEUED && until > 0 && until < wait)
            wait = until;
    }
    return (int)wait;
}

static void *net_main(void *arg)
{
    struct transfers *transfers = arg;
    bool stopping = false;

    while (!stopping || transfers->jobs) {
        accept_incoming(transfers, take_incoming(transfers, &stopping));
        take_in_answers(transfers);
        for (struct job *job = transfers->jobs; stopping && job; job = job->next)
            end_waiters(job, -ECANCELED, "stopping");
        expire(transfers);
        if (!stopping)
            start_jobs(transfers);
        resume_paused(transfers);
        if (!stopping || transfers->jobs)
            fetch_run(transfers->fetch, round_ms(transfers));
    }
    scoped_lock(&transfers->lock);
    transfers->net_ended = true;
    pthread_cond_signal(&transfers->disk_work);
    return NULL;
}

/* --- the whole --- */

static int start_threads(struct transfers *transfers)
{
    int r = pthread_create(&transfers->disk_thread, NULL, disk_main, transfers);

    if (r != 0)
        return -r;
    r = pthread_create(&transfers->net_thread, NULL, net_main, transfers);
    if (r == 0)
        return 0;
    {
        scoped_lock(&transfers->lock);
        transfers->net_ended = true;
        pthread_cond_signal(&transfers->disk_work);
    }
    pthread_join(transfers->disk_thread, NULL);
    return -r;
}

static void release(struct transfers *transfers)
{
    fetch_free(transfers->fetch);
    transfers_forget(transfers);
    pthread_cond_destroy(&transfers->disk_work);
    pthread_mutex_destroy(&transfers->lock);
    free(transfers);
}

int transfers_new(const struct transfers_conf *conf, struct transfers **ret_transfers)
{
    struct transfers *transfers = calloc(1, sizeof(*transfers));
    struct fetch_conf fetch_conf = {
        .user_agent = conf->user_agent,
        .ca_file = conf->ca_file,
        .proxy = conf->proxy,
    };
    int r;

    if (!transfers)
        return -ENOMEM;
    transfers->conf = *conf;
    transfers->conf.jobs = conf->jobs ? conf->jobs : 8;
    transfers->conf.timeout_s = conf->timeout_s ? conf->timeout_s : 60;
    transfers->random = (uint32_t)transfers_now_ms();
    pthread_mutex_init(&transfers->lock, NULL);
    pthread_cond_init(&transfers->disk_work, NULL);
    fetch_conf.connections_per_host = transfers->conf.jobs + DEMAND_PLACES;
    r = fetch_new(&fetch_conf, &transfers->fetch);
    if (r == 0)
        r = start_threads(transfers);
    if (r < 0) {
        release(transfers);
        return r;
    }
    *ret_transfers = transfers;
    return 0;
}

void transfers_stop(struct transfers *transfers)
{
    {
        scoped_lock(&transfers->lock);
        if (transfers->stopping)
            return;
        transfers->stopping = true;
    }
    fetch_wake(transfers->fetch);
    pthread_join(transfers->net_thread, NULL);
    pthread_join(transfers->disk_thread, NULL);
}

void transfers_free(struct transfers *transfers)
{
    if (!transfers)
        return;
    transfers_stop(transfers);
    release(transfers);
}
