/* SPDX-License-Identifier: MIT */
/* tree.c - reading a tree, and telling whether one is what it should be.
 *
 * Nothing here writes to a tree but the count of its holders, which is why nothing here locks. The
 * order of nodes and references is made by tree_builder.c; tree_check counts it all again. */
#include <errno.h>

#include "cache/pages.h"
#include "cache/scoped.h"
#include "sync/tree_private.h"

const struct tree_section_facts *tree_section(enum tree_section section)
{
    static const struct tree_section_facts all[TREE_SECTIONS] = {
        [TREE_DIRECT] = {.name = "direct_tables",
                         .folder = "data",
                         .name_key = "name",
                         .has_tables = true},
        [TREE_PACKAGES] = {.name = "data_packages",
                           .folder = "data",
                           .group_key = "package",
                           .name_key = "name",
                           .stack_type = "data_package",
                           .has_tables = true,
                           .is_lasting = true},
        [TREE_MEMORY] = {.name = "memory_domains",
                         .folder = "memory",
                         .name_key = "slug",
                         .stack_type = "memory_domain",
                         .is_alone = true},
        [TREE_KNOWLEDGE] = {.name = "knowledge_artifacts",
                            .folder = "knowledge",
                            .group_key = "kind",
                            .name_key = "name",
                            .is_optional = true},
    };

    return &all[section];
}

static const char *const requirements[REQUIREMENTS] = {
    [REQUIREMENT_REQUIRED] = "required",
    [REQUIREMENT_AVAILABLE] = "available",
};

const char *tree_requirement_name(enum tree_requirement requirement)
{
    return requirements[requirement];
}

enum tree_requirement tree_requirement_from_name(const char *name)
{
    for (enum tree_requirement i = 0; name && i < REQUIREMENTS; i++) {
        if (requirements[i] && strcmp(requirements[i], name) == 0)
            return i;
    }
    return REQUIREMENT_UNKNOWN;
}

enum tree_form tree_group_form(const struct tree_group *group)
{
    if (group->section == TREE_KNOWLEDGE)
        return strcmp(group->slug, TREE_KIND_DIGEST) == 0 ? FORM_DIGEST : FORM_DATABASE;
    return group->section == TREE_MEMORY ? FORM_BUNDLE : FORM_PARQUET;
}

int tree_path_compare(const char *a, const char *b)
{
    while (*a == *b && *a) {
        a++;
        b++;
    }
    if (*a == *b)
        return 0;
    if (!*a || !*b)
        return *a ? 1 : -1;
    if (*a == '/' || *b == '/')
        return *a == '/' ? -1 : 1;
    return (unsigned char)*a < (unsigned char)*b ? -1 : 1;
}

/* --- holding --- */

void tree_destroy(struct tree *tree)
{
    if (!tree)
        return;
    if (tree->image && tree->image_pages > 0) {
        pages_free(tree->image, tree->image_pages);
    } else if (tree->image) {
        free(tree->image);
    } else {
        free(tree->groups);
        free(tree->rows);
        free(tree->nodes);
        free(tree->blobs);
        free(tree->references);
        arena_release(&tree->strings);
    }
    free(tree);
}

struct tree *tree_ref(struct tree *tree)
{
    atomic_fetch_add_explicit(&tree->holders, 1, memory_order_relaxed);
    return tree;
}

void tree_unref(struct tree *tree)
{
    if (tree && atomic_fetch_sub_explicit(&tree->holders, 1, memory_order_acq_rel) == 1)
        tree_destroy(tree);
}

void tree_unrefp(struct tree *const *tree)
{
    tree_unref(*tree);
}

/* --- looking up --- */

uint64_t tree_generation(const struct tree *tree)
{
    return tree->generation;
}

const struct tree_node *tree_root(const struct tree *tree)
{
    return &tree->nodes[0];
}

const struct tree_node *tree_node(const struct tree *tree, uint32_t index)
{
    return &tree->nodes[index];
}

uint32_t tree_node_index(const struct tree *tree, const struct tree_node *node)
{
    return (uint32_t)(node - tree->nodes);
}

size_t tree_node_count(const struct tree *tree)
{
    return tree->node_count;
}

