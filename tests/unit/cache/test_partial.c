/* SPDX-License-Identifier: MIT */
/* A partial within one process: what goes in, in whatever order, comes out, or ends in the blob. */
#include "tests/unit/cache/partial_fixture.h"

#define SIZE (3 * MIB + 700 * KIB)

static void in_order(void **state)
{
    struct fixture *fixture = *state;
    scoped_sample sample = sample_new(SIZE, 1);
    struct partial *partial = partial_of(fixture->store, &sample);
    scoped_free char *data = partial_rel(&sample.key, "");
    scoped_free char *map = partial_rel(&sample.key, ".map");

    assert_true(blob_key_equal(partial_key(partial), &sample.key));
    assert_int_equal(partial_blocks(partial), 4);
    assert_int_equal(partial_bytes(partial), 0);
    assert_int_equal(check(partial, &sample, 0, 1), -EAGAIN);
    for (uint64_t at = 0; at < SIZE; at += 100000) {
        uint64_t size = SIZE - at < 100000 ? SIZE - at : 100000;

        assert_int_equal(partial_commit(partial), -EAGAIN);
        assert_int_equal(fill(partial, &sample, at, size), 0);
        assert_int_equal(partial_bytes(partial), at + size);
        assert_int_equal(check(partial, &sample, at / 2, at + size - at / 2), 0);
        assert_int_equal(check(partial, &sample, at, size + 1),
                         at + size == SIZE ? -EFBIG : -EAGAIN);
    }
    assert_true(exists(fixture, map));
    assert_int_equal(partial_commit(partial), 0); /* nothing was left to hash */
    assert_stored(fixture->store, &sample);
    assert_false(exists(fixture, data));
    assert_false(exists(fixture, map));

    /* And goes on for those who hold it. */
    assert_int_equal(partial_commit(partial), 0);
    assert_int_equal(check(partial, &sample, 0, SIZE), 0);
    assert_true(partial_has(partial, 0, SIZE));
    assert_int_equal(fill(partial, &sample, 0, 1), -EINVAL);
    partial_fail(partial); /* too late */
    assert_int_equal(check(partial, &sample, 0, SIZE), 0);
    partial_put(partial);
    assert_stored(fixture->store, &sample);
    assert_int_equal(store_verify(fixture->store, &sample.key), 0);
}

static void out_of_order(void **state)
{
    struct fixture *fixture = *state;
    static const int orders[][4] = {{3, 2, 1, 0}, {3, 0, 1, 2}, {1, 0, 3, 2}, {0, 2, 1, 3}};
    scoped_sample sample = sample_new(SIZE, 2);

    for (size_t i = 0; i < 4; i++) {
        struct partial *partial = partial_of(fixture->store, &sample);

        for (size_t j = 0; j < 4; j++) {
            uint64_t at = (uint64_t)orders[i][j] * MIB;
            uint64_t size = SIZE - at < MIB ? SIZE - at : MIB;

            assert_false(partial_has(partial, at, 1));
            assert_int_equal(fill(partial, &sample, at, size), 0);
            assert_int_equal(check(partial, &sample, at, size), 0);
            assert_int_equal(partial_filled(partial, (uint32_t)orders[i][j]), size);
        }
        assert_int_equal(commit(partial), 0);
        assert_stored(fixture->store, &sample);
        partial_put(partial);
        assert_int_equal(store_drop(fixture->store, &sample.key), 0);
    }
}

