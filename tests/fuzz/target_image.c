/* SPDX-License-Identifier: MIT */
/* target_image.c - an image of a generation in which somebody has changed bytes, with a checksum that
 * is right nevertheless: it is a tree with all that a tree promises, or it is refused.
 *
 * The input is a list of changes, each of five bytes: a place (two), what to do there (its width and
 * whether to set or to add), and a number of two bytes with a sign. So every change hits something. */
#include "cache/digest.h"
#include "sync/state_image.h"
#include "sync/state_text.h"
#include "sync/tree_image.h"
#include "tests/fuzz/fuzz.h"

/* The head of the file, as in state_image.c: magic, size, digest of what follows that. */
enum { FILE_SIZE_AT = 16, FILE_DIGEST_AT = 24, FILE_REST_AT = 40 };

static struct fuzz_file file = {.name = "sync_state.image"};

static struct tree *make_tree(void)
{
    static const struct tree_group groups[] = {
        {TREE_PACKAGES, "sales", "sales", "Sales", "all of them", REQUIREMENT_REQUIRED},
        {TREE_MEMORY, "fin", "fin", "", "", REQUIREMENT_UNKNOWN},
    };
    static const char *const paths[] = {"data/sales/orders.parquet", "data/sales/clicks",
                                        "memory/fin/bundle.md"};
    struct tree_builder *builder = NULL;
    struct tree *tree = NULL;
    struct blob_key key;
    uint32_t index;

    require(tree_builder_new(7, &builder) == 0);
    for (size_t i = 0; i < 2; i++)
        require(tree_builder_add_group(builder, &groups[i], &index) == 0);
    for (uint32_t i = 0; i < 4; i++) {
        const struct tree_row row = {.group = i == 2,
                                     .flags = i == 1 ? TREE_ROW_PARTS : 0,
                                     .name = "a name",
                                     .title = "",
                                     .path = i < 3 ? paths[i] : NULL,
                                     .table_id = "in.c-1",
                                     .token = "md5:x",
                                     .md5 = "",
                                     .url = "/x",
                                     .updated = "2026-01-01",
                                     .query_mode = "local",
                                     .withheld = i < 3 ? NULL : "query mode remote"};

        require(tree_builder_add_row(builder, &row, &index) == 0);
    }
    blob_key_of_bytes("orders", 6, &key);
    require(tree_builder_add_blob(builder, paths[0], 0, &key, 1) == 0);
    require(tree_builder_add_blob(builder, "data/sales/clicks/m=1/a", 1, &key, 1) == 0);
    blob_key_of_bytes("b", 1, &key);
    require(tree_builder_add_blob(builder, "data/sales/clicks/m=1/b", 1, &key, 2) == 0);
    require(tree_builder_add_blob(builder, paths[2], 2, &key, 2) == 0);
    require(tree_builder_add_text(builder, "README.md", "# What is here\n", 15) == 0);
    require(tree_builder_add_live(builder, ".agnes/status.json", 1) == 0);
    require(tree_builder_freeze(builder, &tree) == 0);
    return tree;
}

/* A good file, written and read again; nothing below makes sense unless that works. */
static void make_file(char **ret_bytes, size_t *ret_size)
{
    struct state state = {.tree = make_tree(), .last_sync_unix = 1}, again;

    require(state_save(fuzz_folder(), &state) == 0);
    require(state_image_save(fuzz_folder(), "fuzz", &state) == 0);
    require(state_image_load(fuzz_folder(), "fuzz", &again) == 0);
    require(tree_equal(state.tree, again.tree));
    state_release(&state);
    state_release(&again);
    file.fd = openat(fuzz_folder(), file.name, O_RDWR | O_CLOEXEC);
    require(file.fd > 0);
    *ret_size = (size_t)lseek(file.fd, 0, SEEK_END);
    *ret_bytes = malloc(*ret_size);
    require(*ret_bytes && pread(file.fd, *ret_bytes, *ret_size, 0) == (ssize_t)*ret_size);
}

static void change(char *bytes, size_t size, const uint8_t *how)
{
    static const size_t widths[] = {1, 2, 4, 8};
    size_t at = how[0] | (size_t)how[1] << 8;
    size_t width = widths[how[2] & 3];
    int16_t number = (int16_t)(how[3] | how[4] << 8);
    uint64_t value = (uint64_t)(int64_t)number, before = 0;

    if (at > size || width > size - at)
        return;
    memcpy(&before, bytes + at, width);
    value += how[2] & 4 ? before : 0;
    memcpy(bytes + at, &value, width); /* little-endian, as everything in it */
}

static void check_tree(const struct tree *tree)
{
    char path[TREE_PATH_MAX];

    require(tree_check(tree) == 0);
    for (uint32_t i = 0; i < tree_node_count(tree); i++) {
        const struct tree_node *node = tree_node(tree, i);

        require(tree_path(tree, node, path, sizeof(path)) == 0);
        require(tree_find(tree, path) == node);
        require(node->row == TREE_NO_ROW || node->row < tree_row_count(tree));
    }
    for (uint32_t i = 0; i < tree_row_count(tree); i++) {
        const struct tree_row *row = tree_row(tree, i);

        require(row->group < tree_group_count(tree));
        require(strlen(row->name) + strlen(row->url) + strlen(tree_group(tree, row->group)->slug) <
                SIZE_MAX);
    }
}

/* By way of the file, whose digest is put right. */
static void load_file(char *bytes, size_t size)
{
    struct state state;
    uint64_t whole = size;
    struct blob_key rest;

    if (size >= FILE_REST_AT) {
        blob_key_of_bytes(bytes + FILE_REST_AT, size - FILE_REST_AT, &rest);
        memcpy(bytes + FILE_SIZE_AT, &whole, sizeof(whole));
        memcpy(bytes + FILE_DIGEST_AT, rest.digest, sizeof(rest.digest));
    }
    fuzz_write(&file, bytes, size);
    if (state_image_load(fuzz_folder(), "fuzz", &state) < 0)
        return;
    check_tree(state.tree);
    state_release(&state);
}

/* As it lies in memory. */
static void read_tree(const uint8_t *changes, size_t count)
{
    static char *image;
    static size_t size;
    struct tree *tree;

    if (!image) {
        tree = make_tree();
        require(tree_image_make(tree, 0, &image, &size) == 0);
        tree_unref(tree);
    }

    char *copy = fuzz_bytes((const uint8_t *)image, size);

    for (size_t i = 0; i < count; i++)
        change(copy, size, changes + 5 * i);
    if (tree_image_read(copy, 0, size, &tree) < 0) {
        free(copy);
        return;
    }
    check_tree(tree);
    tree_unref(tree);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char *bytes;
    static size_t bytes_size;

    if (!bytes)
        make_file(&bytes, &bytes_size);
    if (size == 0)
        return 0;

    size_t count = (size - 1) / 5;

    if (data[0] & 15) {
        read_tree(data + 1, count);
        return 0;
    }

    scoped_free char *copy = fuzz_bytes((const uint8_t *)bytes, bytes_size);
    size_t cut = count > 0 && data[0] == 16 ? data[1] | (size_t)data[2] << 8 : bytes_size;

    for (size_t i = 0; i < count; i++)
        change(copy, bytes_size, data + 1 + 5 * i);
    load_file(copy, cut < bytes_size ? cut : bytes_size);
    return 0;
}
