/* SPDX-License-Identifier: MIT */
/* option_help.c - help is printed from the tables that parse, so it can not tell tales. Groups stand
 * in a column of their own: headings would take lines, of which a verb has 24. */
#include "fs/cli/options.h"

#include <string.h>

enum { WIDTH = 80, GROUP_COLUMN = 9, KEY_COLUMN = 19, VERB_COLUMN = 25 };

static void print_line(FILE *file, const char *group, const char *left, const char *help,
                       const char *value)
{
    fprintf(file, "%-*s%-*s%s%s", GROUP_COLUMN, group, KEY_COLUMN, left,
            strlen(left) < KEY_COLUMN ? "" : "  ", help);
    if (value)
        fprintf(file, " (%s)", value);
    fputc('\n', file);
}

static void name_flag(const struct flag_spec *spec, const char *between, char ret_left[static 64])
{
    const char letter[] = {'-', spec->letter, '\0'};

    snprintf(ret_left, 64, "%s%s%s%s%s%s", spec->letter ? letter : "",
             spec->letter && spec->name ? between : "", spec->name ? "--" : "",
             spec->name ? spec->name : "", spec->argument ? " " : "",
             spec->argument ? spec->argument : "");
}

static void print_flags(const struct verb *verb, FILE *file)
{
    char left[64];

    for (unsigned flag = 0; flag < FLAGS; flag++) {
        const struct flag_spec *spec = flag_spec((enum option_flag)flag);

        if (spec->verbs == VERB_ALL || !(spec->verbs & verb->bit) || spec->rare)
            continue;
        name_flag(spec, ", ", left);
        print_line(file, "", left, spec->help, NULL);
    }
}

static void print_common_flags(FILE *file)
{
    const char *between = "";
    char left[64];

    for (unsigned flag = 0; flag < FLAGS; flag++) {
        if (flag_spec((enum option_flag)flag)->verbs != VERB_ALL)
            continue;
        name_flag(flag_spec((enum option_flag)flag), "/", left);
        fprintf(file, "%s%s", between, left);
        between = ", ";
    }
    fputs(": as for every verb\n", file);
}

/* Is it the key's turn in this verb's help? */
static const struct option_spec *shown(unsigned key, const struct verb *verb)
{
    const struct option_spec *spec = key < OPTION_KEYS ? option_spec((enum option_key)key) : NULL;

    return spec && spec->verbs & verb->bit && !spec->rare ? spec : NULL;
}

static int name_key(const struct option_spec *spec, size_t size, char *ret_left)
{
    return snprintf(ret_left, size, "--%s%s%s", spec->name, spec->argument ? " " : "",
                    spec->argument ? spec->argument : "");
}

static void print_group(const char *group, const struct verb *verb, FILE *file)
{
    const char *heading = group;
    char left[128];

    for (unsigned key = 0; key < OPTION_KEYS; key++) {
        const struct option_spec *spec = shown(key, verb);
        const struct option_spec *next = shown(key + 1, verb);

        if (!spec || strcmp(spec->group, group) != 0)
            continue;

        int length = name_key(spec, sizeof(left), left);

        if (spec->help_with_next && next) {
            length += snprintf(left + length, sizeof(left) - (size_t)length, ", ");
            name_key(next, sizeof(left) - (size_t)length, left + length);
            print_line(file, heading, left, spec->help_with_next, NULL);
            key++;
        } else {
            print_line(file, heading, left, spec->help,
                       spec->type == OPTION_BOOL ? NULL : spec->value);
        }
        heading = "";
    }
}

void options_print_help(const struct verb *verb, FILE *file)
{
    fprintf(file, "usage: agnesfs %s %s\n%c%s.\n%s", verb->name, verb->usage,
            verb->summary[0] - 'a' + 'A', verb->summary + 1, verb->details);
    if (!verb->run)
        return;
    fputc('\n', file);
    print_flags(verb, file);
    for (const char *const *group = option_groups(); *group; group++)
        print_group(*group, verb, file);
    print_common_flags(file);
    if (verb->bit == VERB_MOUNT)
        fputs("A key is also -o KEY=VALUE, AGNESFS_KEY, KEY = VALUE in a file; all: man agnesfs\n",
              file);
}

static void print_exit_codes(FILE *file)
{
    size_t column = strlen("Exit codes:");

    fputs("Exit codes:", file);
    for (const struct exit_meaning *at = exit_meanings(); at->meaning; at++) {
        char text[64];
        size_t length = (size_t)snprintf(text, sizeof(text), "%d %s%s", (int)at->code, at->meaning,
                                         at[1].meaning ? "," : ".");

        if (column + 1 + length > WIDTH) {
            fputc('\n', file);
            column = 0;
        } else {
            fputc(' ', file);
            column++;
        }
        fputs(text, file);
        column += length;
    }
    fputc('\n', file);
}

void options_print_main_help(FILE *file)
{
    fputs("usage: agnesfs VERB [ARGUMENTS]\n"
          "Shows an Agnes stack (data packages, memory, knowledge) as a folder.\n\n",
          file);
    for (const struct verb *verb = verb_table(); verb->name; verb++)
        fprintf(file, "  %-*s%s\n", VERB_COLUMN - 2, verb->name, verb->summary);
    fputs(
        "\nagnesfs VERB --help tells of each, man agnesfs of all.\n"
        "SOURCE is an Agnes server (https://...), or a static stack: a folder or URL with a\n"
        "manifest.json. Without it: the key \"server\", else what the agnes CLI is logged in to.\n",
        file);
    print_exit_codes(file);
}
