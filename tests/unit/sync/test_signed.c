/* SPDX-License-Identifier: MIT */
/* Which row gets which address, for how long, and who finds it. */
#include "sync/signed.h"

#include "cache/scoped.h"
#include "tests/unit/sync/stack_fixture.h"

#define STORE "https://store.example.org/b/"
#define MADE "2026-08-22T10:00:00.5+00:00"
#define EXPIRES "2026-08-22T12:15:00.5+02:00" /* 900 s later */

static const struct manifest_row *row_named(const struct manifest *manifest, const char *name)
{
    size_t count;
    const struct manifest_row *rows = manifest_rows(manifest, &count);

    for (size_t i = 0; i < count; i++) {
        if (strcmp(rows[i].row.name, name) == 0)
            return &rows[i];
    }
    fail_msg("no row %s", name);
    return NULL;
}

/* A manifest with one row, orders, and what its flat tables say. */
static struct manifest *with_tables(const char *tables, const char *made)
{
    scoped_free char *text = NULL;

    assert_true(asprintf(&text,
                         "{'tables': {%s}, 'server_time': %s, 'memory_domains': [],"
                         " 'direct_tables': [], 'data_packages': [{'slug': 'sales', 'tables': ["
                         "{'id': 't1', 'name': 'orders', 'md5': '" MD5_A "', 'size_bytes': 5}]}]}",
                         tables, made) > 0);
    return parse(text);
}

static void a_row_has_the_address_of_its_name_and_bytes(void **state)
{
    static const struct {
        const char *tables;
        bool found;
    } cases[] = {
        {"'orders': {'hash': '" MD5_A "', 'signed_url': '" STORE "t?s=1',"
         " 'signed_url_expires_at': '" EXPIRES "'}",
         true},
        {"'orders': {'hash': 'AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA', 'signed_url': '" STORE "t?s=1',"
         " 'signed_url_expires_at': '" EXPIRES "'}",
         true},
        /* other bytes, or none said */
        {"'orders': {'hash': '" MD5_B "', 'signed_url': '" STORE "t?s=1',"
         " 'signed_url_expires_at': '" EXPIRES "'}",
         false},
        {"'orders': {'signed_url': '" STORE "t?s=1', 'signed_url_expires_at': '" EXPIRES "'}",
         false},
        {"'orders': {'md5': '" MD5_A "', 'signed_url': '" STORE "t?s=1',"
         " 'signed_url_expires_at': '" EXPIRES "'}",
         false},
        {"'orders': {'hash': 5, 'signed_url': '" STORE "t?s=1',"
         " 'signed_url_expires_at': '" EXPIRES "'}",
         false},
        /* another name, the id among them */
        {"'t1': {'hash': '" MD5_A "', 'signed_url': '" STORE "t?s=1',"
         " 'signed_url_expires_at': '" EXPIRES "'}",
         false},
        {"'Orders': {'hash': '" MD5_A "', 'signed_url': '" STORE "t?s=1',"
         " 'signed_url_expires_at': '" EXPIRES "'}",
         false},
        /* no time, or none left */
        {"'orders': {'hash': '" MD5_A "', 'signed_url': '" STORE "t?s=1'}", false},
        {"'orders': {'hash': '" MD5_A "', 'signed_url': '" STORE "t?s=1',"
         " 'signed_url_expires_at': 'soon'}",
         false},
        {"'orders': {'hash': '" MD5_A "', 'signed_url': '" STORE "t?s=1',"
         " 'signed_url_expires_at': '2026-08-22T10:00:00.5Z'}",
         false},
        {"'orders': {'hash': '" MD5_A "', 'signed_url': '" STORE "t?s=1',"
         " 'signed_url_expires_at': '2026-08-22T09:00:00Z'}",
         false},
        /* no address, or one that is not taken */
        {"'orders': {'hash': '" MD5_A "', 'signed_url_expires_at': '" EXPIRES "'}", false},
        {"'orders': {'hash': '" MD5_A "', 'signed_url': null,"
         " 'signed_url_expires_at': '" EXPIRES "'}",
         false},
        {"'orders': {'hash': '" MD5_A "', 'signed_url': 'http://store.example.org/t',"
         " 'signed_url_expires_at': '" EXPIRES "'}",
         false},
        {"'orders': {'hash': '" MD5_A "', 'signed_url': 'https://10.0.0.1/t',"
         " 'signed_url_expires_at': '" EXPIRES "'}",
         false},
        /* among others */
        {"'a': {'signed_url': '" STORE "a'}, 'z': {'signed_url': '" STORE "z'}, 'b': 5, 'c': null,"
         " 'orders': {'hash': '" MD5_A "', 'signed_url': '" STORE "t?s=1',"
         " 'signed_url_expires_at': '" EXPIRES "'}, 'o': {'signed_url': '" STORE "o'}",
         true},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct manifest *manifest = with_tables(cases[i].tables, "'" MADE "'");
        const struct manifest_row *row = row_named(manifest, "orders");

        if ((row->signed_url != NULL) != cases[i].found)
            fail_msg("%s", cases[i].tables);
        if (cases[i].found) {
            assert_string_equal(row->signed_url, STORE "t?s=1");
            assert_int_equal(row->signed_for_ms, 900000);
        }
        manifest_free(manifest);
    }
}

