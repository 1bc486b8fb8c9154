/* SPDX-License-Identifier: MIT */
/* guide_sql.c - a schema for every package, a view for every table.
 *
 * A view is called as its file is. DuckDB does not tell upper case from lower, so of names that
 * differ in nothing else the later ones get a number, and schemas that DuckDB has itself get a
 * word: both have a blank before, which no name in the tree has, so they can not meet another name.
 *
 * Every path says whether its folders are columns: "x=1" above the mount would become one. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "cache/scoped.h"
#include "sync/guide_private.h"
#include "sync/names.h"
#include "sync/quote.h"

struct view {
    const struct tree_row *row;
    const char *folder;
    char name[NAME_SIZE];
};

static int by_name(const void *left, const void *right)
{
    const struct view *a = left, *b = right;
    int order = strcasecmp(a->folder, b->folder);

    order = order ? order : strcmp(a->folder, b->folder);
    order = order ? order : strcasecmp(a->name, b->name);
    return order ? order : strcmp(a->row->path, b->row->path);
}

static void name_view(struct view *view)
{
    static const char suffix[] = ".parquet";
    size_t length;

    snprintf(view->name, sizeof(view->name), "%s", guide_basename(view->row->path));
    length = strlen(view->name);
    if (!(view->row->flags & TREE_ROW_PARTS) && length >= sizeof(suffix) &&
        strcmp(view->name + length - (sizeof(suffix) - 1), suffix) == 0)
        view->name[length - (sizeof(suffix) - 1)] = '\0';
}

/* ret_left: how many tables there was no room for. */
static int collect(const struct guide *guide, struct view **ret_views, size_t *ret_count,
                   size_t *ret_left)
{
    struct view *views = calloc(GUIDE_VIEWS_MAX, sizeof(*views));
    size_t count = 0, left = 0;

    if (!views)
        return -ENOMEM;
    for (size_t i = 0; i < guide->group_count; i++) {
        for (size_t j = guide->first[i]; j < guide->first[i + 1]; j++) {
            const struct tree_row *row = guide->rows[j];

            if (!row->path || !tree_section(guide->groups[i].section)->has_tables)
                continue;
            if (count == GUIDE_VIEWS_MAX) {
                left++;
                continue;
            }
            views[count] = (struct view){.row = row, .folder = guide->groups[i].folder};
            name_view(&views[count++]);
        }
    }
    qsort(views, count, sizeof(*views), by_name);
    *ret_views = views;
    *ret_count = count;
    *ret_left = left;
    return 0;
}

/* A name with what tells it from others; number 1 is the first of its kind. */
static void put_name(FILE *out, const char *name, const char *word, unsigned number)
{
    char whole[NAME_SIZE + 64];

    if (number > 1)
        snprintf(whole, sizeof(whole), "%s%s (%u)", name, word, number);
    else
        snprintf(whole, sizeof(whole), "%s%s", name, word);
    quote_sql_name(out, whole);
}

/* "memory" is what DuckDB calls a database without a file. */
bool guide_is_taken(const char *name)
{
    static const char *const taken[] = {"memory", "temp", "system", "information_schema",
                                        "pg_catalog"};

    for (size_t i = 0; i < sizeof(taken) / sizeof(*taken); i++)
        if (strcasecmp(name, taken[i]) == 0)
            return true;
    return false;
}

static const char *schema_word(const char *folder)
{
    return guide_is_taken(folder) ? " (package)" : "";
}

static void put_path(FILE *out, const struct guide *guide, const struct tree_row *row)
{
    char path[2 * TREE_PATH_MAX];
    bool parts = row->flags & TREE_ROW_PARTS;

    snprintf(path, sizeof(path), "%s%s%s", guide->root ? guide->root : "", guide->root ? "/" : "",
             row->path);
    quote_sql_path(out, path, parts ? "/**/*.parquet" : "");
    fprintf(out, ", hive_partitioning = %s", parts ? "true" : "false");
}

