/* SPDX-License-Identifier: MIT */
/* The engine against a scripted server: what is fetched, published, kept and removed. */
#include "sync/engine_private.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include <cmocka.h>

#include "cache/scoped.h"
#include "cache/writer.h"
#include "tests/unit/support/http_server.h"
#include "tests/unit/support/tempdir.h"

#define MANIFEST "/api/sync/manifest"

struct fixture {
    char *dir;
    char *root;
    struct http_server *server;
    struct source *source;
    struct store *store;
    struct engine *engine;
    struct report *report; /* of the last refresh */
    unsigned published;
    const char *token;
    enum engine_prefetch prefetch;
    unsigned timeout_s;
    bool expects_staged; /* publish checks that everything listed is resident */
};

/* --- scaffolding --- */

static char *format(const char *template, ...) __attribute__((format(printf, 1, 2)));

static char *format(const char *template, ...)
{
    va_list arguments;
    char *text = NULL;

    va_start(arguments, template);
    assert_true(vasprintf(&text, template, arguments) >= 0);
    va_end(arguments);
    return text;
}

static struct blob_key md5_key(const char *content)
{
    scoped(digest_freep) struct digest *digest = NULL;
    struct digest_sums sums;
    struct blob_key key = {.kind = BLOB_MD5, .size = strlen(content)};

    assert_int_equal(digest_new(&digest), 0);
    assert_int_equal(digest_update(digest, content, strlen(content)), 0);
    assert_int_equal(digest_sums(digest, &sums), 0);
    memcpy(key.digest, sums.md5, sizeof(key.digest));
    return key;
}

static void md5_hex(const char *content, char ret_hex[33])
{
    struct blob_key key = md5_key(content);
    char text[BLOB_KEY_TEXT_SIZE];

    blob_key_format(&key, text);
    snprintf(ret_hex, 33, "%.32s", text + 4);
}

/* A table's row; the id is "t_" + name. */
static char *table(const char *name, const char *content)
{
    char hex[33];

    md5_hex(content, hex);
    return format("{\"id\":\"t_%s\",\"name\":\"%s\",\"md5\":\"%s\",\"size_bytes\":%zu,"
                  "\"query_mode\":\"local\",\"updated\":\"2026-08-22T10:00:00\"}",
                  name, name, hex, strlen(content));
}

static void serve(struct fixture *f, const char *name, const char *content)
{
    scoped_free char *path = format("/api/data/t_%s/download", name);

    http_server_forget(f->server, path);
    http_server_answer(f->server, path,
                       &(struct http_answer){.body = content,
                                             .size = strlen(content),
                                             .etag = "\"one\"",
                                             .ranges = true});
}

static void serve_json(struct fixture *f, const char *path, const char *text)
{
    http_server_forget(f->server, path);
    http_server_answer(f->server, path,
                       &(struct http_answer){.type = "application/json; charset=utf-8",
                                             .body = text,
                                             .size = strlen(text)});
}

static void serve_bundle(struct fixture *f, const char *slug, const char *text)
{
    scoped_free char *path = format("/api/memory/bundle?domain=%s", slug);

    http_server_forget(f->server, path);
    http_server_answer(f->server, path,
                       &(struct http_answer){.type = "text/markdown; charset=utf-8",
                                             .body = text,
                                             .size = strlen(text)});
}

/* Each a JSON array; NULL leaves the section out. */
static void serve_manifest(struct fixture *f, const char *direct, const char *packages,
                           const char *memory)
{
    scoped_free char *text = format("{\"tables\":{}%s%s%s%s%s%s}",
                                    direct ? ",\"direct_tables\":" : "", direct ? direct : "",
                                    packages ? ",\"data_packages\":" : "", packages ? packages : "",
                                    memory ? ",\"memory_domains\":" : "", memory ? memory : "");

    serve_json(f, MANIFEST, text);
}

/* One package "sales" with these rows, and nothing else. */
static void serve_sales(struct fixture *f, const char *rows)
{
    scoped_free char *packages =
        format("[{\"id\":\"p1\",\"slug\":\"sales\",\"name\":\"Sales\",\"tables\":[%s]}]", rows);

    serve_manifest(f, "[]", packages, "[]");
}

static void on_publish(void *arg, struct tree *tree)
{
    struct fixture *f = arg;

    f->published++;
    for (uint32_t i = 0; f->expects_staged && i < tree_blob_count(tree); i++)
        assert_true(store_has(f->store, &tree_blob(tree, i)->key));
}

static char *give_token(void *arg)
{
    struct fixture *f = arg;

    return f->token ? strdup(f->token) : NULL;
}

static void open_engine(struct fixture *f)
{
    struct engine_conf conf = {
        .source = f->source,
        .jobs = 4,
        .timeout_s = f->timeout_s ? f->timeout_s : 10,
        .prefetch = f->prefetch,
        .user_agent = "agnesfs/test",
        .proxy = "",
        .token = give_token,
        .token_arg = f,
        .publish = on_publish,
        .arg = f,
    };

    assert_int_equal(store_open(f->root, STORE_WRITER, &f->store), 0);
    conf.store = f->store;
    assert_int_equal(engine_new(&conf, &f->engine), 0);
    assert_int_equal(engine_start(f->engine), 0);
}

