/* SPDX-License-Identifier: MIT */
/* One attempt: request, head, body, end. Why bytes of two versions are never spliced: a resume
 * names the ETag of the first bytes (If-Range), a 206 must begin where they end
 * (transfer_answer.c), and anything else starts the sink again from byte 0 before its first block
 * is posted. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cache/scoped.h"
#include "sync/transfer_private.h"

/* --- what the disk is given --- */

static int job_post(struct job *job, enum disk_kind kind, char *bytes, size_t size,
                    const struct disk_op *like)
{
    struct disk_op *op = malloc(sizeof(*op));

    if (!op)
        return -ENOMEM;
    *op = *like;
    op->kind = kind;
    op->sink = job->sink;
    op->bytes = bytes;
    op->bytes_size = size;
    transfers_post(job->transfers, op);
    return 0;
}

static int job_flush_block(struct job *job)
{
    static const struct disk_op empty;
    int r = 0;

    if (job->block_size > 0)
        r = job_post(job, DISK_BLOCK, job->block, job->block_size, &empty);
    if (r == 0 && job->block_size > 0)
        job->block = NULL;
    job->block_size = 0;
    return r;
}

/* --- the exchange --- */

static int on_head(void *arg, const struct fetch_head *head)
{
    struct job *job = arg;
    struct answer_rules rules = {
        .key = job->key,
        .limit = job->limit,
        .exact = job->exact,
        .offset = job->offset,
        .bundle = job->bundle,
        .document = job->document,
        .json = job->json,
        .server = source_kind(job->transfers->conf.source) == SOURCE_SERVER,
    };
    struct answer_verdict verdict;
    struct disk_op begin = {.restart = head->status == 200};

    answer_judge(&rules, head, &verdict);
    job->status = head->status;
    job->attempt.retry_after_s = head->retry_after_s;
    transfers_progress(job->transfers, job, 0);
    if (verdict.end == ATTEMPT_STATUS)
        return 0;
    job_say(job, verdict.end, verdict.error, verdict.message);
    if (verdict.end != ATTEMPT_OK)
        return -ECANCELED;
    job->counts = true;
    job->received = head->status == 206 ? job->offset : 0;
    job->text_size = 0;
    if (job->document)
        return 0;
    memcpy(begin.tag, head->etag, strlen(head->etag) + 1);
    return job_post(job, DISK_BEGIN, NULL, 0, &begin);
}

static int on_document(struct job *job, const void *data, size_t size)
{
    char *longer;

    if (size > job->limit - job->text_size) {
        job_say(job, ATTEMPT_REFUSED, -EPROTO, "the document is longer than allowed");
        return -ECANCELED;
    }
    longer = realloc(job->text, job->text_size + size + 1);
    if (!longer)
        return -ENOMEM;
    memcpy(longer + job->text_size, data, size);
    job->text = longer;
    job->text_size += size;
    job->text[job->text_size] = '\0';
    return 0;
}

/* The disk may have failed since the last block: then there is no use in going on. */
static int disk_keeps_up(struct job *job)
{
    struct transfers *transfers = job->transfers;
    bool full;
    int error;

    {
        scoped_lock(&transfers->lock);
        full = transfers->queued_bytes >= QUEUE_HIGH;
        error = job->sink->error;
    }
    if (full && error == 0) {
        job->paused = true;
        fetch_pause(job->exchange, true);
    }
    return error;
}

static int on_blob(struct job *job, const char *data, size_t size)
{
    uint64_t cap = job->key.kind == BLOB_NONE ? job->limit : job->key.size;
    int r = 0;

    if (size > cap - job->received) {
        if (job->key.kind == BLOB_NONE)
            job_say(job, ATTEMPT_REFUSED, -EPROTO, "it is longer than allowed");
        else
            job_say(job, ATTEMPT_CORRUPT, -EBADMSG, "it is longer than the manifest says");
        return -ECANCELED;
    }
    job->received += size;
    while (size > 0 && r == 0) {
        size_t room = BLOCK_SIZE - job->block_size;
        size_t some = size < room ? size : room;

        if (!job->block)
            job->block = malloc(BLOCK_SIZE);
        if (!job->block)
            return -ENOMEM;
        memcpy(job->block + job->block_size, data, some);
        job->block_size += some;
        data += some;
        size -= some;
        if (job->block_size == BLOCK_SIZE)
            r = job_flush_block(job);
    }
    return r < 0 ? r : disk_keeps_up(job);
}

