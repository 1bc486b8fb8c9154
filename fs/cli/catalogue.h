/* SPDX-License-Identifier: MIT */
/* catalogue.h - the rows of a generation, each with what the cache has of it.
 *
 * Read from the cache's state file, so it needs neither a mount nor a network, and may run beside
 * both. */
#pragma once

#include "cache/store.h"
#include "sync/tree.h"

/* How much of a row the cache holds. */
enum residence {
    RESIDENCE_COLD,
    RESIDENCE_PARTIAL,
    RESIDENCE_WHOLE,
};

enum residence catalogue_residence(const struct tree *tree, const struct tree_row *row,
                                   struct store *store);

/* "resident", "partial", "cold", "unverified" (resident, but no md5 was ever given), "withheld". */
const char *catalogue_state(const struct tree_row *row, enum residence residence);

/* "sales/orders": how people name a row across versions; empty for a group without slug. */
void catalogue_name(const struct tree *tree, const struct tree_row *row, char *ret_name,
                    size_t size);

/* Does the row's path, or its name as above, match the glob? NULL matches all. */
bool catalogue_matches(const struct tree *tree, const struct tree_row *row, const char *glob);
