/* SPDX-License-Identifier: MIT */
/* test_token_expiry.c - tokens that say when they end, and all that do not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fs/cli/token_expiry.h"

static const struct {
    const char *token;
    uint64_t expiry;
} cases[] = {
    /* {"exp":1800000000} and its kin, whose length leaves each remainder of 3 */
    {"h.eyJleHAiOjE4MDAwMDAwMDB9.s", 1800000000},
    {"h.eyJleHAiOjE4MDAwMDAwMDAgfQ.s", 1800000000},
    {"h.eyJleHAiOjE4MDAwMDAwMDAgIH0.s", 1800000000},
    {"h.eyJzdWIiOiLDv8O_PyIsImV4cCI6NX0.s", 5}, /* a character that only base64url has */
    {"h.eyJleHAiOiIxIn0.s", 0},                 /* a string */
    {"h.eyJleHAiOi0xfQ.s", 0},
    {"h.e30.s", 0},
    {"h.W10.s", 0},
    {"h.!!!!.s", 0},
    {"h..s", 0},
    {"h.e", 0},
    {"h", 0},
    {"", 0},
    {"..", 0},
};

static void what_a_token_says(void **state)
{
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        print_message("%s\n", cases[i].token);
        assert_int_equal(token_expiry(cases[i].token), cases[i].expiry);
    }
}

static void a_long_token_says_nothing(void **state)
{
    size_t size = 1 << 20;
    char *token = malloc(size + 1);

    memset(token, 'A', size);
    token[1] = token[size - 2] = '.';
    token[size] = '\0';
    assert_int_equal(token_expiry(token), 0);
    free(token);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_token_says),
        cmocka_unit_test(a_long_token_says_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
