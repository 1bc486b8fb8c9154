/* SPDX-License-Identifier: MIT */
/* One exchange at a time, and what may go wrong with it. */
#include "sync/fetch.h"

#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "cache/scoped.h"
#include "tests/unit/support/http_server.h"
#include "tests/unit/support/tempdir.h"

struct fixture {
    struct http_server *server;
    struct fetch *fetch;
};

/* What one exchange brought, in order. */
struct record {
    char order[64]; /* h, b, d */
    struct fetch_head head;
    char etag[64], type[64], location[128], md5[64];
    char *body;
    size_t size;
    struct fetch_result result;
    int head_says;
    int body_says;
    struct fetch_exchange *exchange;
    bool pause_in_body;
    bool running;
};

static void note(struct record *record, char what)
{
    size_t length = strlen(record->order);

    if (length + 1 < sizeof(record->order) && (length == 0 || record->order[length - 1] != what))
        record->order[length] = what;
}

static int on_head(void *arg, const struct fetch_head *head)
{
    struct record *record = arg;

    note(record, 'h');
    record->head = *head;
    snprintf(record->etag, sizeof(record->etag), "%s", head->etag);
    snprintf(record->type, sizeof(record->type), "%s", head->type);
    snprintf(record->location, sizeof(record->location), "%s", head->location);
    snprintf(record->md5, sizeof(record->md5), "%s", head->content_md5);
    return record->head_says;
}

static int on_body(void *arg, const void *data, size_t size)
{
    struct record *record = arg;

    note(record, 'b');
    record->body = realloc(record->body, record->size + size);
    memcpy(record->body + record->size, data, size);
    record->size += size;
    if (record->pause_in_body)
        fetch_pause(record->exchange, true);
    return record->body_says;
}

static void on_done(void *arg, const struct fetch_result *result)
{
    struct record *record = arg;

    note(record, 'd');
    assert_true(record->running);
    record->running = false;
    record->result = *result;
}

static void record_release(struct record *record)
{
    free(record->body);
}

#define scoped_record scoped(record_release)

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    struct fetch_conf conf = {.user_agent = "agnesfs/test", .proxy = "", .connections_per_host = 8};

    f->server = http_server_new();
    assert_int_equal(fetch_new(&conf, &f->fetch), 0);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    fetch_free(f->fetch);
    http_server_free(f->server);
    free(f);
    return 0;
}

static int start(struct fixture *f, struct record *record, struct fetch_request request)
{
    request.head = on_head;
    request.body = on_body;
    request.done = on_done;
    request.arg = record;
    request.stall_s = request.stall_s ? request.stall_s : 10;
    record->running = true;
    return fetch_start(f->fetch, &request, &record->exchange);
}

static void finish(struct fixture *f, struct record *record)
{
    while (record->running)
        fetch_run(f->fetch, 100);
}

/* One GET of a path, to its end. */
static void get(struct fixture *f, const char *path, struct fetch_request request,
                struct record *record)
{
    scoped_free char *url = http_server_url(f->server, path);

    request.url = url;
    assert_int_equal(start(f, record, request), 0);
    finish(f, record);
}

static void answer(struct fixture *f, const char *path, const struct http_answer *answer)
{
    http_server_answer(f->server, path, answer);
}

static int64_t monotonic_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* --- http --- */

static void head_then_body_then_done(void **state)
{
    struct fixture *f = *state;
    scoped_record struct record record = {.size = 0};

    answer(f, "/a?b=c",
           &(struct http_answer){.body = "hello",
                                 .size = 5,
                                 .etag = "\"e1\"",
                                 .type = "Text/Markdown; charset=utf-8",
                                 .headers = "X-Agnes-Content-MD5: abc\r\nRetry-After: 7\r\n"});
    get(f, "/a?b=c", (struct fetch_request){.bearer = "token-1"}, &record);
    assert_string_equal(record.order, "hbd");
    assert_int_equal(record.result.end, FETCH_COMPLETE);
    assert_int_equal(record.result.status, 200);
    assert_int_equal(record.result.bytes, 5);
    assert_memory_equal(record.body, "hello", 5);
    assert_int_equal(record.head.length, 5);
    assert_int_equal(record.head.retry_after_s, 7);
    assert_int_equal(record.head.range_start, -1);
    assert_string_equal(record.etag, "\"e1\"");
    assert_string_equal(record.type, "text/markdown");
    assert_string_equal(record.md5, "abc");
    assert_true(http_server_has_header(f->server, 0, "Authorization", "Bearer token-1"));
    assert_true(http_server_has_header(f->server, 0, "User-Agent", "agnesfs/test"));
    assert_false(http_server_has_header(f->server, 0, "Accept-Encoding", NULL));
    assert_false(http_server_has_header(f->server, 0, "Cookie", NULL));
}

