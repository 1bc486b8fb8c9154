/* SPDX-License-Identifier: MIT */
/* holders.c - what the errand has found, in order and each once. */
#include "fs/cli/holders.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cache/scoped.h"
#include "fs/cli/errand.h"
#include "fs/cli/holders_private.h"
#include "fs/cli/mounts.h"
#include "sync/json.h"

enum { LINE_DEPTH = 4 };

const char *holder_how_name(enum holder_how how)
{
    static const char *const names[] = {"file", "cwd", "root", "mmap", "mount"};

    return names[how];
}

static void release_holder(struct holder *holder)
{
    free(holder->user_name);
    free(holder->command);
    free(holder->path);
}

void holders_release(struct holders *holders)
{
    for (size_t i = 0; i < holders->count; i++)
        release_holder(&holders->list[i]);
    free(holders->list);
    *holders = (struct holders){0};
}

static char *copy_of(const struct json *root, const char *key)
{
    const char *text = json_string(json_get(root, key));

    return strdup(text ? text : "");
}

/* What is open and mapped is listed as open; what is open twice, once. */
static bool is_known(const struct holders *holders, const struct holder *holder)
{
    for (size_t i = 0; i < holders->count; i++) {
        const struct holder *other = &holders->list[i];
        bool same = other->how == holder->how ||
                    (other->how == HOLDER_FILE && holder->how == HOLDER_MMAP);

        if (same && other->pid == holder->pid && strcmp(other->path, holder->path) == 0)
            return true;
    }
    return false;
}

static int take_holder(struct holders *holders, const struct json *root)
{
    struct holder *grown = reallocarray(holders->list, holders->count + 1, sizeof(*grown));
    struct holder holder = {
        .pid = (pid_t)json_number_of(root, "pid"),
        .user = (uid_t)json_number_of(root, "uid"),
        .how = (enum holder_how)json_number_of(root, "how"),
        .elsewhere = json_is_true(json_get(root, "elsewhere")),
        .command = copy_of(root, "command"),
        .path = copy_of(root, "path"),
    };
    bool whole = grown && holder.command && holder.path;

    holders->list = grown ? grown : holders->list;
    if (!whole || is_known(holders, &holder)) {
        release_holder(&holder);
        return whole ? 0 : -ENOMEM;
    }
    grown[holders->count++] = holder;
    return 0;
}

static int take_name(struct holders *holders, const struct json *root)
{
    for (size_t i = 0; i < holders->count; i++) {
        struct holder *holder = &holders->list[i];

        if (holder->user == (uid_t)json_number_of(root, "user") && !holder->user_name &&
            !(holder->user_name = copy_of(root, "name")))
            return -ENOMEM;
    }
    return 0;
}

static int take_line(struct holders *holders, const char *line)
{
    const struct json_limits limits = {.bytes = ERRAND_TEXT, .depth = LINE_DEPTH};
    scoped(json_freep) struct json *root = NULL;
    struct json_error error;
    int r = json_parse(line, strlen(line), &limits, &root, &error);

    if (r == -ENOMEM)
        return r;
    if (json_get(root, "unseen"))
        holders->unseen++;
    else if (json_get(root, "pid") && holders->count == HOLDERS_MAX)
        holders->partial = true;
    else if (json_get(root, "pid"))
        r = take_holder(holders, root);
    else if (json_get(root, "user"))
        r = take_name(holders, root);
    return r == -EPROTO ? 0 : r; /* half a line of one who was killed */
}

static int compare(const void *a, const void *b)
{
    const struct holder *one = a;
    const struct holder *other = b;
    int r = (one->pid > other->pid) - (one->pid < other->pid);

    r = r ? r : (int)one->how - (int)other->how;
    return r ? r : strcmp(one->path, other->path);
}

int holders_find(const char *mountpoint, int timeout_ms, struct holders *ret_holders)
{
    scoped(holders_release) struct holders holders = {0};
    struct errand errand = {.run = holders_scan, .arg = mountpoint};
    struct mounts_entry entry;

    if (mounts_at(mountpoint, &entry) == MOUNTS_NOTHING)
        return -ENOENT;
    errands_run(&errand, 1, timeout_ms);

    scoped_free char *text = errand.text;
    int r = errand.error;

    for (char *rest = text, *line; r == 0 && rest && (line = strsep(&rest, "\n"));)
        r = *line ? take_line(&holders, line) : 0;
    if (r < 0)
        return r;
    holders.partial = holders.partial || errand.late;
    if (holders.count > 0)
        qsort(holders.list, holders.count, sizeof(*holders.list), compare);
    *ret_holders = holders;
    holders = (struct holders){0};
    return 0;
}
