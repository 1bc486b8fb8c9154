/* SPDX-License-Identifier: MIT */
/* From a want to a blob, over a network that misbehaves as scripted. */
#include "sync/digest_page.h"
#include "sync/transfer.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>

#include <cmocka.h>

#include "cache/partial.h"
#include "cache/scoped.h"
#include "tests/unit/sync/transfer_fixture.h"

/* --- scaffolding --- */

/* What a want is, but for the usual. */
struct wish {
    const char *path; /* one URL; NULL: urls */
    const char *const *urls;
    bool no_key;
    const char *md5;
    uint64_t limit;
    enum tree_form form;
    enum want_priority priority;
    const char *content; /* that the key is of; NULL: CONTENT */
};

static void hex_of(const char *content, char ret_hex[33])
{
    struct blob_key key = key_of(content, strlen(content));
    char text[BLOB_KEY_TEXT_SIZE];

    blob_key_format(&key, text);
    snprintf(ret_hex, 33, "%.32s", text + 4);
}

static int set_up(void **state)
{
    struct fixture *f = fixture_new();

    fixture_open(f, 8, 10);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    fixture_free(*state);
    return 0;
}

static void on_got(void *arg, const struct want_result *result, const char *bytes, size_t size)
{
    struct fixture *f = arg;

    assert_int_equal(bytes[size], '\0');
    {
        scoped_lock(&f->lock);
        snprintf(f->text, sizeof(f->text), "%s", bytes);
    }
    on_done(arg, result);
}

static void ask(struct fixture *f, const struct wish *wish)
{
    const char *content = wish->content ? wish->content : CONTENT;
    scoped_free char *url = wish->path ? http_server_url(f->server, wish->path) : NULL;
    const char *const one[] = {url, NULL};
    struct want want = {
        .md5 = wish->md5,
        .limit = wish->limit ? wish->limit : 1000,
        .form = wish->form,
        .urls = wish->path ? one : wish->urls,
        .priority = wish->priority,
    };

    if (!wish->no_key)
        want.key = key_of(content, strlen(content));
    assert_int_equal(transfers_want(f->transfers, &want, on_done, f), 0);
}

/* Asks and waits for the end; the error. */
static int fetch(struct fixture *f, const struct wish *wish)
{
    f->ended = 0;
    ask(f, wish);
    await(f, 1);
    return f->result.error;
}

static void answer(struct fixture *f, const struct http_answer *answer)
{
    http_server_answer(f->server, "/t", answer);
}

#define GOOD .body = CONTENT, .size = SIZE

static bool holds(struct fixture *f, const char *content)
{
    struct blob_key key = key_of(content, strlen(content));

    return store_has(f->store, &key);
}

static unsigned partials(struct fixture *f)
{
    scoped_free char *path = path_join(f->root, "partial");
    scoped_dir DIR *dir = opendir(path);
    struct dirent *entry;
    unsigned count = 0;

    while (dir && (entry = readdir(dir)))
        count += entry->d_name[0] != '.';
    return count;
}

/* They are removed by the disk thread, after the want has ended. */
static bool no_partials(struct fixture *f)
{
    for (int i = 0; i < 1000 && partials(f) > 0; i++)
        usleep(1000);
    return partials(f) == 0;
}

static int64_t monotonic_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void wait_for_requests(struct fixture *f, size_t count)
{
    while (http_server_count(f->server, NULL) < count)
        usleep(1000);
}

/* --- a disk that takes its time --- */

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool hold;        /* lock */
    unsigned waiting; /* lock */
} disk = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

int fdatasync(int fd)
{
    {
        scoped_lock(&disk.lock);
        disk.waiting++;
        pthread_cond_broadcast(&disk.changed);
        while (disk.hold)
            pthread_cond_wait(&disk.changed, &disk.lock);
        disk.waiting--;
    }
    return (int)syscall(SYS_fdatasync, fd);
}

static void hold_disk(bool hold)
{
    scoped_lock(&disk.lock);
    disk.hold = hold;
    pthread_cond_broadcast(&disk.changed);
}

static void wait_for_disk(unsigned waiting)
{
    scoped_lock(&disk.lock);
    while (disk.waiting < waiting)
        pthread_cond_wait(&disk.changed, &disk.lock);
}

/* --- one blob --- */

