/* SPDX-License-Identifier: MIT */
/* What the cases of test_manifest_cases.c can not show: that the order of a manifest does not matter,
 * what rows say, tokens, times, and limits that are too large for a case. */
#include "tests/unit/sync/manifest_judge.h"

#define PART(path, md5, size) "{'path':'" path "','hash':'" md5 "','size_bytes':" size "}"
#define TABLE(name) "{'name':'" name "','md5':'" MD5_A "','size_bytes':5}"
#define AT(path) "+ data/" path ".parquet md5-" MD5_A "-5\n"
#define DIGEST "{'kind':'digest','slug':'weekly','id':'kd','md5':'" MD5_B "'}"

/* --- order --- */

/* Heap's algorithm: calls judge for each order of items between head and tail. */
struct orders {
    const char *head, *tail;
    const char *items[6];
    size_t count;
    char *first; /* what the first order gave */
    unsigned tried;
};

static void try_order(struct orders *orders)
{
    struct text text;

    text_open(&text);
    fputs(orders->head, text.file);
    for (size_t i = 0; i < orders->count; i++)
        fprintf(text.file, "%s%s", i ? "," : "", orders->items[i]);
    fputs(orders->tail, text.file);
    fclose(text.file);
    for (char *c = text.bytes; *c; c++)
        *c = *c == '\'' ? '"' : *c;

    char *found = judge(SERVER, text.bytes, text.size);

    orders->tried++;
    if (orders->first && strcmp(orders->first, found) != 0)
        fail_msg("%s\none order:\n%sanother:\n%s", text.bytes, orders->first, found);
    if (!orders->first)
        orders->first = found;
    else
        free(found);
    free(text.bytes);
}

static void permute(struct orders *orders, size_t left)
{
    if (left <= 1) {
        try_order(orders);
        return;
    }
    for (size_t i = 0; i < left; i++) {
        permute(orders, left - 1);

        size_t other = left % 2 ? 0 : i;
        const char *swapped = orders->items[left - 1];

        orders->items[left - 1] = orders->items[other];
        orders->items[other] = swapped;
    }
}

static void expect_any_order(struct orders orders, const char *expected)
{
    while (orders.count < 6 && orders.items[orders.count])
        orders.count++;
    permute(&orders, orders.count);
    assert_true(orders.tried >= 6);
    assert_string_equal(orders.first, expected);
    free(orders.first);
}

static void order_does_not_matter(void **state)
{
    struct orders rows = {
        .head = "{'memory_domains':[],'data_packages':[],'direct_tables':[",
        .tail = "]}",
        .items = {TABLE("a b"), TABLE("a_b"), TABLE("a/b"), TABLE("(a b)"), TABLE("a?b")},
    };
    struct orders twins = {
        .head = rows.head,
        .tail = rows.tail,
        .items = {"{'name':'t','id':'2','md5':'" MD5_A "','size_bytes':1}",
                  "{'name':'t','id':'1','md5':'" MD5_C "','size_bytes':1}",
                  "{'name':'t','id':'1','md5':'" MD5_B "','size_bytes':3}",
                  "{'name':'t','id':'1','md5':'" MD5_B "','size_bytes':2}",
                  "{'name':'t','id':'1','md5':'" MD5_C "','query_mode':'remote'}"},
    };
    struct orders packages = {
        .head = "{'memory_domains':[],'direct_tables':[],'data_packages':[",
        .tail = "]}",
        .items = {"{'slug':'p q','id':'1','name':'one','tables':[" TABLE("t") "]}",
                  "{'slug':'p_q','tables':[" TABLE("u") "]}",
                  "{'slug':'p q','id':'2','name':'two','tables':[" TABLE("t") "," TABLE("v") "]}",
                  "{'slug':'p/q','tables':[]}", "{'slug':'a','tables':[" TABLE("v") "]}"},
    };
    struct orders domains = {
        .head = "{'data_packages':[],'direct_tables':[],'memory_domains':[",
        .tail = "]}",
        .items = {"{'slug':'d e','id':'1'}", "{'slug':'d_e'}", "{'slug':'d e','id':'0'}",
                  "{'slug':'d.e'}", "{'slug':'d e','id':'0','md5':'" MD5_A "'}"},
    };

    expect_any_order(rows, AT("_direct/a_b") "- a b: its name belongs to \"(a b)\"\n"
                                             "- a/b: its name belongs to \"(a b)\"\n"
                                             "- a?b: its name belongs to \"(a b)\"\n"
                                             "- a_b: its name belongs to \"(a b)\"\n");
    expect_any_order(twins, "+ data/_direct/t.parquet md5-" MD5_B "-2\n- t: listed twice\n"
                            "- t: listed twice\n- t: listed twice\n- t: listed twice\n");
    expect_any_order(packages, "[a]\n[p_q]\n" AT("a/v") AT("p_q/t")
                                   AT("p_q/v") "- p q/t: listed twice\n"
                                               "- p/q/: its folder belongs to package \"p q\"\n"
                                               "- p_q/u: its folder belongs to package \"p q\"\n");
    expect_any_order(domains, "+ memory/d_e/bundle.md <=16777216\n"
                              "+ memory/d.e/bundle.md <=16777216\n"
                              "- d e: listed twice\n- d e: listed twice\n"
                              "- d_e: its name belongs to \"d e\"\n");
}

