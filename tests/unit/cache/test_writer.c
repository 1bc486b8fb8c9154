/* SPDX-License-Identifier: MIT */
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "tests/unit/cache/fixture.h"

static void names(void **state)
{
    struct fixture *fixture = *state;
    char longest[130];
    const char *const bad[] = {
        "",      ".",   "..",    "a/b",  "../x",
        "a b",   "a\n", "x.map", ".map", "md5-00112233445566778899aabbccddeeff-1",
        longest,
    };
    struct writer *writer = NULL;

    memset(longest, 'x', 129);
    longest[129] = '\0';
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        assert_int_equal(writer_begin(fixture->store, bad[i], 1, &writer), -EINVAL);
    longest[128] = '\0';
    writer_abort(begin(fixture->store, longest));
    writer_abort(begin(fixture->store, "md5-00.part_1"));
    writer_abort(NULL);
}

static void wrong_bytes_leave_nothing(void **state)
{
    struct fixture *fixture = *state;
    struct blob_key key = text_key("right");

    assert_int_equal(try_put(fixture->store, "wrong", &key), -EBADMSG); /* same size */
    assert_int_equal(try_put(fixture->store, "righ", &key), -EBADMSG);
    assert_int_equal(try_put(fixture->store, "right.", &key), -EBADMSG);
    assert_int_equal(get(fixture->store, &key), -ENOENT);
    assert_false(exists(fixture, "partial/put"));

    put(fixture->store, "right");
    assert_int_equal(try_put(fixture->store, "wrong", &key), -EBADMSG);
    assert_holds(fixture->store, &key, "right");
}

static void what_is_there_stays(void **state)
{
    struct fixture *fixture = *state;
    struct blob_key key = put(fixture->store, "hello");
    scoped_free char *path = blob_file(fixture, &key);
    struct stat before, after;

    assert_int_equal(stat(path, &before), 0);
    put(fixture->store, "hello");
    assert_int_equal(stat(path, &after), 0);
    assert_int_equal(before.st_ino, after.st_ino);
    assert_holds(fixture->store, &key, "hello");
    assert_false(exists(fixture, "partial/put"));
}

static void names_bytes_by_what_they_are(void **state)
{
    struct fixture *fixture = *state;
    struct writer *writer = begin(fixture->store, "w");
    struct blob_key key, expected;

    blob_key_of_bytes("bundle", 6, &expected);
    assert_int_equal(writer_write(writer, "bun", 3), 0);
    assert_int_equal(writer_write(writer, "", 0), 0);
    assert_int_equal(writer_write(writer, "dle", 3), 0);
    assert_int_equal(writer_size(writer), 6);
    assert_int_equal(writer_commit(writer, NULL, &key), 0);
    assert_true(blob_key_equal(&key, &expected));
    assert_holds(fixture->store, &key, "bundle");
}

static void empty_blob(void **state)
{
    struct fixture *fixture = *state;
    struct blob_key key = put(fixture->store, "");

    assert_holds(fixture->store, &key, "");
    assert_int_equal(store_verify(fixture->store, &key), 0);
}

static void cap(void **state)
{
    struct fixture *fixture = *state;
    struct blob_key key = text_key("12345");
    struct writer *writer = NULL;

    assert_int_equal(writer_begin(fixture->store, "w", 5, &writer), 0);
    assert_int_equal(writer_write(writer, "123", 3), 0);
    assert_int_equal(writer_write(writer, "456", 3), -EFBIG);
    assert_int_equal(writer_size(writer), 3);
    assert_int_equal(writer_write(writer, "45", 2), 0);
    assert_int_equal(writer_write(writer, "6", 1), -EFBIG);
    assert_int_equal(writer_commit(writer, &key, NULL), 0);
    assert_holds(fixture->store, &key, "12345");
}

/* What a crash left vouches for nothing. */
static void leftover_is_not_taken_up(void **state)
{
    struct fixture *fixture = *state;
    struct blob_key key = text_key("xyz");

    file_write(fixture->dir, "partial/w", "old bytes", 9);
    struct writer *writer = begin(fixture->store, "w");

    assert_int_equal(writer_size(writer), 0);
    assert_int_equal(writer_write(writer, "xyz", 3), 0);
    assert_int_equal(writer_commit(writer, &key, NULL), 0);
    assert_holds(fixture->store, &key, "xyz");
}

