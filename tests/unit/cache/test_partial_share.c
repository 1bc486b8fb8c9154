/* SPDX-License-Identifier: MIT */
/* One fills, many read: in this process and in others. */
#include <stdatomic.h>
#include <sys/wait.h>

#include "tests/unit/cache/partial_fixture.h"

#define SIZE (6 * MIB + 300 * KIB)

enum { READERS = 4 };

/* Assertions are for the main thread; these say 1 when something is wrong. */
static int read_right(struct partial *partial, const struct sample *sample, uint64_t offset,
                      size_t size)
{
    uint8_t buffer[70000];
    int r = partial_read(partial, buffer, size, offset);

    if (r == 0)
        return memcmp(buffer, sample->bytes + offset, size) != 0;
    return r != -EAGAIN && r != -EBADMSG;
}

struct crowd {
    struct store *store;
    const struct sample *sample;
    atomic_bool done;
    atomic_int bad;
    atomic_int reads;
};

/* Finds, reads here and there, puts; the blob itself once there is no partial. */
static void *read_on(void *arg)
{
    struct crowd *crowd = arg;
    uint32_t x = (uint32_t)(uintptr_t)&x;

    while (!atomic_load(&crowd->done)) {
        scoped(partial_putp) struct partial *partial = NULL;

        if (partial_find(crowd->store, &crowd->sample->key, &partial) < 0)
            continue;
        for (int i = 0; i < 50; i++) {
            x = x * 1664525 + 1013904223;
            uint64_t offset = x % (SIZE - 70000);

            partial_has(partial, offset, 70000);
            partial_filled(partial, x % 7);
            atomic_fetch_add(&crowd->bad,
                             read_right(partial, crowd->sample, offset, 1 + (x >> 8) % 70000));
            atomic_fetch_add(&crowd->reads, 1);
        }
    }
    return NULL;
}

static void fill_all(struct partial *partial, const struct sample *sample, uint32_t x)
{
    while (partial_bytes(partial) < SIZE) {
        x = x * 1664525 + 1013904223;
        uint32_t block = (x >> 8) % partial_blocks(partial);
        uint64_t at = block * MIB + partial_filled(partial, block);
        uint64_t end = (block + 1) * MIB < SIZE ? (block + 1) * MIB : SIZE;
        int r = fill(partial, sample, at, end - at < 100000 ? end - at : 100000);

        assert_true(r == 0 || r == -EINVAL); /* a reader has just found its beginning rotten */
    }
}

/* One pass over the blob, several strands at once, until it is there. Blocks may still be found
 * rotten when all of them seem to be here. */
static void fill_and_commit(struct crowd *crowd, uint32_t seed)
{
    scoped(partial_putp) struct partial *partial = partial_of(crowd->store, crowd->sample);
    int r;

    do {
        fill_all(partial, crowd->sample, seed);
        assert_int_equal(partial_flush(partial), 0);
        r = commit(partial);
    } while (r == -EAGAIN);
    assert_int_equal(r, 0);
}

static void fill_and_fail(struct crowd *crowd, uint32_t seed)
{
    scoped(partial_putp) struct partial *partial = partial_of(crowd->store, crowd->sample);

    fill_all(partial, crowd->sample, seed);
    partial_fail(partial);
}

/* A reader may be looking for the partial just now. */
static void drop_soon(struct fixture *fixture, const struct blob_key *key)
{
    int r;

    do {
        r = store_drop(fixture->store, key);
    } while (r == -EBUSY);
    assert_int_equal(r, 0);
}

static void readers_beside_the_filler(void **state)
{
    struct fixture *fixture = *state;
    scoped_sample sample = sample_new(SIZE, 1);
    struct crowd crowd = {.store = fixture->store, .sample = &sample};
    pthread_t threads[READERS];

    for (int i = 0; i < READERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, read_on, &crowd), 0);
    for (uint32_t round = 0; round < 9; round++) {
        if (round % 3 == 0) {
            fill_and_fail(&crowd, round);
        } else {
            fill_and_commit(&crowd, round);
            assert_stored(fixture->store, &sample);
            drop_soon(fixture, &sample.key);
        }
    }
    atomic_store(&crowd.done, true);
    for (int i = 0; i < READERS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(atomic_load(&crowd.bad), 0);
    assert_int_equal(used(fixture->store), 0);
}

