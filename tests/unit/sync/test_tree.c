/* SPDX-License-Identifier: MIT */
/* test_tree.c - a tree is what was added to it, in the promised order, and counts right. */
#include <errno.h>
#include <time.h>

#include "cache/scoped.h"
#include "tests/unit/sync/tree_model.h"

static struct tree_builder *new_builder(void)
{
    struct tree_builder *builder = NULL;

    assert_int_equal(tree_builder_new(7, &builder), 0);
    return builder;
}

static struct tree *freeze(struct tree_builder *builder)
{
    struct tree *tree = NULL;

    assert_int_equal(tree_builder_freeze(builder, &tree), 0);
    assert_int_equal(tree_check(tree), 0);
    return tree;
}

static uint32_t add_group(struct tree_builder *builder, enum tree_section section, const char *slug)
{
    struct tree_group group = {
        section, slug, slug, "Sales", "All that was sold", REQUIREMENT_REQUIRED};
    uint32_t index = 99;

    assert_int_equal(tree_builder_add_group(builder, &group, &index), 0);
    return index;
}

static struct tree_row sample_row(uint32_t group, const char *name, const char *path)
{
    return (struct tree_row){
        .group = group,
        .name = name,
        .path = path,
        .table_id = name,
        .token = "900150983cd24fb0d6963f7d28e17f72",
        .md5 = "900150983cd24fb0d6963f7d28e17f72",
        .url = "",
        .updated = "2026-07-01T00:00:00Z",
        .query_mode = "local",
        .rows = -1,
        .size = 4,
    };
}

static uint32_t add_row(struct tree_builder *builder, uint32_t group, const char *name,
                        const char *path)
{
    struct tree_row row = sample_row(group, name, path);
    uint32_t index = 99;

    assert_int_equal(tree_builder_add_row(builder, &row, &index), 0);
    return index;
}

static void add_blob(struct tree_builder *builder, const char *path, unsigned content,
                     int64_t mtime_ns)
{
    struct blob_key key = model_key(content);

    assert_int_equal(tree_builder_add_blob(builder, path, TREE_NO_ROW, &key, mtime_ns), 0);
}

static void an_empty_tree_is_a_root(void **state)
{
    scoped(tree_unrefp) struct tree *tree = freeze(new_builder());

    assert_int_equal(tree_node_count(tree), 1);
    assert_int_equal(tree_generation(tree), 7);
    assert_ptr_equal(tree_find(tree, ""), tree_root(tree));
    assert_int_equal(tree_root(tree)->type, TREE_DIR);
    assert_int_equal(tree_root(tree)->dir.count, 0);
    assert_int_equal(tree_root(tree)->parent, 0);
    assert_int_equal(tree_root(tree)->row, TREE_NO_ROW);
    assert_string_equal(tree_root(tree)->name, "");
    assert_null(tree_find(tree, "a"));
    assert_null(tree_child(tree, tree_root(tree), "a"));
    assert_int_equal(tree_bytes(tree), 0);
}

static void bad_paths_are_refused(void **state)
{
    static const char *const bad[] = {
        "",     "/",    "/a",     "a/",    "a//b", ".",  "..",   "./a",
        "../a", "a/..", "a/../b", "a/./b", "a/.",  "//", "a/b/",
    };
    scoped(tree_builder_freep) struct tree_builder *builder = new_builder();
    uint32_t group = add_group(builder, TREE_DIRECT, "x");
    struct blob_key key = model_key(1);
    char segment[257], path[TREE_PATH_MAX + 1];

    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        struct tree_row row = sample_row(group, "x", bad[i]);
        uint32_t index;

        assert_int_equal(tree_builder_add_dir(builder, bad[i], TREE_NO_ROW), -EINVAL);
        assert_int_equal(tree_builder_add_blob(builder, bad[i], TREE_NO_ROW, &key, 0), -EINVAL);
        assert_int_equal(tree_builder_add_text(builder, bad[i], "x", 1), -EINVAL);
        assert_int_equal(tree_builder_add_live(builder, bad[i], 1), -EINVAL);
        assert_int_equal(tree_builder_add_row(builder, &row, &index), -EINVAL);
    }
    memset(segment, 'x', 256);
    segment[256] = '\0';
    assert_int_equal(tree_builder_add_dir(builder, segment, TREE_NO_ROW), -EINVAL);
    segment[255] = '\0';
    assert_int_equal(tree_builder_add_dir(builder, segment, TREE_NO_ROW), 0);

    for (size_t i = 0; i < TREE_PATH_MAX; i++)
        path[i] = i % 2 ? '/' : 'x';
    path[TREE_PATH_MAX - 1] = 'x';
    path[TREE_PATH_MAX] = '\0';
    assert_int_equal(tree_builder_add_dir(builder, path, TREE_NO_ROW), -EINVAL);
    path[TREE_PATH_MAX - 1] = '\0';
    assert_int_equal(tree_builder_add_dir(builder, path, TREE_NO_ROW), 0);
    path[TREE_PATH_MAX - 2] = '\0'; /* ends in '/' */
    assert_int_equal(tree_builder_add_dir(builder, path, TREE_NO_ROW), -EINVAL);
    assert_int_equal(tree_builder_add_dir(builder, "...", TREE_NO_ROW), 0);
    assert_int_equal(tree_builder_add_dir(builder, ".agnes/..x", TREE_NO_ROW), 0);
}

