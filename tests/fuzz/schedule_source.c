/* SPDX-License-Identifier: MIT */
#include "tests/fuzz/schedule_source.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sync/transfer_private.h"
#include "tests/fuzz/schedules.h"

#define MS ((int64_t)1000000)
#define GONE SOURCE_BLOBS
#define HELD_MAX_MS 500

enum fault {
    FINE,
    NO_CONNECTION,
    BUSY,      /* 503 */
    BUSY_LONG, /* with Retry-After */
    MISSING,   /* 404 */
    LOST,      /* in the middle */
    STALLED,   /* in the middle */
    WRONG,     /* one byte of a piece is another */
    MOVED,     /* from now on it is another version, of the same bytes */
    WHOLE,     /* whatever range is asked for */
    UNTAGGED,
    FAULTS,
};

struct fetch {
    struct fetch_exchange *first;
    bool woken;
    bool busy; /* inside of a callback */
};

struct fetch_exchange {
    struct fetch_exchange *next;
    struct fetch *fetch;
    struct fetch_request request; /* but for its strings */
    char if_range[PARTIAL_TAG_SIZE];
    unsigned blob;
    enum fault fault;
    uint64_t from, at, to;
    uint64_t cut; /* where it has to end, since another one brings what is behind */
    uint64_t brought;
    bool long_one;
    bool headed;
    bool paused;
    int status;
    int64_t due_ns;
    int64_t paused_ns; /* since when */
};

const size_t source_sizes[SOURCE_BLOBS] = {900, 14000, 80123};

static uint8_t bytes[SOURCE_BLOBS][SOURCE_SIZE_MAX];
static struct source_weather weather;
static unsigned versions[SOURCE_BLOBS];
static uint64_t asked[SOURCE_BLOBS];
static struct fetch *running; /* the one there is */

const uint8_t *source_bytes(unsigned blob)
{
    return bytes[blob];
}

uint64_t source_asked(unsigned blob)
{
    return asked[blob];
}

void source_open(const struct source_weather *new_weather)
{
    uint32_t random = 1;

    weather = *new_weather;
    memset(versions, 0, sizeof(versions));
    memset(asked, 0, sizeof(asked));
    for (unsigned i = 0; i < SOURCE_BLOBS && bytes[i][0] == 0; i++) {
        for (size_t j = 0; j < source_sizes[i]; j++) {
            random = random * 1664525u + 1013904223u;
            bytes[i][j] = (uint8_t)(random >> 24);
        }
        bytes[i][0] = 'P';
    }
}

void source_clear_up(void)
{
    weather.faults = 0;
    for (struct fetch_exchange *at = running->first; at; at = at->next)
        at->fault = FINE;
}

void source_close(void)
{
    schedule_check(!running);
}

static enum fault choose_fault(const struct fetch_exchange *exchange)
{
    if (weather.faults == 0 || exchange->blob == GONE || schedule_random(3) > 0)
        return FINE;
    weather.faults--;
    return (enum fault)schedule_random(FAULTS);
}

static int64_t some_time(void)
{
    return weather.slow ? (int64_t)schedule_random(100) * MS : 0;
}

/* --- what must not be asked --- */

static void check_not_coming(const struct fetch_exchange *new)
{
    for (struct fetch_exchange *old = new->fetch->first; old; old = old->next) {
        if (old == new || old->blob != new->blob || old->status >= 400 || new->from >= old->to ||
            new->to <= old->at)
            continue;
        if (!old->long_one || new->from <= old->at)
            schedule_fail("bytes %llu to %llu of blob %u are asked for while %llu to %llu are "
                          "coming",
                          (unsigned long long)new->from, (unsigned long long)new->to, new->blob,
                          (unsigned long long)old->at, (unsigned long long)old->to);
        old->cut = new->from < old->cut ? new->from : old->cut;
    }
}

static void check_not_held(const struct fetch_exchange *exchange)
{
    const int64_t since_ns = schedule_now_ns() - HELD_MAX_MS * MS;

    if (!exchange->paused || exchange->status >= 400 || exchange->blob == GONE ||
        exchange->paused_ns > since_ns)
        return;
    if (weather.demanded(exchange->blob, exchange->at, exchange->cut, since_ns))
        schedule_fail("bytes %llu to %llu of blob %u are held back from who demands them",
                      (unsigned long long)exchange->at, (unsigned long long)exchange->cut,
                      exchange->blob);
}