/* What waited on disk is proved by several at once, rot included, while it goes on. */
static void readers_prove_at_once(void **state)
{
    struct fixture *fixture = *state;
    scoped_sample sample = sample_new(SIZE, 2);
    scoped_free char *data = partial_rel(&sample.key, "");
    struct crowd crowd = {.store = fixture->store, .sample = &sample};

    for (uint32_t round = 0; round < 4; round++) {
        struct partial *partial = partial_of(fixture->store, &sample);
        pthread_t threads[READERS];

        for (uint64_t i = 0; i < 6; i++)
            assert_int_equal(fill(partial, &sample, i * MIB, MIB - i * 1000), 0);
        partial_put(partial);
        flip(fixture, data, round * MIB + 1234);
        flip(fixture, data, 5 * MIB + 1234);
        atomic_store(&crowd.done, false);
        for (int i = 0; i < READERS; i++)
            assert_int_equal(pthread_create(&threads[i], NULL, read_on, &crowd), 0);
        fill_and_commit(&crowd, round);
        atomic_store(&crowd.done, true);
        for (int i = 0; i < READERS; i++)
            pthread_join(threads[i], NULL);
        assert_int_equal(atomic_load(&crowd.bad), 0);
        assert_stored(fixture->store, &sample);
        assert_int_equal(store_drop(fixture->store, &sample.key), 0);
        assert_int_equal(used(fixture->store), 0);
    }
}

/* Begin and put of the same keys from all sides: one object at a time, nothing lost between. */
static void *come_and_go(void *arg)
{
    struct crowd *crowd = arg;

    for (int i = 0; i < 300; i++) {
        scoped(partial_putp) struct partial *partial = NULL;

        if (partial_begin(crowd->store, &crowd->sample->key, &partial) < 0 ||
            partial_filled(partial, 0) != 1000 || read_right(partial, crowd->sample, 0, 1000) != 0)
            atomic_fetch_add(&crowd->bad, 1);
    }
    return NULL;
}

static void begin_and_put_at_once(void **state)
{
    struct fixture *fixture = *state;
    const uint64_t sizes[] = {5000, SIZE};

    for (int kind = 0; kind < 2; kind++) {
        scoped_sample sample = sample_new(sizes[kind], 3);
        struct crowd crowd = {.store = fixture->store, .sample = &sample};
        struct partial *partial = partial_of(fixture->store, &sample);
        pthread_t threads[READERS];

        assert_int_equal(fill(partial, &sample, 0, 1000), 0);
        partial_put(partial);
        for (int i = 0; i < READERS; i++)
            assert_int_equal(pthread_create(&threads[i], NULL, come_and_go, &crowd), 0);
        for (int i = 0; i < READERS; i++)
            pthread_join(threads[i], NULL);
        assert_int_equal(atomic_load(&crowd.bad), 0);
        assert_int_equal(used(fixture->store), 1000 * (kind + 1));
    }
}

/* --- another process is the writer --- */

static void reader_follows_the_writer(void **state)
{
    struct fixture *fixture = *state;
    scoped_sample sample = sample_new(SIZE, 4);
    struct partial *partial = NULL, *theirs = NULL;
    struct store *reader = NULL;

    assert_int_equal(store_open(fixture->dir, STORE_READER, &reader), 0);
    assert_int_equal(partial_find(reader, &sample.key, &theirs), -ENOENT);
    partial = partial_of(fixture->store, &sample);
    assert_int_equal(partial_find(reader, &sample.key, &theirs), 0);
    assert_int_equal(partial_begin(reader, &sample.key, &theirs), -EROFS);
    assert_int_equal(fill(theirs, &sample, 0, 1), -EROFS);
    assert_int_equal(partial_set_tag(theirs, "x"), -EROFS);
    assert_int_equal(partial_flush(theirs), -EROFS);
    assert_int_equal(partial_commit(theirs), -EROFS);
    partial_fail(theirs);

    assert_int_equal(check(theirs, &sample, 2 * MIB, 1000), -EAGAIN);
    assert_int_equal(fill(partial, &sample, 2 * MIB, 1000), 0);
    assert_int_equal(check(theirs, &sample, 2 * MIB, 1000), 0);
    assert_int_equal(check(theirs, &sample, 2 * MIB, 1001), -EAGAIN);
    assert_int_equal(fill(partial, &sample, 2 * MIB + 1000, MIB - 1000), 0);
    assert_true(partial_has(theirs, 2 * MIB, MIB));
    assert_int_equal(check(theirs, &sample, 2 * MIB, MIB), 0);
    assert_int_equal(fill(partial, &sample, 0, 2 * MIB), 0);
    assert_int_equal(partial_filled(theirs, 1), MIB);
    assert_int_equal(fill(partial, &sample, 3 * MIB, SIZE - 3 * MIB), 0);
    assert_int_equal(commit(partial), 0);

    /* The descriptor stays good, whatever the name is by now. */
    partial_put(partial);
    assert_int_equal(check(theirs, &sample, 0, SIZE), 0);
    assert_int_equal(store_drop(fixture->store, &sample.key), 0);
    assert_int_equal(check(theirs, &sample, 0, SIZE), 0);
    partial_put(theirs);
    assert_int_equal(partial_find(reader, &sample.key, &theirs), -ENOENT);
    store_close(reader);
}

