/* SPDX-License-Identifier: MIT */
#include "tests/unit/cache/fixture.h"

#define MD5_EMPTY "d41d8cd98f00b204e9800998ecf8427e"

static void text_and_back(void **state)
{
    const struct blob_key keys[] = {
        {.kind = BLOB_MD5, .size = 0, .digest = {0}},
        {.kind = BLOB_MD5, .size = 1234567, .digest = {0x00, 0xff, 0x10, 0x01}},
        {.kind = BLOB_XXH, .size = UINT64_MAX, .digest = {0xab, 0xcd, 0xef}},
    };
    char text[BLOB_KEY_TEXT_SIZE];

    for (size_t i = 0; i < 3; i++) {
        struct blob_key back;

        blob_key_format(&keys[i], text);
        assert_int_equal(blob_key_parse(text, &back), 0);
        assert_true(blob_key_equal(&keys[i], &back));
    }
    assert_string_equal(text, "xxh-abcdef00000000000000000000000000-18446744073709551615");
    assert_int_equal(strlen(text) + 1, BLOB_KEY_TEXT_SIZE);
}

static void parse_rejects(void **state)
{
    const char *const texts[] = {
        "",
        "md5",
        "md5-",
        "md5-" MD5_EMPTY,
        "md5-" MD5_EMPTY "-",
        "md5-" MD5_EMPTY "-00",
        "md5-" MD5_EMPTY "-01",
        "md5-" MD5_EMPTY "-+1",
        "md5-" MD5_EMPTY "--1",
        "md5-" MD5_EMPTY "- 1",
        "md5-" MD5_EMPTY "-1 ",
        "md5-" MD5_EMPTY "-1\n",
        "md5-" MD5_EMPTY "-0x1",
        "md5-" MD5_EMPTY "-18446744073709551616",
        "md5-" MD5_EMPTY "-99999999999999999999",
        "md5-" MD5_EMPTY "-184467440737095516150",
        "md5-D41D8CD98F00B204E9800998ECF8427E-0",
        "md5-d41d8cd98f00b204e9800998ecf8427-0",
        "md5-d41d8cd98f00b204e9800998ecf8427g-0",
        "md5-d41d8cd98f00b204e9800998ecf8427e0-0",
        "MD5-" MD5_EMPTY "-0",
        "nil-" MD5_EMPTY "-0",
        "sha-" MD5_EMPTY "-0",
        " md5-" MD5_EMPTY "-0",
        "../../../../../../../../../../etc/passwd",
    };
    struct blob_key key = {.kind = BLOB_XXH, .size = 7};

    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
        assert_int_equal(blob_key_parse(texts[i], &key), -EINVAL);
        assert_int_equal(key.size, 7); /* written on success only */
    }
    assert_int_equal(blob_key_parse("md5-" MD5_EMPTY "-0", &key), 0);
}

static void from_md5(void **state)
{
    struct blob_key lower, upper;

    assert_int_equal(blob_key_from_md5(MD5_EMPTY, 0, &lower), 0);
    assert_int_equal(blob_key_from_md5("D41D8CD98F00B204E9800998ECF8427E", 0, &upper), 0);
    assert_true(blob_key_equal(&lower, &upper));
    assert_int_equal(lower.kind, BLOB_MD5);
    assert_int_equal(blob_key_from_md5("", 0, &lower), -EINVAL);
    assert_int_equal(blob_key_from_md5(MD5_EMPTY "0", 0, &lower), -EINVAL);
    assert_int_equal(blob_key_from_md5("d41d8cd98f00b204e9800998ecf842", 0, &lower), -EINVAL);
    assert_int_equal(blob_key_from_md5("d41d8cd98f00b204e9800998ecf8427", 0, &lower), -EINVAL);
}

static void order(void **state)
{
    const struct blob_key sorted[] = {
        {.kind = BLOB_NONE},
        {.kind = BLOB_MD5, .digest = {1}, .size = 5},
        {.kind = BLOB_MD5, .digest = {1}, .size = UINT64_MAX},
        {.kind = BLOB_MD5, .digest = {2}, .size = 1},
        {.kind = BLOB_MD5, .digest = {0x80}, .size = 1},
        {.kind = BLOB_XXH, .digest = {0}, .size = 0},
    };

    for (int i = 0; i < 6; i++) {
        for (int j = 0; j < 6; j++) {
            int sign = blob_key_compare(&sorted[i], &sorted[j]);

            assert_int_equal((sign > 0) - (sign < 0), (i > j) - (i < j));
            assert_int_equal(blob_key_equal(&sorted[i], &sorted[j]), i == j && i > 0);
            assert_int_equal(blob_key_hash(&sorted[i]) == blob_key_hash(&sorted[j]), i == j);
        }
    }
}

static void hash_is_the_same_everywhere(void **state)
{
    const struct blob_key key = {.kind = BLOB_MD5, .digest = {1, 2, 3, 4, 5, 6, 7, 8}, .size = 9};

    assert_true(blob_key_hash(&key) == UINT64_C(0x7048438151c14a3f));
}

static void of_bytes(void **state)
{
    struct blob_key key;
    char text[BLOB_KEY_TEXT_SIZE];

    blob_key_of_bytes("", 0, &key);
    blob_key_format(&key, text);
    assert_string_equal(text, "xxh-99aa06d3014798d86001c324468d497f-0");
    blob_key_of_bytes("a", 1, &key);
    blob_key_format(&key, text);
    assert_string_equal(text, "xxh-a96faf705af16834e6c632b61e964e1f-1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_and_back),
        cmocka_unit_test(parse_rejects),
        cmocka_unit_test(from_md5),
        cmocka_unit_test(order),
        cmocka_unit_test(hash_is_the_same_everywhere),
        cmocka_unit_test(of_bytes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
