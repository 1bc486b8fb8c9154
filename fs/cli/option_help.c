/* SPDX-License-Identifier: MIT */
/* option_help.c - help is printed from the tables that parse, so it can not tell tales. */
#include "fs/cli/options.h"

#include <string.h>

enum { WIDTH = 80, COLUMN = 25 };

static void print_entry(FILE *file, const char *left, const char *help, const char *value)
{
    fprintf(file, "  %-*s%s", COLUMN - 2, left, help);
    if (value)
        fprintf(file, " (%s)", value);
    fputc('\n', file);
}

static void print_flags(const struct verb *verb, FILE *file)
{
    char left[64];

    for (unsigned flag = 0; flag < FLAGS; flag++) {
        const struct flag_spec *spec = flag_spec((enum option_flag)flag);

        if (spec->verbs == VERB_ALL || !(spec->verbs & verb->bit))
            continue;
        if (spec->letter)
            snprintf(left, sizeof(left), "-%c, --%s", spec->letter, spec->name);
        else
            snprintf(left, sizeof(left), "--%s", spec->name);
        print_entry(file, left, spec->help, NULL);
    }
}

static void print_keys(const struct verb *verb, FILE *file)
{
    char left[64];

    for (unsigned key = 0; key < OPTION_KEYS; key++) {
        const struct option_spec *spec = option_spec((enum option_key)key);

        if (!(spec->verbs & verb->bit) || spec->rare)
            continue;
        snprintf(left, sizeof(left), "--%s%s%s", spec->name, spec->argument ? " " : "",
                 spec->argument ? spec->argument : "");
        print_entry(file, left, spec->help, spec->type == OPTION_BOOL ? NULL : spec->value);
    }
}

void options_print_help(const struct verb *verb, FILE *file)
{
    fprintf(file, "usage: agnesfs %s %s\n%c%s.\n%s\n", verb->name, verb->usage,
            verb->summary[0] - 'a' + 'A', verb->summary + 1, verb->details);
    print_flags(verb, file);
    print_keys(verb, file);
    fputs("  --json, -q/--quiet, -v/--verbose, -h/--help, --config FILE: as for every verb\n",
          file);
    if (verb->bit == VERB_MOUNT)
        fputs("A key is also -o KEY=VALUE, AGNESFS_KEY=VALUE, or KEY = VALUE in a config file.\n",
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
        print_entry(file, verb->name, verb->summary, NULL);
    fputs(
        "\nSOURCE is an Agnes server (https://...), or a static stack: a folder or URL with a\n"
        "manifest.json. Without it: the key \"server\", else what the agnes CLI is logged in to.\n",
        file);
    print_exit_codes(file);
}