static void close_engine(struct fixture *f)
{
    engine_free(take_ptr(f->engine));
    store_close(take_ptr(f->store));
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    scoped_free char *url = NULL;

    f->dir = tempdir_new();
    f->root = path_join(f->dir, "cache");
    f->server = http_server_new();
    f->prefetch = PREFETCH_NONE;
    url = http_server_url(f->server, "");
    assert_int_equal(source_parse(url, &f->source), 0);
    open_engine(f);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    if (f->engine)
        close_engine(f);
    report_free(f->report);
    source_free(f->source);
    http_server_free(f->server);
    free(f->root);
    tempdir_free(f->dir);
    free(f);
    return 0;
}

/* What a refresh has withdrawn goes when it has ended already. */
static void let_clear_up(struct fixture *f)
{
    const struct timespec moment = {.tv_nsec = 1000000};
    struct engine_status status = {.refreshing = true};

    for (int i = 0; i < 30000 && status.refreshing; i++) {
        engine_status(f->engine, &status);
        if (status.refreshing)
            nanosleep(&moment, NULL);
    }
    assert_false(status.refreshing);
}

static int refresh(struct fixture *f, unsigned flags)
{
    uint64_t ticket = 0;

    report_free(take_ptr(f->report));
    assert_int_equal(engine_refresh(f->engine, flags, &ticket), 0);
    assert_int_equal(engine_wait(f->engine, ticket, 30000, &f->report), 0);
    let_clear_up(f);
    return f->report->error;
}

/* Is there a file of exactly this content under that name? NULL: is there none? */
static bool shows(struct fixture *f, const char *path, const char *content)
{
    scoped(tree_unrefp) struct tree *tree = engine_tree(f->engine);
    const struct tree_node *node = tree ? tree_find(tree, path) : NULL;
    scoped_fd int fd = -1;
    char bytes[4096];
    ssize_t size;

    if (!node || !content)
        return !node && !content;
    if (node->type != TREE_BLOB || store_get(f->store, &tree_blob(tree, node->blob)->key, &fd) < 0)
        return false;
    size = read(fd, bytes, sizeof(bytes));
    return size == (ssize_t)strlen(content) && memcmp(bytes, content, (size_t)size) == 0;
}

static bool lists(struct fixture *f, const char *path)
{
    scoped(tree_unrefp) struct tree *tree = engine_tree(f->engine);

    return tree && tree_find(tree, path);
}

static bool holds(struct fixture *f, const char *content)
{
    struct blob_key key = md5_key(content);

    return store_has(f->store, &key);
}

/* Every file below, with inode, size and times: what a write anywhere would change. */
static void snapshot_into(const char *dir, FILE *out)
{
    scoped_dir DIR *stream = opendir(dir);
    struct dirent *entry;

    assert_non_null(stream);
    while ((entry = readdir(stream))) {
        scoped_free char *path = path_join(dir, entry->d_name);
        struct stat st;

        if (strcmp(entry->d_name, "..") == 0)
            continue;
        assert_int_equal(lstat(path, &st), 0);
        fprintf(out, "%s %lu %ld %ld.%09ld %ld.%09ld\n", path, (unsigned long)st.st_ino,
                (long)st.st_size, (long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec,
                (long)st.st_ctim.tv_sec, st.st_ctim.tv_nsec);
        if (S_ISDIR(st.st_mode) && strcmp(entry->d_name, ".") != 0)
            snapshot_into(path, out);
    }
}

static char *snapshot(struct fixture *f)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);

    snapshot_into(f->root, out);
    fclose(out);
    return text;
}

/* --- the tests --- */

static void first_sync_lists_at_once_and_fills(void **state)
{
    struct fixture *f = *state;
    scoped_free char *orders = table("orders", "PAR1 orders v1 PAR1");
    struct engine_status status;

    serve(f, "orders", "PAR1 orders v1 PAR1");
    serve_sales(f, orders);
    assert_int_equal(refresh(f, 0), 0);
    assert_int_equal(f->published, 1);
    assert_true(lists(f, "data/sales/orders.parquet"));
    assert_false(holds(f, "PAR1 orders v1 PAR1")); /* listed cold */
    assert_int_equal(f->report->sections[TREE_PACKAGES].added, 1);
    assert_int_equal(f->report->requests, 1);
    assert_int_equal(f->report->invariant_count, 0);

    assert_int_equal(refresh(f, REFRESH_FILL), 0);
    assert_true(shows(f, "data/sales/orders.parquet", "PAR1 orders v1 PAR1"));
    assert_int_equal(f->report->sections[TREE_PACKAGES].bytes, 19);
    assert_int_equal(f->report->error_count, 0);
    engine_status(f->engine, &status);
    assert_int_equal(status.generation, 1);
    assert_int_equal(status.error, 0);
    assert_true(status.last_success_unix > 0);
}

/* One table "orders" of that content, on the server and in the manifest. */
static void serve_orders(struct fixture *f, const char *content)
{
    scoped_free char *orders = table("orders", content);

    serve(f, "orders", content);
    serve_sales(f, orders);
}

static void sync_orders(struct fixture *f, const char *content)
{
    serve_orders(f, content);
    assert_int_equal(refresh(f, REFRESH_FILL), 0);
    assert_true(shows(f, "data/sales/orders.parquet", content));
}

