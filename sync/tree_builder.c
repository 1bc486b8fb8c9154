/* SPDX-License-Identifier: MIT */
/* tree_builder.c - what a tree is made from.
 *
 * Only collects: names are kept as whole paths until tree_freeze.c sorts them. What is wrong by
 * itself (a path, an index) is refused here and leaves the builder as it was; what is wrong only
 * together (a name twice) is found there.
 *
 * Strings are copied once. What repeats is shared: a time or mode with the row before, a token that
 * is the md5, the name of a blob with the path of its row. 1,000,000 rows cost some 300 bytes each. */
#include <errno.h>

#include "cache/scoped.h"
#include "sync/tree_array.h"
#include "sync/tree_private.h"

#define TREE_SEGMENT_MAX 255

int tree_builder_new(uint64_t generation, struct tree_builder **ret_builder)
{
    scoped_free struct tree_builder *builder = calloc(1, sizeof(*builder));
    struct tree *tree = calloc(1, sizeof(*tree));

    if (!builder || !tree) {
        free(tree);
        return -ENOMEM;
    }
    tree->generation = generation;
    atomic_init(&tree->holders, 1);
    builder->tree = tree;
    *ret_builder = take_ptr(builder);
    return 0;
}

void tree_builder_free(struct tree_builder *builder)
{
    if (!builder)
        return;
    tree_destroy(builder->tree);
    free(builder->names);
    free(builder);
}

void tree_builder_freep(struct tree_builder *const *builder)
{
    tree_builder_free(*builder);
}

/* Copies text, or shares like if it says the same. False: no memory. */
static bool keep(struct tree_builder *builder, const char **ret_copy, const char *text,
                 const char *like)
{
    if (!text || !*text)
        *ret_copy = "";
    else if (like && strcmp(text, like) == 0)
        *ret_copy = like;
    else
        *ret_copy = arena_copy(&builder->tree->strings, text, strlen(text));
    return *ret_copy != NULL;
}

bool tree_path_is_valid(const char *path)
{
    const char *segment = path;

    if (strnlen(path, TREE_PATH_MAX) == TREE_PATH_MAX)
        return false;
    for (;;) {
        size_t length = strcspn(segment, "/");

        if (length == 0 || length > TREE_SEGMENT_MAX)
            return false;
        if (segment[0] == '.' && (length == 1 || (length == 2 && segment[1] == '.')))
            return false;
        if (!segment[length])
            return true;
        segment += length + 1;
    }
}

int tree_builder_add_group(struct tree_builder *builder, const struct tree_group *group,
                           uint32_t *ret_index)
{
    struct tree *tree = builder->tree;
    struct tree_group copy = *group;
    struct tree_group *groups;

    if ((unsigned)group->section >= TREE_SECTIONS)
        return -EINVAL;
    groups = array_grow(tree->groups, tree->group_count, sizeof(*groups));
    if (!groups)
        return -ENOMEM;
    tree->groups = groups;
    if (!keep(builder, &copy.slug, group->slug, NULL) ||
        !keep(builder, &copy.folder, group->folder, copy.slug) ||
        !keep(builder, &copy.name, group->name, copy.slug) ||
        !keep(builder, &copy.description, group->description, copy.name))
        return -ENOMEM;
    *ret_index = (uint32_t)tree->group_count;
    tree->groups[tree->group_count++] = copy;
    return 0;
}

