/* SPDX-License-Identifier: MIT */
/* The order in which disk threads work. What they would do is played here: disk_perform and disk_hash
 * are this file's, and wait for one another where only the right schedule lets them pass. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "cache/scoped.h"
#include "sync/transfer_private.h"

#define WAIT_S 20 /* of whatever should come at once */

/* A sink never looks into its partial here. */
static struct partial *const some_partial = (struct partial *)16;

struct play {
    struct transfers transfers;
    pthread_mutex_t lock;
    pthread_cond_t moved;
    char log[4096];      /* lock; one letter an act, small where bytes are hashed */
    unsigned inside;     /* lock; threads that are waiting inside an act */
    unsigned alone;      /* lock; that many acts wait for nobody; after them */
    unsigned wanted;     /* lock; that many have to be inside before one goes on */
    unsigned woken;      /* lock */
    unsigned in_lane[2]; /* lock; of the first sink: files, sums */
    bool crowded;        /* lock; two were in one lane */
    bool late;           /* lock; somebody waited in vain */
};

static struct play *play;

static struct timespec deadline(void)
{
    struct timespec at;

    clock_gettime(CLOCK_REALTIME, &at);
    at.tv_sec += WAIT_S;
    return at;
}

/* Lock held. Goes on when enough threads are inside at once. */
static void meet(void)
{
    struct timespec at = deadline();

    play->inside++;
    pthread_cond_broadcast(&play->moved);
    while (play->inside < play->wanted && !play->late)
        play->late = pthread_cond_timedwait(&play->moved, &play->lock, &at) != 0;
    play->wanted = 0; /* met once is enough */
    pthread_cond_broadcast(&play->moved);
    play->inside--;
}

static void act(char letter, unsigned lane)
{
    {
        scoped_lock(&play->lock);
        play->crowded = play->crowded || play->in_lane[lane]++ > 0;
        if (play->alone > 0)
            play->alone--;
        else if (play->wanted > 0)
            meet();
    }
    sched_yield();
    scoped_lock(&play->lock);
    play->log[strlen(play->log)] = letter;
    play->in_lane[lane]--;
    pthread_cond_broadcast(&play->moved);
}

bool disk_perform(struct transfers *transfers, struct disk_op *op)
{
    static const char letters[] = {
        [DISK_OPEN] = 'O',    [DISK_WRITE] = 'W',  [DISK_TAG] = 'T',  [DISK_SETTLE] = 'S',
        [DISK_RESTART] = 'R', [DISK_COMMIT] = 'C', [DISK_CLOSE] = 'X'};

    act(op->offset ? (char)op->offset : letters[op->kind], 0);
    if (op->error < 0)
        atomic_store(&op->sink->error, op->error);
    return op->kind != DISK_CLOSE;
}

void disk_hash(const struct disk_op *op)
{
    act(op->offset ? (char)(op->offset + 'a' - 'A') : 'w', 1);
}

void transfers_wake(struct transfers *transfers)
{
    scoped_lock(&play->lock);
    play->woken++;
    pthread_cond_broadcast(&play->moved);
}

/* --- scaffolding --- */

static int set_up(void **state)
{
    play = calloc(1, sizeof(*play));
    pthread_mutex_init(&play->lock, NULL);
    pthread_cond_init(&play->moved, NULL);
    pthread_mutex_init(&play->transfers.lock, NULL);
    pthread_cond_init(&play->transfers.disk_work, NULL);
    *state = play;
    return 0;
}

static int tear_down(void **state)
{
    pieces_drop(&play->transfers);
    pthread_cond_destroy(&play->transfers.disk_work);
    pthread_mutex_destroy(&play->transfers.lock);
    pthread_cond_destroy(&play->moved);
    pthread_mutex_destroy(&play->lock);
    free(play);
    return 0;
}

static struct disk_op *post(struct sink *sink, enum disk_kind kind)
{
    struct disk_op *op = calloc(1, sizeof(*op));

