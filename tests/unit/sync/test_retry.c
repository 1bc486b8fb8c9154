/* SPDX-License-Identifier: MIT */
/* test_retry.c - the table of retry.h, held line by line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sync/retry.h"

#define LONGEST UINT32_MAX

struct retry_case {
    struct attempt attempt;
    enum retry_action action;
    uint32_t wait_ms; /* with the largest randomness */
};

#define FIRST .retry_after_s = -1, .number = 1

static const struct retry_case cases[] = {
    {{ATTEMPT_OK, FIRST}, RETRY_GIVE_UP, 0},
    /* the network: four attempts in all */
    {{ATTEMPT_NETWORK, FIRST}, RETRY_SAME, 300},
    {{ATTEMPT_NETWORK, FIRST, .another_url = true}, RETRY_SAME, 300},
    {{ATTEMPT_NETWORK, .retry_after_s = -1, .number = 2}, RETRY_SAME, 1000},
    {{ATTEMPT_NETWORK, .retry_after_s = -1, .number = 3}, RETRY_SAME, 3000},
    {{ATTEMPT_NETWORK, .retry_after_s = -1, .number = 4}, RETRY_GIVE_UP, 0},
    {{ATTEMPT_NETWORK, .retry_after_s = -1, .number = 99}, RETRY_GIVE_UP, 0},
    /* but for those who can wait */
    {{ATTEMPT_NETWORK, .retry_after_s = -1, .number = 4, .patience = PATIENCE_ENDLESS},
     RETRY_SAME,
     3000},
    {{ATTEMPT_STATUS, .status = 503, .retry_after_s = -1, .number = 99,
      .patience = PATIENCE_ENDLESS},
     RETRY_SAME,
     3000},
    {{ATTEMPT_STATUS, .status = 500, .retry_after_s = -1, .number = 4,
      .patience = PATIENCE_ENDLESS},
     RETRY_GIVE_UP,
     0},
    {{ATTEMPT_STATUS, .status = 404, .retry_after_s = -1, .number = 4,
      .patience = PATIENCE_ENDLESS},
     RETRY_GIVE_UP,
     0},
    {{ATTEMPT_CORRUPT, .retry_after_s = -1, .number = 2, .patience = PATIENCE_ENDLESS},
     RETRY_GIVE_UP,
     0},
    /* nor is there a second attempt where nobody is at home */
    {{ATTEMPT_NETWORK, FIRST, .patience = PATIENCE_NONE}, RETRY_GIVE_UP, 0},
    {{ATTEMPT_STATUS, .status = 503, FIRST, .patience = PATIENCE_NONE}, RETRY_GIVE_UP, 0},
    {{ATTEMPT_STATUS, .status = 500, FIRST, .patience = PATIENCE_NONE}, RETRY_SAME, 300},
    {{ATTEMPT_CORRUPT, FIRST, .patience = PATIENCE_NONE}, RETRY_RESTART, 300},
    /* busy or broken servers */
    {{ATTEMPT_STATUS, .status = 408, FIRST}, RETRY_SAME, 300},
    {{ATTEMPT_STATUS, .status = 425, FIRST}, RETRY_SAME, 300},
    {{ATTEMPT_STATUS, .status = 429, FIRST}, RETRY_SAME, 300},
    {{ATTEMPT_STATUS, .status = 500, FIRST}, RETRY_SAME, 300},
    {{ATTEMPT_STATUS, .status = 502, FIRST}, RETRY_SAME, 300},
    {{ATTEMPT_STATUS, .status = 503, FIRST}, RETRY_SAME, 300},
    {{ATTEMPT_STATUS, .status = 504, FIRST}, RETRY_SAME, 300},
    {{ATTEMPT_STATUS, .status = 503, .retry_after_s = -1, .number = 4}, RETRY_GIVE_UP, 0},
    /* and how long they ask for */
    {{ATTEMPT_STATUS, .status = 503, .retry_after_s = 0, .number = 1}, RETRY_SAME, 300},
    {{ATTEMPT_STATUS, .status = 503, .retry_after_s = 2, .number = 1}, RETRY_SAME, 2000},
    {{ATTEMPT_STATUS, .status = 503, .retry_after_s = 1, .number = 3}, RETRY_SAME, 3000},
    {{ATTEMPT_STATUS, .status = 429, .retry_after_s = 300, .number = 1}, RETRY_SAME, 300000},
    {{ATTEMPT_STATUS, .status = 429, .retry_after_s = 301, .number = 1}, RETRY_SAME, 300000},
    {{ATTEMPT_STATUS, .status = 429, .retry_after_s = INT64_MAX, .number = 1}, RETRY_SAME, 300000},
    {{ATTEMPT_STATUS, .status = 429, .retry_after_s = INT64_MIN, .number = 1}, RETRY_SAME, 300},
    {{ATTEMPT_STATUS, .status = 429, .retry_after_s = 5, .number = 4}, RETRY_GIVE_UP, 0},
    /* once more from byte 0 */
    {{ATTEMPT_STATUS, .status = 416, FIRST}, RETRY_RESTART, 300},
    {{ATTEMPT_STATUS, .status = 416, .retry_after_s = -1, .number = 2}, RETRY_GIVE_UP, 0},
    {{ATTEMPT_MISFIT, FIRST}, RETRY_RESTART, 300},
    {{ATTEMPT_MISFIT, .retry_after_s = -1, .number = 2}, RETRY_GIVE_UP, 0},
    {{ATTEMPT_CORRUPT, FIRST}, RETRY_RESTART, 300},
    {{ATTEMPT_CORRUPT, .retry_after_s = -1, .number = 2}, RETRY_GIVE_UP, 0},
    /* another URL, at once, and only for 404 */
    {{ATTEMPT_STATUS, .status = 404, FIRST, .another_url = true}, RETRY_NEXT_URL, 0},
    {{ATTEMPT_STATUS, .status = 404, .number = 4, .another_url = true}, RETRY_NEXT_URL, 0},
    {{ATTEMPT_STATUS, .status = 404, FIRST}, RETRY_GIVE_UP, 0},
    {{ATTEMPT_STATUS, .status = 410, FIRST, .another_url = true}, RETRY_GIVE_UP, 0},
    {{ATTEMPT_STATUS, .status = 401, FIRST, .another_url = true}, RETRY_GIVE_UP, 0},
    {{ATTEMPT_STATUS, .status = 403, FIRST, .another_url = true}, RETRY_GIVE_UP, 0},
    /* the rest */
    {{ATTEMPT_STATUS, .status = 301, FIRST}, RETRY_GIVE_UP, 0},
    {{ATTEMPT_STATUS, .status = 302, FIRST}, RETRY_GIVE_UP, 0},
    {{ATTEMPT_STATUS, .status = 304, FIRST}, RETRY_GIVE_UP, 0},
    {{ATTEMPT_STATUS, .status = 400, FIRST}, RETRY_GIVE_UP, 0},
    {{ATTEMPT_STATUS, .status = 418, FIRST}, RETRY_GIVE_UP, 0},
    {{ATTEMPT_STATUS, .status = 501, FIRST}, RETRY_GIVE_UP, 0},
    {{ATTEMPT_STATUS, .status = 0, FIRST}, RETRY_GIVE_UP, 0},
    {{ATTEMPT_REFUSED, FIRST, .another_url = true}, RETRY_GIVE_UP, 0},
    {{ATTEMPT_LOCAL, FIRST}, RETRY_GIVE_UP, 0},
    {{ATTEMPT_STOPPED, FIRST}, RETRY_GIVE_UP, 0},
};