int tree_builder_add_row(struct tree_builder *builder, const struct tree_row *row,
                         uint32_t *ret_index)
{
    static const struct tree_row none;
    struct tree *tree = builder->tree;
    const struct tree_row *last;
    struct tree_row copy = *row;
    struct tree_row *rows;

    if (row->group >= tree->group_count || (row->path && !tree_path_is_valid(row->path)))
        return -EINVAL;
    rows = array_grow(tree->rows, tree->row_count, sizeof(*rows));
    if (!rows)
        return -ENOMEM;
    tree->rows = rows;
    last = tree->row_count ? &rows[tree->row_count - 1] : &none;
    if (!keep(builder, &copy.name, row->name, NULL) ||
        !keep(builder, &copy.title, row->title, copy.name) ||
        !keep(builder, &copy.table_id, row->table_id, copy.name) ||
        !keep(builder, &copy.md5, row->md5, NULL) ||
        !keep(builder, &copy.token, row->token, copy.md5) ||
        !keep(builder, &copy.url, row->url, NULL) ||
        !keep(builder, &copy.updated, row->updated, last->updated) ||
        !keep(builder, &copy.query_mode, row->query_mode, last->query_mode) ||
        (row->path && !keep(builder, &copy.path, row->path, NULL)) ||
        (row->withheld && !keep(builder, &copy.withheld, row->withheld, last->withheld)))
        return -ENOMEM;
    *ret_index = (uint32_t)tree->row_count;
    tree->rows[tree->row_count++] = copy;
    return 0;
}

/* node: all but the name, which is path. */
static int add_name(struct tree_builder *builder, const char *path, struct tree_node node)
{
    const struct tree *tree = builder->tree;
    const char *like = NULL;
    struct tree_node *names;

    if (!tree_path_is_valid(path))
        return -EINVAL;
    if (node.row != TREE_NO_ROW) {
        if (node.row >= tree->row_count)
            return -EINVAL;
        like = tree->rows[node.row].path;
    }
    names = array_grow(builder->names, builder->name_count, sizeof(*names));
    if (!names)
        return -ENOMEM;
    builder->names = names;
    if (!keep(builder, &node.name, path, like))
        return -ENOMEM;
    names[builder->name_count++] = node;
    return 0;
}

int tree_builder_add_dir(struct tree_builder *builder, const char *path, uint32_t row)
{
    return add_name(builder, path, (struct tree_node){.type = TREE_DIR, .row = row});
}

int tree_builder_add_blob(struct tree_builder *builder, const char *path, uint32_t row,
                          const struct blob_key *key, int64_t mtime_ns)
{
    struct tree *tree = builder->tree;
    uint32_t index = (uint32_t)tree->blob_count;
    struct tree_blob *blobs;
    int r;

    if (key->kind == BLOB_NONE)
        return -EINVAL;
    blobs = array_grow(tree->blobs, tree->blob_count, sizeof(*blobs));
    if (!blobs)
        return -ENOMEM;
    tree->blobs = blobs;
    r = add_name(builder, path, (struct tree_node){.type = TREE_BLOB, .row = row, .blob = index});
    if (r < 0)
        return r;
    /* One per name for now; first says which, until freezing makes one per key. */
    blobs[tree->blob_count++] = (struct tree_blob){.key = *key,
                                                   .mtime_ns = mtime_ns,
                                                   .first = index};
    return 0;
}

int tree_builder_add_text(struct tree_builder *builder, const char *path, const char *bytes,
                          size_t size)
{
    struct arena *strings = &builder->tree->strings;
    struct tree_node node = {.type = TREE_TEXT, .row = TREE_NO_ROW};
    struct blob_key *key;

    if (!tree_path_is_valid(path))
        return -EINVAL;
    key = arena_take(strings, sizeof(*key), alignof(struct blob_key));
    node.text.bytes = arena_copy(strings, size ? bytes : "", size);
    if (!key || !node.text.bytes)
        return -ENOMEM;
    blob_key_of_bytes(node.text.bytes, size, key);
    node.text.size = size;
    node.text.key = key;
    return add_name(builder, path, node);
}

int tree_builder_add_live(struct tree_builder *builder, const char *path, unsigned live)
{
    return add_name(builder, path,
                    (struct tree_node){.type = TREE_LIVE, .row = TREE_NO_ROW, .live = live});
}

const struct tree_group *tree_builder_groups(const struct tree_builder *builder, size_t *ret_count)
{
    *ret_count = builder->tree->group_count;
    return builder->tree->groups;
}

const struct tree_row *tree_builder_rows(const struct tree_builder *builder, size_t *ret_count)
{
    *ret_count = builder->tree->row_count;
    return builder->tree->rows;
}
