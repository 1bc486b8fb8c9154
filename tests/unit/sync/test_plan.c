/* SPDX-License-Identifier: MIT */
/* Every promise of plan.h, one test each. A tree is written down as one line per file,
 *
 *     data/sales/orders.parquet md5-...-5 KEPT
 *
 * empty folders with a slash at their end. */
#include "tests/unit/sync/stack_fixture.h"

static void write_node(FILE *out, const struct tree *tree, const struct tree_node *node)
{
    char path[TREE_PATH_MAX], key[BLOB_KEY_TEXT_SIZE];

    assert_int_equal(tree_path(tree, node, path, sizeof(path)), 0);
    if (node->type == TREE_DIR && node->dir.count == 0)
        fprintf(out, "%s/\n", path);
    for (uint32_t i = 0; node->type == TREE_DIR && i < node->dir.count; i++)
        write_node(out, tree, tree_node(tree, node->dir.first + i));
    if (node->type != TREE_BLOB)
        return;
    blob_key_format(&tree_blob(tree, node->blob)->key, key);

    uint32_t flags = tree_row(tree, node->row)->flags;

    fprintf(out, "%s %s%s\n", path, key, flags & TREE_ROW_KEPT ? " KEPT" : "");
}

static void expect_tree(const struct world *world, const char *expected)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);

    write_node(out, world->last, tree_root(world->last));
    fclose(out);
    if (strcmp(text, expected) != 0)
        fail_msg("expected:\n%sfound:\n%s", expected, text);
    free(text);
}

static void expect_items(const struct world *world, const char *expected)
{
    char *text = NULL;
    size_t size, count;
    FILE *out = open_memstream(&text, &size);
    const struct plan_item *items = plan_items(world->plan, &count);

    for (size_t i = 0; i < count; i++) {
        char key[BLOB_KEY_TEXT_SIZE] = "?";

        if (items[i].key.kind != BLOB_NONE)
            blob_key_format(&items[i].key, key);
        fprintf(out, "%s%s%s %s\n", items[i].row->row.path, items[i].file->part ? "/" : "",
                items[i].file->part ? items[i].file->part : "", key);
    }
    fclose(out);
    if (strcmp(text, expected) != 0)
        fail_msg("expected:\n%sfound:\n%s", expected, text);
    free(text);
}

static const struct tree_row *row_at(const struct world *world, const char *path)
{
    const struct tree_node *node = tree_find(world->last, path);

    assert_non_null(node);
    return tree_row(world->last, node->row);
}

static int64_t time_at(const struct world *world, const char *path)
{
    const struct tree_node *node = tree_find(world->last, path);

    assert_non_null(node);
    assert_int_equal(node->type, TREE_BLOB);
    return tree_blob(world->last, node->blob)->mtime_ns;
}

#define STACK(direct, packages, domains)                                                           \
    "{'direct_tables':[" direct "],'data_packages':[" packages "],'memory_domains':[" domains "]}"
#define PACKAGE(slug, tables) "{'slug':'" slug "','tables':[" tables "]}"
#define SALES(tables) STACK("", PACKAGE("sales", tables), "")
#define TABLE(name, md5) "{'name':'" name "','md5':'" md5 "','size_bytes':5}"
#define ORDERS "data/sales/orders.parquet"
#define NO_MEMORY "memory/\n"

/* --- staging --- */

static void new_names_are_listed_cold_at_once(void **state)
{
    struct world world;

    world_open(&world);
    assert_int_equal(
        world_plan(&world,
                   STACK(TABLE("d", MD5_A),
                         PACKAGE("sales", TABLE("orders", MD5_A)) "," PACKAGE("empty", ""), "")),
        0);
    assert_int_equal(world.resident_asked, 0);
    assert_true(world_publish(&world, NULL));
    expect_tree(&world, "data/_direct/d.parquet md5-" MD5_A "-5\ndata/empty/\n" ORDERS " md5-" MD5_A
                        "-5\n" NO_MEMORY);
    assert_int_equal(tree_blob_count(world.last), 1);
    assert_int_equal(tree_blob(world.last, 0)->references, 2);
    assert_int_equal(row_at(&world, ORDERS)->size, 5);
    world_close(&world);
}

static void data_and_memory_always_exist(void **state)
{
    struct world world;

    world_open(&world);
    world_plan(&world, STACK("", "", ""));
    world_publish(&world, NULL);
    expect_tree(&world, "data/\nmemory/\n");
    world_plan(&world, "{'tables':{}}");
    assert_false(world_publish(&world, NULL));
    world_close(&world);
}

