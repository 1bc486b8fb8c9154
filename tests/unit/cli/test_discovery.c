/* SPDX-License-Identifier: MIT */
/* test_discovery.c - the agnes CLI's order for source and token, surprises included. */
#include "tests/unit/cli/fixture.h"

#include <sys/prctl.h>

#include "fs/cli/discovery.h"

static void expect_source(const char *argument, struct options *options, const char *text,
                          const char *origin)
{
    struct discovery discovery;
    struct complaint c;

    if (discovery_find(argument, options, &discovery, &c) < 0)
        fail_msg("%s: %s", c.what, c.why);
    assert_string_equal(source_text(discovery.source), text);
    if (!strstr(discovery.origin, origin))
        fail_msg("came from %s", discovery.origin);
    discovery_release(&discovery);
}

static void test_source_order(void **state)
{
    struct complaint c;
    struct options *bare = parse_from(NULL, &c, "sync", NULL);
    struct options *keyed = parse_from(NULL, &c, "sync", "--server=http://key", NULL);

    expect_source(NULL, bare, "http://localhost:8000", "last resort");
    put(*state, ".config/agnes/config.yaml", "workspace_root: /w\nserver: http://yaml\n");
    expect_source(NULL, bare, "http://yaml", "config.yaml");
    setenv("AGNES_SERVER", "http://env", 1);
    expect_source(NULL, bare, "http://env", "AGNES_SERVER");
    expect_source(NULL, keyed, "http://key", "--server");
    expect_source("http://arg", keyed, "http://arg", "command line");
    options_free(bare);
    options_free(keyed);
}

static void test_config_folder(void **state)
{
    struct complaint c;
    struct options *options = parse_from(NULL, &c, "sync", NULL);
    char *folder = path_join(*state, "elsewhere");

    put(*state, ".config/agnes/config.yaml", "server: http://wrong\n");
    put(*state, "elsewhere/config.yaml", "server: \"http://right\"  # here\n");
    setenv("AGNES_CONFIG_DIR", folder, 1);
    expect_source(NULL, options, "http://right", "elsewhere/config.yaml");
    options_free(options);
    free(folder);
}

static void test_server_must_stand_at_the_top(void **state)
{
    struct complaint c;
    struct options *options = parse_from(NULL, &c, "sync", NULL);

    put(*state, ".config/agnes/config.yaml",
        "other:\n  server: http://nested\nservers: http://plural\n");
    expect_source(NULL, options, "http://localhost:8000", "last resort");
    options_free(options);
}

static void test_no_source(void **state)
{
    struct complaint c;
    struct options *options = parse_from(NULL, &c, "sync", NULL);
    struct discovery discovery;

    assert_true(discovery_find("ftp://x", options, &discovery, &c) < 0);
    assert_int_equal(c.code, EXIT_USAGE);
    put(*state, ".config/agnes/config.yaml", "server: [a, b]\n");
    assert_true(discovery_find(NULL, options, &discovery, &c) < 0);
    assert_int_equal(c.code, EXIT_USAGE);
    options_free(options);
}

/* --- tokens --- */

static void expect_token(const char *expected, const char *source_text, const char *file)
{
    struct complaint c = {.why = ""};
    struct options *options = file ? parse_from(NULL, &c, "sync", "--token-file", file, NULL)
                                   : parse_from(NULL, &c, "sync", NULL);
    struct source *source = NULL;
    struct token *token = NULL;

    assert_int_equal(source_parse(source_text, &source), 0);
    if (token_new(options, source, &token, &c) < 0)
        fail_msg("%s: %s", c.what, c.why);

    char *text = token_read(token);

    if (expected)
        assert_string_equal(text, expected);
    else
        assert_null(text);
    assert_int_equal(token_present(token), expected != NULL);
    free(text);
    token_free(token);
    source_free(source);
    options_free(options);
}

static void test_token_order(void **state)
{
    const char *server = "https://a.example";

    expect_token(NULL, server, NULL);
    setenv("AGNES_TOKEN", "from-env", 1);
    expect_token("from-env", server, NULL);
    put(*state, ".config/agnes/token.json", "{\"access_token\":\"from-json\",\"email\":\"e\"}");
    expect_token("from-json", server, NULL);
    setenv("AGNES_SESSION_ID", "s", 1);
    setenv("AGNES_TOKEN", "from-env", 1);
    expect_token("from-env", server, NULL);
    unsetenv("AGNES_SESSION_ID");
    put(*state, ".config/agnes/token.json", "{\"email\":\"e\"}");
    expect_token(NULL, server, NULL);
}

