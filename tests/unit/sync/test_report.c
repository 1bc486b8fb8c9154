/* SPDX-License-Identifier: MIT */
/* The numbers of a refresh, and what it says of the rows that are not there. */
#include "sync/report.h"
#include "tests/unit/sync/stack_fixture.h"

#define STACK(direct, packages, domains)                                                           \
    "{'direct_tables':[" direct "],'data_packages':[" packages "],'memory_domains':[" domains "]}"
#define PACKAGE(slug, tables) "{'slug':'" slug "','tables':[" tables "]}"
#define TABLE(name, md5) "{'name':'" name "','md5':'" md5 "','size_bytes':5}"
#define BUNDLE(slug, md5) "{'slug':'" slug "','md5':'" md5 "'}"

/* Publishes what is planned and reports it. */
static struct report *finish(struct world *world)
{
    struct report *report = report_new();
    struct tree *before = NULL;

    world_publish(world, &before);
    assert_non_null(report);
    assert_int_equal(report_fill(report, before, world->last, world->manifest, world->plan), 0);
    assert_int_equal(report->changed, before != world->last);
    assert_int_equal(report->generation, tree_generation(world->last));
    tree_unref(before);
    return report;
}

/* expected: "added updated removed unchanged skipped bytes[ held]" */
static void expect_section(const struct report *report, enum tree_section section,
                           const char *expected)
{
    const struct report_section *found = &report->sections[section];
    char text[200];

    snprintf(text, sizeof(text), "+%llu *%llu -%llu =%llu ~%llu %lluB%s",
             (unsigned long long)found->added, (unsigned long long)found->updated,
             (unsigned long long)found->removed, (unsigned long long)found->unchanged,
             (unsigned long long)found->skipped, (unsigned long long)found->bytes,
             found->held ? " held" : "");
    assert_string_equal(text, expected);
}

static void expect_line(const struct report_line *line, enum tree_section section,
                        const char *group, const char *name, int error, const char *reason)
{
    assert_int_equal(line->section, section);
    assert_string_equal(line->group, group);
    assert_string_equal(line->name, name);
    assert_int_equal(line->error, error);
    assert_string_equal(line->reason, reason);
}

static void first_refresh(void **state)
{
    struct world world;
    struct report *report;

    world_open(&world);
    world_plan(&world, STACK(TABLE("d", MD5_A),
                             PACKAGE("s", TABLE("a", MD5_A) "," TABLE(
                                              "b", MD5_B) ",{'name':'r','query_mode':'remote'}"),
                             BUNDLE("fin", MD5_A) "," BUNDLE("hr", MD5_B)));
    world_done(&world, 0, bytes_key("# fin\n"));
    world_failed(&world, 1);
    report = finish(&world);
    expect_section(report, TREE_DIRECT, "+1 *0 -0 =0 ~0 0B");
    expect_section(report, TREE_PACKAGES, "+2 *0 -0 =0 ~1 0B");
    expect_section(report, TREE_MEMORY, "+1 *0 -0 =0 ~0 6B");
    assert_true(report->changed);
    assert_int_equal(report->skipped_count, 1);
    expect_line(&report->skipped[0], TREE_PACKAGES, "s", "r", 0, "query mode remote");
    assert_int_equal(report->error_count, 1);
    expect_line(&report->errors[0], TREE_MEMORY, "", "hr", -ETIMEDOUT, "no answer");
    report_free(report);
    world_close(&world);
}

