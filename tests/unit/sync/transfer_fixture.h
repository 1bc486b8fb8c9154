/* SPDX-License-Identifier: MIT */
/* transfer_fixture.h - a transfer engine between a server and a store, for the tests of transfers.
 *
 *     fixture_new -> fixture_open -> a want, with on_done -> await -> f->result -> fixture_free */
#pragma once

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cache/digest.h"
#include "cache/scoped.h"
#include "sync/transfer.h"
#include "tests/unit/support/http_server.h"
#include "tests/unit/support/tempdir.h"

#define CONTENT "PAR1 0123456789 PAR1"
#define SIZE (sizeof(CONTENT) - 1)

struct fixture {
    char *dir;
    char *root;
    struct http_server *server; /* the source */
    struct source *source;
    struct store *store;
    struct transfers *transfers;

    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned ended;            /* lock */
    struct want_result result; /* lock; of the last one */

    const char *token;
    unsigned token_asked;

    /* test_transfer.c's */
    char text[256]; /* lock; of the last document */

    /* test_transfer_signed.c's */
    struct http_server *other; /* the source's object store: the same host, another port */
    struct http_server *signs; /* where signed addresses lead to; other, if nothing else is said */
    const char *_Atomic at;    /* path at the store; NULL: nothing is signed now */
    struct blob_key key;
};

static inline struct blob_key key_of(const void *content, size_t size)
{
    scoped(digest_freep) struct digest *digest = NULL;
    struct digest_sums sums;
    struct blob_key key = {.kind = BLOB_MD5, .size = size};

    assert_int_equal(digest_new(&digest), 0);
    assert_int_equal(digest_update(digest, content, size), 0);
    assert_int_equal(digest_sums(digest, &sums), 0);
    memcpy(key.digest, sums.md5, sizeof(key.digest));
    return key;
}

static inline char *fixture_token(void *arg)
{
    struct fixture *f = arg;

    f->token_asked++;
    return f->token ? strdup(f->token) : NULL;
}

/* The usual transfers, in the place of those that were. */
static inline void fixture_open(struct fixture *f, unsigned jobs, unsigned timeout_s)
{
    const struct transfers_conf conf = {
        .store = f->store,
        .source = f->source,
        .jobs = jobs,
        .timeout_s = timeout_s,
        .proxy = "",
        .token = fixture_token,
        .token_arg = f,
    };

    transfers_free(take_ptr(f->transfers));
    assert_int_equal(transfers_new(&conf, &f->transfers), 0);
}

/* Without transfers: fixture_open, or what is the test's own. */
static inline struct fixture *fixture_new(void)
{
    struct fixture *f = calloc(1, sizeof(*f));
    scoped_free char *url = NULL;

    pthread_mutex_init(&f->lock, NULL);
    pthread_cond_init(&f->changed, NULL);
    f->dir = tempdir_new();
    f->root = path_join(f->dir, "cache");
    f->server = http_server_new();
    url = http_server_url(f->server, "");
    assert_int_equal(source_parse(url, &f->source), 0);
    assert_int_equal(store_open(f->root, STORE_WRITER, &f->store), 0);
    return f;
}

static inline void fixture_free(struct fixture *f)
{
    transfers_free(f->transfers);
    store_close(f->store);
    source_free(f->source);
    http_server_free(f->server);
    http_server_free(f->other);
    free(f->root);
    tempdir_free(f->dir);
    pthread_cond_destroy(&f->changed);
    pthread_mutex_destroy(&f->lock);
    free(f);
}

static inline void on_done(void *arg, const struct want_result *result)
{
    struct fixture *f = arg;

    scoped_lock(&f->lock);
    f->result = *result;
    f->ended++;
    pthread_cond_signal(&f->changed);
}

static inline void await(struct fixture *f, unsigned count)
{
    scoped_lock(&f->lock);
    while (f->ended < count)
        pthread_cond_wait(&f->changed, &f->lock);
}
