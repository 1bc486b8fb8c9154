/* SPDX-License-Identifier: MIT */
/* budget.c - the bounds, and the account they are held against.
 *
 * Why a bound is never passed: room is taken under the lock, in the same step that finds it free,
 * before the first byte is written; whatever the write then does, the bytes are either counted as
 * open or given back. Bytes on their way to the disk (in_flight) are not yet missing from what the
 * file system calls free, so they are held against min_free on their own.
 *
 * Why it ends: each round either finds room or evicts at least what was missing, or fails. What has
 * been evicted in this call counts as free from then on, whatever the file system says: some free
 * space late, and an open descriptor may keep the bytes of a file that has gone. */
#include "cache/budget.h"

#include <errno.h>
#include <sys/statvfs.h>
#include <time.h>

#include "cache/blob.h"
#include "cache/files.h"
#include "cache/partial_object.h"
#include "cache/room.h"
#include "cache/walk.h"

#define PLENTY_BYTES ((uint64_t)64 << 20)
#define PLENTY_FILES 1024
#define VAIN_S 60

struct room {
    pthread_mutex_t lock; /* guards all below */
    pthread_cond_t evicted;
    struct budget budget;
    uint64_t open;
    uint64_t rest;
    uint64_t in_flight; /* of open: not written yet */
    uint64_t ending;    /* of rest: about to be removed */
    uint64_t added;     /* to rest, ever */
    uint64_t evicted_blobs;
    uint64_t evicted_bytes;
    bool counted;
    bool exact; /* nothing happened while it was counted */
    bool evicting;
    time_t vain_until; /* evicting for a file system that says no did not help */
};

int room_new(struct room **ret_room)
{
    struct room *room = calloc(1, sizeof(*room));

    if (!room)
        return -ENOMEM;
    pthread_mutex_init(&room->lock, NULL);
    pthread_cond_init(&room->evicted, NULL);
    *ret_room = room;
    return 0;
}

void room_free(struct room *room)
{
    if (!room)
        return;
    pthread_cond_destroy(&room->evicted);
    pthread_mutex_destroy(&room->lock);
    free(room);
}

static void subtract(uint64_t *sum, uint64_t bytes)
{
    *sum -= bytes < *sum ? bytes : *sum;
}

/* --- the account --- */

void room_add_open(struct store *store, uint64_t bytes)
{
    scoped_lock(&store->room->lock);

    store->room->open += bytes;
    subtract(&store->room->rest, bytes);
}

void room_end_open(struct store *store, uint64_t bytes)
{
    scoped_lock(&store->room->lock);
    subtract(&store->room->open, bytes);
}

void room_put_aside(struct store *store, uint64_t bytes)
{
    scoped_lock(&store->room->lock);

    subtract(&store->room->open, bytes);
    store->room->rest += bytes;
    store->room->added += bytes;
}

void room_will_end(struct store *store, uint64_t bytes)
{
    scoped_lock(&store->room->lock);
    store->room->ending += bytes;
}

void room_has_ended(struct store *store, uint64_t bytes, uint64_t gone)
{
    scoped_lock(&store->room->lock);

    store->room->ending -= bytes;
    subtract(&store->room->rest, gone);
}

void room_doubt(struct store *store)
{
    scoped_lock(&store->room->lock);
    store->room->exact = false;
}

void room_note_eviction(struct store *store, uint64_t bytes, bool blob)
{
    scoped_lock(&store->room->lock);

    store->room->evicted_blobs += blob;
    store->room->evicted_bytes += bytes;
}

/* --- counting --- */

struct count {
    struct store *store;
    uint64_t bytes;
};

/* What is open counts elsewhere. Blobs that trust has no record of get one that vouches for
 * nothing, since whoever looks for something to evict looks there. */
static int count_object(void *arg, const struct found_object *object)
{
    struct count *count = arg;
    struct store *store = count->store;

    switch (object->kind) {
    case FOUND_BLOB:
        count->bytes += (uint64_t)object->st.st_size;
        return trust_list(store->trust, &object->key, &object->st);
    case FOUND_PARTIAL:
        if (partials_look(store->partials, &object->key) != PRESENCE_OPEN)
            count->bytes += partial_measure(store, &object->key);
        return 0;
    case FOUND_DRAFT:
        if (!claims_has(store->names, object->name))
            count->bytes += (uint64_t)object->st.st_size;
        return 0;
    default: return 0;
    }
}

void room_assume(struct store *store)
{
    struct count count = {.store = store, .bytes = trust_sum(store->trust)};

    /* What can not be looked at is not counted; store_recount will say why. */
    walk_partial(store, count_object, &count);
    scoped_lock(&store->room->lock);
    if (!store->room->counted)
        store->room->rest = count.bytes;
}

static uint64_t added_so_far(struct room *room)
{
    scoped_lock(&room->lock);
    return room->added;
}

static uint64_t used_by(struct room *room)
{
    scoped_lock(&room->lock);
    return room->open + room->rest;
}

static bool is_exact(struct room *room)
{
    scoped_lock(&room->lock);
    return room->exact;
}

int store_recount(struct store *store)
{
    struct count count = {.store = store};
    uint64_t added = added_so_far(store->room);
    int r = walk_shared(store, count_object, &count);

    if (r == 0)
        r = walk_partial(store, count_object, &count);
    if (r < 0)
        return r;

    scoped_lock(&store->room->lock);
    uint64_t meanwhile = store->room->added - added + store->room->ending;

    store->room->rest = count.bytes + meanwhile;
    store->room->counted = true;
    store->room->exact = meanwhile == 0;
    return 0;
}

/* --- the bounds --- */

