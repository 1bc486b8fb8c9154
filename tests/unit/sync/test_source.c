/* SPDX-License-Identifier: MIT */
/* What a source is, where it says bytes are, and what it refuses to say. */
#include "sync/source.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "cache/scoped.h"
#include "tests/unit/support/tempdir.h"

static void sources_are_told_apart(void **state)
{
    static const struct {
        const char *text;
        int error;
        enum source_kind kind;
        const char *canonical;
        const char *origin;
        const char *host;
        const char *manifest;
    } cases[] = {
        {"https://agnes.example.com", 0, SOURCE_SERVER, "https://agnes.example.com",
         "https://agnes.example.com:443", "agnes.example.com",
         "https://agnes.example.com/api/sync/manifest"},
        {"HTTPS://Agnes.Example.COM:443/", 0, SOURCE_SERVER, "https://agnes.example.com",
         "https://agnes.example.com:443", "agnes.example.com",
         "https://agnes.example.com/api/sync/manifest"},
        {"https://host/agnes//", 0, SOURCE_SERVER, "https://host/agnes", "https://host:443", "host",
         "https://host/agnes/api/sync/manifest"},
        {"http://localhost:8000", 0, SOURCE_SERVER, "http://localhost:8000",
         "http://localhost:8000", "localhost", "http://localhost:8000/api/sync/manifest"},
        {"http://[::1]:8000", 0, SOURCE_SERVER, "http://[::1]:8000", "http://[::1]:8000", "::1",
         "http://[::1]:8000/api/sync/manifest"},
        {"https://host/path/manifest.json", 0, SOURCE_STATIC, "https://host/path/manifest.json",
         "https://host:443", "host", "https://host/path/manifest.json"},
        {"https://host/m.JSON?v=1", 0, SOURCE_STATIC, "https://host/m.JSON?v=1", "https://host:443",
         "host", "https://host/m.JSON?v=1"},
        {"file:///srv/stack", 0, SOURCE_STATIC, "file:///srv/stack/manifest.json", "file://",
         "local", "file:///srv/stack/manifest.json"},
        {"file:///srv/stack/", 0, SOURCE_STATIC, "file:///srv/stack/manifest.json", "file://",
         "local", "file:///srv/stack/manifest.json"},
        {"file:///srv/stack/other.json", 0, SOURCE_STATIC, "file:///srv/stack/other.json",
         "file://", "local", "file:///srv/stack/other.json"},
        {"/srv/a b/../stack", 0, SOURCE_STATIC, "file:///srv/stack/manifest.json", "file://",
         "local", "file:///srv/stack/manifest.json"},
        {"agnes.example.com", -EINVAL, 0, NULL, NULL, NULL, NULL},
        {"", -EINVAL, 0, NULL, NULL, NULL, NULL},
        {"ftp://host/", -EINVAL, 0, NULL, NULL, NULL, NULL},
        {"https://user:secret@host/", -EINVAL, 0, NULL, NULL, NULL, NULL},
        {"https://@host/", -EINVAL, 0, NULL, NULL, NULL, NULL},
        {"https://host/?token=x", -EINVAL, 0, NULL, NULL, NULL, NULL},
        {"https:///host", -EINVAL, 0, NULL, NULL, NULL, NULL},
        {"https://ho st", -EINVAL, 0, NULL, NULL, NULL, NULL},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        scoped(source_freep) struct source *source = NULL;

        print_message("%s\n", cases[i].text);
        assert_int_equal(source_parse(cases[i].text, &source), cases[i].error);
        if (cases[i].error)
            continue;
        assert_int_equal(source_kind(source), cases[i].kind);
        assert_string_equal(source_text(source), cases[i].canonical);
        assert_string_equal(source_origin(source), cases[i].origin);
        assert_string_equal(source_host(source), cases[i].host);
        assert_string_equal(source_manifest_url(source), cases[i].manifest);
    }
}