/* The next one who wants it opens the same partial: not before the last one has put it aside. */
static void a_blob_is_opened_when_the_last_one_has_closed_it(void **state)
{
    struct fixture *f = *state;

    answer(f, &(struct http_answer){GOOD, .etag = "\"v1\"", .cut = true, .cut_after = 7});
    answer(f, &(struct http_answer){.status = 403});
    answer(f, &(struct http_answer){GOOD, .etag = "\"v1\"", .ranges = true});
    hold_disk(true);
    assert_int_equal(fetch(f, &(struct wish){.path = "/t"}), -EACCES);
    wait_for_disk(1); /* what came is being put aside */
    ask(f, &(struct wish){.path = "/t"});
    usleep(600000); /* longer than the setback that the failure left, and a round */
    size_t requests = http_server_count(f->server, NULL);

    hold_disk(false);
    await(f, 2);
    assert_int_equal(requests, 2);
    assert_int_equal(f->result.error, 0);
    assert_true(http_server_has_header(f->server, 2, "Range", "bytes=7-"));
    assert_true(holds(f, CONTENT));
}

/* While one blob is being made durable, the others go on. */
static void a_slow_sync_holds_up_nobody_else(void **state)
{
    struct fixture *f = *state;
    static const char *const others[] = {"PAR1 one PAR1", "PAR1 two PAR1"};
    char path[] = "/0";

    answer(f, &(struct http_answer){GOOD});
    hold_disk(true);
    f->ended = 0;
    ask(f, &(struct wish){.path = "/t"});
    wait_for_disk(1);
    for (unsigned i = 0; i < 2; i++) {
        path[1] = (char)('0' + i);
        http_server_answer(f->server, path,
                           &(struct http_answer){.body = others[i], .size = strlen(others[i])});
        ask(f, &(struct wish){.path = path, .content = others[i]});
        wait_for_disk(2 + i);
    }
    hold_disk(false);
    await(f, 3);
    assert_true(holds(f, CONTENT) && holds(f, others[0]) && holds(f, others[1]));
}

static void a_thousand_wants_are_one_request(void **state)
{
    struct fixture *f = *state;
    struct transfers_stats stats;

    answer(f, &(struct http_answer){GOOD});
    http_server_hold(f->server, true);
    for (int i = 0; i < 1000; i++)
        ask(f, &(struct wish){.path = "/t", .priority = (enum want_priority)(i % 3)});
    wait_for_requests(f, 1);
    http_server_hold(f->server, false);
    await(f, 1000);
    assert_int_equal(f->result.error, 0);
    assert_int_equal(http_server_count(f->server, NULL), 1);
    assert_true(holds(f, CONTENT));
    transfers_stats(f->transfers, &stats);
    assert_int_equal(stats.wants_done, 1000);
    assert_int_equal(stats.wants_waiting, 0);
    assert_int_equal(stats.bytes, SIZE);
    assert_int_equal(fetch(f, &(struct wish){.path = "/t"}), 0); /* it is here now */
    assert_int_equal(http_server_count(f->server, NULL), 1);
    assert_int_equal(f->result.requests, 0);
}

static void a_cut_body_is_resumed_where_it_ended(void **state)
{
    struct fixture *f = *state;

    answer(f, &(struct http_answer){GOOD, .etag = "\"v1\"", .ranges = true, .cut = true,
                                    .cut_after = 7});
    answer(f, &(struct http_answer){GOOD, .etag = "\"v1\"", .ranges = true});
    assert_int_equal(fetch(f, &(struct wish){.path = "/t"}), 0);
    assert_int_equal(http_server_count(f->server, NULL), 2);
    assert_true(http_server_has_header(f->server, 1, "Range", "bytes=7-"));
    assert_true(http_server_has_header(f->server, 1, "If-Range", "\"v1\""));
    assert_int_equal(f->result.bytes, SIZE); /* not one byte twice */
    assert_true(holds(f, CONTENT));
}

/* The server has new bytes: what came before is no use, and is never spliced with what comes. */
static void a_changed_etag_starts_again(void **state)
{
    struct fixture *f = *state;

    answer(f, &(struct http_answer){.body = "PAR1 9999999999 PAR1",
                                    .size = SIZE,
                                    .etag = "\"v1\"",
                                    .ranges = true,
                                    .cut = true,
                                    .cut_after = 7});
    answer(f, &(struct http_answer){GOOD, .etag = "\"v2\"", .ranges = true});
    assert_int_equal(fetch(f, &(struct wish){.path = "/t"}), 0);
    assert_int_equal(http_server_count(f->server, NULL), 2);
    assert_true(holds(f, CONTENT));
}

static void what_answers_a_resume_wrongly_starts_again(void **state)
{
    static const struct http_answer odd[] = {
        {GOOD}, /* 200: no ranges here */
        {.status = 416, .headers = "Content-Range: bytes */5\r\n"},
        /* would fit where it is not from */
        {.status = 206,
         .body = &CONTENT[7],
         .size = SIZE - 7,
         .headers = "Content-Range: bytes 3-15/20\r\n"},
        {.status = 206, .body = "xxx", .size = 3, .headers = "Content-Range: bytes 7-9/10\r\n"},
        {.status = 206, .body = "xxx", .size = 3},
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof(odd) / sizeof(*odd); i++) {
        struct blob_key key = key_of(CONTENT, SIZE);

        http_server_forget(f->server, "/t");
        answer(f, &(struct http_answer){GOOD, .etag = "\"v1\"", .cut = true, .cut_after = 7});
        answer(f, &odd[i]);
        answer(f, &(struct http_answer){GOOD});
        assert_int_equal(fetch(f, &(struct wish){.path = "/t"}), 0);
        assert_true(holds(f, CONTENT));
        assert_int_equal(f->result.requests, i == 0 ? 2 : 3);
        assert_int_equal(store_drop(f->store, &key), 0);
    }
}

