/* SPDX-License-Identifier: MIT */
/* The address that is tried before the server's own: what goes there, what comes of its failures, and
 * that bytes of the two are never mixed. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "cache/partial.h"
#include "cache/scoped.h"
#include "sync/transfer.h"
#include "tests/unit/sync/transfer_fixture.h"

#define HERE "\"here\""   /* ETag of the server's */
#define THERE "\"there\"" /* and of the store's */

/* --- scaffolding --- */

static char *give_token(void *arg)
{
    return strdup("secret");
}

static char *give_signed(void *arg, const struct blob_key *key)
{
    struct fixture *f = arg;
    const char *at = atomic_load(&f->at);

    assert_true(blob_key_equal(key, &f->key));
    return at ? http_server_url(f->signs, at) : NULL;
}

static void open_transfers(struct fixture *f)
{
    struct transfers_conf conf = {
        .store = f->store,
        .source = f->source,
        .timeout_s = 10,
        .proxy = "",
        .token = give_token,
        .signed_url = give_signed,
        .signed_arg = f,
    };

    transfers_free(f->transfers);
    assert_int_equal(transfers_new(&conf, &f->transfers), 0);
}

static int set_up(void **state)
{
    struct fixture *f = fixture_new();

    f->other = f->signs = http_server_new();
    f->key = key_of(CONTENT, SIZE);
    atomic_init(&f->at, "/s");
    open_transfers(f);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    fixture_free(*state);
    return 0;
}

/* So much of the key, 0 for all, signed at the store, else at /t of the server. */
static void ask(struct fixture *f, uint64_t offset, uint64_t size)
{
    scoped_free char *url = http_server_url(f->server, "/t");
    const char *const urls[] = {url, NULL};
    const struct want want = {
        .key = f->key,
        .limit = f->key.size,
        .urls = urls,
        .offset = offset,
        .size = size,
        .priority = WANT_DEMAND,
    };

    assert_int_equal(transfers_want(f->transfers, &want, on_done, f), 0);
}

static int fetch_some(struct fixture *f, uint64_t size)
{
    f->ended = 0;
    ask(f, 0, size);
    await(f, 1);
    return f->result.error;
}

static int fetch_it(struct fixture *f)
{
    return fetch_some(f, 0);
}

/* What the two have, with ETags and ranges. */
static void serve(struct fixture *f, const void *here, const void *there, size_t size)
{
    if (here)
        http_server_answer(
            f->server, "/t",
            &(struct http_answer){.body = here, .size = size, .etag = HERE, .ranges = true});
    if (there)
        http_server_answer(
            f->signs, "/s",
            &(struct http_answer){.body = there, .size = size, .etag = THERE, .ranges = true});
}

static size_t asked_here(struct fixture *f)
{
    return http_server_count(f->server, NULL);
}

static size_t asked_there(struct fixture *f)
{
    return http_server_count(f->other, NULL);
}

/* Of several blocks, each of another letter. */
static char *big_content(struct fixture *f, size_t blocks)
{
    size_t size = blocks * PARTIAL_BLOCK;
    char *content = malloc(size);

    for (size_t i = 0; i < size; i++)
        content[i] = (char)('a' + i / PARTIAL_BLOCK);
    f->key = key_of(content, size);
    return content;
}

/* --- what goes there --- */

static void it_is_asked_first_and_without_a_token(void **state)
{
    static const char *const never[] = {"Authorization", "Cookie", "If-Range", "If-Match",
                                        "If-None-Match", "Range",  "Referer"};
    struct fixture *f = *state;
    struct transfers_stats stats;

    serve(f, CONTENT, CONTENT, SIZE);
    assert_int_equal(fetch_it(f), 0);
    assert_true(f->result.by_signed && f->result.resident);
    assert_int_equal(asked_there(f), 1);
    assert_int_equal(asked_here(f), 0);
    for (size_t i = 0; i < sizeof(never) / sizeof(*never); i++)
        assert_false(http_server_has_header(f->other, 0, never[i], NULL));
    transfers_stats(f->transfers, &stats);
    assert_int_equal(stats.by_signed, 1);
    assert_int_equal(stats.requests, 1);
}