static void no_change_is_one_request_and_no_write(void **state)
{
    struct fixture *f = *state;
    scoped_free char *before = NULL;
    scoped_free char *after = NULL;
    size_t requests;

    sync_orders(f, "one");
    before = snapshot(f);
    requests = http_server_count(f->server, NULL);
    assert_int_equal(refresh(f, REFRESH_FILL), 0);
    after = snapshot(f);
    assert_int_equal(http_server_count(f->server, NULL) - requests, 1);
    assert_int_equal(f->report->requests, 1);
    assert_string_equal(before, after);
    assert_false(f->report->changed);
    assert_int_equal(f->report->sections[TREE_PACKAGES].unchanged, 1);
    assert_int_equal(f->published, 1);
}

static void new_content_is_here_before_it_is_published(void **state)
{
    struct fixture *f = *state;

    sync_orders(f, "one");
    f->expects_staged = true;
    serve_orders(f, "two");
    assert_int_equal(refresh(f, 0), 0);
    assert_int_equal(f->published, 2);
    assert_true(shows(f, "data/sales/orders.parquet", "two"));
    assert_int_equal(f->report->sections[TREE_PACKAGES].updated, 1);
    assert_int_equal(f->report->sections[TREE_PACKAGES].bytes, 3);
    assert_false(holds(f, "one")); /* and what nobody refers to is gone */
}

static void failed_update_keeps_the_old_content(void **state)
{
    struct fixture *f = *state;

    sync_orders(f, "one");
    serve_orders(f, "two");
    serve(f, "orders", "2wo"); /* not what the manifest says */
    assert_int_equal(refresh(f, 0), 0);
    assert_true(shows(f, "data/sales/orders.parquet", "one"));
    assert_int_equal(f->report->error_count, 1);
    assert_int_equal(f->report->errors[0].error, -EBADMSG);
    assert_string_equal(f->report->errors[0].name, "orders");
    assert_string_equal(f->report->errors[0].group, "sales");
    serve(f, "orders", "two");
    assert_int_equal(refresh(f, 0), 0);
    assert_true(shows(f, "data/sales/orders.parquet", "two"));
    assert_int_equal(f->report->error_count, 0);
}

static void what_is_withdrawn_goes_with_its_bytes(void **state)
{
    struct fixture *f = *state;
    scoped_free char *a = table("a", "bytes of a");
    scoped_free char *b = table("b", "bytes of b");
    scoped_free char *both = format("%s,%s", a, b);

    serve(f, "a", "bytes of a");
    serve(f, "b", "bytes of b");
    serve_sales(f, both);
    assert_int_equal(refresh(f, REFRESH_FILL), 0);
    serve_sales(f, a);
    assert_int_equal(refresh(f, 0), 0);
    assert_true(shows(f, "data/sales/b.parquet", NULL));
    assert_true(shows(f, "data/sales/a.parquet", "bytes of a"));
    assert_false(holds(f, "bytes of b"));
    assert_int_equal(f->report->sections[TREE_PACKAGES].removed, 1);
}

static void one_table_in_two_packages_is_one_blob(void **state)
{
    struct fixture *f = *state;
    scoped_free char *row = table("orders", "shared");
    scoped_free char *packages = format("[{\"id\":\"1\",\"slug\":\"sales\",\"tables\":[%s]},"
                                        "{\"id\":\"2\",\"slug\":\"ops\",\"tables\":[%s]}]",
                                        row, row);
    scoped(tree_unrefp) struct tree *tree = NULL;
    struct blob_key key = md5_key("shared");

    serve(f, "orders", "shared");
    serve_manifest(f, "[]", packages, "[]");
    assert_int_equal(refresh(f, REFRESH_FILL), 0);
    assert_int_equal(http_server_count(f->server, "/api/data/t_orders/download"), 1);
    tree = engine_tree(f->engine);
    assert_int_equal(tree_blob_find(tree, &key)->references, 2);

    serve_sales(f, row); /* one of the two goes: the bytes stay */
    assert_int_equal(refresh(f, 0), 0);
    assert_true(shows(f, "data/sales/orders.parquet", "shared"));
    assert_true(shows(f, "data/ops/orders.parquet", NULL));
    assert_int_equal(http_server_count(f->server, "/api/data/t_orders/download"), 1);
}

static char *domain(const char *token)
{
    return format("[{\"id\":\"d1\",\"slug\":\"fin\",\"name\":\"Finance\",\"bundle_url\":"
                  "\"/api/memory/bundle?domain=fin\",\"md5\":\"%032d\"}]",
                  atoi(token));
}

static void bundles_are_fetched_when_their_token_changes(void **state)
{
    struct fixture *f = *state;
    scoped_free char *one = domain("1");
    scoped_free char *two = domain("2");

    serve_manifest(f, "[]", "[]", one);
    serve_bundle(f, "fin", "# Finance\n\none\n");
    assert_int_equal(refresh(f, 0), 0);
    assert_true(shows(f, "memory/fin/bundle.md", "# Finance\n\none\n"));
    serve_bundle(f, "fin", "# Finance\n\ntwo\n");
    assert_int_equal(refresh(f, 0), 0);
    assert_true(shows(f, "memory/fin/bundle.md", "# Finance\n\none\n"));
    assert_int_equal(http_server_count(f->server, "/api/memory/bundle?domain=fin"), 1);
    serve_manifest(f, "[]", "[]", two);
    assert_int_equal(refresh(f, 0), 0);
    assert_true(shows(f, "memory/fin/bundle.md", "# Finance\n\ntwo\n"));
}

