/* SPDX-License-Identifier: MIT */
#include <sys/stat.h>

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
    struct writer *alive = begin(fixture->store, "alive", false);
    struct writer *dead = begin(fixture->store, "dead", false);

    assert_int_equal(writer_set_tag(alive, "a"), 0);
    assert_int_equal(writer_write(alive, "alive", 5), 0);
    assert_int_equal(writer_write(dead, "dead", 4), 0);
    writer_suspend(dead);
    file_write(fixture->dir, "partial/lonely.tag", "t\n", 2);

    assert_int_equal(store_sweep(fixture->store, &none, &result), 0);
    assert_int_equal(result.partials, 1);
    assert_true(exists(fixture, "partial/alive"));
    assert_true(exists(fixture, "partial/alive.tag"));
    assert_false(exists(fixture, "partial/dead"));
    assert_false(exists(fixture, "partial/dead.tag"));
    assert_false(exists(fixture, "partial/lonely.tag"));
    assert_int_equal(writer_commit(alive, &key, NULL), 0);
    assert_holds(fixture->store, &key, "alive");
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
        fixture_test(keeps_what_is_kept),
        fixture_test(keeps_what_is_being_written),
        fixture_test(leaves_what_is_foreign),
        fixture_test(open_descriptor_survives),
        fixture_test(refuses),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
