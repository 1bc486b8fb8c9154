/* SPDX-License-Identifier: MIT */
/* test_export_record.c - what is written is read again; what is no record is not believed. */
#include "tests/unit/cli/fixture.h"

#include <errno.h>
#include <fcntl.h>

#include "cache/scoped.h"
#include "fs/cli/export_record.h"

#define KEY_A "md5-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-8"
#define FILE_A                                                                                     \
    "{\"path\":\"a\",\"key\":\"" KEY_A "\",\"strategy\":\"copy\",\"size\":8,\"mtime_ns\":\"1\","   \
    "\"ino\":\"2\"}"
#define RECORD(version, files, folders)                                                            \
    "{\"version\":" version ",\"source\":\"s\",\"files\":[" files "],\"folders\":[" folders "]}"

static int open_dir(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    assert_true(fd >= 0);
    return fd;
}

static void add(struct export_record *record, const char *path, uint64_t ino)
{
    const struct export_identity identity = {8, -5, ino};
    struct blob_key key;

    assert_int_equal(blob_key_parse(KEY_A, &key), 0);
    assert_int_equal(export_record_add(record, path, &key, EXPORT_HARDLINK, &identity), 0);
}

static void test_round_trip(void **state)
{
    scoped_fd int dir = open_dir(*state);
    scoped(export_record_release) struct export_record record = {0};
    scoped(export_record_release) struct export_record again = {0};

    assert_int_equal(export_record_new("https://s", &record), 0);
    add(&record, "b/\xc3\xa4 \"x\"", UINT64_MAX);
    add(&record, "a", 7);
    assert_int_equal(export_record_add_folder(&record, "z"), 0);
    assert_int_equal(export_record_add_folder(&record, "b"), 0);
    assert_int_equal(export_record_add_folder(&record, "z"), 0);
    assert_int_equal(export_record_save(dir, &record), 0);
    assert_false(record.changed);

    assert_int_equal(export_record_load(dir, &again), 0);
    assert_false(again.changed);
    assert_string_equal(again.source, "https://s");
    assert_int_equal(again.file_count, 2);
    assert_string_equal(again.files[0].path, "a");
    assert_string_equal(again.files[1].path, "b/\xc3\xa4 \"x\"");
    assert_int_equal(again.files[1].strategy, EXPORT_HARDLINK);
    assert_true(export_identity_equal(&again.files[1].identity, &record.files[0].identity));
    assert_true(blob_key_equal(&again.files[1].key, &record.files[0].key));
    assert_int_equal(again.folder_count, 2);
    assert_string_equal(again.folders[0], "b");
    assert_string_equal(again.folders[1], "z");
}

static void test_both_lines_of_a_path_are_kept_until_one_is_dropped(void **state)
{
    scoped_fd int dir = open_dir(*state);
    scoped(export_record_release) struct export_record record = {0};
    size_t count;

    assert_int_equal(export_record_new("s", &record), 0);
    add(&record, "a", 1);
    add(&record, "c", 1);
    export_record_sort(&record);
    add(&record, "a", 2);
    assert_int_equal(export_record_find(&record, "a", &count), 0);
    assert_int_equal(count, 1);
    assert_int_equal(export_record_save(dir, &record), 0);
    export_record_release(&record);

    assert_int_equal(export_record_load(dir, &record), 0);
    assert_int_equal(export_record_find(&record, "a", &count), 0);
    assert_int_equal(count, 2);
    assert_int_equal(export_record_find(&record, "b", &count), 2);
    assert_int_equal(count, 0);
    export_record_drop(&record, record.files[0].identity.ino == 1 ? 0 : 1);
    assert_true(record.changed);
    assert_int_equal(export_record_save(dir, &record), 0);
    export_record_release(&record);

    assert_int_equal(export_record_load(dir, &record), 0);
    assert_int_equal(record.file_count, 2);
    assert_int_equal(record.files[0].identity.ino, 2);
}

static void test_without_changes_nothing_is_written(void **state)
{
    scoped_fd int dir = open_dir(*state);
    scoped(export_record_release) struct export_record record = {0};
    struct stat st;

    assert_int_equal(export_record_new("s", &record), 0);
    record.changed = false;
    assert_int_equal(export_record_save(dir, &record), 0);
    assert_int_equal(fstatat(dir, EXPORT_RECORD_NAME, &st, 0), -1);
}

static void test_what_is_no_record_is_not_believed(void **state)
{
    static const char *const texts[] = {
        "",
        "{}",
        "[]",
        RECORD("2", "", ""),
        RECORD("1", "1", ""),
        RECORD("1", "", "1"),
        RECORD("1", "", "\"../x\""),
        RECORD("1", "", "\"/x\""),
        RECORD("1", "", "\"\""),
        RECORD("1", "{\"path\":\"a\"}", ""),
        RECORD("1", FILE_A "," FILE_A, "") "x",
    };
    static const char *const swaps[][2] = {{"\"a\"", "\"a/../../b\""}, {"\"a\"", "\"/etc/passwd\""},
                                           {"\"copy\"", "\"auto\""},   {"\"copy\"", "\"magic\""},
                                           {"\"1\"", "\"1x\""},        {"\"1\"", "\"\""},
                                           {"\"2\"", "\"-2\""},        {"\"2\"", "\" 2\""},
                                           {"\"md5-a", "\"md4-a"},     {":8,", ":-8,"}};
    const char *good = RECORD("1", FILE_A, "\"b\"");
    scoped_fd int dir = open_dir(*state);
    struct export_record record = {0};

    assert_int_equal(export_record_load(dir, &record), -ENOENT);
    put(*state, EXPORT_RECORD_NAME, good);
    assert_int_equal(export_record_load(dir, &record), 0);
    export_record_release(&record);
    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
        put(*state, EXPORT_RECORD_NAME, texts[i]);
        if (export_record_load(dir, &record) != -EBADMSG)
            fail_msg("believed: %s", texts[i]);
    }
    for (size_t i = 0; i < sizeof(swaps) / sizeof(*swaps); i++) {
        const char *at = strstr(good, swaps[i][0]);
        char text[512];

        assert_non_null(at);
        snprintf(text, sizeof(text), "%.*s%s%s", (int)(at - good), good, swaps[i][1],
                 at + strlen(swaps[i][0]));
        put(*state, EXPORT_RECORD_NAME, text);
        if (export_record_load(dir, &record) != -EBADMSG)
            fail_msg("believed: %s", text);
    }
}

static void test_a_link_is_no_record(void **state)
{
    scoped_fd int dir = open_dir(*state);
    struct export_record record = {0};

    put(*state, "other", RECORD("1", FILE_A, ""));
    assert_int_equal(symlinkat("other", dir, EXPORT_RECORD_NAME), 0);
    assert_int_equal(export_record_load(dir, &record), -EBADMSG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        home_test(test_round_trip),
        home_test(test_both_lines_of_a_path_are_kept_until_one_is_dropped),
        home_test(test_without_changes_nothing_is_written),
        home_test(test_what_is_no_record_is_not_believed),
        home_test(test_a_link_is_no_record),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