static void folders_and_files_on_disk(void **state)
{
    char *dir = tempdir_new();
    scoped_free char *file = path_join(dir, "stack.txt");
    scoped_free char *odd = path_join(dir, "a 100%.json");
    scoped(source_freep) struct source *folder_source = NULL;
    scoped(source_freep) struct source *file_source = NULL;
    scoped(source_freep) struct source *odd_source = NULL;
    scoped(source_freep) struct source *relative = NULL;
    char cwd[4096];

    file_write(dir, "stack.txt", "{}", 2);
    assert_int_equal(source_parse(dir, &folder_source), 0);
    assert_non_null(strstr(source_manifest_url(folder_source), "/manifest.json"));
    assert_int_equal(source_parse(file, &file_source),
                     0); /* a file is a manifest, whatever it's called */
    assert_non_null(strstr(source_manifest_url(file_source), "/stack.txt"));
    file_write(dir, "a 100%.json/x", "", 0); /* and a folder is a folder */
    assert_int_equal(source_parse(odd, &odd_source), 0);
    assert_non_null(strstr(source_manifest_url(odd_source), "/a%20100%25.json/manifest.json"));
    assert_non_null(getcwd(cwd, sizeof(cwd)));
    assert_int_equal(chdir(dir), 0);
    assert_int_equal(source_parse(".", &relative), 0);
    assert_string_equal(source_text(relative), source_text(folder_source));
    assert_int_equal(chdir(cwd), 0);
    tempdir_free(dir);
}

struct url_case {
    const char *source;
    struct tree_row row;
    enum tree_form form;
    const char *part;
    int error;
    const char *urls[4];
};

#define ROW(id, label, address)                                                                    \
    {                                                                                              \
        .table_id = (id), .name = (label), .url = (address)                                        \
    }
#define HOST "https://h"

