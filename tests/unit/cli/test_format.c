/* SPDX-License-Identifier: MIT */
/* test_format.c - what people read: short, exact enough, and unable to drive a terminal. */
#include "tests/unit/cli/fixture.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "fs/cli/format.h"

static void test_bytes(void **state)
{
    static const struct {
        uint64_t bytes;
        const char *text;
    } cases[] = {
        {0, "0 B"},
        {1, "1 B"},
        {999, "999 B"},
        {1000, "1.0 kB"},
        {9949, "9.9 kB"},
        {9950, "10 kB"},
        {999499, "999 kB"},
        {999500, "1.0 MB"},
        {1234567, "1.2 MB"},
        {UINT64_MAX, "18 EB"},
        {999999999, "1.0 GB"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[FORMAT_SIZE];

        format_bytes(cases[i].bytes, text);
        assert_string_equal(text, cases[i].text);
    }
}

static void test_duration(void **state)
{
    static const struct {
        uint64_t seconds;
        const char *text;
    } cases[] = {
        {0, "0 s"},    {59, "59 s"},         {60, "1 min"},  {3599, "59 min"},
        {3600, "1 h"}, {11100, "3 h 5 min"}, {86400, "1 d"}, {90000, "1 d 1 h"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[FORMAT_SIZE];

        format_duration(cases[i].seconds, text);
        assert_string_equal(text, cases[i].text);
    }
}

static void test_time_and_count(void **state)
{
    char text[FORMAT_SIZE];

    format_time(1782907200, text);
    assert_string_equal(text, "2026-07-01T12:00:00Z");
    for (time_t day = 0; day <= 2932896; day += 13) {
        time_t time = day * 86400 + day % 86400;
        char expected[FORMAT_SIZE];

        strftime(expected, sizeof(expected), "%Y-%m-%dT%H:%M:%SZ", gmtime(&time));
        format_time((uint64_t)time, text);
        assert_string_equal(text, expected);
    }
    format_time(UINT64_MAX, text);
    assert_string_equal(text, "");
    format_count(1, "table", "tables", text);
    assert_string_equal(text, "1 table");
    format_count(0, "table", "tables", text);
    assert_string_equal(text, "0 tables");
}

static void test_escaping(void **state)
{
    static const struct {
        const char *raw;
        const char *escaped;
    } cases[] = {
        {"plain", "plain"},
        {"pr\xc3\xa9sum\xc3\xa9 \xe2\x82\xac \xf0\x9f\x93\x81",
         "pr\xc3\xa9sum\xc3\xa9 \xe2\x82\xac \xf0\x9f\x93\x81"},
        {"a\nb", "a\\x0ab"},
        {"\033[2J", "\\x1b[2J"},
        {"\x7f", "\\x7f"},
        {"\xc2\x9b"
         "2J",
         "\\xc2\\x9b2J"},                    /* C1: CSI in one character */
        {"\xff\xc3", "\\xff\\xc3"},          /* no UTF-8, cut short */
        {"\xc0\x8a", "\\xc0\\x8a"},          /* overlong newline */
        {"\xed\xa0\x80", "\\xed\\xa0\\x80"}, /* surrogate */
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char *escaped = format_escaped(cases[i].raw);

        assert_string_equal(escaped, cases[i].escaped);
        free(escaped);
    }
}

static void test_table(void **state)
{
    static const char *const titles[] = {"NAME", ">SIZE", "STATE"};
    static const char *const first[] = {"r\xc3\xa9sum\xc3\xa9", "5", "cold"};
    static const char *const second[] = {"a\tb", "1000", ""};
    struct table *table = table_new(titles, 3);
    char *text = NULL;
    size_t size;
    FILE *file = open_memstream(&text, &size);

    assert_int_equal(table_add(table, first), 0);
    assert_int_equal(table_add(table, second), 0);
    table_print(table, file);
    fclose(file);
    assert_string_equal(text, "NAME    SIZE  STATE\n"
                              "r\xc3\xa9sum\xc3\xa9     5  cold\n"
                              "a\\x09b  1000\n");
    free(text);
    table_free(table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes),    cmocka_unit_test(test_duration),
        cmocka_unit_test(test_escaping), cmocka_unit_test(test_time_and_count),
        cmocka_unit_test(test_table),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