/* --- fields --- */

static void rows_say_what_the_manifest_says(void **state)
{
    struct manifest *manifest = parse(
        "{'direct_tables':[],'data_packages':[{'id':'dp','slug':'sales','name':'Sales','description':'All'"
        ",'requirement':'available','tables':[{'id':'in.c','name':'orders','md5':'" MD5_A
        "','size_bytes':5,'rows':42,"
        "'updated':'2026-08-22T10:00:00','parquet_url':'/x','query_mode':'materialized'},"
        "{'name':'r','query_mode':'remote','rows':7,'size_bytes':8}]}],"
        "'memory_domains':[{'slug':'fin','name':'Finance','md5':'" MD5_B "','id':'d1'}]}");
    size_t count;
    const struct tree_group *groups = manifest_groups(manifest, &count);

    assert_int_equal(count, 2);
    assert_int_equal(groups[0].section, TREE_PACKAGES);
    assert_string_equal(groups[0].slug, "sales");
    assert_string_equal(groups[0].name, "Sales");
    assert_string_equal(groups[0].description, "All");
    assert_int_equal(groups[0].requirement, REQUIREMENT_AVAILABLE);
    assert_int_equal(groups[1].requirement, REQUIREMENT_UNKNOWN);
    assert_string_equal(groups[1].folder, "fin");
    assert_string_equal(groups[1].name, "Finance");

    const struct manifest_row *rows = manifest_rows(manifest, &count);

    assert_int_equal(count, 3);
    assert_int_equal(rows[0].section, TREE_PACKAGES);
    assert_int_equal(rows[0].row.group, 0);
    assert_string_equal(rows[0].row.name, "orders");
    assert_string_equal(rows[0].row.table_id, "in.c");
    assert_string_equal(rows[0].row.token, "md5:" MD5_A ":5");
    assert_string_equal(rows[0].row.md5, MD5_A);
    assert_string_equal(rows[0].row.url, "/x");
    assert_string_equal(rows[0].row.query_mode, "materialized");
    assert_int_equal(rows[0].row.rows, 42);
    assert_int_equal(rows[0].row.size, 5);
    assert_true(rows[0].updated_ns == INT64_C(1787392800) * 1000000000);
    assert_string_equal(rows[1].row.withheld, "query mode remote");
    assert_null(rows[1].row.path);
    assert_int_equal(rows[1].row.rows, 7);
    assert_int_equal(rows[1].row.size, 8);
    assert_int_equal(rows[1].file_count, 0);
    assert_string_equal(rows[2].row.name, "fin");
    assert_string_equal(rows[2].row.table_id, "d1");
    assert_string_equal(rows[2].row.query_mode, "");
    assert_int_equal(rows[2].updated_ns, -1);

    const struct verdict *verdicts = manifest_verdicts(manifest, &count);

    assert_int_equal(count, 1);
    assert_string_equal(verdicts[0].path, "data/sales/r.parquet");
    manifest_free(manifest);
}

static const char *token_of(struct manifest **manifest, const char *section, const char *row)
{
    char *text = NULL;
    size_t count;

    assert_true(asprintf(&text, "{'%s':[%s]}", section, row) > 0);
    manifest_free(*manifest);
    *manifest = parse(text);
    free(text);

    const struct manifest_row *rows = manifest_rows(*manifest, &count);

    assert_int_equal(count, 1);
    return rows[0].row.token;
}

/* same: both rows must have one token; else two. */
static void compare_tokens(const char *section, const char *one, const char *other, bool same)
{
    struct manifest *a = NULL, *b = NULL;
    bool equal = !strcmp(token_of(&a, section, one), token_of(&b, section, other));

    if (equal != same)
        fail_msg("%s and %s have %s", one, other, equal ? "one token" : "two tokens");
    manifest_free(a);
    manifest_free(b);
}

