/* SPDX-License-Identifier: MIT */
/* tree_private.h - what a tree is made of. For tree*.c only. */
#pragma once

#include <stdatomic.h>

#include "sync/arena.h"
#include "sync/tree.h"

struct tree {
    atomic_uint holders; /* all else is const once the tree is frozen */
    uint64_t generation;
    uint64_t bytes;

    struct tree_group *groups;
    struct tree_row *rows;
    struct tree_node *nodes; /* level by level, the root first */
    struct tree_blob *blobs;
    uint32_t *references; /* indices of nodes, blob by blob */
    size_t group_count;
    size_t row_count;
    size_t node_count;
    size_t blob_count;
    size_t reference_count;

    struct arena strings; /* and the keys of texts */
    char *image;          /* one piece of memory that all of it is in; NULL: each has its own */
    size_t image_pages;   /* its size, if it has pages of its own; 0: it is malloc's */
    const char *image_strings;
    size_t image_strings_size;
};

struct tree_builder {
    struct tree *tree;       /* handed out by freeze; until then without nodes */
    struct tree_node *names; /* node.name is the whole path; node.blob indexes tree->blobs */
    size_t name_count;
};

/* Path order: a directory, then all that is below it, then its next sibling. It is strcmp with '/'
 * below every other byte, which "data/a", "data/a/b", "data/a.b" shows to be something else. */
int tree_path_compare(const char *a, const char *b);

void tree_destroy(struct tree *tree);