static void the_deepest_path_works(void **state)
{
    struct tree_builder *builder = new_builder();
    scoped(tree_unrefp) struct tree *tree = NULL;
    char path[TREE_PATH_MAX] = "", back[TREE_PATH_MAX];

    for (size_t i = 0; i < TREE_PATH_MAX - 1; i++)
        path[i] = i % 2 ? '/' : 'x';
    add_blob(builder, path, 1, 0);
    tree = freeze(builder);
    assert_int_equal(tree_node_count(tree), 2049);
    assert_non_null(tree_find(tree, path));
    assert_int_equal(tree_path(tree, tree_find(tree, path), back, sizeof(back)), 0);
    assert_string_equal(back, path);
}

static void a_refused_name_leaves_no_trace(void **state)
{
    struct tree_builder *builder = new_builder();
    scoped(tree_unrefp) struct tree *tree = NULL;
    struct blob_key key = model_key(1), none = {0};

    assert_int_equal(tree_builder_add_blob(builder, "/bad", TREE_NO_ROW, &key, 5), -EINVAL);
    assert_int_equal(tree_builder_add_blob(builder, "row", 0, &key, 5), -EINVAL);
    assert_int_equal(tree_builder_add_blob(builder, "none", TREE_NO_ROW, &none, 5), -EINVAL);
    assert_int_equal(tree_builder_add_dir(builder, "row", 3), -EINVAL);
    add_blob(builder, "good", 2, 5);
    tree = freeze(builder);
    assert_int_equal(tree_node_count(tree), 2);
    assert_int_equal(tree_blob_count(tree), 1);
}

/* Each line: two names that can not both be, in either order, and the error. */
static void names_that_collide(void **state)
{
    static const struct {
        const char *first, *second;
        bool first_is_dir;
        int error;
    } cases[] = {
        {"a", "a", false, -EEXIST},        {"a/b", "a/b", false, -EEXIST},
        {"a", "a", true, -EEXIST},         {"a/b", "a/b", true, -EEXIST},
        {"a", "a/b", false, -ENOTDIR},     {"a", "a/b/c/d", false, -ENOTDIR},
        {"a/b", "a/b/c", false, -ENOTDIR},
    };

    for (size_t i = 0; i < 2 * sizeof(cases) / sizeof(*cases); i++) {
        scoped(tree_builder_freep) struct tree_builder *builder = new_builder();
        struct tree *tree = NULL;

        add_blob(builder, "a!", 9, 0); /* sorts between by strcmp, not by path */
        add_blob(builder, "a.", 9, 0);
        if (i % 2)
            add_blob(builder, cases[i / 2].second, 1, 0);
        if (cases[i / 2].first_is_dir)
            assert_int_equal(tree_builder_add_dir(builder, cases[i / 2].first, TREE_NO_ROW), 0);
        else
            add_blob(builder, cases[i / 2].first, 2, 0);
        if (i % 2 == 0)
            add_blob(builder, cases[i / 2].second, 1, 0);
        assert_int_equal(tree_builder_freeze(builder, &tree), cases[i / 2].error);
        assert_null(tree);
    }
}

