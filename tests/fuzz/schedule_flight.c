/* SPDX-License-Identifier: MIT */
/* The single flight in many orders: several who want the same few blobs, whole and in part, urgently
 * and not, some of whom do not wait; the disk threads; a source in fair or foul weather
 * (schedule_source.h); and, at times, an end in the middle. What must hold:
 *
 *   - each want that was taken ends once, with what transfer.h says, and not after the end;
 *   - bytes are those of the key;
 *   - in fair weather every want ends well, and where nobody prefetches each byte is asked for once;
 *   - after foul weather what has failed is tried again, and comes;
 *   - no byte comes twice at once, and none that is demanded is held back (schedule_source.h);
 *   - in the end no partial, descriptor, request or want is left. */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cache/partial.h"
#include "cache/scoped.h"
#include "sync/transfer.h"
#include "tests/fuzz/schedule_source.h"
#include "tests/fuzz/schedules.h"

#define WANTERS 4
#define WANTS 5 /* of each */
#define WANTS_MAX (WANTERS * WANTS + SOURCE_BLOBS)
#define TIMEOUT_S 6
#define SETBACKS_ARE_OVER_S 3 /* transfer.h */

struct flight;

struct wish {
    struct flight *flight;
    unsigned blob;
    uint64_t offset, size; /* size 0: the whole */
    enum want_priority priority;
    int64_t since_ns;
    bool ended;
    struct want_result result;
};

struct flight {
    struct store *store;
    struct transfers *transfers;
    struct wish wishes[WANTS_MAX];
    unsigned wish_count;
    unsigned running;
    bool foul;
    bool prefetches; /* somebody may want bytes without haste */
    bool stopped;    /* or about to be */
    bool freed;
};

bool flight_apart;

static struct blob_key keys[SOURCE_BLOBS];
static struct source *source;
static char root[256];
static struct flight *now_flying;

/* transfer.c's, which compares nothing but the names of flights. */
int flight_compare(const char *a, const char *b);
int flight_compare(const char *a, const char *b)
{
    return flight_apart ? 1 : strcmp(a, b);
}

/* --- where it goes --- */

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *ftw)
{
    return remove(path);
}

