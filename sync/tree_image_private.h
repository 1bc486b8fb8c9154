/* SPDX-License-Identifier: MIT */
/* tree_image_private.h - what an image is made of. For tree_image*.c only.
 *
 *     head | groups | rows | nodes | blobs | references | strings      each at a multiple of 16
 *
 * The strings are the blocks of the tree's arena as they are. An offset counts from one byte before
 * the strings, so that 0 is NULL; all strings that lie elsewhere are "", which is the first byte. */
#pragma once

#include "sync/tree_image.h"
#include "sync/tree_private.h"

enum part { GROUPS, ROWS, NODES, BLOBS, REFERENCES, STRINGS, PARTS };

extern const size_t tree_image_entry_sizes[PARTS];

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

#define GROUP_TEXTS 4
#define ROW_TEXTS 10

extern const struct text_field tree_image_group_texts[GROUP_TEXTS];
extern const struct text_field tree_image_row_texts[ROW_TEXTS];

/* Where each part begins; the whole size. */
size_t tree_image_place(const struct image_head *head, size_t before, size_t offsets[PARTS]);

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

/* What an image of a tree is going to be. */
struct draft {
    const struct tree *tree;
    struct image_head head;
    struct blocks blocks;
    size_t before;
    size_t offsets[PARTS];
    size_t size;
};

int draft_make(const struct tree *tree, size_t before, struct draft *ret_draft);
void draft_release(const struct draft *draft);

/* image: zeroed, draft->size of them. */
int draft_write(struct draft *draft, char *image);
