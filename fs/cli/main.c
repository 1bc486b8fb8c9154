/* SPDX-License-Identifier: MIT */
/* main.c - which verb, and under which name we were called.
 *
 * As mount.agnesfs (or mount.fuse.agnesfs) mount(8) calls us with `SOURCE DIR [-sfnv] [-o ...]` and
 * expects its own exit codes: 0 mounted, 1 wrong call, 2 system error, 32 mount failed. */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cache/scoped.h"
#include "fs/cli/complete.h"
#include "fs/cli/messages.h"
#include "fs/cli/options.h"
#include "fs/cli/verbs.h"
#include "fs/cli/version.h"

#define LARGE_BLOCK (1 << 20)

/* For words that could not be parsed. */
static bool asks_for_json(int argc, char *const *argv)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], "--json") == 0)
            return true;
    return false;
}

static int run_verb(const struct verb *verb, int argc, char *const *argv)
{
    scoped(options_freep) struct options *options = NULL;
    struct complaint complaint;

    if (options_parse(verb, argc, argv, OPTIONS_SYSTEM_FILE, &options, &complaint) < 0)
        return complaint_print(&complaint, asks_for_json(argc, argv));
    if (options_flag(options, FLAG_HELP)) {
        options_print_help(verb, stdout);
        return EXIT_OK;
    }
    return verb->run(options);
}

static int unknown_verb(const char *name)
{
    struct complaint complaint;

    complain(&complaint, EXIT_USAGE, name, "no such verb");
    complaint_hint(&complaint, "agnesfs help");
    return complaint_print(&complaint, false);
}

static int help(const char *name)
{
    const struct verb *verb = name ? verb_find(name) : NULL;

    if (name && !verb)
        return unknown_verb(name);
    if (verb)
        options_print_help(verb, stdout);
    else
        options_print_main_help(stdout);
    return EXIT_OK;
}

/* Reads no configuration: a broken one shall not keep anybody from telling what he has. */
static int version(int argc, char *const *argv)
{
    struct complaint complaint;
    bool json = false;

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            return help("version");
        if (strcmp(argv[i], "--json") != 0) {
            complain(&complaint, EXIT_USAGE, argv[i], "not taken by version");
            complaint_hint(&complaint, "usage: agnesfs version [--json]");
            return complaint_print(&complaint, asks_for_json(argc, argv));
        }
        json = true;
    }
    version_print(json, stdout);
    return EXIT_OK;
}

static int dispatch(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : NULL;

    if (!name) {
        options_print_main_help(stderr);
        return EXIT_USAGE;
    }
    if (strcmp(name, "help") == 0 || strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0)
        return help(argc > 2 ? argv[2] : NULL);
    if (strcmp(name, "version") == 0 || strcmp(name, "--version") == 0)
        return version(argc - 1, argv + 1);

    if (strcmp(name, COMPLETE_WORD) == 0 && argc > 2) {
        complete_print(argc - 2, argv + 2, stdout);
        return EXIT_OK;
    }

    const struct verb *verb = verb_find(name);

    return verb && verb->run ? run_verb(verb, argc - 1, argv + 1) : unknown_verb(name);
}

/* --- mount(8) --- */

/* mount(8) says rw where fstab says nothing; it can not mean it. An escaped comma ends no word. */
static void drop_rw(char *list)
{
    char *to = list;

    for (const char *at = list; *at;) {
        size_t length = 0;

        while (at[length] && at[length] != ',')
            length += at[length] == '\\' && at[length + 1] ? 2 : 1;

        bool dropped = length == 2 && memcmp(at, "rw", 2) == 0;

        length += at[length] == ',';
        if (!dropped) {
            memmove(to, at, length);
            to += length;
        }
        at += length;
    }
    *to = '\0';
}

/* Gathers mount(8)'s words as those of our verb; ret_words has room for all of them and two more.
 * fake: mount -f, pretend only. -1 on a wrong call. */
static int gather(int argc, char **argv, const char **ret_words, bool *ret_fake)
{
    int count = 0;
    int letter;

    ret_words[count++] = "mount";
    opterr = 0;
    while ((letter = getopt(argc, argv, "sfnvN:o:t:")) != -1) {
        if (letter == 'f')
            *ret_fake = true;
        if (letter == '?')
            return -1;
        if (letter == 'o') {
            drop_rw(optarg);
            ret_words[count++] = "-o";
            ret_words[count++] = optarg;
        }
    }
    if (argc - optind != 2)
        return -1;

    /* fstab must have some word in the first field, even when the source is found otherwise. */
    const char *source = argv[optind];
    bool named = strcmp(source, "none") != 0 && strcmp(source, "agnesfs") != 0;

    ret_words[count++] = "--";
    if (named)
        ret_words[count++] = source;
    ret_words[count++] = argv[optind + 1];
    return count;
}

static int mount_helper(int argc, char **argv)
{
    const char **words = calloc((size_t)argc * 2 + 4, sizeof(*words));
    bool fake = false;
    int count = words ? gather(argc, argv, words, &fake) : -1;
    int code = EXIT_USAGE;

    if (count < 0)
        fputs("usage: mount.agnesfs SOURCE DIR [-sfnv] [-o KEY=VALUE,...]\n", stderr);
    else
        code = fake ? EXIT_OK : run_verb(verb_find("mount"), count, (char *const *)words);
    free(words);
    return exit_code_of_mount((enum exit_code)code);
}

/* A manifest, read and thrown away, must not stay. Left to itself, the C library takes the first
 * large block that is freed as a measure of what is worth giving back: tens of megabytes. */
static void give_memory_back(void)
{
#ifdef __GLIBC__
    mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK);
    mallopt(M_TRIM_THRESHOLD, LARGE_BLOCK);
#endif
}

int main(int argc, char **argv)
{
    const char *slash = argc > 0 ? strrchr(argv[0], '/') : NULL;
    const char *name = slash ? slash + 1 : argc > 0 ? argv[0] : "agnesfs";
    int code;

    give_memory_back();
    if (strcmp(name, "mount.agnesfs") == 0 || strcmp(name, "mount.fuse.agnesfs") == 0)
        code = mount_helper(argc, argv);
    else
        code = dispatch(argc, argv);
    if (fflush(stdout) != 0 && code == EXIT_OK)
        code = EXIT_FAILED;
    return code;
}
