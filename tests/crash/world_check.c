/* SPDX-License-Identifier: MIT */
/* world_check.c - what must be so, whenever the process or the machine stopped.
 *
 *     files    a file under a blob's name is that blob: it got the name when it was whole
 *     blobs    what can be had has the right bytes; what was promised can be had
 *     partials what the map says is here, and proves to be, has the right bytes
 *     state    the version that was published last, or the one that was being published
 *     times    the same content has the time that it had
 *     pins     as they were acknowledged */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cache/partial.h"
#include "cache/scoped.h"
#include "sync/pins.h"
#include "sync/state.h"
#include "sync/state_image.h"
#include "tests/crash/world.h"

enum { PATH_SIZE = 512 };

/* --- files --- */

static bool file_is(int fd, const struct content *content)
{
    scoped_free char *bytes = malloc(content->key.size + 1);

    return bytes && pread(fd, bytes, content->key.size + 1, 0) == (ssize_t)content->key.size &&
           memcmp(bytes, content->bytes, content->key.size) == 0;
}

static void look_at_blob(struct world *world, int shard, const char *name)
{
    scoped_fd int fd = openat(shard, name, O_RDONLY | O_CLOEXEC);
    struct blob_key key;
    int content;

    if (blob_key_parse(name, &key) < 0 || (content = world_find(world, &key)) < 0)
        world_fail(world, "_shared has %s, which is no content of ours", name);
    else if (fd < 0 || !file_is(fd, &world->contents[content]))
        world_fail(world, "content %d: %s has its name and not its bytes", content, name);
}

void world_look_at_files(struct world *world)
{
    char path[PATH_SIZE];

    snprintf(path, sizeof(path), "%s/_shared", world->root);
    scoped_dir DIR *shared = opendir(path);
    const struct dirent *shard;

    while (shared && (shard = readdir(shared))) {
        scoped_dir DIR *dir = NULL;
        const struct dirent *entry;

        if (shard->d_name[0] == '.')
            continue;
        snprintf(path, sizeof(path), "%s/_shared/%s", world->root, shard->d_name);
        dir = opendir(path);
        while (dir && (entry = readdir(dir)))
            if (entry->d_name[0] != '.')
                look_at_blob(world, dirfd(dir), entry->d_name);
    }
}

/* --- blobs --- */

/* As sync does it: what is doubted is verified before it is served. */
static int get(struct store *store, const struct blob_key *key, int *ret_fd)
{
    int r = store_get(store, key, ret_fd);

    if (r == -EUCLEAN)
        r = store_verify(store, key);
    else
        return r;
    return r < 0 ? r : store_get(store, key, ret_fd);
}

static void check_blob(struct world *world, struct store *store, int index, bool promised)
{
    const struct content *content = &world->contents[index];
    scoped_fd int fd = -1;
    int r = get(store, &content->key, &fd);

    if (r == 0 && !file_is(fd, content))
        world_fail(world, "content %d: wrong bytes are served", index);
    if (r < 0 && promised)
        world_fail(world, "content %d: lost, though it was committed: %s", index, strerror(-r));
}

static void check_partial(struct world *world, struct store *store, int index)
{
    const struct content *content = &world->contents[index];
    scoped(partial_putp) struct partial *partial = NULL;
    scoped_free char *bytes = malloc(PARTIAL_BLOCK);

    if (!content->has_md5 || partial_find(store, &content->key, &partial) < 0)
        return;
    for (uint32_t block = 0; block < partial_blocks(partial); block++) {
        const uint64_t offset = block * PARTIAL_BLOCK;
        const uint64_t filled = partial_filled(partial, block);

        if (filled > 0 && partial_read(partial, bytes, filled, offset) == 0 &&
            memcmp(bytes, content->bytes + offset, filled) != 0)
            world_fail(world, "content %d: wrong bytes are served from its partial", index);
    }
}

/* --- state --- */

static void path_of(int slot, const char *package, char ret_path[static PATH_SIZE])
{
    if (slot >= SLOTS - 2)
        snprintf(ret_path, PATH_SIZE, "memory/m%d/bundle.md", slot);
    else if (slot == SLOTS - 3)
        snprintf(ret_path, PATH_SIZE, "data/_direct/t%d.parquet", slot);
    else
        snprintf(ret_path, PATH_SIZE, "data/%s/t%d.parquet", package, slot);
}

/* Does the tree show, at this path, that content, or nothing where there is none? */
static bool shows(const struct world *world, const struct tree *tree, const char *path, int content)
{
    const struct tree_node *node = tree_find(tree, path);

    if (content < 0 || !node)
        return content < 0 && !node;
    return node->type == TREE_BLOB &&
           blob_key_equal(&tree_blob(tree, node->blob)->key, &world->contents[content].key);
}

