/* SPDX-License-Identifier: MIT */
/* The bounds hold at every write, and what goes goes in the right order. */
#include <ftw.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "cache/blob.h"
#include "cache/sweep.h"
#include "tests/unit/cache/partial_fixture.h"

/* --- the disk, looked at after every write --- */

static struct {
    const char *dir;
    uint64_t now;
    uint64_t worst; /* the most that was ever there */
    int full_at;    /* the write that finds the file system full */
    int full;       /* with this errno; for good: negative */
} spy;

static int add_file(const char *path, const struct stat *st, int type, struct FTW *place)
{
    size_t size = strlen(path);

    if (type == FTW_F && strcmp(path + size - 4, ".map") != 0)
        spy.now += (uint64_t)st->st_blocks * 512;
    return 0;
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t offset)
{
    if (spy.full < 0 || (spy.full_at > 0 && --spy.full_at == 0)) {
        errno = spy.full < 0 ? -spy.full : spy.full;
        return -1;
    }
    ssize_t n = syscall(SYS_pwrite64, fd, data, size, offset);

    if (spy.dir) {
        spy.now = 0;
        nftw(spy.dir, add_file, 8, FTW_PHYS);
        spy.worst = spy.now > spy.worst ? spy.now : spy.worst;
    }
    return n;
}

static uint64_t measure(struct store *store)
{
    struct store_usage usage;

    assert_int_equal(store_usage(store, &usage), 0);
    return usage.bytes + usage.partial_bytes;
}

static void watch(const char *dir)
{
    memset(&spy, 0, sizeof(spy));
    spy.dir = dir;
}

/* --- judges --- */

struct opinion {
    struct blob_key keys[16];
    enum keep_class classes[16];
    size_t count;
};

static enum keep_class judge(void *arg, const struct blob_key *key)
{
    const struct opinion *opinion = arg;

    for (size_t i = 0; i < opinion->count; i++) {
        if (blob_key_equal(&opinion->keys[i], key))
            return opinion->classes[i];
    }
    return KEEP_LISTED;
}

static void think(struct opinion *opinion, const struct blob_key *key, enum keep_class class)
{
    opinion->keys[opinion->count] = *key;
    opinion->classes[opinion->count++] = class;
}

static void bound(struct store *store, uint64_t cache_size, struct opinion *opinion)
{
    const struct budget budget = {
        .cache_size = cache_size,
        .judge = opinion ? judge : NULL,
        .arg = opinion,
    };

    store_set_budget(store, &budget);
}

/* A blob of a thousand bytes that was opened so many seconds after 1970. */
static struct blob_key old_blob(struct store *store, int number, int64_t opened)
{
    char text[1001];
    struct blob_key key;
    struct trust_record *records = NULL;
    size_t count = 0;

    snprintf(text, sizeof(text), "%01000d", number);
    key = put(store, text);
    assert_int_equal(trust_snapshot(store->trust, &records, &count), 0);
    for (size_t i = 0; i < count; i++) {
        if (!blob_key_equal(&records[i].key, &key))
            continue;
        records[i].opened = opened;
        assert_int_equal(trust_put_record(store->trust, &records[i]), 0);
    }
    free(records);
    return key;
}

static int put_thousand(struct store *store, int number)
{
    char text[1001];
    struct writer *writer = begin(store, "put");

    snprintf(text, sizeof(text), "%01000d", number);
    int r = writer_write(writer, text, 1000);

    if (r < 0) {
        writer_abort(writer);
        return r;
    }
    return writer_commit(writer, NULL, NULL);
}

/* --- the account --- */