static void method_is_sent_and_files_know_none(void **state)
{
    struct fixture *f = *state;
    scoped_record struct record record = {.size = 0};

    answer(f, "/", &(struct http_answer){.status = 204});
    get(f, "/", (struct fetch_request){.method = "DELETE"}, &record);
    assert_int_equal(record.result.end, FETCH_COMPLETE);
    assert_int_equal(record.result.status, 204);
    assert_int_equal(strncmp(http_server_request(f->server, 0), "DELETE / ", 9), 0);
    assert_false(http_server_has_header(f->server, 0, "Content-Type", NULL));
    assert_int_equal(start(f, &record, (struct fetch_request){.url = "file:///x", .json = "{}"}),
                     -EINVAL);
    assert_int_equal(start(f, &record,
                           (struct fetch_request){.url = "file:///x", .method = "DELETE"}),
                     -EINVAL);
}

static void ranges_are_asked_for_and_read(void **state)
{
    struct fixture *f = *state;
    scoped_record struct record record = {.size = 0};
    scoped_record struct record other = {.size = 0};

    answer(
        f, "/",
        &(struct http_answer){.body = "0123456789", .size = 10, .etag = "\"e\"", .ranges = true});
    get(f, "/", (struct fetch_request){.offset = 4, .if_range = "\"e\"", .no_cache = true},
        &record);
    assert_int_equal(record.head.status, 206);
    assert_int_equal(record.head.range_start, 4);
    assert_int_equal(record.head.range_total, 10);
    assert_int_equal(record.head.length, 6);
    assert_memory_equal(record.body, "456789", 6);
    assert_true(http_server_has_header(f->server, 0, "Range", "bytes=4-"));
    assert_true(http_server_has_header(f->server, 0, "Cache-Control", "no-cache"));
    get(f, "/", (struct fetch_request){.offset = 10}, &other);
    assert_int_equal(other.head.status, 416);
}

static void odd_headers(void **state)
{
    struct fixture *f = *state;
    scoped_record struct record record = {.size = 0};
    scoped_record struct record early = {.size = 0};
    char date[64];
    time_t soon = time(NULL) + 90;
    struct tm tm;
    char headers[256];

    gmtime_r(&soon, &tm);
    strftime(date, sizeof(date), "%a, %d %b %Y %H:%M:%S GMT", &tm);
    snprintf(headers, sizeof(headers), "Retry-After: %s\r\nX-Agnes-Min-Version:\r\n", date);
    answer(
        f, "/",
        &(struct http_answer){.status = 503, .headers = headers, .etag = "W/\"weak\"", .type = ""});
    get(f, "/", (struct fetch_request){.offset = 0}, &record);
    assert_int_equal(record.result.end, FETCH_COMPLETE);
    assert_int_equal(record.head.status, 503);
    assert_in_range(record.head.retry_after_s, 85, 91);
    assert_string_equal(record.etag, "");
    assert_string_equal(record.type, "");

    answer(f, "/early",
           &(struct http_answer){.raw = "HTTP/1.1 103 Early\r\nETag: \"no\"\r\n\r\n"
                                        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n"
                                        "\r\nok"});
    get(f, "/early", (struct fetch_request){.offset = 0}, &early);
    assert_int_equal(early.head.status, 200);
    assert_string_equal(early.etag, "");
    assert_string_equal(early.order, "hbd");
}

