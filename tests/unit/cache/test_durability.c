/* SPDX-License-Identifier: MIT */
/* The commit order, as the kernel is asked for it: the system calls that matter are caught here on
 * their way out, noted with the names they work on, and made to fail on demand. */
#include <sys/stat.h>
#include <sys/syscall.h>

#include "cache/partial.h"
#include "tests/unit/cache/fixture.h"

static struct {
    char log[4096];
    const char *root;
    int fail_fdatasync;
} spy;

/* "call:path " relative to the root; a partial and a blob by their folders alone. */
static void note(const char *call, int fd)
{
    char link[64];
    char path[512] = {0};
    size_t used = strlen(spy.log);

    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    if (!spy.root || readlink(link, path, sizeof(path) - 1) < 0)
        return;
    const char *rel = strncmp(path, spy.root, strlen(spy.root)) ? path : path + strlen(spy.root);

    snprintf(spy.log + used, sizeof(spy.log) - used, "%s:%s ", call, *rel ? rel : "/");
}

int fsync(int fd)
{
    note("fsync", fd);
    return (int)syscall(SYS_fsync, fd);
}

int fdatasync(int fd)
{
    note("fdatasync", fd);
    if (spy.fail_fdatasync) {
        errno = spy.fail_fdatasync;
        return -1;
    }
    return (int)syscall(SYS_fdatasync, fd);
}

int fchmod(int fd, mode_t mode)
{
    note(mode == 0400 ? "seal" : "fchmod", fd);
    return (int)syscall(SYS_fchmod, fd, mode);
}

int renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned int flags)
{
    note(flags == RENAME_NOREPLACE ? "publish" : "renameat2", to_dir);
    return (int)syscall(SYS_renameat2, from_dir, from, to_dir, to, flags);
}

static void watch(const struct fixture *fixture)
{
    spy.log[0] = '\0';
    spy.root = fixture->dir;
}

static const char *seen(void)
{
    spy.root = NULL;
    return spy.log;
}

/* md5("hello") begins with 5d. */
static void commit_order(void **state)
{
    struct fixture *fixture = *state;

    watch(fixture);
    put(fixture->store, "hello");
    assert_string_equal(seen(), "seal:/partial/put fdatasync:/partial/put publish:/_shared/5d ");

    watch(fixture);
    assert_int_equal(store_flush(fixture->store), 0);
    assert_string_equal(seen(), "fsync:/_shared/5d fsync:/_shared ");

    watch(fixture);
    assert_int_equal(store_flush(fixture->store), 0);
    assert_string_equal(seen(), ""); /* nothing has changed since */

    /* The shard is there by now, and one fsync serves both blobs. */
    struct blob_key key = text_key("hello");

    assert_int_equal(store_drop(fixture->store, &key), 0);
    put(fixture->store, "hello");
    put(fixture->store, "hello");
    watch(fixture);
    assert_int_equal(store_flush(fixture->store), 0);
    assert_string_equal(seen(), "fsync:/_shared/5d ");
}

static struct partial *fill_hello(struct store *store)
{
    const struct blob_key key = text_key("hello");
    struct partial *partial = NULL;

    assert_int_equal(partial_begin(store, &key, &partial), 0);
    assert_int_equal(partial_write(partial, 0, "hello", 5), 0);
    return partial;
}

/* A partial is flushed before its map, and ends as a draft does. */
static void partial_order(void **state)
{
    struct fixture *fixture = *state;
    struct partial *partial = fill_hello(fixture->store);
    const struct blob_key key = text_key("hello");
    scoped_free char *data = partial_rel(&key, "");
    scoped_free char *expected = NULL;

    watch(fixture);
    assert_int_equal(partial_flush(partial), 0);
    assert_true(asprintf(&expected, "fdatasync:/%s fdatasync:/%s.map ", data, data) > 0);
    assert_string_equal(seen(), expected);
    free(expected);
    assert_true(asprintf(&expected, "seal:/%s fdatasync:/%s publish:/_shared/5d ", data, data) > 0);
    watch(fixture);
    assert_int_equal(partial_commit(partial), 0);
    assert_string_equal(seen(), expected);
    partial_put(partial);
    assert_holds(fixture->store, &key, "hello");
}

/* Whose bytes may be gone from memory and never have reached the disk. */
static void failed_sync_gives_the_partial_up(void **state)
{
    struct fixture *fixture = *state;
    const struct blob_key key = text_key("hello");
    scoped_free char *data = partial_rel(&key, "");
    char buffer[5];

    for (int end = 0; end < 2; end++) {
        struct partial *partial = fill_hello(fixture->store);

        spy.fail_fdatasync = EIO;
        assert_int_equal(end ? partial_commit(partial) : partial_flush(partial), -EIO);
        spy.fail_fdatasync = 0;
        assert_int_equal(partial_read(partial, buffer, 5, 0), -EBADMSG);
        assert_int_equal(partial_commit(partial), -EBADMSG);
        assert_false(exists(fixture, data));
        partial_put(partial);
        assert_int_equal(get(fixture->store, &key), -ENOENT);
    }
}

static void trust_is_on_disk_before_the_marker(void **state)
{
    struct fixture *fixture = *state;

    put(fixture->store, "hello");
    watch(fixture);
    store_close(fixture->store);
    fixture->store = NULL;
    assert_string_equal(seen(),
                        "fsync:/_shared/5d fsync:/_shared fsync:/trust.new fsync:/ fsync:/ ");

    /* And the marker is off the disk before anything else happens. */
    watch(fixture);
    assert_int_equal(store_open(fixture->dir, STORE_WRITER, &fixture->store), 0);
    assert_string_equal(seen(), "fsync:/ ");
}

/* A killed writer's names were perhaps never flushed; whoever relies on them now has to. */
static void flush_after_an_unclean_stop_covers_all(void **state)
{
    struct fixture *fixture = *state;

    put(fixture->store, "hello");
    crash(fixture);
    watch(fixture);
    assert_int_equal(store_flush(fixture->store), 0);
    assert_string_equal(seen(), "fsync:/_shared/5d fsync:/_shared ");
}

static void failed_sync_removes_the_partial(void **state)
{
    struct fixture *fixture = *state;
    const struct blob_key key = text_key("hello");

    spy.fail_fdatasync = EIO;
    assert_int_equal(try_put(fixture->store, "hello", &key), -EIO);
    spy.fail_fdatasync = ENOSPC;
    assert_int_equal(try_put(fixture->store, "hello", &key), -ENOSPC);
    spy.fail_fdatasync = 0;
    assert_false(exists(fixture, "partial/put"));
    assert_int_equal(get(fixture->store, &key), -ENOENT);
    put(fixture->store, "hello");
    assert_holds(fixture->store, &key, "hello");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        fixture_test(commit_order),
        fixture_test(partial_order),
        fixture_test(failed_sync_gives_the_partial_up),
        fixture_test(trust_is_on_disk_before_the_marker),
        fixture_test(flush_after_an_unclean_stop_covers_all),
        fixture_test(failed_sync_removes_the_partial),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