static void account_follows_what_is_there(void **state)
{
    struct fixture *fixture = *state;
    scoped_sample sample = sample_new(2 * MIB, 1);
    struct store *store = fixture->store;
    const struct store_keep none = {0};
    struct blob_key key = put(store, "hello");

    assert_int_equal(used(store), 5);
    put(store, "hello");
    assert_int_equal(used(store), 5);
    struct writer *writer = begin(store, "w");

    assert_int_equal(writer_write(writer, "1234567", 7), 0);
    assert_int_equal(used(store), 12);
    assert_int_equal(writer_restart(writer), 0);
    assert_int_equal(used(store), 5);
    assert_int_equal(writer_write(writer, "123", 3), 0);
    assert_int_equal(writer_commit(writer, &key, NULL), -EBADMSG);
    assert_int_equal(used(store), 5);

    struct partial *partial = partial_of(store, &sample);

    assert_int_equal(fill(partial, &sample, MIB, 1000), 0);
    assert_int_equal(used(store), 1005);
    partial_put(partial);
    assert_int_equal(used(store), 1005);
    assert_int_equal(store_recount(store), 0);
    assert_int_equal(used(store), 1005);
    partial = partial_of(store, &sample);
    assert_int_equal(store_recount(store), 0);
    assert_int_equal(used(store), 1005);
    assert_int_equal(fill(partial, &sample, 0, MIB), 0);
    assert_int_equal(used(store), 1005 + MIB);
    assert_int_equal(measure(store), used(store));
    partial_put(partial);
    assert_int_equal(store_drop(store, &key), 0);
    assert_int_equal(used(store), 1000 + MIB);
    assert_int_equal(store_sweep(store, &none, NULL), 0);
    assert_int_equal(used(store), 0);
    assert_int_equal(measure(store), 0);
}

static void unknown_until_it_is_counted(void **state)
{
    struct fixture *fixture = *state;
    struct blob_key known = put(fixture->store, "hello");
    struct blob_key unknown = put(fixture->store, "unknown");
    scoped_free char *rel = blob_rel(&unknown);
    struct budget_facts facts;

    trust_forget(fixture->store->trust, &unknown);
    reopen(fixture);
    file_write(fixture->dir, "partial/left-behind", "1234", 4);
    assert_int_equal(used(fixture->store), 5);
    assert_int_equal(store_recount(fixture->store), 0);
    assert_int_equal(used(fixture->store), 16);

    /* It is on record now, but not believed; and it can go. */
    assert_int_equal(get(fixture->store, &unknown), -EUCLEAN);
    assert_int_equal(get(fixture->store, &known), 0);
    reopen(fixture);
    assert_int_equal(used(fixture->store), 16);
    assert_int_equal(get(fixture->store, &unknown), -EUCLEAN);
    bound(fixture->store, 10, NULL);
    assert_int_equal(store_shrink(fixture->store), 0);
    assert_false(exists(fixture, rel)); /* last opened when it was written: the same second */
    store_budget(fixture->store, &facts);
    assert_true(facts.evicted_blobs >= 1);
    assert_true(facts.evicted_bytes >= 7);
    assert_int_equal(facts.cache_size, 10);
    assert_true(facts.disk_free > 0);
}

/* --- order --- */

static void least_recently_opened_goes_first(void **state)
{
    struct fixture *fixture = *state;
    struct blob_key keys[10];

    for (int i = 0; i < 10; i++)
        keys[i] = old_blob(fixture->store, i, 100 - i);
    bound(fixture->store, 10000, NULL);
    assert_int_equal(get(fixture->store, &keys[9]), 0); /* the oldest is the newest now */
    assert_int_equal(put_thousand(fixture->store, 100), 0);

    /* Down to nine tenths, the new one included. */
    assert_int_equal(used(fixture->store), 9000);
    for (int i = 0; i < 10; i++)
        assert_int_equal(get(fixture->store, &keys[i]), i == 8 || i == 7 ? -ENOENT : 0);
}

static void last_opening_survives_a_restart(void **state)
{
    struct fixture *fixture = *state;
    struct blob_key keys[10];

    for (int i = 0; i < 10; i++)
        keys[i] = old_blob(fixture->store, i, 100 - i);
    assert_int_equal(get(fixture->store, &keys[9]), 0);
    assert_int_equal(store_verify(fixture->store, &keys[8]), 0); /* that is not opening it */
    reopen(fixture);
    bound(fixture->store, 9000, NULL);
    assert_int_equal(store_shrink(fixture->store), 0);
    assert_int_equal(used(fixture->store), 8000);
    for (int i = 0; i < 10; i++)
        assert_int_equal(store_has(fixture->store, &keys[i]), i != 8 && i != 7);
}