/* A block counts up to where it is filled, and goes on there and nowhere else. */
static void beginnings_of_blocks(void **state)
{
    struct fixture *fixture = *state;
    scoped_sample sample = sample_new(SIZE, 3);
    struct partial *partial = partial_of(fixture->store, &sample);

    assert_int_equal(fill(partial, &sample, 1, 10), -EINVAL);
    assert_int_equal(fill(partial, &sample, 2 * MIB + 7, 10), -EINVAL);
    assert_int_equal(fill(partial, &sample, 2 * MIB, 1000), 0);
    assert_int_equal(fill(partial, &sample, 2 * MIB, 1000), -EINVAL);
    assert_int_equal(fill(partial, &sample, 2 * MIB + 999, 10), -EINVAL);
    assert_int_equal(fill(partial, &sample, 2 * MIB + 1001, 10), -EINVAL);
    assert_int_equal(partial_filled(partial, 2), 1000);
    assert_int_equal(partial_bytes(partial), 1000);
    assert_int_equal(check(partial, &sample, 2 * MIB, 1000), 0);
    assert_int_equal(check(partial, &sample, 2 * MIB + 10, 990), 0);
    assert_int_equal(check(partial, &sample, 2 * MIB + 10, 991), -EAGAIN);
    assert_int_equal(check(partial, &sample, 2 * MIB - 1, 2), -EAGAIN);

    /* A range over several blocks must fit them all, or nothing of it counts. */
    assert_int_equal(fill(partial, &sample, MIB, MIB + 10), -EINVAL);
    assert_int_equal(partial_filled(partial, 1), 0);
    assert_int_equal(fill(partial, &sample, 0, 2 * MIB), 0);
    assert_int_equal(fill(partial, &sample, 2 * MIB + 1000, SIZE - 2 * MIB - 1000), 0);
    assert_int_equal(partial_bytes(partial), SIZE);
    assert_int_equal(commit(partial), 0);
    partial_put(partial);
    assert_stored(fixture->store, &sample);
}

static void bounds(void **state)
{
    struct fixture *fixture = *state;
    scoped_sample sample = sample_new(SIZE, 4);
    struct partial *partial = partial_of(fixture->store, &sample);
    uint8_t byte = 0;

    assert_int_equal(partial_write(partial, SIZE, &byte, 1), -EFBIG);
    assert_int_equal(partial_write(partial, 3 * MIB, sample.bytes, MIB), -EFBIG);
    assert_int_equal(partial_write(partial, UINT64_MAX, &byte, 2), -EFBIG);
    assert_int_equal(partial_write(partial, SIZE, &byte, 0), 0);
    assert_int_equal(partial_read(partial, &byte, 1, SIZE), -EFBIG);
    assert_int_equal(partial_read(partial, &byte, 2, UINT64_MAX), -EFBIG);
    assert_int_equal(partial_read(partial, &byte, 0, SIZE), 0);
    assert_true(partial_has(partial, SIZE, 0));
    assert_false(partial_has(partial, SIZE, 1));
    assert_int_equal(partial_filled(partial, 4), 0);
    partial_put(partial);

    struct blob_key absurd = sample.key;

    absurd.size = UINT64_MAX;
    assert_int_equal(partial_begin(fixture->store, &absurd, &partial), -EFBIG);
}

static void empty_blob(void **state)
{
    struct fixture *fixture = *state;
    scoped_sample sample = sample_new(0, 1);
    struct partial *partial = partial_of(fixture->store, &sample);

    assert_int_equal(partial_blocks(partial), 0);
    assert_int_equal(partial_flush(partial), 0);
    assert_int_equal(check(partial, &sample, 0, 0), 0);
    assert_int_equal(partial_commit(partial), 0);
    partial_put(partial);
    assert_stored(fixture->store, &sample);

    struct blob_key wrong = text_key("x");

    wrong.size = 0;
    assert_int_equal(partial_begin(fixture->store, &wrong, &partial), 0);
    assert_int_equal(partial_commit(partial), -EBADMSG);
    partial_put(partial);
    assert_int_equal(get(fixture->store, &wrong), -ENOENT);
}

static void keys_of_both_kinds(void **state)
{
    struct fixture *fixture = *state;
    struct sample sample = sample_new(2 * MIB, 5);
    struct partial *partial;

    blob_key_of_bytes(sample.bytes, 2 * MIB, &sample.key);
    partial = partial_of(fixture->store, &sample);
    assert_int_equal(fill(partial, &sample, MIB, MIB), 0);
    assert_int_equal(fill(partial, &sample, 0, MIB), 0);
    assert_int_equal(commit(partial), 0);
    partial_put(partial);
    assert_stored(fixture->store, &sample);
    sample_free(&sample);
}

