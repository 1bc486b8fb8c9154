/* SPDX-License-Identifier: MIT */
/* Why not one JSON document that is printed: of a hundred thousand rows that would be ten times the
 * text. Each row is a document of its own, printed and thrown away. */
#include "sync/manifest_write.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cache/scoped.h"
#include "cache/text.h"
#include "sync/json.h"
#include "sync/names.h"

/* One manifest_write. */
struct writing {
    const struct tree *tree;
    FILE *out;
    uint32_t *rows;  /* by group, in the tree's order */
    uint32_t *first; /* rows of group i: from first[i] up to first[i + 1] */
};

static void writing_release(struct writing *writing)
{
    free(writing->rows);
    free(writing->first);
}

/* Rows are counted per group, then put where their group's begin. */
static int sort_rows(struct writing *writing)
{
    const struct tree *tree = writing->tree;
    const size_t groups = tree_group_count(tree), count = tree_row_count(tree);
    uint32_t *first = calloc(groups + 2, sizeof(*first));

    writing->first = first;
    writing->rows = calloc(count + 1, sizeof(*writing->rows));
    if (!first || !writing->rows)
        return -ENOMEM;
    for (uint32_t i = 0; i < count; i++)
        first[tree_row(tree, i)->group + 2]++;
    for (size_t i = 2; i <= groups; i++)
        first[i] += first[i - 1];
    for (uint32_t i = 0; i < count; i++)
        writing->rows[first[tree_row(tree, i)->group + 1]++] = i;
    return 0;
}

/* --- a row --- */

/* An empty string says nothing, and is left out. */
static int add_text(struct json *object, const char *key, const char *text)
{
    return *text ? json_add_string(object, key, text) : 0;
}

/* Names have no character that a URL could take amiss (names.h). */
static int add_url(struct json *object, const char *key, const struct tree_row *row)
{
    char url[TREE_PATH_MAX + 3];

    if (!row->path)
        return 0;
    snprintf(url, sizeof(url), "../%s", row->path);
    return json_add_string(object, key, url);
}

/* The digest of a blob that goes by one; of others there is nothing to say. */
static int add_digest(struct json *object, const char *key, const struct blob_key *blob)
{
    char text[BLOB_KEY_TEXT_SIZE];

    if (blob->kind != BLOB_MD5)
        return 0;
    blob_key_format(blob, text);
    text[strlen("md5-") + 32] = '\0';
    return json_add_string(object, key, text + strlen("md5-"));
}

static int add_part(struct json *parts, const struct tree *tree, const struct tree_node *node,
                    const char *path)
{
    const struct blob_key *key = &tree_blob(tree, node->blob)->key;
    struct json *part = json_add_object(parts, NULL);
    int r = part ? json_add_string(part, "path", path) : -ENOMEM;

    if (r == 0)
        r = add_digest(part, "hash", key);
    return r < 0 ? r : json_add_u64(part, "size_bytes", key->size);
}

/* All files below. base: how much of their paths is the row's. */
static int add_parts(struct json *parts, const struct tree *tree, const struct tree_node *dir,
                     size_t base)
{
    char path[TREE_PATH_MAX];
    int r = 0;

    for (uint32_t i = 0; r == 0 && i < dir->dir.count; i++) {
        const struct tree_node *node = tree_node(tree, dir->dir.first + i);

        if (node->type == TREE_DIR) {
            r = add_parts(parts, tree, node, base);
            continue;
        }
        r = tree_path(tree, node, path, sizeof(path));
        if (r == 0 && node->type == TREE_BLOB)
            r = add_part(parts, tree, node, path + base + 1);
    }
    return r;
}

/* What is shown, which may be older than what the server's manifest has (TREE_ROW_KEPT). */
static int add_content(struct json *object, const struct tree *tree, const struct tree_row *row)
{
    const struct tree_node *node = row->path ? tree_find(tree, row->path) : NULL;
    struct json *parts;
    int r;

    if (node && node->type == TREE_BLOB) {
        r = add_digest(object, "md5", &tree_blob(tree, node->blob)->key);
        return r < 0 ? r : json_add_u64(object, "size_bytes", row->size);
    }
    r = add_text(object, "md5", row->md5);
    if (r == 0)
        r = json_add_u64(object, "size_bytes", row->size);
    if (r < 0 || !node || node->type != TREE_DIR)
        return r;
    parts = json_add_array(object, "parts");
    return parts ? add_parts(parts, tree, node, strlen(row->path)) : -ENOMEM;
}