static void unwanted_first_pinned_and_open_never(void **state)
{
    struct fixture *fixture = *state;
    struct opinion opinion = {0};
    struct blob_key keys[10];

    for (int i = 0; i < 10; i++)
        keys[i] = old_blob(fixture->store, i, 100 + i);
    think(&opinion, &keys[0], KEEP_PINNED);
    think(&opinion, &keys[1], KEEP_OPEN);
    think(&opinion, &keys[8], KEEP_UNWANTED);
    think(&opinion, &keys[9], KEEP_UNWANTED);
    bound(fixture->store, 8000, &opinion);
    assert_int_equal(store_shrink(fixture->store), 0);
    assert_int_equal(used(fixture->store), 7000);
    for (int i = 0; i < 10; i++)
        assert_int_equal(store_has(fixture->store, &keys[i]), i != 8 && i != 9 && i != 2);

    /* What may go is not enough: then nothing goes. */
    bound(fixture->store, 1999, &opinion);
    assert_int_equal(store_shrink(fixture->store), -ENOSPC);
    assert_int_equal(put_thousand(fixture->store, 100), -ENOSPC);
    assert_int_equal(used(fixture->store), 7000);
    bound(fixture->store, 2000, &opinion);
    assert_int_equal(store_shrink(fixture->store), 0);
    assert_int_equal(used(fixture->store), 2000);
    assert_true(store_has(fixture->store, &keys[0]));
    assert_true(store_has(fixture->store, &keys[1]));
}

/* Somebody opens it between the first look and its turn. */
static enum keep_class changes_its_mind(void *arg, const struct blob_key *key)
{
    int *calls = arg;

    return ++*calls > 3 ? KEEP_OPEN : KEEP_LISTED;
}

static void judged_again_before_it_goes(void **state)
{
    struct fixture *fixture = *state;
    int calls = 0;
    const struct budget budget = {.cache_size = 1, .judge = changes_its_mind, .arg = &calls};

    for (int i = 0; i < 3; i++)
        old_blob(fixture->store, i, i);
    store_set_budget(fixture->store, &budget);
    assert_int_equal(store_shrink(fixture->store), -ENOSPC);
    assert_int_equal(calls, 6);
    assert_int_equal(used(fixture->store), 3000);
}

/* --- partials --- */

static void partials_have_an_age_too(void **state)
{
    struct fixture *fixture = *state;
    struct opinion opinion = {0};
    scoped_sample idle = sample_new(2 * MIB, 1);
    scoped_sample pinned = sample_new(2 * MIB, 2);
    scoped_sample held = sample_new(2 * MIB, 3);
    const struct sample *const samples[] = {&idle, &pinned, &held};
    const struct timespec times[2] = {{.tv_sec = 500}, {.tv_sec = 500}};
    struct blob_key older = old_blob(fixture->store, 1, 400);
    struct blob_key newer = old_blob(fixture->store, 2, 600);
    struct partial *partial = NULL;

    for (int i = 0; i < 3; i++) {
        scoped_free char *rel = partial_rel(&samples[i]->key, "");
        scoped_free char *path = path_join(fixture->dir, rel);

        partial_put(partial);
        partial = partial_of(fixture->store, samples[i]);
        assert_int_equal(fill(partial, samples[i], MIB, 1000), 0);
        assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
    }
    think(&opinion, &pinned.key, KEEP_PINNED);
    bound(fixture->store, 3400, &opinion);
    assert_int_equal(store_shrink(fixture->store), 0);
    assert_int_equal(used(fixture->store), 3000);
    assert_false(store_has(fixture->store, &older));
    assert_true(store_has(fixture->store, &newer));
    scoped_free char *gone = partial_rel(&idle.key, "");
    scoped_free char *gone_map = partial_rel(&idle.key, ".map");
    scoped_free char *kept = partial_rel(&pinned.key, "");

    assert_false(exists(fixture, gone));
    assert_false(exists(fixture, gone_map));
    assert_true(exists(fixture, kept));
    assert_int_equal(check(partial, &held, MIB, 1000), 0);

    /* The one that is held goes on, at the cost of the blob. */
    bound(fixture->store, 3000, &opinion);
    assert_int_equal(fill(partial, &held, 0, 1000), 0);
    assert_int_equal(used(fixture->store), 3000);
    assert_int_equal(fill(partial, &held, 1000, 1), -ENOSPC);
    assert_int_equal(partial_filled(partial, 0), 1000);
    assert_int_equal(used(fixture->store), 3000);
    bound(fixture->store, 0, &opinion);
    assert_int_equal(fill(partial, &held, 1000, 1), 0);
    partial_put(partial);
}