static void nor_does_a_token_go_to_one_at_the_servers_own_origin(void **state)
{
    struct fixture *f = *state;

    f->signs = f->server;
    serve(f, CONTENT, CONTENT, SIZE);
    assert_int_equal(fetch_it(f), 0);
    assert_int_equal(http_server_count(f->server, "/s"), 1);
    assert_int_equal(asked_here(f), 1);
    assert_false(http_server_has_header(f->server, 0, "Authorization", NULL));
}

static void what_is_not_signed_comes_from_the_server(void **state)
{
    struct fixture *f = *state;

    serve(f, CONTENT, CONTENT, SIZE);
    atomic_store(&f->at, NULL);
    assert_int_equal(fetch_it(f), 0);
    assert_false(f->result.by_signed);
    assert_int_equal(asked_there(f), 0);
    assert_int_equal(asked_here(f), 1);
}

static void each_request_goes_to_the_newest_address(void **state)
{
    struct fixture *f = *state;
    scoped_free char *content = big_content(f, 8);

    serve(f, NULL, content, f->key.size);
    http_server_answer(
        f->other, "/s2",
        &(struct http_answer){.body = content, .size = f->key.size, .etag = THERE, .ranges = true});
    f->ended = 0;
    http_server_hold(f->other, true);
    ask(f, 0, 10);
    while (asked_there(f) < 1)
        usleep(1000);
    atomic_store(&f->at, "/s2");
    ask(f, 3 * PARTIAL_BLOCK, 10);
    while (asked_there(f) < 2)
        usleep(1000);
    http_server_hold(f->other, false);
    await(f, 2);
    assert_int_equal(f->result.error, 0);
    assert_int_equal(http_server_count(f->other, "/s"), 1);
    assert_int_equal(http_server_count(f->other, "/s2"), 1);
}

/* --- what fails --- */

static void whatever_fails_there_is_had_from_the_server(void **state)
{
    static const struct http_answer failures[] = {
        {.status = 400},
        {.status = 401},
        {.status = 403, .type = "application/xml", .body = "<Error/>", .size = 8},
        {.status = 404},
        {.status = 410},
        {.status = 416},
        {.status = 429, .headers = "Retry-After: 3600\r\n"},
        {.status = 500},
        {.status = 503, .headers = "Retry-After: 3600\r\n"},
        {.status = 301, .headers = "Location: http://127.0.0.1:1/\r\n"},
        {.status = 307, .headers = "Location: /t\r\n"},
        {.status = 204},
        {.raw = ""},
        {.raw = "not HTTP at all\r\n\r\n"},
        {.type = "text/html", .body = CONTENT, .size = SIZE},
        {.headers = "Content-Encoding: gzip\r\n", .body = CONTENT, .size = SIZE},
        {.body = "PAR1 9999999999 PAR1", .size = SIZE},
        {.body = "PAR1 9999999999 PAR1", .size = SIZE, .etag = THERE, .ranges = true},
        {.body = CONTENT, .size = SIZE - 1},
        {.body = CONTENT "x", .size = SIZE + 1},
        {.body = CONTENT "x", .size = SIZE + 1, .no_length = true},
        {.body = CONTENT, .size = SIZE, .no_length = true, .cut = true, .cut_after = 3},
        {.body = "", .size = 0},
        {.status = 206,
         .body = CONTENT,
         .size = SIZE,
         .headers = "Content-Range: bytes 3-22/23\r\n"},
    };
    struct fixture *f = *state;

    serve(f, CONTENT, NULL, SIZE);
    for (size_t i = 0; i < sizeof(failures) / sizeof(*failures); i++) {
        size_t here = asked_here(f), there = asked_there(f);

        transfers_renew_signed(f->transfers);
        http_server_forget(f->other, "/s");
        http_server_answer(f->other, "/s", &failures[i]);
        if (fetch_it(f) != 0)
            fail_msg("failure %zu: %d %s", i, f->result.error, f->result.message);
        assert_false(f->result.by_signed);
        assert_int_equal(asked_there(f), there + 1);
        assert_int_equal(asked_here(f), here + 1);
        assert_false(http_server_has_header(f->server, here, "If-Range", NULL));
        assert_false(http_server_has_header(f->server, here, "Cache-Control", NULL));
        assert_int_equal(store_drop(f->store, &f->key), 0);
    }
}