static void missing_section_is_held(void **state)
{
    struct fixture *f = *state;

    sync_orders(f, "one");
    serve_manifest(f, "[]", NULL, "[]");
    assert_int_equal(refresh(f, 0), 0);
    assert_true(f->report->sections[TREE_PACKAGES].held);
    assert_true(shows(f, "data/sales/orders.parquet", "one"));
    serve_manifest(f, "[]", "null", "[]");
    assert_int_equal(refresh(f, 0), 0);
    assert_true(f->report->sections[TREE_PACKAGES].held);
    assert_true(shows(f, "data/sales/orders.parquet", "one"));
    assert_int_equal(f->published, 1);
}

#define STACK "/api/stack?type=data_package"

static void sudden_emptiness_needs_the_servers_second_word(void **state)
{
    struct fixture *f = *state;
    static const char *const unconvincing[] = {
        "{\"items\":[{\"id\":\"p1\",\"in_stack\":true}]}",
        "{\"items\":[{\"id\":\"p1\"}]}",
        "{\"items\":null}",
        "{}",
        "not json",
    };

    sync_orders(f, "one");
    serve_manifest(f, "[]", "[]", "[]");
    for (size_t i = 0; i < sizeof(unconvincing) / sizeof(*unconvincing); i++) {
        serve_json(f, STACK, unconvincing[i]);
        assert_int_equal(refresh(f, 0), 0);
        assert_true(f->report->sections[TREE_PACKAGES].held);
        assert_true(shows(f, "data/sales/orders.parquet", "one"));
        assert_int_equal(f->report->requests, 2);
    }
    http_server_forget(f->server, STACK); /* 404 */
    assert_int_equal(refresh(f, 0), 0);
    assert_true(shows(f, "data/sales/orders.parquet", "one"));

    serve_json(f, STACK, "{\"items\":[{\"id\":\"p1\",\"in_stack\":false}]}");
    assert_int_equal(refresh(f, 0), 0);
    assert_false(f->report->sections[TREE_PACKAGES].held);
    assert_true(shows(f, "data/sales/orders.parquet", NULL));
    assert_false(holds(f, "one"));
    assert_int_equal(f->report->sections[TREE_PACKAGES].removed, 1);
}

/* Direct tables are in no stack listing: the second manifest that says so is believed, also after
 * a restart; one that lists them again ends the doubt. */
static void sudden_emptiness_of_direct_tables_is_believed_the_second_time(void **state)
{
    struct fixture *f = *state;
    scoped_free char *row = table("prices", "prices");
    scoped_free char *rows = format("[%s]", row);

    serve(f, "prices", "prices");
    serve_manifest(f, rows, "[]", "[]");
    assert_int_equal(refresh(f, REFRESH_FILL), 0);
    serve_manifest(f, "[]", "[]", "[]");
    assert_int_equal(refresh(f, 0), 0);
    assert_true(f->report->sections[TREE_DIRECT].held);
    assert_true(shows(f, "data/_direct/prices.parquet", "prices"));
    serve_manifest(f, rows, "[]", "[]");
    assert_int_equal(refresh(f, 0), 0);
    serve_manifest(f, "[]", "[]", "[]");
    assert_int_equal(refresh(f, 0), 0);
    assert_true(shows(f, "data/_direct/prices.parquet", "prices"));
    close_engine(f);
    open_engine(f);
    assert_int_equal(refresh(f, 0), 0);
    assert_true(shows(f, "data/_direct/prices.parquet", NULL));
    assert_false(holds(f, "prices"));
}

/* --- a manifest that says what the last one said --- */

/* Whoever gets a report with this in it got it from memory. */
#define FROM_MEMORY 77

static void mark_known(struct fixture *f)
{
    assert_non_null(f->engine->known.tree);
    f->engine->known.report->sections[TREE_DIRECT].skipped = FROM_MEMORY;
}

static bool came_from_memory(const struct fixture *f)
{
    return f->report->sections[TREE_DIRECT].skipped == FROM_MEMORY;
}

static void serve_text(struct fixture *f, const char *rows, const char *rest)
{
    scoped_free char *text = format("{\"direct_tables\":[%s],\"data_packages\":[],"
                                    "\"memory_domains\":[]%s}",
                                    rows, rest);

    serve_json(f, MANIFEST, text);
}