static void resident_content_is_replaced_by_resident_content_only(void **state)
{
    struct world world;

    world_open(&world);
    world_plan(&world, SALES(TABLE("orders", MD5_A)));
    world_publish(&world, NULL);
    world_add(&world, md5_key(MD5_A, 5));

    world_plan(&world, SALES(TABLE("orders", MD5_B)));
    expect_items(&world, ORDERS " md5-" MD5_B "-5\n");
    world_failed(&world, 0);
    world_publish(&world, NULL);
    expect_tree(&world, ORDERS " md5-" MD5_A "-5 KEPT\n" NO_MEMORY);
    assert_string_equal(row_at(&world, ORDERS)->token, "md5:" MD5_A ":5");

    world_plan(&world, SALES(TABLE("orders", MD5_B))); /* still wanted */
    expect_items(&world, ORDERS " md5-" MD5_B "-5\n");
    world_done(&world, 0, md5_key(MD5_B, 5));
    world_publish(&world, NULL);
    expect_tree(&world, ORDERS " md5-" MD5_B "-5\n" NO_MEMORY);
    world_close(&world);
}

static void resident_or_cold_content_needs_no_staging(void **state)
{
    struct world world;

    world_open(&world);
    world_plan(&world, SALES(TABLE("orders", MD5_A)));
    world_publish(&world, NULL);
    assert_int_equal(world_plan(&world, SALES(TABLE("orders", MD5_B))), 0); /* cold to cold */
    world_publish(&world, NULL);
    expect_tree(&world, ORDERS " md5-" MD5_B "-5\n" NO_MEMORY);
    world_add(&world, md5_key(MD5_B, 5));
    world_add(&world, md5_key(MD5_C, 5));
    assert_int_equal(world_plan(&world, SALES(TABLE("orders", MD5_C))), 0); /* both here */
    world_publish(&world, NULL);
    expect_tree(&world, ORDERS " md5-" MD5_C "-5\n" NO_MEMORY);
    world_close(&world);
}

static void open_items_count_as_failed(void **state)
{
    struct world world;

    world_open(&world);
    world_plan(&world, SALES(TABLE("orders", MD5_A)));
    world_publish(&world, NULL);
    world_add(&world, md5_key(MD5_A, 5));
    assert_int_equal(world_plan(&world, SALES(TABLE("orders", MD5_B) "," TABLE("new", MD5_C))), 1);
    world_publish(&world, NULL);
    expect_tree(&world, "data/sales/new.parquet md5-" MD5_C "-5\n" ORDERS " md5-" MD5_A
                        "-5 KEPT\n" NO_MEMORY);
    world_close(&world);
}

#define BUNDLE(slug, md5) "{'slug':'" slug "','md5':'" md5 "'}"
#define BUNDLES(domains) STACK("", "", domains)
#define FIN "memory/fin/bundle.md"

static void expect_bundle(const struct world *world, const char *bytes, const char *flags)
{
    struct blob_key key = bytes_key(bytes);
    char text[BLOB_KEY_TEXT_SIZE], expected[256];

    blob_key_format(&key, text);
    snprintf(expected, sizeof(expected), "data/\n" FIN " %s%s\n", text, flags);
    expect_tree(world, expected);
    assert_int_equal(row_at(world, FIN)->size, strlen(bytes));
}

static void bundles_are_staged(void **state)
{
    struct world world;

    world_open(&world);
    world_plan(&world, BUNDLES(BUNDLE("fin", MD5_A)));
    expect_items(&world, FIN " ?\n");
    world_failed(&world, 0); /* never had: not listed */
    world_publish(&world, NULL);
    expect_tree(&world, "data/\nmemory/\n");
    assert_int_equal(tree_group_count(world.last), 0);

    assert_int_equal(world_plan(&world, BUNDLES(BUNDLE("fin", MD5_A))), 1);
    world_done(&world, 0, bytes_key("# one\n"));
    world_publish(&world, NULL);
    expect_bundle(&world, "# one\n", "");

    /* The same token: nothing to do while it is resident. */
    assert_int_equal(world_plan(&world, BUNDLES(BUNDLE("fin", MD5_A))), 0);
    assert_false(world_publish(&world, NULL));

    /* Another token: staged; failing, the old content stays, and its token with it. */
    assert_int_equal(world_plan(&world, BUNDLES(BUNDLE("fin", MD5_B))), 1);
    world_failed(&world, 0);
    assert_true(world_publish(&world, NULL));
    expect_bundle(&world, "# one\n", " KEPT");
    assert_int_equal(world_plan(&world, BUNDLES(BUNDLE("fin", MD5_B))), 1);
    world_done(&world, 0, bytes_key("# three\n"));
    world_publish(&world, NULL);
    expect_bundle(&world, "# three\n", "");

    /* Evicted: fetched again, and listed cold if that fails; nothing newer was promised. */
    world_evict_all(&world);
    assert_int_equal(world_plan(&world, BUNDLES(BUNDLE("fin", MD5_B))), 1);
    world_failed(&world, 0);
    assert_false(world_publish(&world, NULL));
    expect_bundle(&world, "# three\n", "");
    assert_int_equal(world_plan(&world, BUNDLES(BUNDLE("fin", MD5_B))), 1);
    world_done(&world, 0, bytes_key("# four!\n")); /* it may have changed meanwhile */
    world_publish(&world, NULL);
    expect_bundle(&world, "# four!\n", "");
    world_close(&world);
}

