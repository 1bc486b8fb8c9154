/* SPDX-License-Identifier: MIT */
/* What a glob matches, that no pattern takes long, and what a filter leaves of a tree. */
#include <errno.h>
#include <fnmatch.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "cache/scoped.h"
#include "sync/filter.h"
#include "sync/glob.h"

static void a_glob_is_what_fnmatch_says(void **state)
{
    static const char *const patterns[] = {
        "",      "*",      "**",          "a",     "?",        "a*",    "*a",
        "*a*b*", "[ab]",   "[!ab]*",      "[^a]*", "[a-c]*",   "[]a]*", "[!]]",
        "[a-]*", "\\*",    "\\a",         "[\\]]", "data/*/a", "*/a",   "*.parquet",
        "a?c*d", "*ab*ab", "[a-c/]*[!/]", "[x-a]", "a[",       "[",
    };
    static const char *const texts[] = {"",          "a",        "b",      "ab", "abc",
                                        "abcd",      "aab",      "*",      "]",  "[",
                                        "-",         "data/b/a", "a/a",    ".a", "a[",
                                        "x.parquet", "abxab",    "ababab", "/",  "c/b"};

    (void)state;
    for (size_t i = 0; i < sizeof(patterns) / sizeof(*patterns); i++)
        for (size_t j = 0; j < sizeof(texts) / sizeof(*texts); j++)
            if (glob_match(patterns[i], texts[j]) != (fnmatch(patterns[i], texts[j], 0) == 0))
                fail_msg("\"%s\" and \"%s\": not as fnmatch", patterns[i], texts[j]);
}

static double seconds_of(const char *pattern, const char *text)
{
    struct timespec begin, end;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &begin);
    assert_false(glob_match(pattern, text));
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &end);
    return (double)(end.tv_sec - begin.tv_sec) + (double)(end.tv_nsec - begin.tv_nsec) / 1e9;
}

/* With fnmatch the first takes longer than anybody would wait. */
static void no_pattern_takes_long(void **state)
{
    static const char *const units[] = {"*a", "*[!b]", "*?", "*\\a"};
    char pattern[FILTER_GLOB_MAX + 1];
    char text[4096];

    (void)state;
    memset(text, 'a', sizeof(text));
    text[sizeof(text) - 1] = '\0';
    for (size_t i = 0; i < sizeof(units) / sizeof(*units); i++) {
        size_t size = 0;

        while (size + strlen(units[i]) < FILTER_GLOB_MAX)
            size += (size_t)sprintf(pattern + size, "%s", units[i]);
        pattern[size] = 'b';
        pattern[size + 1] = '\0';
        assert_true(seconds_of(pattern, text) < 1);
    }
}

/* --- lists --- */

static const struct tree_group sales = {
    .section = TREE_PACKAGES, .slug = "sales", .folder = "sales", .name = "", .description = ""};

static bool takes(const char *only, const char *except, const char *name, const char *path)
{
    const struct tree_row row = {.name = name, .path = path};
    scoped(filter_freep) struct filter *filter = NULL;

    assert_int_equal(filter_new(only, except, &filter), 0);
    return !filter_reason(filter, &sales, &row);
}

static void lists(void **state)
{
    static const char path[] = "data/sales/orders.parquet";

    (void)state;
    assert_true(takes(NULL, NULL, "orders", path));
    assert_true(takes("", "", "orders", path));
    assert_true(takes("sales/*", NULL, "orders", path));
    assert_true(takes("x:data/sales/*", NULL, "orders", path));
    assert_false(takes("x:y", NULL, "orders", path));
    assert_false(takes(NULL, "x:sales/orders", "orders", path));
    assert_false(takes("sales/*", "*/orders", "orders", path));
    assert_true(takes("sales/a\\:b", NULL, "a:b", NULL));
    assert_false(takes("sales/a\\:b", NULL, "a", NULL));
}

static void what_is_no_list(void **state)
{
    struct filter *filter = NULL;
    char text[2 * FILTER_GLOB_MAX];

    (void)state;
    assert_int_equal(filter_new(":", NULL, &filter), -EINVAL);
    assert_int_equal(filter_new("a::b", NULL, &filter), -EINVAL);
    assert_int_equal(filter_new(NULL, ":a", &filter), -EINVAL);
    assert_int_equal(filter_new("a:", NULL, &filter), -EINVAL);
    memset(text, 'a', sizeof(text));
    text[FILTER_GLOB_MAX + 1] = '\0';
    assert_int_equal(filter_new(text, NULL, &filter), -EINVAL);
    text[FILTER_GLOB_MAX] = '\0';
    assert_int_equal(filter_new(text, NULL, &filter), 0);
    filter_free(filter);
    for (size_t i = 0; i <= 2 * FILTER_GLOBS_MAX; i++)
        text[i] = i % 2 ? ':' : 'a';
    text[2 * FILTER_GLOBS_MAX + 1] = '\0';
    assert_int_equal(filter_new(text, NULL, &filter), -EINVAL);
    text[2 * FILTER_GLOBS_MAX - 1] = '\0';
    assert_int_equal(filter_new(text, NULL, &filter), 0);
    filter_free(filter);
    assert_null((filter_new(NULL, NULL, &filter), filter));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_glob_is_what_fnmatch_says),
        cmocka_unit_test(no_pattern_takes_long),
        cmocka_unit_test(lists),
        cmocka_unit_test(what_is_no_list),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
