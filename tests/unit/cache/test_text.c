/* SPDX-License-Identifier: MIT */
/* What is printed is what comes out. That want of memory is noticed, tests/crash/test_malloc.py
 * sees. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cache/scoped.h"
#include "cache/text.h"

static void nothing_is_a_text(void **state)
{
    struct text *text = NULL;
    scoped_free char *bytes = NULL;
    const char *so_far;
    size_t size = 1;

    assert_int_equal(text_open(&text), 0);
    assert_int_equal(text_look(text, &so_far, &size), 0);
    assert_string_equal(so_far, "");
    assert_int_equal(size, 0);
    assert_int_equal(text_close(text, &bytes, &size), 0);
    assert_string_equal(bytes, "");
    assert_int_equal(size, 0);
}

static void all_of_it_comes_out(void **state)
{
    struct text *text = NULL;
    scoped_free char *bytes = NULL;
    const char *so_far;
    size_t size = 0;

    assert_int_equal(text_open(&text), 0);
    for (unsigned i = 0; i < 100000; i++)
        fprintf(text_stream(text), "%06u\n", i);
    assert_int_equal(text_look(text, &so_far, &size), 0);
    assert_int_equal(size, 700000);
    fwrite("end\0!", 1, 5, text_stream(text));
    assert_int_equal(text_close(text, &bytes, &size), 0);
    assert_int_equal(size, 700005);
    for (unsigned i = 0; i < 100000; i++) {
        char line[8];

        snprintf(line, sizeof(line), "%06u\n", i);
        assert_memory_equal(bytes + 7 * (size_t)i, line, 7);
    }
    assert_memory_equal(bytes + 700000, "end\0!", 6);
}

static void what_is_not_wanted_is_freed(void **state)
{
    struct text *text = NULL;

    assert_int_equal(text_open(&text), 0);
    fputs("never mind", text_stream(text));
    text_free(text);
    text_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_a_text),
        cmocka_unit_test(all_of_it_comes_out),
        cmocka_unit_test(what_is_not_wanted_is_freed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