/* The first slot that is not as the version has it; -1: none, it is that version. */
static int odd_slot(const struct world *world, const struct tree *tree, int version)
{
    char path[PATH_SIZE];

    for (int slot = 0; slot < SLOTS; slot++) {
        int content = world->versions[version].slots[slot];

        path_of(slot, "sales", path);
        if (!shows(world, tree, path, content))
            return slot;
        path_of(slot, "also", path);
        if (slot == SLOTS - 4 && !shows(world, tree, path, content))
            return slot;
    }
    return -1;
}

static bool is_version(const struct world *world, const struct tree *tree, int version)
{
    return tree && version >= 0 ? odd_slot(world, tree, version) < 0 : !tree && version < 0;
}

/* The same content has the time that it had; what is not listed any more may get another. */
static void take_times(struct world *world, const struct tree *tree)
{
    for (int i = 0; i < CONTENTS; i++) {
        const struct tree_blob *blob = tree_blob_find(tree, &world->contents[i].key);
        int64_t *known = &world->promises->mtimes[i];

        if (blob && *known != 0 && *known != blob->mtime_ns)
            world_fail(world, "content %d: its mtime was %" PRId64 " and is %" PRId64, i, *known,
                       blob->mtime_ns);
        *known = blob ? blob->mtime_ns : 0;
    }
}

static void forget_what_is_not_listed(struct world *world)
{
    struct promises *promises = world->promises;

    for (int i = 0; i < CONTENTS; i++)
        if (!world_lists(world, promises->shown, i))
            promises->levels[i] = LEVEL_NONE;
}

void world_note_published(struct world *world, const struct tree *tree, struct store *store)
{
    struct promises *promises = world->promises;

    if (!is_version(world, tree, promises->next))
        world_fail(world, "version %d was served, and is not what is published: see slot %d",
                   promises->next, odd_slot(world, tree, promises->next));
    take_times(world, tree);
    promises->shown = promises->next;
    for (int i = 0; i < CONTENTS; i++)
        if (world_lists(world, promises->shown, i) && store_has(store, &world->contents[i].key))
            promises->levels[i] = LEVEL_DURABLE;
    forget_what_is_not_listed(world);
}

/* An image is a faster way to the same state, or none. */
static void check_image(struct world *world, int dirfd, const struct state *state)
{
    scoped(state_release) struct state image = {.tree = NULL};
    int r = state_image_load(dirfd, "none", &image);

    if (r == 0 && !tree_equal(image.tree, state->tree))
        world_fail(world, "the image is of another state than the state file");
    if (r < 0 && r != -ENOENT)
        world_fail(world, "the image is damaged: %s", strerror(-r));
}

static void check_state(struct world *world, struct store *store)
{
    struct promises *promises = world->promises;
    scoped(state_release) struct state state = {.tree = NULL};
    char message[160] = "";
    bool previous = false;
    int r = state_load(store_dirfd(store), NULL, NULL, &state, &previous, message);

    if (r < 0 && (r != -ENOENT || promises->shown >= 0)) {
        world_fail(world, "no state: %s %s", strerror(-r), message);
        return;
    }
    if (is_version(world, state.tree, promises->next))
        promises->shown = promises->next;
    else if (!is_version(world, state.tree, promises->shown))
        world_fail(world, "the state is neither version %d nor version %d", promises->shown,
                   promises->next);
    promises->next = promises->shown;
    forget_what_is_not_listed(world);
    if (!state.tree)
        return;
    take_times(world, state.tree);
    if (!previous)
        check_image(world, store_dirfd(store), &state);
}

static void check_pins(struct world *world)
{
    scoped_fd int fd = open(world->home, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    scoped(pins_closep) struct pins *pins = NULL;
    int *known = &world->promises->pinned;
    int r = fd < 0 ? 0 : pins_open(fd, &pins);
    int found = pins ? (int)pins_count(pins) : 0;

    if (r < 0 || found > 1 || (found == 1 && strcmp(pins_glob(pins, 0), WORLD_PIN) != 0) ||
        (*known >= 0 && found != *known))
        world_fail(world, "%d pins where %d should be: %s", found, *known, strerror(-r));
    *known = found;
}

/* --- all of it --- */

void world_check(struct world *world, struct store *store, enum level level, bool has_state)
{
    for (int i = 0; i < CONTENTS; i++)
        if (world->promises->levels[i] < level)
            world->promises->levels[i] = LEVEL_NONE; /* it may be gone by now */
    if (has_state) {
        check_state(world, store);
        check_pins(world);
    }
    for (int i = 0; i < CONTENTS; i++) {
        check_blob(world, store, i, world->promises->levels[i] >= level);
        check_partial(world, store, i);
    }
}