    op->kind = kind;
    op->sink = sink;
    if (kind == DISK_WRITE) {
        op->bytes = piece_take(&play->transfers);
        op->bytes_size = PIECE_SIZE;
    }
    transfers_post(&play->transfers, op);
    return op;
}

static struct sink *sink_new(void)
{
    struct sink *sink = calloc(1, sizeof(*sink));

    atomic_store(&sink->partial, some_partial);
    return sink;
}

static void start(void)
{
    assert_int_equal(disk_threads_start(&play->transfers), 0);
}

/* Whatever was posted is done when they have ended. Those that find nothing to do end at once, so where
 * several have to be there, they are waited for first. */
static void end_after(size_t acts)
{
    struct timespec at = deadline();

    {
        scoped_lock(&play->lock);
        while (strlen(play->log) < acts && !play->late)
            play->late = pthread_cond_timedwait(&play->moved, &play->lock, &at) != 0;
    }
    disk_threads_end(&play->transfers);
    assert_false(play->late);
    assert_int_equal(play->transfers.queued_bytes, 0);
}

static void end(void)
{
    end_after(0);
}

/* The log without what is hashed. */
static const char *performed(void)
{
    static char found[sizeof(play->log)];
    size_t n = 0;

    for (const char *at = play->log; *at; at++)
        if (*at < 'a')
            found[n++] = *at;
    found[n] = '\0';
    return found;
}

static size_t count(const char *text, char letter)
{
    size_t n = 0;

    for (; *text; text++)
        n += *text == letter;
    return n;
}

/* --- tests --- */

static void a_sink_is_worked_on_in_order(void **state)
{
    struct sink *sink = sink_new();

    post(sink, DISK_OPEN);
    post(sink, DISK_WRITE);
    post(sink, DISK_TAG);
    for (int i = 0; i < 50; i++)
        post(sink, DISK_WRITE);
    post(sink, DISK_TAG);
    post(sink, DISK_CLOSE);
    start();
    end();
    assert_false(play->crowded);
    assert_int_equal(strncmp(performed(), "OWTWW", 5), 0);
    assert_string_equal(performed() + strlen(performed()) - 3, "WTX");
    assert_int_equal(count(play->log, 'w'), 51);
    free(sink);
}

/* The second act waits for a third: with one thread for both lanes, nobody would ever come. */
static void bytes_are_hashed_while_the_next_ones_are_written(void **state)
{
    struct sink *sink = sink_new();

    play->alone = 1;
    play->wanted = 2;
    post(sink, DISK_WRITE);
    post(sink, DISK_WRITE);
    post(sink, DISK_CLOSE);
    start();
    end_after(5);
    assert_false(play->crowded);
    free(sink);
}

static void several_sinks_are_worked_on_at_once(void **state)
{
    struct sink *sinks[DISK_THREADS];

    play->wanted = DISK_THREADS;
    for (size_t i = 0; i < DISK_THREADS; i++) {
        sinks[i] = sink_new();
        post(sinks[i], DISK_OPEN);
    }
    start();
    end_after(DISK_THREADS);
    for (size_t i = 0; i < DISK_THREADS; i++)
        free(sinks[i]);
}

/* Of each kind that has the sink to itself: all is hashed that was written before, and what was posted
 * after it has not begun. */
static void a_whole_sink_changes_between_its_bytes(void **state)
{
    const enum disk_kind kinds[] = {DISK_RESTART, DISK_COMMIT, DISK_CLOSE};
    const char letters[] = "RCX";

    for (size_t i = 0; i < 3; i++) {
        struct sink *sink = sink_new();

        memset(play->log, 0, sizeof(play->log));
        play->transfers.net_ended = false;
        start();
        for (int n = 0; n < 20; n++)
            post(sink, DISK_WRITE);
        post(sink, kinds[i]);
        if (kinds[i] != DISK_CLOSE)
            for (int n = 0; n < 20; n++)
                post(sink, DISK_WRITE);
        end();

        const char *middle = strchr(play->log, letters[i]);
        size_t before = (size_t)(middle - play->log);

        assert_int_equal(before, 40);
        assert_int_equal(strlen(middle + 1), kinds[i] == DISK_CLOSE ? 0 : 40);
        free(sink);
    }
    assert_false(play->crowded);
}