static void a_directory_may_be_named_twice(void **state)
{
    struct tree_builder *builder = new_builder();
    scoped(tree_unrefp) struct tree *tree = NULL;
    uint32_t group = add_group(builder, TREE_PACKAGES, "sales");
    uint32_t row = add_row(builder, group, "clicks", "data/clicks");

    add_blob(builder, "data/clicks/part", 1, 0);
    assert_int_equal(tree_builder_add_dir(builder, "data/clicks", TREE_NO_ROW), 0);
    assert_int_equal(tree_builder_add_dir(builder, "data/clicks", row), 0);
    assert_int_equal(tree_builder_add_dir(builder, "data/clicks", row), 0);
    assert_int_equal(tree_builder_add_dir(builder, "empty", TREE_NO_ROW), 0);
    tree = freeze(builder);
    assert_int_equal(tree_node_count(tree), 5);
    assert_int_equal(tree_find(tree, "data/clicks")->row, row);
    assert_int_equal(tree_find(tree, "data")->row, TREE_NO_ROW);
    assert_int_equal(tree_find(tree, "empty")->dir.count, 0);
}

static void a_directory_is_one_row_at_most(void **state)
{
    scoped(tree_builder_freep) struct tree_builder *builder = new_builder();
    uint32_t group = add_group(builder, TREE_PACKAGES, "sales");
    struct tree *tree = NULL;

    add_row(builder, group, "a", "t");
    add_row(builder, group, "b", "t");
    assert_int_equal(tree_builder_add_dir(builder, "t", 0), 0);
    assert_int_equal(tree_builder_add_dir(builder, "t", 1), 0);
    assert_int_equal(tree_builder_freeze(builder, &tree), -EEXIST);
}

static void children_are_sorted_by_name(void **state)
{
    static const char *const sorted[] = {"B", "a", "a!", "a-b", "a.b", "a0", "ab", "\xc3\xa9"};
    struct tree_builder *builder = new_builder();
    scoped(tree_unrefp) struct tree *tree = NULL;
    const struct tree_node *dir;

    for (size_t i = 0; i < 8; i++) {
        char path[32];

        snprintf(path, sizeof(path), "d/%s/x", sorted[(i * 5) % 8]);
        add_blob(builder, path, 1, 0);
    }
    tree = freeze(builder);
    dir = tree_find(tree, "d");
    assert_int_equal(dir->dir.count, 8);
    for (uint32_t i = 0; i < 8; i++)
        assert_string_equal(tree_node(tree, dir->dir.first + i)->name, sorted[i]);
    assert_int_equal(tree_blob(tree, 0)->references, 8);
    /* References come in path order: that of a depth-first walk. */
    for (uint32_t i = 0; i < 8; i++) {
        const struct tree_node *node = tree_reference(tree, tree_blob(tree, 0)->first + i);

        assert_string_equal(tree_node(tree, node->parent)->name, sorted[i]);
    }
}

static void finding(void **state)
{
    static const char *const absent[] = {"d/",    "/d", "d//x",    "x", "d/xx", "d/x/",
                                         "d/x/y", "dd", "d/x/y/z", "/", "..",   "d/.."};
    struct tree_builder *builder = new_builder();
    scoped(tree_unrefp) struct tree *tree = NULL;
    const struct tree_node *dir;

    add_blob(builder, "d/x", 1, 0);
    add_blob(builder, "d/x.parquet", 1, 0);
    tree = freeze(builder);
    for (size_t i = 0; i < sizeof(absent) / sizeof(*absent); i++)
        assert_null(tree_find(tree, absent[i]));
    dir = tree_find(tree, "d");
    assert_ptr_equal(tree_child(tree, dir, "x"), tree_find(tree, "d/x"));
    assert_ptr_equal(tree_child(tree, tree_root(tree), "d"), dir);
    assert_null(tree_child(tree, dir, ""));
    assert_null(tree_child(tree, dir, "x.parque"));
    assert_null(tree_child(tree, tree_find(tree, "d/x"), "x"));
    assert_int_equal(tree_node_index(tree, dir), 1);
    assert_ptr_equal(tree_node(tree, 1), dir);
}

