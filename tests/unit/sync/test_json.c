/* SPDX-License-Identifier: MIT */
/* test_json.c - what is not strictly JSON is refused with a reason, and what is written is. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "cache/scoped.h"
#include "sync/json.h"

static const struct json_limits limits = {.bytes = 64 << 20, .depth = 32};

static struct json *parse(const char *text)
{
    struct json *root = NULL;
    struct json_error error;

    if (json_parse(text, strlen(text), &limits, &root, &error) < 0)
        fail_msg("'%s': %s at %zu", text, error.message, error.offset);
    return root;
}

struct refusal {
    const char *text;
    size_t size; /* 0: up to its NUL */
    const char *message;
    size_t offset;
};

/* One of each kind, for its offset: all that there are of it stand in tests/data/manifests.txt. */
static const struct refusal refusals[] = {
    {"", 0, "empty", 0},
    {"\xef\xbb\xbf{}", 0, "begins with a byte order mark", 0},
    {"{", 0, "ends too early", 1},
    {"[1}", 0, "expected ',' or ']'", 2},
    {"{\"a\":1]", 0, "expected ',' or '}'", 6},
    {"]", 0, "expected a value", 0},
    {"{\"a\":1,}", 0, "expected a string", 7},
    {"{\"a\" 1}", 0, "expected ':'", 5},
    {"{} {}", 0, "something follows the document", 3},
    {"{}\0", 3, "something follows the document", 2},
    {"-x", 0, "expected a digit", 1},
    {"01", 0, "number begins with zero", 0},
    {"1111111111222222222233333333334444444444555555555566666666667777", 0, "number too long", 0},
    {"\"a\nb\"", 0, "control character in a string", 2},
    {"\"a\0b\"", 5, "control character in a string", 2},
    {"\"\\x\"", 0, "unknown escape", 2},
    {"\"\\u12\"", 0, "\\u without four hex digits", 5},
    {"{\"a\\u0000b\":1}", 0, "NUL in a key", 1},
    {"\"\\ud800\"", 0, "half a surrogate pair", 1},
    {"\"\x80\"", 0, "not UTF-8", 1},
    {"{\"md5\":1,\"md5\":2}", 0, "duplicate key \"md5\"", 0},
    {"{\"a\":1,\"b\":2,\"c\":3,\"a\":4}", 0, "duplicate key \"a\"", 0},
    {"[{\"x\":[{\"\":1,\"\":1}]}]", 0, "duplicate key \"\"", 0},
    {"{\"a\\n\":1,\"a\\n\":2}", 0, "duplicate key \"a?\"", 0},
    {"{\"\\u00e9\":1,\"\xc3\xa9\":2}", 0, "duplicate key \"\?\?\"", 0},
};

static void refuses(void **state)
{
    for (size_t i = 0; i < sizeof(refusals) / sizeof(*refusals); i++) {
        const struct refusal *refusal = &refusals[i];
        size_t size = refusal->size ? refusal->size : strlen(refusal->text);
        scoped_free char *exact = malloc(size ? size : 1); /* no NUL to lean on */
        struct json *root = NULL;
        struct json_error error;

        memcpy(exact, refusal->text, size);
        assert_int_equal(json_parse(exact, size, &limits, &root, &error), -EPROTO);
        assert_null(root);
        if (strcmp(error.message, refusal->message) != 0 || error.offset != refusal->offset)
            fail_msg("'%s': '%s' at %zu, not '%s' at %zu", refusal->text, error.message,
                     error.offset, refusal->message, refusal->offset);
    }
}

static void accepts(void **state)
{
    static const char *const good[] = {
        "{}",
        "[]",
        " { } ",
        "null",
        "true",
        "0",
        "-0",
        "-1.5e-3",
        "1E+2",
        "\"\"",
        "\r\n[\t1 , 2 ]\n",
        "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\"",
        "\"\\ud83d\\ude00\"",
        "\"\x7f\"",
        "\"\xc2\x80\"",
        "\"\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbf\"",
        "\"\xf0\x90\x80\x80\xf4\x8f\xbf\xbf\"",
        "{\"\":{\"\":1}}",
        "{\"a\":1,\"A\":2}",
        "{\"a\":{\"x\":1},\"b\":{\"x\":1}}",
        "111111111122222222223333333333444444444455555555556666666666777",
    };

    for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++)
        json_free(parse(good[i]));
}