static void reader_hears_that_it_was_given_up(void **state)
{
    struct fixture *fixture = *state;
    scoped_sample sample = sample_new(SIZE, 5);
    struct partial *partial = partial_of(fixture->store, &sample);
    struct partial *theirs = NULL;
    struct store *reader = NULL;

    assert_int_equal(fill(partial, &sample, 0, MIB), 0);
    assert_int_equal(store_open(fixture->dir, STORE_READER, &reader), 0);
    assert_int_equal(partial_find(reader, &sample.key, &theirs), 0);
    assert_int_equal(check(theirs, &sample, 0, MIB), 0);
    partial_fail(partial);
    assert_int_equal(check(theirs, &sample, 0, MIB), -EBADMSG);
    partial_put(theirs);
    partial_put(partial);
    store_close(reader);
}

/* A reader proves as well: what rots, or does not fit the map, is not here. */
static void reader_proves(void **state)
{
    struct fixture *fixture = *state;
    scoped_sample sample = sample_new(SIZE, 6);
    scoped_free char *data = partial_rel(&sample.key, "");
    struct partial *partial = partial_of(fixture->store, &sample);
    struct store *reader = NULL;

    assert_int_equal(fill(partial, &sample, 0, SIZE), 0);
    partial_put(partial);
    flip(fixture, data, MIB + 7);
    assert_int_equal(store_open(fixture->dir, STORE_READER, &reader), 0);
    assert_int_equal(partial_find(reader, &sample.key, &partial), 0);
    assert_int_equal(check(partial, &sample, MIB, 5), -EAGAIN);
    assert_int_equal(check(partial, &sample, MIB, 5), -EAGAIN);
    assert_int_equal(check(partial, &sample, 2 * MIB, 5), 0);
    flip(fixture, data, MIB + 7); /* mended */
    assert_int_equal(check(partial, &sample, MIB, MIB), 0);
    partial_put(partial);
    store_close(reader);
}

static int read_all(const char *dir, const struct sample *sample, int ready)
{
    struct partial *partial = NULL;
    struct store *store = NULL;

    if (store_open(dir, STORE_READER, &store) < 0 ||
        partial_find(store, &sample->key, &partial) < 0 || write(ready, "", 1) != 1)
        return 1;
    for (uint64_t done = 0; done < SIZE;) {
        size_t size = SIZE - done < 70000 ? (size_t)(SIZE - done) : 70000;

        if (read_right(partial, sample, done, size))
            return 2;
        if (partial_has(partial, done, size))
            done += size;
    }
    return 0;
}

/* In another process in truth, at full speed. */
static void reader_in_another_process(void **state)
{
    struct fixture *fixture = *state;
    scoped_sample sample = sample_new(SIZE, 7);
    struct crowd crowd = {.store = fixture->store, .sample = &sample};
    struct partial *partial = partial_of(fixture->store, &sample);
    int ends[2];
    int status = 0;
    char byte;

    assert_int_equal(pipe(ends), 0);
    fflush(NULL);
    pid_t child = fork();

    if (child == 0)
        _exit(read_all(fixture->dir, &sample, ends[1]));
    assert_int_equal(read(ends[0], &byte, 1), 1);
    fill_and_commit(&crowd, 1);
    partial_put(partial);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    close(ends[0]);
    close(ends[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        fixture_test(readers_beside_the_filler),
        fixture_test(readers_prove_at_once),
        fixture_test(begin_and_put_at_once),
        fixture_test(reader_follows_the_writer),
        fixture_test(reader_hears_that_it_was_given_up),
        fixture_test(reader_proves),
        fixture_test(reader_in_another_process),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
