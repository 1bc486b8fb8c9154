/* SPDX-License-Identifier: MIT */
/* paths.c - a mounted folder is never opened or stat'ed here: readlink(2) on a directory answers
 * from the kernel alone, and only parents go through realpath(3). */
#include "fs/cli/paths.h"

#include <ctype.h>
#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cache/key.h"
#include "cache/scoped.h"

enum { MAX_LINKS = 40, LINK_SIZE = 4096 };

static int joined(const char *base, const char *rest, char **ret_path)
{
    char *path;

    if (asprintf(&path, "%s/%s", strcmp(base, "/") == 0 ? "" : base, rest) < 0)
        return -ENOMEM;
    *ret_path = path;
    return 0;
}

static int resolved(const char *path, char **ret_path)
{
    char *real = realpath(path, NULL);

    if (!real)
        return negative_errno();
    *ret_path = real;
    return 0;
}

/* One step: resolves the parent of path, keeps its last name. */
static int parent_resolved(char *path, char **ret_path)
{
    size_t length = strlen(path);

    while (length > 1 && path[length - 1] == '/')
        path[--length] = '\0';

    char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;
    scoped_free char *parent = NULL;
    int r;

    if (!*name || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return resolved(path, ret_path);
    if (slash && slash != path) {
        *slash = '\0';
        r = resolved(path, &parent);
        *slash = '/';
    } else {
        r = resolved(slash ? "/" : ".", &parent);
    }
    return r < 0 || !parent ? r : joined(parent, name, ret_path);
}

int paths_absolute(const char *dir, char **ret_path)
{
    scoped_free char *path = strdup(dir);

    if (!path)
        return -ENOMEM;
    if (!*path)
        return -ENOENT;
    for (int links = 0; links < MAX_LINKS; links++) {
        scoped_free char *absolute = NULL;
        char target[LINK_SIZE];
        int r = parent_resolved(path, &absolute);

        if (r < 0 || !absolute)
            return r;

        ssize_t length = readlink(absolute, target, sizeof(target) - 1);

        if (length < 0) {
            *ret_path = take_ptr(absolute);
            return 0;
        }
        target[length] = '\0';
        free(path);
        path = NULL;
        if (*target == '/') {
            path = strdup(target);
        } else {
            *strrchr(absolute, '/') = '\0'; /* an absolute path: there is one */
            r = joined(absolute, target, &path);
        }
        if (r < 0 || !path)
            return -ENOMEM;
    }
    return -ELOOP;
}

int paths_make_private(const char *path)
{
    scoped_free char *copy = strdup(path);
    struct stat st;

    if (!copy)
        return -ENOMEM;
    for (char *slash = strchr(copy + 1, '/');; slash = strchr(slash + 1, '/')) {
        if (slash)
            *slash = '\0';
        if (mkdir(copy, 0700) < 0 && errno != EEXIST)
            return negative_errno();
        if (!slash)
            break;
        *slash = '/';
    }
    if (lstat(path, &st) < 0)
        return negative_errno();
    return S_ISDIR(st.st_mode) && st.st_uid == geteuid() && !(st.st_mode & 077) ? 0 : -EPERM;
}

void paths_hash(const char *text, size_t digits, char *ret_hex)
{
    struct blob_key key;

    blob_key_of_bytes(text, strlen(text), &key);
    for (size_t i = 0; i < digits; i++) {
        unsigned byte = key.digest[i / 2];

        ret_hex[i] = "0123456789abcdef"[i % 2 ? byte & 15 : byte >> 4];
    }
    ret_hex[digits] = '\0';
}

/* $variable/agnesfs, else <home>/<fallback>/agnesfs. */
static int base_folder(const char *variable, const char *fallback, char **ret_path)
{
    const char *base = getenv(variable);
    const char *home = getenv("HOME");

    if (base && *base == '/')
        return joined(base, "agnesfs", ret_path);
    if (!home || *home != '/') {
        const struct passwd *user = getpwuid(geteuid());

        home = user ? user->pw_dir : NULL;
    }
    if (!home)
        return -ENOENT;
    return asprintf(ret_path, "%s/%s/agnesfs", home, fallback) < 0 ? -ENOMEM : 0;
}

/* <host>-<8 hex>. The account is not known before the server has been asked, hence "". */
static int cache_id(const struct source *source, char **ret_id)
{
    scoped_free char *identity = NULL;
    scoped_free char *host = strdup(source_host(source));
    char hash[9];

    if (!host || asprintf(&identity, "%s\n", source_text(source)) < 0)
        return -ENOMEM;
    for (char *at = host; *at; at++)
        if (!isalnum((unsigned char)*at) && *at != '.' && *at != '-')
            *at = '_';
    paths_hash(identity, 8, hash);
    return asprintf(ret_id, "%s-%s", host, hash) < 0 ? -ENOMEM : 0;
}

static int with_id(const char *base, const struct source *source, char **ret_path)
{
    scoped_free char *id = NULL;
    int r = cache_id(source, &id);

    return r < 0 ? r : joined(base, id, ret_path);
}

int paths_cache(const char *cache_dir, const struct source *source, char **ret_path)
{
    scoped_free char *base = NULL;
    int r = 0;

    if (!cache_dir)
        r = base_folder("XDG_CACHE_HOME", ".cache", &base);
    return r < 0 ? r : with_id(cache_dir ? cache_dir : base, source, ret_path);
}

int paths_state(const struct source *source, char **ret_path)
{
    scoped_free char *base = NULL;
    int r = base_folder("XDG_STATE_HOME", ".local/state", &base);

    return r < 0 ? r : with_id(base, source, ret_path);
}

static bool is_our_folder(const char *path)
{
    struct stat st;

    return path && *path == '/' && stat(path, &st) == 0 && S_ISDIR(st.st_mode) &&
           st.st_uid == geteuid();
}

int paths_runtime(char **ret_path)
{
    const char *session = getenv("XDG_RUNTIME_DIR");
    scoped_free char *path = NULL;
    int r;

    if (is_our_folder(session)) {
        r = joined(session, "agnesfs", &path);
    } else if (geteuid() == 0) {
        r = joined("/run", "agnesfs", &path);
    } else {
        scoped_free char *state = NULL;

        r = base_folder("XDG_STATE_HOME", ".local/state", &state);
        if (r == 0)
            r = joined(state, "run", &path);
    }
    if (r < 0 || (r = paths_make_private(path)) < 0)
        return r;
    *ret_path = take_ptr(path);
    return 0;
}