static void bytes_without_a_strong_etag_are_not_resumed(void **state)
{
    struct fixture *f = *state;

    answer(f, &(struct http_answer){GOOD, .etag = "W/\"v1\"", .cut = true, .cut_after = 7});
    answer(f, &(struct http_answer){GOOD});
    assert_int_equal(fetch(f, &(struct wish){.path = "/t"}), 0);
    assert_false(http_server_has_header(f->server, 1, "Range", NULL));
    assert_true(holds(f, CONTENT));
}

static void the_next_url_is_tried_after_404(void **state)
{
    struct fixture *f = *state;
    scoped_free char *first = http_server_url(f->server, "/by-id");
    scoped_free char *second = http_server_url(f->server, "/t");
    const char *const urls[] = {first, second, NULL};
    const char *const none[] = {first, first, NULL};

    answer(f, &(struct http_answer){GOOD});
    assert_int_equal(fetch(f, &(struct wish){.urls = urls}), 0);
    assert_int_equal(http_server_count(f->server, "/by-id"), 1);
    assert_int_equal(http_server_count(f->server, "/t"), 1);
    assert_int_equal(fetch(f, &(struct wish){.urls = none, .content = "other"}), -ESTALE);
    assert_int_equal(f->result.status, 404);
    assert_int_equal(http_server_count(f->server, "/by-id"), 3);
}

static void wrong_bytes_are_asked_for_once_more_and_never_kept(void **state)
{
    struct fixture *f = *state;

    answer(f,
           &(struct http_answer){.body = "PAR1 012345678X PAR1", .size = SIZE, .etag = "\"v1\""});
    assert_int_equal(fetch(f, &(struct wish){.path = "/t"}), -EBADMSG);
    assert_int_equal(http_server_count(f->server, NULL), 2);
    assert_false(http_server_has_header(f->server, 0, "Cache-Control", NULL));
    assert_true(http_server_has_header(f->server, 1, "Cache-Control", "no-cache"));
    assert_false(http_server_has_header(f->server, 1, "Range", NULL));
    assert_true(no_partials(f));
    assert_false(holds(f, CONTENT));
    answer(f, &(struct http_answer){GOOD});
    usleep(40 * 1000); /* past the back-off of a first failure */
    assert_int_equal(fetch(f, &(struct wish){.path = "/t"}), 0);
}

/* Only the source's own origin may say that something else is right. */
static void what_the_server_says_it_has_instead_is_told(void **state)
{
    struct fixture *f = *state;
    struct http_server *elsewhere = http_server_new();
    scoped_free char *foreign = http_server_url(elsewhere, "/t");
    const char *const urls[] = {foreign, NULL};
    const char *other = "PAR1 012345678X";
    struct blob_key key = key_of(other, strlen(other));
    char hex[33], raw[200];

    hex_of(other, hex);
    snprintf(raw, sizeof(raw),
             "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\nX-Agnes-Content-MD5: %s\r\n\r\n%s",
             strlen(other), hex, other);
    answer(f, &(struct http_answer){.raw = raw});
    http_server_answer(elsewhere, "/t", &(struct http_answer){.raw = raw});
    assert_int_equal(fetch(f, &(struct wish){.path = "/t"}), -EBADMSG);
    assert_true(blob_key_equal(&f->result.other, &key));
    assert_string_equal(f->result.message, "the server has another version than the manifest says");
    assert_int_equal(http_server_count(f->server, NULL), 1);
    assert_int_equal(fetch(f, &(struct wish){.urls = urls, .content = "PAR1 012345678Y"}),
                     -EBADMSG);
    assert_int_equal(f->result.other.kind, BLOB_NONE);
    assert_int_equal(fetch(f, &(struct wish){.path = "/t", .content = other}), 0);
    http_server_free(elsewhere);
}