/* The same server by another name. */
static char *give_near(void *arg, const struct blob_key *key)
{
    struct fixture *f = arg;
    scoped_free char *url = http_server_url(f->other, "/s");
    char *near = NULL;

    assert_true(asprintf(&near, "http://localhost%s", strrchr(url, ':')) > 0);
    return near;
}

static void a_near_host_is_not_connected_to(void **state)
{
    struct fixture *f = *state;
    scoped_free char *url = http_server_url(f->server, "/t");
    const char *const urls[] = {url, NULL};
    struct transfers_conf conf = {.store = f->store,
                                  .source = f->source,
                                  .proxy = "",
                                  .signed_url = give_near,
                                  .signed_arg = f};

    serve(f, CONTENT, CONTENT, SIZE);
    transfers_free(take_ptr(f->transfers));
    assert_int_equal(transfers_new(&conf, &f->transfers), 0);
    f->ended = 0;
    assert_int_equal(transfers_want(f->transfers, &(struct want){.key = f->key, .urls = urls},
                                    on_done, f),
                     0);
    await(f, 1);
    assert_int_equal(f->result.error, 0);
    assert_int_equal(asked_there(f), 0);
    assert_int_equal(asked_here(f), 1);
}

static void when_both_fail_the_servers_reason_is_told(void **state)
{
    struct fixture *f = *state;

    http_server_answer(f->other, "/s", &(struct http_answer){.status = 500});
    http_server_answer(f->server, "/t", &(struct http_answer){.status = 403});
    assert_int_equal(fetch_it(f), -EACCES);
    assert_int_equal(f->result.status, 403);
    assert_string_equal(f->result.message, "the server refused access (403)");
}

static void after_three_failures_in_a_row_it_is_left_alone(void **state)
{
    struct fixture *f = *state;

    serve(f, CONTENT, NULL, SIZE);
    http_server_answer(f->other, "/s", &(struct http_answer){.status = 500});
    for (int i = 0; i < 6; i++) {
        assert_int_equal(fetch_it(f), 0);
        assert_int_equal(store_drop(f->store, &f->key), 0);
    }
    assert_int_equal(asked_there(f), 3);
    transfers_renew_signed(f->transfers);
    http_server_forget(f->other, "/s");
    serve(f, NULL, CONTENT, SIZE);
    assert_int_equal(fetch_it(f), 0);
    assert_int_equal(asked_there(f), 4);
    assert_int_equal(asked_here(f), 6);
}

static void a_success_forgives_them(void **state)
{
    struct fixture *f = *state;

    serve(f, CONTENT, NULL, SIZE);
    for (int i = 0; i < 8; i++) {
        http_server_forget(f->other, "/s");
        if (i % 3 == 2)
            serve(f, NULL, CONTENT, SIZE);
        assert_int_equal(fetch_it(f), 0);
        assert_int_equal(store_drop(f->store, &f->key), 0);
    }
    assert_int_equal(asked_there(f), 8);
}

/* --- in the middle --- */

static void a_lost_connection_is_resumed_there_once(void **state)
{
    struct fixture *f = *state;

    serve(f, CONTENT, NULL, SIZE);
    http_server_answer(f->other, "/s",
                       &(struct http_answer){.body = CONTENT,
                                             .size = SIZE,
                                             .etag = THERE,
                                             .ranges = true,
                                             .cut = true,
                                             .cut_after = 7});
    serve(f, NULL, CONTENT, SIZE);
    assert_int_equal(fetch_it(f), 0);
    assert_true(f->result.by_signed);
    assert_int_equal(asked_here(f), 0);
    assert_true(http_server_has_header(f->other, 1, "Range", "bytes=7-"));
    assert_true(http_server_has_header(f->other, 1, "If-Range", THERE));
}