static void a_path_needs_its_room(void **state)
{
    struct tree_builder *builder = new_builder();
    scoped(tree_unrefp) struct tree *tree = NULL;
    char path[8] = "-------";

    add_blob(builder, "ab/cd", 1, 0);
    tree = freeze(builder);
    assert_int_equal(tree_path(tree, tree_find(tree, "ab/cd"), path, 5), -ENAMETOOLONG);
    assert_string_equal(path, "-------");
    assert_int_equal(tree_path(tree, tree_find(tree, "ab/cd"), path, 6), 0);
    assert_string_equal(path, "ab/cd");
    assert_int_equal(tree_path(tree, tree_root(tree), path, 0), -ENAMETOOLONG);
    assert_int_equal(tree_path(tree, tree_root(tree), path, 1), 0);
    assert_string_equal(path, "");
}

static void one_blob_for_equal_keys(void **state)
{
    struct tree_builder *builder = new_builder();
    scoped(tree_unrefp) struct tree *tree = NULL;
    struct blob_key key = model_key(1), absent = model_key(3);
    const struct tree_blob *blob;

    add_blob(builder, "b/x", 1, 300);
    add_blob(builder, "a/x", 1, 100);
    add_blob(builder, "c/x", 1, 200);
    add_blob(builder, "c/y", 2, 50);
    tree = freeze(builder);
    assert_int_equal(tree_blob_count(tree), 2);
    blob = tree_blob_find(tree, &key);
    assert_non_null(blob);
    assert_int_equal(blob->references, 3);
    assert_int_equal(blob->mtime_ns, 100);
    assert_ptr_equal(tree_reference(tree, blob->first), tree_find(tree, "a/x"));
    assert_ptr_equal(tree_reference(tree, blob->first + 1), tree_find(tree, "b/x"));
    assert_ptr_equal(tree_reference(tree, blob->first + 2), tree_find(tree, "c/x"));
    assert_ptr_equal(tree_blob(tree, tree_find(tree, "c/x")->blob), blob);
    assert_null(tree_blob_find(tree, &absent));
    assert_int_equal(tree_bytes(tree), 2 * sizeof(unsigned));
}

/* Two files of which somebody says that they are as large as a number can be. */
static void sums_end_where_numbers_do(void **state)
{
    struct tree_builder *builder = new_builder();
    scoped(tree_unrefp) struct tree *tree = NULL;
    struct blob_key key = {.kind = BLOB_MD5, .size = UINT64_MAX};

    assert_int_equal(tree_builder_add_blob(builder, "a", TREE_NO_ROW, &key, 1), 0);
    key.size--;
    assert_int_equal(tree_builder_add_blob(builder, "b", TREE_NO_ROW, &key, 1), 0);
    tree = freeze(builder);
    assert_true(tree_bytes(tree) == TREE_BYTES_MAX);
    assert_true(tree_bytes_sum(1, 2) == 3);
    assert_true(tree_bytes_sum(1, TREE_BYTES_MAX - 1) == TREE_BYTES_MAX);
}

static void rows_and_groups_are_copied(void **state)
{
    struct tree_builder *builder = new_builder();
    scoped(tree_unrefp) struct tree *tree = NULL;
    char slug[] = "sales", name[] = "orders", path[] = "data/sales/orders.parquet";
    struct tree_group group = {TREE_PACKAGES, slug, slug, "", NULL, REQUIREMENT_UNKNOWN};
    struct tree_row row = {.group = 0, .name = name, .path = path, .withheld = NULL, .rows = 12};
    struct tree_row lost = sample_row(1, "x", NULL);
    struct blob_key key = model_key(1);
    uint32_t index = 99;

    assert_int_equal(tree_builder_add_row(builder, &row, &index), -EINVAL); /* no group yet */
    assert_int_equal(tree_builder_add_group(builder, &group, &index), 0);
    assert_int_equal(index, 0);
    assert_int_equal(tree_builder_add_row(builder, &row, &index), 0);
    assert_int_equal(index, 0);
    assert_int_equal(tree_builder_add_row(builder, &lost, &index), -EINVAL);
    assert_int_equal(tree_builder_add_blob(builder, path, 0, &key, 1), 0);
    group.section = TREE_SECTIONS;
    assert_int_equal(tree_builder_add_group(builder, &group, &index), -EINVAL);
    memset(slug, 'X', 5);
    memset(name, 'X', 6);
    memset(path, 'X', 10);
    row = sample_row(0, "secret", NULL);
    row.withheld = "remote";
    assert_int_equal(tree_builder_add_row(builder, &row, &index), 0);
    assert_int_equal(index, 1);
    tree = freeze(builder);
    assert_int_equal(tree_group_count(tree), 1);
    assert_string_equal(tree_group(tree, 0)->slug, "sales");
    assert_string_equal(tree_group(tree, 0)->folder, "sales");
    assert_string_equal(tree_group(tree, 0)->description, "");
    assert_int_equal(tree_row_count(tree), 2);
    assert_string_equal(tree_row(tree, 0)->name, "orders");
    assert_string_equal(tree_row(tree, 0)->path, "data/sales/orders.parquet");
    assert_string_equal(tree_row(tree, 0)->md5, ""); /* NULL was given */
    assert_null(tree_row(tree, 0)->withheld);
    assert_int_equal(tree_row(tree, 0)->rows, 12);
    assert_null(tree_row(tree, 1)->path);
    assert_string_equal(tree_row(tree, 1)->withheld, "remote");
    assert_string_equal(tree_row(tree, 1)->token, tree_row(tree, 1)->md5);
    assert_int_equal(tree_find(tree, "data/sales/orders.parquet")->row, 0);
}

