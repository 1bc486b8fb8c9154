/* SPDX-License-Identifier: MIT */
/* The network thread's round. Why nothing is forgotten: whatever can change a job (a want, an answer
 * of the disk thread, bytes, time) ends fetch_run, and each round looks at every job.
 *
 * When the engine stops, the thread ends all waiters first and then waits for the disk thread to
 * hand back what it has; nobody else frees it.
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
#define DEMAND_FLOWS_MS 500

int64_t transfers_now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* --- between the threads --- */

void transfers_wake(struct transfers *transfers)
{
    if (!atomic_exchange(&transfers->woken, true))
        fetch_wake(transfers->fetch);
}

void transfers_progress(struct transfers *transfers, struct job *job)
{
    job->progress_ms = transfers->progress_ms = transfers_now_ms();
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
    return take_ptr(transfers->answers);
}

/* --- jobs --- */

/* One that is closing takes no more wants. */
static struct job *find_flight(const struct transfers *transfers, const char *name)
{
    for (struct job *job = transfers->jobs; job; job = job->next) {
        if (!job->document && job->phase != JOB_CLOSING && strcmp(job->name, name) == 0)
            return job;
    }
    return NULL;
}

/* Two jobs of one name would write to one partial. */
static bool has_twin(const struct job *job)
{
    for (const struct job *other = job->transfers->jobs; other; other = other->next) {
        if (other != job && other->phase == JOB_CLOSING && strcmp(other->name, job->name) == 0)
            return true;
    }
    return false;
}

static void join_flight(struct job *flight, struct job *job)
{
    job->waiters->next = flight->waiters;
    flight->waiters = take_ptr(job->waiters);
    flight->rest = flight->rest || job->rest;
    flight->planned = flight->looked = false;
    job_free(job);
}

/* Those who come a moment after a failure share it: they would only make the same request. */
static void share_setback(struct job *job, const struct setback *setback)
{
    job->status = setback->status;
    waiters_end(job, setback->error, setback->message);
    job_free(job);
}

