/* SPDX-License-Identifier: MIT */
/* docs_man.c - man(7) from the tables. Every text goes through print_text, for which nothing in it
 * is a request, a quote or a hyphen to be made pretty. */
#include <ctype.h>
#include <inttypes.h>
#include <string.h>

#include "fs/cli/docs.h"
#include "fs/cli/options.h"
#include "fs/mount.h"

/* --- words --- */

static void print_text(FILE *file, const char *text)
{
    if (*text == '.' || *text == '\'')
        fputs("\\&", file);
    for (; *text; text++) {
        if (*text == '-')
            fputs("\\-", file);
        else if (*text == '\\')
            fputs("\\e", file);
        else
            fputc(*text, file);
    }
}

static void print_in(FILE *file, char font, const char *text)
{
    fprintf(file, "\\f%c", font);
    print_text(file, text);
    fputs("\\fR", file);
}

/* As a sentence: with a capital, and a full stop. */
static void print_sentence(FILE *file, const char *text)
{
    fputc(toupper((unsigned char)*text), file);
    print_text(file, text + 1);
    fputs(".\n", file);
}

/* What follows a key's name, to the end of the line. */
static void print_value_of(FILE *file, const struct option_spec *spec, char between)
{
    if (spec->argument) {
        fputc(between, file);
        print_in(file, 'I', spec->argument);
    } else {
        fputs("[=\\fIyes\\fR|\\fIno\\fR]", file);
    }
    fputc('\n', file);
}

/* KEY = VALUE as a flag: "--cache-size SIZE". */
static void print_flag_of(FILE *file, const struct option_spec *spec)
{
    fputs("\\fB\\-\\-", file);
    print_text(file, spec->name);
    fputs("\\fR", file);
    print_value_of(file, spec, ' ');
}

static void print_flag(FILE *file, const struct flag_spec *spec)
{
    const char letter[] = {'-', spec->letter, '\0'};

    fputs(".TP\n", file);
    if (spec->letter)
        print_in(file, 'B', letter);
    if (spec->letter && spec->name)
        fputs(", ", file);
    if (spec->name) {
        fputs("\\fB\\-\\-", file);
        print_text(file, spec->name);
        fputs("\\fR", file);
    }
    if (spec->argument) {
        fputc(' ', file);
        print_in(file, 'I', spec->argument);
    }
    fputc('\n', file);
    print_sentence(file, spec->help);
}

/* "mount, sync and pin". */
static void print_verbs_of(FILE *file, unsigned verbs)
{
    unsigned left = verbs & VERB_ALL;

    for (const struct verb *verb = verb_table(); verb->name; verb++) {
        if (!(verb->bit & left))
            continue;
        fputs(left == (verbs & VERB_ALL) ? "" : left & ~(unsigned)verb->bit ? ", " : " and ", file);
        left &= ~(unsigned)verb->bit;
        print_in(file, 'B', verb->name);
    }
}

/* --- agnesfs(1) --- */

void docs_synopsis(FILE *file)
{
    for (const struct verb *verb = verb_table(); verb->name; verb++) {
        fputs(verb == verb_table() ? "" : ".br\n", file);
        fputs("\\fBagnesfs ", file);
        print_text(file, verb->name);
        fputs("\\fR ", file);
        print_text(file, verb->usage);
        fputc('\n', file);
    }
}

void docs_verbs(FILE *file)
{
    for (const struct verb *verb = verb_table(); verb->name; verb++) {
        fputs(".TP\n\\fB", file);
        print_text(file, verb->name);
        fputs("\\fR ", file);
        print_text(file, verb->usage);
        fputc('\n', file);
        print_sentence(file, strcmp(verb->name, "help") == 0 ? "print help of all verbs, or of one"
                                                             : verb->summary);
        for (const char *at = verb->details; *at;) { /* whose lines mean nothing here */
            char line[128];
            size_t length = strcspn(at, "\n");

            snprintf(line, sizeof(line), "%.*s", (int)length, at);
            print_text(file, line);
            fputc('\n', file);
            at += length + (at[length] == '\n');
        }
    }
}

static void print_flags(FILE *file, bool common)
{
    for (unsigned flag = 0; flag < FLAGS; flag++) {
        const struct flag_spec *spec = flag_spec((enum option_flag)flag);

        if ((spec->verbs == VERB_ALL) != common)
            continue;
        print_flag(file, spec);
        if (common)
            continue;
        fputs("Only of ", file);
        print_verbs_of(file, spec->verbs);
        fputs(".\n", file);
    }
}

/* What a value may be, in a sentence. */
static void print_bound(FILE *file, const struct option_spec *spec, uint64_t bound)
{
    if (spec->type == OPTION_MODE)
        fprintf(file, "%03" PRIo64, bound);
    else if (spec->type != OPTION_DURATION)
        fprintf(file, "%" PRIu64, bound);
    else if (bound % 86400 == 0)
        fprintf(file, "%" PRIu64 "d", bound / 86400);
    else if (bound % 3600 == 0)
        fprintf(file, "%" PRIu64 "h", bound / 3600);
    else if (bound % 60 == 0)
        fprintf(file, "%" PRIu64 "m", bound / 60);
    else
        fprintf(file, "%" PRIu64 "s", bound);
}

static void print_default(FILE *file, const struct option_spec *spec)
{
    if (!spec->value)
        return;
    fputs("Default: ", file);
    print_in(file, 'B', spec->value);
    fputs(".\n", file);
}