static void texts_and_live_documents(void **state)
{
    struct tree_builder *builder = new_builder();
    scoped(tree_unrefp) struct tree *tree = NULL;
    char text[] = "with\0NUL";
    struct blob_key key;
    const struct tree_node *node;

    assert_int_equal(tree_builder_add_text(builder, "README.md", text, sizeof(text)), 0);
    assert_int_equal(tree_builder_add_text(builder, "empty", NULL, 0), 0);
    assert_int_equal(tree_builder_add_live(builder, ".agnes/status.json", 3), 0);
    blob_key_of_bytes(text, sizeof(text), &key);
    tree = freeze(builder);
    node = tree_find(tree, "README.md");
    assert_int_equal(node->type, TREE_TEXT);
    assert_int_equal(node->text.size, sizeof(text));
    assert_memory_equal(node->text.bytes, text, sizeof(text));
    assert_true(node->text.bytes != text);
    assert_true(blob_key_equal(node->text.key, &key));
    assert_int_equal(tree_find(tree, "empty")->text.size, 0);
    assert_int_equal(tree_find(tree, ".agnes/status.json")->type, TREE_LIVE);
    assert_int_equal(tree_find(tree, ".agnes/status.json")->live, 3);
    assert_int_equal(tree_blob_count(tree), 0);
}

static void check_against_model(const struct tree *tree, const struct model *model)
{
    size_t found = 1;

    assert_int_equal(tree_check(tree), 0);
    assert_int_equal(tree_node_count(tree), model->count + 1);
    for (size_t i = 0; i < model->count; i++) {
        const struct model_name *name = &model->names[i];
        const struct tree_node *node = tree_find(tree, name->path);
        struct blob_key key = model_key(name->content);
        char path[TREE_PATH_MAX], parent[MODEL_PATH];
        uint32_t references = 0;

        assert_non_null(node);
        assert_int_equal(node->type, name->type);
        assert_int_equal(tree_path(tree, node, path, sizeof(path)), 0);
        assert_string_equal(path, name->path);
        model_parent(name->path, parent);
        assert_ptr_equal(tree_node(tree, node->parent), tree_find(tree, parent));
        if (node->type == TREE_DIR)
            found += node->dir.count;
        if (node->type != TREE_BLOB)
            continue;
        for (size_t j = 0; j < model->count; j++)
            references += model->names[j].type == TREE_BLOB &&
                          model->names[j].content == name->content;
        assert_ptr_equal(tree_blob_find(tree, &key), tree_blob(tree, node->blob));
        assert_int_equal(tree_blob(tree, node->blob)->references, references);
    }
    assert_int_equal(found + tree_root(tree)->dir.count, model->count + 1);
}

