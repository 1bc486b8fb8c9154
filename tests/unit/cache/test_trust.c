/* SPDX-License-Identifier: MIT */
/* Whoever touches a blob, in whatever way, is noticed before a byte is served. */
#include <sys/stat.h>

#include "cache/trust.h"
#include "tests/unit/cache/fixture.h"

#define TEXT "the bytes of a blob"
#define LIES "the bytes of a blab"

static void chmod_it(const char *path)
{
    assert_int_equal(chmod(path, 0600), 0);
}

static void touch_it(const char *path)
{
    assert_int_equal(utimensat(AT_FDCWD, path, NULL, 0), 0);
}

static void restore_mtime(const char *path)
{
    struct stat st;

    assert_int_equal(stat(path, &st), 0);
    const struct timespec times[2] = {st.st_atim, st.st_mtim};

    assert_int_equal(chmod(path, 0600), 0);
    int fd = open(path, O_WRONLY);

    assert_int_equal(write(fd, LIES, strlen(LIES)), (int)strlen(LIES));
    assert_int_equal(futimens(fd, times), 0);
    close(fd);
}

static void overwrite_it(const char *path)
{
    make_writable(path);
    int fd = open(path, O_WRONLY);

    assert_int_equal(write(fd, "T", 1), 1);
    close(fd);
}

static void truncate_it(const char *path)
{
    make_writable(path);
    assert_int_equal(truncate(path, 3), 0);
}

static void append_to_it(const char *path)
{
    make_writable(path);
    assert_int_equal(truncate(path, 300), 0);
}

static void replace_it(const char *path)
{
    assert_int_equal(unlink(path), 0);
    file_write("/", path + 1, LIES, strlen(LIES));
}

static void symlink_it(const char *path)
{
    scoped_free char *aside = NULL;

    assert_true(asprintf(&aside, "%s.moved", path) > 0);
    assert_int_equal(rename(path, aside), 0);
    assert_int_equal(symlink(aside, path), 0);
}

static void fifo_it(const char *path)
{
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkfifo(path, 0400), 0);
}

static void link_it(const char *path)
{
    scoped_free char *second = NULL;

    assert_true(asprintf(&second, "%s.second", path) > 0);
    assert_int_equal(link(path, second), 0);
}

static void directory_it(const char *path)
{
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkdir(path, 0700), 0);
}

static void full_directory_it(const char *path)
{
    directory_it(path);
    file_write(path, "work", "mine", 4);
}

static const struct harm {
    const char *what;
    void (*do_it)(const char *path);
    bool bytes_are_right; /* so that verify accepts it again */
} harms[] = {
    {"chmod", chmod_it, true},
    {"touch", touch_it, true},
    {"overwrite, mtime restored", restore_mtime, false},
    {"overwrite", overwrite_it, false},
    {"truncate", truncate_it, false},
    {"append", append_to_it, false},
    {"replace", replace_it, false},
    {"symlink", symlink_it, false},
    {"fifo", fifo_it, false},
    {"hard link", link_it, false},
    {"directory", directory_it, false},
    {"full directory", full_directory_it, false},
};

#define HARMS (sizeof(harms) / sizeof(*harms))

static void each_harm(struct fixture *fixture,
                      void (*then)(struct fixture *, const struct harm *, const struct blob_key *))
{
    for (size_t i = 0; i < HARMS; i++) {
        struct blob_key key = put(fixture->store, TEXT);
        scoped_free char *path = blob_file(fixture, &key);

        harms[i].do_it(path);
        print_message("          %s\n", harms[i].what);
        then(fixture, &harms[i], &key);
        store_drop(fixture->store, &key);
    }
}

static void expect_unclean(struct fixture *fixture, const struct harm *harm,
                           const struct blob_key *key)
{
    assert_true(store_expects(fixture->store, key)); /* which has not looked */
    assert_int_equal(get(fixture->store, key), -EUCLEAN);
    assert_false(store_expects(fixture->store, key));
    assert_false(store_has(fixture->store, key));
}

static void expect_noticed(struct fixture *fixture, const struct harm *harm,
                           const struct blob_key *key)
{
    (void)harm;
    assert_true(store_expects(fixture->store, key));
    assert_false(store_has(fixture->store, key));
    assert_false(store_expects(fixture->store, key));
}

static void a_look_is_enough_to_notice(void **state)
{
    each_harm(*state, expect_noticed);
}

static void touched_is_never_returned(void **state)
{
    each_harm(*state, expect_unclean);
}

static void expect_verdict(struct fixture *fixture, const struct harm *harm,
                           const struct blob_key *key)
{
    get(fixture->store, key);
    assert_int_equal(store_verify(fixture->store, key), harm->bytes_are_right ? 0 : -EBADMSG);
    assert_int_equal(store_expects(fixture->store, key), harm->bytes_are_right);
    assert_int_equal(get(fixture->store, key), harm->bytes_are_right ? 0 : -ENOENT);
}

static void verify_judges_and_removes(void **state)
{
    each_harm(*state, expect_verdict);
}