static void sizes_that_do_not_fit_are_noticed_early(void **state)
{
    static const struct {
        struct http_answer answer;
        bool no_key;
        uint64_t limit;
        int error;
    } cases[] = {
        {{.body = CONTENT "x", .size = SIZE + 1}, false, 0, -EBADMSG},
        {{.body = CONTENT "x", .size = SIZE + 1, .no_length = true}, false, 0, -EBADMSG},
        {{.body = CONTENT, .size = SIZE - 1}, false, 0, -EBADMSG},
        {{.body = CONTENT, .size = SIZE - 1, .no_length = true}, false, 0, -EBADMSG},
        {{.body = CONTENT, .size = SIZE}, true, SIZE - 1, -EPROTO},
        {{.body = CONTENT, .size = SIZE, .no_length = true}, true, SIZE - 1, -EPROTO},
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        http_server_forget(f->server, "/t");
        answer(f, &cases[i].answer);
        assert_int_equal(fetch(f, &(struct wish){.path = "/t",
                                                 .no_key = cases[i].no_key,
                                                 .limit = cases[i].limit}),
                         cases[i].error);
        assert_true(no_partials(f));
    }
    assert_false(holds(f, CONTENT));
}

static void a_page_is_no_data(void **state)
{
    struct fixture *f = *state;

    answer(f, &(struct http_answer){GOOD, .type = "Text/HTML; charset=utf-8"});
    assert_int_equal(fetch(f, &(struct wish){.path = "/t"}), -EPROTO);
    assert_string_equal(f->result.message, "the server sent text/html, not data");
    assert_int_equal(http_server_count(f->server, NULL), 1);
}

static void bundles_must_be_markdown_text(void **state)
{
    static const struct {
        const char *type;
        const char *body;
        int error;
    } cases[] = {
        {"text/markdown; charset=utf-8", "# Finance\n\n\xc5\xbd \xf0\x9f\x98\x80\n", 0},
        {"text/plain", "# a\n", -EPROTO},
        {"text/html", "# b\n", -EPROTO},
        {"application/json", "# c\n", -EPROTO},
        {"text/markdown", " \n\t<!DOCTYPE html>", -EPROTO},
        {"text/markdown", "# \xc0\xaf\n", -EPROTO},
        {"text/markdown", "# \xed\xa0\x80\n", -EPROTO},
        {"text/markdown", "# cut \xc5", -EPROTO},
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        char path[16];

        snprintf(path, sizeof(path), "/b%zu", i);
        http_server_answer(f->server, path,
                           &(struct http_answer){.type = cases[i].type,
                                                 .body = cases[i].body,
                                                 .size = strlen(cases[i].body)});
        assert_int_equal(fetch(f,
                               &(struct wish){.path = path, .no_key = true, .form = FORM_BUNDLE}),
                         cases[i].error);
        if (cases[i].error == 0) {
            struct blob_key key;

            blob_key_of_bytes(cases[i].body, strlen(cases[i].body), &key);
            assert_true(blob_key_equal(&f->result.key, &key));
            assert_true(store_has(f->store, &key));
        }
    }
    assert_true(no_partials(f));
}

#define DIGEST "{\"title\":\"W\",\"status\":\"stale\",\"generated_at\":\"t\",\"output_md\":\"%s\"}"

/* What is made of a digest's document. */
static struct blob_key page_key(const char *document)
{
    scoped_free char *page = NULL;
    struct blob_key key;
    size_t size;

    assert_int_equal(digest_page_make(document, strlen(document), &page, &size), 0);
    blob_key_of_bytes(page, size, &key);
    return key;
}

static int fetch_digest(struct fixture *f, const char *path, const char *document, const char *type,
                        const struct blob_key *key)
{
    scoped_free char *url = http_server_url(f->server, path);
    const char *const urls[] = {url, NULL};
    struct want want = {.limit = 1000, .form = FORM_DIGEST, .urls = urls};

    http_server_answer(f->server, path,
                       &(struct http_answer){.type = type,
                                             .body = document,
                                             .size = strlen(document)});
    if (key)
        want.key = *key;
    f->ended = 0;
    assert_int_equal(transfers_want(f->transfers, &want, on_done, f), 0);
    await(f, 1);
    return f->result.error;
}

static void a_digest_is_kept_as_the_page_made_of_it(void **state)
{
    struct fixture *f = *state;
    char one[200], other[200];
    struct blob_key key, other_key;

    snprintf(one, sizeof(one), DIGEST, "one");
    snprintf(other, sizeof(other), DIGEST, "other");
    key = page_key(one);
    other_key = page_key(other);
    assert_int_equal(fetch_digest(f, "/t", one, "application/json", NULL), 0);
    assert_true(blob_key_equal(&f->result.key, &key));
    assert_true(f->result.resident && store_has(f->store, &key));

    /* One that is known is asked for only when it is not here, and must be what it was. */
    size_t asked = http_server_count(f->server, NULL);

    assert_int_equal(fetch_digest(f, "/t", one, "application/json", &key), 0);
    assert_true(blob_key_equal(&f->result.key, &key));
    assert_int_equal(http_server_count(f->server, NULL), asked);
    assert_int_equal(fetch_digest(f, "/t", one, "application/json", &other_key), -EBADMSG);
    assert_string_equal(f->result.message, "the bytes are not those that the manifest promises");
    assert_int_equal(http_server_count(f->server, NULL), asked + 2);
    assert_false(store_has(f->store, &other_key));
    assert_true(no_partials(f));
}

