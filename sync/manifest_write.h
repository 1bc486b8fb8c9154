/* SPDX-License-Identifier: MIT */
/* manifest_write.h - a generation as the manifest of a static stack: .agnes/manifest.json.
 *
 * What the folder shows, in the words of a manifest (manifest.h), so that programs and agents can read
 * it without a socket, and so that the folder itself is a static stack (source.h): all URLs are
 * relative to .agnes/. Mounted again, it is the same tree: ids, names, md5, sizes, rows, times, parts,
 * bundles, knowledge. A withheld row is there with its reason ("withheld"). Beside that:
 *
 *     "version": 1, "generation", "source": where the stack comes from
 *
 * One row a line. It has no times but the server's and depends on the tree alone: the same generation
 * is the same text.
 *
 * About 300 bytes a table: 100,000 tables are 30 MB. Pure. Errors: -ENOMEM, -ERANGE. */
#pragma once

#include "sync/tree.h"

#define MANIFEST_WRITE_VERSION 1

/* source: as text, for people. ret_text: malloc'd, with a NUL behind it. */
int manifest_write(const struct tree *tree, const char *source, char **ret_text, size_t *ret_size);