static void nest(char *text, size_t depth)
{
    memset(text, '[', depth);
    memset(text + depth, ']', depth);
}

static void depth_is_limited(void **state)
{
    struct json_limits deep = {.bytes = 1 << 22, .depth = 1 << 20};
    scoped_free char *text = malloc(2 << 20);
    struct json *root = NULL;
    struct json_error error;

    nest(text, 32);
    assert_int_equal(json_parse(text, 64, &limits, &root, &error), 0);
    json_free(root);
    root = NULL;
    nest(text, 33);
    assert_int_equal(json_parse(text, 66, &limits, &root, &error), -EPROTO);
    assert_string_equal(error.message, "nested too deeply");
    assert_int_equal(error.offset, 32);
    nest(text, 500);
    assert_int_equal(json_parse(text, 1000, &deep, &root, &error), 0);
    json_free(root);
    root = NULL;
    nest(text, 1 << 20);
    assert_int_equal(json_parse(text, 2 << 20, &deep, &root, &error), -EPROTO);
    assert_int_equal(error.offset, 500);
    /* siblings do not add up */
    assert_int_equal(json_parse("[[],[],[[]],{}]", 15,
                                &(struct json_limits){.bytes = 99, .depth = 3}, &root, &error),
                     0);
    json_free(root);
}

static void values_are_limited(void **state)
{
    static const char text[] = "[1,[],{\"a\":null}]"; /* five of them */
    struct json_limits few = {.bytes = 99, .depth = 4, .values = 4};
    struct json *root = NULL;
    struct json_error error;

    assert_int_equal(json_parse(text, strlen(text), &few, &root, &error), -EPROTO);
    assert_string_equal(error.message, "too many values");
    few.values = 5;
    assert_int_equal(json_parse(text, strlen(text), &few, &root, &error), 0);
    json_free(root);
}

static void length_is_limited(void **state)
{
    struct json_limits small = {.bytes = 4, .depth = 4};
    struct json *root = NULL;
    struct json_error error;

    assert_int_equal(json_parse("[12]", 4, &small, &root, &error), 0);
    json_free(root);
    root = NULL;
    assert_int_equal(json_parse("[123]", 5, &small, &root, &error), -EPROTO);
    assert_string_equal(error.message, "too long");
}

static void reading(void **state)
{
    scoped(json_freep) struct json *root = parse(
        "{\"s\":\"\\u00e9\\n\",\"n\":null,\"t\":true,\"f\":false,\"a\":[1,2,3],\"o\":{\"k\":7}}");
    const struct json *item;
    uint64_t number = 0;

    assert_int_equal(json_type(root), JSON_OBJECT);
    assert_int_equal(json_type(json_get(root, "s")), JSON_STRING);
    assert_int_equal(json_type(json_get(root, "n")), JSON_NULL);
    assert_int_equal(json_type(json_get(root, "t")), JSON_BOOL);
    assert_int_equal(json_type(json_get(root, "a")), JSON_ARRAY);
    assert_int_equal(json_type(json_get(root, "o")), JSON_OBJECT);
    assert_int_equal(json_type(json_get(root, "S")), JSON_ABSENT);
    assert_string_equal(json_string(json_get(root, "s")), "\xc3\xa9\n");
    assert_null(json_string(json_get(root, "t")));
    assert_true(json_is_true(json_get(root, "t")));
    assert_false(json_is_true(json_get(root, "f")));
    assert_false(json_is_true(json_get(root, "a")));
    assert_int_equal(json_count(json_get(root, "a")), 3);
    assert_int_equal(json_count(root), 6);
    assert_int_equal(json_u64(json_get(json_get(root, "o"), "k"), &number), 0);
    assert_int_equal(number, 7);
    assert_string_equal(json_key(json_first(root)), "s");
    assert_null(json_key(root));
    number = 0;
    for (item = json_first(json_get(root, "a")); item; item = json_next(item)) {
        uint64_t one = 0;

        assert_null(json_key(item));
        assert_int_equal(json_u64(item, &one), 0);
        number = number * 10 + one;
    }
    assert_int_equal(number, 123);
}