static void tokens_change_with_the_content(void **state)
{
    static const struct {
        const char *one, *other;
        bool same;
    } tables[] = {
        {TABLE("x"),
         "{'name':'y','hash':'AAAAaaaaaaaaaaaaaaaaaaaaaaaaaaaa','size_bytes':5,'rows':1}", true},
        {TABLE("x"), "{'name':'x','md5':'" MD5_B "','size_bytes':5}", false},
        {TABLE("x"), "{'name':'x','md5':'" MD5_A "','size_bytes':6}", false},
        {TABLE("x"), "{'name':'x','md5':'" MD5_A "'}", false},
        {"{'name':'x','size_bytes':6}", "{'name':'x','size_bytes':7}", false},
        {"{'name':'x','updated':'2026-01-01'}", "{'name':'x','updated':'2026-01-02'}", false},
        {"{'name':'x','updated':'2026-01-01','rows':1}", "{'name':'x','updated':'2026-01-01'}",
         true},
        {"{'name':'x','parts':[" PART("a", MD5_A, "1") "," PART("b", MD5_B, "2") "]}",
         "{'name':'x','parts':[" PART("b", MD5_B, "2") "," PART("a", MD5_A, "1") "]}", true},
        {"{'name':'x','parts':[" PART("a", MD5_A, "1") "]}",
         "{'name':'x','parts':[" PART("b", MD5_A, "1") "]}", false},
        {"{'name':'x','parts':[" PART("a", MD5_A, "1") "]}",
         "{'name':'x','parts':[" PART("a", MD5_A, "2") "]}", false},
        {"{'name':'x','parts':[" PART("a", MD5_A, "1") "]}",
         "{'name':'x','parts':[" PART("a", MD5_B, "1") "]}", false},
    };
    static const struct {
        const char *one, *other;
        bool same;
    } bundles[] = {
        {"{'slug':'x','md5':'" MD5_A "'}", "{'slug':'x','md5':'" MD5_A "','items_count':5}", true},
        {"{'slug':'x','md5':'" MD5_A "'}", "{'slug':'x','md5':'" MD5_B "'}", false},
        {"{'slug':'x','name':'a'}", "{'slug':'x','name':'b'}", false},
        {"{'slug':'x','description':'a'}", "{'slug':'x','description':'b'}", false},
        {"{'slug':'x','name':'a','description':'b\\nc'}",
         "{'slug':'x','name':'a\\nb','description':'c'}", false},
        {"{'slug':'x','updated':'2026-01-01'}", "{'slug':'x','updated':'2026-01-02'}", false},
        {"{'slug':'x','md5':'" MD5_A "','updated':'2026-01-01'}",
         "{'slug':'x','md5':'" MD5_A "','updated':'2026-01-02'}", true},
    };

    static const struct {
        const char *one, *other;
        bool same;
    } digests[] = {
        {DIGEST, "{'slug':'weekly','id':'kd','md5':'" MD5_B "','status':'stale'}", true},
        {DIGEST, "{'slug':'weekly','id':'kd','md5':'" MD5_B "','title':'New'}", false},
        {"{'slug':'s','id':'x'}", "{'slug':'s','id':'x','status':'stale'}", false},
        {"{'slug':'s','id':'x'}", "{'slug':'s','id':'x','generated_at':'2026-01-01'}", false},
    };

    for (size_t i = 0; i < sizeof(digests) / sizeof(*digests); i++)
        compare_tokens("knowledge_artifacts", digests[i].one, digests[i].other, digests[i].same);
    for (size_t i = 0; i < sizeof(tables) / sizeof(*tables); i++)
        compare_tokens("direct_tables", tables[i].one, tables[i].other, tables[i].same);
    for (size_t i = 0; i < sizeof(bundles) / sizeof(*bundles); i++)
        compare_tokens("memory_domains", bundles[i].one, bundles[i].other, bundles[i].same);
}

