/* SPDX-License-Identifier: MIT */
/* Times that outlive the cache: remembered, pruned, and lost without harm. */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sync/first_seen.h"
#include "tests/unit/support/tempdir.h"
#include "tests/unit/sync/stack_fixture.h"

static struct first_seen *open_in(const struct place *place)
{
    struct first_seen *seen = NULL;

    assert_int_equal(first_seen_open(place->fd, &seen), 0);
    return seen;
}

static struct blob_key numbered(unsigned number)
{
    char text[32];

    snprintf(text, sizeof(text), "blob %u", number);
    return bytes_key(text);
}

/* A tree that lists the blobs [first, first + count). */
static struct tree *tree_of(unsigned first, unsigned count)
{
    struct tree_builder *builder = NULL;
    struct tree *tree = NULL;

    assert_int_equal(tree_builder_new(1, &builder), 0);
    for (unsigned i = first; i < first + count; i++) {
        struct blob_key key = numbered(i);
        char path[32];

        snprintf(path, sizeof(path), "f%u", i);
        assert_int_equal(tree_builder_add_blob(builder, path, TREE_NO_ROW, &key, 1), 0);
    }
    assert_int_equal(tree_builder_freeze(builder, &tree), 0);
    return tree;
}

static void the_first_sight_counts(void **state)
{
    struct first_seen *seen = open_in(*state);
    struct blob_key a = numbered(1), b = numbered(2);

    assert_int_equal(first_seen_ask(seen, &a, 100), 100);
    assert_int_equal(first_seen_ask(seen, &b, 200), 200);
    assert_int_equal(first_seen_ask(seen, &a, 300), 100);
    first_seen_close(seen);
}

static void it_outlives_the_process(void **state)
{
    struct first_seen *seen = open_in(*state);
    struct tree *tree = tree_of(0, 1000);

    for (unsigned i = 0; i < 1000; i++) {
        struct blob_key key = numbered(i);

        first_seen_ask(seen, &key, 1800000000000000000 + i);
    }
    assert_int_equal(first_seen_save(seen, tree), 0);
    first_seen_close(seen);
    seen = open_in(*state);
    for (unsigned i = 0; i < 1000; i++) {
        struct blob_key key = numbered(i);

        assert_true(first_seen_ask(seen, &key, 5) == 1800000000000000000 + i);
    }
    first_seen_close(seen);
    tree_unref(tree);
}

static void what_is_not_listed_is_forgotten(void **state)
{
    struct place *place = *state;
    struct first_seen *seen = open_in(place);
    struct tree *tree = tree_of(1, 1);
    struct blob_key gone = numbered(0), listed = numbered(1);
    char *text, expected[128], key[BLOB_KEY_TEXT_SIZE];

    first_seen_ask(seen, &gone, 7);
    first_seen_ask(seen, &listed, 8);
    assert_int_equal(first_seen_save(seen, tree), 0);
    blob_key_format(&listed, key);
    snprintf(expected, sizeof(expected), "%s 8\n", key);
    text = file_read(place->dir, "first_seen", NULL);
    assert_string_equal(text, expected);
    assert_int_equal(first_seen_ask(seen, &gone, 9), 9);
    assert_int_equal(first_seen_ask(seen, &listed, 9), 8);
    free(text);
    first_seen_close(seen);
    tree_unref(tree);
}

static void it_is_written_only_when_changed(void **state)
{
    struct place *place = *state;
    struct first_seen *seen = open_in(place);
    struct tree *tree = tree_of(0, 2);
    struct blob_key key = numbered(0);

    assert_int_equal(first_seen_save(seen, tree), 0);
    assert_int_equal(faccessat(place->fd, "first_seen", F_OK, 0), -1);
    first_seen_ask(seen, &key, 7);
    assert_int_equal(first_seen_save(seen, tree), 0);
    assert_int_equal(unlinkat(place->fd, "first_seen", 0), 0);
    first_seen_ask(seen, &key, 9);
    assert_int_equal(first_seen_save(seen, tree), 0);
    assert_int_equal(faccessat(place->fd, "first_seen", F_OK, 0), -1);
    key = numbered(1);
    first_seen_ask(seen, &key, 9);
    assert_int_equal(first_seen_save(seen, tree), 0);
    assert_int_equal(faccessat(place->fd, "first_seen", F_OK, 0), 0);
    assert_int_equal(faccessat(place->fd, "first_seen.new", F_OK, 0), -1);
    first_seen_close(seen);
    tree_unref(tree);
}

