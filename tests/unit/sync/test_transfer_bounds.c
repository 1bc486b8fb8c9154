/* SPDX-License-Identifier: MIT */
/* That nothing is asked for without end, whatever a server does, and that nothing it says of our
 * token gets any further. */
#include <errno.h>
#include <stdio.h>
#include <time.h>

#include "tests/unit/sync/transfer_fixture.h"

#define TOKEN "a-token-that-is-long-enough"
#define LONG (3 << 20) /* more than a block, and much more than counts as progress */

static int set_up(void **state)
{
    struct fixture *f = fixture_new();

    fixture_open(f, 8, 2);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    fixture_free(*state);
    return 0;
}

static void ask(struct fixture *f, const char *path, const struct want *like)
{
    scoped_free char *url = http_server_url(f->server, path);
    const char *const urls[] = {url, NULL};
    struct want want = *like;

    want.urls = urls;
    assert_int_equal(transfers_want(f->transfers, &want, on_done, f), 0);
}

static int fetch(struct fixture *f, const char *path, const struct want *want)
{
    f->ended = 0;
    ask(f, path, want);
    await(f, 1);
    return f->result.error;
}

static void answer(struct fixture *f, const struct http_answer *answer)
{
    http_server_answer(f->server, "/t", answer);
}

static int64_t monotonic_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

struct end {
    struct fixture *f;
    int error;
};

static void on_end(void *arg, const struct want_result *result)
{
    struct end *end = arg;

    end->error = result->error;
    on_done(end->f, result);
}

static void on_got(void *arg, const struct want_result *result, const char *bytes, size_t size)
{
    on_end(arg, result);
}

/* What came looked like progress each time, so no clock ever ended it. */
static void what_is_lost_again_and_again_is_given_up(void **state)
{
    static const char *const paths[] = {"/table", "/bundle", "/document"};
    struct fixture *f = *state;
    struct end ends[] = {{.f = f}, {.f = f}, {.f = f}};
    char *bytes = malloc(LONG);
    char *urls[3][2] = {{NULL}};

    fixture_open(f, 8, 10);
    memset(bytes, 'x', LONG);
    for (size_t i = 0; i < 3; i++) {
        urls[i][0] = http_server_url(f->server, paths[i]);
        http_server_answer(f->server, paths[i],
                           &(struct http_answer){.type = "text/markdown",
                                                 .body = bytes,
                                                 .size = LONG,
                                                 .cut = true,
                                                 .cut_after = LONG / 2});
    }

    const struct want table = {.key = key_of(bytes, LONG),
                               .urls = (const char *const *)urls[0],
                               .priority = WANT_DEMAND};
    const struct want bundle = {.limit = LONG,
                                .form = FORM_BUNDLE,
                                .urls = (const char *const *)urls[1],
                                .priority = WANT_STAGE};

    assert_int_equal(transfers_want(f->transfers, &table, on_end, &ends[0]), 0);
    assert_int_equal(transfers_want(f->transfers, &bundle, on_end, &ends[1]), 0);
    assert_int_equal(transfers_get(f->transfers, urls[2][0], false, LONG, on_got, &ends[2]), 0);
    await(f, 3);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(ends[i].error, -EHOSTUNREACH);
        assert_in_range(http_server_count(f->server, paths[i]), 4, 5);
        free(urls[i][0]);
    }
    free(bytes);
}

static void a_refusal_however_long_is_no_progress(void **state)
{
    struct fixture *f = *state;
    char *page = calloc(1, 100000);
    const struct want demand = {.key = key_of(CONTENT, SIZE), .priority = WANT_DEMAND};
    int64_t began = monotonic_ms();

    answer(f, &(struct http_answer){.status = 503, .body = page, .size = 100000});
    assert_int_equal(fetch(f, "/t", &demand), -ETIMEDOUT);
    assert_in_range(monotonic_ms() - began, 1900, 4000);
    free(page);
}

