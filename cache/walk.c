/* SPDX-License-Identifier: MIT */
/* walk.c - readdir, and one opinion about what a name may be.
 *
 * Each directory is opened anew: a duplicated descriptor shares its position, and two walks at once
 * would then each see half. */
#include "cache/walk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "cache/blob.h"
#include "cache/files.h"
#include "cache/names.h"
#include "cache/scoped.h"

struct walk {
    struct store *store;
    found_visitor *visit;
    void *arg;
    const char *shard; /* while inside one */
};

/* Shows one object of a directory; path is relative to the root. */
typedef int entry_visitor(const struct walk *walk, int dir, const char *name, const char *path);

static int for_each(const struct walk *walk, int parent, const char *name, const char *path,
                    entry_visitor *visit)
{
    int fd = -1;
    int r = dir_open(parent, name, false, &fd);

    if (r < 0)
        return r == -ENOENT ? 0 : r;

    scoped_dir DIR *dir = fdopendir(fd);

    if (!dir) {
        r = negative_errno();
        close(fd);
        return r;
    }
    for (;;) {
        errno = 0;
        const struct dirent *entry = readdir(dir);

        if (!entry)
            return errno ? negative_errno() : 0;
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;

        scoped_free char *entry_path = NULL;

        if (asprintf(&entry_path, "%s/%s", path, entry->d_name) < 0)
            return -ENOMEM;
        r = visit(walk, fd, entry->d_name, entry_path);
        if (r != 0)
            return r;
    }
}

static int look(int dir, const char *name, const char *path, struct found_object *ret_object)
{
    *ret_object =
        (struct found_object){.kind = FOUND_FOREIGN, .dir = dir, .name = name, .path = path};
    return fstatat(dir, name, &ret_object->st, AT_SYMLINK_NOFOLLOW) < 0 ? negative_errno() : 0;
}

static int show_in_shard(const struct walk *walk, int dir, const char *name, const char *path)
{
    struct found_object object;
    int r = look(dir, name, path, &object);

    if (r < 0)
        return r == -ENOENT ? 0 : r;
    if (stat_is_plain(&object.st, walk->store->root.owner) &&
        blob_key_parse(name, &object.key) == 0 && blob_in_shard(&object.key, walk->shard))
        object.kind = FOUND_BLOB;
    return walk->visit(walk->arg, &object);
}

static bool is_shard_name(const char *name)
{
    return strlen(name) == 2 && strspn(name, "0123456789abcdef") == 2;
}

static int show_shard(const struct walk *walk, int dir, const char *name, const char *path)
{
    struct found_object object;
    int r = look(dir, name, path, &object);

    if (r < 0)
        return r == -ENOENT ? 0 : r;
    if (!is_shard_name(name) || !S_ISDIR(object.st.st_mode))
        return walk->visit(walk->arg, &object);

    struct walk inside = *walk;

    inside.shard = name;
    return for_each(&inside, dir, name, path, show_in_shard);
}

static int show_partial(const struct walk *walk, int dir, const char *name, const char *path)
{
    struct found_object object;
    int r = look(dir, name, path, &object);

    if (r < 0)
        return r == -ENOENT ? 0 : r;
    if (stat_is_plain(&object.st, walk->store->root.owner)) {
        if (blob_key_parse(name, &object.key) == 0)
            object.kind = FOUND_PARTIAL;
        else if (map_name_parse(name, &object.key))
            object.kind = FOUND_MAP;
        else if (draft_name_valid(name))
            object.kind = FOUND_DRAFT;
    }
    return walk->visit(walk->arg, &object);
}

int walk_shared(struct store *store, found_visitor *visit, void *arg)
{
    const struct walk walk = {.store = store, .visit = visit, .arg = arg};

    return for_each(&walk, store->root.dir, "_shared", "_shared", show_shard);
}

int walk_partial(struct store *store, found_visitor *visit, void *arg)
{
    const struct walk walk = {.store = store, .visit = visit, .arg = arg};

    return for_each(&walk, store->root.dir, "partial", "partial", show_partial);
}