static void the_table(void **state)
{
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct retry retry = retry_decide(&cases[i].attempt, LONGEST);

        if (retry.action != cases[i].action || retry.wait_ms != cases[i].wait_ms)
            fail_msg("case %zu: action %d, wait %u ms", i, (int)retry.action, retry.wait_ms);
    }
}

static void the_jitter_is_full(void **state)
{
    struct attempt attempt = {ATTEMPT_NETWORK, FIRST};

    assert_int_equal(retry_decide(&attempt, 0).wait_ms, 0);
    assert_int_equal(retry_decide(&attempt, LONGEST / 2).wait_ms, 150);
    attempt.number = 3;
    assert_int_equal(retry_decide(&attempt, 0).wait_ms, 0);
    assert_int_equal(retry_decide(&attempt, LONGEST / 2).wait_ms, 1500);
    /* but no server is asked again before it said */
    attempt = (struct attempt){ATTEMPT_STATUS, .status = 503, .retry_after_s = 2, .number = 1};
    assert_int_equal(retry_decide(&attempt, 0).wait_ms, 2000);
}

/* Whatever a server does: it ends. */
static void every_story_ends(void **state)
{
    for (int end = ATTEMPT_OK; end <= ATTEMPT_STOPPED; end++) {
        for (int status = 0; status < 700; status++) {
            struct attempt attempt = {.end = (enum attempt_end)end,
                                      .status = status,
                                      .retry_after_s = -1,
                                      .number = 4};

            assert_int_equal(retry_decide(&attempt, LONGEST).action, RETRY_GIVE_UP);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_table),
        cmocka_unit_test(the_jitter_is_full),
        cmocka_unit_test(every_story_ends),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