static void expect_replaced(struct fixture *fixture, const struct harm *harm,
                            const struct blob_key *key)
{
    put(fixture->store, TEXT);
    assert_holds(fixture->store, key, TEXT);
}

static void commit_replaces_what_is_wrong(void **state)
{
    each_harm(*state, expect_replaced);
}

static void survives_a_clean_restart(void **state)
{
    struct fixture *fixture = *state;
    struct blob_key key = put(fixture->store, TEXT);

    reopen(fixture);
    assert_false(store_was_unclean(fixture->store));
    assert_holds(fixture->store, &key, TEXT);
}

static void unclean_stop_means_verify(void **state)
{
    struct fixture *fixture = *state;
    struct blob_key key = put(fixture->store, TEXT);

    crash(fixture);
    assert_true(store_was_unclean(fixture->store));
    assert_int_equal(get(fixture->store, &key), -EUCLEAN);
    assert_int_equal(store_verify(fixture->store, &key), 0);
    assert_holds(fixture->store, &key, TEXT);
}

/* What nobody has verified since stays doubted, however orderly the next stop is. */
static void doubt_outlives_a_clean_stop(void **state)
{
    struct fixture *fixture = *state;
    struct blob_key seen = put(fixture->store, TEXT);
    struct blob_key unseen = put(fixture->store, LIES);

    crash(fixture);
    assert_int_equal(store_verify(fixture->store, &seen), 0);
    reopen(fixture);
    assert_false(store_was_unclean(fixture->store));
    assert_int_equal(get(fixture->store, &seen), 0);
    assert_int_equal(get(fixture->store, &unseen), -EUCLEAN);
}

static void crash_finds_damage(void **state)
{
    struct fixture *fixture = *state;
    struct blob_key key = put(fixture->store, TEXT);
    scoped_free char *path = blob_file(fixture, &key);

    restore_mtime(path);
    crash(fixture);
    assert_int_equal(store_verify(fixture->store, &key), -EBADMSG);
    assert_int_equal(get(fixture->store, &key), -ENOENT);
}

static void corrupt_and_expect_distrust(struct fixture *fixture, const char *text, size_t size)
{
    struct blob_key key = put(fixture->store, TEXT);

    store_close(fixture->store);
    fixture->store = NULL;
    file_write(fixture->dir, "trust", text, size);
    assert_int_equal(store_open(fixture->dir, STORE_WRITER, &fixture->store), 0);
    assert_int_equal(get(fixture->store, &key), -EUCLEAN);
    assert_int_equal(store_verify(fixture->store, &key), 0);
    assert_holds(fixture->store, &key, TEXT);
}

static void corrupt_file_deletes_nothing(void **state)
{
    struct fixture *fixture = *state;

    put(fixture->store, TEXT);
    assert_int_equal(store_save_trust(fixture->store), 0);

    size_t size = 0;
    scoped_free char *good = file_read(fixture->dir, "trust", &size);

    for (size_t cut = 0; cut < size; cut += 13)
        corrupt_and_expect_distrust(fixture, good, cut);
    for (size_t at = 0; at < size; at += 7) {
        good[at] ^= 1;
        corrupt_and_expect_distrust(fixture, good, size);
        good[at] ^= 1;
    }
}

/* Gives an edited file the last line that it needs. */
static void seal(char *text, size_t size)
{
    char *last = (char *)memrchr(text, '\n', size - 1) + 1;
    struct blob_key sum;
    char sum_text[BLOB_KEY_TEXT_SIZE];

    blob_key_of_bytes(text, (size_t)(last - text), &sum);
    blob_key_format(&sum, sum_text);
    memcpy(last + strlen("end "), sum_text, strlen(sum_text));
}

/* A checksum that fits does not make sense of a file from another version. */
static void other_version_is_no_record(void **state)
{
    struct fixture *fixture = *state;
    size_t size = 0;

    put(fixture->store, TEXT);
    assert_int_equal(store_save_trust(fixture->store), 0);
    scoped_free char *text = file_read(fixture->dir, "trust", &size);

    text[strlen("agnesfs-trust ")] = '1';
    seal(text, size);
    corrupt_and_expect_distrust(fixture, text, size);
}

/* Nor of one that is not text: a NUL ends a line for some functions, and not for others. */
static void nul_makes_it_no_record(void **state)
{
    struct fixture *fixture = *state;
    size_t size = 0;

    put(fixture->store, TEXT);
    assert_int_equal(store_save_trust(fixture->store), 0);
    scoped_free char *good = file_read(fixture->dir, "trust", &size);
    size_t last = (size_t)((char *)memrchr(good, '\n', size - 1) - good);

    for (size_t at = strlen("agnesfs-trust 2 "); at < last; at += 11) {
        char before = good[at];

        good[at] = '\0';
        seal(good, size);
        corrupt_and_expect_distrust(fixture, good, size);
        good[at] = before;
    }
}

