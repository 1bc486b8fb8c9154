/* SPDX-License-Identifier: MIT */
/* tree_image.h - a tree as one piece of memory, and back without parsing.
 *
 *     tree_image_make(tree) -> bytes, to be written down
 *     bytes, read in one go -> tree_image_read -> the same tree
 *
 * An image is the arrays of the tree as they lie in memory, one after the other, and its strings;
 * where there were pointers there are offsets. It is for the machine and the program that made it,
 * and says so (the sizes of its parts); whether it is whole, its keeper has to know (a checksum).
 *
 * Nothing in it is trusted: counts, indices, offsets and what they lead to are checked, then all
 * that tree_check knows, and that names are names and rows are where they say. So whatever the
 * bytes are, what comes out is a tree or -EBADMSG.
 *
 * A field that is no pointer needs nothing to be in it; a pointer needs its line in tree_image.c.
 * Errors: -EBADMSG, -ENOMEM. */
#pragma once

#include "sync/tree.h"

#define TREE_IMAGE_ALIGN 16

/* before: bytes that are left free at the front, zeroed, for the keeper; a multiple of
 * TREE_IMAGE_ALIGN. The result is for the caller to free. */
int tree_image_make(const struct tree *tree, size_t before, char **ret_image, size_t *ret_size);

/* image: as from malloc; it belongs to the tree on success, and is the caller's, but changed, on
 * failure. */
int tree_image_read(char *image, size_t before, size_t size, struct tree **ret_tree);

/* Moves a tree that nobody else holds yet into one piece of memory with pages of its own, so that all
 * that was in use beside it while it was made can be given back. Without memory it stays as it is. */
void tree_settle(struct tree **tree);
