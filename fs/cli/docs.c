/* SPDX-License-Identifier: MIT */
/* docs.c - a program of the build: the manual and /etc/agnesfs.conf, where they can not differ from
 * the tables.
 *
 *     agnesfs-docs PAGE.in     the page, its placeholders filled
 *     agnesfs-docs --tables    the tables as JSON, for the test that compares everything with them
 *
 * A placeholder is a line of its own, @KEYS@; @VERSION@ may stand anywhere. The pages are man(7), so
 * that they need nothing to be made or to be read. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cache/scoped.h"
#include "fs/cli/docs.h"
#include "fs/cli/options.h"

struct filler {
    const char *name;
    void (*print)(FILE *file);
};

static const struct filler fillers[] = {
    {"SYNOPSIS", docs_synopsis},
    {"VERBS", docs_verbs},
    {"OPTIONS", docs_options},
    {"ENVIRONMENT", docs_environment},
    {"EXIT_CODES", docs_exit_codes},
    {"KEYS", docs_keys},
    {"XATTRS", docs_xattrs},
    {"ERRORS", docs_errors},
    {"MOUNT_KEYS", docs_mount_keys},
    {"MOUNT_WORDS", docs_mount_words},
    {"MOUNT_CODES", docs_mount_codes},
    {"CONFIGURATION", docs_configuration},
    {NULL, NULL},
};

/* false: a placeholder that nobody knows. */
static bool print_filled(const char *line, FILE *file)
{
    size_t length = strcspn(line, "\n");
    const char *version = strstr(line, "@VERSION@");

    if (version) {
        fprintf(file, "%.*s%s%s", (int)(version - line), line, AGNESFS_VERSION,
                version + strlen("@VERSION@"));
        return true;
    }
    if (length < 3 || line[0] != '@' || line[length - 1] != '@') {
        fputs(line, file);
        return true;
    }
    for (const struct filler *at = fillers; at->name; at++) {
        if (strlen(at->name) == length - 2 && strncmp(at->name, line + 1, length - 2) == 0) {
            at->print(file);
            return true;
        }
    }
    return false;
}

static int fill(const char *path, FILE *file)
{
    FILE *page = fopen(path, "re");
    scoped_free char *line = NULL;
    size_t room = 0;
    int status = EXIT_SUCCESS;

    if (!page) {
        fprintf(stderr, "agnesfs-docs: %s: %s\n", path, strerror(errno));
        return EXIT_FAILURE;
    }
    while (getline(&line, &room, page) > 0) {
        if (!print_filled(line, file)) {
            fprintf(stderr, "agnesfs-docs: %s: no such placeholder: %s", path, line);
            status = EXIT_FAILURE;
        }
    }
    fclose(page);
    return status;
}

int main(int argc, char **argv)
{
    int status;

    if (argc != 2) {
        fputs("usage: agnesfs-docs PAGE.in | --tables\n", stderr);
        return EXIT_USAGE;
    }
    status = strcmp(argv[1], "--tables") == 0 ? docs_tables(stdout) : fill(argv[1], stdout);
    return fflush(stdout) == 0 ? status : EXIT_FAILURE;
}
