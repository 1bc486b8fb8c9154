/* SPDX-License-Identifier: MIT */
/* catalogue.c - a row is one blob or a folder of parts; both are walked the same way. */
#include "fs/cli/catalogue.h"

#include <stdio.h>

#include "cache/partial.h"
#include "cache/scoped.h"
#include "sync/pins.h"

struct tally {
    size_t files;
    size_t resident;
    size_t begun;
};

static bool has_some(struct store *store, const struct blob_key *key)
{
    scoped(partial_putp) struct partial *partial = NULL;

    return partial_find(store, key, &partial) == 0 && partial_bytes(partial) > 0;
}

static void count_node(const struct tree *tree, const struct tree_node *node, struct store *store,
                       struct tally *tally)
{
    if (node->type == TREE_BLOB) {
        const struct blob_key *key = &tree_blob(tree, node->blob)->key;
        bool resident = store_has(store, key);

        tally->files++;
        tally->resident += resident;
        tally->begun += !resident && has_some(store, key);
    }
    for (uint32_t i = 0; node->type == TREE_DIR && i < node->dir.count; i++)
        count_node(tree, tree_node(tree, node->dir.first + i), store, tally);
}

enum residence catalogue_residence(const struct tree *tree, const struct tree_row *row,
                                   struct store *store)
{
    const struct tree_node *node = row->path ? tree_find(tree, row->path) : NULL;
    struct tally tally = {0};

    if (node)
        count_node(tree, node, store, &tally);
    if (tally.resident == 0 && tally.begun == 0 && tally.files > 0)
        return RESIDENCE_COLD;
    return tally.resident < tally.files ? RESIDENCE_PARTIAL : RESIDENCE_WHOLE;
}

const char *catalogue_state(const struct tree_row *row, enum residence residence)
{
    if (row->withheld)
        return "withheld";
    if (residence == RESIDENCE_COLD)
        return "cold";
    if (residence == RESIDENCE_PARTIAL)
        return "partial";
    return row->flags & TREE_ROW_UNVERIFIED ? "unverified" : "resident";
}

void catalogue_name(const struct tree *tree, const struct tree_row *row, char *ret_name,
                    size_t size)
{
    const struct tree_group *group = tree_group(tree, row->group);

    snprintf(ret_name, size, "%s/%s", *group->slug ? group->slug : group->folder, row->name);
}

bool catalogue_matches(const struct tree *tree, const struct tree_row *row, const char *glob)
{
    return !glob || pin_matches(glob, tree_group(tree, row->group), row);
}