/* --- at every write --- */

static void never_above_the_bound(void **state)
{
    struct fixture *fixture = *state;
    const uint64_t limit = 5 * MIB;
    uint64_t most = 0;

    watch(fixture->dir);
    bound(fixture->store, limit, NULL);
    for (uint32_t i = 0; i < 12; i++) {
        uint64_t size = 300 * KIB + (i * 7919 % 425) * 4 * KIB;
        scoped_sample sample = sample_new(size, i);
        struct partial *partial = partial_of(fixture->store, &sample);

        for (uint64_t at = 0; at < size; at += 100 * KIB)
            assert_int_equal(fill(partial, &sample, at,
                                  size - at < 100 * KIB ? size - at : 100 * KIB),
                             0);
        if (i % 3 > 0)
            assert_int_equal(commit(partial), 0);
        partial_put(partial);
        assert_int_equal(measure(fixture->store), used(fixture->store));
        most = used(fixture->store) > most ? used(fixture->store) : most;
    }
    spy.dir = NULL;
    assert_true(spy.worst <= limit + 64 * KIB); /* the small files of the store itself */
    assert_true(spy.worst > limit / 10 * 8);    /* and it was made use of */
    assert_true(most <= limit);
}

static void bound_holds_from_the_start(void **state)
{
    struct fixture *fixture = *state;
    struct budget_facts facts;

    /* Nothing is known of these: the trust file is lost. */
    for (int i = 0; i < 10; i++)
        old_blob(fixture->store, i, i);
    store_close(fixture->store);
    file_write(fixture->dir, "trust", "", 0);
    assert_int_equal(store_open(fixture->dir, STORE_WRITER, &fixture->store), 0);
    assert_int_equal(used(fixture->store), 0);
    bound(fixture->store, 500, NULL);
    assert_int_equal(put_thousand(fixture->store, 10), -ENOSPC);
    bound(fixture->store, 1500, NULL);
    assert_int_equal(store_recount(fixture->store), 0);
    assert_int_equal(put_thousand(fixture->store, 10), 0);
    assert_true(measure(fixture->store) <= 1500);
    store_budget(fixture->store, &facts);
    assert_int_equal(facts.used, measure(fixture->store));
}

/* --- the file system is full --- */

static void full_once(void **state)
{
    struct fixture *fixture = *state;
    scoped_sample sample = sample_new(2 * MIB, 1);
    struct opinion opinion = {0};
    struct blob_key old = old_blob(fixture->store, 1, 1);
    struct blob_key pinned = old_blob(fixture->store, 2, 0);
    struct partial *partial = partial_of(fixture->store, &sample);

    think(&opinion, &pinned, KEEP_PINNED);
    bound(fixture->store, 0, &opinion);
    assert_int_equal(fill(partial, &sample, 0, 1000), 0);
    watch(NULL);
    spy.full = EDQUOT;
    spy.full_at = 1;
    assert_int_equal(fill(partial, &sample, 1000, 1000), 0);
    assert_false(store_has(fixture->store, &old));
    assert_true(store_has(fixture->store, &pinned));

    /* Nothing may go any more: the write fails, and nothing else does. */
    spy.full_at = 1;
    assert_int_equal(fill(partial, &sample, 2000, 1000), -EDQUOT);
    assert_int_equal(partial_filled(partial, 0), 2000);
    assert_int_equal(used(fixture->store), 3000);
    assert_true(store_has(fixture->store, &pinned));
    assert_int_equal(fill(partial, &sample, 2000, 2 * MIB - 2000), 0);

    /* The same of the map: its write is the second one. */
    old = old_blob(fixture->store, 3, 1);
    assert_int_equal(partial_commit(partial), 0);
    partial_put(partial);
    assert_int_equal(store_drop(fixture->store, &sample.key), 0);
    partial = partial_of(fixture->store, &sample);
    spy.full_at = 2;
    assert_int_equal(fill(partial, &sample, 0, 1000), 0);
    assert_false(store_has(fixture->store, &old));
    partial_put(partial);
}

