/* SPDX-License-Identifier: MIT */
/* A tree as one piece of memory: the same comes back, and damage is noticed or does no harm. */
#include "sync/tree_image.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cache/scoped.h"

#define BEFORE ((size_t)32)

static struct blob_key key_of(const char *text)
{
    struct blob_key key;

    blob_key_of_bytes(text, strlen(text), &key);
    return key;
}

static uint32_t add_row(struct tree_builder *builder, struct tree_row row)
{
    uint32_t index = 0;

    row.url = row.updated = row.md5 = "";
    row.token = row.token ? row.token : "";
    row.table_id = row.name;
    row.query_mode = "local";
    assert_int_equal(tree_builder_add_row(builder, &row, &index), 0);
    return index;
}

/* Everything that a tree can have; strings enough for several blocks of its arena. */
static struct tree *make_tree(unsigned tables)
{
    struct tree_builder *builder = NULL;
    struct tree *tree = NULL;
    uint32_t group = 0, row;
    struct blob_key key = key_of("shared");

    assert_int_equal(tree_builder_new(7, &builder), 0);
    assert_int_equal(tree_builder_add_group(builder,
                                            &(struct tree_group){.section = TREE_PACKAGES,
                                                                 .slug = "sales",
                                                                 .folder = "sales",
                                                                 .name = "Sales",
                                                                 .description = ""},
                                            &group),
                     0);
    for (unsigned i = 0; i < tables; i++) {
        char path[64], name[32], content[32];

        snprintf(name, sizeof(name), "t%05u", i);
        snprintf(path, sizeof(path), "data/sales/t%05u.parquet", i);
        snprintf(content, sizeof(content), "content %u", i);
        row = add_row(builder, (struct tree_row){.group = group, .name = name, .path = path});
        key = i % 3 ? key_of(content) : key_of("shared");
        assert_int_equal(tree_builder_add_blob(builder, path, row, &key, 1000 + i), 0);
    }
    row = add_row(builder, (struct tree_row){.group = group,
                                             .flags = TREE_ROW_PARTS,
                                             .name = "clicks",
                                             .path = "data/sales/clicks",
                                             .token = "a token of its own"});
    key = key_of("part");
    assert_int_equal(tree_builder_add_dir(builder, "data/sales/clicks", row), 0);
    assert_int_equal(tree_builder_add_blob(builder, "data/sales/clicks/month=1/d.parquet", row,
                                           &key, 5),
                     0);
    add_row(builder, (struct tree_row){.group = group, .name = "far", .withheld = "remote"});
    assert_int_equal(tree_builder_add_text(builder, "README.md", "# Here\n", 7), 0);
    assert_int_equal(tree_builder_add_text(builder, "empty", "", 0), 0);
    assert_int_equal(tree_builder_add_live(builder, ".agnes/status.json", 3), 0);
    assert_int_equal(tree_builder_add_dir(builder, "memory", TREE_NO_ROW), 0);
    assert_int_equal(tree_builder_freeze(builder, &tree), 0);
    return tree;
}

static char *make_image(const struct tree *tree, size_t *ret_size)
{
    char *image = NULL;

    assert_int_equal(tree_image_make(tree, BEFORE, &image, ret_size), 0);
    for (size_t i = 0; i < BEFORE; i++)
        assert_int_equal(image[i], 0);
    return image;
}

static void the_same_tree_comes_back(void **state)
{
    static const unsigned counts[] = {0, 1, 3000};

    for (size_t i = 0; i < sizeof(counts) / sizeof(*counts); i++) {
        scoped(tree_unrefp) struct tree *tree = make_tree(counts[i]);
        scoped(tree_unrefp) struct tree *again = NULL;
        scoped(tree_unrefp) struct tree *third = NULL;
        size_t size, second_size;
        char *image = make_image(tree, &size);
        char *second;

        assert_int_equal(tree_image_read(image, BEFORE, size, &again), 0);
        assert_true(tree_equal(tree, again));
        assert_int_equal(tree_generation(again), 7);
        assert_int_equal(tree_bytes(again), tree_bytes(tree));
        assert_int_equal(tree_check(again), 0);

        second = make_image(again, &second_size); /* of one that is an image itself */
        assert_int_equal(tree_image_read(second, BEFORE, second_size, &third), 0);
        assert_true(tree_equal(tree, third));
    }
}

