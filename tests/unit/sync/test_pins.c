/* SPDX-License-Identifier: MIT */
/* test_pins.c - pins are kept on disk, and match as people name things. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "cache/scoped.h"
#include "sync/pins.h"
#include "tests/unit/support/tempdir.h"

static struct pins *open_in(const struct place *place)
{
    struct pins *pins = NULL;

    assert_int_equal(pins_open(place->fd, &pins), 0);
    return pins;
}

static void they_are_kept(void **state)
{
    const struct place *place = *state;
    struct pins *pins = open_in(place);
    scoped_free char *text = NULL;

    assert_int_equal(pins_count(pins), 0);
    assert_int_equal(pins_add(pins, "sales/*"), 0);
    assert_int_equal(pins_add(pins, "data/events/clicks"), 0);
    assert_int_equal(pins_add(pins, "sales/*"), -EEXIST);
    pins_close(pins);

    pins = open_in(place);
    assert_int_equal(pins_count(pins), 2);
    assert_string_equal(pins_glob(pins, 0), "sales/*");
    assert_int_equal(pins_remove(pins, "sales/*"), 0);
    assert_int_equal(pins_remove(pins, "sales/*"), -ENOENT);
    pins_close(pins);

    text = file_read(place->dir, "pins", NULL);
    assert_string_equal(text, "data/events/clicks\n");
    assert_null(file_read(place->dir, "pins.tmp", NULL));
}

static void what_is_no_glob_is_refused(void **state)
{
    struct pins *pins = open_in(*state);
    char longest[PIN_MAX + 2];

    memset(longest, 'x', PIN_MAX + 1);
    longest[PIN_MAX + 1] = '\0';
    assert_int_equal(pins_add(pins, ""), -EINVAL);
    assert_int_equal(pins_add(pins, "a\nb"), -EINVAL);
    assert_int_equal(pins_add(pins, longest), -EINVAL);
    longest[PIN_MAX] = '\0';
    assert_int_equal(pins_add(pins, longest), 0);
    pins_close(pins);
    pins = open_in(*state);
    assert_string_equal(pins_glob(pins, 0), longest);
    pins_close(pins);
}

static void there_is_a_limit(void **state)
{
    const struct place *place = *state;
    struct pins *pins = open_in(place);
    char glob[16];

    for (int i = 0; i < PINS_MAX; i++) {
        snprintf(glob, sizeof(glob), "g%d", i);
        assert_int_equal(pins_add(pins, glob), 0);
    }
    assert_int_equal(pins_add(pins, "one more"), -EFBIG);
    assert_int_equal(pins_count(pins), PINS_MAX);
    pins_close(pins);
}

static void what_is_no_file_of_ours_is_an_error_and_stays(void **state)
{
    const struct place *place = *state;
    scoped_free char *target = path_join(place->dir, "elsewhere");
    scoped_free char *path = path_join(place->dir, "pins");
    struct pins *pins = NULL;

    assert_int_equal(symlink(target, path), 0);
    assert_int_equal(pins_open(place->fd, &pins), -ELOOP);
    unlink(path);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_true(pins_open(place->fd, &pins) < 0);
    rmdir(path);
}

static void a_failed_save_changes_nothing(void **state)
{
    const struct place *place = *state;
    scoped_free char *path = path_join(place->dir, "pins");
    scoped_free char *inside = path_join(path, "x");
    struct pins *pins = open_in(place);

    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(mkdir(inside, 0700), 0);
    assert_true(pins_add(pins, "sales/*") < 0);
    assert_int_equal(pins_count(pins), 0);
    rmdir(inside);
    rmdir(path);
    assert_int_equal(pins_add(pins, "sales/*"), 0);
    assert_int_equal(mkdir(inside, 0700), -1);
    pins_close(pins);
}

/* --- matching --- */

static struct tree *some_tree(void)
{
    struct tree_builder *builder = NULL;
    const struct tree_group sales = {TREE_PACKAGES, "sales", "sales",
                                     "Sales",       "",      REQUIREMENT_UNKNOWN};
    const struct tree_group direct = {TREE_DIRECT, "", "_direct", "", "", REQUIREMENT_UNKNOWN};
    struct tree *tree = NULL;
    uint32_t group, row;

    assert_int_equal(tree_builder_new(1, &builder), 0);
    assert_int_equal(tree_builder_add_group(builder, &sales, &group), 0);
    assert_int_equal(
        tree_builder_add_row(builder,
                             &(struct tree_row){.group = group,
                                                .name = "Orders 2026",
                                                .path = "data/sales/Orders_2026.parquet"},
                             &row),
        0);
    assert_int_equal(tree_builder_add_row(
                         builder,
                         &(struct tree_row){.group = group, .name = "secret", .withheld = "remote"},
                         &row),
                     0);
    assert_int_equal(tree_builder_add_group(builder, &direct, &group), 0);
    assert_int_equal(tree_builder_add_row(builder,
                                          &(struct tree_row){.group = group,
                                                             .name = "prices",
                                                             .path = "data/_direct/prices.parquet"},
                                          &row),
                     0);
    assert_int_equal(tree_builder_freeze(builder, &tree), 0);
    return tree;
}

static const struct tree_row *row_named(const struct tree *tree, const char *name)
{
    for (uint32_t i = 0; i < tree_row_count(tree); i++)
        if (strcmp(tree_row(tree, i)->name, name) == 0)
            return tree_row(tree, i);
    fail_msg("no row %s", name);
    return NULL;
}

static const struct tree_group *group_of(const struct tree *tree, const struct tree_row *row)
{
    return tree_group(tree, row->group);
}

static void a_glob_matches_paths_and_names(void **state)
{
    scoped(tree_unrefp) struct tree *tree = some_tree();
    const struct tree_row *orders = row_named(tree, "Orders 2026");
    const struct tree_row *prices = row_named(tree, "prices");
    const struct tree_row *secret = row_named(tree, "secret");
    static const char *const good[] = {"data/sales/Orders_2026.parquet",
                                       "sales/Orders 2026",
                                       "sales/*",
                                       "*/Orders*",
                                       "*",
                                       "data/*"};
    static const char *const bad[] = {"sales",      "Orders 2026", "sales/orders 2026",
                                      "data/sales", "sales/[P]*",  ""};

    for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++)
        if (!pin_matches(good[i], group_of(tree, orders), orders))
            fail_msg("%s does not match", good[i]);
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        if (pin_matches(bad[i], group_of(tree, orders), orders))
            fail_msg("%s matches", bad[i]);
    assert_true(pin_matches("_direct/prices", group_of(tree, prices), prices));
    assert_true(pin_matches("sales/secret", group_of(tree, secret), secret));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(they_are_kept, place_enter, place_leave),
        cmocka_unit_test_setup_teardown(what_is_no_glob_is_refused, place_enter, place_leave),
        cmocka_unit_test_setup_teardown(there_is_a_limit, place_enter, place_leave),
        cmocka_unit_test_setup_teardown(what_is_no_file_of_ours_is_an_error_and_stays, place_enter,
                                        place_leave),
        cmocka_unit_test_setup_teardown(a_failed_save_changes_nothing, place_enter, place_leave),
        cmocka_unit_test(a_glob_matches_paths_and_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