static void absence_is_no_accident(void **state)
{
    scoped(json_freep) struct json *root = parse("[{\"a\":1}]");
    uint64_t number = 5;

    assert_int_equal(json_type(NULL), JSON_ABSENT);
    assert_null(json_get(NULL, "a"));
    assert_null(json_get(root, "a")); /* an array has no members */
    assert_null(json_get(json_get(json_get(root, "x"), "y"), "z"));
    assert_null(json_first(NULL));
    assert_null(json_next(NULL));
    assert_null(json_key(NULL));
    assert_null(json_string(NULL));
    assert_int_equal(json_count(NULL), 0);
    assert_false(json_is_true(NULL));
    assert_int_equal(json_u64(NULL, &number), -EINVAL);
    assert_int_equal(number, 5);
    json_free(NULL);
}

static void integers(void **state)
{
    static const struct {
        const char *text;
        int result;
        uint64_t number;
    } cases[] = {
        {"0", 0, 0},
        {"-0", 0, 0},
        {"1", 0, 1},
        {"1e3", 0, 1000},
        {"1.0", 0, 1},
        {"9007199254740991", 0, 9007199254740991u},
        {"9007199254740992", -ERANGE, 0},
        {"9007199254740993", -ERANGE, 0},
        {"9007199254740994", -ERANGE, 0},
        {"18446744073709551616", -ERANGE, 0},
        {"1e400", -ERANGE, 0},
        {"-1e400", -ERANGE, 0},
        {"-1", -ERANGE, 0},
        {"1.5", -EINVAL, 0},
        {"1e-400", 0, 0}, /* zero, as a double */
        {"0.1", -EINVAL, 0},
        {"\"1\"", -EINVAL, 0},
        {"null", -EINVAL, 0},
        {"true", -EINVAL, 0},
        {"[1]", -EINVAL, 0},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        scoped(json_freep) struct json *root = parse(cases[i].text);
        uint64_t number = 0;

        if (json_u64(root, &number) != cases[i].result || number != cases[i].number)
            fail_msg("%s: %llu", cases[i].text, (unsigned long long)number);
    }
}

static int64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* 200,000 members: a second at most, where comparing all pairs would take a minute. */
static void big_objects_are_not_quadratic(void **state)
{
    scoped(json_freep) struct json *root = NULL;
    scoped_free char *text = malloc(200000 * 24 + 64);
    struct json *twice = NULL;
    struct json_error error;
    int64_t start = now_ms();
    size_t size = 0;

    for (int i = 0; i < 200000; i++)
        size += (size_t)sprintf(text + size, "%s\"key_%d\":%d", i ? "," : "{", i, i);
    size += (size_t)sprintf(text + size, "}");
    assert_int_equal(json_parse(text, size, &limits, &root, &error), 0);
    assert_int_equal(json_count(root), 200000);
    sprintf(text + size - 1, ",\"key_77777\":0}");
    assert_int_equal(json_parse(text, strlen(text), &limits, &twice, &error), -EPROTO);
    assert_string_equal(error.message, "duplicate key \"key_77777\"");
    assert_true(now_ms() - start < 10000);
}

static void a_string_with_nul_is_no_string(void **state)
{
    scoped(json_freep) struct json *root = parse(
        "{\"a\":\"x\\u0000y\",\"b\":\"good\",\"c\":[\"\\u0000\",\"\\u00001\"],\"d\":7}");
    const struct json *list = json_get(root, "c");
    uint64_t number = 0;

    assert_int_equal(json_type(json_get(root, "a")), JSON_NUMBER);
    assert_int_equal(json_u64(json_get(root, "a"), &number), -EINVAL);
    assert_null(json_string(json_get(root, "a")));
    assert_string_equal(json_string(json_get(root, "b")), "good");
    assert_int_equal(json_count(list), 2);
    assert_null(json_string(json_first(list)));
    assert_null(json_string(json_next(json_first(list))));
    assert_int_equal(json_u64(json_get(root, "d"), &number), 0);
    assert_int_equal(number, 7);
}

static struct json *build(void)
{
    struct json *root = json_new_object(), *array, *object, *other = json_new_array();

    assert_int_equal(json_add_string(root, "s", "a\"b\\c\n\x01\x7f\xc3\xa9/"), 0);
    assert_int_equal(json_add_string(root, "null", NULL), 0);
    assert_int_equal(json_add_u64(root, "u", ((uint64_t)1 << 53) - 1), 0);
    assert_int_equal(json_add_u64(root, "v", 1000000000000000), 0);
    assert_int_equal(json_add_i64(root, "i", -42), 0);
    assert_int_equal(json_add_bool(root, "t", true), 0);
    assert_int_equal(json_add_bool(root, "f", false), 0);
    array = json_add_array(root, "a");
    assert_int_equal(json_add_u64(array, NULL, 1), 0);
    assert_non_null(json_add_object(array, NULL));
    object = json_add_object(root, "o");
    assert_int_equal(json_add_string(object, "k", "v"), 0);
    assert_int_equal(json_add(root, "moved", other), 0);
    return root;
}