static void test_the_environment_does_not_keep_it(void **state)
{
    const char *value;

    setenv("AGNES_TOKEN", "from-env", 1);
    value = getenv("AGNES_TOKEN");
    expect_token("from-env", "https://a.example", NULL);
    assert_null(getenv("AGNES_TOKEN"));
    assert_string_equal(value, "");
    assert_int_equal(prctl(PR_GET_DUMPABLE), 0);
    setenv("AGNES_TOKEN", "for-nobody", 1);
    expect_token(NULL, "/srv/stack", NULL);
    assert_null(getenv("AGNES_TOKEN"));
}

static void test_static_source_gets_none(void **state)
{
    setenv("AGNES_TOKEN", "secret", 1);
    expect_token(NULL, "/srv/stack", NULL);
    setenv("AGNES_TOKEN", "secret", 1);
    expect_token(NULL, "https://a.example/manifest.json", NULL);
}

static void test_token_file(void **state)
{
    char *path = path_join(*state, "token");

    setenv("AGNES_TOKEN", "from-env", 1);
    put(*state, "token", "  abc.def \n\n");
    expect_token("abc.def", "https://a.example", path);
    put(*state, "token", "{\"access_token\": \"json\"}\n");
    expect_token("json", "https://a.example", path);
    free(path);
}

static void refuse_token(const char *file, const char *why)
{
    struct complaint c = {.why = ""};
    struct options *options = parse_from(NULL, &c, "sync", "--token-file", file, NULL);
    struct source *source = NULL;
    struct token *token = NULL;

    assert_int_equal(source_parse("https://a.example", &source), 0);
    assert_true(token_new(options, source, &token, &c) < 0);
    assert_int_equal(c.code, EXIT_AUTHENTICATION);
    if (!strstr(c.why, why) || strstr(c.why, "sesame"))
        fail_msg("said: %s", c.why);
    source_free(source);
    options_free(options);
}

static void test_token_file_refused(void **state)
{
    char *path = path_join(*state, "token");
    char *fifo = path_join(*state, "fifo");

    refuse_token(path, "No such file");
    put(*state, "token", "");
    refuse_token(path, "no token");
    put(*state, "token", "sesame\nX-Evil: 1\n");
    refuse_token(path, "more than one line");
    put(*state, "token", "{\"access_token\":\"ses ame\"}");
    refuse_token(path, "no token");
    put(*state, "token", "{\"token\":\"sesame\"}");
    refuse_token(path, "access_token");
    refuse_token(*state, "not a regular file");
    assert_int_equal(mkfifo(fifo, 0600), 0);
    refuse_token(fifo, "not a regular file");
    if (geteuid() == 0) {
        put(*state, "token", "sesame");
        assert_int_equal(chown(path, 12345, 12345), 0);
        refuse_token(path, "somebody else");
    }
    free(path);
    free(fifo);
}

static void test_new_login_counts_at_once(void **state)
{
    struct complaint c;
    struct options *options = parse_from(NULL, &c, "sync", NULL);
    struct source *source = NULL;
    struct token *token = NULL;

    put(*state, ".config/agnes/token.json", "{\"access_token\":\"old\"}");
    assert_int_equal(source_parse("https://a.example", &source), 0);
    assert_int_equal(token_new(options, source, &token, &c), 0);
    put(*state, ".config/agnes/token.json", "{\"access_token\":\"new\"}");

    char *text = token_read(token);

    assert_string_equal(text, "new");
    free(text);
    token_free(token);
    source_free(source);
    options_free(options);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        home_test(test_source_order),
        home_test(test_config_folder),
        home_test(test_server_must_stand_at_the_top),
        home_test(test_no_source),
        home_test(test_token_order),
        home_test(test_the_environment_does_not_keep_it),
        home_test(test_static_source_gets_none),
        home_test(test_token_file),
        home_test(test_token_file_refused),
        home_test(test_new_login_counts_at_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
