/* SPDX-License-Identifier: MIT */
#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>

#include "tests/unit/cache/fixture.h"

static void makes_its_folder(void **state)
{
    char *dir = tempdir_new();
    scoped_free char *root = path_join(dir, "a/b/c");
    scoped_free char *parent = path_join(dir, "a");
    struct store *store = NULL;
    struct stat st;
    const mode_t mask = umask(0);

    assert_int_equal(store_open(root, STORE_WRITER, &store), 0);
    umask(mask);
    assert_int_equal(stat(root, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    assert_int_equal(stat(parent, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    assert_string_equal(store_root(store), root);
    assert_int_equal(store_mode(store), STORE_WRITER);
    assert_false(store_was_unclean(store));

    scoped_free char *tag = file_read(root, "CACHEDIR.TAG", NULL);

    assert_int_equal(strncmp(tag, "Signature: 8a477f597d28d172789f06886806bc55\n", 44), 0);
    store_close(store);
    tempdir_free(dir);
}

static void root_must_be_private(void **state)
{
    const mode_t open_modes[] = {0755, 0701, 0710, 0770};
    char *dir = tempdir_new();
    struct store *store = NULL;

    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(chmod(dir, open_modes[i]), 0);
        assert_int_equal(store_open(dir, STORE_WRITER, &store), -EPERM);
        assert_int_equal(store_open(dir, STORE_READER, &store), -EPERM);
    }
    assert_int_equal(chmod(dir, 0700), 0);
    if (geteuid() == 0) {
        assert_int_equal(chown(dir, 12345, (gid_t)-1), 0);
        assert_int_equal(store_open(dir, STORE_WRITER, &store), -EPERM);
        assert_int_equal(chown(dir, 0, (gid_t)-1), 0);
    }
    file_write(dir, "file", "", 0);

    scoped_free char *file = path_join(dir, "file");

    assert_int_equal(store_open(file, STORE_WRITER, &store), -ENOTDIR);
    assert_int_equal(store_open("", STORE_WRITER, &store), -ENOENT);
    tempdir_free(dir);
}

static void parts_must_be_directories(void **state)
{
    char *dir = tempdir_new();
    char *elsewhere = tempdir_new();
    scoped_free char *shared = path_join(dir, "_shared");
    struct store *store = NULL;

    assert_int_equal(symlink(elsewhere, shared), 0);
    assert_int_equal(store_open(dir, STORE_WRITER, &store), -ENOTDIR);
    tempdir_free(dir);
    tempdir_free(elsewhere);
}

static void one_writer_many_readers(void **state)
{
    struct fixture *fixture = *state;
    struct store *second = NULL, *reader = NULL, *other_reader = NULL;
    struct blob_key key = put(fixture->store, "one");

    assert_int_equal(store_open(fixture->dir, STORE_WRITER, &second), -EBUSY);
    assert_int_equal(store_open(fixture->dir, STORE_READER, &reader), 0);
    assert_int_equal(store_open(fixture->dir, STORE_READER, &other_reader), 0);
    assert_int_equal(store_verify(reader, &key), 0);
    assert_holds(reader, &key, "one");
    store_close(other_reader);

    /* A reader that closes leaves no marker behind a living writer. */
    store_close(reader);
    assert_false(exists(fixture, "clean"));
    reopen(fixture); /* the lock went with its holder */
}

/* Removing it would let two processes lock two files of one name. */
static void the_lock_file_is_never_removed(void **state)
{
    struct fixture *fixture = *state;
    scoped_free char *lock = path_join(fixture->dir, "lock");
    struct stat before, after;

    assert_int_equal(stat(lock, &before), 0);
    reopen(fixture);
    assert_int_equal(stat(lock, &after), 0);
    assert_int_equal(before.st_ino, after.st_ino);
}

static void reader_changes_nothing(void **state)
{
    struct fixture *fixture = *state;
    struct blob_key key = put(fixture->store, "kept");
    scoped_free char *path = blob_file(fixture, &key);
    struct store *reader = NULL;
    struct writer *writer = NULL;

    assert_int_equal(store_open(fixture->dir, STORE_READER, &reader), 0);
    assert_int_equal(store_drop(reader, &key), -EROFS);
    assert_int_equal(store_save_trust(reader), -EROFS);
    assert_int_equal(writer_begin(reader, "x", 1, &writer), -EROFS);
    make_writable(path);
    assert_int_equal(truncate(path, 1), 0);
    assert_int_equal(store_verify(reader, &key), -EBADMSG);
    assert_int_equal(access(path, F_OK), 0);
    store_close(reader);
}

static void reader_needs_a_store(void **state)
{
    char *dir = tempdir_new();
    scoped_free char *root = path_join(dir, "none");
    struct store *store = NULL;

    assert_int_equal(store_open(dir, STORE_READER, &store), -ENOENT);
    assert_int_equal(store_open(root, STORE_READER, &store), -ENOENT);
    assert_int_equal(access(root, F_OK), -1);
    tempdir_free(dir);
}

static void get_answers(void **state)
{
    struct fixture *fixture = *state;
    struct blob_key absent = text_key("never put");
    struct blob_key key = put(fixture->store, "hello");
    scoped_fd int fd = -1;
    struct stat st;

    assert_int_equal(get(fixture->store, &absent), -ENOENT);
    assert_false(store_has(fixture->store, &absent));
    assert_int_equal(store_verify(fixture->store, &absent), -ENOENT);
    assert_true(store_has(fixture->store, &key));
    assert_true(store_expects(fixture->store, &key));
    assert_false(store_expects(fixture->store, &absent));
    assert_int_equal(store_get(fixture->store, &key, &fd), 0);
    assert_int_equal(fcntl(fd, F_GETFL) & O_ACCMODE, O_RDONLY);
    assert_int_equal(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(st.st_mode, S_IFREG | 0400);

    /* The same digest under another size is another blob. */
    key.size++;
    assert_int_equal(get(fixture->store, &key), -ENOENT);
}

static void file_of_another_owner(void **state)
{
    struct fixture *fixture = *state;
    struct blob_key key = put(fixture->store, "hello");
    scoped_free char *path = blob_file(fixture, &key);

    if (geteuid() != 0)
        skip();
    assert_int_equal(chown(path, 12345, (gid_t)-1), 0);
    assert_int_equal(get(fixture->store, &key), -EUCLEAN);
    assert_int_equal(store_verify(fixture->store, &key), -EBADMSG);
    assert_int_equal(get(fixture->store, &key), -ENOENT);
}

static void descriptor_outlives_the_name(void **state)
{
    struct fixture *fixture = *state;
    struct blob_key key = put(fixture->store, "hello");
    scoped_fd int fd = -1;
    char buffer[8] = {0};

    assert_int_equal(store_get(fixture->store, &key, &fd), 0);
    assert_int_equal(store_drop(fixture->store, &key), 0);
    assert_int_equal(store_drop(fixture->store, &key), 0);
    assert_int_equal(get(fixture->store, &key), -ENOENT);
    assert_int_equal(read(fd, buffer, 8), 5);
    assert_string_equal(buffer, "hello");
}

static void drop_forgets_the_record(void **state)
{
    struct fixture *fixture = *state;
    struct blob_key key = put(fixture->store, "hello");
    char text[BLOB_KEY_TEXT_SIZE];

    assert_int_equal(store_save_trust(fixture->store), 0);
    scoped_free char *before = file_read(fixture->dir, "trust", NULL);

    assert_int_equal(store_drop(fixture->store, &key), 0);
    assert_int_equal(store_save_trust(fixture->store), 0);
    scoped_free char *after = file_read(fixture->dir, "trust", NULL);

    blob_key_format(&key, text);
    assert_non_null(strstr(before, text));
    assert_null(strstr(after, text));
}

/* The folder is moved away and another one takes its path: we stay with ours. */
static void root_path_is_resolved_once(void **state)
{
    struct fixture *fixture = *state;
    struct blob_key key = put(fixture->store, "hello");
    scoped_free char *moved = NULL;

    assert_true(asprintf(&moved, "%s.moved", fixture->dir) > 0);
    assert_int_equal(rename(fixture->dir, moved), 0);
    assert_int_equal(mkdir(fixture->dir, 0700), 0);
    assert_holds(fixture->store, &key, "hello");
    put(fixture->store, "more");
    assert_int_equal(store_flush(fixture->store), 0);
    assert_int_equal(rmdir(fixture->dir), 0); /* nothing was written here */
    assert_int_equal(rename(moved, fixture->dir), 0);
}

static void flush_and_usage(void **state)
{
    struct fixture *fixture = *state;
    struct store_usage usage;
    struct writer *writer = begin(fixture->store, "half");

    assert_int_equal(writer_write(writer, "1234567", 7), 0);
    put(fixture->store, "hello");
    put(fixture->store, "world!");
    assert_int_equal(store_flush(fixture->store), 0);
    assert_int_equal(store_flush(fixture->store), 0);
    assert_int_equal(store_usage(fixture->store, &usage), 0);
    assert_int_equal(usage.blobs, 2);
    assert_int_equal(usage.bytes, 11);
    assert_int_equal(usage.partial_bytes, 7);
    writer_abort(writer);
}

static void marker_only_after_an_orderly_end(void **state)
{
    struct fixture *fixture = *state;

    assert_false(exists(fixture, "clean"));
    put(fixture->store, "hello");
    store_close(fixture->store);
    assert_true(exists(fixture, "clean"));
    assert_int_equal(store_open(fixture->dir, STORE_WRITER, &fixture->store), 0);
    assert_false(exists(fixture, "clean"));

    /* Trust that can not be saved: no marker. */
    scoped_free char *trap = path_join(fixture->dir, "trust.new/x");

    file_write(fixture->dir, "trust.new/x", "", 0);
    assert_true(store_save_trust(fixture->store) < 0);
    store_close(fixture->store);
    assert_false(exists(fixture, "clean"));
    assert_int_equal(unlink(trap), 0);
    assert_int_equal(store_open(fixture->dir, STORE_WRITER, &fixture->store), 0);
    assert_true(store_was_unclean(fixture->store));
}

static void shard_that_is_something_else(void **state)
{
    struct fixture *fixture = *state;
    struct blob_key key = text_key("hello");
    scoped_free char *path = blob_file(fixture, &key);
    char *elsewhere = tempdir_new();

    *strrchr(path, '/') = '\0';
    file_write("/", path + 1, "a file", 6);
    assert_int_equal(get(fixture->store, &key), -ENOENT);
    put(fixture->store, "hello");
    assert_holds(fixture->store, &key, "hello");
    assert_int_equal(store_drop(fixture->store, &key), 0);

    /* A link out of the store: nothing is written through it. */
    assert_int_equal(rmdir(path), 0);
    assert_int_equal(symlink(elsewhere, path), 0);
    put(fixture->store, "hello");
    assert_holds(fixture->store, &key, "hello");
    assert_int_equal(rmdir(elsewhere), 0);
    free(elsewhere);
}

/* Not even the right bytes are taken from outside: they could be changed there at any time. */
static void nothing_is_read_through_a_shard_that_is_a_link(void **state)
{
    struct fixture *fixture = *state;
    struct blob_key key = put(fixture->store, "hello");
    scoped_free char *path = blob_file(fixture, &key);
    char *elsewhere = tempdir_new();
    scoped_free char *moved = path_join(elsewhere, strrchr(path, '/') + 1);
    int fd = -1;

    assert_int_equal(rename(path, moved), 0);
    *strrchr(path, '/') = '\0';
    assert_int_equal(rmdir(path), 0);
    assert_int_equal(symlink(elsewhere, path), 0);
    assert_int_equal(store_get(fixture->store, &key, &fd), -EUCLEAN);
    assert_int_equal(store_verify(fixture->store, &key), -EBADMSG);
    assert_int_equal(access(moved, F_OK), 0);
    put(fixture->store, "hello");
    assert_holds(fixture->store, &key, "hello");
    assert_int_equal(access(moved, F_OK), 0);
    tempdir_free(elsewhere);
}

/* --- many threads --- */

enum { THREADS = 8, ROUNDS = 40, TEXTS = 12 };

struct crowd {
    struct store *store;
    atomic_int next_name;
    atomic_int bad;
    struct blob_key keys[TEXTS];
};

static void text_of(unsigned int i, char ret_text[static 32])
{
    snprintf(ret_text, 32, "text number %u", i);
}

static void commit_one(struct crowd *crowd, unsigned int i)
{
    struct writer *writer = NULL;
    char text[32];
    char name[32];

    text_of(i, text);
    snprintf(name, sizeof(name), "w%d", atomic_fetch_add(&crowd->next_name, 1));
    if (writer_begin(crowd->store, name, 100, &writer) < 0 ||
        writer_write(writer, text, strlen(text)) < 0 ||
        writer_commit(writer, &crowd->keys[i], NULL) < 0)
        atomic_fetch_add(&crowd->bad, 1);
}

static void read_one(struct crowd *crowd, unsigned int i)
{
    scoped_fd int fd = -1;
    char text[32];
    char bytes[32] = {0};
    int r = store_get(crowd->store, &crowd->keys[i], &fd);

    text_of(i, text);
    if (r == 0 && (read(fd, bytes, 31) < 0 || strcmp(bytes, text) != 0))
        atomic_fetch_add(&crowd->bad, 1);
    if (r < 0 && r != -ENOENT && r != -EUCLEAN)
        atomic_fetch_add(&crowd->bad, 1);
}

static void *work(void *arg)
{
    struct crowd *crowd = arg;

    for (unsigned int round = 0; round < ROUNDS; round++) {
        unsigned int i = (round * 7 + (unsigned int)atomic_load(&crowd->next_name)) % TEXTS;

        commit_one(crowd, i);
        read_one(crowd, i);
        if (round % 8 == 3)
            store_verify(crowd->store, &crowd->keys[i]);
        if (round % 16 == 5)
            store_drop(crowd->store, &crowd->keys[i]);
        if (round % 16 == 9 &&
            (store_flush(crowd->store) < 0 || store_save_trust(crowd->store) < 0))
            atomic_fetch_add(&crowd->bad, 1);
    }
    return NULL;
}

static void many_threads(void **state)
{
    struct fixture *fixture = *state;
    struct crowd crowd = {.store = fixture->store};
    pthread_t threads[THREADS];
    char text[32];

    for (unsigned int i = 0; i < TEXTS; i++) {
        text_of(i, text);
        crowd.keys[i] = text_key(text);
    }
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, work, &crowd), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(atomic_load(&crowd.bad), 0);

    /* No race left a record that describes another file: what is there is trusted. */
    for (unsigned int i = 0; i < TEXTS; i++) {
        int r = get(fixture->store, &crowd.keys[i]);

        assert_true(r == 0 || r == -ENOENT);
    }
}

/* Two writers of one key finish at the same moment: whoever of them wins, the record left behind
 * is about the winner's file. */
struct duel {
    struct writer *writer;
    const struct blob_key *key;
    pthread_barrier_t *start;
};

static void *finish(void *arg)
{
    struct duel *duel = arg;

    pthread_barrier_wait(duel->start);
    return writer_commit(duel->writer, duel->key, NULL) == 0 ? NULL : duel;
}

static void commits_of_one_key_at_once(void **state)
{
    struct fixture *fixture = *state;
    struct blob_key key = text_key("same");
    pthread_barrier_t start;

    pthread_barrier_init(&start, NULL, THREADS);
    for (int round = 0; round < 100; round++) {
        struct duel duels[THREADS];
        pthread_t threads[THREADS];
        char name[16];
        void *failed = NULL;

        for (int i = 0; i < THREADS; i++) {
            snprintf(name, sizeof(name), "w%d", i);
            duels[i] = (struct duel){begin(fixture->store, name), &key, &start};
            assert_int_equal(writer_write(duels[i].writer, "same", 4), 0);
        }
        for (int i = 0; i < THREADS; i++)
            assert_int_equal(pthread_create(&threads[i], NULL, finish, &duels[i]), 0);
        for (int i = 0; i < THREADS; i++) {
            pthread_join(threads[i], &failed);
            assert_null(failed);
        }
        assert_int_equal(get(fixture->store, &key), 0);
        assert_int_equal(store_drop(fixture->store, &key), 0);
    }
    pthread_barrier_destroy(&start);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(makes_its_folder),
        cmocka_unit_test(root_must_be_private),
        cmocka_unit_test(parts_must_be_directories),
        fixture_test(nothing_is_read_through_a_shard_that_is_a_link),
        fixture_test(one_writer_many_readers),
        fixture_test(the_lock_file_is_never_removed),
        fixture_test(reader_changes_nothing),
        cmocka_unit_test(reader_needs_a_store),
        fixture_test(get_answers),
        fixture_test(file_of_another_owner),
        fixture_test(descriptor_outlives_the_name),
        fixture_test(drop_forgets_the_record),
        fixture_test(root_path_is_resolved_once),
        fixture_test(flush_and_usage),
        fixture_test(marker_only_after_an_orderly_end),
        fixture_test(shard_that_is_something_else),
        fixture_test(many_threads),
        fixture_test(commits_of_one_key_at_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