/* A want whose time is over gives its place to the next one, and its failure to whoever comes then. */
static void silence_keeps_no_place_and_is_remembered(void **state)
{
    struct fixture *f = *state;
    const struct want want = {.key = key_of(CONTENT, SIZE), .priority = WANT_DEMAND};
    const struct want other = {.key = key_of("other", 5), .priority = WANT_DEMAND};
    struct transfers_stats stats;
    int64_t began;

    answer(f, &(struct http_answer){.body = CONTENT, .size = SIZE, .stall = true, .cut_after = 3});
    http_server_answer(f->server, "/u", &(struct http_answer){.body = "other", .size = 5});
    assert_int_equal(fetch(f, "/t", &want), -ETIMEDOUT);
    began = monotonic_ms();
    assert_int_equal(fetch(f, "/t", &want), -ETIMEDOUT);
    assert_in_range(monotonic_ms() - began, 0, 500);
    assert_int_equal(fetch(f, "/u", &other), 0);
    do
        transfers_stats(f->transfers, &stats);
    while (stats.running > 0 && monotonic_ms() - began < 5000);
    assert_int_equal(stats.running, 0);
}

static void a_bundle_must_have_an_end_and_something_before_it(void **state)
{
    struct fixture *f = *state;
    const struct want want = {.limit = 100, .form = FORM_BUNDLE, .priority = WANT_STAGE};

    answer(f, &(struct http_answer){.type = "text/markdown", .size = 0, .body = ""});
    assert_int_equal(fetch(f, "/t", &want), -EPROTO);
    http_server_forget(f->server, "/t");
    answer(f, &(struct http_answer){
                  .type = "text/markdown", .body = "# a\n", .size = 4, .no_length = true});
    assert_int_equal(fetch(f, "/t", &want), -EPROTO);
    assert_string_equal(f->result.message, "the server does not say where the bundle ends");
    http_server_forget(f->server, "/t");
    answer(f, &(struct http_answer){.raw = "HTTP/1.1 200 OK\r\nContent-Type: text/markdown\r\n"
                                           "Transfer-Encoding: chunked\r\n\r\n"
                                           "4\r\n# a\n\r\n0\r\n\r\n"});
    assert_int_equal(fetch(f, "/t", &want), 0);
}

static void a_token_that_is_quoted_is_not_repeated(void **state)
{
    static const struct http_answer quotes[] = {
        {.status = 401, .body = "{\"detail\": \"bad: " TOKEN "\"}"},
        {.status = 403, .body = "{\"detail\": {\"hint\": \"" TOKEN "\"}}"},
        {.status = 302, .headers = "Location: http://b.example/" TOKEN "\r\n"},
        {.status = 302, .headers = "Location: http://b.example/A-Token-That-Is-Long-Enough\r\n"},
        {.type = TOKEN, .body = "x"},
    };
    const struct want want = {.limit = 100, .form = FORM_BUNDLE, .priority = WANT_STAGE};
    struct fixture *f = *state;

    f->token = TOKEN;
    for (size_t i = 0; i < sizeof(quotes) / sizeof(*quotes); i++) {
        struct http_answer quote = quotes[i];

        quote.size = quote.body ? strlen(quote.body) : 0;
        http_server_forget(f->server, "/t");
        answer(f, &quote);
        assert_true(fetch(f, "/t", &want) < 0);
        assert_null(strcasestr(f->result.message, TOKEN));
    }
}

static void no_password_of_a_redirect_is_repeated(void **state)
{
    struct fixture *f = *state;
    const struct want want = {.key = key_of(CONTENT, SIZE), .priority = WANT_STAGE};

    answer(f, &(struct http_answer){.status = 302,
                                    .headers = "Location: http://me:secret@b.example/\r\n"});
    assert_int_equal(fetch(f, "/t", &want), -EPROTO);
    assert_null(strstr(f->result.message, "secret"));
}

#define test(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(what_is_lost_again_and_again_is_given_up),
        test(a_refusal_however_long_is_no_progress),
        test(silence_keeps_no_place_and_is_remembered),
        test(a_bundle_must_have_an_end_and_something_before_it),
        test(a_token_that_is_quoted_is_not_repeated),
        test(no_password_of_a_redirect_is_repeated),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
