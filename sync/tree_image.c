/* SPDX-License-Identifier: MIT */
/* tree_image.c - why this is quick: the arrays are read to where they stay, and what has to be done
 * to each entry is to make pointers of its offsets. And why it is safe: nothing follows an offset
 * or an index before it was compared with the size of what it leads into, and all strings end at
 * the last byte of the strings at the latest, which is NUL.
 *
 *     head | groups | rows | nodes | blobs | references | strings      each at a multiple of 16
 *
 * The strings are the blocks of the tree's arena as they are. An offset counts from one byte before
 * the strings, so that 0 is NULL; all strings that lie elsewhere are "", which is the first byte. */
#include "sync/tree_image.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>

#include "cache/scoped.h"
#include "sync/tree_private.h"

enum part { GROUPS, ROWS, NODES, BLOBS, REFERENCES, STRINGS, PARTS };

static const size_t entry_sizes[PARTS] = {
    [GROUPS] = sizeof(struct tree_group), [ROWS] = sizeof(struct tree_row),
    [NODES] = sizeof(struct tree_node),   [BLOBS] = sizeof(struct tree_blob),
    [REFERENCES] = sizeof(uint32_t),      [STRINGS] = 1,
};

struct image_head {
    uint64_t generation;
    uint64_t bytes;
    uint64_t entry_sizes[PARTS];
    uint64_t counts[PARTS];
};

/* Where the strings of groups and rows are. */
struct text_field {
    size_t offset;
    bool optional; /* may be NULL */
};

static const struct text_field group_texts[] = {
    {offsetof(struct tree_group, slug), false},
    {offsetof(struct tree_group, folder), false},
    {offsetof(struct tree_group, name), false},
    {offsetof(struct tree_group, description), false},
};

static const struct text_field row_texts[] = {
    {offsetof(struct tree_row, name), false},       {offsetof(struct tree_row, title), false},
    {offsetof(struct tree_row, path), true},        {offsetof(struct tree_row, table_id), false},
    {offsetof(struct tree_row, token), false},      {offsetof(struct tree_row, md5), false},
    {offsetof(struct tree_row, url), false},        {offsetof(struct tree_row, updated), false},
    {offsetof(struct tree_row, query_mode), false}, {offsetof(struct tree_row, withheld), true},
};

#define GROUP_TEXTS (sizeof(group_texts) / sizeof(*group_texts))
#define ROW_TEXTS (sizeof(row_texts) / sizeof(*row_texts))

/* A pointer without its line above would come back as it was in another process. */
static_assert(sizeof(struct tree_group) == 16 + GROUP_TEXTS * sizeof(char *), "a field is new");
static_assert(sizeof(struct tree_row) == 24 + ROW_TEXTS * sizeof(char *), "a field is new");

static size_t aligned(size_t size)
{
    return (size + TREE_IMAGE_ALIGN - 1) / TREE_IMAGE_ALIGN * TREE_IMAGE_ALIGN;
}

/* --- making --- */

/* One block of the arena. */
struct block {
    const char *bytes;
    size_t size;
    size_t offset; /* in the image's strings */
};

struct blocks {
    struct block *list;
    size_t count;
    size_t size;   /* of all strings */
    bool lost;     /* a pointer led to nowhere */
    size_t recent; /* the block found last: neighbours have neighbours */
};

static void add_block(struct blocks *blocks, const char *bytes, size_t size)
{
    blocks->list[blocks->count++] = (struct block){bytes, size, blocks->size};
    blocks->size += aligned(size);
}

static int find_blocks(const struct tree *tree, struct blocks *ret_blocks)
{
    const struct arena *arena = &tree->strings;
    size_t count = 1;

    for (const struct arena_block *block = arena->blocks; block; block = block->next)
        count++;
    *ret_blocks = (struct blocks){.list = calloc(count, sizeof(struct block)),
                                  .size = TREE_IMAGE_ALIGN}; /* the first of them is "" */
    if (!ret_blocks->list)
        return -ENOMEM;
    if (tree->image)
        add_block(ret_blocks, tree->image_strings, tree->image_strings_size);
    for (const struct arena_block *block = arena->blocks; block; block = block->next)
        add_block(ret_blocks, block->bytes, block == arena->blocks ? arena->used : block->used);
    ret_blocks->size++; /* the last NUL */
    return 0;
}

