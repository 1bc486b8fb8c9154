/* SPDX-License-Identifier: MIT */
/* Words that are not ours stay words: in Markdown, in comments, in SQL. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "sync/quote.h"

static char written[8192];

static FILE *begin(void)
{
    FILE *out = fmemopen(written, sizeof(written), "w");

    assert_non_null(out);
    written[0] = '\0'; /* closing adds one only if something was written */
    return out;
}

static const char *end(FILE *out)
{
    assert_int_equal(fclose(out), 0);
    return written;
}

static const char *markdown(const char *text, size_t limit)
{
    FILE *out = begin();

    quote_markdown(out, text, limit);
    return end(out);
}

static const char *block(const char *text)
{
    FILE *out = begin();

    quote_markdown_block(out, text);
    return end(out);
}

static const char *path(const char *text)
{
    FILE *out = begin();

    quote_markdown_path(out, text);
    return end(out);
}

static const char *line(const char *text)
{
    FILE *out = begin();

    quote_line(out, text);
    return end(out);
}

static const char *sql_name(const char *text)
{
    FILE *out = begin();

    quote_sql_name(out, text);
    return end(out);
}

static const char *sql_path(const char *text, const char *pattern)
{
    FILE *out = begin();

    quote_sql_path(out, text, pattern);
    return end(out);
}

static void common_names_stay_readable(void **state)
{
    static const char *const names[] = {
        "orders",
        "in.c-main.order_items",
        "Agnes audit log",
        "2026-08-22T10:00:00+00:00",
        "Umsätze",
        "注文",
        "a, b; c (d) #1 + 2 = 3",
        "v1.2",
    };

    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
        assert_string_equal(markdown(names[i], 200), names[i]);
}

static void markup_is_text(void **state)
{
    static const char *const cases[][2] = {
        {"a|b", "a\\|b"},
        {"`rm`", "\\`rm\\`"},
        {"<script>x</script>", "\\<script\\>x\\</script\\>"},
        {"<!-- x -->", "\\<!-- x --\\>"},
        {"[here](http://evil)", "\\[here\\](http\\://evil)"},
        {"![i](//evil)", "!\\[i\\](//evil)"},
        {"see https://evil.example", "see https\\://evil.example"},
        {"www.evil.example", "www\\.evil.example"},
        {"me@evil.example", "me\\@evil.example"},
        {"**b** _i_ __u__ ~~s~~", "\\*\\*b\\*\\* \\_i\\_ \\_\\_u\\_\\_ \\~\\~s\\~\\~"},
        {"&lt;b&gt;", "\\&lt;b\\&gt;"},
        {"$x$", "\\$x\\$"},
        {"# title", "\\# title"},
        {"- item", "\\- item"},
        {"+ item", "\\+ item"},
        {"=====", "\\====="},
        {"1. one", "1\\. one"},
        {"12) two", "12\\) two"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
        assert_string_equal(markdown(cases[i][0], 200), cases[i][1]);
}

static void one_line_stays_one_line(void **state)
{
    assert_string_equal(markdown("a\n# b\r\n\tc", 200), "a # b   c"); /* no line begins there */
    assert_string_equal(markdown("\n\n  a", 200), "a");
    assert_string_equal(markdown("", 200), "");
    assert_string_equal(markdown("\n", 200), "");
}

static void what_can_not_be_seen_is_shown(void **state)
{
    assert_string_equal(markdown("a\x1b[2Jb", 200), "a\\\\x1b\\[2Jb");
    assert_string_equal(markdown("x\u202ey\u2066z\u2069", 200), "x\\\\u202ey\\\\u2066z\\\\u2069");
    assert_string_equal(markdown("a\u2028b\u200bc\ufeff", 200), "a\\\\u2028b\\\\u200bc\\\\ufeff");
    assert_string_equal(markdown("\U000e0041\U000e0042", 200), "\\\\ue0041\\\\ue0042");
    assert_string_equal(markdown("a\\u202e", 200), "a\\\\\\\\u202e"); /* no escape, and it shows */
    assert_string_equal(line("a\nDROP TABLE x; \u202e\\"), "a\\x0aDROP TABLE x; \\u202e\\\\");
}

static void long_text_is_cut_between_characters(void **state)
{
    assert_string_equal(markdown("abcdef", 6), "abcdef");
    assert_string_equal(markdown("abcdefg", 6), "abcdef...");
    assert_string_equal(markdown("ééé", 3), "éé...");
}

static void block_keeps_lines_and_nothing_else(void **state)
{
    assert_string_equal(block("one\ntwo"), "> one\n> two\n");
    assert_string_equal(block("one\r\n\r\n    two\n"), "> one \n>\n> two\n");
    assert_string_equal(block("# h\n- i\n---\n1. x\n> q\n```\n~~~\n| a |\n"),
                        "> \\# h\n> \\- i\n> \\---\n> 1\\. x\n> \\> q\n> \\`\\`\\`\n> \\~\\~\\~\n"
                        "> \\| a \\|\n");
    assert_string_equal(block("a\vb\fc"), "> a\\\\x0bb\\\\x0cc\n");
    assert_string_equal(block(""), "");
}

static void path_is_code_only_if_it_can_not_end_it(void **state)
{
    assert_string_equal(path("data/sales/orders.parquet"), "`data/sales/orders.parquet`");
    assert_string_equal(path("clicks/month=2026-06/"), "`clicks/month=2026-06/`");
    assert_string_equal(path("a`b|c"), "a\\`b\\|c");
    assert_string_equal(path("a b"), "a b");
    assert_string_equal(path(""), "");
}

static void sql_ends_where_we_end_it(void **state)
{
    assert_string_equal(sql_name("orders"), "\"orders\"");
    assert_string_equal(sql_name("a\"; DROP TABLE b; --"), "\"a\"\"; DROP TABLE b; --\"");
    assert_string_equal(sql_path("/data/it's", ""), "'/data/it''s'");
    assert_string_equal(sql_path("/a*b?c[d]e", "/**/*.parquet"), "'/a[*]b[?]c[[]d]e/**/*.parquet'");
    assert_string_equal(sql_path("a", "'*"), "'a''*'");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(common_names_stay_readable),
        cmocka_unit_test(markup_is_text),
        cmocka_unit_test(one_line_stays_one_line),
        cmocka_unit_test(what_can_not_be_seen_is_shown),
        cmocka_unit_test(long_text_is_cut_between_characters),
        cmocka_unit_test(block_keeps_lines_and_nothing_else),
        cmocka_unit_test(path_is_code_only_if_it_can_not_end_it),
        cmocka_unit_test(sql_ends_where_we_end_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