static void random_trees_agree_with_the_model(void **state)
{
    uint64_t seed = (uint64_t)time(NULL);

    print_message("seed %llu\n", (unsigned long long)seed);
    for (int round = 0; round < 300; round++) {
        scoped(tree_unrefp) struct tree *tree = NULL;
        scoped(tree_unrefp) struct tree *again = NULL;
        struct model model;

        model_fill(&model, &seed, 1 + model_random(&seed) % 80);
        tree = model_build(&model, 1, &seed);
        check_against_model(tree, &model);
        again = model_build(&model, 2, &seed);
        assert_true(tree_equal(tree, again));
        if (model.count == 0)
            continue;
        tree_unref(again);
        again = NULL;
        model.names[model_random(&seed) % model.count].content += 8;
        if (model.names[model.count - 1].type == TREE_DIR)
            model.count--; /* a directory has no content: take the last away instead */
        else
            model.names[model.count - 1].content += 16;
        again = model_build(&model, 2, &seed);
        assert_false(tree_equal(tree, again));
    }
}

/* One row in one group with one file; variant 0 is the original, each other differs in one thing. */
static struct tree *variant(int number)
{
    struct tree_builder *builder = new_builder();
    struct tree_group group = {TREE_PACKAGES, "sales", "sales", "Sales", "d", REQUIREMENT_UNKNOWN};
    struct tree_row row = sample_row(0, "orders", "data/sales/orders.parquet");
    struct blob_key key = model_key(number == 1 ? 1 : 0);
    uint32_t index;

    row.name = number == 2 ? "x" : row.name;
    row.table_id = number == 3 ? "x" : row.table_id;
    row.token = number == 4 ? "x" : row.token;
    row.md5 = number == 5 ? "x" : row.md5;
    row.url = number == 6 ? "x" : row.url;
    row.updated = number == 7 ? "x" : row.updated;
    row.query_mode = number == 8 ? "x" : row.query_mode;
    row.withheld = number == 9 ? "" : NULL;
    row.path = number == 10 ? NULL : row.path;
    row.rows = number == 11 ? 0 : -1;
    row.size = number == 12 ? 5 : row.size;
    row.flags = number == 13 ? TREE_ROW_KEPT : 0;
    group.slug = number == 14 ? "x" : group.slug;
    group.folder = number == 15 ? "x" : group.folder;
    group.name = number == 16 ? "x" : group.name;
    group.description = number == 17 ? "x" : group.description;
    group.section = number == 18 ? TREE_DIRECT : group.section;
    group.requirement = number == 24 ? REQUIREMENT_REQUIRED : group.requirement;
    row.title = number == 25 ? "x" : row.title;
    assert_int_equal(tree_builder_add_group(builder, &group, &index), 0);
    assert_int_equal(tree_builder_add_row(builder, &row, &index), 0);
    assert_int_equal(tree_builder_add_blob(builder, "data/sales/orders.parquet",
                                           number == 19 ? TREE_NO_ROW : 0, &key,
                                           number == 20 ? 6 : 5),
                     0);
    if (number == 21)
        assert_int_equal(tree_builder_add_group(builder, &group, &index), 0);
    if (number == 22)
        assert_int_equal(tree_builder_add_row(builder, &row, &index), 0);
    if (number == 23)
        assert_int_equal(tree_builder_add_dir(builder, "data/empty", TREE_NO_ROW), 0);
    return freeze(builder);
}

static void every_difference_counts(void **state)
{
    scoped(tree_unrefp) struct tree *original = variant(0);
    scoped(tree_unrefp) struct tree *same = variant(0);

    assert_true(tree_equal(original, same));
    for (int number = 1; number <= 25; number++) {
        scoped(tree_unrefp) struct tree *other = variant(number);

        if (tree_equal(original, other) || tree_equal(other, original))
            fail_msg("difference %d is not noticed", number);
    }
}

static struct tree *two_rows(bool swapped)
{
    struct tree_builder *builder = new_builder();
    uint32_t groups[2];

    groups[swapped] = add_group(builder, swapped ? TREE_MEMORY : TREE_DIRECT, "a");
    groups[!swapped] = add_group(builder, swapped ? TREE_DIRECT : TREE_MEMORY, "a");
    add_row(builder, groups[swapped], swapped ? "second" : "first", NULL);
    add_row(builder, groups[!swapped], swapped ? "first" : "second", NULL);
    return freeze(builder);
}

static void the_order_of_rows_does_not_count(void **state)
{
    scoped(tree_unrefp) struct tree *forward = two_rows(false);
    scoped(tree_unrefp) struct tree *backward = two_rows(true);

    assert_true(tree_equal(forward, backward));
}