static void what_is_no_digest_is_refused(void **state)
{
    struct fixture *f = *state;
    static const char *const others[] = {"", "{", "[]", "{\"output_md\": 5}", "# Markdown\n"};
    char one[200];

    snprintf(one, sizeof(one), DIGEST, "one");
    assert_int_equal(fetch_digest(f, "/m", one, "text/markdown", NULL), -EPROTO);
    assert_string_equal(f->result.message, "the server sent text/markdown, not JSON");
    for (size_t i = 0; i < sizeof(others) / sizeof(*others); i++) {
        char path[16];

        snprintf(path, sizeof(path), "/%zu", i);
        assert_int_equal(fetch_digest(f, path, others[i], "application/json", NULL), -EPROTO);
        assert_string_equal(f->result.message, "the digest makes no sense");
    }
    assert_true(no_partials(f));
}

static void a_database_without_md5_has_its_mark(void **state)
{
    static const char *const bodies[] = {"checksumDUCKand more", "checksumDUC",
                                         "checksumduckand more", "DUCKchecksumand more"};
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof(bodies) / sizeof(*bodies); i++) {
        char path[16];

        snprintf(path, sizeof(path), "/%zu", i);
        http_server_answer(f->server, path,
                           &(struct http_answer){.body = bodies[i], .size = strlen(bodies[i])});
        assert_int_equal(fetch(f,
                               &(struct wish){.path = path, .no_key = true, .form = FORM_DATABASE}),
                         i == 0 ? 0 : -EBADMSG);
        if (i > 0)
            assert_string_equal(f->result.message, "the bytes are no DuckDB file");
    }
}

static void without_a_key_the_bytes_tell(void **state)
{
    static const char *const others[] = {"no parquet", "PAR1 cut short", "torn head PAR1", "PAR1"};
    struct fixture *f = *state;
    struct blob_key md5 = key_of(CONTENT, SIZE);
    struct blob_key xxh;
    char hex[33];

    hex_of(CONTENT, hex);
    blob_key_of_bytes(CONTENT, SIZE, &xxh);
    answer(f, &(struct http_answer){GOOD});
    assert_int_equal(fetch(f, &(struct wish){.path = "/t", .no_key = true}), 0);
    assert_true(blob_key_equal(&f->result.key, &xxh));
    assert_int_equal(fetch(f, &(struct wish){.path = "/t", .no_key = true, .md5 = hex}), 0);
    assert_true(blob_key_equal(&f->result.key, &md5));

    for (size_t i = 0; i < sizeof(others) / sizeof(*others); i++) {
        http_server_forget(f->server, "/x");
        http_server_answer(f->server, "/x",
                           &(struct http_answer){.body = others[i], .size = strlen(others[i])});
        assert_int_equal(fetch(f, &(struct wish){.path = "/x", .no_key = true}), -EBADMSG);
        assert_string_equal(f->result.message, "the bytes are no parquet file");
    }
    assert_int_equal(fetch(f, &(struct wish){.path = "/x", .no_key = true, .md5 = hex}), -EBADMSG);
}

static void a_redirect_is_not_followed(void **state)
{
    struct fixture *f = *state;
    scoped_free char *target = http_server_url(f->server, "/elsewhere?secret=1");
    char headers[256];

    f->token = "secret-token";
    snprintf(headers, sizeof(headers), "Location: %s\r\n", target);
    answer(f, &(struct http_answer){.status = 302, .headers = headers});
    assert_int_equal(fetch(f, &(struct wish){.path = "/t"}), -EPROTO);
    assert_non_null(strstr(f->result.message, "/elsewhere, not followed (302)"));
    assert_null(strstr(f->result.message, "secret"));
    assert_int_equal(http_server_count(f->server, NULL), 1);
}

static void a_busy_server_is_asked_again(void **state)
{
    struct fixture *f = *state;

    answer(f, &(struct http_answer){.status = 503, .body = "<html>", .size = 6});
    answer(f, &(struct http_answer){GOOD});
    assert_int_equal(fetch(f, &(struct wish){.path = "/t"}), 0);
    assert_int_equal(http_server_count(f->server, NULL), 2);
}

/* --- the store --- */

static void age(struct fixture *f, const char *content)
{
    struct blob_key key = key_of(content, strlen(content));
    char text[BLOB_KEY_TEXT_SIZE];
    char path[200];
    struct timespec times[2] = {{.tv_sec = 1}, {.tv_sec = 1}};

    blob_key_format(&key, text);
    snprintf(path, sizeof(path), "_shared/%.2s/%s", text + 4, text);
    assert_int_equal(utimensat(store_dirfd(f->store), path, times, 0), 0);
    assert_false(store_has(f->store, &key));
}