static void redirect_is_told_not_followed(void **state)
{
    struct fixture *f = *state;
    scoped_record struct record record = {.size = 0};

    answer(f, "/", &(struct http_answer){.status = 301, .headers = "Location: /other\r\n"});
    answer(f, "/other", &(struct http_answer){.body = "x", .size = 1});
    get(f, "/", (struct fetch_request){.bearer = "t"}, &record);
    assert_int_equal(record.head.status, 301);
    assert_string_equal(record.location, "/other");
    assert_int_equal(http_server_count(f->server, NULL), 1);
}

static void callbacks_may_say_no(void **state)
{
    struct fixture *f = *state;
    scoped_record struct record at_head = {.head_says = -ECANCELED};
    scoped_record struct record at_body = {.body_says = -EIO};

    answer(f, "/", &(struct http_answer){.body = "hello", .size = 5});
    get(f, "/", (struct fetch_request){.offset = 0}, &at_head);
    assert_string_equal(at_head.order, "hd");
    assert_int_equal(at_head.result.end, FETCH_ABORTED);
    assert_int_equal(at_head.result.status, 200);
    get(f, "/", (struct fetch_request){.offset = 0}, &at_body);
    assert_string_equal(at_body.order, "hbd");
    assert_int_equal(at_body.result.end, FETCH_ABORTED);
}

static void cancel_ends_at_once(void **state)
{
    struct fixture *f = *state;
    scoped_record struct record record = {.size = 0};
    scoped_record struct record left = {.size = 0};
    scoped_free char *url = http_server_url(f->server, "/");

    answer(f, "/",
           &(struct http_answer){.body = "hello", .size = 5, .stall = true, .cut_after = 2});
    assert_int_equal(start(f, &record, (struct fetch_request){.url = url}), 0);
    while (record.size < 2)
        fetch_run(f->fetch, 50);
    fetch_cancel(record.exchange);
    assert_string_equal(record.order, "hbd");
    assert_int_equal(record.result.end, FETCH_ABORTED);
    assert_int_equal(fetch_run(f->fetch, 0), 0);

    assert_int_equal(start(f, &left, (struct fetch_request){.url = url}), 0);
    fetch_free(take_ptr(f->fetch));
    assert_false(left.running);
    assert_int_equal(left.result.end, FETCH_ABORTED);
}

/* Much longer than any buffer between the two: nothing comes while paused, all comes after it, and
 * a pause is no stall. */
static void pause_holds_the_body_back(void **state)
{
    struct fixture *f = *state;
    size_t size = (size_t)8 << 20;
    scoped_free char *body = calloc(1, size);
    scoped_free char *url = http_server_url(f->server, "/");
    scoped_record struct record record = {.pause_in_body = true};
    size_t held;
    int64_t began;

    answer(f, "/", &(struct http_answer){.body = body, .size = size});
    assert_int_equal(start(f, &record, (struct fetch_request){.url = url, .stall_s = 1}), 0);
    while (record.size == 0)
        fetch_run(f->fetch, 50);
    fetch_run(f->fetch, 10);
    held = record.size;
    assert_true(held < size / 2);
    began = monotonic_ms();
    while (monotonic_ms() - began < 1200)
        fetch_run(f->fetch, 50);
    assert_true(record.running);
    assert_int_equal(record.size, held);
    record.pause_in_body = false;
    assert_int_equal(fetch_pause(record.exchange, false), 0);
    assert_int_equal(record.size, held); /* not from inside fetch_pause */
    finish(f, &record);
    assert_int_equal(record.result.end, FETCH_COMPLETE);
    assert_int_equal(record.size, size);
}

static void silence_is_a_stall(void **state)
{
    struct fixture *f = *state;
    scoped_record struct record mute = {.size = 0};
    scoped_record struct record halfway = {.size = 0};
    int64_t began = monotonic_ms();

    answer(f, "/",
           &(struct http_answer){.body = "hello", .size = 5, .stall = true, .cut_after = 2});
    get(f, "/", (struct fetch_request){.stall_s = 1}, &halfway);
    assert_int_equal(halfway.result.end, FETCH_STALLED);
    assert_int_equal(halfway.result.bytes, 2);
    http_server_hold(f->server, true);
    get(f, "/", (struct fetch_request){.stall_s = 1}, &mute);
    http_server_hold(f->server, false);
    assert_int_equal(mute.result.end, FETCH_STALLED);
    assert_int_equal(mute.result.status, 0);
    assert_in_range(monotonic_ms() - began, 1900, 5000);
}