static void the_same_words_are_read_once(void **state)
{
    struct fixture *f = *state;
    scoped_free char *row = table("prices", "prices");

    serve(f, "prices", "prices");
    serve_text(f, row, ",\"server_time\":\"2026-08-22T14:41:14.123456+00:00\"");
    assert_int_equal(refresh(f, REFRESH_FILL), 0);
    assert_null(f->engine->known.tree); /* they came to something */
    assert_int_equal(refresh(f, 0), 0);
    mark_known(f);
    serve_text(f, row, ",\"server_time\": \"2031-12-03T05:06:07.000008+00:00\"");
    assert_int_equal(refresh(f, 0), 0);
    assert_false(came_from_memory(f)); /* that blank is one byte more */
    mark_known(f);
    serve_text(f, row, ",\"server_time\": \"2032-12-03T05:06:07.000009+00:00\"");
    for (int i = 0; i < 3; i++) {
        assert_int_equal(refresh(f, i == 2 ? REFRESH_DRY_RUN : 0), 0);
        assert_true(came_from_memory(f));
        assert_int_equal(f->report->requests, 1);
        assert_int_equal(f->report->sections[TREE_DIRECT].unchanged, 1);
        assert_int_equal(f->report->generation, 1);
        assert_false(f->report->changed);
        assert_int_equal(f->report->dry_run, i == 2);
    }
    serve_text(f, row, ",\"server_time\": \"x\", \"other_time\": \"1\"");
    assert_int_equal(refresh(f, 0), 0);
    mark_known(f);
    serve_text(f, row, ",\"server_time\": \"x\", \"other_time\": \"2\"");
    assert_int_equal(refresh(f, 0), 0);
    assert_false(came_from_memory(f));
}

static void news_are_read(void **state)
{
    struct fixture *f = *state;

    sync_orders(f, "one");
    assert_int_equal(refresh(f, 0), 0);
    mark_known(f);
    serve_orders(f, "two");
    assert_int_equal(refresh(f, 0), 0);
    assert_true(shows(f, "data/sales/orders.parquet", "two"));
    serve_orders(f, "one"); /* words that were known, beside another generation */
    assert_int_equal(refresh(f, 0), 0);
    assert_true(shows(f, "data/sales/orders.parquet", "one"));
    assert_int_equal(f->published, 3);
}

static void what_failed_is_tried_though_the_words_are_the_same(void **state)
{
    struct fixture *f = *state;

    sync_orders(f, "one");
    serve_orders(f, "two");
    serve(f, "orders", "2wo");
    for (int i = 0; i < 3; i++) {
        assert_int_equal(refresh(f, 0), 0);
        assert_int_equal(f->report->error_count, 1);
    }
    serve(f, "orders", "two");
    assert_int_equal(refresh(f, 0), 0);
    assert_true(shows(f, "data/sales/orders.parquet", "two"));
}

static void a_bundle_that_is_gone_is_fetched_though_the_words_are_the_same(void **state)
{
    struct fixture *f = *state;
    scoped_free char *one = domain("1");
    const char *text = "# Finance\n\none\n";
    struct blob_key key;

    serve_manifest(f, "[]", "[]", one);
    serve_bundle(f, "fin", text);
    assert_int_equal(refresh(f, 0), 0);
    assert_int_equal(refresh(f, 0), 0);
    mark_known(f);
    blob_key_of_bytes(text, strlen(text), &key);
    assert_int_equal(store_drop(f->store, &key), 0);
    assert_int_equal(refresh(f, 0), 0);
    assert_true(shows(f, "memory/fin/bundle.md", text));
}

static void what_is_missing_is_filled_though_the_words_are_the_same(void **state)
{
    struct fixture *f = *state;
    struct blob_key key = md5_key("one");

    sync_orders(f, "one");
    assert_int_equal(refresh(f, 0), 0);
    mark_known(f);
    assert_int_equal(store_drop(f->store, &key), 0);
    assert_int_equal(refresh(f, REFRESH_FILL), 0);
    assert_true(came_from_memory(f));
    assert_true(shows(f, "data/sales/orders.parquet", "one"));
}

static void a_dropped_row_is_reported_each_time(void **state)
{
    struct fixture *f = *state;
    scoped_free char *row = table("prices", "prices");
    scoped_free char *rows = format("%s,{\"name\":\"bad\",\"md5\":\"?\",\"size_bytes\":1}", row);

    serve_text(f, rows, "");
    for (int i = 0; i < 4; i++) {
        assert_int_equal(refresh(f, 0), 0);
        assert_int_equal(f->report->error_count, 1);
        assert_string_equal(f->report->errors[0].name, "bad");
        assert_int_equal(came_from_memory(f), i > 1);
        if (i > 0)
            mark_known(f);
    }
}

/* Direct tables have no second witness but the next manifest in a row. */
static void words_of_before_end_a_doubt(void **state)
{
    struct fixture *f = *state;
    scoped_free char *row = table("prices", "prices");

    serve(f, "prices", "prices");
    serve_text(f, row, "");
    assert_int_equal(refresh(f, REFRESH_FILL), 0);
    for (int i = 0; i < 3; i++) {
        serve_text(f, row, "");
        assert_int_equal(refresh(f, 0), 0);
        assert_int_equal(refresh(f, 0), 0);
        serve_text(f, "", "");
        assert_int_equal(refresh(f, 0), 0);
        assert_true(f->report->sections[TREE_DIRECT].held);
    }
    assert_int_equal(refresh(f, 0), 0);
    assert_true(shows(f, "data/_direct/prices.parquet", NULL));
}

static void restart_needs_no_network(void **state)
{
    struct fixture *f = *state;
    size_t requests;

    sync_orders(f, "one");
    close_engine(f);
    requests = http_server_count(f->server, NULL);
    open_engine(f);
    assert_true(shows(f, "data/sales/orders.parquet", "one"));
    assert_int_equal(http_server_count(f->server, NULL), requests);
}

