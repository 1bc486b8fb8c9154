/* SPDX-License-Identifier: MIT */
/* test_redact.c - what stays of a text, and what does not. */
#include "tests/unit/cli/fixture.h"

#include "cache/scoped.h"
#include "fs/cli/redact.h"

#define JWT "eyJhbGciOiJIUzI1NiJ9.eyJleHAiOjF9.c2lnbmF0dXJl"

static const struct {
    const char *text;
    const char *expected; /* NULL: as it was */
} cases[] = {
    {"", NULL},
    {"2026-07-01T12:00:00Z info mounted ~/agnes\n", NULL},
    {"Authorization: Basic a b c\nnext", "Authorization:[secret]\nnext"},
    {"sent Bearer abc.def, twice", "sent Bearer [secret] twice"},
    {"a known-secret-value here", "a [secret] here"},
    {"xknown-secret-valuey", "x[secret]y"},
    {JWT, "[secret]"},
    {"(" JWT ")", "([secret])"},
    {"word aB3aB3aB3aB3aB3aB3aB3aB3aB3aB3aB3 end", "word [secret] end"},
    {"md5-0123456789abcdef0123456789abcdef-1234567", NULL},
    {"https://s.example/a/b?X-Sig=1&b=2 x", "https://s.example/a/b?[query] x"},
    {"/api/x?sig=abc\"", "/api/x?[query]\""},
    {"really? yes = no", NULL},
    {"http://eva:pw@proxy:3128/", "http://[user]@proxy:3128/"},
    {"eva:pw@proxy:3128", "[user]@proxy:3128"},
    {"from eva@example.com", "from [user]@example.com"},
    {"token=abc&x", "token=[secret]&x"},
    {"my_password = abc, and", "my_password = [secret], and"},
    {"{\"access_token\": \"abc\"}", "{\"access_token\": \"[secret]\"}"},
    {"token: from ~/x, accepted", NULL},
    {"\"token_from\": \"AGNES_TOKEN\"", NULL},
    {"/home/somebody/file", "/home/[user]/file"},
    {"/srv/home/file", NULL},
};

static struct redactor *make(void)
{
    struct redactor *redactor = NULL;

    assert_int_equal(redactor_new(&redactor), 0);
    assert_int_equal(redactor_secret(redactor, "known-secret-value"), 0);
    assert_int_equal(redactor_secret(redactor, "short"), 0);
    assert_int_equal(redactor_name(redactor, "orders"), 0);
    assert_int_equal(redactor_name(redactor, "orders_of_may"), 0);
    assert_int_equal(redactor_name(redactor, "R&D notes"), 0);
    assert_int_equal(redactor_name(redactor, "ab"), 0);
    return redactor;
}

static void test_rules(void **state)
{
    scoped(redactor_freep) struct redactor *redactor = make();

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        scoped_free char *clean = redact(redactor, cases[i].text);

        assert_string_equal(clean, cases[i].expected ? cases[i].expected : cases[i].text);
    }
}

static void test_home(void **state)
{
    scoped(redactor_freep) struct redactor *redactor = make();
    scoped_free char *text = NULL;
    scoped_free char *expected = NULL;

    assert_true(asprintf(&text, "%s, %s/a, %sx", (char *)*state, (char *)*state, (char *)*state) >
                0);
    assert_true(asprintf(&expected, "~, ~/a, %sx", (char *)*state) > 0);

    scoped_free char *clean = redact(redactor, text);

    assert_string_equal(clean, expected);
}

static void test_names(void **state)
{
    scoped(redactor_freep) struct redactor *redactor = make();
    scoped(redactor_freep) struct redactor *other = make();
    scoped_free char *clean =
        redact(redactor, "data/orders.parquet: orders, orders_of_may, reorders, ab, R&D notes");
    scoped_free char *elsewhere = redact(other, "orders");
    char name[16];

    assert_memory_equal(clean, "data/name-", 10);
    snprintf(name, sizeof(name), "%.13s", clean + 5);
    assert_string_not_equal(elsewhere, name); /* salted */
    assert_memory_equal(clean + 18, ".parquet: ", 10);
    assert_memory_equal(clean + 28, name, 13); /* the same again */
    assert_memory_not_equal(clean + 43, name, 13);
    assert_memory_equal(clean + 43, "name-", 5);
    assert_memory_equal(clean + 56, ", reorders, ab, name-", 21);
    assert_null(strstr(clean, "R&D"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        home_test(test_rules),
        home_test(test_home),
        home_test(test_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