static void what_does_not_go_on_there_begins_anew_at_the_server(void **state)
{
    static const struct http_answer failures[] = {{.status = 503}, {.status = 403}, {.raw = ""}};
    struct fixture *f = *state;

    serve(f, CONTENT, NULL, SIZE);
    for (size_t i = 0; i < sizeof(failures) / sizeof(*failures); i++) {
        size_t here = asked_here(f);

        http_server_forget(f->other, "/s");
        http_server_answer(f->other, "/s",
                           &(struct http_answer){.body = "PAR1 9999999999 PAR1",
                                                 .size = SIZE,
                                                 .etag = THERE,
                                                 .ranges = true,
                                                 .cut = true,
                                                 .cut_after = 7});
        http_server_answer(f->other, "/s", &failures[i]);
        assert_int_equal(fetch_it(f), 0);
        assert_false(f->result.by_signed);
        assert_int_equal(asked_here(f), here + 1);
        assert_false(http_server_has_header(f->server, here, "Range", NULL));
        assert_false(http_server_has_header(f->server, here, "If-Range", NULL));
        assert_int_equal(store_drop(f->store, &f->key), 0);
    }
}

/* One block, then the end of this process. */
static void begin_big(struct fixture *f)
{
    assert_int_equal(fetch_some(f, 10), 0);
    assert_false(f->result.resident);
    open_transfers(f);
}

static void what_was_begun_there_goes_on_there(void **state)
{
    struct fixture *f = *state;
    scoped_free char *content = big_content(f, 5);

    serve(f, content, content, f->key.size);
    begin_big(f);
    assert_int_equal(fetch_it(f), 0);
    assert_true(f->result.by_signed);
    assert_int_equal(asked_here(f), 0);
    assert_true(http_server_has_header(f->other, asked_there(f) - 1, "If-Range", THERE));
    assert_true(f->result.bytes < f->key.size);
}

static void what_was_begun_there_is_asked_for_anew_when_it_has_expired(void **state)
{
    struct fixture *f = *state;
    scoped_free char *content = big_content(f, 5);

    serve(f, content, content, f->key.size);
    begin_big(f);
    atomic_store(&f->at, NULL);
    assert_int_equal(fetch_it(f), 0);
    assert_false(f->result.by_signed);
    assert_int_equal(asked_there(f), 1);
    assert_int_equal(asked_here(f), 1);
    assert_false(http_server_has_header(f->server, 0, "Range", NULL));
    assert_false(http_server_has_header(f->server, 0, "If-Range", NULL));
}

static void what_was_begun_at_the_server_goes_on_at_the_server(void **state)
{
    struct fixture *f = *state;
    scoped_free char *content = big_content(f, 5);

    serve(f, content, content, f->key.size);
    atomic_store(&f->at, NULL);
    begin_big(f);
    atomic_store(&f->at, "/s");
    assert_int_equal(fetch_it(f), 0);
    assert_false(f->result.by_signed);
    assert_int_equal(asked_there(f), 0);
    assert_true(http_server_has_header(f->server, asked_here(f) - 1, "If-Range", HERE));
}

static void a_whole_partial_of_an_expired_one_needs_no_request(void **state)
{
    struct fixture *f = *state;
    struct partial *partial = NULL;

    assert_int_equal(partial_begin(f->store, &f->key, &partial), 0);
    assert_int_equal(partial_set_tag(partial, "@" THERE), 0);
    assert_int_equal(partial_write(partial, 0, CONTENT, SIZE), 0);
    partial_put(partial);
    atomic_store(&f->at, NULL);
    assert_int_equal(fetch_it(f), 0);
    assert_int_equal(asked_here(f) + asked_there(f), 0);
}

#define test(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(it_is_asked_first_and_without_a_token),
        test(nor_does_a_token_go_to_one_at_the_servers_own_origin),
        test(what_is_not_signed_comes_from_the_server),
        test(each_request_goes_to_the_newest_address),
        test(whatever_fails_there_is_had_from_the_server),
        test(a_near_host_is_not_connected_to),
        test(when_both_fail_the_servers_reason_is_told),
        test(after_three_failures_in_a_row_it_is_left_alone),
        test(a_success_forgives_them),
        test(a_lost_connection_is_resumed_there_once),
        test(what_does_not_go_on_there_begins_anew_at_the_server),
        test(what_was_begun_there_goes_on_there),
        test(what_was_begun_there_is_asked_for_anew_when_it_has_expired),
        test(what_was_begun_at_the_server_goes_on_at_the_server),
        test(a_whole_partial_of_an_expired_one_needs_no_request),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
