/* SPDX-License-Identifier: MIT */
/* agnes_config.c - of the YAML one line is read, `server:` at the left margin, as the agnes CLI writes
 * it: inside of something else it would not stand there. */
#include "fs/cli/agnes_config.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cache/scoped.h"

int agnes_config_path(const char *name, char **ret_path)
{
    const char *folder = getenv("AGNES_CONFIG_DIR");
    const char *home = getenv("HOME");
    int length;

    if (folder && *folder)
        length = asprintf(ret_path, "%s/%s", folder, name);
    else if (home && *home)
        length = asprintf(ret_path, "%s/.config/agnes/%s", home, name);
    else
        return -ENOENT;
    return length < 0 ? -ENOMEM : 0;
}

/* VALUE, "VALUE" or 'VALUE', then blanks or a comment. In place; NULL: something else. */
static char *plain_value(char *text)
{
    char *start = text + strspn(text, " \t");
    char quote = *start == '"' || *start == '\'' ? *start++ : '\0';
    char *end = start + (quote ? strcspn(start, (char[]){quote, '\0'}) : strcspn(start, " \t\r\n"));
    char *rest = end + (quote && *end == quote);

    if ((quote && *end != quote) || (!quote && *start && strchr("\\{}[]&*!|>%@`", *start)))
        return NULL;
    rest += strspn(rest, " \t\r\n");
    if (*rest && *rest != '#')
        return NULL;
    *end = '\0';
    return start;
}

static int find_server(FILE *file, char **ret_server, char ret_why[static 160])
{
    scoped_free char *line = NULL;
    size_t room = 0;

    while (getline(&line, &room, file) > 0) {
        if (strncmp(line, "server:", 7) != 0 || !strchr(" \t\r\n", line[7]))
            continue;

        const char *value = plain_value(line + 7);

        if (!value) {
            snprintf(ret_why, 160, "server: is not a plain or quoted word");
            return -EINVAL;
        }
        free(*ret_server);
        *ret_server = strdup(value);
        if (!*ret_server)
            return -ENOMEM;
    }
    return 0;
}

int agnes_config_server(const char *path, char **ret_server, char ret_why[static 160])
{
    scoped_file FILE *file = fopen(path, "re");
    scoped_free char *server = NULL;

    if (!file)
        return errno == ENOTDIR ? -ENOENT : negative_errno();

    int r = find_server(file, &server, ret_why);

    if (r < 0)
        return r;
    if (!server || !*server)
        return -ENOENT;
    *ret_server = take_ptr(server);
    return 0;
}