static void times(void **state)
{
    static const struct {
        const char *text;
        int64_t seconds; /* -1: none */
        int64_t ns;
    } cases[] = {
        {"1970-01-01", 0, 0},
        {"1970-01-01T00:00:00Z", 0, 0},
        {"1970-01-01T00:00:00", 0, 0},
        {"2026-08-22T10:00:00", 1787392800, 0},
        {"2026-08-22 10:00:00", 1787392800, 0},
        {"2026-08-22t10:00:00z", 1787392800, 0},
        {"2026-08-22T10:00:00+00:00", 1787392800, 0},
        {"2026-08-22T12:00:00+02:00", 1787392800, 0},
        {"2026-08-22T04:30:00-0530", 1787392800, 0},
        {"2026-08-22T10:00:00.5", 1787392800, 500000000},
        {"2026-08-22T10:00:00.123456+00:00", 1787392800, 123456000},
        {"2026-08-22T10:00:00.1234567899Z", 1787392800, 123456789},
        {"2026-08-22", 1787356800, 0},
        {"2000-02-29", 951782400, 0},
        {"2024-02-29T23:59:59Z", 1709251199, 0},
        {"2024-12-31", 1735603200, 0},
        {"2016-12-31T23:59:60Z", 1483228800, 0},
        {"1969-12-31T23:00:00-01:00", 0, 0},
        {"2261-12-31", 9214560000, 0},
        {"1969-12-31", -1, 0},
        {"1970-01-01T00:00:00+00:01", -1, 0},
        {"2262-01-01", -1, 0},
        {"2023-02-29", -1, 0},
        {"2100-02-29", -1, 0},
        {"2026-13-01", -1, 0},
        {"2026-00-10", -1, 0},
        {"2026-04-31", -1, 0},
        {"2026-01-00", -1, 0},
        {"2026-08-22T24:00:00", -1, 0},
        {"2026-08-22T10:60:00", -1, 0},
        {"2026-08-22T10:00:61", -1, 0},
        {"2026-08-22T10:00", -1, 0},
        {"2026-08-22T10:00:00.", -1, 0},
        {"2026-08-22T10:00:00X", -1, 0},
        {"2026-08-22T10:00:00+24:00", -1, 0},
        {"2026-08-22T10:00:00Z ", -1, 0},
        {"2026-8-22", -1, 0},
        {"", -1, 0},
        {"yesterday", -1, 0},
        {"1787392800", -1, 0},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        char *text = NULL;
        struct manifest *manifest = NULL;
        size_t count;
        int64_t expected = cases[i].seconds < 0 ? -1 : cases[i].seconds * 1000000000 + cases[i].ns;

        assert_true(
            asprintf(&text, "{'direct_tables':[{'name':'x','updated':'%s'}]}", cases[i].text) > 0);
        manifest = parse(text);
        if (manifest_rows(manifest, &count)->updated_ns != expected)
            fail_msg("%s: %lld", cases[i].text,
                     (long long)manifest_rows(manifest, &count)->updated_ns);
        manifest_free(manifest);
        free(text);
    }
}

/* --- limits --- */

static char *repeat(const char *head, const char *piece, size_t count, const char *tail,
                    size_t *ret_size)
{
    size_t head_size = strlen(head), size = strlen(piece), tail_size = strlen(tail);
    char *text = malloc(head_size + count * size + tail_size + 1);
    char *at = text;

    assert_non_null(text);
    memcpy(at, head, head_size);
    at += head_size;
    for (size_t i = 0; i < count; i++, at += size)
        memcpy(at, piece, size);
    memcpy(at, tail, tail_size + 1);
    *ret_size = head_size + count * size + tail_size;
    return text;
}

/* Nobody looks at the text: its size is enough. */
static void length_is_limited(void **state)
{
    char *found = judge(SERVER, "{}", MANIFEST_BYTES_MAX + 1);

    assert_string_equal(found, "reject: too long\n");
    free(found);
}

static void a_long_description_is_cut_between_characters(void **state)
{
    struct manifest *manifest = NULL;
    struct manifest_error error;
    size_t size, count;
    char *text = repeat("{\"data_packages\":[{\"slug\":\"s\",\"tables\":[],\"description\":\"",
                        "\xe6\xb3\xa8", 30000, "\"}]}", &size);

    assert_int_equal(parse_at(SERVER, text, size, &manifest, &error), 0);
    assert_int_equal(strlen(manifest_groups(manifest, &count)->description), 65535);
    manifest_free(manifest);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(order_does_not_matter),
        cmocka_unit_test(rows_say_what_the_manifest_says),
        cmocka_unit_test(tokens_change_with_the_content),
        cmocka_unit_test(times),
        cmocka_unit_test(length_is_limited),
        cmocka_unit_test(a_long_description_is_cut_between_characters),
    };

    return cmocka_run_group_tests_name("manifest", tests, NULL, NULL);
}