static void later_refreshes(void **state)
{
    struct world world;
    struct report *report;

    world_open(&world);
    world_plan(
        &world,
        STACK(
            "",
            PACKAGE("s",
                    TABLE("same", MD5_A) "," TABLE("new", MD5_A) "," TABLE("old", MD5_A) "," TABLE(
                        "kept", MD5_A) "," TABLE("bad", MD5_A) "," TABLE("gone",
                                                                         MD5_A) "," TABLE("hidden",
                                                                                          MD5_A)),
            ""));
    report_free(finish(&world));
    world_add(&world, md5_key(MD5_A, 5));

    world_plan(
        &world,
        STACK(
            "",
            PACKAGE(
                "s",
                TABLE("same", MD5_A) "," TABLE("new", MD5_B) "," TABLE("old", MD5_B) "," TABLE(
                    "kept",
                    MD5_C) ",{'name':'bad','md5':'bad'},"
                           "{'name':'hidden','server_only':true},{'name':'never','size_bytes':0}," TABLE(
                               "brandnew", MD5_C) ",{'name':'zero','md5':7}"),
            ""));
    /* kept, new, old: in order of name */
    world_failed(&world, 0);
    world_done(&world, 1, md5_key(MD5_B, 5));
    world_done(&world, 2, md5_key(MD5_B, 5));
    report = finish(&world);
    expect_section(report, TREE_DIRECT, "+0 *0 -0 =0 ~0 0B");
    expect_section(report, TREE_PACKAGES, "+1 *2 -2 =3 ~2 5B");
    assert_int_equal(report->skipped_count, 2);
    expect_line(&report->skipped[0], TREE_PACKAGES, "s", "hidden", 0,
                "kept on the server (server_only)");
    expect_line(&report->skipped[1], TREE_PACKAGES, "s", "never", 0, "never synced on the server");
    assert_int_equal(report->error_count, 3);
    expect_line(&report->errors[0], TREE_PACKAGES, "s", "bad", -EPROTO, "md5 is not 32 hex digits");
    expect_line(&report->errors[1], TREE_PACKAGES, "s", "kept", -ETIMEDOUT, "no answer");
    expect_line(&report->errors[2], TREE_PACKAGES, "s", "zero", -EPROTO, "md5 is not a string");
    report_free(report);

    /* The same again: kept could still not be had; new facts of a row are no news of its content. */
    world_plan(&world,
               STACK("",
                     PACKAGE("s", "{'name':'same','md5':'" MD5_A
                                  "','size_bytes':5,'rows':9}," TABLE("new", MD5_B) "," TABLE(
                                      "old", MD5_B) "," TABLE("brandnew", MD5_C)),
                     ""));
    report = finish(&world);
    expect_section(report, TREE_PACKAGES, "+0 *0 -2 =4 ~0 0B");
    assert_true(report->changed);
    report_free(report);
    world_close(&world);
}

static void no_news(void **state)
{
    struct world world;
    struct report *report;
    const char *text = STACK(TABLE("d", MD5_A), PACKAGE("s", TABLE("t", MD5_A)), "");

    world_open(&world);
    world_plan(&world, text);
    report_free(finish(&world));
    world_plan(&world, text);
    report = finish(&world);
    assert_false(report->changed);
    expect_section(report, TREE_DIRECT, "+0 *0 -0 =1 ~0 0B");
    expect_section(report, TREE_PACKAGES, "+0 *0 -0 =1 ~0 0B");
    report_free(report);
    world_close(&world);
}

static void held_sections(void **state)
{
    struct world world;
    struct report *report;

    world_open(&world);
    world_plan(&world,
               STACK(TABLE("d", MD5_A), PACKAGE("s", TABLE("t", MD5_A) "," TABLE("u", MD5_A)), ""));
    report_free(finish(&world));
    world_plan(&world, "{'data_packages':[],'memory_domains':[]}");
    report = finish(&world);
    expect_section(report, TREE_DIRECT, "+0 *0 -0 =1 ~0 0B held");
    expect_section(report, TREE_PACKAGES, "+0 *0 -0 =2 ~0 0B held");
    expect_section(report, TREE_MEMORY, "+0 *0 -0 =0 ~0 0B");
    report_free(report);
    world_close(&world);
}

static void a_table_that_moves(void **state)
{
    struct world world;
    struct report *report;

    world_open(&world);
    world_plan(&world, STACK(TABLE("t", MD5_A), PACKAGE("a", ""), ""));
    report_free(finish(&world));
    world_plan(&world, STACK(TABLE("x", MD5_B), PACKAGE("a", TABLE("t", MD5_A)), ""));
    report = finish(&world);
    expect_section(report, TREE_DIRECT, "+1 *0 -1 =0 ~0 0B");
    expect_section(report, TREE_PACKAGES, "+1 *0 -0 =0 ~0 0B");
    report_free(report);
    world_close(&world);
}

#define CLICKS(a, b)                                                                               \
    STACK("{'name':'c','parts':[{'path':'k=1/a','md5':'" a "','size_bytes':1},"                    \
          "{'path':'k=2/b','md5':'" b "','size_bytes':1}]}",                                       \
          "", "")

static void partitions_are_one_row(void **state)
{
    struct world world;
    struct report *report;

    world_open(&world);
    world_plan(&world, CLICKS(MD5_A, MD5_A));
    report_free(finish(&world));
    world_plan(&world, CLICKS(MD5_A, MD5_B));
    report = finish(&world);
    expect_section(report, TREE_DIRECT, "+0 *1 -0 =0 ~0 0B");
    report_free(report);

    world_add(&world, md5_key(MD5_A, 1));
    world_add(&world, md5_key(MD5_B, 1));
    assert_int_equal(world_plan(&world, CLICKS(MD5_C, "dddddddddddddddddddddddddddddddd")), 2);
    world_failed(&world, 0);
    world_failed(&world, 1);
    report = finish(&world);
    expect_section(report, TREE_DIRECT, "+0 *0 -0 =1 ~0 0B");
    assert_int_equal(report->error_count, 1); /* one row, one line */
    report_free(report);

    world_plan(&world,
               STACK("{'name':'c','parts':[{'path':'k=1/a','md5':'" MD5_A "','size_bytes':1}]}", "",
                     ""));
    report = finish(&world);
    expect_section(report, TREE_DIRECT, "+0 *1 -0 =0 ~0 0B"); /* a part less */
    report_free(report);

    world_plan(&world, CLICKS(MD5_A, MD5_B));
    report = finish(&world);
    expect_section(report, TREE_DIRECT, "+0 *1 -0 =0 ~0 0B"); /* and one more */
    report_free(report);
    world_close(&world);
}

