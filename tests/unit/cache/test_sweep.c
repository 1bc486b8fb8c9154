/* SPDX-License-Identifier: MIT */
#include <sys/stat.h>

#include "cache/partial.h"
#include "cache/sweep.h"
#include "tests/unit/cache/fixture.h"

static int by_key(const void *a, const void *b)
{
    return blob_key_compare(a, b);
}

static void keeps_what_is_kept(void **state)
{
    struct fixture *fixture = *state;
    enum { COUNT = 20 };
    struct blob_key all[COUNT], kept[COUNT / 2];
    struct sweep_result result;
    char text[32];

    for (int i = 0; i < COUNT; i++) {
        snprintf(text, sizeof(text), "text %02d", i);
        all[i] = put(fixture->store, text);
        if (i % 2 == 0)
            kept[i / 2] = all[i];
    }
    qsort(kept, COUNT / 2, sizeof(*kept), by_key);

    const struct store_keep keep = {.keys = kept, .count = COUNT / 2};

    assert_int_equal(store_sweep(fixture->store, &keep, &result), 0);
    assert_int_equal(result.blobs, COUNT / 2);
    assert_int_equal(result.bytes, COUNT / 2 * 7);
    assert_int_equal(result.partials, 0);
    for (int i = 0; i < COUNT; i++)
        assert_int_equal(get(fixture->store, &all[i]), i % 2 == 0 ? 0 : -ENOENT);
    assert_int_equal(store_sweep(fixture->store, &keep, &result), 0);
    assert_int_equal(result.blobs, 0);
}

static void keeps_what_is_being_written(void **state)
{
    struct fixture *fixture = *state;
    const struct store_keep none = {0};
    struct blob_key key = text_key("alive");
    struct sweep_result result;
    struct writer *alive = begin(fixture->store, "alive");

    assert_int_equal(writer_write(alive, "alive", 5), 0);
    file_write(fixture->dir, "partial/dead", "dead", 4);
    file_write(fixture->dir, "partial/dead.tag", "of an older version", 19);

    assert_int_equal(store_sweep(fixture->store, &none, &result), 0);
    assert_int_equal(result.partials, 2);
    assert_true(exists(fixture, "partial/alive"));
    assert_false(exists(fixture, "partial/dead"));
    assert_false(exists(fixture, "partial/dead.tag"));
    assert_int_equal(writer_commit(alive, &key, NULL), 0);
    assert_holds(fixture->store, &key, "alive");
}

static void begin_partial(struct store *store, const char *text, struct partial **ret_partial)
{
    struct blob_key key = text_key(text);

    assert_int_equal(partial_begin(store, &key, ret_partial), 0);
    assert_int_equal(partial_write(*ret_partial, 0, text, 2), 0);
}

static bool partial_exists(const struct fixture *fixture, const char *text, const char *suffix)
{
    const struct blob_key key = text_key(text);
    scoped_free char *rel = partial_rel(&key, suffix);

    return exists(fixture, rel);
}

/* Partials go when nobody in the process holds them and nobody refers to them. */
static void partials_that_nobody_wants(void **state)
{
    struct fixture *fixture = *state;
    struct blob_key wanted_key = text_key("wanted");
    const struct store_keep keep = {.keys = &wanted_key, .count = 1};
    const struct blob_key lonely_key = text_key("lonely");
    scoped_free char *lonely = partial_rel(&lonely_key, ".map");
    struct partial *held = NULL, *wanted = NULL, *dead = NULL;
    struct sweep_result result;

    begin_partial(fixture->store, "held", &held);
    begin_partial(fixture->store, "wanted", &wanted);
    begin_partial(fixture->store, "dead", &dead);
    partial_put(wanted);
    partial_put(dead);
    file_write(fixture->dir, lonely, "x", 1);

    assert_int_equal(store_sweep(fixture->store, &keep, &result), 0);
    assert_int_equal(result.partials, 1);
    assert_true(partial_exists(fixture, "held", ""));
    assert_true(partial_exists(fixture, "wanted", ""));
    assert_true(partial_exists(fixture, "wanted", ".map"));
    assert_false(partial_exists(fixture, "dead", ""));
    assert_false(partial_exists(fixture, "dead", ".map"));
    assert_false(partial_exists(fixture, "lonely", ".map"));
    partial_put(held);
    assert_int_equal(store_sweep(fixture->store, &keep, &result), 0);
    assert_int_equal(result.partials, 1);
    assert_false(partial_exists(fixture, "held", ""));
}

static void leaves_what_is_foreign(void **state)
{
    struct fixture *fixture = *state;
    const struct store_keep none = {0};

    file_write(fixture->dir, "_shared/README", "x", 1);
    file_write(fixture->dir, "_shared/ab/notes.txt", "x", 1);
    file_write(fixture->dir, "partial/dir/file", "x", 1);
    assert_int_equal(store_sweep(fixture->store, &none, NULL), 0);
    assert_true(exists(fixture, "_shared/README"));
    assert_true(exists(fixture, "_shared/ab/notes.txt"));
    assert_true(exists(fixture, "partial/dir/file"));
}

static void open_descriptor_survives(void **state)
{
    struct fixture *fixture = *state;
    const struct store_keep none = {0};
    struct blob_key key = put(fixture->store, "hello");
    struct sweep_result result;
    scoped_fd int fd = -1;
    char buffer[8] = {0};

    assert_int_equal(store_get(fixture->store, &key, &fd), 0);
    assert_int_equal(store_sweep(fixture->store, &none, &result), 0);
    assert_int_equal(get(fixture->store, &key), -ENOENT);
    assert_int_equal(read(fd, buffer, 8), 5);
    assert_string_equal(buffer, "hello");
}

static void refuses(void **state)
{
    struct fixture *fixture = *state;
    const struct store_keep none = {0};
    struct blob_key key = put(fixture->store, "hello");
    struct sweep_result result;
    struct store *reader = NULL;

    assert_int_equal(store_sweep(fixture->store, NULL, &result), -EINVAL);
    assert_int_equal(store_open(fixture->dir, STORE_READER, &reader), 0);
    assert_int_equal(store_sweep(reader, &none, &result), -EROFS);
    store_close(reader);
    assert_int_equal(get(fixture->store, &key), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        fixture_test(keeps_what_is_kept),         fixture_test(keeps_what_is_being_written),
        fixture_test(partials_that_nobody_wants), fixture_test(leaves_what_is_foreign),
        fixture_test(open_descriptor_survives),   fixture_test(refuses),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