/* What is there stays, but for what nobody refers to, where it is not room that is missing. */
static void full_with_plenty_of_room(void **state)
{
    struct fixture *fixture = *state;
    struct opinion opinion = {0};
    struct blob_key old = old_blob(fixture->store, 1, 1);
    struct blob_key orphan = old_blob(fixture->store, 2, 2);

    think(&opinion, &orphan, KEEP_UNWANTED);
    bound(fixture->store, 0, &opinion);
    watch(NULL);
    spy.full = -ENOSPC;
    for (int i = 0; i < 3; i++)
        assert_int_equal(put_thousand(fixture->store, 10 + i), -ENOSPC);
    assert_true(store_has(fixture->store, &old));
    assert_false(store_has(fixture->store, &orphan));
    watch(NULL);
    assert_int_equal(put_thousand(fixture->store, 10), 0);
}

/* A quota may be helped by evicting. If it is seen not to be, the rest is not given up as well. */
static void evicting_in_vain_ends(void **state)
{
    struct fixture *fixture = *state;
    struct blob_key blobs[10];
    unsigned left = 0;

    for (int i = 0; i < 10; i++)
        blobs[i] = old_blob(fixture->store, i, i);
    watch(NULL);
    spy.full = -EDQUOT;
    for (int i = 0; i < 10; i++)
        assert_int_equal(put_thousand(fixture->store, 20 + i), -EDQUOT);
    watch(NULL);
    for (int i = 0; i < 10; i++)
        left += store_has(fixture->store, &blobs[i]);
    assert_int_equal(left, 8); /* a tenth, and what is begun of the next one */
}

/* Runs in a child, on a small tmpfs in a mount namespace of its own; 77: not possible here. */
static int on_a_small_disk(struct fixture *fixture, int (*run)(struct store *store))
{
    struct store *store = NULL;
    int status = 0;

    fflush(NULL);
    store_close(fixture->store);
    fixture->store = NULL;
    pid_t child = fork();

    if (child == 0) {
        if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
            mount("none", fixture->dir, "tmpfs", 0, "size=8m,mode=0700") < 0)
            _exit(77);
        if (store_open(fixture->dir, STORE_WRITER, &store) < 0)
            _exit(1);
        status = run(store);
        store_close(store);
        _exit(status);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77)
        skip();
    return WEXITSTATUS(status);
}

static uint64_t disk_free(struct store *store)
{
    struct statvfs st;

    return fstatvfs(store_dirfd(store), &st) < 0 ? 0 : (uint64_t)st.f_bavail * st.f_frsize;
}

/* Fetches twenty blobs of a MiB; each step has its own number, so that a failure says where. */
static int fetch_twenty(struct store *store, uint64_t min_free)
{
    for (uint32_t i = 0; i < 20; i++) {
        scoped_sample sample = sample_new(MIB, i);
        scoped(partial_putp) struct partial *partial = NULL;

        if (partial_begin(store, &sample.key, &partial) < 0)
            return 10;
        for (uint64_t at = 0; at < MIB; at += 64 * KIB) {
            if (partial_write(partial, at, sample.bytes + at, 64 * KIB) < 0)
                return 11;
            if (disk_free(store) < min_free)
                return 12;
        }
        if (partial_commit(partial) < 0 || !store_has(store, &sample.key))
            return 13;
    }
    return 0;
}

static int with_min_free(struct store *store)
{
    const struct budget budget = {.min_free = 3 * MIB};
    struct budget_facts facts;

    store_set_budget(store, &budget);
    if (fetch_twenty(store, 3 * MIB))
        return fetch_twenty(store, 3 * MIB);
    store_budget(store, &facts);
    return facts.min_free == 3 * MIB && facts.disk_free >= 3 * MIB && facts.evicted_blobs >= 14 ? 0
                                                                                                : 2;
}

static void min_free_stays_free(void **state)
{
    assert_int_equal(on_a_small_disk(*state, with_min_free), 0);
}

/* No bound at all but the disk itself: twenty blobs pass through eight MiB. */
static int without_bounds(struct store *store)
{
    struct budget_facts facts;
    int r = fetch_twenty(store, 0);

    store_budget(store, &facts);
    return r ? r : facts.evicted_blobs < 12;
}

static void full_disk_evicts(void **state)
{
    assert_int_equal(on_a_small_disk(*state, without_bounds), 0);
}

static enum keep_class pin_all(void *arg, const struct blob_key *key)
{
    return KEEP_PINNED;
}