static void rows_without_md5_are_staged(void **state)
{
    struct world world;
    const char *first = SALES("{'name':'orders','size_bytes':3,'updated':'2026-01-01'}");
    const char *second = SALES("{'name':'orders','size_bytes':3,'updated':'2026-01-02'}");

    world_open(&world);
    assert_int_equal(world_plan(&world, first), 1);
    world_done(&world, 0, bytes_key("abc"));
    world_publish(&world, NULL);
    assert_int_equal(row_at(&world, ORDERS)->flags, TREE_ROW_UNVERIFIED);
    assert_int_equal(world_plan(&world, first), 0);
    assert_int_equal(world_plan(&world, second), 1);
    world_evict_all(&world);
    assert_int_equal(world_plan(&world, first), 1);
    world_close(&world);
}

static void an_md5_without_size_is_enough_to_know_it_again(void **state)
{
    struct world world;
    const char *text = SALES("{'name':'orders','md5':'" MD5_A "'}");

    world_open(&world);
    assert_int_equal(world_plan(&world, text), 1);
    world_done(&world, 0, md5_key(MD5_A, 77));
    world_publish(&world, NULL);
    expect_tree(&world, ORDERS " md5-" MD5_A "-77\n" NO_MEMORY);
    assert_int_equal(row_at(&world, ORDERS)->flags, 0);
    world_evict_all(&world);
    assert_int_equal(world_plan(&world, text), 0);
    assert_false(world_publish(&world, NULL));
    world_close(&world);
}

#define PART(path, md5) "{'path':'" path "','hash':'" md5 "','size_bytes':1}"
#define CLICKS(parts) SALES("{'name':'clicks','parts':[" parts "]}")

static void partitions_switch_all_or_none(void **state)
{
    struct world world;
    const char *before = "data/sales/clicks/a md5-" MD5_A "-1\ndata/sales/clicks/m=1/b md5-" MD5_A
                         "-1\n" NO_MEMORY;
    const char *kept = "data/sales/clicks/a md5-" MD5_A
                       "-1 KEPT\ndata/sales/clicks/m=1/b md5-" MD5_A "-1 KEPT\n" NO_MEMORY;
    const char *text = CLICKS(PART("a", MD5_B) "," PART("m=1/b", MD5_C) "," PART("new", MD5_B));

    world_open(&world);
    assert_int_equal(world_plan(&world, CLICKS(PART("a", MD5_A) "," PART("m=1/b", MD5_A))), 0);
    world_publish(&world, NULL);
    expect_tree(&world, before);
    world_add(&world, md5_key(MD5_A, 1));

    world_plan(&world, text);
    expect_items(&world, "data/sales/clicks/a md5-" MD5_B "-1\n"
                         "data/sales/clicks/m=1/b md5-" MD5_C "-1\n");
    world_done(&world, 0, md5_key(MD5_B, 1));
    world_failed(&world, 1);
    world_publish(&world, NULL);
    expect_tree(&world, kept);
    assert_int_equal(row_at(&world, "data/sales/clicks")->flags, TREE_ROW_PARTS | TREE_ROW_KEPT);

    world_plan(&world, text);
    expect_items(&world, "data/sales/clicks/m=1/b md5-" MD5_C "-1\n"); /* the other is here */
    world_done(&world, 0, md5_key(MD5_C, 1));
    world_publish(&world, NULL);
    expect_tree(&world, "data/sales/clicks/a md5-" MD5_B "-1\ndata/sales/clicks/m=1/b md5-" MD5_C
                        "-1\ndata/sales/clicks/new md5-" MD5_B "-1\n" NO_MEMORY);
    assert_int_equal(row_at(&world, "data/sales/clicks")->size, 3);
    assert_int_equal(tree_find(world.last, "data/sales/clicks/m=1")->row, TREE_NO_ROW);
    world_close(&world);
}

static void a_table_that_moves_brings_its_bytes(void **state)
{
    struct world world;

    world_open(&world);
    world_plan(&world, STACK("", PACKAGE("a", TABLE("t", MD5_A)) "," PACKAGE("b", ""), ""));
    world_publish(&world, NULL);
    world_add(&world, md5_key(MD5_A, 5));
    assert_int_equal(
        world_plan(&world, STACK("", PACKAGE("a", "") "," PACKAGE("b", TABLE("t", MD5_A)), "")), 0);
    world_publish(&world, NULL);
    expect_tree(&world, "data/a/\ndata/b/t.parquet md5-" MD5_A "-5\n" NO_MEMORY);
    world_close(&world);
}

/* --- what is held, kept, withdrawn --- */