static void damage(struct fixture *f, const char *name)
{
    size_t size;
    scoped_free char *text = file_read(f->root, name, &size);

    if (text)
        file_write(f->root, name, text, size / 2);
}

static void torn_state_deletes_nothing_until_a_complete_manifest(void **state)
{
    struct fixture *f = *state;

    sync_orders(f, "one");
    close_engine(f);
    damage(f, "sync_state.json");
    damage(f, "sync_state.prev.json");
    open_engine(f);
    assert_false(lists(f, "data/sales/orders.parquet"));
    serve_manifest(f, "[]", NULL, "[]"); /* does not say what packages there are */
    assert_int_equal(refresh(f, 0), 0);
    assert_true(holds(f, "one"));
    serve_orders(f, "one");
    assert_int_equal(refresh(f, 0), 0);
    assert_true(shows(f, "data/sales/orders.parquet", "one"));
    assert_int_equal(http_server_count(f->server, "/api/data/t_orders/download"), 1);
}

static void orphans_go_at_the_first_refresh_after_a_start(void **state)
{
    struct fixture *f = *state;
    struct writer *writer;
    struct blob_key key;

    sync_orders(f, "one");
    close_engine(f);
    assert_int_equal(store_open(f->root, STORE_WRITER, &f->store), 0);
    assert_int_equal(writer_begin(f->store, "orphan", 100, &writer), 0);
    assert_int_equal(writer_write(writer, "orphan", 6), 0);
    assert_int_equal(writer_commit(writer, NULL, &key), 0);
    store_close(take_ptr(f->store));
    open_engine(f);
    assert_true(store_has(f->store, &key));
    assert_int_equal(refresh(f, 0), 0);
    assert_false(store_has(f->store, &key));
    assert_true(holds(f, "one"));
}

static void unreachable_server_changes_nothing(void **state)
{
    struct fixture *f = *state;
    scoped_free char *before = NULL;
    scoped_free char *after = NULL;

    sync_orders(f, "one");
    http_server_free(take_ptr(f->server));
    before = snapshot(f);
    assert_int_equal(refresh(f, 0), -EHOSTUNREACH);
    assert_string_equal(f->report->message, "could not reach 127.0.0.1: connection refused");
    after = snapshot(f);
    assert_string_equal(before, after);
    assert_true(shows(f, "data/sales/orders.parquet", "one"));
}

static void what_is_no_manifest_changes_nothing(void **state)
{
    struct fixture *f = *state;
    static const struct {
        struct http_answer answer;
        int error;
    } cases[] = {
        {{.status = 401, .type = "application/json", .body = "{}", .size = 2}, -EACCES},
        {{.status = 403, .type = "application/json", .body = "{}", .size = 2}, -EACCES},
        {{.status = 404}, -EPROTO},
        {{.status = 302, .headers = "Location: https://login.example.com/\r\n"}, -EPROTO},
        {{.status = 500, .headers = "Retry-After: 0\r\n"}, -EAGAIN},
        {{.type = "text/html", .body = "<html>", .size = 6}, -EPROTO},
        {{.type = "application/json", .body = "<html>", .size = 6}, -EPROTO},
        {{.type = "application/json", .body = "{\"data_packages\":[", .size = 18}, -EPROTO},
        {{.type = "application/json", .body = "{}", .size = 2}, -EPROTO},
    };
    scoped_free char *before = NULL;

    sync_orders(f, "one");
    before = snapshot(f);
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        scoped_free char *after = NULL;

        http_server_forget(f->server, MANIFEST);
        http_server_answer(f->server, MANIFEST, &cases[i].answer);
        assert_int_equal(refresh(f, REFRESH_FILL), cases[i].error);
        assert_true(f->report->message[0] != '\0');
        after = snapshot(f);
        assert_string_equal(before, after);
    }
    assert_true(shows(f, "data/sales/orders.parquet", "one"));
    assert_int_equal(f->published, 1);
}

static void dry_run_reports_and_writes_nothing(void **state)
{
    struct fixture *f = *state;
    scoped_free char *before = NULL;
    scoped_free char *after = NULL;
    scoped_free char *domains = domain("1");
    scoped_free char *row = table("orders", "two");
    scoped_free char *packages = format("[{\"id\":\"1\",\"slug\":\"sales\",\"tables\":[%s]}]", row);

    sync_orders(f, "one");
    before = snapshot(f);
    serve_manifest(f, "[]", packages, domains);
    assert_int_equal(refresh(f, REFRESH_DRY_RUN), 0);
    after = snapshot(f);
    assert_string_equal(before, after);
    assert_true(f->report->dry_run);
    assert_true(f->report->changed);
    assert_int_equal(f->report->sections[TREE_PACKAGES].updated, 1);
    assert_int_equal(f->report->sections[TREE_MEMORY].added, 1);
    assert_int_equal(f->report->requests, 1);
    assert_int_equal(f->report->error_count, 0);
    assert_int_equal(f->published, 1);
    assert_true(shows(f, "data/sales/orders.parquet", "one"));
}

