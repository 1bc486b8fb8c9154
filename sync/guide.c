/* SPDX-License-Identifier: MIT */
/* guide.c - which texts there are. Each is written to a stream in memory, which remembers its own
 * failure: one test at the end is enough. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cache/scoped.h"
#include "cache/text.h"
#include "sync/guide_private.h"
#include "sync/names.h"
#include "sync/quote.h"

static void guide_release(struct guide *guide)
{
    free(guide->rows);
    free(guide->first);
}

/* Rows are counted per group, then put where their group's begin: their order stays. */
static int sort_rows(struct guide *guide, const struct tree_row *rows, size_t count)
{
    size_t *first = calloc(guide->group_count + 2, sizeof(*first));

    guide->first = first;
    guide->rows = calloc(count + 1, sizeof(const struct tree_row *));
    if (!first || !guide->rows)
        return -ENOMEM;
    for (size_t i = 0; i < count; i++)
        first[rows[i].group + 2]++;
    for (size_t i = 2; i <= guide->group_count; i++)
        first[i] += first[i - 1];
    for (size_t i = 0; i < count; i++)
        guide->rows[first[rows[i].group + 1]++] = &rows[i];
    return 0;
}

size_t guide_listed(const struct guide *guide, size_t group)
{
    size_t listed = 0;

    for (size_t i = guide->first[group]; i < guide->first[group + 1]; i++)
        listed += guide->rows[i]->path != NULL;
    return listed;
}

const char *guide_basename(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

void guide_put_alias(FILE *out, const char *path)
{
    static const char word[] = " (chunks)";
    const char *name = guide_basename(path);
    int length = (int)(strrchr(name, '.') - name);
    char alias[NAME_SIZE + sizeof(word)];

    snprintf(alias, sizeof(alias), "%.*s", length, name);
    if (guide_is_taken(alias))
        snprintf(alias, sizeof(alias), "%.*s%s", length, name, word);
    quote_sql_name(out, alias);
}

enum guide_text { GUIDE_ROOT, GUIDE_GROUP, GUIDE_VIEWS };

static int add_text(struct tree_builder *builder, const struct guide *guide, const char *path,
                    enum guide_text what, size_t group)
{
    scoped(text_freep) struct text *text = NULL;
    const char *bytes;
    size_t size;
    int r = text_open(&text);

    if (r < 0)
        return r;
    switch (what) {
    case GUIDE_ROOT: guide_write_root(text_stream(text), guide); break;
    case GUIDE_GROUP: guide_write_group(text_stream(text), guide, group); break;
    case GUIDE_VIEWS: r = guide_write_sql(text_stream(text), guide); break;
    }
    if (r < 0)
        return r;
    r = text_look(text, &bytes, &size);
    return r < 0 ? r : tree_builder_add_text(builder, path, bytes, size);
}

static bool has_readme(const struct guide *guide, size_t group)
{
    const struct tree_section_facts *section = tree_section(guide->groups[group].section);

    return section->is_lasting || (section->has_tables && guide_listed(guide, group) > 0);
}

int guide_add(struct tree_builder *builder, const char *root)
{
    scoped(guide_release) struct guide guide = {.root = root};
    size_t row_count;
    const struct tree_row *rows = tree_builder_rows(builder, &row_count);
    int r;

    guide.groups = tree_builder_groups(builder, &guide.group_count);
    r = sort_rows(&guide, rows, row_count);
    if (r == 0)
        r = add_text(builder, &guide, "README.md", GUIDE_ROOT, 0);
    for (size_t i = 0; r == 0 && i < guide.group_count; i++) {
        char path[TREE_PATH_MAX];

        if (!has_readme(&guide, i))
            continue;
        snprintf(path, sizeof(path), "data/%s/README.md", guide.groups[i].folder);
        r = add_text(builder, &guide, path, GUIDE_GROUP, i);
    }
    return r < 0 ? r : add_text(builder, &guide, ".agnes/" GUIDE_SQL, GUIDE_VIEWS, 0);
}