/* Bytes beyond the size, left by a write that failed, are cut off before anybody sees them. */
static void cut_to_size(void **state)
{
    struct fixture *fixture = *state;
    struct blob_key key = text_key("abc");
    scoped_free char *path = path_join(fixture->dir, "partial/w");
    struct writer *writer = begin(fixture->store, "w");

    assert_int_equal(writer_write(writer, "abc", 3), 0);
    assert_int_equal(truncate(path, 300), 0);
    assert_int_equal(writer_commit(writer, &key, NULL), 0);
    assert_holds(fixture->store, &key, "abc");
}

static void obstacles_under_the_draft_name(void **state)
{
    struct fixture *fixture = *state;
    scoped_free char *path = path_join(fixture->dir, "partial/w");
    scoped_free char *outside = path_join(fixture->dir, "outside");

    for (int kind = 0; kind < 4; kind++) {
        file_write(fixture->dir, "outside", "abc", 3);
        if (kind == 0)
            assert_int_equal(symlink(outside, path), 0);
        else if (kind == 1)
            assert_int_equal(link(outside, path), 0);
        else if (kind == 2)
            assert_int_equal(mkfifo(path, 0600), 0);
        else
            assert_int_equal(mkdir(path, 0700), 0);

        struct writer *writer = begin(fixture->store, "w");

        assert_int_equal(writer_size(writer), 0);
        assert_int_equal(writer_write(writer, "xyz", 3), 0);
        writer_abort(writer);

        scoped_free char *kept = file_read(fixture->dir, "outside", NULL);

        assert_string_equal(kept, "abc");
    }
}

static void two_writers_of_one_name(void **state)
{
    struct fixture *fixture = *state;
    struct writer *first = begin(fixture->store, "w"), *second = NULL;

    assert_int_equal(writer_begin(fixture->store, "w", 1, &second), -EBUSY);
    assert_int_equal(writer_write(first, "x", 1), 0);
    writer_abort(first);
    writer_abort(begin(fixture->store, "w"));
}

static void two_writers_of_one_key(void **state)
{
    struct fixture *fixture = *state;
    struct blob_key key = text_key("same");
    struct writer *first = begin(fixture->store, "w1");
    struct writer *second = begin(fixture->store, "w2");

    assert_int_equal(writer_write(first, "same", 4), 0);
    assert_int_equal(writer_write(second, "same", 4), 0);
    assert_int_equal(writer_commit(first, &key, NULL), 0);
    assert_int_equal(writer_commit(second, &key, NULL), 0);
    assert_holds(fixture->store, &key, "same");
}

static void restart_forgets(void **state)
{
    struct fixture *fixture = *state;
    struct blob_key key = text_key("new");
    struct writer *writer = begin(fixture->store, "w");

    assert_int_equal(writer_write(writer, "something longer", 16), 0);
    assert_int_equal(writer_restart(writer), 0);
    assert_int_equal(writer_size(writer), 0);
    assert_int_equal(writer_write(writer, "new", 3), 0);
    assert_int_equal(writer_commit(writer, &key, NULL), 0);
    assert_holds(fixture->store, &key, "new");
}

static void edges(void **state)
{
    struct fixture *fixture = *state;
    struct writer *writer = begin(fixture->store, "w");
    uint8_t head[4], tail[4];

    assert_int_equal(writer_write(writer, "PAR1", 4), 0);
    assert_false(writer_edges(writer, head, tail));
    assert_int_equal(writer_write(writer, "xyzP", 4), 0);
    assert_true(writer_edges(writer, head, tail));
    assert_memory_equal(head, "PAR1", 4);
    assert_memory_equal(tail, "xyzP", 4);
    assert_int_equal(writer_write(writer, "AR1", 3), 0);
    assert_true(writer_edges(writer, head, tail));
    assert_memory_equal(head, "PAR1", 4);
    assert_memory_equal(tail, "PAR1", 4);
    writer_abort(writer);
}

static void cut_by_somebody_else(void **state)
{
    struct fixture *fixture = *state;
    struct blob_key key = text_key("hello");
    scoped_free char *path = path_join(fixture->dir, "partial/w");
    struct writer *writer = begin(fixture->store, "w");

    assert_int_equal(writer_write(writer, "hello", 5), 0);
    assert_int_equal(truncate(path, 2), 0);
    assert_int_equal(writer_commit(writer, &key, NULL), -EBADMSG);
    assert_int_equal(get(fixture->store, &key), -ENOENT);
}