static int fill_table(struct json *object, const struct tree *tree, const struct tree_row *row)
{
    int r = add_text(object, "id", row->table_id);

    if (r == 0)
        r = json_add_string(object, "name", row->name);
    if (r == 0)
        r = add_content(object, tree, row);
    if (r == 0 && row->rows >= 0)
        r = json_add_i64(object, "rows", row->rows);
    if (r == 0)
        r = add_text(object, "query_mode", row->query_mode);
    if (r == 0)
        r = add_text(object, "updated", row->updated);
    if (r == 0 && row->flags & TREE_ROW_POLICY)
        r = json_add_bool(object, "access_policy", true);
    if (r == 0 && row->withheld)
        r = json_add_string(object, "withheld", row->withheld);
    return r < 0 ? r : add_url(object, "parquet_url", row);
}

/* What its md5 covers, the page says itself: it is given as it is (digest_page.h). */
static int fill_artifact(struct json *object, const struct tree *tree, const struct tree_row *row)
{
    const struct tree_group *group = tree_group(tree, row->group);
    const bool digest = tree_group_form(group) == FORM_DIGEST;
    int r = json_add_string(object, "kind", group->slug);

    if (r == 0)
        r = json_add_string(object, digest ? "slug" : "corpus_id", row->name);
    if (r == 0 && digest)
        r = add_text(object, "id", row->table_id);
    if (r == 0)
        r = add_text(object, digest ? "title" : "name", row->title);
    if (r == 0)
        r = digest ? add_text(object, "md5", row->md5) : add_content(object, tree, row);
    if (r == 0 && !digest && row->rows >= 0)
        r = json_add_i64(object, "chunks", row->rows);
    if (r == 0)
        r = add_text(object, digest ? "generated_at" : "built_at", row->updated);
    if (r == 0 && row->flags & TREE_ROW_STALE)
        r = json_add_string(object, "status", "stale");
    if (r == 0 && row->withheld)
        r = json_add_string(object, "withheld", row->withheld);
    return r < 0 ? r : add_url(object, "url", row);
}

static int fill_group(struct json *object, const struct tree_group *group)
{
    int r = json_add_string(object, "slug", group->slug);

    if (r == 0)
        r = add_text(object, "name", group->name);
    if (r == 0)
        r = add_text(object, "description", group->description);
    if (r == 0 && group->requirement != REQUIREMENT_UNKNOWN)
        r = json_add_string(object, "requirement", tree_requirement_name(group->requirement));
    return r;
}

static int fill_domain(struct json *object, const struct tree *tree, const struct tree_row *row)
{
    int r = fill_group(object, tree_group(tree, row->group));

    if (r == 0)
        r = add_text(object, "id", row->table_id);
    if (r == 0)
        r = add_text(object, "md5", row->md5);
    if (r == 0)
        r = add_text(object, "updated", row->updated);
    if (r == 0 && row->withheld)
        r = json_add_string(object, "withheld", row->withheld);
    return r < 0 ? r : add_url(object, "bundle_url", row);
}

static int print_row(struct writing *writing, enum tree_section section, const struct tree_row *row)
{
    scoped(json_freep) struct json *object = json_new_object();
    scoped_free char *text = NULL;
    size_t size = 0;
    int r = -ENOMEM;

    if (!object)
        return r;
    switch (section) {
    case TREE_MEMORY: r = fill_domain(object, writing->tree, row); break;
    case TREE_KNOWLEDGE: r = fill_artifact(object, writing->tree, row); break;
    case TREE_DIRECT:
    case TREE_PACKAGES:
    default: r = fill_table(object, writing->tree, row); break;
    }
    if (r == 0)
        r = json_print(object, false, &text, &size);
    if (r == 0)
        fwrite(text, 1, size, writing->out);
    return r;
}

/* --- sections --- */