static void a_dry_run_says_what_would_be(void **state)
{
    struct world world;
    struct report *report;

    world_open(&world);
    world_plan(&world, STACK(TABLE("t", MD5_A) "," TABLE("u", MD5_A), "", ""));
    report_free(finish(&world));
    world_add(&world, md5_key(MD5_A, 5));
    world_plan(&world, STACK(TABLE("t", MD5_B) "," TABLE("u", MD5_A), "", BUNDLE("fin", MD5_A)));
    report = finish(&world); /* both items left open */
    expect_section(report, TREE_DIRECT, "+0 *1 -0 =1 ~0 0B");
    expect_section(report, TREE_MEMORY, "+1 *0 -0 =0 ~0 0B");
    assert_int_equal(report->error_count, 0);
    report_free(report);
    world_close(&world);
}

static void as_json(void **state)
{
    struct world world;
    struct report *report;
    struct json *json = NULL;
    char *text = NULL;
    size_t size;

    world_open(&world);
    world_plan(&world,
               STACK(TABLE("d", MD5_A),
                     PACKAGE("s", "{'name':'b','md5':'x'},{'name':'r','query_mode':'remote'}"),
                     "{'slug':'f','md5':'x'}],'knowledge_artifacts':["
                     "{'kind':'chunks','corpus_id':'c','md5':'" MD5_A "','size_bytes':5},"
                     "{'kind':'digest','slug':'w','md5':'x'},{'kind':'graph','id':'g'}"));
    report = finish(&world);
    report->requests = 3;
    report->fetched = 2;
    report->signed_fetched = 1;
    report->seconds = 1.5;
    assert_int_equal(report_add_error(report, TREE_DIRECT, "", "z", -EIO, "broke"), 0);
    assert_int_equal(report_add_violation(report, "one too many"), 0);
    assert_int_equal(report_json(report, &json), 0);
    assert_int_equal(json_print(json, false, &text, &size), 0);
    for (char *c = text; *c; c++)
        *c = *c == '"' ? '\'' : *c;
    assert_string_equal(
        text,
        "{'schema':1,'direct_tables':{'added':1,'updated':0,'removed':0,'unchanged':0,'skipped':0,'bytes':0,"
        "'held':false,'errors':[{'name':'z','error':'broke'}],'skipped_rows':[]},"
        "'data_packages':{'added':0,'updated':0,'removed':0,'unchanged':0,'skipped':1,'bytes':0,"
        "'held':false,'errors':[{'package':'s','name':'b','error':'md5 is not 32 hex digits'}],"
        "'skipped_rows':[{'package':'s','name':'r','reason':'query mode remote'}]},"
        "'memory_domains':{'added':0,'updated':0,'removed':0,'unchanged':0,'skipped':0,'bytes':0,"
        "'held':false,'errors':[{'slug':'f','error':'md5 is not 32 hex digits'}],'skipped_rows':[]},"
        "'knowledge_artifacts':{'added':1,'updated':0,'removed':0,'unchanged':0,'skipped':1,"
        "'bytes':0,'held':false,"
        "'errors':[{'kind':'digest','name':'w','error':'md5 is not 32 hex digits'}],"
        "'skipped_rows':[{'kind':'graph','name':'g','reason':'unknown kind \\'graph\\''}]},"
        "'invariant_violations':['one too many'],'generation':1,'changed':true,'dry_run':false,"
        "'requests':3,'fetched':2,'fetched_by_signed_url':1,'duration_ms':1500,'error':null}");
    free(text);
    json_free(json);
    report_free(report);
    world_close(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(first_refresh),
        cmocka_unit_test(later_refreshes),
        cmocka_unit_test(no_news),
        cmocka_unit_test(held_sections),
        cmocka_unit_test(a_table_that_moves),
        cmocka_unit_test(partitions_are_one_row),
        cmocka_unit_test(a_dry_run_says_what_would_be),
        cmocka_unit_test(as_json),
    };

    return cmocka_run_group_tests_name("report", tests, NULL, NULL);
}
