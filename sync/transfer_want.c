/* SPDX-License-Identifier: MIT */
/* From the caller's words to a job of our own: everything is copied here, on the caller's thread,
 * and from then on the network thread owns it. A job that was refused was never seen by anybody. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cache/scoped.h"
#include "sync/digest_page.h"
#include "sync/transfer_private.h"

/* One allocation: pointers, then their text. */
static char **copy_urls(const char *const *urls)
{
    size_t count = 0;
    size_t size = sizeof(char *);
    char **copy;
    char *text;

    for (; urls[count]; count++)
        size += sizeof(char *) + strlen(urls[count]) + 1;
    copy = malloc(size);
    if (!copy)
        return NULL;
    text = (char *)(copy + count + 1);
    for (size_t i = 0; i < count; i++) {
        copy[i] = text;
        text = stpcpy(text, urls[i]) + 1;
    }
    copy[count] = NULL;
    return copy;
}

/* The key where there is one. Else the URL and the md5 that its bytes must have: two versions of
 * one URL are two flights. */
static int name_job(struct job *job)
{
    char text[BLOB_KEY_TEXT_SIZE];
    scoped_free char *identity = NULL;
    struct blob_key hash;

    if (job->key.kind != BLOB_NONE || job->promised.kind != BLOB_NONE) {
        bool made = job->key.kind == BLOB_NONE; /* a draft, which may not be called as a blob is */

        blob_key_format(made ? &job->promised : &job->key, text);
        snprintf(job->name, sizeof(job->name), "%s%s", made ? "page-" : "", text);
        return 0;
    }
    if (asprintf(&identity, "%s\n%s", job->urls[0], job->md5) < 0) {
        identity = NULL;
        return -ENOMEM;
    }
    blob_key_of_bytes(identity, strlen(identity), &hash);
    blob_key_format(&hash, text);
    snprintf(job->name, sizeof(job->name), "url-%.32s", strchr(text, '-') + 1);
    return 0;
}

/* A job with its one waiter. */
static struct job *job_new(struct transfers *transfers, const char *const *urls, want_done done,
                           get_done got, void *arg)
{
    struct job *job = calloc(1, sizeof(*job));

    if (!job)
        return NULL;
    job->transfers = transfers;
    job->urls = copy_urls(urls);
    job->waiters = calloc(1, sizeof(*job->waiters));
    if (!job->urls || !job->waiters) {
        job_free(job);
        return NULL;
    }
    *job->waiters =
        (struct waiter){.done = done, .got = got, .arg = arg, .submitted_ms = transfers_now_ms()};
    return job;
}

void job_free(struct job *job)
{
    free(job->waiters); /* the one of a job that joined another, or was never accepted */
    free(job->urls);
    free(job->text);
    free(job);
}

static int submit(struct transfers *transfers, struct job *job)
{
    bool stopping;

    {
        scoped_lock(&transfers->lock);
        stopping = transfers->stopping;
        if (!stopping) {
            job->next = transfers->incoming;
            transfers->incoming = job;
            transfers->stats.wants_waiting++;
        }
    }
    if (stopping) {
        job_free(job);
        return -ECANCELED;
    }
    transfers_wake(transfers);
    return 0;
}

int transfers_want(struct transfers *transfers, const struct want *want, want_done done, void *arg)
{
    struct job *job;

    if (!want->urls[0])
        return -EINVAL;
    job = job_new(transfers, want->urls, done, NULL, arg);
    if (!job)
        return -ENOMEM;
    job->key = want->key;
    job->limit = want->limit;
    job->exact = want->exact;
    job->form = want->form;
    if (want->form == FORM_DIGEST) {
        job->promised = want->key;
        job->key = (struct blob_key){.kind = BLOB_NONE};
        job->limit = DIGEST_DOCUMENT_MAX;
    }
    job->rest = want->rest && job->key.kind != BLOB_NONE;
    job->no_ranges = tree_form_is_text(want->form);
    job->waiters->priority = want->priority;
    job->waiters->offset = want->size > 0 ? want->offset : 0;
    job->waiters->size = job->key.kind != BLOB_NONE ? want->size : 0;
    if (want->key.kind == BLOB_NONE && want->md5)
        snprintf(job->md5, sizeof(job->md5), "%s", want->md5);
    if (name_job(job) < 0) {
        job_free(job);
        return -ENOMEM;
    }
    return submit(transfers, job);
}

int transfers_get(struct transfers *transfers, const char *url, bool json, uint64_t limit,
                  get_done done, void *arg)
{
    const char *const urls[] = {url, NULL};
    struct job *job = job_new(transfers, urls, NULL, done, arg);

    if (!job)
        return -ENOMEM;
    job->document = true;
    job->json = json;
    job->limit = limit;
    job->waiters->priority = WANT_DEMAND;
    job->phase = JOB_OPEN;
    return submit(transfers, job);
}

void transfers_stats(struct transfers *transfers, struct transfers_stats *ret_stats)
{
    scoped_lock(&transfers->lock);
    *ret_stats = transfers->stats;
}