static void broken_connections(void **state)
{
    struct fixture *f = *state;
    scoped_record struct record refused = {.size = 0};
    scoped_record struct record cut = {.size = 0};
    scoped_record struct record garbage = {.size = 0};
    scoped_record struct record unknown = {.size = 0};
    scoped_free char *url = http_server_url(f->server, "/secret?sig=1");

    answer(f, "/", &(struct http_answer){.body = "hello", .size = 5, .cut = true, .cut_after = 2});
    get(f, "/", (struct fetch_request){.offset = 0}, &cut);
    assert_int_equal(cut.result.end, FETCH_LOST);
    assert_int_equal(cut.result.bytes, 2);
    answer(f, "/g", &(struct http_answer){.raw = "SSH-2.0-OpenSSH\r\n\r\n"});
    get(f, "/g", (struct fetch_request){.offset = 0}, &garbage);
    assert_int_equal(garbage.result.end, FETCH_REFUSED);
    assert_int_equal(start(f, &unknown, (struct fetch_request){.url = "http://nowhere.invalid/"}),
                     0);
    finish(f, &unknown);
    assert_int_equal(unknown.result.end, FETCH_RESOLVE);

    http_server_free(take_ptr(f->server));
    assert_int_equal(start(f, &refused, (struct fetch_request){.url = url, .bearer = "tok"}), 0);
    finish(f, &refused);
    assert_int_equal(refused.result.end, FETCH_CONNECT);
    assert_string_equal(refused.result.message, "connection refused");
}

static void encoded_bodies(void **state)
{
    struct fixture *f = *state;
    scoped_record struct record refused = {.size = 0};
    scoped_record struct record twice = {.size = 0};
    scoped_record struct record brotli = {.size = 0};
    scoped_record struct record taken = {.size = 0};
    /* gzip of "hello" */
    static const unsigned char packed[] = {0x1f, 0x8b, 8,    0,    0,    0,    0, 0, 0,
                                           3,    0xcb, 0x48, 0xcd, 0xc9, 0xc9, 7, 0, 0x86,
                                           0xa6, 0x10, 0x36, 5,    0,    0,    0};

    answer(f, "/",
           &(struct http_answer){.body = packed,
                                 .size = sizeof(packed),
                                 .headers = "Content-Encoding: gzip\r\n"});
    answer(f, "/2",
           &(struct http_answer){.body = packed,
                                 .size = sizeof(packed),
                                 .headers = "Content-Encoding: gzip, gzip\r\n"});
    answer(f, "/br",
           &(struct http_answer){.body = "x", .size = 1, .headers = "Content-Encoding: br\r\n"});
    get(f, "/", (struct fetch_request){.gzip = false}, &refused);
    assert_int_equal(refused.result.end, FETCH_REFUSED);
    assert_int_equal(refused.size, 0);
    get(f, "/2", (struct fetch_request){.gzip = true}, &twice);
    assert_int_equal(twice.result.end, FETCH_REFUSED);
    get(f, "/br", (struct fetch_request){.gzip = true}, &brotli);
    assert_int_equal(brotli.result.end, FETCH_REFUSED);
    get(f, "/", (struct fetch_request){.gzip = true}, &taken);
    assert_int_equal(taken.result.end, FETCH_COMPLETE);
    assert_int_equal(taken.head.length, -1);
    assert_int_equal(taken.size, 5);
    assert_memory_equal(taken.body, "hello", 5);
}

