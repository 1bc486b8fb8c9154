/* SPDX-License-Identifier: MIT */
/* test_progress.c - one line, whatever the window's width. */
#include "tests/unit/cli/fixture.h"

#include "fs/cli/format.h"
#include "fs/cli/progress.h"

static void expect(const struct progress_state *state, double rate, bool bar, size_t columns,
                   const char *expected)
{
    char line[256];

    progress_line(state, rate, bar, columns, line, sizeof(line));
    assert_string_equal(line, expected);
}

static void test_line_loses_the_least_telling_first(void **state)
{
    const struct progress_state half = {NULL, 40, 20, 2000000000, 1000000000};
    const double rate = 50e6;

    expect(&half, rate, true, 81,
           "[##########          ]  50 %  20 of 40 files  1.0 GB of 2.0 GB  50 MB/s  eta 20 s");
    expect(&half, rate, true, 79,
           "[#####     ]  50 %  20 of 40 files  1.0 GB of 2.0 GB  50 MB/s  eta 20 s");
    expect(&half, rate, true, 70,
           "[##########          ]  50 %  1.0 GB of 2.0 GB  50 MB/s  eta 20 s");
    expect(&half, rate, true, 60, "[#####     ]  50 %  1.0 GB of 2.0 GB  50 MB/s  eta 20 s");
    expect(&half, rate, true, 39, "[#####     ]  50 %  50 MB/s  eta 20 s");
    expect(&half, rate, true, 30, " 50 %  50 MB/s  eta 20 s");
    expect(&half, rate, true, 10, " 50 %");
    expect(&half, rate, true, 2, " 5");
    expect(&half, rate, false, 200, " 50 %  20 of 40 files  1.0 GB of 2.0 GB  50 MB/s  eta 20 s");
}

static void test_line_without_totals(void **state)
{
    expect(&(struct progress_state){.idle = "asking for the manifest"}, 0, true, 79,
           "asking for the manifest");
    expect(&(struct progress_state){.idle = "asking for the manifest"}, 0, true, 6, "asking");
    expect(&(struct progress_state){.files_total = 4, .files_done = 1}, 0, true, 79,
           "[#####               ]  25 %  1 of 4 files  0 B of 0 B");
    expect(&(struct progress_state){.bytes_total = 10, .bytes_done = 20}, 0, true, 79,
           "[####################] 100 %  20 B of 10 B");
}

static void test_no_window_is_too_narrow(void **state)
{
    const struct progress_state vast = {NULL, UINT64_MAX, UINT64_MAX / 2, UINT64_MAX,
                                        UINT64_MAX / 3};
    char line[256];

    for (size_t columns = 1; columns < 130; columns++) {
        progress_line(&vast, 1.0, true, columns, line, sizeof(line));
        assert_true(strlen(line) <= columns);
    }
}

static void test_rate_is_smooth(void **state)
{
    struct progress_rate rate = {0};

    progress_rate_look(&rate, 10, 0);
    assert_true(rate.rate == 0);
    progress_rate_look(&rate, 11, 1000);
    assert_true(rate.rate == 1000);
    progress_rate_look(&rate, 12, 1000);
    assert_true(rate.rate == 800);
    progress_rate_look(&rate, 13, 500); /* another fill has begun */
    assert_true(rate.rate == 800 && rate.bytes == 500);
}

static void test_columns_of_wide_and_combining_characters(void **state)
{
    size_t columns;

    assert_int_equal(format_width("plain"), 5);
    assert_int_equal(format_width("r\xc3\xa9sum\xc3\xa9"), 6);
    assert_int_equal(format_width("e\xcc\x81"), 1);                /* e, combining acute */
    assert_int_equal(format_width("\xe8\xa1\xa8\xe3\x81\xae"), 4); /* two of CJK */
    assert_int_equal(format_width("\xf0\x9f\x93\x88"), 2);         /* a chart */
    assert_int_equal(format_width("\xff\xfe"), 2);                 /* no UTF-8 */
    assert_int_equal(format_cut("\xe8\xa1\xa8\xe3\x81\xae", 3, &columns), 3); /* no half ones */
    assert_int_equal(columns, 2);
    assert_int_equal(format_cut("abc", 0, &columns), 0);
    assert_int_equal(format_cut("abc", 9, NULL), 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_line_loses_the_least_telling_first),
        cmocka_unit_test(test_line_without_totals),
        cmocka_unit_test(test_no_window_is_too_narrow),
        cmocka_unit_test(test_rate_is_smooth),
        cmocka_unit_test(test_columns_of_wide_and_combining_characters),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