/* A want for what is on its way joins it, else it becomes a job at the end of the line. */
static void accept_job(struct transfers *transfers, struct job *job)
{
    struct job *flight = job->document ? NULL : find_flight(transfers, job->name);
    const struct setback *setback = job->document ? NULL : transfers_setback(transfers, job->name);
    struct job **end = &transfers->jobs;

    if (flight) {
        join_flight(flight, job);
        return;
    }
    if (setback && job_priority(job) >= WANT_AHEAD) {
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

/* The job whose turn it is, and, if it is open, for what. */
static struct job *next_job(const struct transfers *transfers, int64_t now,
                            struct errand *ret_errand)
{
    struct job *best = NULL;

    for (struct job *job = transfers->jobs; job; job = job->next) {
        struct errand errand = {.priority = job_priority(job)};

        if (job->phase == JOB_QUEUED) {
            if (job->not_before_ms > now || has_twin(job))
                continue;
        } else if (job->planned || !job_next_errand(job, now, &errand)) {
            job->planned = job->not_before_ms <= now;
            continue;
        }
        if (best && errand.priority <= ret_errand->priority)
            continue;
        best = job;
        *ret_errand = errand;
    }
    return best;
}

static void start_jobs(struct transfers *transfers)
{
    int64_t now = transfers_now_ms();
    struct errand errand = {.priority = WANT_PREFETCH};
    struct job *job;

    while ((job = next_job(transfers, now, &errand))) {
        unsigned places = transfers->conf.jobs +
                          (errand.priority == WANT_DEMAND ? DEMAND_PLACES : 0);

        if (transfers->busy >= places)
            break;
        if (job->phase == JOB_QUEUED)
            job_start(job);
        else
            strand_start(job, &errand);
    }
}

static void note_running(struct transfers *transfers)
{
    scoped_lock(&transfers->lock);
    transfers->stats.running = transfers->busy;
}

/* Does somebody wait for bytes that are really coming? Then those that nobody waits for pause. */
static bool demand_flows(const struct transfers *transfers)
{
    int64_t now = transfers_now_ms();

    for (const struct job *job = transfers->jobs; job; job = job->next) {
        if (now - job->progress_ms > DEMAND_FLOWS_MS)
            continue;
        for (const struct strand *strand = job->strands; strand; strand = strand->next) {
            if (strand->exchange && strand_priority(strand) == WANT_DEMAND)
                return true;
        }
    }
    return false;
}

static void pause_strands(struct transfers *transfers)
{
    bool hold = demand_flows(transfers);
    bool room;

    {
        scoped_lock(&transfers->lock);
        room = transfers->queued_bytes < QUEUE_LOW;
    }
    for (struct job *job = transfers->jobs; job; job = job->next) {
        for (struct strand *strand = job->strands; strand; strand = strand->next) {
            bool was = strand->full || strand->held;

            strand->held = hold && strand_priority(strand) <= WANT_STAGE;
            strand->full = strand->full && !room;
            if (strand->exchange && was != (strand->full || strand->held))
                fetch_pause(strand->exchange, strand->full || strand->held);
        }
    }
}

static void take_in_answers(struct transfers *transfers)
{
    struct disk_op *answer = take_answers(transfers);

    while (answer) {
        struct disk_op *next = answer->next; /* the answer may be freed with its owner */

        if (answer->strand)
            strand_settled(answer->strand);
        else
            job_answered(answer->job);
        answer = next;
    }
}

/* Strands that have nothing to bring any more; not from inside a callback, hence here. */
static bool drop_strands(struct job *job)
{
    for (struct strand *strand = job->strands; strand; strand = strand->next) {
        if (strand->drop && strand->exchange) {
            strand_cancel(strand);
            return true;
        }
    }
    return false;
}

static void step_jobs(struct transfers *transfers)
{
    int64_t now = transfers_now_ms();
    struct job *next;

    for (struct job *job = transfers->jobs; job; job = next) {
        next = job->next;
        while (drop_strands(job))
            continue;
        waiters_expire(job, now);
        job_step(job);
    }
}

static void stop_jobs(struct transfers *transfers)
{
    for (struct job *job = transfers->jobs; job; job = job->next) {
        job->rest = false;
        waiters_end(job, -ECANCELED, "stopping");
        job_end(job, -ECANCELED);
    }
}

/* How long nothing can happen by itself. */
static int round_ms(const struct transfers *transfers)
{
    int64_t now = transfers_now_ms();
    int64_t wait = transfers->jobs ? ROUND_MS : 60000;

    for (struct job *job = transfers->jobs; job; job = job->next) {
        int64_t until = job->not_before_ms - now;

        if (until > 0 && until < wait)
            wait = until;
    }
    return (int)wait;
}

static void *net_main(void *arg)
{
    struct transfers *transfers = arg;
    bool stopping = false;

    while (!stopping || transfers->jobs) {
        atomic_store(&transfers->woken, false); /* what is posted from now on wakes us again */
        accept_incoming(transfers, take_incoming(transfers, &stopping));
        take_in_answers(transfers);
        if (stopping)
            stop_jobs(transfers);
        step_jobs(transfers);
        if (!stopping)
            start_jobs(transfers);
        note_running(transfers);
        pause_strands(transfers);
        if (!transfers->jobs)
            pieces_drop(transfers);
        if (!stopping || transfers->jobs)
            fetch_run(transfers->fetch, round_ms(transfers));
    }
    return NULL;
}

/* --- the whole --- */

static int start_threads(struct transfers *transfers)
{
    int r = disk_threads_start(transfers);

    if (r < 0)
        return r;
    r = pthread_create(&transfers->net_thread, NULL, net_main, transfers);
    if (r != 0)
        disk_threads_end(transfers);
    return -r;
}

static void release(struct transfers *transfers)
{
    fetch_free(transfers->fetch);
    transfers_forget(transfers);
    pieces_drop(transfers);
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
    atomic_init(&transfers->away, false);
    atomic_init(&transfers->signed_failures, 0);
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
    transfers_wake(transfers);
    pthread_join(transfers->net_thread, NULL);
    disk_threads_end(transfers);
}

void transfers_set_away(struct transfers *transfers, bool away)
{
    atomic_store(&transfers->away, away);
}

void transfers_free(struct transfers *transfers)
{
    if (!transfers)
        return;
    transfers_stop(transfers);
    release(transfers);
}
