/* SPDX-License-Identifier: MIT */
/* What an answer brings. Why bytes of two versions are never spliced: ranges name the ETag of the
 * first bytes (If-Range), an answer with another one, another total or another beginning is refused
 * before its first byte is posted (transfer_answer.c), and where the source sends all of it instead,
 * what was there is given up before the first byte of that. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cache/scoped.h"
#include "sync/transfer_private.h"

/* --- what the disk is given --- */

static int post(struct strand *strand, const struct disk_op *like)
{
    struct disk_op *op = malloc(sizeof(*op));

    if (!op)
        return -ENOMEM;
    *op = *like;
    op->sink = strand->job->sink;
    transfers_post(strand->job->transfers, op);
    return 0;
}

int strand_flush(struct strand *strand)
{
    const struct disk_op write = {
        .kind = DISK_WRITE,
        .bytes = strand->piece,
        .bytes_size = strand->piece_size,
        .offset = strand->at - strand->piece_size,
    };

    if (strand->piece_size == 0)
        return 0;

    int r = post(strand, &write);

    if (r == 0)
        strand->piece = NULL;
    strand->piece_size = 0;
    return r;
}

/* --- the head --- */

static int pin(struct strand *strand, const char *etag)
{
    struct job *job = strand->job;
    struct disk_op tag = {.kind = DISK_TAG};

    if (job->no_ranges || job->key.kind == BLOB_NONE || job->tag[0])
        return 0;
    if (etag[0] == '\0' || job_keep_tag(job, etag, tag.tag) < 0) {
        job->no_ranges = true;
        return 0;
    }
    memcpy(job->tag, etag, strlen(etag) + 1);
    return post(strand, &tag);
}

static bool whole_is_coming(const struct job *job)
{
    for (const struct strand *strand = job->strands; strand; strand = strand->next)
        if (strand->counts && !strand->ranged && strand->to == job->key.size) /* not cut short */
            return true;
    return false;
}

/* The source sends all of it, whatever is asked for: either it knows no ranges, or it has another
 * version than the one that was begun. What came so far is given up; here is the whole. */
static int take_whole(struct strand *strand, const char *etag)
{
    struct job *job = strand->job;
    bool begun = job->tag[0] != '\0';

    job->no_ranges = job->no_ranges || !begun || strcmp(etag, job->tag) == 0;
    if (job->no_ranges && whole_is_coming(job)) {
        strand->drop = true;
        return -ECANCELED;
    }
    if (begun && (job->asked || job->misfits++ > 0)) {
        strand_say(strand, ATTEMPT_MISFIT, -EPROTO, "the server has another version each time");
        return -ECANCELED;
    }
    for (struct strand *other = job->strands; other; other = other->next)
        other->drop = other != strand;
    strand->from = strand->at = 0;
    strand->to = job->key.size;
    strand->ranged = false;
    strand->counts = true;
    job->tag[0] = '\0';
    if (begun)
        job_ask_disk(job, DISK_RESTART);
    return 0;
}

static int take_head(struct strand *strand, const struct fetch_head *head,
                     const struct answer_verdict *verdict)
{
    struct job *job = strand->job;
    int r = 0;

    if (verdict->unpinned) {
        job->no_ranges = true;
        strand_say(strand, ATTEMPT_MISFIT, -EPROTO,
                   "the server does not say which version a range is of");
        return -ECANCELED;
    }
    if (verdict->whole)
        r = take_whole(strand, head->etag);
    strand->counts = true;
    job->text_size = 0;
    return r < 0 || job->document ? r : pin(strand, head->etag);
}

int strand_head(void *arg, const struct fetch_head *head)
{
    struct strand *strand = arg;
    struct job *job = strand->job;
    const struct answer_rules rules = {
        .key = job->key,
        .limit = job->limit,
        .exact = job->exact,
        .offset = strand->at,
        .ranged = strand->ranged,
        .tag = job->tag,
        .form = job->form,
        .document = job->document,
        .json = job->json,
        .server = source_kind(job->transfers->conf.source) == SOURCE_SERVER,
        .vouches = strand->ours,
    };
    struct answer_verdict verdict;

    if (strand->drop)
        return -ECANCELED;
    answer_judge(&rules, head, &verdict);
    job->status = strand->status = head->status;
    job->other = verdict.other;
    strand->attempt.retry_after_s = head->retry_after_s;
    if (verdict.end == ATTEMPT_STATUS)
        return 0;
    strand_say(strand, verdict.end, verdict.error, verdict.message);
    return verdict.end != ATTEMPT_OK ? -ECANCELED : take_head(strand, head, &verdict);
}