static bool is_in(const struct block *block, const char *at)
{
    return (uintptr_t)at - (uintptr_t)block->bytes < block->size;
}

/* What stands in the image for a pointer. */
static uintptr_t offset_of(struct blocks *blocks, const void *pointer)
{
    const char *at = pointer;

    if (!at)
        return 0;
    for (size_t i = 0; i < blocks->count; i++) {
        size_t number = (blocks->recent + i) % blocks->count;

        if (is_in(&blocks->list[number], at)) {
            blocks->recent = number;
            return blocks->list[number].offset + (size_t)(at - blocks->list[number].bytes) + 1;
        }
    }
    blocks->lost |= *at != '\0';
    return 1;
}

/* A pointer's place, whatever it points to. */
static void replace(struct blocks *blocks, void *place)
{
    const void *pointer;
    uintptr_t offset;

    memcpy(&pointer, place, sizeof(pointer));
    offset = offset_of(blocks, pointer);
    memcpy(place, &offset, sizeof(offset));
}

static void replace_texts(struct blocks *blocks, char *entries, size_t count, size_t entry_size,
                          const struct text_field *fields, size_t field_count)
{
    for (size_t i = 0; i < count; i++)
        for (size_t f = 0; f < field_count; f++)
            replace(blocks, entries + i * entry_size + fields[f].offset);
}

static void replace_in_nodes(struct blocks *blocks, char *nodes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct tree_node *node = (struct tree_node *)(void *)(nodes + i * sizeof(*node));

        replace(blocks, &node->name);
        if (node->type == TREE_TEXT) {
            replace(blocks, &node->text.bytes);
            replace(blocks, &node->text.key);
        }
    }
}

/* Where each part begins; the whole size. */
static size_t place_parts(const struct image_head *head, size_t before, size_t offsets[PARTS])
{
    size_t at = before + aligned(sizeof(*head));

    for (enum part part = 0; part < PARTS; part++) {
        offsets[part] = at;
        at += aligned(head->counts[part] * entry_sizes[part]);
    }
    return at;
}

static void fill(const struct tree *tree, const struct image_head *head, char *image,
                 const size_t offsets[PARTS], struct blocks *blocks)
{
    const void *const parts[STRINGS] = {tree->groups, tree->rows, tree->nodes, tree->blobs,
                                        tree->references};

    for (enum part part = 0; part < STRINGS; part++)
        if (head->counts[part] > 0)
            memcpy(image + offsets[part], parts[part], head->counts[part] * entry_sizes[part]);
    for (size_t i = 0; i < blocks->count; i++)
        memcpy(image + offsets[STRINGS] + blocks->list[i].offset, blocks->list[i].bytes,
               blocks->list[i].size);
    replace_texts(blocks, image + offsets[GROUPS], tree->group_count, sizeof(struct tree_group),
                  group_texts, GROUP_TEXTS);
    replace_texts(blocks, image + offsets[ROWS], tree->row_count, sizeof(struct tree_row),
                  row_texts, ROW_TEXTS);
    replace_in_nodes(blocks, image + offsets[NODES], tree->node_count);
}

static void blocks_release(const struct blocks *blocks)
{
    free(blocks->list);
}

int tree_image_make(const struct tree *tree, size_t before, char **ret_image, size_t *ret_size)
{
    scoped(blocks_release) struct blocks blocks;
    scoped_free char *image = NULL;
    struct image_head head = {
        .generation = tree->generation,
        .bytes = tree->bytes,
        .counts = {tree->group_count, tree->row_count, tree->node_count, tree->blob_count,
                   tree->reference_count},
    };
    size_t offsets[PARTS];
    size_t size;
    int r = find_blocks(tree, &blocks);

    if (r < 0)
        return r;
    memcpy(head.entry_sizes, entry_sizes, sizeof(entry_sizes));
    head.counts[STRINGS] = blocks.size;
    size = place_parts(&head, before, offsets);
    image = calloc(1, size);
    if (!image)
        return -ENOMEM;
    memcpy(image + before, &head, sizeof(head));
    fill(tree, &head, image, offsets, &blocks);
    if (blocks.lost)
        return -EBADMSG;
    *ret_image = take_ptr(image);
    *ret_size = size;
    return 0;
}