static void remove_root(void)
{
    nftw(root, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static void prepare(void)
{
    const char *parent = getenv("TMPDIR");

    if (root[0])
        return;
    snprintf(root, sizeof(root), "%s/flight-XXXXXX", parent ? parent : "/tmp");
    schedule_check(mkdtemp(root));
    schedule_check(source_parse(SOURCE_URL "manifest.json", &source) == 0);
    for (unsigned i = 0; i < SOURCE_BLOBS; i++)
        blob_key_of_bytes(source_bytes(i), source_sizes[i], &keys[i]);
}

static int lowest_descriptor(void)
{
    const int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

    close(fd);
    return fd;
}

/* --- wants --- */

static bool is_demanded(unsigned blob, uint64_t from, uint64_t to, int64_t since_ns)
{
    const struct flight *flight = now_flying;

    for (unsigned i = 0; i < flight->wish_count; i++) {
        const struct wish *wish = &flight->wishes[i];
        const uint64_t end = wish->size ? wish->offset + wish->size : source_sizes[blob];

        if (!wish->ended && wish->blob == blob && wish->priority == WANT_DEMAND &&
            wish->since_ns < since_ns && wish->offset < to && end > from)
            return true;
    }
    return false;
}

static bool is_declared(const struct flight *flight, int error)
{
    switch (error) {
    case 0: return true;
    case -ECANCELED: return flight->stopped;
    case -ESTALE:
    case -EBADMSG:
    case -EPROTO:
    case -EHOSTUNREACH:
    case -EAGAIN:
    case -ETIMEDOUT: return flight->foul;
    default: return false;
    }
}

static void on_done(void *arg, const struct want_result *result)
{
    struct wish *wish = arg;

    schedule_check(!wish->flight->freed);
    schedule_check(!wish->ended);
    if (!is_declared(wish->flight, result->error))
        schedule_fail("a want of blob %u ends with %d: %s", wish->blob, result->error,
                      result->message);
    schedule_check(result->error < 0 || result->resident || wish->size > 0);
    schedule_check(result->error < 0 || blob_key_equal(&result->key, &keys[wish->blob]));
    wish->result = *result;
    wish->ended = true;
    schedule_wake(wish);
}

static int ask(struct flight *flight, struct wish wish)
{
    static const char *const addresses[SOURCE_BLOBS][3] = {{SOURCE_URL "0"},
                                                           {SOURCE_URL "gone/1", SOURCE_URL "1"},
                                                           {SOURCE_URL "2"}};
    struct wish *place = &flight->wishes[flight->wish_count];
    const struct want want = {
        .key = keys[wish.blob],
        .form = FORM_PARQUET,
        .offset = wish.offset,
        .size = wish.size,
        .rest = wish.size > 0 && schedule_random(4) == 0,
        .urls = addresses[wish.blob],
        .priority = wish.priority,
    };

    *place = wish;
    place->flight = flight;
    place->since_ns = schedule_now_ns();
    flight->wish_count++;

    int r = transfers_want(flight->transfers, &want, on_done, place);

    if (r == -ECANCELED) {
        schedule_check(flight->stopped && !place->ended);
        place->ended = true;
        place->result.error = r;
        return r;
    }
    schedule_check(r == 0);
    return 0;
}

static struct wish any_wish(const struct flight *flight)
{
    struct wish wish = {
        .blob = schedule_random(4) == 0 ? (unsigned)schedule_random(2) : 2,
        .priority = schedule_random(3) > 0 ? WANT_DEMAND : WANT_AHEAD,
    };
    const size_t size = source_sizes[wish.blob];

    if (flight->prefetches && schedule_random(3) == 0)
        wish.priority = (enum want_priority)schedule_random(WANT_AHEAD);
    if (wish.priority > WANT_STAGE && schedule_random(6) > 0) {
        wish.offset = schedule_random(size);
        wish.size = 1 + schedule_random(schedule_random(3) ? 1000 : 20000);
        if (wish.size > size - wish.offset)
            wish.size = size - wish.offset;
    }
    return wish;
}

/* --- what has come --- */

static int read_partial(struct flight *flight, const struct wish *wish, uint8_t *ret_bytes)
{
    scoped(partial_putp) struct partial *partial = NULL;
    int r = partial_find(flight->store, &keys[wish->blob], &partial);

    return r < 0 ? r : partial_read(partial, ret_bytes, wish->size, wish->offset);
}

/* Where it was given up meanwhile there is nothing, and what is unverified in foul weather may be
 * anything. */
static void check_bytes(struct flight *flight, const struct wish *wish)
{
    static uint8_t found[SOURCE_SIZE_MAX];
    const size_t size = wish->size ? wish->size : source_sizes[wish->blob];
    scoped_fd int fd = -1;
    int r = -ENOENT;

    if (!wish->result.resident)
        r = read_partial(flight, wish, found);
    if (r == 0 && flight->foul)
        return;
    if (r < 0) {
        r = store_get(flight->store, &keys[wish->blob], &fd);
        if (r == 0)
            schedule_check(pread(fd, found, size, (off_t)wish->offset) == (ssize_t)size);
    }
    if (r < 0 && flight->foul && !wish->result.resident)
        return;
    if (r < 0)
        schedule_fail("what blob %u has brought is not there: %d", wish->blob, r);
    schedule_check(!memcmp(found, source_bytes(wish->blob) + wish->offset, size));
}

static void await(struct flight *flight, struct wish *wish)
{
    while (!wish->ended)
        schedule_wait(wish);
    if (wish->result.error == 0) {
        schedule_hush(true); /* the buffer is everybody's */
        check_bytes(flight, wish);
        schedule_hush(false);
    }
}

/* --- who does what --- */

static void ended(struct flight *flight)
{
    flight->running--;
    schedule_wake(&flight->running);
}

static void wanter(void *arg)
{
    struct flight *flight = arg;

    for (unsigned i = 0; i < WANTS; i++) {
        struct wish *wish = &flight->wishes[flight->wish_count];

        if (schedule_random(3) == 0)
            nanosleep(&(struct timespec){.tv_nsec = (long)schedule_random(500000000)}, NULL);
        wish = &flight->wishes[flight->wish_count];
        if (ask(flight, any_wish(flight)) < 0)
            break;
        if (schedule_random(2))
            await(flight, wish);
    }
    ended(flight);
}

static void stopper(void *arg)
{
    struct flight *flight = arg;

    for (uint64_t left = schedule_random((uint64_t)4 << schedule_random(12)); left > 0; left--)
        schedule_step();
    flight->stopped = true;
    transfers_stop(flight->transfers);
    ended(flight);
}

/* --- and what is left --- */

static void check_asked_once(const struct flight *flight)
{
    if (flight->foul || flight->prefetches || flight->stopped)
        return;
    for (unsigned i = 0; i < SOURCE_BLOBS; i++)
        if (source_asked(i) > source_sizes[i])
            schedule_fail("%llu of %zu bytes of blob %u were asked for",
                          (unsigned long long)source_asked(i), source_sizes[i], i);
}

/* A failure is over some time. */
static void check_all_can_be_had(struct flight *flight)
{
    if (flight->stopped)
        return;
    source_clear_up();
    nanosleep(&(struct timespec){.tv_sec = SETBACKS_ARE_OVER_S}, NULL);
    flight->foul = false;
    for (unsigned i = 0; i < SOURCE_BLOBS; i++) {
        struct wish *wish = &flight->wishes[flight->wish_count];

        schedule_check(ask(flight, (struct wish){.blob = i, .priority = WANT_DEMAND}) == 0);
        await(flight, wish);
        schedule_check(wish->result.resident);
    }
}

static void check_nothing_left(struct flight *flight)
{
    struct transfers_stats stats;

    transfers_stop(flight->transfers);
    transfers_stats(flight->transfers, &stats);
    schedule_check(stats.wants_waiting == 0 && stats.running == 0);
    for (unsigned i = 0; i < flight->wish_count; i++)
        schedule_check(flight->wishes[i].ended);
    transfers_free(flight->transfers);
    flight->freed = true;
    source_close();
    for (unsigned i = 0; i < SOURCE_BLOBS; i++)
        schedule_check(store_drop(flight->store, &keys[i]) == 0);
    schedule_hush(true);
    store_close(flight->store);
    remove_root();
    schedule_hush(false);
}

void try_flight(void *arg)
{
    struct flight *flight = calloc(1, sizeof(*flight));
    const unsigned faults = schedule_random(2) ? 1 + (unsigned)schedule_random(6) : 0;
    const int descriptor = lowest_descriptor();

    now_flying = flight;
    flight->foul = faults > 0;
    flight->prefetches = schedule_random(2);
    flight->running = WANTERS;
    source_open(&(struct source_weather){faults, schedule_random(2), is_demanded});
    schedule_hush(true);
    prepare();
    schedule_check(store_open(root, STORE_WRITER, &flight->store) == 0);
    const struct transfers_conf conf = {
        .store = flight->store,
        .source = source,
        .jobs = 1 + (unsigned)schedule_random(4),
        .timeout_s = TIMEOUT_S,
    };
    schedule_check(transfers_new(&conf, &flight->transfers) == 0);
    schedule_hush(false);
    for (unsigned i = 0; i < WANTERS; i++)
        schedule_spawn(wanter, flight);
    if (schedule_random(4) == 0) {
        flight->running++;
        schedule_spawn(stopper, flight);
    }
    while (flight->running > 0)
        schedule_wait(&flight->running);
    for (unsigned i = 0; i < flight->wish_count; i++)
        await(flight, &flight->wishes[i]);
    check_asked_once(flight);
    check_all_can_be_had(flight);
    check_nothing_left(flight);
    schedule_check(lowest_descriptor() == descriptor);
    free(flight);
}
