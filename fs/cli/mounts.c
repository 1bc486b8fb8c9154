/* SPDX-License-Identifier: MIT */
/* mounts.c - of several mounts at one path the last line is the one on top. */
#include "fs/cli/mounts.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "cache/scoped.h"

/* mountinfo writes blanks, tabs, newlines and backslashes as \ooo. In place. */
static void unescape(char *text)
{
    char *out = text;

    for (const char *in = text; *in; out++) {
        if (in[0] == '\\' && in[1] >= '0' && in[1] <= '3' && in[2] && in[3]) {
            *out = (char)((in[1] - '0') * 64 + (in[2] - '0') * 8 + (in[3] - '0'));
            in += 4;
        } else {
            *out = *in++;
        }
    }
    *out = '\0';
}

/* FUSE tells it in the options of the file system, which are the line's last word. */
static uid_t user_of(const char *line)
{
    const char *options = strrchr(line, ' ');
    const char *user = options ? strstr(options, "user_id=") : NULL;

    return user ? (uid_t)strtoul(user + strlen("user_id="), NULL, 10) : (uid_t)-1;
}

/* Its fields: id, parent, device, root, point, options, any number of others, "-", type, source,
 * options of the file system. */
static int read_line(char *text, struct mounts_line *ret_line)
{
    char *rest = strstr(text, " - ");
    unsigned major;
    unsigned minor;
    int start = -1;

    *ret_line = (struct mounts_line){.user = user_of(text)};
    if (!rest ||
        sscanf(text, "%d %d %u:%u %*s %n", &ret_line->id, &ret_line->parent, &major, &minor,
               &start) < 4 ||
        start < 0)
        return -EINVAL;

    char *type = strsep(&(char *){rest + 3}, " ");
    char *point = strsep(&(char *){text + start}, " ");

    unescape(point);
    ret_line->device = makedev(major, minor);
    ret_line->point = strdup(point);
    ret_line->type = strdup(type);
    return ret_line->point && ret_line->type ? 0 : -ENOMEM;
}

static void release_line(struct mounts_line *line)
{
    free(line->point);
    free(line->type);
}

void mounts_release(struct mounts *mounts)
{
    for (size_t i = 0; i < mounts->count; i++)
        release_line(&mounts->lines[i]);
    free(mounts->lines);
    *mounts = (struct mounts){0};
}

static int append(struct mounts *mounts, char *text)
{
    struct mounts_line *grown = reallocarray(mounts->lines, mounts->count + 1, sizeof(*grown));
    int r = grown ? read_line(text, &grown[mounts->count]) : -ENOMEM;

    mounts->lines = grown ? grown : mounts->lines;
    if (r == 0)
        mounts->count++;
    else if (grown)
        release_line(&grown[mounts->count]);
    return r == -ENOMEM ? r : 0;
}

int mounts_read(const char *path, struct mounts *ret_mounts)
{
    scoped_file FILE *file = fopen(path, "re");
    scoped(mounts_release) struct mounts mounts = {0};
    scoped_free char *text = NULL;
    size_t room = 0;

    if (!file)
        return negative_errno();
    while (getline(&text, &room, file) > 0)
        if (append(&mounts, text) < 0)
            return -ENOMEM;
    *ret_mounts = mounts;
    mounts = (struct mounts){0};
    return 0;
}

bool mounts_is_agnesfs(const struct mounts_line *line)
{
    return strcmp(line->type, "fuse.agnesfs") == 0;
}

const struct mounts_line *mounts_find(const struct mounts *mounts, const char *point)
{
    for (size_t i = mounts->count; i > 0; i--)
        if (strcmp(mounts->lines[i - 1].point, point) == 0)
            return &mounts->lines[i - 1];
    return NULL;
}

enum mounts_kind mounts_at(const char *path, struct mounts_entry *ret_entry)
{
    scoped(mounts_release) struct mounts mounts = {0};
    const struct mounts_line *line;

    if (mounts_read("/proc/self/mountinfo", &mounts) < 0 || !(line = mounts_find(&mounts, path)))
        return MOUNTS_NOTHING;
    snprintf(ret_entry->type, sizeof(ret_entry->type), "%s", line->type);
    ret_entry->user = line->user;
    return mounts_is_agnesfs(line) ? MOUNTS_AGNESFS : MOUNTS_OTHER;
}