static void header_bombs(void **state)
{
    struct fixture *f = *state;
    size_t size = 200000;
    scoped_free char *many = malloc(size);
    scoped_free char *flood = malloc(size);
    scoped_free char *line = calloc(1, (2 << 20) + 1);
    scoped_record struct record one = {.size = 0};
    scoped_record struct record two = {.size = 0};
    scoped_record struct record three = {.size = 0};
    char *at = many;

    while (at < many + 80000)
        at += sprintf(at, "X-Filler: 0123456789012345678901234567890123456789\r\n");
    answer(f, "/many", &(struct http_answer){.headers = many});
    get(f, "/many", (struct fetch_request){.offset = 0}, &one);
    assert_int_equal(one.result.end, FETCH_REFUSED);
    assert_string_equal(one.order, "d");

    for (at = flood; at < flood + 80000;)
        at += sprintf(at, "HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n");
    strcpy(at, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    answer(f, "/flood", &(struct http_answer){.raw = flood});
    get(f, "/flood", (struct fetch_request){.offset = 0}, &two);
    assert_int_equal(two.result.end, FETCH_REFUSED);

    memset(line, 'x', 2 << 20);
    memcpy(line, "HTTP/1.1 200 OK\r\nX: ", 20);
    answer(f, "/line", &(struct http_answer){.raw = line});
    get(f, "/line", (struct fetch_request){.offset = 0}, &three);
    assert_int_equal(three.result.end, FETCH_REFUSED);
    assert_string_equal(three.result.message, "the headers are too long");
}

static void what_belongs_to_no_answer(void **state)
{
    struct fixture *f = *state;
    scoped_record struct record switched = {.size = 0};

    answer(f, "/",
           &(struct http_answer){.raw = "HTTP/1.1 101 Switching Protocols\r\n"
                                        "Upgrade: x\r\n\r\nhello"});
    get(f, "/", (struct fetch_request){.offset = 0}, &switched);
    assert_int_equal(switched.result.end, FETCH_REFUSED);
}

static void *wake_after_a_moment(void *fetch)
{
    usleep(20000);
    fetch_wake(fetch);
    return NULL;
}

static void wake_ends_a_run(void **state)
{
    struct fixture *f = *state;
    int64_t began = monotonic_ms();
    pthread_t thread;

    assert_int_equal(pthread_create(&thread, NULL, wake_after_a_moment, f->fetch), 0);
    fetch_run(f->fetch, 10000);
    pthread_join(thread, NULL);
    assert_true(monotonic_ms() - began < 5000);
}

static void what_can_not_be_asked(void **state)
{
    struct fixture *f = *state;
    struct record record = {.size = 0};
    scoped_free char *url = http_server_url(f->server, "/");

    assert_int_equal(start(f, &record, (struct fetch_request){.url = "ftp://h/"}), -EINVAL);
    assert_int_equal(start(f, &record, (struct fetch_request){.url = "/path"}), -EINVAL);
    assert_int_equal(start(f, &record, (struct fetch_request){.url = url, .bearer = "a\r\nX: y"}),
                     -EINVAL);
    assert_int_equal(start(f, &record,
                           (struct fetch_request){.url = url, .offset = 1, .if_range = "\"\n\""}),
                     -EINVAL);
}

/* --- files --- */

static void local_files(void **state)
{
    struct fixture *f = *state;
    char *dir = tempdir_new();
    size_t size = 700000;
    scoped_free char *content = malloc(size);
    scoped_free char *path = path_join(dir, "a b%.bin");
    scoped_free char *escaped = NULL;
    scoped_free char *url = NULL;
    scoped_free char *absent = NULL;
    scoped_free char *folder = NULL;
    scoped_record struct record whole = {.size = 0};
    scoped_record struct record part = {.size = 0};
    scoped_record struct record stale = {.size = 0};
    scoped_record struct record missing = {.size = 0};
    scoped_record struct record is_folder = {.size = 0};

    for (size_t i = 0; i < size; i++)
        content[i] = (char)(i * 31);
    file_write(dir, "a b%.bin", content, size);
    assert_int_equal(fetch_url_escape(path, true, &escaped), 0);
    assert_true(asprintf(&url, "file://%s", escaped) > 0);
    assert_true(asprintf(&absent, "file://%s/absent", dir) > 0);
    assert_true(asprintf(&folder, "file://%s", dir) > 0);

    assert_int_equal(start(f, &whole, (struct fetch_request){.url = url}), 0);
    finish(f, &whole);
    assert_string_equal(whole.order, "hbd");
    assert_int_equal(whole.head.status, 200);
    assert_int_equal(whole.head.length, size);
    assert_int_equal(whole.result.end, FETCH_COMPLETE);
    assert_int_equal(whole.size, size);
    assert_memory_equal(whole.body, content, size);

    assert_int_equal(
        start(f, &part,
              (struct fetch_request){.url = url, .offset = size - 3, .if_range = whole.etag}),
        0);
    finish(f, &part);
    assert_int_equal(part.head.status, 206);
    assert_int_equal(part.head.range_start, size - 3);
    assert_int_equal(part.size, 3);

    file_write(dir, "a b%.bin", "new", 3);
    assert_int_equal(start(f, &stale,
                           (struct fetch_request){.url = url, .offset = 1, .if_range = whole.etag}),
                     0);
    finish(f, &stale);
    assert_int_equal(stale.head.status, 200);
    assert_int_equal(stale.size, 3);

    assert_int_equal(start(f, &missing, (struct fetch_request){.url = absent}), 0);
    finish(f, &missing);
    assert_int_equal(missing.result.end, FETCH_NOT_FOUND);
    assert_string_equal(missing.order, "d");
    assert_int_equal(start(f, &is_folder, (struct fetch_request){.url = folder}), 0);
    finish(f, &is_folder);
    assert_int_equal(is_folder.result.end, FETCH_NOT_FOUND);
    tempdir_free(dir);
}

static void a_paused_file_waits(void **state)
{
    struct fixture *f = *state;
    char *dir = tempdir_new();
    size_t size = 700000;
    scoped_free char *content = calloc(1, size);
    scoped_free char *url = NULL;
    scoped_record struct record record = {.pause_in_body = true};
    size_t held;

    file_write(dir, "x", content, size);
    assert_true(asprintf(&url, "file://%s/x", dir) > 0);
    assert_int_equal(start(f, &record, (struct fetch_request){.url = url}), 0);
    while (record.size == 0)
        fetch_run(f->fetch, 10);
    held = record.size;
    for (int i = 0; i < 5; i++)
        fetch_run(f->fetch, 5);
    assert_int_equal(record.size, held);
    assert_true(held < size);
    record.pause_in_body = false;
    fetch_pause(record.exchange, false);
    finish(f, &record);
    assert_int_equal(record.size, size);
    tempdir_free(dir);
}

/* --- URLs --- */

static void references_are_resolved_strictly(void **state)
{
    static const struct {
        const char *base;
        const char *reference;
        const char *url; /* NULL: -EINVAL */
        const char *origin;
    } cases[] = {
        {"https://h/a/m.json", "b.parquet", "https://h/a/b.parquet", "https://h:443"},
        {"https://h/a/m.json", "/b", "https://h/b", "https://h:443"},
        {"https://h/a/m.json", "../b", "https://h/b", "https://h:443"},
        {"https://h/a/m.json", "../../../b", "https://h/b", "https://h:443"},
        {"https://h/a/m.json", "//evil/x", "https://evil/x", "https://evil:443"},
        {"https://h/a/m.json", "?q=1", "https://h/a/m.json?q=1", "https://h:443"},
        {"https://h/a/m.json", "b#frag", "https://h/a/b", "https://h:443"},
        {"https://h/a", "HTTPS://EVIL.Example:8443/x", "https://evil.example:8443/x",
         "https://evil.example:8443"},
        {"https://h/a", "http://h/x", "http://h/x", "http://h:80"},
        {"https://h/a", "https://h:443/x", "https://h/x", "https://h:443"},
        {"https://h/a", "b/\xc5\xbd", "https://h/b/%C5%BD", "https://h:443"},
        {"file:///s/m.json", "d/x", "file:///s/d/x", "file://"},
        {NULL, "http://0x7f.1/", "http://127.0.0.1/", "http://127.0.0.1:80"},
        {NULL, "http://2130706433/", "http://127.0.0.1/", "http://127.0.0.1:80"},
        {NULL, "http://[::1]:80/", "http://[::1]/", "http://[::1]:80"},
        {"https://h/a", "https://user@evil/", NULL, NULL},
        {"https://h/a", "https://h@evil/", NULL, NULL},
        {"https://h/a", "https://@evil/", NULL, NULL},
        {"https://h/a", "//h:pw@evil/", NULL, NULL},
        {"https://h/a", "https:\\\\evil\\x", NULL, NULL},
        {"https://h/a", "\\\\evil\\x", NULL, NULL},
        {"https://h/a", "/\\evil/x", NULL, NULL},
        {"https://h/a", "https:///evil/x", NULL, NULL},
        {"https://h/a", "https:evil/x", NULL, NULL},
        {"https://h/a", "https:/evil/x", NULL, NULL},
        {"https://h/a", "javascript:alert(1)", NULL, NULL},
        {"https://h/a", "ftp://h/x", NULL, NULL},
        {"https://h/a", "gopher://h/x", NULL, NULL},
        {"https://h/a", "a b", NULL, NULL},
        {"https://h/a", " https://evil/", NULL, NULL},
        {"https://h/a", "x\ny", NULL, NULL},
        {"https://h/a", "x\ty", NULL, NULL},
        {"https://h/a", "x\x7fy", NULL, NULL},
        {"https://h/a", "", NULL, NULL},
        {"https://h/a", "https://h:99999/", NULL, NULL},
        {"https://h/a", "https://h:x/", NULL, NULL},
        {"https://h/a", "https://ev%69l/%0d", "https://evil/%0d", "https://evil:443"},
        {"https://h/a", "https://h%2fevil/", NULL, NULL},
        {"https://h/a", "https://h%00.evil/", NULL, NULL},
        {"https://h/a", "https://\xe2\x84\xaa/", NULL, NULL},
        {"https://h/a", "https://[fe80::1%25eth0]/", NULL, NULL},
        {"https://h/a", "file://evil/x", NULL, NULL},
        {NULL, "h/x", NULL, NULL},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        scoped_free char *url = NULL;
        scoped_free char *origin = NULL;
        int r = fetch_url_resolve(cases[i].base, cases[i].reference, &url);

        print_message("%s -> %d %s\n", cases[i].reference, r, url ? url : "");
        assert_int_equal(r, cases[i].url ? 0 : -EINVAL);
        if (!cases[i].url)
            continue;
        assert_string_equal(url, cases[i].url);
        assert_int_equal(fetch_url_origin(url, &origin), 0);
        assert_string_equal(origin, cases[i].origin);
    }
}

static void long_urls_are_refused(void **state)
{
    scoped_free char *longest = malloc(9000);
    char *url = NULL;

    memset(longest, 'a', 8999);
    longest[8999] = '\0';
    assert_int_equal(fetch_url_resolve("https://h/", longest, &url), -EINVAL);
}

static void escapes(void **state)
{
    scoped_free char *slashes = NULL;
    scoped_free char *none = NULL;

    assert_int_equal(fetch_url_escape("a/b c?\xc5%~-._", true, &slashes), 0);
    assert_string_equal(slashes, "a/b%20c%3F%C5%25~-._");
    assert_int_equal(fetch_url_escape("a/b&=", false, &none), 0);
    assert_string_equal(none, "a%2Fb%26%3D");
}

/* --- foreign hosts --- */

/* Of whatever connects to it, all we want to know is that it did. */
static int listen_on(int family, uint16_t *ret_port)
{
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = family == AF_INET ? sizeof(four) : sizeof(six);
    struct sockaddr *address = family == AF_INET ? (struct sockaddr *)&four
                                                 : (struct sockaddr *)&six;
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0 || bind(fd, address, size) < 0 || listen(fd, 8) < 0 ||
        getsockname(fd, address, &size) < 0) {
        close(fd);
        return -1; /* a machine without IPv6 */
    }
    *ret_port = ntohs(family == AF_INET ? four.sin_port : six.sin6_port);
    return fd;
}

