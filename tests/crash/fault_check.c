/* SPDX-License-Identifier: MIT */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cache/scoped.h"
#include "cache/store.h"
#include "sync/state.h"
#include "tests/crash/fault_scene.h"

bool check_bytes(int fd, const struct blob_key *key)
{
    scoped(digest_freep) struct digest *digest = NULL;
    struct digest_sums sums;
    char bytes[65536];
    off_t offset = 0;
    ssize_t n;

    if (digest_new(&digest) < 0)
        return false;
    while ((n = pread(fd, bytes, sizeof(bytes), offset)) > 0) {
        digest_update(digest, bytes, (size_t)n);
        offset += n;
    }
    return n == 0 && (uint64_t)offset == key->size && digest_sums(digest, &sums) == 0 &&
           digest_matches(&sums, key);
}

static const struct blob_key *key_at(const struct tree *tree, const char *path)
{
    const struct tree_node *node = tree_find(tree, path);

    return node && node->type == TREE_BLOB ? &tree_blob(tree, node->blob)->key : NULL;
}

static char said[300];

/* Each name of `of` against what else has it. */
static const char *compare(const struct scene *scene, const struct tree *tree,
                           const struct tree *of)
{
    char path[TREE_PATH_MAX];

    for (uint32_t i = 0; i < tree_node_count(of); i++) {
        const struct tree_node *node = tree_node(of, i);

        if (node->type != TREE_BLOB || tree_path(of, node, path, sizeof(path)) < 0)
            continue;
        const struct blob_key *key = key_at(tree, path);
        const struct blob_key *first = key_at(scene->trees[0], path);
        const struct blob_key *second = key_at(scene->trees[1], path);

        if (!key && first && second)
            return snprintf(said, sizeof(said), "%.200s is missing", path), said;
        if (key && !(first && blob_key_equal(key, first)) &&
            !(second && blob_key_equal(key, second)))
            return snprintf(said, sizeof(said), "%.200s is neither of the two", path), said;
    }
    return NULL;
}

const char *check_tree(const struct scene *scene, const struct tree *tree)
{
    const char *wrong = compare(scene, tree, tree);

    for (size_t i = 0; i < 2 && !wrong; i++)
        wrong = compare(scene, tree, scene->trees[i]);
    return wrong;
}

/* What was readable before must be, whichever of the two it is now. */
static bool is_due(const struct scene *scene, const char *path, enum presence_due due)
{
    return due == DUE_EVERYTHING || (due == DUE_LAST_GOOD && key_at(scene->trees[0], path));
}

static const char *check_blobs(const struct scene *scene, struct store *store,
                               const struct tree *tree, enum presence_due due)
{
    char path[TREE_PATH_MAX];

    for (uint32_t i = 0; i < tree_node_count(tree); i++) {
        const struct tree_node *node = tree_node(tree, i);
        scoped_fd int fd = -1;
        int r;

        if (node->type != TREE_BLOB || tree_path(tree, node, path, sizeof(path)) < 0)
            continue;
        const struct blob_key *key = &tree_blob(tree, node->blob)->key;

        r = store_get(store, key, &fd);
        if (r == -EUCLEAN) {
            r = store_verify(store, key);
            if (r == 0)
                r = store_get(store, key, &fd);
        }
        if (r == -ENOENT && !is_due(scene, path, due))
            continue;
        if (r < 0)
            return snprintf(said, sizeof(said), "%.150s can not be read: %.100s", path,
                            strerror(-r)),
                   said;
        if (!check_bytes(fd, key))
            return snprintf(said, sizeof(said), "%.200s has wrong bytes", path), said;
    }
    return NULL;
}

static void release_state(struct state *state)
{
    tree_unref(state->tree);
}

static void close_storep(struct store *const *store)
{
    store_close(*store);
}

const char *check_disk(const struct scene *scene, const char *root, enum presence_due due)
{
    scoped(close_storep) struct store *store = NULL;
    scoped(release_state) struct state state = {.tree = NULL};
    char message[200] = "";
    const char *wrong;
    bool previous;
    int r = store_open(root, STORE_READER, &store);

    if (r < 0)
        return snprintf(said, sizeof(said), "no reader gets in: %s", strerror(-r)), said;
    r = state_load(store_dirfd(store), NULL, NULL, &state, &previous, message);
    if (r < 0)
        return snprintf(said, sizeof(said), "no generation: %s %s", strerror(-r), message), said;
    wrong = check_tree(scene, state.tree);
    return wrong ? wrong : check_blobs(scene, store, state.tree, due);
}

unsigned check_descriptors(void)
{
    scoped_dir DIR *dir = opendir("/proc/self/fd");
    unsigned count = 0;

    while (dir && readdir(dir))
        count++;
    return count;
}
