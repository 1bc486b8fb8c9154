/* SPDX-License-Identifier: MIT */
#include <openssl/evp.h>

#include "tests/unit/cache/fixture.h"

static const char *hex(const uint8_t *bytes)
{
    static char text[2 * BLOB_DIGEST_SIZE + 1];

    for (size_t i = 0; i < BLOB_DIGEST_SIZE; i++)
        snprintf(text + 2 * i, 3, "%02x", bytes[i]);
    return text;
}

/* md5sum and xxh128sum of the same bytes. */
static void golden(void **state)
{
    const struct {
        const char *text, *md5, *xxh;
    } rows[] = {
        {"", "d41d8cd98f00b204e9800998ecf8427e", "99aa06d3014798d86001c324468d497f"},
        {"a", "0cc175b9c0f1b6a831c399e269772661", "a96faf705af16834e6c632b61e964e1f"},
        {"abc", "900150983cd24fb0d6963f7d28e17f72", "06b05ab6733a618578af5f94892f3950"},
    };
    struct digest *digest = NULL;

    assert_int_equal(digest_new(&digest), 0);
    for (size_t i = 0; i < 3; i++) {
        struct digest_sums sums;

        assert_int_equal(digest_reset(digest), 0);
        assert_int_equal(digest_update(digest, rows[i].text, strlen(rows[i].text)), 0);
        assert_int_equal(digest_sums(digest, &sums), 0);
        assert_string_equal(hex(sums.md5), rows[i].md5);
        assert_string_equal(hex(sums.xxh), rows[i].xxh);
        assert_int_equal(sums.size, strlen(rows[i].text));
    }
    digest_free(digest);
}

static void sums_any_number_of_times(void **state)
{
    struct digest *digest = NULL;
    struct digest_sums early, again, whole;

    assert_int_equal(digest_new(&digest), 0);
    assert_int_equal(digest_update(digest, "a", 1), 0);
    assert_int_equal(digest_sums(digest, &early), 0);
    assert_int_equal(digest_sums(digest, &again), 0);
    assert_memory_equal(&early, &again, sizeof(early));
    assert_int_equal(digest_update(digest, "", 0), 0);
    assert_int_equal(digest_update(digest, "bc", 2), 0);
    assert_int_equal(digest_sums(digest, &whole), 0);
    assert_string_equal(hex(whole.md5), "900150983cd24fb0d6963f7d28e17f72");
    assert_string_equal(hex(whole.xxh), "06b05ab6733a618578af5f94892f3950");
    digest_free(digest);
}

static void matches_kind_digest_and_size(void **state)
{
    struct digest *digest = NULL;
    struct digest_sums sums;
    struct blob_key md5 = text_key("abc"), xxh;

    blob_key_of_bytes("abc", 3, &xxh);
    assert_int_equal(digest_new(&digest), 0);
    assert_int_equal(digest_update(digest, "abc", 3), 0);
    assert_int_equal(digest_sums(digest, &sums), 0);
    assert_true(digest_matches(&sums, &md5));
    assert_true(digest_matches(&sums, &xxh));
    md5.size++;
    xxh.digest[15] ^= 1;
    assert_false(digest_matches(&sums, &md5));
    assert_false(digest_matches(&sums, &xxh));
    xxh.digest[15] ^= 1;
    xxh.kind = BLOB_MD5;
    assert_false(digest_matches(&sums, &xxh));
    xxh.kind = BLOB_NONE;
    assert_false(digest_matches(&sums, &xxh));
    digest_free(digest);
}

static void xxh_alone_fits_no_md5_key(void **state)
{
    struct digest *digest = NULL;
    struct digest_sums sums;
    struct blob_key xxh;
    const struct blob_key zeros = {.kind = BLOB_MD5, .size = 3};

    blob_key_of_bytes("abc", 3, &xxh);
    assert_int_equal(digest_new_xxh(&digest), 0);
    assert_int_equal(digest_update(digest, "abc", 3), 0);
    assert_int_equal(digest_sums(digest, &sums), 0);
    assert_true(digest_matches(&sums, &xxh));
    assert_false(digest_matches(&sums, &zeros));
    digest_free(digest);
}

static void policy_without_md5(void **state)
{
    struct digest *digest = NULL;

    assert_int_equal(EVP_set_default_properties(NULL, "fips=yes"), 1);
    assert_int_equal(digest_new(&digest), -ENOTSUP);
    assert_int_equal(digest_new_xxh(&digest), 0);
    assert_int_equal(EVP_set_default_properties(NULL, ""), 1);
    digest_free(digest);
}

static void file_from_offset(void **state)
{
    const size_t size = 700 * 1024; /* more than one buffer */
    char *dir = tempdir_new();
    scoped_free char *bytes = malloc(size);
    scoped_free char *path = path_join(dir, "f");
    struct digest *digest = NULL;
    struct digest_sums sums;

    for (size_t i = 0; i < size; i++)
        bytes[i] = (char)(i * 7 + i / 251);
    file_write(dir, "f", bytes, size);

    scoped_fd int fd = open(path, O_RDONLY);
    struct blob_key key = md5_key(bytes + 1000, size - 1000);

    assert_int_equal(digest_new(&digest), 0);
    assert_int_equal(digest_update_file(digest, fd, 1000, size - 1000), 0);
    assert_int_equal(digest_sums(digest, &sums), 0);
    assert_true(digest_matches(&sums, &key));
    assert_int_equal(digest_update_file(digest, fd, 1, size), -EIO);
    assert_int_equal(digest_update_file(digest, -1, 0, 1), -EBADF);
    digest_free(digest);
    tempdir_free(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden),
        cmocka_unit_test(sums_any_number_of_times),
        cmocka_unit_test(matches_kind_digest_and_size),
        cmocka_unit_test(xxh_alone_fits_no_md5_key),
        cmocka_unit_test(policy_without_md5),
        cmocka_unit_test(file_from_offset),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