/* More blocks under way than there are running sums: slower, and as right. */
static void many_strands(void **state)
{
    enum { BLOCKS = 20 };
    struct fixture *fixture = *state;
    scoped_sample sample = sample_new(BLOCKS * MIB, 6);
    struct partial *partial = partial_of(fixture->store, &sample);

    for (uint64_t part = 0; part < 4; part++) {
        for (uint64_t i = 0; i < BLOCKS; i++) {
            uint64_t at = (i * 7 % BLOCKS) * MIB + part * MIB / 4;

            assert_int_equal(fill(partial, &sample, at, MIB / 4), 0);
        }
    }
    partial_put(partial);
    reopen(fixture);

    /* Every sum holds against what is on disk. */
    partial = partial_of(fixture->store, &sample);
    assert_int_equal(partial_bytes(partial), BLOCKS * MIB);
    assert_int_equal(check(partial, &sample, 0, BLOCKS * MIB), 0);
    assert_int_equal(commit(partial), 0);
    partial_put(partial);
    assert_stored(fixture->store, &sample);
}

static void commit_goes_in_slices(void **state)
{
    struct fixture *fixture = *state;
    const uint64_t size = 2 * PARTIAL_SLICE + 5 * MIB;
    scoped_sample sample = sample_new(size, 7);
    struct partial *partial = partial_of(fixture->store, &sample);

    assert_int_equal(fill(partial, &sample, MIB, size - MIB), 0);
    assert_int_equal(fill(partial, &sample, 0, MIB), 0); /* hashed at once; all else is read back */
    assert_int_equal(partial_commit(partial), -EINPROGRESS);
    assert_int_equal(get(fixture->store, &sample.key), -ENOENT);
    assert_int_equal(check(partial, &sample, 0, size), 0);
    assert_int_equal(partial_commit(partial), -EINPROGRESS);
    assert_int_equal(partial_commit(partial), 0);
    partial_put(partial);
    assert_stored(fixture->store, &sample);
}

static void wrong_bytes_are_given_up(void **state)
{
    struct fixture *fixture = *state;
    scoped_sample sample = sample_new(SIZE, 8);
    scoped_free char *data = partial_rel(&sample.key, "");
    scoped_free char *map = partial_rel(&sample.key, ".map");
    struct partial *partial = partial_of(fixture->store, &sample);
    struct partial *reader = NULL;

    assert_int_equal(partial_find(fixture->store, &sample.key, &reader), 0);
    sample.bytes[2 * MIB + 5] ^= 1;
    assert_int_equal(fill(partial, &sample, 0, SIZE), 0);
    sample.bytes[2 * MIB + 5] ^= 1;
    assert_int_equal(commit(partial), -EBADMSG);
    assert_int_equal(commit(partial), -EBADMSG);
    assert_int_equal(get(fixture->store, &sample.key), -ENOENT);
    assert_false(exists(fixture, data));
    assert_false(exists(fixture, map));
    assert_int_equal(used(fixture->store), 0);

    /* For ever, for whoever holds it; and the next one has nothing to do with it. */
    struct partial *next = partial_of(fixture->store, &sample);

    assert_ptr_not_equal(next, partial);
    assert_int_equal(check(reader, &sample, 0, 1), -EBADMSG);
    assert_false(partial_has(reader, 0, 1));
    assert_int_equal(fill(partial, &sample, 0, 1), -EBADMSG);
    assert_int_equal(partial_flush(partial), -EBADMSG);
    assert_int_equal(fill(next, &sample, 0, SIZE), 0);
    partial_put(partial);
    partial_put(reader);
    assert_int_equal(commit(next), 0);
    partial_put(next);
    assert_stored(fixture->store, &sample);
}

static void fail_with_readers(void **state)
{
    struct fixture *fixture = *state;
    scoped_sample sample = sample_new(SIZE, 9);
    scoped_free char *data = partial_rel(&sample.key, "");
    struct partial *partial = partial_of(fixture->store, &sample);
    struct partial *reader = partial_ref(partial);

    assert_int_equal(fill(partial, &sample, 0, MIB), 0);
    assert_int_equal(check(reader, &sample, 0, MIB), 0);
    partial_fail(partial);
    partial_fail(partial);
    partial_put(partial);
    assert_int_equal(check(reader, &sample, 0, MIB), -EBADMSG);
    assert_false(exists(fixture, data));
    assert_int_equal(partial_find(fixture->store, &sample.key, &partial), -ENOENT);
    partial_put(reader);
    assert_int_equal(used(fixture->store), 0);
}