void store_set_budget(struct store *store, const struct budget *budget)
{
    scoped_lock(&store->room->lock);
    store->room->budget = *budget;
}

static int disk_free(struct store *store, uint64_t *ret_bytes)
{
    struct statvfs st;

    if (fstatvfs(store->root.dir, &st) < 0)
        return negative_errno();
    *ret_bytes = (uint64_t)st.f_bavail * st.f_frsize;
    return 0;
}

void store_budget(struct store *store, struct budget_facts *ret_facts)
{
    uint64_t bytes = 0;

    disk_free(store, &bytes);
    scoped_lock(&store->room->lock);
    const struct room *room = store->room;

    *ret_facts = (struct budget_facts){
        .used = room->open + room->rest,
        .exact = room->exact,
        .cache_size = room->budget.cache_size,
        .min_free = room->budget.min_free,
        .disk_free = bytes,
        .evicted_blobs = room->evicted_blobs,
        .evicted_bytes = room->evicted_bytes,
    };
}

static uint64_t larger(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* What has to go before that many more bytes fit. Lock held. */
static struct room_need need_for(const struct room *room, uint64_t bytes, uint64_t free_bytes)
{
    const struct budget *budget = &room->budget;
    const uint64_t total = room->open + room->rest + bytes;
    const uint64_t taken = room->in_flight + bytes;
    const uint64_t left = free_bytes > taken ? free_bytes - taken : 0;
    struct room_need need = {0};

    if (budget->cache_size > 0 && total > budget->cache_size) {
        need.least = total - budget->cache_size;
        need.goal = total - (budget->cache_size - budget->cache_size / 10);
    }
    if (budget->min_free > left) {
        need.least = larger(need.least, budget->min_free - left);
        need.goal = larger(need.goal, budget->min_free - left + budget->min_free / 10);
    }
    return need;
}

/* One evicts, the others wait for what comes of it: then 0, and nothing freed of one's own. */
static int take_turn(struct store *store, const struct room_need *need, uint64_t *ret_freed)
{
    struct room *room = store->room;
    struct budget budget;
    uint64_t freed = 0;

    {
        scoped_lock(&room->lock);
        if (room->evicting) {
            while (room->evicting)
                pthread_cond_wait(&room->evicted, &room->lock);
            *ret_freed = 0;
            return 0;
        }
        room->evicting = true;
        budget = room->budget;
    }
    int r = evict(store, &budget, need, &freed);

    scoped_lock(&room->lock);
    room->evicting = false;
    pthread_cond_broadcast(&room->evicted);
    if (r == 0)
        *ret_freed = freed;
    return r;
}

/* ret_need: what is missing. When that is nothing, the bytes have been taken. */
static int try_take(struct store *store, uint64_t bytes, uint64_t freed, struct room_need *ret_need)
{
    struct room *room = store->room;
    uint64_t free_bytes = 0;
    int r = disk_free(store, &free_bytes);

    if (r < 0)
        return r;

    scoped_lock(&room->lock);
    *ret_need = need_for(room, bytes, free_bytes + freed);
    if (ret_need->least == 0) {
        room->open += bytes;
        room->in_flight += bytes;
    }
    return 0;
}

static int take(struct store *store, uint64_t bytes)
{
    bool exact = is_exact(store->room);
    uint64_t freed = 0;

    for (;;) {
        struct room_need need;
        uint64_t more = 0;
        int r = try_take(store, bytes, freed, &need);

        if (r < 0 || need.least == 0)
            return r;

        /* Before anything goes for want of room, let us know that it is wanting. */
        r = exact ? take_turn(store, &need, &more) : store_recount(store);
        if (r < 0)
            return r;
        exact = true; /* as much as can be had */
        freed += more;
    }
}

static void has_landed(struct room *room, uint64_t bytes, bool written)
{
    scoped_lock(&room->lock);

    room->in_flight -= bytes;
    if (!written)
        subtract(&room->open, bytes);
}

int room_write(struct store *store, int fd, const void *data, size_t size, uint64_t offset)
{
    int r = take(store, size);

    if (r < 0)
        return r;
    r = write_fully(fd, data, size, offset);
    if (room_retry(store, r))
        r = room_retried(store, write_fully(fd, data, size, offset));
    has_landed(store->room, size, r == 0);
    return r;
}

static time_t now_s(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec;
}

/* A file system that has no space for us and plenty by its own account wants for something else. */
static bool is_short_of_room(struct store *store, int r)
{
    struct statvfs st;

    if (r == -EDQUOT)
        return true;
    return fstatvfs(store->root.dir, &st) == 0 &&
           ((uint64_t)st.f_bavail * st.f_frsize < PLENTY_BYTES ||
            (st.f_files > 0 && st.f_favail < PLENTY_FILES));
}

static bool was_in_vain(struct room *room)
{
    scoped_lock(&room->lock);
    return room->vain_until > now_s();
}

bool room_retry(struct store *store, int r)
{
    struct room_need need = {.least = 1};
    uint64_t freed = 0;

    if (r != -ENOSPC && r != -EDQUOT)
        return false;
    if (!is_exact(store->room) && store_recount(store) < 0)
        return false;
    need.goal = used_by(store->room) / 10 + 1;
    need.orphans = was_in_vain(store->room) || !is_short_of_room(store, r);
    return take_turn(store, &need, &freed) == 0;
}

int room_retried(struct store *store, int r)
{
    if (r == -ENOSPC || r == -EDQUOT) {
        scoped_lock(&store->room->lock);
        store->room->vain_until = now_s() + VAIN_S;
    }
    return r;
}

int store_shrink(struct store *store)
{
    if (store_mode(store) != STORE_WRITER)
        return -EROFS;

    return take(store, 0);
}