/* --- the body --- */

static int take_document(struct strand *strand, const void *data, size_t size)
{
    struct job *job = strand->job;
    char *longer;

    if (size > job->limit - job->text_size) {
        strand_say(strand, ATTEMPT_REFUSED, -EPROTO, "the document is longer than allowed");
        return -ECANCELED;
    }
    longer = realloc(job->text, job->text_size + size + 1);
    if (!longer)
        return -ENOMEM;
    memcpy(longer + job->text_size, data, size);
    job->text = longer;
    job->text_size += size;
    strand->brought += size;
    job->text[job->text_size] = '\0';
    return 0;
}

/* The disk may have failed since the last piece: then there is no use in going on. */
static int disk_keeps_up(struct strand *strand)
{
    struct transfers *transfers = strand->job->transfers;
    int error = atomic_load(&strand->job->sink->error);
    bool full;

    {
        scoped_lock(&transfers->lock);
        full = transfers->queued_bytes >= QUEUE_HIGH;
    }
    if (full && error == 0) {
        strand->full = true;
        fetch_pause(strand->exchange, true);
    }
    return error;
}

/* Pieces end where multiples of their size do, so that they end with blocks. */
static int fill_pieces(struct strand *strand, const char *data, size_t size)
{
    size_t step = atomic_load(&strand->job->sink->awaited) ? PIECE_AWAITED : PIECE_SIZE;
    int r = 0;

    while (size > 0 && r == 0) {
        size_t room = step - strand->at % step;
        size_t some = size < room ? size : room;

        if (!strand->piece)
            strand->piece = piece_take(strand->job->transfers);
        if (!strand->piece)
            return -ENOMEM;
        memcpy(strand->piece + strand->piece_size, data, some);
        strand->piece_size += some;
        strand->at += some;
        strand->brought += some;
        data += some;
        size -= some;
        if (some == room)
            r = strand_flush(strand);
    }
    return r;
}

/* Longer than it may be? Says so. */
static int check_length(struct strand *strand, size_t size)
{
    const struct job *job = strand->job;

    if (job->key.kind == BLOB_NONE && size > job->limit - strand->at) {
        strand_say(strand, ATTEMPT_REFUSED, -EPROTO, "it is longer than allowed");
        return -ECANCELED;
    }
    if (job->key.kind != BLOB_NONE && !strand->ranged && size > job->key.size - strand->at) {
        strand_say(strand, ATTEMPT_CORRUPT, -EBADMSG, "it is longer than the manifest says");
        return -ECANCELED;
    }
    return 0;
}

static int take_blob(struct strand *strand, const char *data, size_t size)
{
    uint64_t left = strand->to - strand->at;
    bool more = size > left;
    int r = check_length(strand, size);

    if (r == 0)
        r = fill_pieces(strand, data, more ? (size_t)left : size);
    if (r < 0)
        return r;
    if (more) { /* it was cut short, or the server sends more than it was asked for */
        strand->done = true;
        return -ECANCELED;
    }
    return disk_keeps_up(strand);
}

/* A trickle is no progress, nor is what comes with a refusal: whoever waits would wait for ever. */
static void note_bytes(struct strand *strand, size_t size)
{
    struct job *job = strand->job;

    job->bytes += size;
    {
        scoped_lock(&job->transfers->lock);
        job->transfers->stats.bytes += size;
    }
    if (!strand->counts)
        return;
    strand->counted += size;
    if (strand->counted < PROGRESS_BYTES)
        return;
    strand->counted = 0;
    transfers_progress(job->transfers, job);
}

static void keep_excuse(struct strand *strand, const void *data, size_t size)
{
    size_t room = sizeof(strand->excuse) - 1 - strand->excuse_size;
    size_t some = size < room ? size : room;

    memcpy(strand->excuse + strand->excuse_size, data, some);
    strand->excuse_size += some;
}

/* The body of a 404 is read past, so that the connection can be used again. */
int strand_body(void *arg, const void *data, size_t size)
{
    struct strand *strand = arg;
    struct job *job = strand->job;

    note_bytes(strand, size);
    if (strand->drop) /* since then, all of it comes anew */
        return -ECANCELED;
    if (!strand->counts) {
        keep_excuse(strand, data, size);
        strand->skipped += size;
        return strand->skipped > 65536 ? -ECANCELED : 0;
    }
    return job->document ? take_document(strand, data, size) : take_blob(strand, data, size);
}
