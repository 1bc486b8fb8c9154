/* SPDX-License-Identifier: MIT */
/* Labels to names: what goes through, what folds, what is refused; and what may be printed. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "sync/names.h"

static void expect_name(const char *label, const char *suffix, const char *expected)
{
    char name[NAME_SIZE] = "untouched";
    int r = name_from_label(label, suffix, name);

    if (r < 0)
        fail_msg("\"%s\": %s instead of \"%s\"", label, strerror(-r), expected);
    assert_string_equal(name, expected);
}

static void expect_no_name(const char *label, const char *suffix, int error)
{
    char name[NAME_SIZE] = "untouched";
    int r = name_from_label(label, suffix, name);

    if (r != error)
        fail_msg("\"%s\": %d instead of %d", label, r, error);
    assert_string_equal(name, "untouched");
}

static void safe_labels_are_their_own_names(void **state)
{
    static const char *const labels[] = {"orders",          "a",  "0",  "_",     "__x", "_hidden",
                                         "a.b-c_d",         "x-", "x.", "v1..2", "CON", "Orders",
                                         "in.c-main.events"};

    for (size_t i = 0; i < sizeof(labels) / sizeof(*labels); i++)
        expect_name(labels[i], "", labels[i]);
}

static void other_labels_fold(void **state)
{
    static const char *const cases[][2] = {
        {"Agnes audit log", "Agnes_audit_log"},
        {"R&D notes", "R_D_notes"},
        {"  spaced  out  ", "spaced_out"},
        {"(weird)!! name??", "weird_name"},
        {"a/b", "a_b"},
        {"../../etc/passwd", "etc_passwd"},
        {"..", NULL},
        {"a/../b", "a_.._b"},
        {"/etc", "etc"},
        {"-rf", "rf"},
        {"--", NULL},
        {".hidden", "hidden"},
        {"...x", "x"},
        {"abc\n", "abc"},
        {"a\nb", "a_b"},
        {"a\tb\rc", "a_b_c"},
        {"a b_", "a_b"},
        {"a _ b", "a___b"},
        {"a b.....", "a_b"},
        {"Objedn\xc3\xa1vky", "Objedn_vky"},
        {"\xc5\xbd", NULL},
        {"\xe6\xb3\xa8\xe6\x96\x87", NULL},
        {"x\xe2\x80\xaey", "x_y"},
        {"C:\\temp", "C_temp"},
        {"a=b", "a_b"},
        {"month=2026-06", "month_2026-06"},
        {"", NULL},
        {".", NULL},
        {"....", NULL},
        {"-._", NULL},
        {"/", NULL},
        {"\x7f\x01", NULL},
        {"~root", "root"},
        {"$(id)", "id"},
        {"a;b|c", "a_b_c"},
        {"'quoted'", "quoted"},
        {"%2e%2e", "2e_2e"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        if (cases[i][1])
            expect_name(cases[i][0], "", cases[i][1]);
        else
            expect_no_name(cases[i][0], "", -EINVAL);
    }
}

static void length_counts_the_suffix(void **state)
{
    char label[70000];
    char expected[NAME_SIZE];

    memset(label, 'x', sizeof(label));
    label[255] = '\0';
    expect_name(label, "", label);
    expect_no_name(label, ".parquet", -ENAMETOOLONG);
    label[255 - 8] = '\0';
    memcpy(expected, label, 247);
    memcpy(expected + 247, ".parquet", sizeof(".parquet"));
    expect_name(label, ".parquet", expected);
    label[255 - 8] = label[255] = 'x';
    label[300] = '\0';
    expect_no_name(label, "", -ENAMETOOLONG);

    /* What folds away does not count: only what is left must fit. */
    memset(label, ' ', sizeof(label));
    label[0] = 'a';
    label[sizeof(label) - 2] = 'b';
    label[sizeof(label) - 1] = '\0';
    expect_name(label, "", "a_b");
}