static void an_untrusted_blob_is_read_before_the_network_is_asked(void **state)
{
    struct fixture *f = *state;

    answer(f, &(struct http_answer){GOOD});
    assert_int_equal(fetch(f, &(struct wish){.path = "/t"}), 0);
    age(f, CONTENT);
    assert_int_equal(fetch(f, &(struct wish){.path = "/t"}), 0);
    assert_int_equal(http_server_count(f->server, NULL), 1);
    assert_true(holds(f, CONTENT));
}

static void a_whole_partial_needs_no_request(void **state)
{
    struct fixture *f = *state;
    struct blob_key key = key_of(CONTENT, SIZE);
    struct partial *partial;

    assert_int_equal(partial_begin(f->store, &key, &partial), 0);
    assert_int_equal(partial_set_tag(partial, "\"v1\""), 0);
    assert_int_equal(partial_write(partial, 0, CONTENT, SIZE), 0);
    partial_put(partial);
    assert_int_equal(fetch(f, &(struct wish){.path = "/t"}), 0);
    assert_int_equal(http_server_count(f->server, NULL), 0);
    assert_true(holds(f, CONTENT));
}

/* --- many --- */

static void numbered(char path[32], char content[32], int number)
{
    snprintf(path, 32, "/n%d", number);
    snprintf(content, 32, "content %d", number);
}

static void ask_numbered(struct fixture *f, int from, int to, enum want_priority priority)
{
    for (int i = from; i < to; i++) {
        char path[32], content[32];

        numbered(path, content, i);
        http_server_answer(f->server, path,
                           &(struct http_answer){.body = content, .size = strlen(content)});
        ask(f, &(struct wish){.path = path, .content = content, .priority = priority});
    }
}

static void eight_run_at_once_and_two_more_on_demand(void **state)
{
    struct fixture *f = *state;

    http_server_hold(f->server, true);
    ask_numbered(f, 0, 20, WANT_STAGE);
    wait_for_requests(f, 8);
    usleep(50000);
    assert_int_equal(http_server_count(f->server, NULL), 8);
    ask_numbered(f, 20, 30, WANT_DEMAND);
    wait_for_requests(f, 10);
    usleep(50000);
    assert_int_equal(http_server_count(f->server, NULL), 10);
    assert_int_equal(http_server_count(f->server, "/n20"), 1);
    http_server_hold(f->server, false);
    await(f, 30);
    assert_int_equal(http_server_most(f->server), 10);
}

/* Which of the numbered files was request number i for? */
static int asked(struct fixture *f, size_t i)
{
    int number = -1;
    const char *request = http_server_request(f->server, i);

    assert_int_equal(sscanf(request, "GET /n%d ", &number), 1);
    return number;
}

static void urgent_wants_overtake(void **state)
{
    struct fixture *f = *state;

    fixture_open(f, 1, 10);
    http_server_hold(f->server, true);
    ask_numbered(f, 0, 3, WANT_PREFETCH);
    wait_for_requests(f, 1);
    ask_numbered(f, 3, 5, WANT_STAGE);
    ask(f, &(struct wish){.path = "/n2", .content = "content 2", .priority = WANT_DEMAND});
    wait_for_requests(f, 2); /* at once, past all that wait */
    assert_int_equal(asked(f, 1), 2);
    http_server_hold(f->server, false);
    await(f, 6);
    assert_int_equal(asked(f, 0), 0);
    assert_int_equal(asked(f, 2), 3);
    assert_int_equal(asked(f, 3), 4);
    assert_int_equal(asked(f, 4), 1);
    assert_int_equal(http_server_count(f->server, NULL), 5);
}

static void a_failed_key_is_not_asked_for_at_once(void **state)
{
    struct fixture *f = *state;
    int64_t began = monotonic_ms();

    for (int i = 0; i < 3; i++)
        assert_int_equal(fetch(f, &(struct wish){.path = "/t", .priority = WANT_STAGE}), -ESTALE);
    assert_true(monotonic_ms() - began >= 32 + 64);
    assert_int_equal(http_server_count(f->server, NULL), 3);
}

static void readers_of_a_failed_key_share_the_failure(void **state)
{
    struct fixture *f = *state;
    int64_t began = monotonic_ms();
    int wants = 0;

    for (; http_server_count(f->server, NULL) < 3; wants++)
        assert_int_equal(fetch(f, &(struct wish){.path = "/t", .priority = WANT_DEMAND}), -ESTALE);
    assert_int_equal(f->result.status, 404);
    assert_true(monotonic_ms() - began >= 32 + 64);
    assert_true(wants > 3);
}