static void printing(void **state)
{
    scoped(json_freep) struct json *root = build();
    scoped_free char *text = NULL;
    scoped_free char *pretty = NULL;
    size_t size = 0;

    assert_int_equal(json_print(root, false, &text, &size), 0);
    assert_string_equal(text, "{\"s\":\"a\\\"b\\\\c\\n\\u0001\\u007f\xc3\xa9/\",\"null\":null,"
                              "\"u\":9007199254740991,\"v\":1000000000000000,\"i\":-42,\"t\":true,"
                              "\"f\":false,\"a\":[1,{}],\"o\":{\"k\":\"v\"},\"moved\":[]}");
    assert_int_equal(size, strlen(text));
    assert_int_equal(json_print(json_get(root, "a"), true, &pretty, &size), 0);
    assert_string_equal(pretty, "[\n  1,\n  {}\n]\n");
    assert_int_equal(size, strlen(pretty));
}

static void what_is_printed_can_be_read(void **state)
{
    scoped(json_freep) struct json *root = build();

    for (int pretty = 0; pretty < 2; pretty++) {
        scoped(json_freep) struct json *again = NULL;
        scoped_free char *text = NULL;
        scoped_free char *second = NULL;
        size_t size = 0;

        assert_int_equal(json_print(root, pretty, &text, &size), 0);
        again = parse(text);
        assert_int_equal(json_print(again, pretty, &second, &size), 0);
        assert_string_equal(text, second);
    }
}

static void fractions_survive(void **state)
{
    scoped(json_freep) struct json *root = parse("[0.1,-2.5e-7,1e400,1e300]");
    scoped(json_freep) struct json *again = NULL;
    scoped_free char *text = NULL;
    size_t size = 0;

    assert_int_equal(json_print(root, false, &text, &size), 0);
    assert_non_null(strstr(text, "0.1"));
    assert_non_null(strstr(text, ",null,")); /* infinity is not JSON */
    again = parse(text);
    assert_int_equal(json_count(again), 4);
}

static void foreign_bytes_become_replacement_characters(void **state)
{
    scoped(json_freep) struct json *root = json_new_array();
    scoped(json_freep) struct json *again = NULL;
    scoped_free char *text = NULL;
    size_t size = 0;

    assert_int_equal(json_add_string(root, NULL, "a\xff\xc3(\xed\xa0\x80z\xe2\x82"), 0);
    assert_int_equal(json_print(root, false, &text, &size), 0);
    again = parse(text);
    assert_string_equal(json_string(json_first(again)),
                        "a\xef\xbf\xbd\xef\xbf\xbd(\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbdz"
                        "\xef\xbf\xbd\xef\xbf\xbd");
}

static void numbers_that_would_change_are_not_written(void **state)
{
    scoped(json_freep) struct json *root = json_new_object();

    assert_int_equal(json_add_u64(root, "n", (uint64_t)1 << 53), -ERANGE);
    assert_int_equal(json_add_i64(root, "n", INT64_MIN), -ERANGE);
    assert_int_equal(json_add_i64(root, "n", INT64_MAX), -ERANGE);
    assert_int_equal(json_add(root, "n", NULL), -ENOMEM);
    assert_int_equal(json_count(root), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refuses),
        cmocka_unit_test(accepts),
        cmocka_unit_test(depth_is_limited),
        cmocka_unit_test(values_are_limited),
        cmocka_unit_test(length_is_limited),
        cmocka_unit_test(reading),
        cmocka_unit_test(absence_is_no_accident),
        cmocka_unit_test(integers),
        cmocka_unit_test(big_objects_are_not_quadratic),
        cmocka_unit_test(a_string_with_nul_is_no_string),
        cmocka_unit_test(printing),
        cmocka_unit_test(what_is_printed_can_be_read),
        cmocka_unit_test(fractions_survive),
        cmocka_unit_test(foreign_bytes_become_replacement_characters),
        cmocka_unit_test(numbers_that_would_change_are_not_written),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
