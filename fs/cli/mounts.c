/* SPDX-License-Identifier: MIT */
/* mounts.c - of several mounts at one path the last line is the one on top. */
#include "fs/cli/mounts.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

static char *field(char *line, int number)
{
    char *rest = line;
    char *word = NULL;

    for (int i = 0; i < number; i++)
        word = strsep(&rest, " ");
    return word;
}

static void close_file(FILE *const *file)
{
    if (*file)
        fclose(*file);
}

/* FUSE tells it in the options of the file system, which are the line's last word. */
static uid_t user_of(const char *line)
{
    const char *options = strrchr(line, ' ');
    const char *user = options ? strstr(options, "user_id=") : NULL;

    return user ? (uid_t)strtoul(user + strlen("user_id="), NULL, 10) : (uid_t)-1;
}

/* One line of mountinfo, taken apart in place. */
struct mount_line {
    char *point;
    char *type;
    uid_t user;
};

static bool read_line(char *line, struct mount_line *ret_line)
{
    char *optional_end = strstr(line, " - ");

    if (!optional_end)
        return false;
    ret_line->user = user_of(line);
    ret_line->type = strsep(&(char *){optional_end + 3}, " ");
    ret_line->point = field(line, 5);
    if (ret_line->point)
        unescape(ret_line->point);
    return ret_line->point != NULL;
}

static bool is_ours(const struct mount_line *line)
{
    return strcmp(line->type, "fuse.agnesfs") == 0;
}

enum mounts_kind mounts_at(const char *path, struct mounts_entry *ret_entry)
{
    scoped(close_file) FILE *file = fopen("/proc/self/mountinfo", "re");
    scoped_free char *text = NULL;
    size_t room = 0;
    enum mounts_kind kind = MOUNTS_NOTHING;
    struct mount_line line;

    while (file && getline(&text, &room, file) > 0) {
        if (!read_line(text, &line) || strcmp(line.point, path) != 0)
            continue;
        kind = is_ours(&line) ? MOUNTS_AGNESFS : MOUNTS_OTHER;
        snprintf(ret_entry->type, sizeof(ret_entry->type), "%s", line.type);
        ret_entry->user = line.user;
    }
    return kind;
}

void mounts_each(void (*take)(void *arg, const char *path, uid_t user), void *arg)
{
    scoped(close_file) FILE *file = fopen("/proc/self/mountinfo", "re");
    scoped_free char *text = NULL;
    size_t room = 0;
    struct mount_line line;

    while (file && getline(&text, &room, file) > 0)
        if (read_line(text, &line) && is_ours(&line))
            take(arg, line.point, line.user);
}
