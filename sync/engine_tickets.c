/* SPDX-License-Identifier: MIT */
/* Who asked for which refresh, and what it came to. Why nobody waits for ever: a ticket is either
 * in asks (and the sync thread will take it), or running, or in the ring of those that ended; a
 * slot of the ring that shows a later ticket says that ours has long ended too. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cache/scoped.h"
#include "sync/engine_private.h"

int64_t engine_now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

uint64_t engine_unix_now(void)
{
    return (uint64_t)time(NULL);
}

int engine_refresh(struct engine *engine, unsigned flags, uint64_t *ret_ticket)
{
    struct ask *ask = &engine->asks[flags & REFRESH_DRY_RUN ? 1 : 0];

    scoped_lock(&engine->lock);
    if (engine->stopping)
        return -ECANCELED;
    if (ask->ticket == 0)
        *ask = (struct ask){.ticket = ++engine->last_ticket};
    ask->flags |= flags;
    if (ret_ticket)
        *ret_ticket = ask->ticket;
    pthread_cond_broadcast(&engine->changed);
    return 0;
}

/* --- reports of the caller's own --- */

static int copy_skipped(const struct report *report, struct report *copy)
{
    copy->skipped = calloc(report->skipped_count + 1, sizeof(*copy->skipped));
    if (!copy->skipped)
        return -ENOMEM;
    for (size_t i = 0; i < report->skipped_count; i++) {
        const struct report_line *line = &report->skipped[i];
        struct report_line *to = &copy->skipped[copy->skipped_count++];

        *to = *line;
        to->group = strdup(line->group);
        to->name = strdup(line->name);
        to->reason = strdup(line->reason);
        if (!to->group || !to->name || !to->reason)
            return -ENOMEM;
    }
    return 0;
}

int engine_copy_report(const struct report *report, struct report **ret_copy)
{
    scoped(report_freep) struct report *copy = report_new();
    int r;

    if (!copy)
        return -ENOMEM;
    *copy = *report;
    copy->skipped = copy->errors = NULL;
    copy->invariant_violations = NULL;
    copy->skipped_count = copy->error_count = copy->invariant_count = 0;
    r = copy_skipped(report, copy);
    for (size_t i = 0; i < report->error_count && r == 0; i++) {
        const struct report_line *line = &report->errors[i];

        r = report_add_error(copy, line->section, line->group, line->name, line->error,
                             line->reason);
    }
    for (size_t i = 0; i < report->invariant_count && r == 0; i++)
        r = report_add_violation(copy, report->invariant_violations[i]);
    if (r < 0)
        return r;
    *ret_copy = take_ptr(copy);
    return 0;
}

int engine_wait(struct engine *engine, uint64_t ticket, int timeout_ms, struct report **ret_report)
{
    const struct ended *ended = &engine->ended[ticket % TICKETS_KEPT];
    int64_t until_ms = engine_now_ms() + timeout_ms;
    struct timespec until = {.tv_sec = until_ms / 1000, .tv_nsec = until_ms % 1000 * 1000000};
    int r = 0;

    scoped_lock(&engine->lock);
    while (ended->ticket < ticket && !engine->stopping && r == 0) {
        if (timeout_ms < 0)
            pthread_cond_wait(&engine->changed, &engine->lock);
        else
            r = pthread_cond_timedwait(&engine->changed, &engine->lock, &until);
    }
    if (ended->ticket < ticket)
        return engine->stopping ? -ECANCELED : -ETIMEDOUT;
    return ended->report ? engine_copy_report(ended->report, ret_report) : -ENOMEM;
}

/* Consumes the report. */
void engine_ended(struct engine *engine, const struct ask *ask, struct report *report)
{
    struct ended *ended = &engine->ended[ask->ticket % TICKETS_KEPT];
    struct engine_status *status = &engine->status;
    struct report *old;

    {
        scoped_lock(&engine->lock);
        old = ended->report;
        *ended = (struct ended){.ticket = ask->ticket, .report = report};
        status->error = report ? report->error : -ENOMEM;
        if (report)
            memcpy(status->message, report->message, sizeof(status->message));
        else
            snprintf(status->message, sizeof(status->message), "no memory");
        if (status->error == 0)
            status->last_success_unix = engine_unix_now();
        pthread_cond_broadcast(&engine->changed);
    }
    report_free(old);
}

/* --- status --- */

void engine_progress_begin(struct engine *engine, uint64_t files, uint64_t bytes)
{
    struct transfers_stats stats;

    transfers_stats(engine->transfers, &stats);
    scoped_lock(&engine->lock);
    engine->status.files_total = files;
    engine->status.files_done = 0;
    engine->status.bytes_total = bytes;
    engine->bytes_before = stats.bytes;
}

void engine_status(struct engine *engine, struct engine_status *ret_status)
{
    struct transfers_stats stats = {.running = 0};
    uint64_t done;

    if (engine->transfers)
        transfers_stats(engine->transfers, &stats);
    scoped_lock(&engine->lock);
    *ret_status = engine->status;
    ret_status->transfers = stats;
    ret_status->generation = engine->tree ? tree_generation(engine->tree) : 0;
    ret_status->problem_count = engine->problem_count;
    done = stats.bytes > engine->bytes_before ? stats.bytes - engine->bytes_before : 0;
    ret_status->bytes_done = done < ret_status->bytes_total ? done : ret_status->bytes_total;
}

/* --- the server --- */

/* Not to be able to is no reason not to start. */
void engine_begin_to_confirm(struct engine *engine)
{
    const struct engine_conf *conf = &engine->conf;
    const struct caller_conf caller = {
        .source = conf->source,
        .user_agent = conf->user_agent,
        .ca_file = conf->ca_file,
        .proxy = conf->proxy,
        .timeout_s = conf->timeout_s,
        .token = conf->token,
        .token_arg = conf->token_arg,
    };

    if (conf->confirm && source_kind(conf->source) == SOURCE_SERVER)
        confirm_new(&caller, &engine->confirm);
}
