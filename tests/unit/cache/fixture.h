/* SPDX-License-Identifier: MIT */
/* fixture.h - a store in a folder of its own, and short words for what every test does with it. */
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "cache/scoped.h"
#include "cache/store.h"
#include "cache/writer.h"
#include "tests/unit/support/tempdir.h"

struct fixture {
    char *dir;
    struct store *store;
};

static inline int fixture_setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));

    fixture->dir = tempdir_new();
    *state = fixture;
    return store_open(fixture->dir, STORE_WRITER, &fixture->store);
}

static inline int fixture_teardown(void **state)
{
    struct fixture *fixture = *state;

    store_close(fixture->store);
    tempdir_free(fixture->dir);
    free(fixture);
    return 0;
}

#define fixture_test(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

static inline void reopen(struct fixture *fixture)
{
    store_close(fixture->store);
    fixture->store = NULL;
    assert_int_equal(store_open(fixture->dir, STORE_WRITER, &fixture->store), 0);
}

/* As after a crash: closed, but nobody left the marker. */
static inline void crash(struct fixture *fixture)
{
    scoped_free char *marker = path_join(fixture->dir, "clean");

    store_close(fixture->store);
    fixture->store = NULL;
    assert_int_equal(unlink(marker), 0);
    assert_int_equal(store_open(fixture->dir, STORE_WRITER, &fixture->store), 0);
}

static inline struct blob_key md5_key(const void *data, size_t size)
{
    struct digest *digest = NULL;
    struct digest_sums sums;
    struct blob_key key = {.kind = BLOB_MD5, .size = size};

    assert_int_equal(digest_new(&digest), 0);
    assert_int_equal(digest_update(digest, data, size), 0);
    assert_int_equal(digest_sums(digest, &sums), 0);
    memcpy(key.digest, sums.md5, sizeof(key.digest));
    digest_free(digest);
    return key;
}

static inline struct blob_key text_key(const char *text)
{
    return md5_key(text, strlen(text));
}

static inline struct writer *begin(struct store *store, const char *name)
{
    struct writer *writer = NULL;

    assert_int_equal(writer_begin(store, name, 1 << 20, &writer), 0);
    return writer;
}

static inline int try_put(struct store *store, const char *text, const struct blob_key *expected)
{
    struct writer *writer = begin(store, "put");

    assert_int_equal(writer_write(writer, text, strlen(text)), 0);
    return writer_commit(writer, expected, NULL);
}

static inline struct blob_key put(struct store *store, const char *text)
{
    struct blob_key key = text_key(text);

    assert_int_equal(try_put(store, text, &key), 0);
    return key;
}

/* store_get's answer, the descriptor closed. */
static inline int get(struct store *store, const struct blob_key *key)
{
    int fd = -1;
    int r = store_get(store, key, &fd);

    if (r == 0)
        close(fd);
    return r;
}

static inline void assert_holds(struct store *store, const struct blob_key *key, const char *text)
{
    char buffer[256] = {0};
    scoped_fd int fd = -1;

    assert_int_equal(store_get(store, key, &fd), 0);
    assert_int_equal(read(fd, buffer, sizeof(buffer) - 1), (int)strlen(text));
    assert_string_equal(buffer, text);
}

/* Blobs are 0400. The superuser does not care, and leaves the mode alone, so that a test of his
 * changes what it says and nothing else. */
static inline void make_writable(const char *path)
{
    if (geteuid() != 0)
        assert_int_equal(chmod(path, 0600), 0);
}

/* Where a blob lies, relative to the root. The caller frees it. */
static inline char *blob_rel(const struct blob_key *key)
{
    char text[BLOB_KEY_TEXT_SIZE];
    char *rel = NULL;

    blob_key_format(key, text);
    assert_true(asprintf(&rel, "_shared/%.2s/%s", text + 4, text) > 0);
    return rel;
}

/* The same of a key's partial, or with ".map" of its map. */
static inline char *partial_rel(const struct blob_key *key, const char *suffix)
{
    char text[BLOB_KEY_TEXT_SIZE];
    char *rel = NULL;

    blob_key_format(key, text);
    assert_true(asprintf(&rel, "partial/%s%s", text, suffix) > 0);
    return rel;
}

static inline char *blob_file(const struct fixture *fixture, const struct blob_key *key)
{
    scoped_free char *rel = blob_rel(key);

    return path_join(fixture->dir, rel);
}

static inline bool exists(const struct fixture *fixture, const char *rel)
{
    scoped_free char *path = path_join(fixture->dir, rel);

    return faccessat(AT_FDCWD, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}
