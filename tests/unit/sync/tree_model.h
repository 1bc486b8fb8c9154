/* SPDX-License-Identifier: MIT */
/* tree_model.h - the naive tree: a list of whole paths. Random models against the real thing.
 *
 * Segments come from a small set in which '/' sorts on the wrong side of its neighbours, so that a
 * plain strcmp over paths would show. A name's content is a number; blobs with the same number are
 * the same blob. Directories are listed like everything else, also those nobody added. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "sync/tree.h"

#define MODEL_NAMES 256
#define MODEL_PATH 64

struct model_name {
    char path[MODEL_PATH];
    enum tree_type type;
    unsigned content;
};

struct model {
    struct model_name names[MODEL_NAMES]; /* parents before children */
    size_t count;
    int64_t time; /* of all blobs; different times are different blobs to a reader */
};

static inline uint64_t model_random(uint64_t *seed)
{
    uint64_t z = (*seed += 0x9e3779b97f4a7c15u);

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static inline struct blob_key model_key(unsigned content)
{
    struct blob_key key;

    blob_key_of_bytes(&content, sizeof(content), &key);
    key.kind = content % 2 ? BLOB_MD5 : BLOB_XXH;
    return key;
}

static inline const struct model_name *model_find(const struct model *model, const char *path)
{
    for (size_t i = 0; i < model->count; i++) {
        if (strcmp(model->names[i].path, path) == 0)
            return &model->names[i];
    }
    return NULL;
}

/* "" for a name in the root. */
static inline void model_parent(const char *path, char ret_parent[static MODEL_PATH])
{
    const char *slash = strrchr(path, '/');

    snprintf(ret_parent, MODEL_PATH, "%.*s", slash ? (int)(slash - path) : 0, path);
}

/* Adds a name and the directories above it; not at all where the place is taken. */
static inline void model_add(struct model *model, const char *path, enum tree_type type,
                             unsigned content)
{
    char parent[MODEL_PATH];
    const struct model_name *above;

    model_parent(path, parent);
    if (model_find(model, path))
        return;
    if (*parent) {
        model_add(model, parent, TREE_DIR, 0);
        above = model_find(model, parent);
        if (!above || above->type != TREE_DIR)
            return;
    }
    if (model->count < MODEL_NAMES) {
        struct model_name *name = &model->names[model->count++];

        snprintf(name->path, sizeof(name->path), "%s", path);
        name->type = type;
        name->content = content;
    }
}

static inline void model_fill(struct model *model, uint64_t *seed, size_t tries)
{
    static const char *const segments[] = {"a", "a!", "a.b", "ab", "b", "a-", "a0", "\xc3\xa9"};

    *model = (struct model){.time = 1000};
    for (size_t i = 0; i < tries; i++) {
        char path[MODEL_PATH] = "";
        size_t depth = 1 + model_random(seed) % 4;

        for (size_t level = 0; level < depth; level++) {
            if (level)
                strcat(path, "/");
            strcat(path, segments[model_random(seed) % 8]);
        }
        model_add(model, path, (enum tree_type)(model_random(seed) % 4),
                  (unsigned)(model_random(seed) % 8));
    }
}

/* The model as a tree, its names added in a random order. */
static inline struct tree *model_build(const struct model *model, uint64_t generation,
                                       uint64_t *seed)
{
    struct tree_builder *builder = NULL;
    struct tree *tree = NULL;
    size_t order[MODEL_NAMES];

    assert_int_equal(tree_builder_new(generation, &builder), 0);
    for (size_t i = 0; i < model->count; i++) {
        size_t j = model_random(seed) % (i + 1);

        order[i] = order[j];
        order[j] = i;
    }
    for (size_t i = 0; i < model->count; i++) {
        const struct model_name *name = &model->names[order[i]];
        struct blob_key key = model_key(name->content);
        char text[16];
        int r = 0;

        snprintf(text, sizeof(text), "%u", name->content);
        switch (name->type) {
        case TREE_DIR: r = tree_builder_add_dir(builder, name->path, TREE_NO_ROW); break;
        case TREE_BLOB:
            r = tree_builder_add_blob(builder, name->path, TREE_NO_ROW, &key, model->time);
            break;
        case TREE_TEXT: r = tree_builder_add_text(builder, name->path, text, strlen(text)); break;
        case TREE_LIVE: r = tree_builder_add_live(builder, name->path, name->content); break;
        }
        assert_int_equal(r, 0);
    }
    assert_int_equal(tree_builder_freeze(builder, &tree), 0);
    return tree;
}
