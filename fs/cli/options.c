/* SPDX-License-Identifier: MIT */
/* options.c - the places are read in any order: each value carries its origin, and a worse origin
 * never replaces a better one. Long options are checked by exact name before getopt_long sees them,
 * because it would take any abbreviation, and a key has one spelling. */
#include "fs/cli/options.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "cache/scoped.h"

struct value {
    char *text;
    char *where;
    uint64_t number;
    enum option_origin origin;
};

struct options {
    const struct verb *verb;
    struct value values[OPTION_KEYS];
    bool flags[FLAGS];
    char *config; /* --config */
    struct complaint *trouble;
    char **words; /* argv, copied; getopt sorts the operands to its end */
    size_t word_count;
    size_t first_operand;
};

void options_free(struct options *options)
{
    if (!options)
        return;
    for (unsigned key = 0; key < OPTION_KEYS; key++) {
        free(options->values[key].text);
        free(options->values[key].where);
    }
    for (size_t i = 0; i < options->word_count; i++)
        free(options->words[i]);
    free(options->words);
    free(options->config);
    free(options->trouble);
    free(options);
}

void options_freep(struct options *const *options)
{
    options_free(*options);
}

static int no_memory(struct complaint *ret_complaint)
{
    return complain(ret_complaint, EXIT_FAILED, "options", "out of memory");
}

/* The path as given, "~/" and the working directory put in front. NULL: see errno. */
static char *absolute_path(const char *text, bool has_folder)
{
    const char *home = getenv("HOME");
    char *path = NULL;

    if (strncmp(text, "~/", 2) == 0 && home && *home == '/')
        return asprintf(&path, "%s/%s", home, text + 2) < 0 ? NULL : path;
    if (*text == '/')
        return strdup(text);
    if (!has_folder) {
        errno = EINVAL;
        return NULL;
    }

    scoped_free char *folder = get_current_dir_name();

    if (!folder)
        return NULL;
    return asprintf(&path, "%s/%s", folder, text) < 0 ? NULL : path;
}

int options_set(struct options *options, enum option_key key, const char *text,
                enum option_origin origin, const char *where, bool has_folder,
                struct complaint *ret_complaint)
{
    const struct option_spec *spec = option_spec(key);
    struct value *value = &options->values[key];
    uint64_t number;
    char why[128];

    if (option_value_parse(spec, text, &number, why) < 0)
        return complain(ret_complaint, EXIT_USAGE, where, "%s \"%s\": %s", spec->name, text, why);

    scoped_free char *copy = spec->type == OPTION_PATH ? absolute_path(text, has_folder)
                                                       : strdup(text);

    if (!copy && errno == EINVAL)
        return complain(ret_complaint, EXIT_USAGE, where,
                        "%s \"%s\": a path here must begin with / or ~/", spec->name, text);

    scoped_free char *place = strdup(where);

    if (!copy || !place)
        return no_memory(ret_complaint);
    if (value->text && origin < value->origin)
        return 0;
    free(value->text);
    free(value->where);
    *value = (struct value){take_ptr(copy), take_ptr(place), number, origin};
    return 0;
}

static int set_defaults(struct options *options, struct complaint *ret_complaint)
{
    int r = 0;

    for (unsigned key = 0; r == 0 && key < OPTION_KEYS; key++)
        if (option_spec((enum option_key)key)->value)
            r = options_set(options, (enum option_key)key, option_spec((enum option_key)key)->value,
                            ORIGIN_DEFAULT, "default", false, ret_complaint);
    return r;
}

static int read_environment(struct options *options, struct complaint *ret_complaint)
{
    for (unsigned key = 0; key < OPTION_KEYS; key++) {
        char name[OPTION_VARIABLE_SIZE];

        option_variable(option_spec((enum option_key)key), name);

        const char *text = getenv(name);

        if (!text || !*text)
            continue;

        int r = options_set(options, (enum option_key)key, text, ORIGIN_ENVIRONMENT, name, true,
                            ret_complaint);

        if (r < 0)
            return r;
    }
    return 0;
}

static int read_files(struct options *options, const char *system_file,
                      struct complaint *ret_complaint)
{
    scoped_free char *path = option_file_path(options->config);

    if (options->config)
        return options_read_file(options, options->config, ORIGIN_USER_FILE, false, ret_complaint);

    int r = options_read_file(options, system_file, ORIGIN_SYSTEM_FILE, true, ret_complaint);

    if (r < 0)
        return r;
    return path ? options_read_file(options, path, ORIGIN_USER_FILE, true, ret_complaint) : 0;
}

