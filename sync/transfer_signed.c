/* SPDX-License-Identifier: MIT */
/* The address that is tried before the server's own. Why it can only help: a job has left it for good
 * after its first failure, its failures are counted nowhere but here, and what it brought is known by
 * a mark on the tag, so that no byte of it is ever put beside a byte of the server's. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cache/scoped.h"
#include "sync/transfer_private.h"

#define FAILURES_MAX 3
#define AGAIN_MS 300
#define MARK '@' /* an ETag begins with a quote */

void job_take_tag(struct job *job, const char *tag)
{
    scoped_free char *url = job_signed_url(job);
    bool marked = tag[0] == MARK;

    snprintf(job->tag, sizeof(job->tag), "%s", tag + marked);
    job->by_signed = tag[0] == '\0' ? url != NULL : marked;
}

int job_keep_tag(const struct job *job, const char *etag, char ret_tag[static PARTIAL_TAG_SIZE])
{
    size_t size = strlen(etag) + 1;

    if (size + job->by_signed > PARTIAL_TAG_SIZE)
        return -EMSGSIZE;
    ret_tag[0] = MARK;
    memcpy(ret_tag + job->by_signed, etag, size);
    return 0;
}

char *job_signed_url(const struct job *job)
{
    const struct transfers *transfers = job->transfers;

    if (job->key.kind == BLOB_NONE || job->signed_over || !transfers->conf.signed_url ||
        atomic_load(&transfers->signed_failures) >= FAILURES_MAX)
        return NULL;
    return transfers->conf.signed_url(transfers->conf.signed_arg, &job->key);
}

void job_leave_signed(struct job *job)
{
    job->signed_over = true;
    job->by_signed = false;
    job->no_ranges = false;
    job->misfits = 0;
    job->not_before_ms = 0;
    job_restart(job);
}

void job_signed_came(struct job *job)
{
    job->signed_again = false;
    atomic_store(&job->transfers->signed_failures, 0);
}

/* Whoever holds bytes of a partial loses them when it begins anew, so what has begun is not given up
 * for one lost connection. One that was silent has cost its time already. */
static bool is_worth_another(const struct job *job, const struct strand *strand)
{
    int status = strand->status;
    bool busy = status == 408 || status == 425 || status == 429 || status >= 500;

    if (job->tag[0] == '\0' || job->signed_again || strand->error == -ETIMEDOUT)
        return false;
    return strand->attempt.end == ATTEMPT_NETWORK ||
           (strand->attempt.end == ATTEMPT_STATUS && busy);
}

void job_signed_failed(struct job *job, const struct strand *strand)
{
    if (is_worth_another(job, strand)) {
        job->signed_again = true;
        job->not_before_ms = transfers_now_ms() + AGAIN_MS;
        return;
    }
    job_signed_lied(job);
}

void job_signed_lied(struct job *job)
{
    struct transfers *transfers = job->transfers;

    atomic_fetch_add(&transfers->signed_failures, 1);
    {
        scoped_lock(&transfers->lock);
        transfers->stats.signed_failed++;
    }
    job_leave_signed(job);
}

void transfers_renew_signed(struct transfers *transfers)
{
    atomic_store(&transfers->signed_failures, 0);
}