static int print_rows(struct writing *writing, uint32_t group, bool *separated)
{
    const enum tree_section section = tree_group(writing->tree, group)->section;
    int r = 0;

    for (uint32_t i = writing->first[group]; r == 0 && i < writing->first[group + 1]; i++) {
        fputs(*separated ? ",\n" : "\n", writing->out);
        *separated = true;
        r = print_row(writing, section, tree_row(writing->tree, writing->rows[i]));
    }
    return r;
}

/* {"slug": ..., "tables": [rows]} */
static int print_package(struct writing *writing, uint32_t group, bool *separated)
{
    scoped(json_freep) struct json *object = json_new_object();
    scoped_free char *text = NULL;
    bool rows_separated = false;
    size_t size = 0;
    int r = object ? fill_group(object, tree_group(writing->tree, group)) : -ENOMEM;

    if (r == 0)
        r = json_print(object, false, &text, &size);
    if (r < 0)
        return r;
    fputs(*separated ? ",\n" : "\n", writing->out);
    *separated = true;
    fwrite(text, 1, size - 1, writing->out); /* but for its closing brace */
    fputs(",\"tables\":[", writing->out);
    r = print_rows(writing, group, &rows_separated);
    fputs("]}", writing->out);
    return r;
}

/* A server from before packages has one group, which is a section of its own (manifest.h). */
static bool is_flat(const struct tree *tree)
{
    return tree_group_count(tree) == 1 && strcmp(tree_group(tree, 0)->folder, NAME_FLAT) == 0;
}

static int print_section(struct writing *writing, enum tree_section section)
{
    const struct tree *tree = writing->tree;
    bool separated = false;
    int r = 0;

    fprintf(writing->out, ",\n\"%s\": [", tree_section_name(section));
    for (uint32_t i = 0; r == 0 && i < tree_group_count(tree); i++) {
        if (tree_group(tree, i)->section != section)
            continue;
        r = section == TREE_PACKAGES ? print_package(writing, i, &separated)
                                     : print_rows(writing, i, &separated);
    }
    fputs("]", writing->out);
    return r;
}

/* {name: table} */
static int print_flat(struct writing *writing)
{
    int r = 0;

    fputs(",\n\"tables\": {", writing->out);
    for (uint32_t i = 0; r == 0 && i < writing->first[1]; i++) {
        const struct tree_row *row = tree_row(writing->tree, writing->rows[i]);
        scoped(json_freep) struct json *object = json_new_object();
        struct json *table = object ? json_add_object(object, row->name) : NULL;
        scoped_free char *text = NULL;
        size_t size = 0;

        r = table ? fill_table(table, writing->tree, row) : -ENOMEM;
        if (r == 0)
            r = json_print(object, false, &text, &size);
        if (r == 0)
            fprintf(writing->out, "%s\n%.*s", i > 0 ? "," : "", (int)(size - 2), text + 1);
    }
    fputs("}", writing->out);
    return r;
}

static int print_head(struct writing *writing, const char *source)
{
    scoped(json_freep) struct json *object = json_new_object();
    scoped_free char *text = NULL;
    size_t size = 0;
    int r = object ? json_add_u64(object, "version", MANIFEST_WRITE_VERSION) : -ENOMEM;

    if (r == 0)
        r = json_add_u64(object, "generation", tree_generation(writing->tree));
    if (r == 0)
        r = json_add_string(object, "source", source);
    if (r == 0)
        r = json_print(object, false, &text, &size);
    if (r == 0)
        fwrite(text, 1, size - 1, writing->out);
    return r;
}

int manifest_write(const struct tree *tree, const char *source, char **ret_text, size_t *ret_size)
{
    scoped(writing_release) struct writing writing = {.tree = tree};
    scoped(text_freep) struct text *text = NULL;
    int r = text_open(&text);

    if (r < 0)
        return r;
    writing.out = text_stream(text);
    r = sort_rows(&writing);
    if (r == 0)
        r = print_head(&writing, source);
    if (r == 0 && is_flat(tree))
        r = print_flat(&writing);
    for (unsigned i = 0; r == 0 && !is_flat(tree) && i < TREE_SECTIONS; i++)
        r = print_section(&writing, (enum tree_section)i);
    if (r < 0)
        return r;
    fputs("\n}\n", writing.out);
    return text_close(take_ptr(text), ret_text, ret_size);
}
