/* SPDX-License-Identifier: MIT */
/* test_log.c - one event, three forms. */
#include "tests/unit/cli/fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "fs/cli/log.h"

static const struct log_entry entry = {
    .unix_time = 1782907200,
    .level = LOG_WARNING,
    .message = "could\nnot \"be\" read",
    .mountpoint = "/home/eva/ag\nnes",
    .fields = {.path = "data/sales/orders.parquet",
               .key = "md5-0-1",
               .url = "https://eva:secret@store.example.com/a@b?X-Signature=secret#x",
               .error = -EACCES,
               .reader_pid = 5120,
               .generation = 7},
};

static void expect(const struct log_entry *what, enum log_format format, const char *expected)
{
    char *text;
    size_t size;
    char *copy;

    assert_int_equal(log_entry_format(what, format, &text, &size), 0);
    copy = strndup(text, size);
    assert_string_equal(copy, expected);
    free(copy);
    free(text);
}

static void test_forms(void **state)
{
    expect(&entry, LOG_TEXT, "2026-07-01T12:00:00Z warning could\\x0anot \"be\" read\n");
    expect(&entry, LOG_JSON,
           "{\"time\":\"2026-07-01T12:00:00Z\",\"level\":\"warning\","
           "\"message\":\"could\\nnot \\\"be\\\" read\",\"mountpoint\":\"/home/eva/ag\\nnes\","
           "\"path\":\"data/sales/orders.parquet\",\"key\":\"md5-0-1\","
           "\"url\":\"https://store.example.com/a@b\",\"errno\":\"EACCES\",\"reader_pid\":5120,"
           "\"generation\":7}\n");
    expect(&entry, LOG_JOURNAL,
           "PRIORITY=4\nSYSLOG_IDENTIFIER=agnesfs\nMESSAGE=could\\x0anot \"be\" read\n"
           "AGNESFS_MOUNTPOINT=/home/eva/ag\\x0anes\nAGNESFS_PATH=data/sales/orders.parquet\n"
           "AGNESFS_KEY=md5-0-1\nAGNESFS_URL=https://store.example.com/a@b\nERRNO=13\n"
           "AGNESFS_READER_PID=5120\nAGNESFS_GENERATION=7\n");
}

static void test_what_is_not_known_is_left_out(void **state)
{
    const struct log_entry bare = {.level = LOG_ERROR, .message = ""};

    expect(&bare, LOG_JSON,
           "{\"time\":\"1970-01-01T00:00:00Z\",\"level\":\"error\",\"message\":\"\"}\n");
    expect(&bare, LOG_JOURNAL, "PRIORITY=3\nSYSLOG_IDENTIFIER=agnesfs\nMESSAGE=\n");
}

static void test_format_by_itself(void **state)
{
    char stream[64];
    struct stat st;

    assert_int_equal(fstat(STDERR_FILENO, &st), 0);
    snprintf(stream, sizeof(stream), "%llu:%llu", (unsigned long long)st.st_dev,
             (unsigned long long)st.st_ino);
    assert_int_equal(log_format_pick(NULL, true), LOG_TEXT);
    setenv("JOURNAL_STREAM", stream, 1);
    assert_int_equal(log_format_pick(NULL, true), LOG_JOURNAL);
    assert_int_equal(log_format_pick(NULL, false), LOG_TEXT); /* it goes to a file */
    assert_int_equal(log_format_pick("json", true), LOG_JSON);
    setenv("JOURNAL_STREAM", "1:1", 1); /* stderr was redirected since */
    assert_int_equal(log_format_pick(NULL, true), LOG_TEXT);
    unsetenv("JOURNAL_STREAM");
    assert_int_equal(log_format_pick("journal", false), LOG_JOURNAL);
}

static void read_file(const char *path, char *ret_text, size_t size)
{
    int fd = open(path, O_RDONLY);
    ssize_t n = read(fd, ret_text, size - 1);

    assert_true(n >= 0);
    ret_text[n] = '\0';
    close(fd);
}

/* The journal takes it; when it is gone, the file does; when it is back, it does again. */
static void test_a_journal_that_comes_and_goes(void **state)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    static const char last[] = "PRIORITY=3\nSYSLOG_IDENTIFIER=agnesfs\nMESSAGE=killed by SIGTEST\n";
    char path[512];
    char text[1024];
    struct log *log;
    int fd = socket(AF_UNIX, SOCK_DGRAM, 0);

    snprintf(address.sun_path, sizeof(address.sun_path), "%.80s/j", (const char *)*state);
    snprintf(path, sizeof(path), "%s/log", (const char *)*state);

    const struct log_conf conf = {path, LOG_INFO, LOG_JOURNAL, "/m", address.sun_path};

    assert_int_equal(log_open(&conf, &log), -ENOENT);
    assert_int_equal(bind(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(log_open(&conf, &log), 0);
    log_write(log, LOG_INFO, "one %d", 1);
    assert_true(recv(fd, text, sizeof(text), MSG_DONTWAIT) > 0);
    assert_non_null(strstr(text, "MESSAGE=one 1\nAGNESFS_MOUNTPOINT=/m\n"));
    close(fd);
    log_write(log, LOG_INFO, "two");
    read_file(path, text, sizeof(text));
    assert_non_null(strstr(text, " info two\n"));
    assert_null(strstr(text, "one"));
    unlink(address.sun_path);
    fd = socket(AF_UNIX, SOCK_DGRAM, 0);
    assert_int_equal(bind(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
    log_last_words(log, "killed by SIGTEST");
    assert_true(recv(fd, text, sizeof(text), MSG_DONTWAIT) > 0);
    assert_memory_equal(text, last, strlen(last));
    read_file(path, text, sizeof(text));
    assert_non_null(strstr(text, " error killed by SIGTEST\n"));
    close(fd);
    log_close(log);
}

static void test_levels_change_while_it_is_open(void **state)
{
    char path[512];
    char text[1024];
    enum log_level level = LOG_INFO;
    struct log *log;

    snprintf(path, sizeof(path), "%s/log", (const char *)*state);
    assert_true(log_level_parse("debug", &level));
    assert_int_equal(level, LOG_DEBUG);
    assert_false(log_level_parse("loud", &level));
    assert_false(log_level_parse(NULL, &level));
    assert_int_equal(
        log_open(&(struct log_conf){.path = path, .level = LOG_INFO, .format = LOG_JSON}, &log), 0);
    log_write(log, LOG_DEBUG, "one");
    log_set_level(log, LOG_DEBUG);
    log_write(log, LOG_DEBUG, "two");
    log_set_level(log, LOG_ERROR);
    log_write(log, LOG_WARNING, "three");
    log_last_words(log, "killed by SIGTEST");
    log_close(log);
    read_file(path, text, sizeof(text));
    assert_null(strstr(text, "one"));
    assert_non_null(strstr(text, "\"level\":\"debug\",\"message\":\"two\"}\n"));
    assert_null(strstr(text, "three"));
    assert_non_null(strstr(text, "\"level\":\"error\",\"message\":\"killed by SIGTEST\"}\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forms),
        cmocka_unit_test(test_what_is_not_known_is_left_out),
        cmocka_unit_test(test_format_by_itself),
        cmocka_unit_test_setup_teardown(test_a_journal_that_comes_and_goes, home_begin, home_end),
        cmocka_unit_test_setup_teardown(test_levels_change_while_it_is_open, home_begin, home_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