/* --- one exchange --- */

static void end_exchange(struct fetch_exchange *exchange, enum fetch_end end)
{
    struct fetch_exchange **at = &exchange->fetch->first;
    struct fetch_result result = {
        .end = end,
        .status = exchange->status,
        .bytes = exchange->brought,
        .message = "as the schedule wants it",
    };

    while (*at != exchange)
        at = &(*at)->next;
    *at = exchange->next;
    exchange->request.done(exchange->request.arg, &result);
    free(exchange);
}

static bool is_ranged(const struct fetch_exchange *exchange)
{
    return exchange->request.offset > 0 || exchange->request.length > 0;
}

/* All of it, whatever was asked for. */
static void make_whole(struct fetch_exchange *exchange)
{
    exchange->at = 0;
    exchange->to = exchange->cut = source_sizes[exchange->blob];
    exchange->long_one = exchange->to >= SPAN_MAX + PARTIAL_BLOCK;
}

static void send_head(struct fetch_exchange *exchange)
{
    char etag[32];
    struct fetch_head head = {
        .etag = etag,
        .type = "application/octet-stream",
        .location = "",
        .min_version = "",
        .content_md5 = "",
        .range_start = -1,
        .range_total = -1,
        .retry_after_s = exchange->fault == BUSY_LONG ? 1 : -1,
    };
    bool ranged = is_ranged(exchange) && exchange->fault != WHOLE;

    if (exchange->fault == MOVED)
        versions[exchange->blob]++;
    exchange->headed = true;
    if (exchange->blob == GONE || exchange->fault == MISSING)
        exchange->status = 404;
    else if (exchange->fault == BUSY || exchange->fault == BUSY_LONG)
        exchange->status = 503;
    else if (exchange->fault == UNTAGGED)
        etag[0] = '\0';
    else
        snprintf(etag, sizeof(etag), "\"%u\"", versions[exchange->blob]);
    if (exchange->status >= 400) {
        etag[0] = '\0';
        exchange->at = 0;
        exchange->to = 3;
    } else if (ranged && (!exchange->if_range[0] || !strcmp(exchange->if_range, etag))) {
        exchange->status = 206;
        head.range_start = (int64_t)exchange->at;
        head.range_total = (int64_t)source_sizes[exchange->blob];
    } else {
        exchange->status = 200;
        if (is_ranged(exchange))
            make_whole(exchange);
    }
    head.status = exchange->status;
    head.length = (int64_t)(exchange->to - exchange->at);
    if (exchange->request.head(exchange->request.arg, &head) < 0)
        end_exchange(exchange, FETCH_ABORTED);
}

static void send_piece(struct fetch_exchange *exchange)
{
    uint64_t most = exchange->to - exchange->at;
    uint64_t some = 1 + schedule_random((uint64_t)64 << schedule_random(9));
    size_t size = (size_t)(some < most ? some : most);
    uint8_t *piece = malloc(size); /* of its size, so that who reads too far is found out */
    bool wrong = exchange->fault == WRONG && schedule_random(3) == 0;
    uint64_t end = exchange->at + size;

    if (exchange->status >= 400)
        memset(piece, '{', size);
    else
        memcpy(piece, bytes[exchange->blob] + exchange->at, size);
    piece[0] ^= wrong;
    if (wrong)
        exchange->fault = FINE;
    exchange->at = end;
    exchange->brought += size;
    int r = exchange->request.body(exchange->request.arg, piece, size);

    free(piece);
    if (r == 0 && exchange->status < 400 && end > exchange->cut)
        schedule_fail("a request brings bytes that another one was made for");
    if (r < 0)
        end_exchange(exchange, FETCH_ABORTED);
}

static void go_on(struct fetch_exchange *exchange)
{
    bool middle = exchange->headed && schedule_random(4) == 0;

    exchange->fetch->busy = true;
    if (exchange->fault == NO_CONNECTION)
        end_exchange(exchange, FETCH_CONNECT);
    else if (exchange->fault == LOST && middle)
        end_exchange(exchange, FETCH_LOST);
    else if (exchange->fault == STALLED && middle) {
        exchange->due_ns = schedule_now_ns() + exchange->request.stall_s * 1000 * MS;
        exchange->fault = FAULTS;
    } else if (exchange->fault == FAULTS)
        end_exchange(exchange, FETCH_STALLED);
    else if (!exchange->headed)
        send_head(exchange);
    else if (exchange->at < exchange->to)
        send_piece(exchange);
    else
        end_exchange(exchange, FETCH_COMPLETE);
}

