/* SPDX-License-Identifier: MIT */
/* tree_image_make.c - from a tree to its image: the arrays as they are, with offsets for pointers. */
#include <assert.h>
#include <errno.h>

#include "cache/scoped.h"
#include "sync/tree_image_private.h"

const size_t tree_image_entry_sizes[PARTS] = {
    [GROUPS] = sizeof(struct tree_group), [ROWS] = sizeof(struct tree_row),
    [NODES] = sizeof(struct tree_node),   [BLOBS] = sizeof(struct tree_blob),
    [REFERENCES] = sizeof(uint32_t),      [STRINGS] = 1,
};

const struct text_field tree_image_group_texts[GROUP_TEXTS] = {
    {offsetof(struct tree_group, slug), false},
    {offsetof(struct tree_group, folder), false},
    {offsetof(struct tree_group, name), false},
    {offsetof(struct tree_group, description), false},
};

const struct text_field tree_image_row_texts[ROW_TEXTS] = {
    {offsetof(struct tree_row, name), false},       {offsetof(struct tree_row, title), false},
    {offsetof(struct tree_row, path), true},        {offsetof(struct tree_row, table_id), false},
    {offsetof(struct tree_row, token), false},      {offsetof(struct tree_row, md5), false},
    {offsetof(struct tree_row, url), false},        {offsetof(struct tree_row, updated), false},
    {offsetof(struct tree_row, query_mode), false}, {offsetof(struct tree_row, withheld), true},
};

/* A pointer without its line above would come back as it was in another process. */
static_assert(sizeof(struct tree_group) == 16 + GROUP_TEXTS * sizeof(char *), "a field is new");
static_assert(sizeof(struct tree_row) == 24 + ROW_TEXTS * sizeof(char *), "a field is new");

static size_t aligned(size_t size)
{
    return (size + TREE_IMAGE_ALIGN - 1) / TREE_IMAGE_ALIGN * TREE_IMAGE_ALIGN;
}

size_t tree_image_place(const struct image_head *head, size_t before, size_t offsets[PARTS])
{
    size_t at = before + aligned(sizeof(*head));

    for (enum part part = 0; part < PARTS; part++) {
        offsets[part] = at;
        at += aligned(head->counts[part] * tree_image_entry_sizes[part]);
    }
    return at;
}

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

static void fill(const struct tree *tree, const struct image_head *head, char *image,
                 const size_t offsets[PARTS], struct blocks *blocks)
{
    const void *const parts[STRINGS] = {tree->groups, tree->rows, tree->nodes, tree->blobs,
                                        tree->references};

    for (enum part part = 0; part < STRINGS; part++)
        if (head->counts[part] > 0)
            memcpy(image + offsets[part], parts[part],
                   head->counts[part] * tree_image_entry_sizes[part]);
    for (size_t i = 0; i < blocks->count; i++)
        memcpy(image + offsets[STRINGS] + blocks->list[i].offset, blocks->list[i].bytes,
               blocks->list[i].size);
    replace_texts(blocks, image + offsets[GROUPS], tree->group_count, sizeof(struct tree_group),
                  tree_image_group_texts, GROUP_TEXTS);
    replace_texts(blocks, image + offsets[ROWS], tree->row_count, sizeof(struct tree_row),
                  tree_image_row_texts, ROW_TEXTS);
    replace_in_nodes(blocks, image + offsets[NODES], tree->node_count);
}

void draft_release(const struct draft *draft)
{
    free(draft->blocks.list);
}

int draft_make(const struct tree *tree, size_t before, struct draft *ret_draft)
{
    int r;

    *ret_draft = (struct draft){.tree = tree,
                                .before = before,
                                .head = {.generation = tree->generation,
                                         .bytes = tree->bytes,
                                         .counts = {tree->group_count, tree->row_count,
                                                    tree->node_count, tree->blob_count,
                                                    tree->reference_count}}};
    r = find_blocks(tree, &ret_draft->blocks);
    if (r < 0)
        return r;
    memcpy(ret_draft->head.entry_sizes, tree_image_entry_sizes, sizeof(tree_image_entry_sizes));
    ret_draft->head.counts[STRINGS] = ret_draft->blocks.size;
    ret_draft->size = tree_image_place(&ret_draft->head, before, ret_draft->offsets);
    return 0;
}

int draft_write(struct draft *draft, char *image)
{
    memcpy(image + draft->before, &draft->head, sizeof(draft->head));
    fill(draft->tree, &draft->head, image, draft->offsets, &draft->blocks);
    return draft->blocks.lost ? -EBADMSG : 0;
}

int tree_image_make(const struct tree *tree, size_t before, char **ret_image, size_t *ret_size)
{
    scoped(draft_release) struct draft draft;
    scoped_free char *image = NULL;
    int r = draft_make(tree, before, &draft);

    if (r < 0)
        return r;
    image = calloc(1, draft.size);
    r = image ? draft_write(&draft, image) : -ENOMEM;
    if (r < 0)
        return r;
    *ret_image = take_ptr(image);
    *ret_size = draft.size;
    return 0;
}