/* The body of a 404 is read past, so that the connection can be used again. */
static int on_body(void *arg, const void *data, size_t size)
{
    struct job *job = arg;

    transfers_progress(job->transfers, job, size);
    job->bytes += size;
    if (!job->counts) {
        job->received += size;
        return job->received > 65536 ? -ECANCELED : 0;
    }
    return job->document ? on_document(job, data, size) : on_blob(job, data, size);
}

static int end_error(enum fetch_end end)
{
    switch (end) {
    case FETCH_STALLED: return -ETIMEDOUT;
    case FETCH_REFUSED: return -EPROTO;
    case FETCH_LOCAL: return -ENOMEM;
    default: return -EHOSTUNREACH;
    }
}

/* What the exchange came to, unless a callback said so already. */
static void job_note_end(struct job *job, const struct fetch_result *result)
{
    bool no_answer = result->end == FETCH_RESOLVE || result->end == FETCH_CONNECT ||
                     result->end == FETCH_TLS;
    char message[160];
    int error;

    job->status = result->end == FETCH_NOT_FOUND ? 404 : result->status;
    job->attempt.status = job->status;
    if (job->attempt.end != ATTEMPT_OK)
        return;
    if (job->status >= 400) {
        error = answer_status_error(job->status, job->transfers->token != NULL, message,
                                    sizeof(message));
        job_say(job, ATTEMPT_STATUS, error, message);
    } else if (result->end == FETCH_ABORTED) { /* our own memory, or what the disk will tell */
        job_say(job, ATTEMPT_LOCAL, -ENOMEM, "no memory");
    } else if (no_answer) {
        snprintf(message, sizeof(message), "could not reach %.60s: %.80s",
                 source_host(job->transfers->conf.source), result->message);
        job_say(job, ATTEMPT_NETWORK, -EHOSTUNREACH, message);
    } else if (result->end != FETCH_COMPLETE) {
        job_say(job, result->end == FETCH_REFUSED ? ATTEMPT_REFUSED : ATTEMPT_NETWORK,
                end_error(result->end), result->message);
    }
}

static void on_done(void *arg, const struct fetch_result *result)
{
    struct job *job = arg;

    job->exchange = NULL;
    job->paused = false;
    job_note_end(job, result);
    if (job_flush_block(job) < 0)
        job_say(job, ATTEMPT_LOCAL, -ENOMEM, "no memory");
    if (job->document) {
        job_judge(job);
        return;
    }
    job->phase = job->attempt.end == ATTEMPT_OK ? JOB_COMMITTING : JOB_SETTLING;
    job_ask_disk(job, job->phase == JOB_COMMITTING ? DISK_COMMIT : DISK_SETTLE);
}

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

void job_request(struct job *job)
{
    struct transfers *transfers = job->transfers;
    const char *url = job->urls[job->url];
    struct fetch_request request = {
        .url = url,
        .bearer = wants_token(job, url) ? transfers_token(transfers) : NULL,
        .if_range = job->tag,
        .offset = job->offset,
        .gzip = job->document || job->bundle,
        .no_cache = job->no_cache,
        .stall_s = stall_seconds(transfers),
        .head = on_head,
        .body = on_body,
        .done = on_done,
        .arg = job,
    };
    int r;

    job->attempt = (struct attempt){.end = ATTEMPT_OK, .retry_after_s = -1};
    job->error = 0;
    job->status = 0;
    job->counts = false;
    job->received = 0;
    job->token_version = transfers->token_version;
    job->tries++;
    job->requests++;
    job->phase = JOB_RUNNING;
    r = fetch_start(transfers->fetch, &request, &job->exchange);
    if (r == 0) {
        scoped_lock(&transfers->lock);
        transfers->stats.requests++;
        return;
    }
    job->requests--;
    job_say(job, r == -EINVAL ? ATTEMPT_REFUSED : ATTEMPT_LOCAL, r == -EINVAL ? -EPROTO : r,
            r == -EINVAL ? "not a usable URL or token" : "no memory");
    job_judge(job);
}