static void one_key_is_one_object(void **state)
{
    struct fixture *fixture = *state;
    scoped_sample sample = sample_new(SIZE, 10);
    scoped_sample other = sample_new(SIZE, 11);
    struct partial *found = NULL;

    assert_int_equal(partial_find(fixture->store, &sample.key, &found), -ENOENT);
    struct partial *first = partial_of(fixture->store, &sample);
    struct partial *second = partial_of(fixture->store, &sample);
    struct partial *third = partial_of(fixture->store, &other);

    assert_int_equal(partial_find(fixture->store, &sample.key, &found), 0);
    assert_ptr_equal(first, second);
    assert_ptr_equal(first, found);
    assert_ptr_not_equal(first, third);
    assert_int_equal(fill(first, &sample, 0, MIB), 0);
    partial_put(first);
    partial_put(found);
    assert_int_equal(check(second, &sample, 0, MIB), 0);
    partial_put(second);
    partial_put(third);
    partial_put(NULL);

    /* What was put waits on disk; what had nothing in it does not. */
    assert_int_equal(partial_find(fixture->store, &other.key, &found), -ENOENT);
    assert_int_equal(partial_find(fixture->store, &sample.key, &found), 0);
    assert_int_equal(check(found, &sample, 0, MIB), 0);
    partial_put(found);
}

static void tags(void **state)
{
    struct fixture *fixture = *state;
    scoped_sample small = sample_new(1000, 12);
    scoped_sample large = sample_new(SIZE, 12);
    const struct sample *const samples[] = {&small, &large};
    char longest[PARTIAL_TAG_SIZE + 1];

    memset(longest, 't', PARTIAL_TAG_SIZE);
    longest[PARTIAL_TAG_SIZE] = '\0';
    for (size_t i = 0; i < 2; i++) {
        struct partial *partial = partial_of(fixture->store, samples[i]);

        assert_string_equal(partial_tag(partial), "");
        longest[PARTIAL_TAG_SIZE - 1] = 't';
        assert_int_equal(partial_set_tag(partial, longest), -EINVAL);
        assert_int_equal(partial_set_tag(partial, "a\nb"), -EINVAL);
        assert_int_equal(partial_set_tag(partial, "\"first\""), 0);
        assert_string_equal(partial_tag(partial), "\"first\"");
        longest[PARTIAL_TAG_SIZE - 1] = '\0';
        assert_int_equal(partial_set_tag(partial, longest), 0);
        assert_int_equal(fill(partial, samples[i], 0, 500), 0);
        partial_put(partial);
        reopen(fixture);
        partial = partial_of(fixture->store, samples[i]);
        assert_string_equal(partial_tag(partial), longest);
        assert_int_equal(check(partial, samples[i], 0, 500), 0);
        assert_int_equal(partial_set_tag(partial, ""), 0);
        assert_string_equal(partial_tag(partial), "");
        partial_put(partial);
    }
}

/* Somebody was faster, by another way. */
static void blob_that_is_there_stays(void **state)
{
    struct fixture *fixture = *state;
    struct sample sample = {.bytes = (uint8_t *)strdup("hello"), .key = text_key("hello")};
    struct partial *partial = partial_of(fixture->store, &sample);
    scoped_free char *data = partial_rel(&sample.key, "");

    assert_int_equal(fill(partial, &sample, 0, 5), 0);
    put(fixture->store, "hello");
    assert_int_equal(used(fixture->store), 10);
    assert_int_equal(partial_commit(partial), 0);
    assert_int_equal(used(fixture->store), 5);
    assert_false(exists(fixture, data));
    assert_int_equal(check(partial, &sample, 0, 5), 0);
    partial_put(partial);
    assert_holds(fixture->store, &sample.key, "hello");
    sample_free(&sample);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        fixture_test(in_order),
        fixture_test(out_of_order),
        fixture_test(beginnings_of_blocks),
        fixture_test(bounds),
        fixture_test(empty_blob),
        fixture_test(keys_of_both_kinds),
        fixture_test(many_strands),
        fixture_test(commit_goes_in_slices),
        fixture_test(wrong_bytes_are_given_up),
        fixture_test(fail_with_readers),
        fixture_test(one_key_is_one_object),
        fixture_test(tags),
        fixture_test(blob_that_is_there_stays),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