static bool was_connected_to(int listener)
{
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

static void a_foreign_host_that_is_near_is_not_connected_to(void **state)
{
    static const char *const hosts[] = {"127.0.0.1",          "127.0.0.2", "localhost", "0x7f.1",
                                        "2130706433",         "0.0.0.0",   "[::1]",     "[::]",
                                        "[::ffff:127.0.0.1]", "127.1"};
    struct fixture *f = *state;
    uint16_t port = 0, port6 = 0;
    scoped_fd int four = listen_on(AF_INET, &port);
    scoped_fd int six = listen_on(AF_INET6, &port6);

    assert_true(four >= 0);
    for (size_t i = 0; i < sizeof(hosts) / sizeof(*hosts); i++) {
        for (int scheme = 0; scheme < 2; scheme++) {
            scoped_record struct record record = {.size = 0};
            scoped_free char *url = NULL;

            assert_true(asprintf(&url, "%s://%s:%u/secret?sig=1", scheme ? "https" : "http",
                                 hosts[i], hosts[i][0] == '[' && six >= 0 ? port6 : port) > 0);
            assert_int_equal(start(f, &record, (struct fetch_request){.url = url, .foreign = true}),
                             0);
            finish(f, &record);
            assert_string_equal(record.order, "d");
            assert_int_equal(record.result.end, FETCH_REFUSED);
            assert_string_equal(record.result.message, "its address is not a public one");
        }
    }
    assert_false(was_connected_to(four));
    assert_true(six < 0 || !was_connected_to(six));
}

static void a_host_of_the_users_own_may_be_near(void **state)
{
    struct fixture *f = *state;
    scoped_record struct record record = {.size = 0};

    answer(f, "/t", &(struct http_answer){.body = "x", .size = 1});
    get(f, "/t", (struct fetch_request){.foreign = false}, &record);
    assert_int_equal(record.result.end, FETCH_COMPLETE);
}

static void a_proxy_that_was_given_connects_to_foreign_hosts(void **state)
{
    struct fixture *f = *state;
    scoped_record struct record record = {.size = 0};
    scoped_free char *proxy = http_server_url(f->server, "");
    const struct fetch_conf conf = {.proxy = proxy, .connections_per_host = 8};
    const char *url = "http://store.example/t";

    fetch_free(f->fetch);
    assert_int_equal(fetch_new(&conf, &f->fetch), 0);
    answer(f, url, &(struct http_answer){.body = "x", .size = 1});
    assert_int_equal(start(f, &record, (struct fetch_request){.url = url, .foreign = true}), 0);
    finish(f, &record);
    assert_int_equal(record.result.end, FETCH_COMPLETE);
    assert_int_equal(record.result.status, 200);
}

static void a_proxy_of_the_environment_does_not_get_foreign_requests(void **state)
{
    static const char *const names[] = {"https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY",
                                        "http_proxy"};
    struct fixture *f = *state;
    scoped_free char *proxy = http_server_url(f->server, "");
    const struct fetch_conf conf = {.connections_per_host = 8};

    fetch_free(f->fetch);
    assert_int_equal(fetch_new(&conf, &f->fetch), 0);
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
        unsetenv(names[i]);
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        const struct fetch_request request = {.url = "https://127.0.0.1:1/t", .foreign = true};
        scoped_record struct record record = {.size = 0};

        setenv(names[i], proxy, 1);
        assert_int_equal(start(f, &record, request), -EACCES);
        unsetenv(names[i]);
        assert_int_equal(start(f, &record, request), 0);
        finish(f, &record);
        assert_int_equal(record.result.end, FETCH_REFUSED);
    }
    assert_int_equal(http_server_count(f->server, NULL), 0);
}

#define test(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(head_then_body_then_done),
        test(method_is_sent_and_files_know_none),
        test(ranges_are_asked_for_and_read),
        test(odd_headers),
        test(redirect_is_told_not_followed),
        test(callbacks_may_say_no),
        test(cancel_ends_at_once),
        test(pause_holds_the_body_back),
        test(silence_is_a_stall),
        test(broken_connections),
        test(encoded_bodies),
        test(header_bombs),
        test(what_belongs_to_no_answer),
        test(wake_ends_a_run),
        test(what_can_not_be_asked),
        test(local_files),
        test(a_paused_file_waits),
        test(a_foreign_host_that_is_near_is_not_connected_to),
        test(a_host_of_the_users_own_may_be_near),
        test(a_proxy_that_was_given_connects_to_foreign_hosts),
        test(a_proxy_of_the_environment_does_not_get_foreign_requests),
        cmocka_unit_test(references_are_resolved_strictly),
        cmocka_unit_test(long_urls_are_refused),
        cmocka_unit_test(escapes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
