/* SPDX-License-Identifier: MIT */
/* What a tree costs: bench_tree ROWS prints the bytes that a frozen tree of so many tables in one
 * package keeps allocated. The tables are those of flat.py. */
#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>

#include "sync/tree.h"

static int add_table(struct tree_builder *builder, unsigned long number, uint32_t group)
{
    char name[32], path[64], md5[33], url[64];
    struct blob_key key;
    uint32_t row;
    int r;

    snprintf(name, sizeof(name), "t%07lu", number);
    snprintf(path, sizeof(path), "data/flat/%s.parquet", name);
    snprintf(md5, sizeof(md5), "%032lx", number * 2654435761);
    snprintf(url, sizeof(url), "tables/%s.parquet", name);
    r = blob_key_from_md5(md5, 4096, &key);
    if (r == 0)
        r = tree_builder_add_row(builder,
                                 &(struct tree_row){.group = group,
                                                    .name = name,
                                                    .path = path,
                                                    .table_id = name,
                                                    .token = md5,
                                                    .md5 = md5,
                                                    .url = url,
                                                    .updated = "2026-08-22T10:00:00+00:00",
                                                    .query_mode = "local",
                                                    .rows = 10,
                                                    .size = 4096},
                                 &row);
    return r < 0 ? r : tree_builder_add_blob(builder, path, row, &key, 1700000000000000000);
}

static int make_tree(unsigned long count, struct tree **ret_tree)
{
    const struct tree_group flat = {
        .section = TREE_PACKAGES, .slug = "flat", .folder = "flat", .name = "", .description = ""};
    struct tree_builder *builder;
    uint32_t group;
    int r = tree_builder_new(1, &builder);

    if (r == 0)
        r = tree_builder_add_group(builder, &flat, &group);
    for (unsigned long i = 0; r == 0 && i < count; i++)
        r = add_table(builder, i, group);
    return r < 0 ? r : tree_builder_freeze(builder, ret_tree);
}

static size_t allocated(void)
{
    const struct mallinfo2 info = mallinfo2();

    return info.uordblks + info.hblkhd;
}

int main(int argc, char **argv)
{
    const size_t before = allocated();
    struct tree *tree;

    if (argc != 2 || make_tree(strtoul(argv[1], NULL, 10), &tree) < 0)
        return 1;
    printf("%zu\n", allocated() - before);
    tree_unref(tree);
    return 0;
}
