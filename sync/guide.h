/* SPDX-License-Identifier: MIT */
/* guide.h - what the folder says of itself to people and to agents.
 *
 *     README.md                 what is here, knowledge included, and how to query it
 *     data/<folder>/README.md   one package's tables, withheld ones with the reason; of the direct
 *                               tables only if any is listed
 *     .agnes/duckdb.sql         a view for every listed table
 *
 * Texts of the tree, made from its groups and rows alone: the same rows, whether just read from a
 * manifest or from the state file, give the same bytes. They have no times but the server's, and no
 * generation, so a refresh without news changes nothing. All words of the server are quoted
 * (quote.h), and long lists are cut, which they say.
 *
 * One thread, no state. Errors: those of tree_builder_add_text. */
#pragma once

#include "sync/tree.h"

#define GUIDE_SQL "duckdb.sql"

/* Adds the texts, after all groups and rows. root: the absolute path that the folder has for its
 * readers, which is where the views point to; NULL makes their paths relative to the folder. */
int guide_add(struct tree_builder *builder, const char *root);