#define FULL                                                                                       \
    STACK(TABLE("d", MD5_A), PACKAGE("sales", TABLE("orders", MD5_A)) "," PACKAGE("e", ""),        \
          BUNDLE("fin", MD5_A))
#define FULL_DIRECT "data/_direct/d.parquet md5-" MD5_A "-5\n"
#define FULL_PACKAGES "data/e/\n" ORDERS " md5-" MD5_A "-5\n"

static void world_fill(struct world *world)
{
    world_open(world);
    assert_int_equal(world_plan(world, FULL), 1);
    world_done(world, 0, bytes_key("x"));
    world_publish(world, NULL);
}

static void sections_that_can_not_be_believed_are_held(void **state)
{
    static const char *const unbelievable[] = {
        "{'direct_tables':null,'data_packages':{},'memory_domains':'x'}",
        "{'tables':{}}",
        "{'direct_tables':[],'data_packages':[],'memory_domains':[]}",
        "{'direct_tables':[null],'data_packages':[5],'memory_domains':[{}]}",
    };

    for (size_t i = 0; i < sizeof(unbelievable) / sizeof(*unbelievable); i++) {
        struct world world;

        world_fill(&world);
        assert_int_equal(world_plan(&world, unbelievable[i]), 0);
        for (enum tree_section section = 0; section <= TREE_MEMORY; section++) {
            assert_true(plan_section_held(world.plan, section));
            assert_int_equal(plan_section_suddenly_empty(world.plan, section), i == 2);
        }
        assert_false(plan_section_held(world.plan, TREE_KNOWLEDGE));
        assert_false(world_publish(&world, NULL));
        world_close(&world);
    }
}

static void one_section_is_held_alone(void **state)
{
    struct world world;
    struct blob_key key = bytes_key("x");
    char text[BLOB_KEY_TEXT_SIZE], expected[512];

    world_fill(&world);
    world_plan(&world,
               "{'direct_tables':[" TABLE("new", MD5_B) "],'memory_domains':[],"
                                                        "'data_packages':[" PACKAGE("sales",
                                                                                    "") "]}");
    assert_false(plan_section_held(world.plan, TREE_DIRECT));
    assert_false(plan_section_held(world.plan, TREE_PACKAGES));
    assert_true(plan_section_held(world.plan, TREE_MEMORY));
    world_publish(&world, NULL);
    blob_key_format(&key, text);
    snprintf(expected, sizeof(expected),
             "data/_direct/new.parquet md5-" MD5_B "-5\ndata/sales/\n" FIN " %s\n", text);
    expect_tree(&world, expected);
    world_close(&world);
}

static void confirmed_emptiness_is_believed(void **state)
{
    struct world world;

    world_fill(&world);
    world.empty_confirmed[TREE_PACKAGES] = true;
    world.empty_confirmed[TREE_MEMORY] = true;
    world_plan(&world,
               "{'direct_tables':[" TABLE("d", MD5_A) "],'memory_domains':[],'data_packages':[]}");
    assert_true(plan_section_suddenly_empty(world.plan, TREE_PACKAGES));
    assert_false(plan_section_held(world.plan, TREE_PACKAGES));
    world_publish(&world, NULL);
    expect_tree(&world, FULL_DIRECT "memory/\n");

    /* Empty while nothing was listed is no surprise. */
    world_plan(&world, STACK("", "", ""));
    assert_true(plan_section_suddenly_empty(world.plan, TREE_DIRECT));
    assert_false(plan_section_suddenly_empty(world.plan, TREE_PACKAGES));
    assert_false(plan_section_held(world.plan, TREE_PACKAGES));
    world_close(&world);
}

#define KNOWLEDGE(rows) "{'direct_tables':[],'data_packages':[],'memory_domains':[]" rows "}"
#define HANDBOOK "{'kind':'chunks','corpus_id':'handbook','md5':'" MD5_A "','size_bytes':5}"
#define WEEKLY "{'kind':'digest','slug':'weekly','id':'kd','md5':'" MD5_B "'}"

static void knowledge_is_held_like_any_section_once_there_is_some(void **state)
{
    static const char *const unbelievable[] = {
        KNOWLEDGE(""),
        KNOWLEDGE(",'knowledge_artifacts':null"),
        KNOWLEDGE(",'knowledge_artifacts':{}"),
        KNOWLEDGE(",'knowledge_artifacts':'x'"),
        KNOWLEDGE(",'knowledge_artifacts':[]"),
        KNOWLEDGE(",'knowledge_artifacts':[null,{}]"),
        KNOWLEDGE(",'knowledge_artifacts':[{'kind':'digest','name':'weekly'}]"),
    };

    for (size_t i = 0; i < sizeof(unbelievable) / sizeof(*unbelievable); i++) {
        struct world world;
        bool asks = i == 2 || i == 3 || i >= 5;

        world_open(&world);
        world_plan(&world, unbelievable[i]);
        assert_int_equal(plan_section_held(world.plan, TREE_KNOWLEDGE), asks);
        assert_int_equal(world_plan(&world,
                                    KNOWLEDGE(",'knowledge_artifacts':[" HANDBOOK "," WEEKLY "]")),
                         1);
        world_done(&world, 0, bytes_key("page"));
        assert_true(world_publish(&world, NULL));

        assert_int_equal(world_plan(&world, unbelievable[i]), 0);
        assert_true(plan_section_held(world.plan, TREE_KNOWLEDGE));
        assert_int_equal(plan_section_suddenly_empty(world.plan, TREE_KNOWLEDGE), i == 4);
        assert_false(world_publish(&world, NULL));
        world_close(&world);
    }
}

