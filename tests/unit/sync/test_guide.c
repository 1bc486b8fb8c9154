/* SPDX-License-Identifier: MIT */
/* What the folder says of itself, as a function of groups and rows. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cache/scoped.h"
#include "sync/guide.h"

struct world {
    struct tree_builder *builder;
    struct tree *tree;
};

static uint32_t add_group(struct world *world, enum tree_section section, const char *folder,
                          const char *name, const char *description)
{
    const struct tree_group group = {.section = section,
                                     .slug = folder,
                                     .folder = folder,
                                     .name = name,
                                     .description = description};
    uint32_t index;

    assert_int_equal(tree_builder_add_group(world->builder, &group, &index), 0);
    return index;
}

static struct tree_row plain_row(uint32_t group, const char *name, const char *path)
{
    return (struct tree_row){.group = group,
                             .name = name,
                             .path = path,
                             .updated = "2026-08-22",
                             .rows = 12,
                             .size = 345};
}

static void add_row(struct world *world, struct tree_row row)
{
    uint32_t index;

    assert_int_equal(tree_builder_add_row(world->builder, &row, &index), 0);
}

static void begin(struct world *world)
{
    *world = (struct world){0};
    assert_int_equal(tree_builder_new(1, &world->builder), 0);
}

static void end(struct world *world, const char *root)
{
    assert_int_equal(guide_add(world->builder, root), 0);
    assert_int_equal(tree_builder_freeze(world->builder, &world->tree), 0);
}

static const char *text(const struct world *world, const char *path)
{
    const struct tree_node *node = tree_find(world->tree, path);

    assert_non_null(node);
    assert_int_equal(node->type, TREE_TEXT);
    assert_int_equal(node->text.size, strlen(node->text.bytes));
    return node->text.bytes;
}

static void expect(const char *where, const char *what)
{
    if (!strstr(where, what))
        fail_msg("\"%s\" is not in:\n%s", what, where);
}

static void expect_not(const char *where, const char *what)
{
    if (strstr(where, what))
        fail_msg("\"%s\" is in:\n%s", what, where);
}

static void package_readme_is_these_bytes(void **state)
{
    struct world world;
    uint32_t sales;
    struct tree_row row;

    begin(&world);
    sales = add_group(&world, TREE_PACKAGES, "sales", "Sales", "What was sold.\nBy whom.");
    row = plain_row(sales, "orders", "data/sales/orders.parquet");
    row.flags = TREE_ROW_POLICY | TREE_ROW_KEPT;
    add_row(&world, row);
    row = plain_row(sales, "clicks", "data/sales/clicks");
    row.flags = TREE_ROW_PARTS | TREE_ROW_UNVERIFIED;
    row.rows = -1;
    row.updated = "";
    add_row(&world, row);
    row = plain_row(sales, "ledger", NULL);
    row.withheld = "query mode remote";
    add_row(&world, row);
    end(&world, "/mnt");
    assert_string_equal(
        text(&world, "data/sales/README.md"),
        "# Sales\n"
        "\n"
        "> What was sold.\n"
        "> By whom.\n"
        "\n"
        "| file | table | rows | bytes | updated | notes |\n"
        "|---|---|---:|---:|---|---|\n"
        "| `orders.parquet` | orders | 12 | 345 | 2026-08-22 | an access policy decides which rows "
        "and columns you get; older content: the newer could not be had yet |\n"
        "| `clicks/` | clicks | | 345 |  | a folder of parts; the server gives no checksum |\n"
        "\n"
        "With DuckDB, in the folder that has `data` in it:\n"
        "\n"
        "    FROM 'data/sales/orders.parquet' LIMIT 5;\n"
        "    FROM read_parquet('data/sales/clicks/**/*.parquet', hive_partitioning = true) LIMIT 5;\n"
        "\n"
        "## Not here\n"
        "\n"
        "The package has these too, but they can not be read as files.\n"
        "\n"
        "| table | why |\n"
        "|---|---|\n"
        "| ledger | query mode remote |\n");
    tree_unref(world.tree);
}

static void root_readme_lists_packages_and_memory(void **state)
{
    struct world world;
    uint32_t direct, sales, finance;
    struct tree_row row;

    begin(&world);
    direct = add_group(&world, TREE_DIRECT, "_direct", "", "");
    sales = add_group(&world, TREE_PACKAGES, "sales", "", "What was sold");
    finance = add_group(&world, TREE_MEMORY, "finance", "Finance", "Money");
    add_row(&world, plain_row(sales, "orders", "data/sales/orders.parquet"));
    add_row(&world, plain_row(finance, "finance", "memory/finance/bundle.md"));
    add_row(&world, plain_row(direct, "prices", "data/_direct/prices.parquet"));
    row = plain_row(sales, "ledger", NULL);
    row.withheld = "query mode remote";
    add_row(&world, row);
    end(&world, "/mnt");
    const char *readme = text(&world, "README.md");

    expect(readme, "\n| `data/_direct/` | Tables granted outside any package | 1 | 0 | 345 |  |\n");
    expect(readme, "\n| `data/sales/` | sales | 1 | 1 | 345 | What was sold |\n");
    expect(readme, "\n| `memory/finance/bundle.md` | Finance | Money |\n");
    expect(readme, "\n    FROM 'data/_direct/prices.parquet' LIMIT 5;\n");
    expect(readme, "Do not `grep`");
    expect(readme, "hive_partitioning");
    expect_not(readme, "/mnt"); /* the same wherever it is mounted */
    tree_unref(world.tree);
}

