/* SPDX-License-Identifier: MIT */
/* A reader that takes the writer's word, and one that takes its place. */
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>

#include "tests/unit/cache/partial_fixture.h"

/* A writer in a process of its own, so that it can die: commits the text and waits. */
struct other {
    pid_t pid;
    int orders; /* closing it ends the other one in order */
};

static struct other other_writer(const char *dir, const char *text, bool save)
{
    struct other other;
    int ends[2], ready[2];
    char byte;

    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
    fflush(NULL);
    other.pid = fork();
    if (other.pid == 0) {
        struct store *store = NULL;

        close(ends[1]);
        if (store_open(dir, STORE_WRITER, &store) < 0)
            _exit(1);
        put(store, text);
        if (save && store_save_trust(store) < 0)
            _exit(2);
        if (write(ready[1], "", 1) != 1 || read(ends[0], &byte, 1) != 0)
            _exit(3);
        store_close(store);
        _exit(0);
    }
    close(ends[0]);
    close(ready[1]);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    other.orders = ends[1];
    return other;
}

static void other_ends(struct other other, bool killed)
{
    int status = 0;

    if (killed)
        kill(other.pid, SIGKILL);
    close(other.orders);
    assert_int_equal(waitpid(other.pid, &status, 0), other.pid);
    assert_true(killed ? WIFSIGNALED(status) : status == 0);
}

/* The fixture's store as a reader. */
static void become_reader(struct fixture *fixture)
{
    store_close(fixture->store);
    fixture->store = NULL;
    assert_int_equal(store_open(fixture->dir, STORE_READER, &fixture->store), 0);
}

/* --- vouching --- */

static void vouched_is_trusted_until_it_changes(void **state)
{
    struct fixture *fixture = *state;
    struct store *reader = NULL;
    struct blob_key absent = text_key("absent");

    assert_int_equal(store_open(fixture->dir, STORE_READER, &reader), 0);
    struct blob_key key = put(fixture->store, "hello");
    scoped_free char *path = blob_file(fixture, &key);

    assert_int_equal(get(reader, &key), -EUCLEAN);
    assert_int_equal(store_vouch(reader, &absent), -ENOENT);
    assert_int_equal(store_vouch(fixture->store, &key), -EINVAL);
    assert_int_equal(store_vouch(reader, &key), 0);
    assert_holds(reader, &key, "hello");
    assert_int_equal(store_vouch(reader, &key), 0);

    /* A look that has no XXH3 to compare with takes the key's own digest. */
    assert_int_equal(store_verify(reader, &key), 0);
    assert_holds(reader, &key, "hello");
    assert_int_equal(store_vouch(reader, &key), 0);
    assert_int_equal(utimensat(AT_FDCWD, path, NULL, 0), 0);
    assert_int_equal(get(reader, &key), -EUCLEAN);
    assert_int_equal(store_vouch(reader, &key), 0);
    make_writable(path);
    assert_int_equal(truncate(path, 3), 0);
    assert_int_equal(get(reader, &key), -EUCLEAN);
    assert_int_equal(store_vouch(reader, &key), -EUCLEAN);
    store_close(reader);
}

static void vouched_and_wrong_is_found_by_verify(void **state)
{
    struct fixture *fixture = *state;
    struct store *reader = NULL;
    struct blob_key key = put(fixture->store, "hello");
    scoped_free char *path = blob_file(fixture, &key);

    make_writable(path);
    file_write("/", path + 1, "hallo", 5);
    assert_int_equal(store_open(fixture->dir, STORE_READER, &reader), 0);
    assert_int_equal(store_vouch(reader, &key), 0);
    assert_int_equal(get(reader, &key), 0); /* the writer's word */
    assert_int_equal(store_verify(reader, &key), -EBADMSG);
    assert_int_equal(get(reader, &key), -EUCLEAN);
    store_close(reader);
}

/* --- promotion --- */

static void only_when_the_writer_is_gone(void **state)
{
    struct fixture *fixture = *state;
    struct store *reader = NULL, *second = NULL;

    assert_int_equal(store_promote(fixture->store), 0); /* is one */
    assert_int_equal(store_open(fixture->dir, STORE_READER, &reader), 0);
    assert_int_equal(store_open(fixture->dir, STORE_READER, &second), 0);
    assert_int_equal(store_promote(reader), -EBUSY);
    assert_int_equal(store_mode(reader), STORE_READER);
    assert_int_equal(store_drop(reader, &(struct blob_key){.kind = BLOB_XXH}), -EROFS);
    store_close(fixture->store);
    fixture->store = NULL;
    assert_true(exists(fixture, "clean"));
    assert_int_equal(store_promote(reader), 0);
    assert_int_equal(store_mode(reader), STORE_WRITER);
    assert_false(store_was_unclean(reader));
    assert_false(exists(fixture, "clean"));
    assert_int_equal(store_promote(second), -EBUSY);
    store_close(second);
    assert_false(exists(fixture, "clean")); /* a reader's end is no end */

    struct blob_key key = put(reader, "new");

    fixture->store = reader;
    reopen(fixture);
    assert_false(store_was_unclean(fixture->store));
    assert_holds(fixture->store, &key, "new");
}

/* After an orderly end, what the writer saved holds, also what the reader has never heard of. */
static void after_an_orderly_end(void **state)
{
    struct fixture *fixture = *state;
    struct blob_key early = put(fixture->store, "early");
    struct blob_key late = text_key("late");

    become_reader(fixture);
    struct other other = other_writer(fixture->dir, "late", false);

    assert_int_equal(get(fixture->store, &late), -EUCLEAN);
    other_ends(other, false);
    assert_int_equal(store_promote(fixture->store), 0);
    assert_false(store_was_unclean(fixture->store));
    assert_holds(fixture->store, &early, "early");
    assert_holds(fixture->store, &late, "late");
    assert_int_equal(used(fixture->store), 9);
}