static void some_slugs_are_ours(void **state)
{
    assert_true(name_is_reserved_slug("_shared"));
    assert_true(name_is_reserved_slug("_direct"));
    assert_true(name_is_reserved_slug("_tables"));
    assert_true(name_is_reserved_slug("README.md"));
    assert_false(name_is_reserved_slug("shared"));
    assert_false(name_is_reserved_slug("_directs"));
    assert_false(name_is_reserved_slug("readme"));
}

static void part_paths(void **state)
{
    static const char *const good[] = {"data.parquet",
                                       "month=2026-06/data.parquet",
                                       "a/b/c/d/e/f/g/h",
                                       "2025_11.parquet",
                                       "_x",
                                       "a=b=c",
                                       "a..b"};
    static const char *const bad[] = {"",         "/",    "/a",    "a/",   "a//b",
                                      ".",        "..",   "../a",  "a/..", "a/../b",
                                      "a/.b",     "-a",   "a/-b",  "=a",   "a b",
                                      "a\\b",     "a\n",  "a/b\n", "a:b",  "a/b/c/d/e/f/g/h/i",
                                      "\xc3\xa1", "a%2f", "a\x01", "./a"};
    char path[2048];

    for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++)
        assert_true(name_is_part_path(good[i]));
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        if (name_is_part_path(bad[i]))
            fail_msg("\"%s\" passed", bad[i]);

    memset(path, 'x', sizeof(path));
    path[255] = '\0';
    assert_true(name_is_part_path(path));
    path[255] = 'x';
    path[256] = '\0';
    assert_false(name_is_part_path(path));
    path[256] = 'x';
    for (size_t i = 200; i < 1024; i += 200)
        path[i] = '/';
    path[1024] = '\0';
    assert_true(name_is_part_path(path));
    path[1024] = 'x';
    path[1025] = '\0';
    assert_false(name_is_part_path(path));
}

static void expect_printable(const char *label, const char *expected)
{
    char text[NAME_PRINTABLE_SIZE];

    name_printable(label, text);
    assert_string_equal(text, expected);
}

static void labels_can_be_printed(void **state)
{
    char label[300], text[NAME_PRINTABLE_SIZE];

    expect_printable("", "");
    expect_printable("orders 2026", "orders 2026");
    expect_printable("Objedn\xc3\xa1vky \xe6\xb3\xa8 \xf0\x9f\x90\x98",
                     "Objedn\xc3\xa1vky \xe6\xb3\xa8 \xf0\x9f\x90\x98");
    expect_printable("a\nb\x1b[2J\x7f", "a\\x0ab\\x1b[2J\\x7f");
    expect_printable("\xc2\x85\xc2\x9b", "\\x85\\x9b");
    expect_printable("x\xe2\x80\xaey\xe2\x80\x8bz\xe2\x81\xa6", "x\\u202ey\\u200bz\\u2066");
    expect_printable("\xe2\x80\x8f\xe2\x81\xa9\xef\xbb\xbf", "\\u200f\\u2069\\ufeff");
    expect_printable("a\\x0ab", "a\\\\x0ab");

    memset(label, 'y', sizeof(label));
    label[200] = '\0';
    expect_printable(label, label);
    label[200] = 'y';
    label[201] = '\0';
    name_printable(label, text);
    assert_int_equal(strlen(text), 200);
    assert_string_equal(text + 197, "...");
    memcpy(label + 196, "\xe6\xb3\xa8\xe6\xb3\xa8", 7); /* not cut through a character */
    name_printable(label, text);
    assert_int_equal(strlen(text), 199);
    assert_string_equal(text + 195, "y...");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(safe_labels_are_their_own_names),
        cmocka_unit_test(other_labels_fold),
        cmocka_unit_test(length_counts_the_suffix),
        cmocka_unit_test(some_slugs_are_ours),
        cmocka_unit_test(part_paths),
        cmocka_unit_test(labels_can_be_printed),
    };

    return cmocka_run_group_tests_name("names", tests, NULL, NULL);
}
