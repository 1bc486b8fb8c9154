/* SPDX-License-Identifier: MIT */
/* In which order the disk threads do what they are given.
 *
 * Why a sink is in order and nobody waits for nothing: a lane is busy from the moment it is listed as
 * ready until the op that was first has been performed, so no two threads are in it; whenever an op
 * comes into a lane or one has been performed, each lane of that sink that has something to do, and
 * may, is listed again. An op that has the sink to itself may when nothing is being hashed or waits for
 * it; then nothing can come to be, since only `files` passes bytes on.
 *
 * Lanes take turns, one op each, so a big blob is no obstacle to the others. */
#include <errno.h>

#include "cache/scoped.h"
#include "sync/transfer_private.h"

/* --- lanes; all with the lock held --- */

static void lane_append(struct lane *lane, struct disk_op *op)
{
    op->next = NULL;
    if (lane->first)
        lane->last->next = op;
    else
        lane->first = op;
    lane->last = op;
}

static struct disk_op *lane_take(struct lane *lane)
{
    struct disk_op *op = lane->first;

    lane->first = op->next;
    op->next = NULL;
    return op;
}

static bool wants_sink_alone(const struct disk_op *op)
{
    return op->kind == DISK_RESTART || op->kind == DISK_COMMIT || op->kind == DISK_CLOSE;
}

static bool may_go(const struct sink *sink, const struct lane *lane)
{
    if (lane->busy || !lane->first)
        return false;
    return lane == &sink->sums || !wants_sink_alone(lane->first) ||
           (!sink->sums.busy && !sink->sums.first);
}

static bool list_if_ready(struct transfers *transfers, struct sink *sink, struct lane *lane)
{
    if (!may_go(sink, lane))
        return false;
    lane->busy = true;
    lane->next = NULL;
    if (transfers->ready)
        transfers->ready_last->next = lane;
    else
        transfers->ready = lane;
    transfers->ready_last = lane;
    return true;
}

void transfers_post(struct transfers *transfers, struct disk_op *op)
{
    scoped_lock(&transfers->lock);
    lane_append(&op->sink->files, op);
    transfers->queued_bytes += op->bytes_size;
    if (list_if_ready(transfers, op->sink, &op->sink->files))
        pthread_cond_signal(&transfers->disk_work);
}

/* --- a turn --- */

struct turn {
    struct disk_op *op;
    struct sink *sink;
    struct lane *lane;
    bool hashes; /* of sums; else of files */
    bool pass_on;
    bool last; /* the sink is gone */
};

static bool take_turn(struct transfers *transfers, struct turn *ret_turn)
{
    struct lane *lane;

    scoped_lock(&transfers->lock);
    while (!transfers->ready && !transfers->net_ended)
        pthread_cond_wait(&transfers->disk_work, &transfers->lock);
    lane = transfers->ready;
    if (!lane) /* what others are at, they see to its end */
        return false;
    transfers->ready = lane->next;
    *ret_turn = (struct turn){.op = lane_take(lane), .lane = lane};
    ret_turn->sink = ret_turn->op->sink;
    ret_turn->hashes = lane == &ret_turn->sink->sums;
    return true;
}

/* True if somebody waits for what has been done. */
static bool perform(struct transfers *transfers, struct turn *turn)
{
    struct disk_op *op = turn->op;

    if (turn->hashes) {
        disk_hash(op);
        return false;
    }
    turn->last = !disk_perform(transfers, op);
    if (op->kind != DISK_WRITE)
        return false;
    turn->pass_on = atomic_load(&turn->sink->partial) && atomic_load(&turn->sink->error) == 0;
    return atomic_load(&turn->sink->awaited);
}

static void append_answer(struct transfers *transfers, struct disk_op *op)
{
    op->next = NULL;
    if (transfers->answers)
        transfers->answers_last->next = op;
    else
        transfers->answers = op;
    transfers->answers_last = op;
}

/* True if the network thread should know: an answer, or room for more. */
static bool end_turn(struct transfers *transfers, const struct turn *turn, bool answered,
                     size_t size)
{
    bool was_full;

    scoped_lock(&transfers->lock);
    was_full = transfers->queued_bytes >= QUEUE_LOW;
    transfers->queued_bytes -= size;
    if (turn->pass_on)
        lane_append(&turn->sink->sums, turn->op);
    if (!turn->last) {
        turn->lane->busy = false;
        list_if_ready(transfers, turn->sink, &turn->sink->files);
        list_if_ready(transfers, turn->sink, &turn->sink->sums);
    }
    if (transfers->ready && transfers->ready->next) /* the first one we take ourselves */
        pthread_cond_signal(&transfers->disk_work);
    if (answered)
        append_answer(transfers, turn->op);
    return answered || (was_full && transfers->queued_bytes < QUEUE_LOW);
}

static void *disk_main(void *arg)
{
    struct transfers *transfers = arg;
    struct turn turn;

    while (take_turn(transfers, &turn)) {
        struct disk_op *op = turn.op;
        bool answered = op->job || op->strand;
        bool awaited = perform(transfers, &turn);
        size_t size = 0;

        if (!answered && !turn.pass_on) {
            size = op->bytes_size;
            piece_give(transfers, op->bytes);
            free(op);
        }
        if (end_turn(transfers, &turn, answered, size) || awaited)
            transfers_wake(transfers);
    }
    return NULL;
}

/* --- the threads --- */

void disk_threads_end(struct transfers *transfers)
{
    {
        scoped_lock(&transfers->lock);
        transfers->net_ended = true;
        pthread_cond_broadcast(&transfers->disk_work);
    }
    for (size_t i = 0; i < transfers->disk_thread_count; i++)
        pthread_join(transfers->disk_threads[i], NULL);
    transfers->disk_thread_count = 0;
}

int disk_threads_start(struct transfers *transfers)
{
    while (transfers->disk_thread_count < DISK_THREADS) {
        int r = pthread_create(&transfers->disk_threads[transfers->disk_thread_count], NULL,
                               disk_main, transfers);

        if (r != 0) {
            disk_threads_end(transfers);
            return -r;
        }
        transfers->disk_thread_count++;
    }
    return 0;
}