static void damage_costs_only_what_is_damaged(void **state)
{
    struct place *place = *state;
    struct first_seen *seen;
    struct blob_key good = numbered(1), cut = numbered(2);
    char text[1024], key[BLOB_KEY_TEXT_SIZE], cut_key[BLOB_KEY_TEXT_SIZE];
    int size;

    blob_key_format(&good, key);
    blob_key_format(&cut, cut_key);
    size = snprintf(text, sizeof(text),
                    "\n\nhello\nmd5-xyz-5 1\n%s -5\n%s 99999999999999999999x\n%s\n%s 12\n%s 34",
                    cut_key, cut_key, cut_key, key, cut_key);
    file_write(place->dir, "first_seen", text, (size_t)size);
    seen = open_in(place);
    assert_int_equal(first_seen_ask(seen, &good, 100), 12);
    assert_int_equal(first_seen_ask(seen, &cut, 100), 100); /* its line has no end */
    first_seen_close(seen);
}

static void what_can_not_be_read_is_empty(void **state)
{
    struct place *place = *state;
    struct blob_key key = numbered(1);
    struct first_seen *seen;

    assert_int_equal(mkdirat(place->fd, "first_seen", 0700), 0);
    seen = open_in(place);
    assert_int_equal(first_seen_ask(seen, &key, 100), 100);
    first_seen_close(seen);
    assert_int_equal(unlinkat(place->fd, "first_seen", AT_REMOVEDIR), 0);
    assert_int_equal(mkfifoat(place->fd, "first_seen", 0600), 0);
    seen = open_in(place); /* does not wait for a writer */
    assert_int_equal(first_seen_ask(seen, &key, 100), 100);
    first_seen_close(seen);
}

static void a_failed_save_can_be_repeated(void **state)
{
    struct place *place = *state;
    struct first_seen *seen = open_in(place);
    struct tree *tree = tree_of(1, 1);
    struct blob_key key = numbered(1);

    first_seen_ask(seen, &key, 100);
    assert_int_equal(mkdirat(place->fd, "first_seen", 0700), 0);
    assert_true(first_seen_save(seen, tree) < 0);
    assert_int_equal(faccessat(place->fd, "first_seen.new", F_OK, 0), -1);
    assert_int_equal(unlinkat(place->fd, "first_seen", AT_REMOVEDIR), 0);
    assert_int_equal(first_seen_save(seen, tree), 0);
    assert_int_equal(faccessat(place->fd, "first_seen", F_OK, 0), 0);
    first_seen_close(seen);
    tree_unref(tree);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_first_sight_counts, place_enter, place_leave),
        cmocka_unit_test_setup_teardown(it_outlives_the_process, place_enter, place_leave),
        cmocka_unit_test_setup_teardown(what_is_not_listed_is_forgotten, place_enter, place_leave),
        cmocka_unit_test_setup_teardown(it_is_written_only_when_changed, place_enter, place_leave),
        cmocka_unit_test_setup_teardown(damage_costs_only_what_is_damaged, place_enter,
                                        place_leave),
        cmocka_unit_test_setup_teardown(what_can_not_be_read_is_empty, place_enter, place_leave),
        cmocka_unit_test_setup_teardown(a_failed_save_can_be_repeated, place_enter, place_leave),
    };

    return cmocka_run_group_tests_name("first_seen", tests, NULL, NULL);
}