static void knowledge_of_both_kinds_changes_and_goes_by_itself(void **state)
{
    struct world world;
    char page[BLOB_KEY_TEXT_SIZE], expected[512];
    struct blob_key key = bytes_key("page");

    world_open(&world);
    world_plan(&world, KNOWLEDGE(",'knowledge_artifacts':[" WEEKLY "," HANDBOOK "]"));
    world_done(&world, 0, key);
    world_publish(&world, NULL);
    blob_key_format(&key, page);
    snprintf(expected, sizeof(expected),
             "data/\nknowledge/handbook.duckdb md5-" MD5_A "-5\nknowledge/weekly.md %s\nmemory/\n",
             page);
    expect_tree(&world, expected);

    /* One name for both kinds; a row that is bad now keeps what it had; the other one goes. */
    assert_int_equal(
        world_plan(&world,
                   KNOWLEDGE(",'knowledge_artifacts':[{'kind':'digest','slug':'weekly','md5':'x'},"
                             "{'kind':'digest','slug':'handbook','id':'kh','md5':'" MD5_C "'}]")),
        1);
    world_done(&world, 0, bytes_key("other"));
    world_publish(&world, NULL);
    key = bytes_key("other");
    snprintf(expected, sizeof(expected), "data/\nknowledge/handbook.md ");
    blob_key_format(&key, expected + strlen(expected));
    snprintf(expected + strlen(expected), sizeof(expected) - strlen(expected),
             "\nknowledge/weekly.md %s KEPT\nmemory/\n", page);
    expect_tree(&world, expected);

    /* A token that is the same costs nothing; one that is not is fetched. */
    assert_int_equal(world_plan(&world, KNOWLEDGE(",'knowledge_artifacts':[" WEEKLY "]")), 0);
    assert_int_equal(
        world_plan(&world, KNOWLEDGE(",'knowledge_artifacts':[{'kind':'digest','slug':'weekly',"
                                     "'id':'kd','title':'New','md5':'" MD5_B "'}]")),
        1);
    world_close(&world);
}

/* From the first manifest to the second: what the tree is then. */
static void expect_after(const char *first, const char *second, const char *expected)
{
    struct world world;
    size_t count;

    world_open(&world);
    count = world_plan(&world, first);
    for (size_t i = 0; i < count; i++)
        world_done(&world, i, bytes_key("x"));
    world_publish(&world, NULL);
    world_plan(&world, second);
    world_publish(&world, NULL);
    expect_tree(&world, expected);
    world_close(&world);
}

#define OTHER TABLE("other", MD5_C)
#define OTHER_LINE "data/sales/other.parquet md5-" MD5_C "-5\n"
#define BROKEN(name) "{'name':'" name "','md5':'bad'}"

static void dropped_rows_keep_what_they_had(void **state)
{
    const char *first = SALES(TABLE("orders", MD5_A) "," OTHER);
    const char *kept = ORDERS " md5-" MD5_A "-5 KEPT\n" OTHER_LINE NO_MEMORY;

    expect_after(first, SALES(BROKEN("orders") "," OTHER),
                 ORDERS " md5-" MD5_A "-5 KEPT\n" OTHER_LINE NO_MEMORY);
    expect_after(first, SALES("{'name':'orders','parts':5}," OTHER), kept);
    expect_after(first,
                 SALES("{'name':'orders','md5':'" MD5_B "','size_bytes':5,'parquet_url':"
                       "'https://evil.example.net/'}," OTHER),
                 kept);
    expect_after(SALES("{'name':'orders','parts':[" PART("m=1/a", MD5_A) "]}"),
                 SALES(BROKEN("orders")),
                 "data/sales/orders/m=1/a md5-" MD5_A "-1 KEPT\n" NO_MEMORY);
    expect_after(STACK("{'name':'o\\u200bo','md5':'" MD5_A "','size_bytes':5}", "", ""),
                 STACK("{'name':'o\\u200bo','md5':'bad'}", "", ""),
                 "data/_direct/o_o.parquet md5-" MD5_A "-5 KEPT\n" NO_MEMORY);
    expect_after(SALES(TABLE("orders", MD5_A)),
                 STACK("", PACKAGE("sales", "") "," PACKAGE("b", BROKEN("orders")), ""),
                 "data/b/\ndata/sales/\n" NO_MEMORY); /* another package's row is no excuse */
}

