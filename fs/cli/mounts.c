/* SPDX-License-Identifier: MIT */
/* mounts.c - of several mounts at one path the last line is the one on top. */
#include "fs/cli/mounts.h"

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

enum mounts_kind mounts_at(const char *path, struct mounts_entry *ret_entry)
{
    scoped(close_file) FILE *file = fopen("/proc/self/mountinfo", "re");
    scoped_free char *line = NULL;
    size_t room = 0;
    enum mounts_kind kind = MOUNTS_NOTHING;

    while (file && getline(&line, &room, file) > 0) {
        char *optional_end = strstr(line, " - ");

        if (!optional_end)
            continue;

        const uid_t user = user_of(line);
        char *type = strsep(&(char *){optional_end + 3}, " ");
        char *point = field(line, 5);

        if (!point)
            continue;
        unescape(point);
        if (strcmp(point, path) != 0)
            continue;
        kind = strcmp(type, "fuse.agnesfs") == 0 ? MOUNTS_AGNESFS : MOUNTS_OTHER;
        snprintf(ret_entry->type, sizeof(ret_entry->type), "%s", type);
        ret_entry->user = user;
    }
    return kind;
}