/* What could not be written is not hashed: the digest would vouch for bytes that are not there. */
static void after_an_error_nothing_is_hashed(void **state)
{
    struct sink *sink = sink_new();

    post(sink, DISK_WRITE);
    post(sink, DISK_WRITE)->error = -ENOSPC;
    post(sink, DISK_WRITE);
    post(sink, DISK_CLOSE);
    start();
    end();
    assert_string_equal(performed(), "WWWX");
    assert_int_equal(count(play->log, 'w'), 1);
    free(sink);
}

/* A sink without a partial is hashed by its writer. */
static void without_a_partial_nothing_is_passed_on(void **state)
{
    struct sink *sink = sink_new();

    atomic_store(&sink->partial, NULL);
    post(sink, DISK_WRITE);
    post(sink, DISK_CLOSE);
    start();
    end();
    assert_string_equal(play->log, "WX");
    free(sink);
}

static void answers_come_back_and_wake_the_network(void **state)
{
    struct sink *sink = sink_new();
    struct job job = {.transfers = &play->transfers};
    struct disk_op open = {.kind = DISK_OPEN, .sink = sink, .job = &job};
    struct disk_op settle = {.kind = DISK_SETTLE, .sink = sink, .job = &job};

    transfers_post(&play->transfers, &open);
    post(sink, DISK_WRITE);
    transfers_post(&play->transfers, &settle);
    start();
    end();
    assert_ptr_equal(play->transfers.answers, &open);
    assert_ptr_equal(open.next, &settle);
    assert_null(settle.next);
    assert_int_equal(play->woken, 2);
    free(sink);
}

static void written_bytes_wake_the_network_only_where_they_are_awaited(void **state)
{
    struct sink *sink = sink_new();

    post(sink, DISK_WRITE);
    post(sink, DISK_TAG);
    start();
    end();
    assert_int_equal(play->woken, 0);

    atomic_store(&sink->awaited, true);
    play->transfers.net_ended = false;
    post(sink, DISK_WRITE);
    post(sink, DISK_TAG);
    start();
    end();
    assert_int_equal(play->woken, 1);
    free(sink);
}

/* A queue that was full is worth going on for once it is half empty. */
static void room_in_the_queue_wakes_the_network(void **state)
{
    struct sink *sink = sink_new();

    for (size_t i = 0; i < QUEUE_HIGH / PIECE_SIZE; i++)
        post(sink, DISK_WRITE);
    assert_int_equal(play->transfers.queued_bytes, QUEUE_HIGH);
    start();
    end();
    assert_int_equal(play->woken, 1);
    free(sink);
}

static void spare_pieces_are_used_again(void **state)
{
    void *first = piece_take(&play->transfers);

    piece_give(&play->transfers, first);
    assert_ptr_equal(piece_take(&play->transfers), first);
    piece_give(&play->transfers, first);
    piece_give(&play->transfers, NULL);
    pieces_drop(&play->transfers);
    assert_null(play->transfers.pieces);
}

#define test(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(a_sink_is_worked_on_in_order),
        test(bytes_are_hashed_while_the_next_ones_are_written),
        test(several_sinks_are_worked_on_at_once),
        test(a_whole_sink_changes_between_its_bytes),
        test(after_an_error_nothing_is_hashed),
        test(without_a_partial_nothing_is_passed_on),
        test(answers_come_back_and_wake_the_network),
        test(written_bytes_wake_the_network_only_where_they_are_awaited),
        test(room_in_the_queue_wakes_the_network),
        test(spare_pieces_are_used_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