static const struct url_case url_cases[] = {
    /* by id, then by name */
    {HOST,
     ROW("t1", "orders", ""),
     FORM_PARQUET,
     NULL,
     0,
     {HOST "/api/data/t1/download", HOST "/api/data/orders/download"}},
    {HOST "/agnes",
     ROW("t1", "t1", ""),
     FORM_PARQUET,
     NULL,
     0,
     {HOST "/agnes/api/data/t1/download"}},
    {HOST,
     ROW("", "a b/../c?d", ""),
     FORM_PARQUET,
     NULL,
     0,
     {HOST "/api/data/a%20b%2F..%2Fc%3Fd/download"}},
    {HOST,
     ROW("t1", "orders", ""),
     FORM_PARQUET,
     "m=1/a b.parquet",
     0,
     {HOST "/api/data/t1/download?part=m%3D1%2Fa%20b.parquet",
      HOST "/api/data/orders/download?part=m%3D1%2Fa%20b.parquet"}},
    /* the row's own url first, at the base, and only at home */
    {HOST "/agnes",
     ROW("t1", "t1", "/x/y"),
     FORM_PARQUET,
     NULL,
     0,
     {HOST "/agnes/x/y", HOST "/agnes/api/data/t1/download"}},
    {HOST,
     ROW("t1", "t1", "https://H:443/x"),
     FORM_PARQUET,
     NULL,
     0,
     {HOST "/x", HOST "/api/data/t1/download"}},
    {HOST, ROW("t1", "t1", "https://evil/x"), FORM_PARQUET, NULL, -EACCES, {NULL}},
    {HOST, ROW("t1", "t1", "http://h/x"), FORM_PARQUET, NULL, -EACCES, {NULL}},
    {HOST, ROW("t1", "t1", "https://h:444/x"), FORM_PARQUET, NULL, -EACCES, {NULL}},
    {HOST, ROW("t1", "t1", "https://h@evil/x"), FORM_PARQUET, NULL, -EINVAL, {NULL}},
    {HOST, ROW("t1", "t1", "//evil/x"), FORM_PARQUET, NULL, -EINVAL, {NULL}},
    {HOST, ROW("t1", "t1", "file:///etc/passwd"), FORM_PARQUET, NULL, -EACCES, {NULL}},
    {HOST, ROW("", "", ""), FORM_PARQUET, NULL, -EINVAL, {NULL}},
    /* bundles: the slug comes as it is */
    {HOST,
     ROW("", "fin", "/api/memory/bundle?domain=fin"),
     FORM_BUNDLE,
     NULL,
     0,
     {HOST "/api/memory/bundle?domain=fin"}},
    {HOST,
     ROW("", "R&D notes", "/api/memory/bundle?domain=R&D notes"),
     FORM_BUNDLE,
     NULL,
     0,
     {HOST "/api/memory/bundle?domain=R%26D%20notes"}},
    {HOST, ROW("", "a#b", ""), FORM_BUNDLE, NULL, 0, {HOST "/api/memory/bundle?domain=a%23b"}},
    {HOST,
     ROW("", "R&D", "/api/memory/bundle?domain=R%26D"),
     FORM_BUNDLE,
     NULL,
     0,
     {HOST "/api/memory/bundle?domain=R%2526D", HOST "/api/memory/bundle?domain=R%26D"}},
    {HOST, ROW("", "fin", "https://evil/bundle?domain=fin"), FORM_BUNDLE, NULL, -EACCES, {NULL}},
    /* knowledge: by the url, then by the id; by an odd id, which the url has as it is, alone */
    {HOST,
     ROW("hb", "hb", "/api/knowledge/artifacts/hb/download"),
     FORM_DATABASE,
     NULL,
     0,
     {HOST "/api/knowledge/artifacts/hb/download"}},
    {HOST,
     ROW("hb", "hb", "/v2/hb"),
     FORM_DATABASE,
     NULL,
     0,
     {HOST "/v2/hb", HOST "/api/knowledge/artifacts/hb/download"}},
    {HOST,
     ROW("kd", "weekly", ""),
     FORM_DIGEST,
     NULL,
     0,
     {HOST "/api/knowledge/digests/kd/content"}},
    {HOST,
     ROW("a/../b#c", "x", "/api/knowledge/artifacts/a/../b#c/download"),
     FORM_DATABASE,
     NULL,
     0,
     {HOST "/api/knowledge/artifacts/a%2F..%2Fb%23c/download"}},
    {HOST, ROW("", "x", "/k"), FORM_DIGEST, NULL, 0, {HOST "/k"}},
    {HOST, ROW("", "x", ""), FORM_DIGEST, NULL, -EINVAL, {NULL}},
    {HOST, ROW("kd", "x", "https://evil/k"), FORM_DIGEST, NULL, -EACCES, {NULL}},
    {HOST, ROW("k d", "x", "https://evil/k"), FORM_DIGEST, NULL, -EACCES, {NULL}},
    {HOST "/s/manifest.json",
     ROW("kd", "x", "k/x.json"),
     FORM_DIGEST,
     NULL,
     0,
     {HOST "/s/k/x.json"}},
    /* static stacks: relative to the manifest */
    {HOST "/s/manifest.json",
     ROW("t", "t", "data/t.parquet"),
     FORM_PARQUET,
     NULL,
     0,
     {HOST "/s/data/t.parquet"}},
    {HOST "/s/manifest.json",
     ROW("t", "t", "/t.parquet"),
     FORM_PARQUET,
     NULL,
     0,
     {HOST "/t.parquet"}},
    {HOST "/s/manifest.json",
     ROW("t", "t", "parts"),
     FORM_PARQUET,
     "m=1/a.parquet",
     0,
     {HOST "/s/parts/m%3D1/a.parquet"}},
    {HOST "/s/manifest.json", ROW("t", "t", "https://evil/t"), FORM_PARQUET, NULL, -EACCES, {NULL}},
    {HOST "/s/manifest.json", ROW("t", "t", "//evil/t"), FORM_PARQUET, NULL, -EACCES, {NULL}},
    {HOST "/s/manifest.json",
     ROW("t", "t", "file:///etc/passwd"),
     FORM_PARQUET,
     NULL,
     -EACCES,
     {NULL}},
    {HOST "/s/manifest.json", ROW("t", "t", ""), FORM_PARQUET, NULL, -EINVAL, {NULL}},
    {"file:///s/manifest.json",
     ROW("t", "t", "../t.parquet"),
     FORM_PARQUET,
     NULL,
     0,
     {"file:///t.parquet"}},
    {"file:///s/manifest.json",
     ROW("t", "t", "http://localhost/t"),
     FORM_PARQUET,
     NULL,
     -EACCES,
     {NULL}},
};