/* A write that fails half-way counts for nothing and can be repeated. */
static void failed_write_is_harmless(void **state)
{
    struct fixture *fixture = *state;
    static char bytes[20000];
    struct rlimit old, tight;
    struct blob_key other = put(fixture->store, "other");

    memset(bytes, 'b', sizeof(bytes));
    struct blob_key key = md5_key(bytes, sizeof(bytes));
    struct writer *writer = begin(fixture->store, "w");

    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    tight = old;
    tight.rlim_cur = 15000;
    assert_int_equal(writer_write(writer, bytes, 10000), 0);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &tight), 0);
    assert_int_equal(writer_write(writer, bytes, 10000), -EFBIG);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_int_equal(writer_size(writer), 10000);
    assert_holds(fixture->store, &other, "other");

    assert_int_equal(writer_write(writer, bytes, 10000), 0);
    assert_int_equal(writer_commit(writer, &key, NULL), 0);
    assert_int_equal(get(fixture->store, &key), 0);
    assert_int_equal(store_verify(fixture->store, &key), 0);
}

/* Runs in a child; 77: not possible here. */
static int run_apart(int (*run)(struct fixture *fixture), struct fixture *fixture)
{
    int status = 0;

    fflush(NULL);
    store_close(fixture->store);
    fixture->store = NULL;

    pid_t child = fork();

    if (child == 0)
        _exit(run(fixture));
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77)
        skip();
    return WEXITSTATUS(status);
}

/* Each step has its own number, so that a failure in the child says where. */
static int on_a_full_disk(struct fixture *fixture)
{
    static char bytes[512 * 1024];
    struct writer *writer = NULL;
    struct store *store = NULL;
    struct blob_key key;
    int fd = -1;

    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("none", fixture->dir, "tmpfs", 0, "size=256k,mode=0700") < 0)
        return 77;
    if (store_open(fixture->dir, STORE_WRITER, &store) < 0)
        return 1;
    if (writer_begin(store, "w", sizeof(bytes), &writer) < 0)
        return 2;
    if (writer_write(writer, "abc", 3) < 0)
        return 3;
    if (writer_write(writer, bytes, sizeof(bytes) - 3) != -ENOSPC)
        return 4;
    if (writer_size(writer) != 3)
        return 5;
    blob_key_of_bytes("abc", 3, &key);
    if (writer_commit(writer, &key, NULL) < 0 || store_get(store, &key, &fd) < 0)
        return 6;
    store_close(store);
    if (store_open(fixture->dir, STORE_WRITER, &store) < 0 || store_was_unclean(store))
        return 7;
    if (!store_has(store, &key))
        return 8;
    store_close(store);
    return 0;
}

static void full_disk(void **state)
{
    assert_int_equal(run_apart(on_a_full_disk, *state), 0);
}

/* From here on renameat2 with flags answers as a file system without them. */
static bool forbid_renameat2_flags(void)
{
    struct sock_filter rules[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_renameat2, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[4])),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EINVAL),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const struct sock_fprog program = {.len = sizeof(rules) / sizeof(*rules), .filter = rules};

    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

static int without_renameat2(struct fixture *fixture)
{
    const struct blob_key key = text_key("linked");
    struct store *store = NULL;

    if (!forbid_renameat2_flags())
        return 77;
    if (store_open(fixture->dir, STORE_WRITER, &store) < 0)
        return 1;
    if (try_put(store, "linked", &key) < 0 || !store_has(store, &key))
        return 2;
    if (try_put(store, "linked", &key) < 0 || !store_has(store, &key)) /* EEXIST of linkat */
        return 3;
    store_close(store);
    return 0;
}

static void file_system_without_renameat2(void **state)
{
    assert_int_equal(run_apart(without_renameat2, *state), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        fixture_test(names),
        fixture_test(wrong_bytes_leave_nothing),
        fixture_test(what_is_there_stays),
        fixture_test(names_bytes_by_what_they_are),
        fixture_test(empty_blob),
        fixture_test(cap),
        fixture_test(leftover_is_not_taken_up),
        fixture_test(cut_to_size),
        fixture_test(obstacles_under_the_draft_name),
        fixture_test(two_writers_of_one_name),
        fixture_test(two_writers_of_one_key),
        fixture_test(restart_forgets),
        fixture_test(edges),
        fixture_test(cut_by_somebody_else),
        fixture_test(failed_write_is_harmless),
        fixture_test(full_disk),
        fixture_test(file_system_without_renameat2),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
