/* SPDX-License-Identifier: MIT */
/* test_transfer_answer.c - ranges: what is taken, what is not, before a byte of it came. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "sync/transfer_answer.h"

struct range {
    int64_t start, total, length;
    const char *etag;
    enum attempt_end end;
};

/* Of a blob of 1000 bytes, those from 100 on were asked for, of the version "a". */
static const struct range ranges[] = {
    {100, 1000, 900, "\"a\"", ATTEMPT_OK},     {100, -1, -1, "", ATTEMPT_OK},
    {100, 1000, 10, "\"a\"", ATTEMPT_OK},      {-1, 1000, 900, "\"a\"", ATTEMPT_MISFIT},
    {99, 1000, 901, "\"a\"", ATTEMPT_MISFIT},  {101, 1000, 899, "\"a\"", ATTEMPT_MISFIT},
    {100, 999, 899, "\"a\"", ATTEMPT_MISFIT},  {100, 1001, 901, "\"a\"", ATTEMPT_MISFIT},
    {100, 1000, 900, "\"b\"", ATTEMPT_MISFIT}, {100, -1, 901, "\"a\"", ATTEMPT_MISFIT},
    {100, 1000, 901, "\"a\"", ATTEMPT_MISFIT}, {100, -1, INT64_MAX, "", ATTEMPT_MISFIT},
};

static void ranges_fit_or_do_not(void **state)
{
    for (size_t i = 0; i < sizeof(ranges) / sizeof(*ranges); i++) {
        struct answer_rules rules = {.limit = 1000, .offset = 100, .ranged = true, .tag = "\"a\""};
        struct answer_verdict verdict;
        struct fetch_head head = {.status = 206,
                                  .length = ranges[i].length,
                                  .range_start = ranges[i].start,
                                  .range_total = ranges[i].total,
                                  .etag = ranges[i].etag,
                                  .type = "application/octet-stream",
                                  .location = "",
                                  .min_version = "",
                                  .content_md5 = "",
                                  .retry_after_s = -1};

        assert_int_equal(blob_key_from_md5("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 1000, &rules.key),
                         0);
        answer_judge(&rules, &head, &verdict);
        if (verdict.end != ranges[i].end)
            fail_msg("%zu: %d, not %d: %s", i, verdict.end, ranges[i].end, verdict.message);
        assert_int_equal(*verdict.message != '\0', verdict.end != ATTEMPT_OK);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(ranges_fit_or_do_not)};

    return cmocka_run_group_tests_name("transfer_answer", tests, NULL, NULL);
}