static void urls_of_rows(void **state)
{
    for (size_t i = 0; i < sizeof(url_cases) / sizeof(*url_cases); i++) {
        const struct url_case *c = &url_cases[i];
        scoped(source_freep) struct source *source = NULL;
        scoped_free char **urls = NULL;
        size_t count = 0;

        print_message("%s %s %s\n", c->source, c->row.name, c->row.url);
        assert_int_equal(source_parse(c->source, &source), 0);
        assert_int_equal(source_urls(source, &c->row, c->form, c->part, &urls), c->error);
        if (c->error)
            continue;
        for (; c->urls[count]; count++) {
            assert_non_null(urls[count]);
            assert_string_equal(urls[count], c->urls[count]);
        }
        assert_null(urls[count]);
    }
}

/* What is called plain is what the slow way accepts too. */
static void plain_paths_are_the_sources_own(void **state)
{
    static const char *const plain[] = {"/api/data/t1/download", "/a/../../b", "/./x.parquet",
                                        "/a//b", "/-"};
    static const char *const others[] = {"",         "//host/x", "https://host/x", "a:b",
                                         "/x\\y",    "/a b",     "/x?y=1",         "/x#y",
                                         "/x%2e%2e", "/x\n",     "/\xc3\xa4",      "/x@y"};
    static const char *const sources[] = {"https://agnes.example.com", "https://h/m.json",
                                          "file:///srv/stack/manifest.json"};

    for (size_t i = 0; i < sizeof(others) / sizeof(*others); i++)
        assert_false(source_is_plain_path(others[i]));
    for (size_t s = 0; s < sizeof(sources) / sizeof(*sources); s++) {
        scoped(source_freep) struct source *source = NULL;

        assert_int_equal(source_parse(sources[s], &source), 0);
        for (size_t i = 0; i < sizeof(plain) / sizeof(*plain); i++) {
            struct tree_row row = {.name = "n", .table_id = "t", .url = plain[i]};
            scoped_free char **urls = NULL;

            assert_true(source_is_plain_path(plain[i]));
            assert_int_equal(source_urls(source, &row, FORM_PARQUET, NULL, &urls), 0);
        }
    }
}

static void stack_listing(void **state)
{
    scoped(source_freep) struct source *server = NULL;
    scoped(source_freep) struct source *folder = NULL;
    scoped_free char *packages = NULL;
    scoped_free char *memory = NULL;
    char *none = NULL;

    assert_int_equal(source_parse("https://h/agnes", &server), 0);
    assert_int_equal(source_parse("/srv/stack", &folder), 0);
    assert_int_equal(source_stack_url(server, TREE_PACKAGES, &packages), 0);
    assert_string_equal(packages, "https://h/agnes/api/stack?type=data_package");
    assert_int_equal(source_stack_url(server, TREE_MEMORY, &memory), 0);
    assert_string_equal(memory, "https://h/agnes/api/stack?type=memory_domain");
    assert_int_equal(source_stack_url(server, TREE_DIRECT, &none), -ENOTSUP);
    assert_int_equal(source_stack_url(folder, TREE_PACKAGES, &none), -ENOTSUP);
}