static void put_views(FILE *out, const struct guide *guide, const struct view *views, size_t count)
{
    unsigned schema = 0, same = 1;

    for (size_t i = 0; i < count; i++) {
        const struct view *view = &views[i], *last = i > 0 ? view - 1 : NULL;
        bool new_folder = !last || strcmp(last->folder, view->folder) != 0;

        if (new_folder)
            schema = last && strcasecmp(last->folder, view->folder) == 0 ? schema + 1 : 1;
        same = !new_folder && strcasecmp(last->name, view->name) == 0 ? same + 1 : 1;
        if (new_folder) {
            fputs("\nCREATE SCHEMA IF NOT EXISTS ", out);
            put_name(out, view->folder, schema_word(view->folder), schema);
            fputs(";\n", out);
        }
        fputs("CREATE OR REPLACE VIEW ", out);
        put_name(out, view->folder, schema_word(view->folder), schema);
        putc('.', out);
        put_name(out, view->name, "", same);
        fputs(" AS FROM read_parquet(", out);
        put_path(out, guide, view->row);
        fputs(");\n", out);
    }
}

static void put_head(FILE *out, const struct guide *guide)
{
    fputs("-- A view for every table here, a schema for every package. For DuckDB:\n"
          "--\n"
          "--     duckdb -init .agnes/duckdb.sql\n"
          "--\n",
          out);
    if (guide->root) {
        fputs(
            "-- Paths are absolute: this works from any folder, and in a database file the views stay "
            "good while\n-- the mount is there. Where it has another path (a container), replace this "
            "one:\n--     ",
            out);
        quote_line(out, guide->root);
        putc('\n', out);
    } else {
        fputs("-- Paths are relative: DuckDB must run in the folder that has .agnes in it.\n", out);
    }
    fputs("-- Creating a view reads the end of its table, which fetches that if nobody has read it "
          "before:\n-- on a large stack take only the lines that you need.\n",
          out);
}

/* No reader with patterns: the path as it is. In a comment, so it must stay on its line. */
static void put_plain_path(FILE *out, const struct guide *guide, const struct tree_row *row)
{
    char path[2 * TREE_PATH_MAX];

    snprintf(path, sizeof(path), "%s%s%s", guide->root ? guide->root : "", guide->root ? "/" : "",
             row->path);
    putc('\'', out);
    for (char *part = path, *quote; part; part = quote ? quote + 1 : NULL) {
        quote = strchr(part, '\'');
        if (quote)
            *quote = '\0';
        quote_line(out, part);
        fputs(quote ? "\'\'" : "\'", out);
    }
}

/* Only as comments: a database opens for one DuckDB and not for an older one, and one that does not
 * would end the script. */
static void put_databases(FILE *out, const struct guide *guide)
{
    size_t count = 0;

    for (size_t i = 0; i < guide->group_count; i++) {
        if (tree_group_form(&guide->groups[i]) != FORM_DATABASE)
            continue;
        for (size_t j = guide->first[i]; j < guide->first[i + 1]; j++) {
            const struct tree_row *row = guide->rows[j];

            if (!row->path || count == GUIDE_VIEWS_MAX)
                continue;
            if (count++ == 0)
                fputs("\n-- Text chunks of documents, a database for each collection:\n", out);
            fputs("-- ATTACH ", out);
            put_plain_path(out, guide, row);
            fputs(" AS ", out);
            guide_put_alias(out, row->path);
            fputs(" (READ_ONLY);\n", out);
        }
    }
}

int guide_write_sql(FILE *out, const struct guide *guide)
{
    scoped_free struct view *views = NULL;
    size_t count, left;
    int r = collect(guide, &views, &count, &left);

    if (r < 0)
        return r;
    put_head(out, guide);
    put_views(out, guide, views, count);
    put_databases(out, guide);
    if (left > 0)
        fprintf(out, "\n-- %zu more tables are not in this list.\n", left);
    return 0;
}