static int all_pinned(struct store *store)
{
    const struct budget budget = {.judge = pin_all};
    scoped_sample sample = sample_new(20 * MIB, 1);
    struct partial *partial = NULL;
    uint64_t at = 0;
    struct blob_key key = put(store, "pinned");
    int r = partial_begin(store, &sample.key, &partial);

    store_set_budget(store, &budget);
    for (; r == 0 && at < 20 * MIB; at += 64 * KIB)
        r = partial_write(partial, at, sample.bytes + at, 64 * KIB);
    if (r != -ENOSPC)
        return 1;
    if (check(partial, &sample, 0, partial_bytes(partial)) < 0 || partial_bytes(partial) < 6 * MIB)
        return 2;
    if (!store_has(store, &key) || used(store) != partial_bytes(partial) + 6)
        return 3;
    partial_put(partial);
    return store_save_trust(store) == -ENOSPC || store_has(store, &key) ? 0 : 4;
}

static void full_disk_harms_nothing_else(void **state)
{
    assert_int_equal(on_a_small_disk(*state, all_pinned), 0);
}

/* --- many threads --- */

struct crowd {
    struct store *store;
    atomic_int next;
    atomic_int bad;
};

static void *fetch(void *arg)
{
    struct crowd *crowd = arg;

    for (int i = 0; i < 30; i++) {
        uint32_t number = (uint32_t)atomic_fetch_add(&crowd->next, 1);
        scoped(partial_putp) struct partial *partial = NULL;
        uint8_t bytes[20000];
        struct blob_key key;

        memset(bytes, (int)number, sizeof(bytes));
        memcpy(bytes, &number, sizeof(number));
        blob_key_of_bytes(bytes, sizeof(bytes), &key);
        if (partial_begin(crowd->store, &key, &partial) < 0 ||
            partial_write(partial, 0, bytes, 10000) < 0 ||
            partial_write(partial, 10000, bytes + 10000, 10000) < 0)
            atomic_fetch_add(&crowd->bad, 1);
        if (i % 10 == 3)
            store_recount(crowd->store);
        if (i % 4 != 0 && partial_commit(partial) < 0)
            atomic_fetch_add(&crowd->bad, 1);
    }
    return NULL;
}

static void many_threads(void **state)
{
    struct fixture *fixture = *state;
    struct crowd crowd = {.store = fixture->store};
    pthread_t threads[6];

    const uint64_t limit = 1500000;

    bound(fixture->store, limit, NULL);
    for (int i = 0; i < 6; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, fetch, &crowd), 0);
    for (int i = 0; i < 6; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(atomic_load(&crowd.bad), 0);

    /* Counting at work may count too much, never too little; at rest it is exact. */
    assert_true(used(fixture->store) >= measure(fixture->store));
    assert_int_equal(store_recount(fixture->store), 0);
    assert_int_equal(used(fixture->store), measure(fixture->store));
    assert_true(used(fixture->store) <= limit);
}

static void readers_evict_nothing(void **state)
{
    struct fixture *fixture = *state;
    struct store *reader = NULL;
    struct blob_key key = put(fixture->store, "hello");

    assert_int_equal(store_open(fixture->dir, STORE_READER, &reader), 0);
    bound(reader, 1, NULL);
    assert_int_equal(store_shrink(reader), -EROFS);
    assert_int_equal(store_recount(reader), 0);
    assert_int_equal(used(reader), 5);
    store_close(reader);
    assert_int_equal(get(fixture->store, &key), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        fixture_test(account_follows_what_is_there),
        fixture_test(unknown_until_it_is_counted),
        fixture_test(least_recently_opened_goes_first),
        fixture_test(last_opening_survives_a_restart),
        fixture_test(unwanted_first_pinned_and_open_never),
        fixture_test(judged_again_before_it_goes),
        fixture_test(partials_have_an_age_too),
        fixture_test(never_above_the_bound),
        fixture_test(bound_holds_from_the_start),
        fixture_test(full_once),
        fixture_test(full_with_plenty_of_room),
        fixture_test(evicting_in_vain_ends),
        fixture_test(min_free_stays_free),
        fixture_test(full_disk_evicts),
        fixture_test(full_disk_harms_nothing_else),
        fixture_test(many_threads),
        fixture_test(readers_evict_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