static void trust_that_is_a_fifo_does_not_hang(void **state)
{
    struct fixture *fixture = *state;
    struct blob_key key = put(fixture->store, TEXT);
    scoped_free char *path = path_join(fixture->dir, "trust");

    store_close(fixture->store);
    fixture->store = NULL;
    fifo_it(path);
    assert_int_equal(store_open(fixture->dir, STORE_WRITER, &fixture->store), 0);
    assert_int_equal(get(fixture->store, &key), -EUCLEAN);
}

static void reader_has_trust_as_it_was(void **state)
{
    struct fixture *fixture = *state;
    struct store *reader = NULL;
    struct blob_key old = put(fixture->store, TEXT);

    assert_int_equal(store_save_trust(fixture->store), 0);
    assert_int_equal(store_open(fixture->dir, STORE_READER, &reader), 0);
    assert_false(
        store_was_unclean(reader)); /* the writer lives, and the machine has not restarted */

    struct blob_key new = put(fixture->store, LIES);

    assert_holds(reader, &old, TEXT);
    assert_int_equal(get(reader, &new), -EUCLEAN);
    assert_int_equal(store_verify(reader, &new), 0);
    assert_holds(reader, &new, LIES);
    store_close(reader);
}

static void reader_after_a_restart_doubts(void **state)
{
    struct fixture *fixture = *state;
    struct store *reader = NULL;
    struct blob_key key = put(fixture->store, TEXT);
    size_t size = 0;

    assert_int_equal(store_save_trust(fixture->store), 0);
    scoped_free char *text = file_read(fixture->dir, "trust", &size);

    /* The same file, as saved under another boot. */
    char *boot = text + strlen("agnesfs-trust 2 ");

    *boot = *boot == '0' ? '1' : '0';
    seal(text, size);
    file_write(fixture->dir, "trust", text, size);

    assert_int_equal(store_open(fixture->dir, STORE_READER, &reader), 0);
    assert_true(store_was_unclean(reader));
    assert_int_equal(get(reader, &key), -EUCLEAN);
    assert_int_equal(store_verify(reader, &key), 0);
    assert_int_equal(get(reader, &key), 0);
    store_close(reader);
}

/* Many records, removed in an order that moves others about. */
static void table_keeps_every_record(void **state)
{
    enum { COUNT = 5000 };
    struct trust *trust = NULL;
    static struct blob_key keys[COUNT];
    struct stat st = {.st_dev = 1};

    assert_int_equal(trust_new(&trust), 0);
    for (uint32_t i = 0; i < COUNT; i++) {
        blob_key_of_bytes(&i, sizeof(i), &keys[i]);
        st.st_ino = i;
        st.st_size = sizeof(i);
        assert_int_equal(trust_put(trust, &keys[i], &st, keys[i].digest), 0);
    }
    for (uint32_t i = 0; i < COUNT; i += 3)
        trust_forget(trust, &keys[i]);
    for (uint32_t i = 0; i < COUNT; i++) {
        st.st_ino = i;
        assert_int_equal(trust_holds(trust, &keys[i], &st), i % 3 != 0);
    }
    trust_retain(trust, &keys[1], 1);
    for (uint32_t i = 0; i < COUNT; i++) {
        st.st_ino = i;
        assert_int_equal(trust_holds(trust, &keys[i], &st), i == 1);
    }
    trust_free(trust);
}

static void every_field_counts(void **state)
{
    struct trust *trust = NULL;
    struct blob_key key = text_key(TEXT);
    struct stat st = {.st_dev = 1, .st_ino = 2, .st_size = (off_t)key.size};
    struct stat other[6];

    assert_int_equal(trust_new(&trust), 0);
    assert_int_equal(trust_put(trust, &key, &st, key.digest), 0);
    assert_true(trust_holds(trust, &key, &st));
    for (int i = 0; i < 6; i++)
        other[i] = st;
    other[0].st_dev++;
    other[1].st_ino++;
    other[2].st_size++;
    other[3].st_mtim.tv_nsec++;
    other[4].st_ctim.tv_nsec++;
    other[5].st_ctim.tv_sec--;
    for (int i = 0; i < 6; i++)
        assert_false(trust_holds(trust, &key, &other[i]));
    trust_doubt(trust);
    assert_false(trust_holds(trust, &key, &st));
    trust_free(trust);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        fixture_test(touched_is_never_returned),
        fixture_test(a_look_is_enough_to_notice),
        fixture_test(verify_judges_and_removes),
        fixture_test(commit_replaces_what_is_wrong),
        fixture_test(survives_a_clean_restart),
        fixture_test(unclean_stop_means_verify),
        fixture_test(doubt_outlives_a_clean_stop),
        fixture_test(crash_finds_damage),
        fixture_test(corrupt_file_deletes_nothing),
        fixture_test(other_version_is_no_record),
        fixture_test(nul_makes_it_no_record),
        fixture_test(trust_that_is_a_fifo_does_not_hang),
        fixture_test(reader_has_trust_as_it_was),
        fixture_test(reader_after_a_restart_doubts),
        cmocka_unit_test(table_keeps_every_record),
        cmocka_unit_test(every_field_counts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