/* --- reading --- */

/* What offsets lead into. */
struct strings {
    const char *bytes;
    size_t size;
};

static bool find_bytes(const struct strings *strings, uintptr_t offset, size_t size,
                       const char **ret_bytes)
{
    if (offset == 0 || offset > strings->size || size > strings->size - offset)
        return false;
    *ret_bytes = strings->bytes + offset - 1;
    return true;
}

/* An offset becomes a pointer again. */
static bool restore_text(const struct strings *strings, void *place, bool optional)
{
    const char *text = NULL;
    uintptr_t offset;

    memcpy(&offset, place, sizeof(offset));
    if (!find_bytes(strings, offset, 0, &text) && !(optional && offset == 0))
        return false;
    memcpy(place, &text, sizeof(text));
    return true;
}

static bool restore_texts(const struct strings *strings, char *entries, size_t count,
                          size_t entry_size, const struct text_field *fields, size_t field_count)
{
    for (size_t i = 0; i < count; i++)
        for (size_t f = 0; f < field_count; f++)
            if (!restore_text(strings, entries + i * entry_size + fields[f].offset,
                              fields[f].optional))
                return false;
    return true;
}

/* The bytes, and the key that says what they are. */
static bool restore_content(const struct strings *strings, struct tree_node *node)
{
    const char *key_bytes = NULL;
    struct blob_key key;

    if (!find_bytes(strings, (uintptr_t)node->text.bytes, node->text.size, &node->text.bytes) ||
        !find_bytes(strings, (uintptr_t)node->text.key, sizeof(key), &key_bytes) ||
        (uintptr_t)key_bytes % alignof(struct blob_key) != 0)
        return false;
    node->text.key = (const struct blob_key *)(const void *)key_bytes;
    blob_key_of_bytes(node->text.bytes, node->text.size, &key);
    return blob_key_equal(&key, node->text.key);
}

static bool restore_nodes(const struct strings *strings, struct tree_node *nodes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct tree_node *node = &nodes[i];

        if ((unsigned)node->type > TREE_LIVE || !restore_text(strings, &node->name, false) ||
            (node->type == TREE_TEXT && !restore_content(strings, node)))
            return false;
        if (i == 0 ? *node->name != '\0' : !tree_path_is_valid(node->name))
            return false;
    }
    return count > 0;
}

static bool groups_and_rows_are_sound(const struct tree *tree)
{
    for (size_t i = 0; i < tree->group_count; i++)
        if ((unsigned)tree->groups[i].section >= TREE_SECTIONS ||
            (unsigned)tree->groups[i].requirement >= REQUIREMENTS)
            return false;
    for (size_t i = 0; i < tree->row_count; i++)
        if (tree->rows[i].path && !tree_path_is_valid(tree->rows[i].path))
            return false;
    return true;
}

static bool blobs_are_sound(const struct tree *tree)
{
    for (size_t i = 0; i < tree->blob_count; i++)
        if (tree->blobs[i].key.kind != BLOB_MD5 && tree->blobs[i].key.kind != BLOB_XXH)
            return false;
    return true;
}

/* Is the name in that folder where its row says, or below it? */
static bool is_in_row(const struct tree *tree, const char *folder, const struct tree_node *node)
{
    const struct tree_row *row = &tree->rows[node->row];
    char path[TREE_PATH_MAX];
    int length = snprintf(path, sizeof(path), "%s%s%s", folder, *folder ? "/" : "", node->name);
    size_t above = row->path ? strlen(row->path) : 0;
    bool part = node->type == TREE_BLOB && row->flags & TREE_ROW_PARTS;

    if (!row->path || length >= (int)sizeof(path) || strncmp(path, row->path, above) != 0)
        return false;
    return path[above] == '/' || (path[above] == '\0' && !part);
}

