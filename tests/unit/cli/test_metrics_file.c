/* SPDX-License-Identifier: MIT */
/* test_metrics_file.c - a whole file or none, again and again, and none in the end. */
#include "tests/unit/cli/fixture.h"

#include <errno.h>
#include <stdatomic.h>
#include <time.h>

#include "fs/cli/metrics_file.h"

struct source {
    atomic_uint rendered;
    atomic_uint failures;
    atomic_int error;
};

static int render(void *arg, char **ret_text, size_t *ret_size)
{
    struct source *source = arg;
    int length = asprintf(ret_text, "agnesfs_up %u\n", atomic_fetch_add(&source->rendered, 1));

    assert_true(length > 0);
    *ret_size = (size_t)length;
    return 0;
}

static void failed(void *arg, int error)
{
    struct source *source = arg;

    atomic_store(&source->error, error);
    atomic_fetch_add(&source->failures, 1);
}

static void wait_until_above(const atomic_uint *counter, unsigned value)
{
    for (int i = 0; i < 3000 && atomic_load(counter) <= value; i++)
        nanosleep(&(struct timespec){.tv_nsec = 10 * 1000 * 1000}, NULL);
    assert_true(atomic_load(counter) > value);
}

static struct metrics_file *start(struct source *source, const char *path)
{
    const struct metrics_file_conf conf = {path, 5, render, failed, source};
    struct metrics_file *file;

    assert_int_equal(metrics_file_start(&conf, &file), 0);
    return file;
}

static void test_written_anew_and_removed(void **state)
{
    struct source source = {0};
    char path[512];
    char planted[600];
    char text[64] = "";
    struct stat st;

    snprintf(path, sizeof(path), "%s/agnesfs.prom", (const char *)*state);
    snprintf(planted, sizeof(planted), "%s.new", path);
    assert_int_equal(symlink("/dev/full", planted), 0); /* not written to */
    umask(077);

    struct metrics_file *file = start(&source, path);

    wait_until_above(&source.rendered, 3);
    assert_int_equal(lstat(path, &st), 0);
    assert_true(S_ISREG(st.st_mode));
    assert_int_equal(st.st_mode & 0777, 0644);

    FILE *stream = fopen(path, "r");

    assert_non_null(stream);
    assert_non_null(fgets(text, sizeof(text), stream));
    fclose(stream);
    assert_int_equal(strncmp(text, "agnesfs_up ", 11), 0);
    metrics_file_end(file);
    assert_int_equal(atomic_load(&source.failures), 0);
    assert_int_equal(access(path, F_OK), -1);
    assert_int_equal(lstat(planted, &st), -1);
}

static void test_a_failure_is_said_once(void **state)
{
    struct source source = {0};
    char path[512];

    snprintf(path, sizeof(path), "%s/not-there/agnesfs.prom", (const char *)*state);

    struct metrics_file *file = start(&source, path);

    wait_until_above(&source.rendered, 5);
    assert_int_equal(atomic_load(&source.failures), 1);
    assert_int_equal(atomic_load(&source.error), -ENOENT);
    metrics_file_end(file);
    metrics_file_end(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_written_anew_and_removed, home_begin, home_end),
        cmocka_unit_test_setup_teardown(test_a_failure_is_said_once, home_begin, home_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