static void endpoints(void **state)
{
    scoped(source_freep) struct source *server = NULL;
    scoped(source_freep) struct source *folder = NULL;
    scoped_free char *url = NULL;
    char *none = NULL;

    assert_int_equal(source_parse("https://h/agnes", &server), 0);
    assert_int_equal(source_parse("https://h/stack/manifest.json", &folder), 0);
    assert_int_equal(source_endpoint_url(server, "/api/x?y=z", &url), 0);
    assert_string_equal(url, "https://h/agnes/api/x?y=z");
    assert_int_equal(source_endpoint_url(folder, "/api/x", &none), -ENOTSUP);
}

/* NULL: not taken. */
static void check_signed(const char *where, const char *text, const char *expected, bool foreign)
{
    scoped(source_freep) struct source *source = NULL;
    scoped_free char *url = NULL;
    int r;

    assert_int_equal(source_parse(where, &source), 0);
    r = source_signed_url(source, text, &url);
    if (r != (expected ? 0 : -EACCES) || (url && strcmp(url, expected) != 0))
        fail_msg("%s at %s: %d %s", text, where, r, url ? url : "");
    if (expected)
        assert_int_equal(source_is_foreign(source, url), foreign);
}

static void signed_urls(void **state)
{
    static const char here[] = "https://agnes.example.com/base";
    static const char lan[] = "http://192.168.1.5:8000";
    static const char six[] = "http://[fd00::5]:8000";
    static const char *const refused[] = {
        "http://s3.amazonaws.com/b/t?sig=1",
        "https://127.0.0.1/t",
        "https://0x7f.1/t",
        "https://192.168.1.5/t",
        "https://[::1]/t",
        "https://[fd00::5]/t",
        "https://localhost/t",
        "https://a.localhost:9000/t",
        "https://169.254.169.254/t",
        "file:///etc/passwd",
        "ftp://s3.amazonaws.com/t",
        "//s3.amazonaws.com/t",
        "/t",
        "t",
        "",
        "https://u@s3.amazonaws.com/t",
        "https:\\\\s3.amazonaws.com\\t",
        "https://s3 .com/t",
        "http://agnes.example.com/t",
        "https://[::ffff:10.0.0.1]/t",
        "https:///t",
    };

    check_signed(here, "https://s3.amazonaws.com/b/t?X=%2F&sig=1",
                 "https://s3.amazonaws.com/b/t?X=%2F&sig=1", true);
    check_signed(here, "HTTPS://S3.Amazonaws.COM:443/b/t", "https://s3.amazonaws.com/b/t", true);
    check_signed(here, "https://8.8.8.8/t", "https://8.8.8.8/t", true);
    check_signed(here, "https://agnes.example.com:9000/t", "https://agnes.example.com:9000/t",
                 false);
    check_signed(here, "https://agnes.example.com.evil.org/t",
                 "https://agnes.example.com.evil.org/t", true);
    check_signed(lan, "http://192.168.1.5:9000/t", "http://192.168.1.5:9000/t", false);
    check_signed(lan, "https://192.168.1.5:9000/t", "https://192.168.1.5:9000/t", false);
    check_signed(lan, "http://192.168.1.6:9000/t", NULL, true);
    check_signed(lan, "https://192.168.1.6:9000/t", NULL, true);
    check_signed(six, "http://[fd00:0::5]:9000/t", "http://[fd00::5]:9000/t", false);
    check_signed(six, "http://[fd00::6]:9000/t", NULL, true);
    for (size_t i = 0; i < sizeof(refused) / sizeof(*refused); i++)
        check_signed(here, refused[i], NULL, true);
    check_signed("https://host/manifest.json", "https://s3.amazonaws.com/t", NULL, true);
    check_signed("/srv/stack", "https://s3.amazonaws.com/t", NULL, true);
    check_signed("/srv/stack", "file:///srv/stack/t", NULL, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sources_are_told_apart),
        cmocka_unit_test(folders_and_files_on_disk),
        cmocka_unit_test(urls_of_rows),
        cmocka_unit_test(plain_paths_are_the_sources_own),
        cmocka_unit_test(stack_listing),
        cmocka_unit_test(signed_urls),
        cmocka_unit_test(endpoints),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