/* Whatever a reader may do with a tree. */
static void use(const struct tree *tree)
{
    size_t sum = 0;

    for (uint32_t i = 0; i < tree_node_count(tree); i++) {
        const struct tree_node *node = tree_node(tree, i);
        char path[TREE_PATH_MAX];

        assert_int_equal(tree_path(tree, node, path, sizeof(path)), 0);
        assert_ptr_equal(tree_find(tree, path), node);
        if (node->type == TREE_TEXT)
            sum += strnlen(node->text.bytes, node->text.size) + node->text.key->size;
        if (node->row == TREE_NO_ROW)
            continue;

        const struct tree_row *row = tree_row(tree, node->row);

        assert_true(strlen(path) >= strlen(row->path));
        sum += strlen(tree_group(tree, row->group)->slug) + strlen(row->name) + strlen(row->url);
    }
    for (uint32_t i = 0; i < tree_blob_count(tree); i++) {
        const struct tree_blob *blob = tree_blob(tree, i);

        assert_ptr_equal(tree_blob_find(tree, &blob->key), blob);
        for (uint32_t k = 0; k < blob->references; k++)
            assert_int_equal(tree_reference(tree, blob->first + k)->blob, i);
    }
    assert_true(sum < (size_t)-1);
}

/* Each byte in turn gets other values; with a sanitizer, nothing outside is touched either. */
static void damage_is_noticed_or_harmless(void **state)
{
    static const unsigned char changes[] = {0x01, 0x10, 0x80, 0xff};
    scoped(tree_unrefp) struct tree *tree = make_tree(4);
    scoped_free char *sound = NULL;
    size_t noticed = 0;
    size_t size;

    sound = make_image(tree, &size);
    for (size_t at = BEFORE; at < size; at++) {
        for (size_t i = 0; i < sizeof(changes); i++) {
            struct tree *found = NULL;
            char *image = malloc(size);

            memcpy(image, sound, size);
            image[at] = (char)((unsigned char)image[at] ^ changes[i]);
            if (tree_image_read(image, BEFORE, size, &found) == 0) {
                use(found);
                tree_unref(found);
                continue;
            }
            noticed++;
            free(image);
        }
    }
    assert_true(noticed > size / 2);
}

static void what_is_cut_is_noticed(void **state)
{
    scoped(tree_unrefp) struct tree *tree = make_tree(2);
    scoped_free char *sound = NULL;
    size_t size;

    sound = make_image(tree, &size);
    for (size_t cut = 0; cut < size; cut++) {
        struct tree *found = NULL;
        scoped_free char *image = malloc(cut + 1);

        memcpy(image, sound, cut);
        assert_int_equal(tree_image_read(image, BEFORE, cut, &found), -EBADMSG);
    }
}

static void a_settled_tree_is_the_same_tree(void **state)
{
    static const unsigned counts[] = {0, 1, 3000};

    for (size_t i = 0; i < sizeof(counts) / sizeof(*counts); i++) {
        scoped(tree_unrefp) struct tree *like = make_tree(counts[i]);
        scoped(tree_unrefp) struct tree *tree = make_tree(counts[i]);
        struct tree *const before = tree_ref(tree);
        struct tree *settled;

        tree_settle(&tree);
        assert_ptr_not_equal(tree, before);
        tree_unref(before);
        assert_true(tree_equal(tree, like));
        assert_int_equal(tree_generation(tree), 7);
        assert_int_equal(tree_check(tree), 0);
        use(tree);

        settled = tree;
        tree_settle(&tree); /* it is already */
        assert_ptr_equal(tree, settled);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_tree_comes_back),
        cmocka_unit_test(damage_is_noticed_or_harmless),
        cmocka_unit_test(what_is_cut_is_noticed),
        cmocka_unit_test(a_settled_tree_is_the_same_tree),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