static void fill_errors_are_reported_and_forgotten_when_mended(void **state)
{
    struct fixture *f = *state;
    scoped_free char *a = table("a", "bytes of a");
    scoped_free char *b = table("b", "bytes of b");
    scoped_free char *both = format("%s,%s", a, b);
    struct blob_key key = md5_key("bytes of b");
    struct engine_problem problem;
    char text[160];

    serve(f, "a", "bytes of a");
    serve_sales(f, both);
    assert_int_equal(refresh(f, REFRESH_FILL), 0);
    assert_int_equal(f->report->error_count, 1);
    assert_int_equal(f->report->errors[0].error, -ESTALE);
    assert_string_equal(f->report->errors[0].name, "b");
    assert_string_equal(f->report->errors[0].group, "sales");
    assert_true(shows(f, "data/sales/a.parquet", "bytes of a"));
    engine_blob_error(f->engine, &key, text);
    assert_string_equal(text, "the source does not have it (404)");
    assert_int_equal(engine_problems(f->engine, &problem, 1), 1);
    assert_true(blob_key_equal(&problem.key, &key));

    serve(f, "b", "bytes of b");
    assert_int_equal(refresh(f, REFRESH_FILL), 0);
    assert_int_equal(f->report->error_count, 0);
    engine_blob_error(f->engine, &key, text);
    assert_string_equal(text, "");
    assert_int_equal(engine_problems(f->engine, &problem, 1), 0);
}

struct landed {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned count;
    int error;
};

static void on_landed(void *arg, const struct want_result *result)
{
    struct landed *landed = arg;

    scoped_lock(&landed->lock);
    landed->error = result->error;
    landed->count++;
    pthread_cond_signal(&landed->changed);
}

static int want_and_wait(struct fixture *f, const struct blob_key *key)
{
    struct landed landed = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    int r = engine_want(f->engine, key, 0, key->size, on_landed, &landed);

    if (r < 0)
        return r;
    scoped_lock(&landed.lock);
    while (landed.count == 0)
        pthread_cond_wait(&landed.changed, &landed.lock);
    return landed.error;
}

/* The server knows the table by its name only (contract section 2). */
static void demand_fetches_one_blob_by_id_or_name(void **state)
{
    struct fixture *f = *state;
    scoped_free char *row = table("orders", "one");
    struct blob_key key = md5_key("one");
    struct blob_key other = md5_key("other");

    http_server_answer(f->server, "/api/data/orders/download",
                       &(struct http_answer){.body = "one", .size = 3});
    serve_sales(f, row);
    assert_int_equal(refresh(f, 0), 0);
    assert_int_equal(want_and_wait(f, &other), -ENOENT);
    assert_int_equal(want_and_wait(f, &key), 0);
    assert_true(shows(f, "data/sales/orders.parquet", "one"));
    assert_int_equal(http_server_count(f->server, "/api/data/t_orders/download"), 1);
    assert_int_equal(want_and_wait(f, &key), 0);
    assert_int_equal(http_server_count(f->server, "/api/data/orders/download"), 1);
}

/* Waits up to five seconds for something that another thread does. */
static bool soon(struct fixture *f, bool (*holds_now)(struct fixture *f))
{
    for (int i = 0; i < 500; i++) {
        if (holds_now(f))
            return true;
        usleep(10000);
    }
    return false;
}

static bool has_orders(struct fixture *f)
{
    return shows(f, "data/sales/orders.parquet", "one");
}

static void prefetch_fetches_without_being_asked(void **state)
{
    struct fixture *f = *state;

    close_engine(f);
    f->prefetch = PREFETCH_ALL;
    open_engine(f);
    http_server_hold(f->server, false);
    serve_orders(f, "one");
    assert_int_equal(refresh(f, 0), 0);
    assert_true(soon(f, has_orders));
}

static bool has_some_bytes(struct fixture *f)
{
    struct store_usage usage;

    return store_usage(f->store, &usage) == 0 && usage.partial_bytes > 0;
}

/* It is on its way when it is withdrawn, and the engine ends before it is here. */
static void what_is_withdrawn_on_its_way_leaves_nothing(void **state)
{
    struct fixture *f = *state;
    scoped_free char *large = calloc(1, (3 << 20) + 1);
    scoped_free char *a = table("a", "bytes of a");
    scoped_free char *b = table("b", memset(large, 'b', 3 << 20));
    scoped_free char *both = format("%s,%s", a, b);

    close_engine(f);
    f->prefetch = PREFETCH_ALL;
    open_engine(f);
    serve(f, "a", "bytes of a");
    http_server_answer(f->server, "/api/data/t_b/download",
                       &(struct http_answer){.body = large,
                                             .size = 3 << 20,
                                             .etag = "\"one\"",
                                             .ranges = true,
                                             .stall = true,
                                             .cut_after = 2 << 20});
    serve_sales(f, both);
    assert_int_equal(refresh(f, 0), 0);
    assert_true(soon(f, has_some_bytes));
    serve_sales(f, a);
    assert_int_equal(refresh(f, 0), 0);

    engine_free(take_ptr(f->engine));
    assert_true(holds(f, "bytes of a"));
    assert_false(has_some_bytes(f));
    store_close(take_ptr(f->store));
}