/* The first trouble is kept for the verb that tells of it, and the rest goes on. */
static int note_trouble(struct options *options, int r, const struct complaint *complaint)
{
    if (r == 0 || options->verb->bit != VERB_DOCTOR)
        return r;
    if (!options->trouble && (options->trouble = malloc(sizeof(*options->trouble))))
        *options->trouble = *complaint;
    return options->trouble ? 0 : r;
}

/* --- the command line --- */

enum {
    VALUE_KEY = 256,
    VALUE_FLAG = 512,
    MAX_LONG = OPTION_KEYS + FLAGS + 1,
};

struct grammar {
    struct option long_options[MAX_LONG];
    char letters[2 * FLAGS + 8];
};

static void make_grammar(const struct verb *verb, struct grammar *ret_grammar)
{
    struct option *at = ret_grammar->long_options;
    char *letter = ret_grammar->letters;

    *letter++ = ':';
    for (unsigned key = 0; key < OPTION_KEYS; key++) {
        const struct option_spec *spec = option_spec((enum option_key)key);

        if (spec->verbs & verb->bit)
            *at++ = (struct option){spec->name,
                                    spec->type == OPTION_BOOL ? optional_argument
                                                              : required_argument,
                                    NULL, VALUE_KEY + (int)key};
    }
    for (unsigned flag = 0; flag < FLAGS; flag++) {
        const struct flag_spec *spec = flag_spec((enum option_flag)flag);

        if (!(spec->verbs & verb->bit))
            continue;
        if (spec->name)
            *at++ = (struct option){spec->name, spec->argument ? required_argument : no_argument,
                                    NULL, spec->letter ? spec->letter : VALUE_FLAG + (int)flag};
        if (spec->letter)
            *letter++ = spec->letter;
        if (spec->letter && spec->argument)
            *letter++ = ':';
    }
    *at = (struct option){0};
    *letter = '\0';
}

static int unknown_option(const struct verb *verb, const char *word,
                          struct complaint *ret_complaint)
{
    enum option_key key;
    size_t length = strcspn(word, "=");
    scoped_free char *name = strndup(word, length);
    const char *nearest = name ? option_nearest(name + 2, verb->bit) : NULL;

    if (!name)
        return no_memory(ret_complaint);

    int r = complain(ret_complaint, EXIT_USAGE, name, "unknown option of %s", verb->name);

    if (option_find(name + 2, &key) == 0)
        complaint_hint(ret_complaint, "a key that %s has no use for", verb->name);
    else if (nearest)
        complaint_hint(ret_complaint, "did you mean --%s?", nearest);
    else
        complaint_hint(ret_complaint, "agnesfs %s --help", verb->name);
    return r;
}

/* Looks at one long option: '_' to '-', exact names only. *ret_takes_next: its value follows. */
static int check_long(const struct verb *verb, const struct grammar *grammar, char *word,
                      bool *ret_takes_next, struct complaint *ret_complaint)
{
    size_t length = strcspn(word, "=");

    for (size_t i = 2; i < length; i++)
        if (word[i] == '_')
            word[i] = '-';
    for (const struct option *at = grammar->long_options; at->name; at++) {
        if (strlen(at->name) == length - 2 && strncmp(at->name, word + 2, length - 2) == 0) {
            *ret_takes_next = at->has_arg == required_argument && word[length] != '=';
            return 0;
        }
    }
    return unknown_option(verb, word, ret_complaint);
}

/* Copies argv and checks what getopt_long would let pass. */
static int copy_words(struct options *options, const struct grammar *grammar, int argc,
                      char *const *argv, struct complaint *ret_complaint)
{
    bool takes_next = false;
    bool ended = false;

    options->words = calloc((size_t)argc + 1, sizeof(*options->words));
    if (!options->words)
        return no_memory(ret_complaint);
    for (int i = 0; i < argc; i++) {
        char *word = options->words[i] = strdup(argv[i]);

        if (!word)
            return no_memory(ret_complaint);
        options->word_count++;
        if (takes_next || ended || word[0] != '-') {
            takes_next = false;
        } else if (strcmp(word, "--") == 0) {
            ended = true;
        } else if (word[1] == '-') {
            int r = check_long(options->verb, grammar, word, &takes_next, ret_complaint);

            if (r < 0)
                return r;
        } else if (options->verb->bit == VERB_MOUNT) {
            const char *list = strchr(word, 'o');

            takes_next = list && !list[1];
        }
    }
    return 0;
}