static const struct tree_node *find_child(const struct tree *tree, const struct tree_node *dir,
                                          const char *name, size_t length)
{
    uint32_t low = dir->dir.first;
    uint32_t high = low + dir->dir.count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        const struct tree_node *child = &tree->nodes[middle];
        int order = strncmp(child->name, name, length);

        if (order == 0 && !child->name[length])
            return child;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

const struct tree_node *tree_find(const struct tree *tree, const char *path)
{
    const struct tree_node *node = tree_root(tree);

    while (*path && node) {
        size_t length = strcspn(path, "/");

        if (node->type != TREE_DIR || length == 0)
            return NULL;
        node = find_child(tree, node, path, length);
        path += length;
        if (*path == '/' && !*++path)
            return NULL;
    }
    return node;
}

const struct tree_node *tree_child(const struct tree *tree, const struct tree_node *dir,
                                   const char *name)
{
    return dir->type == TREE_DIR ? find_child(tree, dir, name, strlen(name)) : NULL;
}

int tree_path(const struct tree *tree, const struct tree_node *node, char *ret_path, size_t size)
{
    const struct tree_node *root = tree_root(tree);
    size_t length = 0;

    for (const struct tree_node *at = node; at != root; at = &tree->nodes[at->parent])
        length += strlen(at->name) + 1;
    if (size == 0 || length > size)
        return -ENAMETOOLONG;
    if (length == 0)
        ret_path[0] = '\0';
    /* From the end: each name with the byte that follows it. */
    for (const struct tree_node *at = node; at != root; at = &tree->nodes[at->parent]) {
        size_t part = strlen(at->name);

        ret_path[--length] = at == node ? '\0' : '/';
        length -= part;
        memcpy(ret_path + length, at->name, part);
    }
    return 0;
}

const struct tree_group *tree_group(const struct tree *tree, uint32_t index)
{
    return &tree->groups[index];
}

size_t tree_group_count(const struct tree *tree)
{
    return tree->group_count;
}

const struct tree_row *tree_row(const struct tree *tree, uint32_t index)
{
    return &tree->rows[index];
}

size_t tree_row_count(const struct tree *tree)
{
    return tree->row_count;
}

const struct tree_blob *tree_blob(const struct tree *tree, uint32_t index)
{
    return &tree->blobs[index];
}

size_t tree_blob_count(const struct tree *tree)
{
    return tree->blob_count;
}

const struct tree_blob *tree_blob_find(const struct tree *tree, const struct blob_key *key)
{
    size_t low = 0;
    size_t high = tree->blob_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = blob_key_compare(&tree->blobs[middle].key, key);

        if (order == 0)
            return &tree->blobs[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

const struct tree_node *tree_reference(const struct tree *tree, uint32_t index)
{
    return &tree->nodes[tree->references[index]];
}

uint64_t tree_bytes(const struct tree *tree)
{
    return tree->bytes;
}

/* --- telling whether it is sound --- */

static bool dir_is_sound(const struct tree *tree, uint32_t index)
{
    const struct tree_node *dir = &tree->nodes[index];

    if (dir->dir.count == 0)
        return true;
    if (dir->dir.first <= index || dir->dir.first >= tree->node_count ||
        dir->dir.count > tree->node_count - dir->dir.first)
        return false;
    for (uint32_t i = dir->dir.first; i < dir->dir.first + dir->dir.count; i++) {
        if (tree->nodes[i].parent != index)
            return false;
        if (i > dir->dir.first && strcmp(tree->nodes[i - 1].name, tree->nodes[i].name) >= 0)
            return false;
    }
    return true;
}

/* Counts the children of every directory and the names of every blob: all nodes but the root must
 * be somebody's child, and counts[blob] must come to its references. */
static bool nodes_are_sound(const struct tree *tree, uint32_t *counts)
{
    size_t children = 0;

    for (uint32_t i = 0; i < tree->node_count; i++) {
        const struct tree_node *node = &tree->nodes[i];

        if (node->row != TREE_NO_ROW && node->row >= tree->row_count)
            return false;
        if (i && (!*node->name || strchr(node->name, '/')))
            return false;
        if (node->type == TREE_DIR && !dir_is_sound(tree, i))
            return false;
        if (node->type == TREE_DIR)
            children += node->dir.count;
        if (node->type == TREE_BLOB && node->blob >= tree->blob_count)
            return false;
        if (node->type == TREE_BLOB)
            counts[node->blob]++;
    }
    return children + 1 == tree->node_count;
}

static bool references_are_sound(const struct tree *tree, uint32_t index)
{
    const struct tree_blob *blob = &tree->blobs[index];
    char paths[2][TREE_PATH_MAX];

    for (uint32_t i = 0; i < blob->references; i++) {
        const struct tree_node *node;

        if (tree->references[blob->first + i] >= tree->node_count)
            return false;
        node = tree_reference(tree, blob->first + i);
        if (node->type != TREE_BLOB || node->blob != index)
            return false;
        if (blob->references == 1)
            break;
        if (tree_path(tree, node, paths[i % 2], TREE_PATH_MAX) < 0)
            return false;
        if (i && tree_path_compare(paths[(i - 1) % 2], paths[i % 2]) >= 0)
            return false;
    }
    return true;
}

int tree_check(const struct tree *tree)
{
    scoped_free uint32_t *counts = calloc(tree->blob_count + 1, sizeof(*counts));
    uint32_t first = 0;
    uint64_t bytes = 0;

    if (!counts)
        return -ENOMEM;
    if (tree_root(tree)->type != TREE_DIR || tree_root(tree)->parent != 0)
        return -EUCLEAN;
    if (!nodes_are_sound(tree, counts))
        return -EUCLEAN;
    for (uint32_t i = 0; i < tree->blob_count; i++) {
        const struct tree_blob *blob = &tree->blobs[i];

        if (i && blob_key_compare(&tree->blobs[i - 1].key, &blob->key) >= 0)
            return -EUCLEAN;
        if (blob->references == 0 || blob->references != counts[i] || blob->first != first ||
            blob->references > tree->reference_count - first)
            return -EUCLEAN;
        if (!references_are_sound(tree, i))
            return -EUCLEAN;
        first += blob->references;
        bytes = tree_bytes_sum(bytes, blob->key.size);
    }
    for (size_t i = 0; i < tree->row_count; i++) {
        if (tree->rows[i].group >= tree->group_count)
            return -EUCLEAN;
    }
    return first == tree->reference_count && bytes == tree->bytes ? 0 : -EUCLEAN;
}