static void a_tree_lives_until_its_last_holder(void **state)
{
    struct tree *tree = freeze(new_builder());

    assert_ptr_equal(tree_ref(tree), tree);
    tree_unref(tree);
    assert_int_equal(tree_node_count(tree), 1);
    tree_unref(tree);
    tree_unref(NULL);
    tree_builder_free(NULL);
}

/* The check must be able to fail: damage what only a bug could damage. */
static void the_check_sees_damage(void **state)
{
    struct tree_builder *builder = new_builder();
    scoped(tree_unrefp) struct tree *tree = NULL;
    struct tree_blob *blob;
    struct tree_node *node;
    const char *name;

    add_blob(builder, "a/x", 1, 0);
    add_blob(builder, "a/y", 1, 0);
    add_blob(builder, "b/x", 2, 0);
    tree = freeze(builder);
    blob = (struct tree_blob *)tree_blob(tree, 0);
    blob->references++;
    assert_int_equal(tree_check(tree), -EUCLEAN);
    blob->references -= 2;
    assert_int_equal(tree_check(tree), -EUCLEAN);
    blob->references++;
    assert_int_equal(tree_check(tree), 0);
    node = (struct tree_node *)tree_find(tree, "a/y");
    node->parent++;
    assert_int_equal(tree_check(tree), -EUCLEAN);
    node->parent--;
    node->blob ^= 1;
    assert_int_equal(tree_check(tree), -EUCLEAN);
    node->blob ^= 1;
    name = node->name;
    node->name = "w";
    assert_int_equal(tree_check(tree), -EUCLEAN);
    node->name = name;
    assert_int_equal(tree_check(tree), 0);
}

static void a_hundred_thousand_rows(void **state)
{
    struct tree_builder *builder = new_builder();
    scoped(tree_unrefp) struct tree *tree = NULL;
    struct timespec start, end;
    uint32_t group = add_group(builder, TREE_PACKAGES, "sales");
    int64_t ms;

    clock_gettime(CLOCK_MONOTONIC, &start);
    for (unsigned i = 0; i < 100000; i++) {
        char name[32], path[64];
        struct blob_key key = model_key(i / 2);
        uint32_t row;

        snprintf(name, sizeof(name), "table_%u", i * 7919u % 100000u);
        snprintf(path, sizeof(path), "data/sales/%s.parquet", name);
        row = add_row(builder, group, name, path);
        assert_int_equal(tree_builder_add_blob(builder, path, row, &key, i), 0);
    }
    assert_int_equal(tree_builder_freeze(builder, &tree), 0);
    clock_gettime(CLOCK_MONOTONIC, &end);
    ms = (end.tv_sec - start.tv_sec) * 1000 + (end.tv_nsec - start.tv_nsec) / 1000000;
    print_message("100,000 rows: %d ms\n", (int)ms);
    assert_true(ms < 10000); /* a bound for sanitizers on a loaded machine, not a figure */
    assert_int_equal(tree_check(tree), 0);
    assert_int_equal(tree_find(tree, "data/sales")->dir.count, 100000);
    assert_int_equal(tree_blob_count(tree), 50000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_tree_is_a_root),
        cmocka_unit_test(bad_paths_are_refused),
        cmocka_unit_test(the_deepest_path_works),
        cmocka_unit_test(a_refused_name_leaves_no_trace),
        cmocka_unit_test(names_that_collide),
        cmocka_unit_test(a_directory_may_be_named_twice),
        cmocka_unit_test(a_directory_is_one_row_at_most),
        cmocka_unit_test(children_are_sorted_by_name),
        cmocka_unit_test(finding),
        cmocka_unit_test(a_path_needs_its_room),
        cmocka_unit_test(one_blob_for_equal_keys),
        cmocka_unit_test(sums_end_where_numbers_do),
        cmocka_unit_test(rows_and_groups_are_copied),
        cmocka_unit_test(texts_and_live_documents),
        cmocka_unit_test(random_trees_agree_with_the_model),
        cmocka_unit_test(every_difference_counts),
        cmocka_unit_test(the_order_of_rows_does_not_count),
        cmocka_unit_test(a_tree_lives_until_its_last_holder),
        cmocka_unit_test(the_check_sees_damage),
        cmocka_unit_test(a_hundred_thousand_rows),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