static void static_folder_with_parts(void **state)
{
    struct fixture *f = *state;
    scoped_free char *folder = path_join(f->dir, "stack");
    scoped_free char *manifest = NULL;
    char hex[33];
    struct source *server = f->source;

    close_engine(f);
    assert_int_equal(mkdir(folder, 0700), 0);
    file_write(f->dir, "stack/clicks/month=1/data.parquet", "part", 4);
    file_write(f->dir, "stack/fin.md", "# Finance\n", 10);
    md5_hex("part", hex);
    manifest = format("{\"data_packages\":[{\"id\":\"1\",\"slug\":\"web\",\"tables\":[{"
                      "\"id\":\"c\",\"name\":\"clicks\",\"md5\":\"%s\",\"size_bytes\":4,"
                      "\"query_mode\":\"local\",\"parquet_url\":\"clicks\",\"parts\":[{"
                      "\"path\":\"month=1/data.parquet\",\"hash\":\"%s\",\"size_bytes\":4}]}]}],"
                      "\"memory_domains\":[{\"id\":\"d\",\"slug\":\"fin\",\"bundle_url\":"
                      "\"fin.md\",\"md5\":\"%s\"}],\"direct_tables\":[]}",
                      hex, hex, hex);
    file_write(f->dir, "stack/manifest.json", manifest, strlen(manifest));
    assert_int_equal(source_parse(folder, &f->source), 0);
    open_engine(f);
    assert_int_equal(refresh(f, REFRESH_FILL), 0);
    assert_int_equal(f->report->error_count, 0);
    assert_true(shows(f, "data/web/clicks/month=1/data.parquet", "part"));
    assert_true(shows(f, "memory/fin/bundle.md", "# Finance\n"));
    close_engine(f);
    source_free(server);
}

static int64_t monotonic_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void free_ends_a_refresh_that_hangs(void **state)
{
    struct fixture *f = *state;
    int64_t began;
    uint64_t ticket;

    http_server_hold(f->server, true);
    serve_orders(f, "one");
    assert_int_equal(engine_refresh(f->engine, 0, &ticket), 0);
    assert_int_equal(engine_wait(f->engine, ticket, 50, &f->report), -ETIMEDOUT);
    began = monotonic_ms();
    close_engine(f);
    assert_true(monotonic_ms() - began < 2000);
    http_server_hold(f->server, false);
}

static void several_askers_share_one_refresh(void **state)
{
    struct fixture *f = *state;
    uint64_t running, first, second;

    serve_orders(f, "one");
    http_server_hold(f->server, true);
    assert_int_equal(engine_refresh(f->engine, 0, &running), 0);
    while (http_server_count(f->server, MANIFEST) == 0)
        usleep(1000);
    assert_int_equal(engine_refresh(f->engine, 0, &first), 0);
    assert_int_equal(engine_refresh(f->engine, REFRESH_FILL, &second), 0);
    assert_int_equal(first, second);
    assert_true(first > running);
    http_server_hold(f->server, false);
    assert_int_equal(engine_wait(f->engine, first, 5000, &f->report), 0);
    assert_true(holds(f, "one")); /* the wish of one is granted to both */
    assert_int_equal(http_server_count(f->server, MANIFEST), 2);
}

static void the_timer_refreshes_by_itself(void **state)
{
    struct fixture *f = *state;
    struct engine_conf conf = {.source = f->source,
                               .refresh_s = 1,
                               .prefetch = PREFETCH_ALL,
                               .proxy = ""};

    close_engine(f);
    serve_orders(f, "one");
    assert_int_equal(store_open(f->root, STORE_WRITER, &f->store), 0);
    conf.store = f->store;
    assert_int_equal(engine_new(&conf, &f->engine), 0);
    assert_int_equal(engine_start(f->engine), 0);
    assert_true(soon(f, has_orders));
}

#define test(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(first_sync_lists_at_once_and_fills),
        test(no_change_is_one_request_and_no_write),
        test(new_content_is_here_before_it_is_published),
        test(failed_update_keeps_the_old_content),
        test(what_is_withdrawn_goes_with_its_bytes),
        test(one_table_in_two_packages_is_one_blob),
        test(bundles_are_fetched_when_their_token_changes),
        test(missing_section_is_held),
        test(sudden_emptiness_needs_the_servers_second_word),
        test(sudden_emptiness_of_direct_tables_is_believed_the_second_time),
        test(the_same_words_are_read_once),
        test(news_are_read),
        test(what_failed_is_tried_though_the_words_are_the_same),
        test(a_bundle_that_is_gone_is_fetched_though_the_words_are_the_same),
        test(what_is_missing_is_filled_though_the_words_are_the_same),
        test(a_dropped_row_is_reported_each_time),
        test(words_of_before_end_a_doubt),
        test(restart_needs_no_network),
        test(torn_state_deletes_nothing_until_a_complete_manifest),
        test(orphans_go_at_the_first_refresh_after_a_start),
        test(unreachable_server_changes_nothing),
        test(what_is_no_manifest_changes_nothing),
        test(dry_run_reports_and_writes_nothing),
        test(fill_errors_are_reported_and_forgotten_when_mended),
        test(demand_fetches_one_blob_by_id_or_name),
        test(prefetch_fetches_without_being_asked),
        test(what_is_withdrawn_on_its_way_leaves_nothing),
        test(static_folder_with_parts),
        test(free_ends_a_refresh_that_hangs),
        test(several_askers_share_one_refresh),
        test(the_timer_refreshes_by_itself),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