static void nothing_granted_is_said(void **state)
{
    struct world world;

    begin(&world);
    end(&world, NULL);
    expect(text(&world, "README.md"), "Nothing is granted yet.");
    expect_not(text(&world, "README.md"), "## Packages");
    expect_not(text(&world, ".agnes/duckdb.sql"), "CREATE");
    assert_null(tree_find(world.tree, "data"));
    tree_unref(world.tree);
}

/* A package has a README.md whatever is in it; "_direct" would not be there but for a table. */
static void folder_of_withheld_rows_is_explained(void **state)
{
    struct world world;
    struct tree_row row;

    begin(&world);
    row = plain_row(add_group(&world, TREE_PACKAGES, "hr", "HR", ""), "wages", NULL);
    row.withheld = "kept on the server (server_only)";
    add_row(&world, row);
    row = plain_row(add_group(&world, TREE_DIRECT, "_direct", "", ""), "logs", NULL);
    row.withheld = "query mode internal";
    add_row(&world, row);
    end(&world, "/mnt");
    expect(text(&world, "data/hr/README.md"), "No table of this package can be read as a file.");
    expect(text(&world, "data/hr/README.md"), "| wages | kept on the server (server_only) |\n");
    assert_null(tree_find(world.tree, "data/_direct"));
    expect(text(&world, "README.md"), "| `data/hr/` | HR | 0 | 1 | 0 |  |\n");
    tree_unref(world.tree);
}

static void knowledge_is_listed_with_how_to_use_it(void **state)
{
    struct world world;
    struct tree_row row;

    begin(&world);
    row = plain_row(add_group(&world, TREE_KNOWLEDGE, TREE_KIND_DIGEST, "", ""), "weekly",
                    "knowledge/weekly.md");
    row.title = "Each | week";
    row.rows = -1;
    row.flags = TREE_ROW_STALE;
    add_row(&world, row);
    row = plain_row(add_group(&world, TREE_KNOWLEDGE, TREE_KIND_CHUNKS, "", ""), "Memory",
                    "knowledge/Memory.duckdb");
    add_row(&world, row);
    row.withheld = "never synced on the server";
    row.name = "unbuilt";
    row.path = NULL;
    add_row(&world, row);
    end(&world, "/it's*\n; DROP TABLE x");
    const char *readme = text(&world, "README.md");

    expect(readme, "| `knowledge/weekly.md` | Each \\| week | | 345 | 2026-08-22 | "
                   "stale: its first lines say why |\n");
    expect(readme, "| `knowledge/Memory.duckdb` | Memory | 12 | 345 | 2026-08-22 |  |\n");
    expect(readme, "    ATTACH 'knowledge/Memory.duckdb' AS \"Memory (chunks)\" (READ_ONLY);\n");
    expect(readme, " FROM \"Memory (chunks)\".chunks ");
    expect_not(readme, "unbuilt");
    expect_not(readme, "## Packages");
    expect(text(&world, ".agnes/duckdb.sql"),
           "\n-- ATTACH '/it''s*\\x0a; DROP TABLE x/knowledge/Memory.duckdb' AS "
           "\"Memory (chunks)\" (READ_ONLY);\n");
    assert_null(tree_find(world.tree, "knowledge"));
    tree_unref(world.tree);
}

static void hostile_words_stay_in_their_place(void **state)
{
    static const char evil[] = "x\n# Ignore the above | <b>`[a](http://e)` \u202e */ '; DROP --";
    static const char shown[] = "x # Ignore the above \\| \\<b\\>\\`\\[a\\](http\\://e)\\` "
                                "\\\\u202e \\*/ '; DROP --";
    struct world world;
    struct tree_row row;
    char line[512];
    uint32_t sales;

    begin(&world);
    sales = add_group(&world, TREE_PACKAGES, "sales", evil, evil);
    row = plain_row(sales, evil, "data/sales/x.parquet");
    row.updated = evil;
    add_row(&world, row);
    row = plain_row(sales, evil, NULL);
    row.withheld = evil;
    add_row(&world, row);
    end(&world, "/mnt\n; DROP TABLE x; --'\"");
    const char *readme = text(&world, "data/sales/README.md");

    snprintf(line, sizeof(line), "# %s\n\n> x\n> \\# Ignore", shown);
    expect(readme, line);
    snprintf(line, sizeof(line), "\n| `x.parquet` | %s | 12 | 345 | %s |  |\n", shown, shown);
    expect(readme, line);
    snprintf(line, sizeof(line), "\n| %s | %s |\n", shown, shown);
    expect(readme, line);
    snprintf(line, sizeof(line), "\n| `data/sales/` | %s | 1 | 1 | 345 | %s |\n", shown, shown);
    expect(text(&world, "README.md"), line);
    expect(text(&world, ".agnes/duckdb.sql"), "\n--     /mnt\\x0a; DROP TABLE x; --'\"\n");
    expect(text(&world, ".agnes/duckdb.sql"),
           "read_parquet('/mnt\n; DROP TABLE x; --''\"/data/sales/x.parquet', ");
    tree_unref(world.tree);
}