static void without_the_servers_time_nobody_knows_how_long(void **state)
{
    static const char *const times[] = {"null", "''", "'today'", "5", "[]"};
    const char *tables = "'orders': {'hash': '" MD5_A "', 'signed_url': '" STORE "t',"
                         " 'signed_url_expires_at': '" EXPIRES "'}";

    for (size_t i = 0; i < sizeof(times) / sizeof(*times); i++) {
        struct manifest *manifest = with_tables(tables, times[i]);

        assert_null(row_named(manifest, "orders")->signed_url);
        manifest_free(manifest);
    }
}

/* Of parts, of bytes that have no digest, of what is withheld, there are none. */
static void rows_that_have_none(void **state)
{
    static const char *const rows[] = {
        "{'name': 'orders', 'hash': '" MD5_A "', 'size_bytes': 5, 'parts': [{'path': 'p.parquet',"
        " 'hash': '" MD5_A "', 'size_bytes': 5}]}",
        "{'name': 'orders', 'size_bytes': 5}",
        "{'name': 'orders', 'hash': '" MD5_A "'}",
        "{'name': 'orders', 'hash': '" MD5_A "', 'size_bytes': 5, 'query_mode': 'remote'}",
        "{'name': 'orders', 'hash': '" MD5_A "', 'size_bytes': 5, 'server_only': true}",
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        scoped_free char *text = NULL;
        struct manifest *manifest;
        size_t count;

        assert_true(asprintf(&text,
                             "{'tables': {'orders': {'hash': '" MD5_A "', 'signed_url': '" STORE
                             "t', 'signed_url_expires_at': '" EXPIRES "'}}, 'server_time': '" MADE
                             "', 'direct_tables': [%s], 'data_packages': []}",
                             rows[i]) > 0);
        manifest = parse(text);
        const struct manifest_row *row = manifest_rows(manifest, &count);

        for (size_t j = 0; j < count; j++)
            assert_null(row[j].signed_url);
        manifest_free(manifest);
    }
}

static void an_address_is_found_until_shortly_before_its_end(void **state)
{
    struct manifest *manifest = with_tables("'orders': {'hash': '" MD5_A "', 'signed_url': '" STORE
                                            "t', 'signed_url_expires_at': '" EXPIRES "'}",
                                            "'" MADE "'");
    const struct blob_key key = md5_key(MD5_A, 5);
    const struct blob_key others[] = {md5_key(MD5_B, 5), md5_key(MD5_A, 6), bytes_key("x")};
    int64_t asked = 1000000, until = asked + 900000 - SIGNED_MARGIN_MS;
    struct signed_urls *urls = NULL;
    bool over;

    assert_int_equal(signed_urls_new(manifest, asked, &urls), 0);
    manifest_free(manifest);
    assert_string_equal(signed_urls_find(urls, &key, asked, &over), STORE "t");
    assert_non_null(signed_urls_find(urls, &key, until - 1, &over));
    assert_false(over);
    assert_null(signed_urls_find(urls, &key, until, &over));
    assert_true(over);
    for (size_t i = 0; i < sizeof(others) / sizeof(*others); i++)
        assert_true(!signed_urls_find(urls, &others[i], asked, &over) && !over);
    assert_true(!signed_urls_find(NULL, &key, asked, &over) && !over);
    signed_urls_free(urls);
}

static void a_manifest_without_any(void **state)
{
    struct manifest *manifest = with_tables("", "'" MADE "'");
    const struct blob_key key = md5_key(MD5_A, 5);
    struct signed_urls *urls = NULL;
    bool over;

    assert_int_equal(signed_urls_new(manifest, 0, &urls), 0);
    assert_null(signed_urls_find(urls, &key, 0, &over));
    signed_urls_free(urls);
    manifest_free(manifest);
}

/* Joined by looking up, not by walking: they are a moment, however many there are. */
static void many(void **state)
{
    enum { MANY = 20000 };
    char *text = NULL;
    size_t size, count, found = 0;
    FILE *out = open_memstream(&text, &size);

    fputs("{'tables': {", out);
    for (int i = 0; i < MANY; i++)
        fprintf(out,
                "%s'n%d': {'hash': '%032x', 'signed_url': '" STORE "%d',"
                " 'signed_url_expires_at': '" EXPIRES "'}",
                i ? "," : "", i, (unsigned)i, i);
    fputs("}, 'server_time': '" MADE "', 'data_packages': [], 'direct_tables': [", out);
    for (int i = 0; i < MANY; i++)
        fprintf(out, "%s{'name': 'n%d', 'hash': '%032x', 'size_bytes': 5}", i ? "," : "", i,
                (unsigned)i);
    fputs("]}", out);
    fclose(out);

    struct manifest *manifest = parse(text);
    const struct manifest_row *rows = manifest_rows(manifest, &count);
    struct signed_urls *urls = NULL;
    bool over;

    assert_int_equal(count, MANY);
    assert_int_equal(signed_urls_new(manifest, 0, &urls), 0);
    for (size_t i = 0; i < count; i++) {
        const char *url = signed_urls_find(urls, &rows[i].files[0].key, 0, &over);

        found += url && strcmp(url + strlen(STORE), rows[i].row.name + 1) == 0;
    }
    assert_int_equal(found, MANY);
    signed_urls_free(urls);
    manifest_free(manifest);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_row_has_the_address_of_its_name_and_bytes),
        cmocka_unit_test(without_the_servers_time_nobody_knows_how_long),
        cmocka_unit_test(rows_that_have_none),
        cmocka_unit_test(an_address_is_found_until_shortly_before_its_end),
        cmocka_unit_test(a_manifest_without_any),
        cmocka_unit_test(many),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
