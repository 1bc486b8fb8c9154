/* SPDX-License-Identifier: MIT */
/* test_transfer_span.c - which bytes are asked for next, by hand and against a model. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "sync/transfer_span.h"

#define BLOCK 10
#define BLOCKS 8
#define SIZE 75 /* the last block has five bytes */

/* filled: bytes of each block; coming: marks. */
struct blob {
    uint64_t filled[BLOCKS];
    const char *coming;
};

static uint64_t filled(void *arg, uint32_t block)
{
    return ((const struct blob *)arg)->filled[block];
}

static bool coming(void *arg, uint32_t block)
{
    return ((const struct blob *)arg)->coming[block] != '.';
}

static void expect(const struct blob *blob, uint64_t from, uint64_t to, uint64_t most,
                   uint64_t expected_from, uint64_t expected_to)
{
    const struct span_map map = {SIZE, BLOCK, filled, coming, (void *)blob};
    struct span span = {0, 0};
    bool found = span_next(&map, from, to, most, &span);

    assert_int_equal(found, expected_to > 0);
    assert_int_equal(span.from, expected_from);
    assert_int_equal(span.to, expected_to);
}

#define NOTHING 0, 0

static void of_an_empty_blob(void **state)
{
    const struct blob blob = {{0}, "........"};

    expect(&blob, 0, 1, 100, 0, 10);
    expect(&blob, 9, 11, 100, 0, 20); /* both blocks that it touches */
    expect(&blob, 10, 20, 100, 10, 20);
    expect(&blob, 0, SIZE, 100, 0, 75);
    expect(&blob, 0, SIZE, 30, 0, 30);
    expect(&blob, 0, SIZE, 31, 0, 40); /* whole blocks */
    expect(&blob, 74, 75, 100, 70, 75);
    expect(&blob, 70, 1000, 100, 70, 75);
    expect(&blob, 75, 80, 100, NOTHING);
    expect(&blob, 5, 5, 100, NOTHING);
}

static void what_is_here_or_coming_is_not_asked_for(void **state)
{
    const struct blob blob = {{10, 0, 0, 10, 0, 0, 0, 5}, "..x....."};

    expect(&blob, 0, SIZE, 100, 10, 20); /* up to what is coming */
    expect(&blob, 20, SIZE, 100, 40, 70);
    expect(&blob, 0, 10, 100, NOTHING);
    expect(&blob, 20, 40, 100, NOTHING);
    expect(&blob, 70, SIZE, 100, NOTHING);
}

static void a_block_goes_on_where_it_ended(void **state)
{
    const struct blob blob = {{4, 0, 7, 0, 0, 0, 0, 2}, "........"};

    expect(&blob, 0, 1, 100, 4, 10);    /* it is not our business whether byte 0 is here */
    expect(&blob, 0, SIZE, 100, 4, 20); /* the third has a beginning: another request */
    expect(&blob, 20, SIZE, 100, 27, 70);
    expect(&blob, 70, SIZE, 100, 72, 75);
}

/* Asking again and again brings each missing byte exactly once. */
static void all_of_it_comes_once(void **state)
{
    unsigned seed = (unsigned)time(NULL);

    srand(seed);
    for (int round = 0; round < 2000; round++) {
        struct blob blob = {{0}, "........"};
        uint64_t most = (uint64_t)(rand() % 40) + 1;
        struct span span;
        const struct span_map map = {SIZE, BLOCK, filled, coming, &blob};
        uint64_t missing = 0, came = 0;

        for (size_t i = 0; i < BLOCKS; i++) {
            uint64_t length = i == BLOCKS - 1 ? 5 : BLOCK;

            blob.filled[i] = (uint64_t)rand() % (length + 1);
            missing += length - blob.filled[i];
        }
        while (span_next(&map, 0, SIZE, most, &span)) {
            assert_true(span.from < span.to && span.to <= SIZE);
            came += span.to - span.from;
            for (uint64_t at = span.from; at < span.to; at++) {
                assert_int_equal(blob.filled[at / BLOCK], at % BLOCK);
                blob.filled[at / BLOCK]++;
            }
            if (came > SIZE)
                fail_msg("seed %u: it never ends", seed);
        }
        if (came != missing)
            fail_msg("seed %u: %d came, %d were missing", seed, (int)came, (int)missing);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(of_an_empty_blob),
        cmocka_unit_test(what_is_here_or_coming_is_not_asked_for),
        cmocka_unit_test(a_block_goes_on_where_it_ended),
        cmocka_unit_test(all_of_it_comes_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