static void dropped_bundles_keep_what_they_had(void **state)
{
    struct world world;

    world_open(&world);
    world_plan(&world, BUNDLES(BUNDLE("fin", MD5_A)));
    world_done(&world, 0, bytes_key("x"));
    world_publish(&world, NULL);
    assert_int_equal(world_plan(&world, BUNDLES(BUNDLE("fin", "bad"))), 0);
    world_publish(&world, NULL);
    expect_bundle(&world, "x", " KEPT");
    world_plan(&world, BUNDLES("{'slug':'fin','bundle_url':7}"));
    assert_false(world_publish(&world, NULL));
    world_close(&world);
}

static void packages_that_can_not_be_read_keep_their_rows(void **state)
{
    const char *first =
        STACK("", PACKAGE("sales", TABLE("orders", MD5_A) "," OTHER) "," PACKAGE("b", ""), "");
    const char *kept = "data/b/\n" ORDERS " md5-" MD5_A
                       "-5 KEPT\ndata/sales/other.parquet md5-" MD5_C "-5 KEPT\n" NO_MEMORY;

    expect_after(first, STACK("", "{'slug':'sales'}," PACKAGE("b", ""), ""), kept);
    expect_after(first, STACK("", "{'slug':'sales','tables':null}," PACKAGE("b", ""), ""), kept);
    expect_after(first, STACK("", PACKAGE("sales", "null,7") "," PACKAGE("b", ""), ""), kept);
    expect_after(first,
                 STACK("",
                       "{'slug':'sales','tables':[" OTHER
                       "]},{'slug':'sales','tables':0}," PACKAGE("b", ""),
                       ""),
                 "data/b/\n" ORDERS " md5-" MD5_A "-5 KEPT\n" OTHER_LINE NO_MEMORY);
    expect_after(STACK("", PACKAGE("b", ""), ""), STACK("", "{'slug':'b'},{'slug':'c'}", ""),
                 "data/b/\n" NO_MEMORY); /* a new one has nothing to keep */
}

static void kept_rows_yield(void **state)
{
    const char *first = SALES(TABLE("a_b", MD5_A));

    /* to another row of the same label, also if that is withheld */
    expect_after(first, SALES("{'name':'a_b','md5':'bad'}," TABLE("a_b", MD5_B)),
                 "data/sales/a_b.parquet md5-" MD5_B "-5\n" NO_MEMORY);
    expect_after(first, SALES("{'name':'a_b','md5':'bad'},{'name':'a_b','query_mode':'remote'}"),
                 "data/sales/\n" NO_MEMORY);
    /* to a row of another label that has the path now */
    expect_after(first, SALES("{'name':'a_b','md5':'bad'}," TABLE("a b", MD5_B)),
                 "data/sales/a_b.parquet md5-" MD5_B "-5\n" NO_MEMORY);
    /* a loser of the name keeps nothing either */
    expect_after(first, SALES(TABLE("a_b", MD5_A) "," TABLE("a b", MD5_B)),
                 "data/sales/a_b.parquet md5-" MD5_B "-5\n" NO_MEMORY);
    /* to a package that has the folder now */
    expect_after(STACK("", PACKAGE("p_q", TABLE("t", MD5_A)), ""),
                 STACK("", PACKAGE("p_q", TABLE("t", MD5_A)) "," PACKAGE("p q", TABLE("u", MD5_B)),
                       ""),
                 "data/p_q/u.parquet md5-" MD5_B "-5\n" NO_MEMORY);
}

static void withdrawn_and_withheld_names_go_at_once(void **state)
{
    const char *first = SALES(TABLE("orders", MD5_A) "," OTHER);

    expect_after(first, SALES(OTHER), OTHER_LINE NO_MEMORY);
    expect_after(first, STACK("", PACKAGE("x", ""), ""), "data/x/\n" NO_MEMORY);
    expect_after(first, SALES("{'name':'orders','server_only':true}," OTHER), OTHER_LINE NO_MEMORY);
    expect_after(first, SALES("{'name':'orders','hash':null,'size_bytes':null}," OTHER),
                 OTHER_LINE NO_MEMORY);
    expect_after(STACK(TABLE("d", MD5_A), "", ""),
                 STACK("{'name':'d','query_mode':'remote'}", "", ""), "data/\n" NO_MEMORY);
}

static void withheld_rows_are_in_the_tree_without_a_path(void **state)
{
    struct world world;

    world_open(&world);
    world_plan(&world, SALES("{'name':'r','query_mode':'remote','rows':9}"));
    world_publish(&world, NULL);
    assert_int_equal(tree_row_count(world.last), 1);
    assert_null(tree_row(world.last, 0)->path);
    assert_string_equal(tree_row(world.last, 0)->withheld, "query mode remote");
    assert_string_equal(tree_group(world.last, tree_row(world.last, 0)->group)->slug, "sales");
    world_close(&world);
}