static int take_option(struct options *options, int what, struct complaint *ret_complaint)
{
    char where[64];

    if (what == VALUE_FLAG + FLAG_CONFIG) {
        free(options->config);
        options->config = absolute_path(optarg, true);
        return options->config ? 0 : no_memory(ret_complaint);
    }
    if (what == flag_spec(FLAG_OPTIONS)->letter)
        return options_read_list(options, optarg, ret_complaint);
    if (what >= VALUE_KEY && what < VALUE_KEY + OPTION_KEYS) {
        enum option_key key = (enum option_key)(what - VALUE_KEY);

        snprintf(where, sizeof(where), "--%s", option_spec(key)->name);
        return options_set(options, key, optarg ? optarg : "yes", ORIGIN_FLAG, where, true,
                           ret_complaint);
    }
    for (unsigned flag = 0; flag < FLAGS; flag++)
        if (what == VALUE_FLAG + (int)flag || what == flag_spec((enum option_flag)flag)->letter)
            options->flags[flag] = true;
    return 0;
}

static int read_words(struct options *options, const struct grammar *grammar,
                      struct complaint *ret_complaint)
{
    int count = (int)options->word_count;
    int what;

    optind = 0; /* glibc: start afresh */
    opterr = 0;
    while ((what = getopt_long(count, options->words, grammar->letters, grammar->long_options,
                               NULL)) != -1) {
        const char *word = options->words[optind > 0 ? optind - 1 : 0];
        const char letter[] = {'-', (char)optopt, '\0'};

        if (what == ':')
            return complain(ret_complaint, EXIT_USAGE, word, "needs a value");
        if (what == '?' && optopt > 0 && optopt < VALUE_KEY) {
            complain(ret_complaint, EXIT_USAGE, letter, "unknown option of %s",
                     options->verb->name);
            complaint_hint(ret_complaint, "agnesfs %s --help", options->verb->name);
            return -EINVAL;
        }
        if (what == '?')
            return complain(ret_complaint, EXIT_USAGE, word, "takes no value");

        int r = take_option(options, what, ret_complaint);

        if (r < 0)
            return r;
    }
    options->first_operand = (size_t)optind;
    return 0;
}

static int check_operands(const struct options *options, struct complaint *ret_complaint)
{
    const struct verb *verb = options->verb;
    size_t count = options_operand_count(options);
    int r = 0;

    if (count < verb->min_operands)
        r = complain(ret_complaint, EXIT_USAGE, verb->name, "%s is missing",
                     verb->bit & (VERB_PIN | VERB_UNPIN) ? "GLOB" : "DIR");
    else if (count > verb->max_operands)
        r = complain(ret_complaint, EXIT_USAGE, verb->name, "too many arguments: \"%s\"",
                     options_operand(options, verb->max_operands));
    if (r < 0)
        complaint_hint(ret_complaint, "usage: agnesfs %s %s", verb->name, verb->usage);
    return r;
}

int options_parse(const struct verb *verb, int argc, char *const *argv, const char *system_file,
                  struct options **ret_options, struct complaint *ret_complaint)
{
    scoped(options_freep) struct options *options = calloc(1, sizeof(*options));
    struct grammar grammar = {0};
    int r;

    if (!options)
        return no_memory(ret_complaint);
    options->verb = verb;
    make_grammar(verb, &grammar);
    if ((r = copy_words(options, &grammar, argc, argv, ret_complaint)) < 0 ||
        (r = read_words(options, &grammar, ret_complaint)) < 0)
        return r;
    if (!options->flags[FLAG_HELP])
        if ((r = check_operands(options, ret_complaint)) < 0 ||
            (r = set_defaults(options, ret_complaint)) < 0 ||
            (r = note_trouble(options, read_environment(options, ret_complaint), ret_complaint)) <
                0 ||
            (r = note_trouble(options, read_files(options, system_file, ret_complaint),
                              ret_complaint)) < 0)
            return r;
    *ret_options = take_ptr(options);
    return 0;
}

/* --- reading --- */

const char *options_verb(const struct options *options)
{
    return options->verb->name;
}

bool options_flag(const struct options *options, enum option_flag flag)
{
    return options->flags[flag];
}

size_t options_operand_count(const struct options *options)
{
    return options->word_count - options->first_operand;
}

const char *options_operand(const struct options *options, size_t index)
{
    return index < options_operand_count(options) ? options->words[options->first_operand + index]
                                                  : NULL;
}

const char *options_text(const struct options *options, enum option_key key)
{
    return options->values[key].text;
}

uint64_t options_number(const struct options *options, enum option_key key)
{
    return options->values[key].number;
}

enum option_origin options_origin(const struct options *options, enum option_key key)
{
    return options->values[key].origin;
}

const char *options_config(const struct options *options)
{
    return options->config;
}

const struct complaint *options_trouble(const struct options *options)
{
    return options->trouble;
}

const char *options_origin_text(const struct options *options, enum option_key key)
{
    return options->values[key].where ? options->values[key].where : "default";
}