static void big_bodies_flow_through_the_bounded_queue(void **state)
{
    struct fixture *f = *state;
    size_t size = (size_t)40 << 20;
    scoped_free char *body = malloc(size);
    scoped_free char *url = http_server_url(f->server, "/big");
    const char *const urls[] = {url, NULL};
    struct want want = {.limit = size, .urls = urls};

    for (size_t i = 0; i < size; i++)
        body[i] = (char)(i * 2654435761u >> 13);
    http_server_answer(f->server, "/big", &(struct http_answer){.body = body, .size = size});
    want.key = key_of(body, size);
    assert_int_equal(transfers_want(f->transfers, &want, on_done, f), 0);
    await(f, 1);
    assert_int_equal(f->result.error, 0);
    assert_int_equal(f->result.requests, 1);
    assert_true(store_has(f->store, &want.key));
}

/* --- ends --- */

static void free_ends_everything_and_keeps_what_came(void **state)
{
    struct fixture *f = *state;
    int64_t began;

    answer(f, &(struct http_answer){GOOD, .etag = "\"v1\"", .ranges = true, .stall = true,
                                    .cut_after = 7});
    answer(f, &(struct http_answer){GOOD, .etag = "\"v1\"", .ranges = true});
    ask(f, &(struct wish){.path = "/t"});
    wait_for_requests(f, 1);
    ask_numbered(f, 0, 3, WANT_PREFETCH);
    await(f, 3);
    usleep(20000); /* the seven bytes are here */
    began = monotonic_ms();
    transfers_free(take_ptr(f->transfers));
    assert_true(monotonic_ms() - began < 2000);
    assert_int_equal(f->ended, 4);
    assert_int_equal(f->result.error, -ECANCELED);
    assert_true(partials(f) > 0);

    fixture_open(f, 8, 10);
    assert_int_equal(fetch(f, &(struct wish){.path = "/t"}), 0);
    assert_int_equal(f->result.bytes, SIZE - 7);
}

static void a_stop_refuses_what_comes_later(void **state)
{
    struct fixture *f = *state;
    scoped_free char *url = http_server_url(f->server, "/t");
    const char *const urls[] = {url, NULL};
    struct want want = {.limit = 10, .urls = urls};

    transfers_stop(f->transfers);
    assert_int_equal(transfers_want(f->transfers, &want, on_done, f), -ECANCELED);
    assert_int_equal(transfers_get(f->transfers, url, false, 10, on_got, f), -ECANCELED);
    assert_int_equal(f->ended, 0);
}

static void silence_ends_in_a_timeout_also_in_line(void **state)
{
    struct fixture *f = *state;
    int64_t began = monotonic_ms();
    int64_t took;

    fixture_open(f, 1, 1);
    http_server_hold(f->server, true);
    ask_numbered(f, 0, 3, WANT_STAGE);
    await(f, 3);
    took = monotonic_ms() - began;
    assert_int_equal(f->result.error, -ETIMEDOUT);
    assert_non_null(strstr(f->result.message, "no progress for 1 s"));
    assert_in_range(took, 900, 3000);
    http_server_hold(f->server, false);
}

/* --- the token --- */

static void the_token_goes_to_the_origin_only(void **state)
{
    struct fixture *f = *state;
    struct http_server *other = http_server_new();
    scoped_free char *url = http_server_url(other, "/t");
    const char *const urls[] = {url, NULL};
    const struct http_answer good = {GOOD};

    f->token = "secret";
    answer(f, &good);
    http_server_answer(other, "/t", &good);
    assert_int_equal(fetch(f, &(struct wish){.path = "/t", .no_key = true}), 0);
    assert_true(http_server_has_header(f->server, 0, "Authorization", "Bearer secret"));
    assert_int_equal(fetch(f, &(struct wish){.urls = urls, .no_key = true}), 0);
    assert_int_equal(http_server_count(other, NULL), 1);
    assert_false(http_server_has_header(other, 0, "Authorization", NULL));
    http_server_free(other);
}

static void a_static_source_gets_no_token(void **state)
{
    struct fixture *f = *state;
    scoped_free char *url = http_server_url(f->server, "/manifest.json");
    struct source *server = f->source;

    f->token = "secret";
    answer(f, &(struct http_answer){GOOD});
    transfers_free(take_ptr(f->transfers));
    assert_int_equal(source_parse(url, &f->source), 0);
    fixture_open(f, 1, 10);
    assert_int_equal(fetch(f, &(struct wish){.path = "/t"}), 0);
    assert_false(http_server_has_header(f->server, 0, "Authorization", NULL));
    assert_int_equal(f->token_asked, 0);
    source_free(server);
}

static char *rotating_token(void *arg)
{
    struct fixture *f = arg;

    return strdup(f->token_asked++ == 0 ? "old" : "new");
}