/* A name may pass from one table to another. The content of the first is no fallback for the
 * second, whatever fails: it was withdrawn. */
static void another_tables_content_is_no_fallback(void **state)
{
    struct world world;

    world_open(&world);
    world_plan(&world, SALES(TABLE("a_b", MD5_A)));
    world_publish(&world, NULL);
    world_add(&world, md5_key(MD5_A, 5));
    assert_int_equal(world_plan(&world, SALES(TABLE("a b", MD5_B))), 0);
    world_publish(&world, NULL);
    expect_tree(&world, "data/sales/a_b.parquet md5-" MD5_B "-5\n" NO_MEMORY);

    world_plan(&world, SALES("{'name':'a/b','size_bytes':1}"));
    expect_items(&world, "data/sales/a_b.parquet ?\n");
    world_failed(&world, 0);
    world_publish(&world, NULL);
    expect_tree(&world, "data/sales/\n" NO_MEMORY);
    world_close(&world);
}

static void new_bundles_do_not_wait_for_others(void **state)
{
    struct world world;

    world_open(&world);
    world_plan(&world, STACK(TABLE("d", MD5_A), "", BUNDLE("fin", MD5_A) "," BUNDLE("hr", MD5_B)));
    expect_items(&world, FIN " ?\nmemory/hr/bundle.md ?\n");
    world_failed(&world, 1);
    world_done(&world, 0, bytes_key("x"));
    world_publish(&world, NULL);
    assert_non_null(tree_find(world.last, FIN));
    assert_null(tree_find(world.last, "memory/hr"));
    world_close(&world);
}

/* --- no news --- */

static void no_news_is_the_same_tree(void **state)
{
    struct world world;

    world_open(&world);
    world_plan(&world,
               STACK(TABLE("x", MD5_A) "," TABLE("y", MD5_B),
                     PACKAGE("a", TABLE("t", MD5_A) "," TABLE("u", MD5_B)) "," PACKAGE("b", ""),
                     ""));
    world_publish(&world, NULL);
    world.now_ns += 1000000000;
    assert_int_equal(world_plan(&world, STACK(TABLE("y", MD5_B) "," TABLE("x", MD5_A),
                                              PACKAGE("b", "") "," PACKAGE(
                                                  "a", TABLE("u", MD5_B) "," TABLE("t", MD5_A)),
                                              "")),
                     0);
    assert_int_equal(world.resident_asked, 0);
    assert_false(world_publish(&world, NULL));
    assert_int_equal(tree_generation(world.last), 1);
    world_close(&world);
}

static int add_readme(void *arg, struct tree_builder *builder)
{
    const char *text = arg;

    return text ? tree_builder_add_text(builder, "README.md", text, strlen(text)) : -EIO;
}

static void decoration_belongs_to_the_tree(void **state)
{
    struct world world;
    struct tree *tree = NULL, *again = NULL;
    char readme[] = "# hello\n";

    world_open(&world);
    world_plan(&world, STACK("", "", ""));
    assert_int_equal(plan_tree(world.plan, 1, add_readme, NULL, &tree), -EIO);
    assert_null(tree);
    assert_int_equal(plan_tree(world.plan, 1, add_readme, readme, &tree), 0);
    assert_int_equal(tree_find(tree, "README.md")->type, TREE_TEXT);
    world.last = tree;
    world_plan(&world, STACK("", "", ""));
    assert_int_equal(plan_tree(world.plan, 2, add_readme, readme, &again), 0);
    assert_ptr_equal(again, tree);
    tree_unref(again);
    world_close(&world);
}

/* --- times --- */

#define DATED(name, md5, updated)                                                                  \
    "{'name':'" name "','md5':'" md5 "','size_bytes':5,'updated':'" updated "'}"
#define JAN_1 (INT64_C(1767225600) * 1000000000)
#define DAY (INT64_C(86400) * 1000000000)

static void content_has_the_time_the_manifest_says(void **state)
{
    struct world world;

    world_open(&world);
    world_plan(&world, SALES(DATED("orders", MD5_A, "2026-01-01") "," TABLE(
                           "undated", MD5_B) "," DATED("future", MD5_C, "2200-01-01")));
    world_publish(&world, NULL);
    assert_true(time_at(&world, ORDERS) == JAN_1);
    assert_true(time_at(&world, "data/sales/undated.parquet") == world.first_seen_ns);
    assert_true(time_at(&world, "data/sales/future.parquet") == world.first_seen_ns);
    assert_int_equal(world.first_seen_asked, 2);
    world_close(&world);
}

static void no_content_is_from_the_future(void **state)
{
    struct world world;

    world_open(&world);
    world.first_seen_ns = world.now_ns + 5;
    world_plan(&world, SALES(TABLE("orders", MD5_A)));
    world_publish(&world, NULL);
    assert_true(time_at(&world, ORDERS) == world.now_ns);
    world_close(&world);
}

