/* SPDX-License-Identifier: MIT */
/* test_watch_view.c - the screen of `status --watch`, at any size and of any document. */
#include "tests/unit/cli/fixture.h"

#include "fs/cli/format.h"
#include "fs/cli/watch_view.h"

#define BUSY                                                                                       \
    "{\"state\":\"degraded\",\"source\":\"https://agnes.example.com\","                            \
    "\"mountpoint\":\"/home/eva/agnes\",\"uptime_seconds\":11100,\"generation\":7,"                \
    "\"last_refresh\":\"2026-07-01T12:00:00Z\",\"age_seconds\":42,\"refreshing\":false,"           \
    "\"error\":null,\"files\":500,\"bytes\":6100000000,\"resident_files\":412,"                    \
    "\"resident_bytes\":4800000000,"                                                               \
    "\"cache\":{\"used\":4800000000,\"size\":20000000000,\"disk_free\":81000000000},"              \
    "\"transfers\":{\"running\":2,\"waiting\":20,\"bytes\":5,"                                     \
    "\"files\":[{\"path\":\"data/sales/orders.parquet\",\"size\":930000000,"                       \
    "\"bytes\":412000000},{\"path\":\"data/sales/prices.parquet\",\"size\":10,\"bytes\":0}]},"     \
    "\"programs\":[{\"pid\":5120,\"name\":\"duckdb\",\"waiting\":1,\"reads\":9,"                   \
    "\"bytes\":1100000000,\"path\":\"data/sales/orders.parquet\"},"                                \
    "{\"pid\":0,\"name\":null,\"waiting\":0,\"reads\":9,\"bytes\":96,"                             \
    "\"path\":\"data/\\u8868\\u001b[2J.parquet\"}],"                                               \
    "\"problems\":[{\"path\":\"data/finance/ledger.parquet\",\"error\":\"md5 mismatch\"},"         \
    "{\"path\":\"data/finance/b.parquet\",\"error\":\"gone\"},"                                    \
    "{\"path\":\"data/finance/c.parquet\",\"error\":\"gone\"}]}"

static struct json *parsed(const char *document)
{
    const struct json_limits limits = {.bytes = 1 << 20, .depth = 8};
    struct json_error error;
    struct json *root = NULL;

    assert_int_equal(json_parse(document, strlen(document), &limits, &root, &error), 0);
    return root;
}

static char *draw(const char *document, size_t columns, size_t rows, bool colours,
                  const char *notice)
{
    const struct watch_view view = {columns, rows, colours, 38e6, notice};
    struct json *root = parsed(document);
    char *text = NULL;
    size_t size;
    FILE *file = open_memstream(&text, &size);

    watch_draw(root, &view, file);
    fclose(file);
    json_free(root);
    return text;
}

static void test_wide(void **state)
{
    char *text = draw(BUSY, 80, 24, false, NULL);

    assert_string_equal(
        text, "degraded  /home/eva/agnes  up 3 h 5 min  https://agnes.example.com\n"
              "  generation  7, confirmed 42 s ago\n"
              "  cache       4.8 GB of 20 GB; disk free 81 GB\n"
              "  here        [###############     ]  79 %  412 of 500 files  4.8 GB of 6.1 GB\n"
              "  transfers   2 running, 20 waiting  38 MB/s  eta 34 s\n"
              "  coming      [####      ]  44 % of 930 MB  duckdb[5120] <- data/sales/orders.pa\n"
              "              [          ]   0 % of 10 B  data/sales/prices.parquet\n"
              "  programs     1.1 GB  duckdb[5120], waiting  data/sales/orders.parquet\n"
              "                 96 B  ?[0]  data/\xe8\xa1\xa8\\x1b[2J.parquet\n"
              "  problems    data/finance/ledger.parquet: md5 mismatch\n"
              "              data/finance/b.parquet: gone\n"
              "              data/finance/c.parquet: gone\n"
              "  hint        agnesfs refresh /home/eva/agnes tries them again\n"
              "\n\n\n\n\n\n\n\n\n\n"
              "q: end");
    free(text);
}

static void test_small(void **state)
{
    char *text = draw(BUSY, 40, 10, false, "process 7 does not answer");

    assert_string_equal(text, "degraded  /home/eva/agnes  up 3 h 5 min \n"
                              "  generation  7, confirmed 42 s ago\n"
                              "  cache       4.8 GB of 20 GB; disk free\n"
                              "  here        [#######   ]  79 %\n"
                              "  transfers   2 running, 20 waiting  38 \n"
                              "  coming       44 % of 930 MB  duckdb[51\n"
                              "  programs     1.1 GB  duckdb[5120], wai\n"
                              "  problems    data/finance/ledger.parque\n"
                              "  hint        agnesfs refresh /home/eva/\n"
                              "process 7 does not answer");
    free(text);
}

static void test_a_failed_refresh_comes_with_its_hint(void **state)
{
    char *text = draw("{\"state\":\"stale\",\"mountpoint\":\"/m\",\"error\":\"no route to host\"}",
                      80, 12, true, NULL);

    assert_non_null(strstr(text, "\033[31mstale  /m"));
    assert_non_null(strstr(text,
                           "\033[31m  error       no route to host\033[0m\n"
                           "  hint        what was here stays; agnesfs refresh /m tries again"));
    free(text);
    text = draw("{\"state\":\"stale\",\"mountpoint\":\"/m\",\"error\":\"no\"}", 80, 12, false,
                NULL);
    assert_null(strchr(text, '\033'));
    free(text);
}

/* Whatever the window: so many rows exactly, none of them too wide. */
static void test_every_size(void **state)
{
    for (size_t rows = 1; rows < 30; rows++)
        for (size_t columns = 1; columns < 100; columns += 3) {
            char *text = draw(BUSY, columns, rows, false, NULL);
            size_t count = 0;

            for (char *line = text; line; count++) {
                char *end = strchr(line, '\n');

                if (end)
                    *end = '\0';
                assert_true(format_width(line) <= columns);
                line = end ? end + 1 : NULL;
            }
            assert_int_equal(count, rows);
            free(text);
        }
}

static void test_nothing_known(void **state)
{
    char *text = draw("{}", 80, 24, true, NULL);

    assert_non_null(strstr(text, "generation  0, not confirmed yet"));
    free(text);
}

static void test_line(void **state)
{
    struct json *root = parsed(BUSY);
    char *text = NULL;
    size_t size;
    FILE *file = open_memstream(&text, &size);

    watch_line(root, 38e6, file);
    fclose(file);
    assert_string_equal(text, "degraded  generation 7, 42 s old  4.8 GB of 6.1 GB here  38 MB/s, "
                              "2 running, 20 waiting  3 problems  <- duckdb[5120]");
    json_free(root);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wide),
        cmocka_unit_test(test_small),
        cmocka_unit_test(test_a_failed_refresh_comes_with_its_hint),
        cmocka_unit_test(test_every_size),
        cmocka_unit_test(test_nothing_known),
        cmocka_unit_test(test_line),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
