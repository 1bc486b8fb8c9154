/* SPDX-License-Identifier: MIT */
/* test_paths.c - where things lie, and that two stacks never meet there. */
#include "tests/unit/cli/fixture.h"

#include <errno.h>

#include "fs/cli/mounts.h"
#include "fs/cli/paths.h"

static char *cache_of(const char *text, const char *cache_dir)
{
    struct source *source = NULL;
    char *path = NULL;

    assert_int_equal(source_parse(text, &source), 0);
    assert_int_equal(paths_cache(cache_dir, source, &path), 0);
    source_free(source);
    return path;
}

static void test_cache_folder(void **state)
{
    char *at_home = cache_of("https://a.example", NULL);
    char *given = cache_of("https://a.example", "/c");
    char *expected = path_join(*state, ".cache/agnesfs/a.example-");

    assert_int_equal(strncmp(at_home, expected, strlen(expected)), 0);
    assert_int_equal(strlen(at_home), strlen(expected) + 8);
    assert_int_equal(strncmp(given, "/c/a.example-", 13), 0);
    setenv("XDG_CACHE_HOME", "/xdg", 1);
    free(at_home);
    at_home = cache_of("https://a.example", NULL);
    assert_int_equal(strncmp(at_home, "/xdg/agnesfs/a.example-", 23), 0);
    free(at_home);
    free(given);
    free(expected);
}

static void test_stacks_do_not_share(void **state)
{
    static const char *const sources[] = {
        "https://a.example",
        "https://a.example:8443",
        "http://a.example",
        "https://a.example/x/manifest.json",
        "https://a.example/y/manifest.json",
        "/srv/one",
        "/srv/two",
    };
    enum { COUNT = sizeof(sources) / sizeof(sources[0]) };
    char *paths[COUNT];

    for (size_t i = 0; i < COUNT; i++) {
        paths[i] = cache_of(sources[i], "/c");
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(paths[i], paths[j]);
    }
    for (size_t i = 0; i < COUNT; i++)
        free(paths[i]);
}

static void expect_absolute(const char *dir, const char *expected)
{
    char *path = NULL;

    assert_int_equal(paths_absolute(dir, &path), 0);
    assert_string_equal(path, expected);
    free(path);
}

static void test_absolute(void **state)
{
    char *home = realpath(*state, NULL);
    char *real = path_join(home, "real");
    char *missing = path_join(home, "real/not-there");
    char *link = path_join(home, "link");
    char *through = path_join(home, "link/not-there//");
    char *loop = path_join(home, "loop");
    char *path = NULL;

    assert_int_equal(mkdir(real, 0700), 0);
    assert_int_equal(symlink("real", link), 0);
    assert_int_equal(symlink(loop, loop), 0);
    expect_absolute("/", "/");
    expect_absolute(real, real);
    expect_absolute(missing, missing);
    expect_absolute(link, real);
    expect_absolute(through, missing);
    assert_int_equal(chdir(real), 0);
    expect_absolute("not-there", missing);
    expect_absolute(".", real);
    expect_absolute("..", home);
    expect_absolute("../real/", real);
    assert_int_equal(paths_absolute("a/b", &path), -ENOENT);
    assert_int_equal(paths_absolute("", &path), -ENOENT);
    assert_int_equal(paths_absolute(loop, &path), -ELOOP);
    assert_int_equal(chdir("/"), 0);
    free(home);
    free(real);
    free(missing);
    free(link);
    free(through);
    free(loop);
}

static void test_private_folder(void **state)
{
    char *path = path_join(*state, "a/b/c");
    struct stat st;

    assert_int_equal(paths_make_private(path), 0);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    assert_int_equal(paths_make_private(path), 0);
    assert_int_equal(chmod(path, 0750), 0);
    assert_int_equal(paths_make_private(path), -EPERM);
    assert_int_equal(rmdir(path), 0);
    assert_int_equal(symlink(*state, path), 0);
    assert_int_equal(paths_make_private(path), -EPERM);
    free(path);
}

static void test_runtime_folder(void **state)
{
    char *session = path_join(*state, "session");
    char *expected = path_join(*state, "session/agnesfs");
    char *path = NULL;

    assert_int_equal(mkdir(session, 0700), 0);
    setenv("XDG_RUNTIME_DIR", session, 1);
    assert_int_equal(paths_runtime(&path), 0);
    assert_string_equal(path, expected);
    free(path);
    free(session);
    free(expected);
}

static void test_mounts(void **state)
{
    struct mounts_entry entry;

    assert_int_equal(mounts_at("/proc", &entry), MOUNTS_OTHER);
    assert_string_equal(entry.type, "proc");
    assert_int_equal(entry.user, (uid_t)-1);
    assert_int_equal(mounts_at(*state, &entry), MOUNTS_NOTHING);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        home_test(test_cache_folder),   home_test(test_stacks_do_not_share),
        home_test(test_absolute),       home_test(test_private_folder),
        home_test(test_runtime_folder), home_test(test_mounts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
