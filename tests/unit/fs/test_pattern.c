/* SPDX-License-Identifier: MIT */
/* test_pattern.c - who gets how much ahead. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "fs/pattern.h"

#define KIB ((uint64_t)1 << 10)
#define MIB ((uint64_t)1 << 20)
#define FILE_SIZE (1024 * MIB)

/* Reads in steps of 128 KiB; the bytes that were asked for ahead, and whether the rest was. */
static uint64_t read_on(struct pattern *pattern, uint64_t from, uint64_t to, bool *ret_rest)
{
    struct pattern_advice advice;
    uint64_t end = 0;

    *ret_rest = false;
    for (uint64_t at = from; at < to; at += 128 * KIB) {
        pattern_note(pattern, at, 128 * KIB, FILE_SIZE, &advice);
        if (advice.size > 0) {
            assert_true(advice.offset >= at);
            assert_true(advice.offset + advice.size <= FILE_SIZE);
            assert_true(advice.offset >= end || end == 0); /* nothing twice */
            end = advice.offset + advice.size;
        }
        *ret_rest |= advice.rest;
    }
    return end > to ? end - to : 0;
}

static void a_sequential_reader_gets_a_growing_window(void **state)
{
    struct pattern pattern = {0};
    bool rest;

    assert_int_equal(read_on(&pattern, 0, 2 * MIB, &rest), 0);
    assert_in_range(read_on(&pattern, 2 * MIB, 8 * MIB, &rest), MIB / 2, 2 * MIB);
    assert_in_range(read_on(&pattern, 8 * MIB, 64 * MIB, &rest), 8 * MIB, 16 * MIB);
    assert_false(rest);
    assert_in_range(read_on(&pattern, 64 * MIB, 900 * MIB, &rest), 32 * MIB, 64 * MIB);
    assert_true(rest);
}

static void a_reader_that_jumps_gets_nothing_ahead(void **state)
{
    struct pattern pattern = {0};
    struct pattern_advice advice;

    for (uint64_t i = 0; i < 1000; i++) {
        pattern_note(&pattern, i * 7919 % 1000 * MIB, 256 * KIB, FILE_SIZE, &advice);
        assert_int_equal(advice.size, 0);
        assert_false(advice.rest);
    }
}

/* One column of five: what is asked for beyond what is read is a small part of it. */
static void a_reader_of_stripes_wastes_little(void **state)
{
    const uint64_t stripes[] = {MIB, 4 * MIB, 16 * MIB, 64 * MIB};

    for (size_t i = 0; i < sizeof(stripes) / sizeof(*stripes); i++) {
        struct pattern pattern = {0};
        uint64_t wasted = 0, read = 0;
        bool rest;

        for (uint64_t at = 0; at + stripes[i] <= FILE_SIZE; at += 5 * stripes[i]) {
            wasted += read_on(&pattern, at, at + stripes[i], &rest);
            read += stripes[i];
            assert_false(rest);
        }
        assert_true(wasted * 100 <= read * 30);
    }
}

static void threads_that_overtake_each_other_are_one_reader(void **state)
{
    struct pattern pattern = {0};
    struct pattern_advice advice;
    uint64_t ahead = 0;

    for (uint64_t at = 0; at < 40 * MIB; at += 256 * KIB) {
        pattern_note(&pattern, at + 128 * KIB, 128 * KIB, FILE_SIZE, &advice);
        ahead += advice.size;
        pattern_note(&pattern, at, 128 * KIB, FILE_SIZE, &advice);
        ahead += advice.size;
    }
    assert_true(ahead > 30 * MIB);
}

static void nothing_is_asked_for_beyond_the_end(void **state)
{
    struct pattern pattern = {0};
    struct pattern_advice advice;

    for (uint64_t at = 0; at < 20 * MIB; at += 128 * KIB) {
        pattern_note(&pattern, at, 128 * KIB, 20 * MIB, &advice);
        assert_true(advice.size == 0 || advice.offset + advice.size <= 20 * MIB);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sequential_reader_gets_a_growing_window),
        cmocka_unit_test(a_reader_that_jumps_gets_nothing_ahead),
        cmocka_unit_test(a_reader_of_stripes_wastes_little),
        cmocka_unit_test(threads_that_overtake_each_other_are_one_reader),
        cmocka_unit_test(nothing_is_asked_for_beyond_the_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