/* After a kill all is doubted, as when it is opened, but for what we have verified ourselves. */
static void kill_and_promote(struct fixture *fixture, bool save)
{
    struct blob_key seen = put(fixture->store, "seen");
    struct blob_key unseen = put(fixture->store, "unseen");
    struct blob_key late = text_key("late");

    become_reader(fixture);
    struct other other = other_writer(fixture->dir, "late", save);

    assert_int_equal(get(fixture->store, &unseen), 0);
    assert_int_equal(store_verify(fixture->store, &seen), 0);
    assert_int_equal(store_vouch(fixture->store, &late), 0);
    assert_int_equal(get(fixture->store, &late), 0);
    other_ends(other, true);
    assert_int_equal(store_promote(fixture->store), 0);
    assert_true(store_was_unclean(fixture->store));
    assert_int_equal(get(fixture->store, &seen), 0);
    assert_int_equal(get(fixture->store, &unseen), -EUCLEAN);
    assert_int_equal(get(fixture->store, &late), -EUCLEAN);
    assert_int_equal(store_verify(fixture->store, &unseen), 0);
    assert_int_equal(store_verify(fixture->store, &late), 0);
    reopen(fixture);
    assert_false(store_was_unclean(fixture->store));
    assert_holds(fixture->store, &seen, "seen");
    assert_holds(fixture->store, &unseen, "unseen");
    assert_holds(fixture->store, &late, "late");
}

static void after_a_kill(void **state)
{
    kill_and_promote(*state, true);
}

static void after_a_kill_before_it_saved(void **state)
{
    kill_and_promote(*state, false);
}

/* A folder in which there was nothing but a lock. */
static void makes_what_is_missing(void **state)
{
    char *dir = tempdir_new();
    struct store *store = NULL;

    file_write(dir, "lock", "", 0);
    assert_int_equal(store_open(dir, STORE_READER, &store), 0);
    assert_int_equal(store_promote(store), 0);
    assert_false(store_was_unclean(store));
    struct blob_key key = put(store, "hello");

    assert_holds(store, &key, "hello");
    store_close(store);
    tempdir_free(dir);
}

/* Whoever reads a partial goes on; whoever fills it from now on has an object of its own. */
static void partials_across_a_promotion(void **state)
{
    struct fixture *fixture = *state;
    const uint64_t size = 3 * MIB;
    scoped_sample sample = sample_new(size, 1);
    struct partial *theirs = NULL, *found = NULL;
    struct partial *partial = partial_of(fixture->store, &sample);

    assert_int_equal(fill(partial, &sample, MIB, MIB), 0);
    partial_put(partial);
    become_reader(fixture);
    assert_int_equal(partial_find(fixture->store, &sample.key, &theirs), 0);
    assert_int_equal(store_promote(fixture->store), 0);
    assert_int_equal(used(fixture->store), MIB);

    partial = partial_of(fixture->store, &sample);
    assert_ptr_not_equal(partial, theirs);
    assert_int_equal(partial_find(fixture->store, &sample.key, &found), 0);
    assert_ptr_equal(partial, found);
    partial_put(found);
    assert_int_equal(check(theirs, &sample, MIB, MIB), 0);
    assert_int_equal(fill(partial, &sample, 0, MIB), 0);
    assert_int_equal(check(theirs, &sample, 0, 2 * MIB), 0);
    assert_int_equal(fill(partial, &sample, 2 * MIB, MIB), 0);
    assert_int_equal(commit(partial), 0);
    assert_int_equal(check(theirs, &sample, 0, size), 0);
    partial_put(theirs);
    partial_put(partial);
    assert_stored(fixture->store, &sample);
    assert_int_equal(used(fixture->store), size);
}

/* --- at work --- */

struct work {
    struct store *store;
    struct blob_key key;
    atomic_bool done;
    atomic_int bad;
};

static void *read_on(void *arg)
{
    struct work *work = arg;

    while (!atomic_load(&work->done)) {
        struct partial *partial = NULL;

        if (get(work->store, &work->key) != 0 || store_mode(work->store) > STORE_WRITER)
            atomic_fetch_add(&work->bad, 1);
        if (partial_find(work->store, &work->key, &partial) == 0)
            partial_put(partial);
    }
    return NULL;
}

static void promoted_while_it_serves(void **state)
{
    struct fixture *fixture = *state;
    struct work work = {.key = put(fixture->store, "hello")};
    pthread_t threads[2];

    for (int round = 0; round < 20; round++) {
        become_reader(fixture);
        work.store = fixture->store;
        assert_int_equal(store_verify(fixture->store, &work.key), 0);
        atomic_store(&work.done, false);
        for (int i = 0; i < 2; i++)
            assert_int_equal(pthread_create(&threads[i], NULL, read_on, &work), 0);
        assert_int_equal(store_promote(fixture->store), 0);
        put(fixture->store, "more");
        atomic_store(&work.done, true);
        for (int i = 0; i < 2; i++)
            pthread_join(threads[i], NULL);
    }
    assert_int_equal(atomic_load(&work.bad), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        fixture_test(vouched_is_trusted_until_it_changes),
        fixture_test(vouched_and_wrong_is_found_by_verify),
        fixture_test(only_when_the_writer_is_gone),
        fixture_test(after_an_orderly_end),
        fixture_test(after_a_kill),
        fixture_test(after_a_kill_before_it_saved),
        cmocka_unit_test(makes_what_is_missing),
        fixture_test(partials_across_a_promotion),
        fixture_test(promoted_while_it_serves),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