void docs_options(FILE *file)
{
    fputs(".SS Of every verb\n", file);
    print_flags(file, true);
    fputs(".SS Of some verbs\n", file);
    print_flags(file, false);
    for (const char *const *group = option_groups(); *group; group++) {
        fprintf(file, ".SS Keys: %s\n", *group);
        for (unsigned key = 0; key < OPTION_KEYS; key++) {
            const struct option_spec *spec = option_spec((enum option_key)key);

            if (strcmp(spec->group, *group) != 0)
                continue;
            fputs(".TP\n", file);
            print_flag_of(file, spec);
            print_sentence(file, spec->help);
            print_default(file, spec);
        }
    }
}

void docs_environment(FILE *file)
{
    char name[OPTION_VARIABLE_SIZE];

    for (unsigned key = 0; key < OPTION_KEYS; key++) {
        option_variable(option_spec((enum option_key)key), name);
        print_in(file, 'B', name);
        fputs(key + 1 < OPTION_KEYS ? ",\n" : "\n", file);
    }
}

void docs_exit_codes(FILE *file)
{
    for (const struct exit_meaning *at = exit_meanings(); at->meaning; at++) {
        fprintf(file, ".TP\n\\fB%d\\fR\n", (int)at->code);
        print_sentence(file, at->meaning);
    }
}

/* --- agnesfs(5) --- */

static void print_type(FILE *file, const struct option_spec *spec)
{
    switch (spec->type) {
    case OPTION_PATH: fputs("A path", file); break;
    case OPTION_SIZE: fputs("A size: 20GiB, 500MB, or bytes", file); break;
    case OPTION_DURATION: fputs("A time: 90s, 5m, 1h, 2d, or seconds", file); break;
    case OPTION_NUMBER: fputs("A number", file); break;
    case OPTION_MODE: fputs("An octal number", file); break;
    case OPTION_BOOL: fputs("Yes or no (true, false, on, off, 1, 0)", file); break;
    case OPTION_CHOICE: fputs("One of", file); break;
    default: fputs("Text", file); break;
    }
    if (spec->choices) {
        fputc(' ', file);
        print_in(file, 'B', spec->choices);
    }
    if (spec->max > 0 && spec->max < INT64_MAX) {
        fputs(", from ", file);
        print_bound(file, spec, spec->min);
        fputs(" to ", file);
        print_bound(file, spec, spec->max);
    }
    if (spec->zero_word) {
        fputs(", or ", file);
        print_in(file, 'B', spec->zero_word);
    }
    fputs(".\n", file);
}

static void print_key(FILE *file, const struct option_spec *spec)
{
    fputs(".TP\n", file);
    print_in(file, 'B', spec->name);
    fputs(" = ", file);
    print_in(file, 'I', spec->argument ? spec->argument : "yes|no");
    fputc('\n', file);
    print_sentence(file, spec->help);
    if (spec->description) {
        print_text(file, spec->description);
        fputc('\n', file);
    }
    fputs(".br\n", file);
    print_type(file, spec);
    print_default(file, spec);
    fputs("Used by ", file);
    print_verbs_of(file, spec->verbs);
    fputs(".\n", file);
}

void docs_keys(FILE *file)
{
    for (const char *const *group = option_groups(); *group; group++) {
        fprintf(file, ".SS Keys: %s\n", *group);
        for (unsigned key = 0; key < OPTION_KEYS; key++)
            if (strcmp(option_spec((enum option_key)key)->group, *group) == 0)
                print_key(file, option_spec((enum option_key)key));
    }
}

void docs_xattrs(FILE *file)
{
    const char *meaning;
    const char *name;

    for (size_t i = 0; (name = mount_xattr(i, &meaning)); i++) {
        fputs(".TP\n", file);
        print_in(file, 'B', name);
        fputc('\n', file);
        print_text(file, meaning);
        fputs(".\n", file);
    }
}

void docs_errors(FILE *file)
{
    for (const struct error_meaning *at = reader_errors(); at->name; at++) {
        fputs(".TP\n", file);
        print_in(file, 'B', at->name);
        fputc('\n', file);
        print_text(file, at->meaning);
        fputs(".\n", file);
    }
}

/* --- mount.agnesfs(8) --- */

void docs_mount_keys(FILE *file)
{
    for (unsigned key = 0; key < OPTION_KEYS; key++) {
        const struct option_spec *spec = option_spec((enum option_key)key);

        if (!(spec->verbs & VERB_MOUNT))
            continue;
        fputs(".TP\n", file);
        print_in(file, 'B', spec->name);
        print_value_of(file, spec, '=');
        print_sentence(file, spec->help);
        print_default(file, spec);
    }
}

void docs_mount_words(FILE *file)
{
    for (const char *const *word = option_mount_words(); *word; word++) {
        print_in(file, 'B', *word);
        fputs(word[1] ? ",\n" : ".\n", file);
    }
}

/* Does any of ours become that code of mount(8)? Prints what it means. */
static void print_mount_code(FILE *file, int code)
{
    const char *between = "";

    for (const struct exit_meaning *at = exit_meanings(); at->meaning; at++) {
        if (exit_code_of_mount(at->code) != code)
            continue;
        if (*between)
            fputs(between, file);
        else
            fprintf(file, ".TP\n\\fB%d\\fR\n", code);
        print_text(file, at->meaning);
        between = ",\n";
    }
    if (*between)
        fputs(".\n", file);
}

void docs_mount_codes(FILE *file)
{
    enum { HIGHEST = 64 }; /* of mount(8) */

    for (int code = 0; code <= HIGHEST; code++)
        print_mount_code(file, code);
}