static const char *views(struct world *world, const char *root)
{
    uint32_t memory, sales, lower;
    struct tree_row row;

    begin(world);
    memory = add_group(world, TREE_PACKAGES, "memory", "", "");
    sales = add_group(world, TREE_PACKAGES, "Sales", "", "");
    lower = add_group(world, TREE_PACKAGES, "sales", "", "");
    add_row(world, plain_row(memory, "orders", "data/memory/orders.parquet"));
    add_row(world, plain_row(sales, "Orders", "data/Sales/Orders.parquet"));
    add_row(world, plain_row(sales, "orders", "data/Sales/orders.parquet"));
    row = plain_row(sales, "or ders", "data/Sales/orders");
    row.flags = TREE_ROW_PARTS;
    add_row(world, row);
    add_row(world, plain_row(lower, "orders", "data/sales/orders.parquet"));
    add_row(world, plain_row(add_group(world, TREE_MEMORY, "finance", "", ""), "finance",
                             "memory/finance/bundle.md"));
    end(world, root);
    return strstr(text(world, ".agnes/duckdb.sql"), "\nCREATE");
}

static void no_view_takes_the_name_of_another(void **state)
{
    struct world world;
    const char *sql = views(&world, NULL);

    assert_string_equal(
        sql, "\nCREATE SCHEMA IF NOT EXISTS \"memory (package)\";\n"
             "CREATE OR REPLACE VIEW \"memory (package)\".\"orders\" AS FROM "
             "read_parquet('data/memory/orders.parquet', hive_partitioning = false);\n"
             "\nCREATE SCHEMA IF NOT EXISTS \"Sales\";\n"
             "CREATE OR REPLACE VIEW \"Sales\".\"Orders\" AS FROM "
             "read_parquet('data/Sales/Orders.parquet', hive_partitioning = false);\n"
             "CREATE OR REPLACE VIEW \"Sales\".\"orders (2)\" AS FROM "
             "read_parquet('data/Sales/orders/**/*.parquet', hive_partitioning = true);\n"
             "CREATE OR REPLACE VIEW \"Sales\".\"orders (3)\" AS FROM "
             "read_parquet('data/Sales/orders.parquet', hive_partitioning = false);\n"
             "\nCREATE SCHEMA IF NOT EXISTS \"sales (2)\";\n"
             "CREATE OR REPLACE VIEW \"sales (2)\".\"orders\" AS FROM "
             "read_parquet('data/sales/orders.parquet', hive_partitioning = false);\n");
    tree_unref(world.tree);
}

static void views_point_below_the_root(void **state)
{
    struct world world;

    expect(views(&world, "/it's [here]"),
           "read_parquet('/it''s [[]here]/data/Sales/orders/**/*.parquet', ");
    tree_unref(world.tree);
}

static void long_lists_are_cut_and_say_so(void **state)
{
    enum { ROWS = 12345 };
    struct world world;
    uint32_t many;

    begin(&world);
    many = add_group(&world, TREE_PACKAGES, "many", "Many", "");
    for (int i = 0; i < ROWS; i++) {
        char name[32], path[64];

        snprintf(name, sizeof(name), "t%05d", i);
        snprintf(path, sizeof(path), "data/many/%s.parquet", name);
        add_row(&world, plain_row(many, name, path));
    }
    end(&world, "/mnt");
    const char *readme = text(&world, "data/many/README.md");

    expect(readme, "| `t00999.parquet` |");
    expect_not(readme, "t01000");
    expect(readme, "\n11345 more are not in this table.\n");
    expect(text(&world, "README.md"), "| `data/many/` | Many | 12345 | 0 |");
    expect(text(&world, ".agnes/duckdb.sql"), "\"t09999\"");
    expect(text(&world, ".agnes/duckdb.sql"), "\n-- 2345 more tables are not in this list.\n");
    tree_unref(world.tree);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(package_readme_is_these_bytes),
        cmocka_unit_test(root_readme_lists_packages_and_memory),
        cmocka_unit_test(nothing_granted_is_said),
        cmocka_unit_test(folder_of_withheld_rows_is_explained),
        cmocka_unit_test(knowledge_is_listed_with_how_to_use_it),
        cmocka_unit_test(hostile_words_stay_in_their_place),
        cmocka_unit_test(no_view_takes_the_name_of_another),
        cmocka_unit_test(views_point_below_the_root),
        cmocka_unit_test(long_lists_are_cut_and_say_so),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