static void a_refused_token_is_read_once_more(void **state)
{
    struct fixture *f = *state;
    struct transfers_conf conf = {.store = f->store,
                                  .source = f->source,
                                  .proxy = "",
                                  .token = rotating_token,
                                  .token_arg = f};

    f->token = "same";
    answer(f, &(struct http_answer){.status = 401});
    assert_int_equal(fetch(f, &(struct wish){.path = "/t"}), -EACCES);
    assert_string_equal(f->result.message, "the server refused the token (401)");
    assert_int_equal(http_server_count(f->server, NULL), 1);
    assert_int_equal(f->token_asked, 2);

    transfers_free(take_ptr(f->transfers));
    f->token_asked = 0;
    http_server_forget(f->server, "/t");
    answer(f, &(struct http_answer){.status = 401});
    answer(f, &(struct http_answer){GOOD});
    assert_int_equal(transfers_new(&conf, &f->transfers), 0);
    assert_int_equal(fetch(f, &(struct wish){.path = "/t"}), 0);
    assert_true(http_server_has_header(f->server, 1, "Authorization", "Bearer old"));
    assert_true(http_server_has_header(f->server, 2, "Authorization", "Bearer new"));
}

/* --- documents --- */

static int get(struct fixture *f, const char *path, bool json, uint64_t limit)
{
    scoped_free char *url = http_server_url(f->server, path);

    f->ended = 0;
    assert_int_equal(transfers_get(f->transfers, url, json, limit, on_got, f), 0);
    await(f, 1);
    return f->result.error;
}

static void documents(void **state)
{
    struct fixture *f = *state;
    const struct http_answer json = {.type = "application/json", .body = "{\"a\":1}", .size = 7};

    http_server_answer(f->server, "/json", &json);
    http_server_answer(f->server, "/plain",
                       &(struct http_answer){.type = "text/plain", .body = "text", .size = 4});
    http_server_answer(f->server, "/cut",
                       &(struct http_answer){.type = "application/json",
                                             .body = "{\"a\":1}",
                                             .size = 7,
                                             .cut = true,
                                             .cut_after = 3});
    http_server_answer(f->server, "/cut", &json);
    http_server_answer(f->server, "/page",
                       &(struct http_answer){.type = "text/html", .body = "<html>", .size = 6});
    http_server_answer(f->server, "/long",
                       &(struct http_answer){.body = "0123456789", .size = 10, .no_length = true});
    assert_int_equal(get(f, "/json", true, 100), 0);
    assert_string_equal(f->text, "{\"a\":1}");
    assert_int_equal(get(f, "/cut", true, 100), 0);
    assert_string_equal(f->text, "{\"a\":1}");
    assert_int_equal(get(f, "/json", true, 6), -EPROTO);
    assert_int_equal(get(f, "/long", false, 9), -EPROTO);
    assert_int_equal(get(f, "/plain", true, 100), -EPROTO);
    assert_int_equal(get(f, "/plain", false, 100), 0);
    assert_int_equal(get(f, "/page", false, 100), -EPROTO);
    assert_int_equal(get(f, "/absent", false, 100), -ESTALE);
}

#define test(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(a_thousand_wants_are_one_request),
        test(a_cut_body_is_resumed_where_it_ended),
        test(a_changed_etag_starts_again),
        test(what_answers_a_resume_wrongly_starts_again),
        test(bytes_without_a_strong_etag_are_not_resumed),
        test(the_next_url_is_tried_after_404),
        test(wrong_bytes_are_asked_for_once_more_and_never_kept),
        test(what_the_server_says_it_has_instead_is_told),
        test(sizes_that_do_not_fit_are_noticed_early),
        test(a_page_is_no_data),
        test(bundles_must_be_markdown_text),
        test(a_digest_is_kept_as_the_page_made_of_it),
        test(what_is_no_digest_is_refused),
        test(a_database_without_md5_has_its_mark),
        test(without_a_key_the_bytes_tell),
        test(a_redirect_is_not_followed),
        test(a_busy_server_is_asked_again),
        test(an_untrusted_blob_is_read_before_the_network_is_asked),
        test(a_whole_partial_needs_no_request),
        test(a_blob_is_opened_when_the_last_one_has_closed_it),
        test(a_slow_sync_holds_up_nobody_else),
        test(eight_run_at_once_and_two_more_on_demand),
        test(urgent_wants_overtake),
        test(a_failed_key_is_not_asked_for_at_once),
        test(readers_of_a_failed_key_share_the_failure),
        test(big_bodies_flow_through_the_bounded_queue),
        test(free_ends_everything_and_keeps_what_came),
        test(a_stop_refuses_what_comes_later),
        test(silence_ends_in_a_timeout_also_in_line),
        test(the_token_goes_to_the_origin_only),
        test(a_static_source_gets_no_token),
        test(a_refused_token_is_read_once_more),
        test(documents),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