/* --- fetch.h --- */

int fetch_new(const struct fetch_conf *conf, struct fetch **ret_fetch)
{
    running = *ret_fetch = calloc(1, sizeof(**ret_fetch));
    return 0;
}

void fetch_free(struct fetch *fetch)
{
    if (!fetch)
        return;
    schedule_check(!fetch->first);
    running = NULL;
    free(fetch);
}

int fetch_start(struct fetch *fetch, const struct fetch_request *request,
                struct fetch_exchange **ret_exchange)
{
    struct fetch_exchange *exchange = calloc(1, sizeof(*exchange));
    const char *number = request->url + strlen(SOURCE_URL);

    schedule_check(!fetch->busy);
    *exchange = (struct fetch_exchange){
        .next = fetch->first,
        .fetch = fetch,
        .request = *request,
        .blob = *number >= '0' && *number < '0' + SOURCE_BLOBS ? (unsigned)(*number - '0') : GONE,
        .from = request->offset,
        .at = request->offset,
        .due_ns = schedule_now_ns() + some_time(),
    };
    if (request->if_range)
        snprintf(exchange->if_range, sizeof(exchange->if_range), "%s", request->if_range);
    fetch->first = exchange;
    exchange->fault = choose_fault(exchange);
    if (exchange->blob != GONE) {
        const uint64_t size = source_sizes[exchange->blob];

        schedule_check(request->offset < size && request->length <= size - request->offset);
        exchange->to = request->length > 0 ? request->offset + request->length : size;
        exchange->cut = exchange->to;
        exchange->long_one = exchange->to - exchange->at >= SPAN_MAX + PARTIAL_BLOCK;
        check_not_coming(exchange);
        asked[exchange->blob] += exchange->to - exchange->at;
    }
    *ret_exchange = exchange;
    return 0;
}

int fetch_pause(struct fetch_exchange *exchange, bool pause)
{
    if (pause && !exchange->paused)
        exchange->paused_ns = schedule_now_ns();
    exchange->paused = pause;
    return 0;
}

void fetch_cancel(struct fetch_exchange *exchange)
{
    schedule_check(!exchange->fetch->busy);
    end_exchange(exchange, FETCH_ABORTED);
}

/* Any of those that have something to say by now. */
static struct fetch_exchange *any_due(const struct fetch *fetch)
{
    struct fetch_exchange *found = NULL;
    unsigned count = 0;

    for (struct fetch_exchange *at = fetch->first; at; at = at->next) {
        check_not_held(at);
        if (!at->paused && at->due_ns <= schedule_now_ns() && schedule_random(++count) == 0)
            found = at;
    }
    return found;
}

static int64_t next_due_ns(const struct fetch *fetch, int64_t latest_ns)
{
    for (const struct fetch_exchange *at = fetch->first; at; at = at->next)
        if (!at->paused && at->due_ns < latest_ns)
            latest_ns = at->due_ns;
    return latest_ns;
}

int fetch_run(struct fetch *fetch, int timeout_ms)
{
    const int64_t until_ns = schedule_now_ns() + timeout_ms * MS;
    struct fetch_exchange *exchange;

    schedule_step();
    while (!fetch->woken) {
        exchange = any_due(fetch);
        if (exchange) {
            if (exchange->fault != STALLED && exchange->fault != FAULTS)
                exchange->due_ns = schedule_now_ns() + some_time();
            go_on(exchange);
            fetch->busy = false;
        }
        if (exchange ? schedule_random(2) == 0 : schedule_now_ns() >= until_ns)
            break;
        if (!exchange)
            schedule_wait_until(fetch, next_due_ns(fetch, until_ns));
    }
    fetch->woken = false;
    return 0;
}

void fetch_wake(struct fetch *fetch)
{
    fetch->woken = true;
    schedule_wake(fetch);
    schedule_step();
}

bool fetch_quotes(const char *text, const char *token)
{
    return false;
}