static bool rows_are_in_place(const struct tree *tree)
{
    char folder[TREE_PATH_MAX];

    for (size_t i = 0; i < tree->node_count; i++) {
        const struct tree_node *dir = &tree->nodes[i];

        if (dir->type != TREE_DIR || dir->dir.count == 0)
            continue;
        if (tree_path(tree, dir, folder, sizeof(folder)) < 0)
            return false;
        for (uint32_t c = 0; c < dir->dir.count; c++) {
            const struct tree_node *node = &tree->nodes[dir->dir.first + c];

            if (node->row != TREE_NO_ROW && !is_in_row(tree, folder, node))
                return false;
        }
    }
    return tree->nodes[0].row == TREE_NO_ROW;
}

/* Does the size come to what the head says? */
static bool head_is_sound(const struct image_head *head, size_t before, size_t size,
                          size_t offsets[PARTS])
{
    for (enum part part = 0; part < PARTS; part++)
        if (head->entry_sizes[part] != entry_sizes[part] ||
            head->counts[part] > size / entry_sizes[part])
            return false;
    return head->counts[NODES] < UINT32_MAX && head->counts[STRINGS] > 0 &&
           place_parts(head, before, offsets) == size;
}

static struct tree *place_tree(const struct image_head *head, char *image,
                               const size_t offsets[PARTS])
{
    struct tree *tree = calloc(1, sizeof(*tree));

    if (!tree)
        return NULL;
    atomic_init(&tree->holders, 1);
    tree->generation = head->generation;
    tree->bytes = head->bytes;
    tree->groups = (struct tree_group *)(void *)(image + offsets[GROUPS]);
    tree->rows = (struct tree_row *)(void *)(image + offsets[ROWS]);
    tree->nodes = (struct tree_node *)(void *)(image + offsets[NODES]);
    tree->blobs = (struct tree_blob *)(void *)(image + offsets[BLOBS]);
    tree->references = (uint32_t *)(void *)(image + offsets[REFERENCES]);
    tree->group_count = head->counts[GROUPS];
    tree->row_count = head->counts[ROWS];
    tree->node_count = head->counts[NODES];
    tree->blob_count = head->counts[BLOBS];
    tree->reference_count = head->counts[REFERENCES];
    return tree;
}

static int restore(struct tree *tree, const struct strings *strings)
{
    int r;

    if (strings->bytes[strings->size - 1] != '\0' ||
        !restore_texts(strings, (char *)tree->groups, tree->group_count, sizeof(*tree->groups),
                       group_texts, GROUP_TEXTS) ||
        !restore_texts(strings, (char *)tree->rows, tree->row_count, sizeof(*tree->rows), row_texts,
                       ROW_TEXTS) ||
        !restore_nodes(strings, tree->nodes, tree->node_count) ||
        !groups_and_rows_are_sound(tree) || !blobs_are_sound(tree))
        return -EBADMSG;
    r = tree_check(tree);
    if (r < 0)
        return r == -ENOMEM ? r : -EBADMSG;
    return rows_are_in_place(tree) ? 0 : -EBADMSG;
}

int tree_image_read(char *image, size_t before, size_t size, struct tree **ret_tree)
{
    struct image_head head;
    size_t offsets[PARTS];
    struct tree *tree;
    int r;

    if (size < before || size - before < sizeof(head))
        return -EBADMSG;
    memcpy(&head, image + before, sizeof(head));
    if (!head_is_sound(&head, before, size, offsets))
        return -EBADMSG;
    tree = place_tree(&head, image, offsets);
    if (!tree)
        return -ENOMEM;
    r = restore(tree, &(struct strings){image + offsets[STRINGS], head.counts[STRINGS]});
    if (r < 0) {
        free(tree);
        return r;
    }
    tree->image = image;
    tree->image_strings = image + offsets[STRINGS];
    tree->image_strings_size = head.counts[STRINGS];
    *ret_tree = tree;
    return 0;
}
