/* SPDX-License-Identifier: MIT */
/* tree_image.c - why this is quick: the arrays are read to where they stay, and what has to be done
 * to each entry is to make pointers of its offsets. And why it is safe: nothing follows an offset
 * or an index before it was compared with the size of what it leads into, and all strings end at
 * the last byte of the strings at the latest, which is NUL. */
#include <errno.h>
#include <stdio.h>

#include "cache/pages.h"
#include "cache/scoped.h"
#include "sync/tree_image_private.h"

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
        if (head->entry_sizes[part] != tree_image_entry_sizes[part] ||
            head->counts[part] > size / tree_image_entry_sizes[part])
            return false;
    return head->counts[NODES] < UINT32_MAX && head->counts[STRINGS] > 0 &&
           tree_image_place(head, before, offsets) == size;
}

/* The tree in an image whose head is sound; its pointers are offsets still. */
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
    tree->image = image;
    tree->image_strings = image + offsets[STRINGS];
    tree->image_strings_size = head->counts[STRINGS];
    return tree;
}

static bool restore_pointers(struct tree *tree)
{
    const struct strings strings = {tree->image_strings, tree->image_strings_size};

    return strings.bytes[strings.size - 1] == '\0' &&
           restore_texts(&strings, (char *)tree->groups, tree->group_count, sizeof(*tree->groups),
                         tree_image_group_texts, GROUP_TEXTS) &&
           restore_texts(&strings, (char *)tree->rows, tree->row_count, sizeof(*tree->rows),
                         tree_image_row_texts, ROW_TEXTS) &&
           restore_nodes(&strings, tree->nodes, tree->node_count);
}

static int restore(struct tree *tree)
{
    int r;

    if (!restore_pointers(tree) || !groups_and_rows_are_sound(tree) || !blobs_are_sound(tree))
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
    r = restore(tree);
    if (r < 0) {
        free(tree);
        return r;
    }
    *ret_tree = tree;
    return 0;
}

/* --- settling --- */

void tree_settle(struct tree **tree)
{
    scoped(draft_release) struct draft draft = {.tree = *tree};
    struct tree *settled;
    char *pages;

    if ((*tree)->image || draft_make(*tree, 0, &draft) < 0)
        return;
    pages = pages_new(draft.size);
    settled = pages && draft_write(&draft, pages) == 0
                  ? place_tree(&draft.head, pages, draft.offsets)
                  : NULL;
    if (!settled || !restore_pointers(settled)) {
        free(settled);
        pages_free(pages, draft.size);
        return;
    }
    settled->image_pages = draft.size;
    tree_unref(*tree);
    *tree = settled;
}
