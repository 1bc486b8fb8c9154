/* SPDX-License-Identifier: MIT */
/* What a job asks for next. Why nothing comes twice: a block is coming as long as the strand that
 * asked for it is in the list, and it stays there until its bytes are written.
 *
 * But for demand, what a long leisurely strand (somebody wants the whole, without haste) will bring
 * some time is not coming: it is asked for anew, and strand_start cuts the other one short before it.
 * What the source has sent by then of the bytes behind, megabytes perhaps, is lost and comes twice.
 * So nothing else is ever cut: whoever reads by block gets each byte once. */
#include <string.h>

#include "sync/transfer_private.h"

struct view {
    const struct job *job;
    bool urgent;
};

static uint64_t filled(void *arg, uint32_t block)
{
    const struct view *view = arg;

    return partial_filled(job_partial(view->job), block);
}

/* No other is as long as that of a whole (transfer_span.h). */
static bool may_be_cut(const struct strand *strand)
{
    return strand->priority <= WANT_STAGE && strand->to - strand->from >= SPAN_MAX + PARTIAL_BLOCK;
}

static bool coming(void *arg, uint32_t block)
{
    const struct view *view = arg;
    uint64_t begin = (uint64_t)block * PARTIAL_BLOCK;

    for (const struct strand *strand = view->job->strands; strand; strand = strand->next) {
        uint64_t from = strand->from / PARTIAL_BLOCK * PARTIAL_BLOCK;
        bool far = view->urgent && may_be_cut(strand) && begin >= strand->at + NEAR_BYTES;

        if (begin >= from && begin < strand->to && !far)
            return true;
    }
    return false;
}

/* Each ends soon, and while it settles another one comes; the places are for others too. */
#define REST_STRANDS 2

static bool rest_may_go_on(const struct job *job)
{
    unsigned leisurely = 0;

    for (const struct strand *strand = job->strands; strand; strand = strand->next)
        leisurely += strand->priority == WANT_PREFETCH;
    return job->rest && leisurely < REST_STRANDS;
}

static bool find_span(const struct job *job, bool urgent, const struct span *wanted, uint64_t most,
                      struct span *ret_span)
{
    struct view view = {.job = job, .urgent = urgent};
    const struct span_map map = {
        .size = job->key.size,
        .block = PARTIAL_BLOCK,
        .filled = filled,
        .coming = coming,
        .arg = &view,
    };

    return span_next(&map, wanted->from, wanted->to, most, ret_span);
}

/* Of a known key: what those who wait want, most urgent first, then the rest. */
static bool next_blocks(const struct job *job, struct errand *ret_errand)
{
    const struct span all = {0, job->key.size};
    bool found = false;

    for (const struct waiter *waiter = job->waiters; waiter; waiter = waiter->next) {
        struct span wanted = {waiter->offset, waiter->offset + waiter->size};
        bool whole = waiter->size == 0;
        struct span span;

        if ((found && waiter->priority <= ret_errand->priority) ||
            !find_span(job, waiter->priority == WANT_DEMAND && !whole, whole ? &all : &wanted,
                       whole ? UINT64_MAX : SPAN_MAX, &span))
            continue;
        *ret_errand = (struct errand){span, waiter->priority};
        found = true;
    }
    if (!found && rest_may_go_on(job) && find_span(job, false, &all, SPAN_MAX, &ret_errand->span)) {
        ret_errand->priority = WANT_PREFETCH;
        found = true;
    }
    return found;
}

/* One stream from the beginning: documents, bytes without a key, sources without ranges. */
static bool next_stream(const struct job *job, struct errand *ret_errand)
{
    if (job->strands)
        return false;
    *ret_errand = (struct errand){
        .span = {0, job->key.kind == BLOB_NONE ? UINT64_MAX : job->key.size},
        .priority = job_priority(job),
    };
    return true;
}

bool job_next_errand(const struct job *job, int64_t now, struct errand *ret_errand)
{
    if (job->phase != JOB_OPEN || job->asked || job->not_before_ms > now ||
        job->strand_count >= STRANDS_MAX || (!job->waiters && !job->rest))
        return false;
    if (job->document || job->key.kind == BLOB_NONE || job->no_ranges)
        return next_stream(job, ret_errand);
    return next_blocks(job, ret_errand);
}

void job_cut_short(struct job *job, const struct errand *errand)
{
    for (struct strand *strand = job->strands; strand; strand = strand->next) {
        if (errand->priority == WANT_DEMAND && strand->exchange && may_be_cut(strand) &&
            errand->span.from >= strand->at + NEAR_BYTES && errand->span.from < strand->to)
            strand->to = errand->span.from; /* of the blocks behind it nobody takes care now */
    }
}

enum want_priority strand_priority(const struct strand *strand)
{
    enum want_priority most = strand->priority;

    for (const struct waiter *waiter = strand->job->waiters; waiter; waiter = waiter->next) {
        uint64_t end = waiter->size > 0 ? waiter->offset + waiter->size : UINT64_MAX;

        if (waiter->priority > most && waiter->offset < strand->to && end > strand->at)
            most = waiter->priority;
    }
    return most;
}