static void content_keeps_its_time(void **state)
{
    struct world world;

    world_open(&world);
    world_plan(&world, SALES(DATED("orders", MD5_A, "2026-01-02")));
    world_publish(&world, NULL);
    world_plan(&world,
               SALES(DATED("orders", MD5_A, "2026-01-09") "," DATED("copy", MD5_A, "2026-01-01")));
    world_publish(&world, NULL);
    assert_true(time_at(&world, ORDERS) == JAN_1 + DAY);
    assert_true(time_at(&world, "data/sales/copy.parquet") == JAN_1 + DAY);
    world_close(&world);
}

static void content_under_two_names_has_the_earlier_time(void **state)
{
    struct world world;

    world_open(&world);
    world_plan(&world, SALES(DATED("a", MD5_A,
                                   "2026-01-03") "," DATED("b", MD5_A,
                                                           "2026-01-01") "," TABLE("c", MD5_A)));
    world_publish(&world, NULL);
    assert_true(time_at(&world, "data/sales/a.parquet") == JAN_1);
    assert_int_equal(world.first_seen_asked, 0);
    world_close(&world);
}

/* DuckDB tells versions by (ino, size, mtime), and an ino may come again. */
static void new_content_never_has_the_time_of_what_it_replaces(void **state)
{
    struct world world;

    world_open(&world);
    world_plan(&world, SALES(DATED("a", MD5_A, "2026-01-01") "," DATED("b", MD5_B, "2026-01-01")));
    world_publish(&world, NULL);
    world_plan(&world, SALES(DATED("a", MD5_C, "2026-01-01") "," DATED("b", MD5_B, "2026-01-01")));
    world_publish(&world, NULL);
    assert_true(time_at(&world, "data/sales/a.parquet") == JAN_1 + 1000);
    assert_true(time_at(&world, "data/sales/b.parquet") == JAN_1);

    /* One blob replaces two, whose times follow on each other: it steps over both. */
    world_plan(&world, SALES(DATED("a", "dddddddddddddddddddddddddddddddd",
                                   "2026-01-01") "," DATED("b", "dddddddddddddddddddddddddddddddd",
                                                           "2026-01-01")));
    world_publish(&world, NULL);
    assert_true(time_at(&world, "data/sales/a.parquet") == JAN_1 + 2000);

    /* Also when it is another table that takes the name. */
    world_plan(&world, SALES(DATED("(a)", MD5_A, "2026-01-01T00:00:00.000002")));
    world_publish(&world, NULL);
    assert_true(time_at(&world, "data/sales/a.parquet") == JAN_1 + 3000);
    world_close(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(new_names_are_listed_cold_at_once),
        cmocka_unit_test(data_and_memory_always_exist),
        cmocka_unit_test(resident_content_is_replaced_by_resident_content_only),
        cmocka_unit_test(resident_or_cold_content_needs_no_staging),
        cmocka_unit_test(open_items_count_as_failed),
        cmocka_unit_test(bundles_are_staged),
        cmocka_unit_test(rows_without_md5_are_staged),
        cmocka_unit_test(an_md5_without_size_is_enough_to_know_it_again),
        cmocka_unit_test(partitions_switch_all_or_none),
        cmocka_unit_test(a_table_that_moves_brings_its_bytes),
        cmocka_unit_test(sections_that_can_not_be_believed_are_held),
        cmocka_unit_test(knowledge_is_held_like_any_section_once_there_is_some),
        cmocka_unit_test(knowledge_of_both_kinds_changes_and_goes_by_itself),
        cmocka_unit_test(one_section_is_held_alone),
        cmocka_unit_test(confirmed_emptiness_is_believed),
        cmocka_unit_test(dropped_rows_keep_what_they_had),
        cmocka_unit_test(dropped_bundles_keep_what_they_had),
        cmocka_unit_test(packages_that_can_not_be_read_keep_their_rows),
        cmocka_unit_test(kept_rows_yield),
        cmocka_unit_test(withdrawn_and_withheld_names_go_at_once),
        cmocka_unit_test(withheld_rows_are_in_the_tree_without_a_path),
        cmocka_unit_test(another_tables_content_is_no_fallback),
        cmocka_unit_test(new_bundles_do_not_wait_for_others),
        cmocka_unit_test(no_news_is_the_same_tree),
        cmocka_unit_test(decoration_belongs_to_the_tree),
        cmocka_unit_test(content_has_the_time_the_manifest_says),
        cmocka_unit_test(no_content_is_from_the_future),
        cmocka_unit_test(content_keeps_its_time),
        cmocka_unit_test(content_under_two_names_has_the_earlier_time),
        cmocka_unit_test(new_content_never_has_the_time_of_what_it_replaces),
    };

    return cmocka_run_group_tests_name("plan", tests, NULL, NULL);
}
