/* SPDX-License-Identifier: MIT */
/* options.h - every key there is, and where its value came from.
 *
 * One table (option_table.c) makes parsing, help, manual and completion: a new key is its name in
 * enum option_key and its row there, and a test holds all of them to it. A key has one spelling everywhere
 * ('_' counts as '-'):
 *
 *     --cache-dir DIR        on the command line
 *     -o cache-dir=DIR       of mount, and in fstab
 *     AGNESFS_CACHE_DIR      in the environment
 *     cache-dir = DIR        in a configuration file, without sections
 *
 * and the first of these that names it wins: flag, -o, environment, $XDG_CONFIG_HOME/agnesfs/config
 * (or --config FILE, read instead of both files), /etc/agnesfs.conf, default. Named twice in one
 * place, the last one counts. An unknown key is a usage error that names the nearest one, wherever
 * it stands; only unknown AGNESFS_ variables are ignored, since they may be meant for others. A
 * wrong value is an error even where a better place overrides it.
 *
 * Paths: "~/" is the home folder; a relative path starts at the working directory, and is refused
 * in a file, which has none.
 *
 * struct options is immutable once parsed and owns all its strings. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "fs/cli/messages.h"
#include "fs/cli/verbs.h"

enum option_key {
    OPTION_SERVER,
    OPTION_TOKEN_FILE,
    OPTION_CA_FILE,
    OPTION_PROXY,
    OPTION_CACHE_DIR,
    OPTION_CACHE_SIZE,
    OPTION_MIN_FREE,
    OPTION_REFRESH,
    OPTION_PREFETCH,
    OPTION_ONLY,
    OPTION_EXCEPT,
    OPTION_VERIFY,
    OPTION_JOBS,
    OPTION_TIMEOUT,
    OPTION_UID,
    OPTION_GID,
    OPTION_UMASK,
    OPTION_ALLOW_OTHER,
    OPTION_IO_URING,
    OPTION_SANDBOX,
    OPTION_REPORT,
    OPTION_LOG_LEVEL,
    OPTION_LOG_FORMAT,
    OPTION_METRICS_FILE,
    OPTION_STRATEGY,
    OPTION_KEYS,
};

enum option_type {
    OPTION_STRING,
    OPTION_PATH,
    OPTION_SIZE,     /* 20GiB, 500MB, 4096: bytes */
    OPTION_DURATION, /* 90s, 5m, 1h, 2d, 300: seconds */
    OPTION_NUMBER,
    OPTION_MODE,   /* octal */
    OPTION_CHOICE, /* one of the words in choices */
    OPTION_BOOL,   /* yes, no, true, false, on, off, 1, 0; a flag without value says yes */
};

enum option_origin {
    ORIGIN_DEFAULT,
    ORIGIN_SYSTEM_FILE,
    ORIGIN_USER_FILE,
    ORIGIN_ENVIRONMENT,
    ORIGIN_MOUNT_OPTION,
    ORIGIN_FLAG,
};

struct option_spec {
    const char *name;
    enum option_type type;
    const char *value;   /* the default as text; NULL: none */
    const char *choices; /* of OPTION_CHOICE: "all|none" */
    uint64_t min;        /* of numbers and durations, 0 excepted where zero_word is set */
    uint64_t max;
    const char *zero_word; /* a word for 0: "off"; NULL if 0 is an ordinary number */
    const char *argument;  /* what help calls the value; NULL for a bool */
    const char *help;      /* a line of --help */
    const char
        *help_with_next;     /* set: the next key stands on that line too, and this is for both */
    const char *description; /* for the manual, after what help says; whole sentences */
    const char *group;       /* one of option_groups */
    unsigned verbs;          /* who takes it as a flag */
    bool rare;               /* not in their help, which has to fit a screen */
};

const struct option_spec *option_spec(enum option_key key);

/* In the order in which help and manual show them; ends with NULL. */
const char *const *option_groups(void);

/* What is said on the command line only. */
enum option_flag {
    FLAG_JSON,
    FLAG_QUIET,
    FLAG_VERBOSE,
    FLAG_HELP,
    FLAG_CONFIG,
    FLAG_OPTIONS,
    FLAG_FOREGROUND,
    FLAG_LAZY,
    FLAG_DRY_RUN,
    FLAG_REPAIR,
    FLAG_REPORT,
    FLAG_WATCH,
    FLAG_PROMETHEUS,
    FLAGS,
};

struct flag_spec {
    const char *name;     /* NULL: only the letter */
    char letter;          /* 0 if none */
    const char *argument; /* NULL: takes none */
    const char *help;
    unsigned verbs;
    bool rare; /* likewise */
};

const struct flag_spec *flag_spec(enum option_flag flag);

#define OPTIONS_SYSTEM_FILE "/etc/agnesfs.conf"

struct options;

/* argv[0] is the verb's name; argv is not changed. system_file: OPTIONS_SYSTEM_FILE, but for tests.
 * With --help nothing else is checked. A negative number and a complaint on a usage error. */
int options_parse(const struct verb *verb, int argc, char *const *argv, const char *system_file,
                  struct options **ret_options, struct complaint *ret_complaint);
void options_free(struct options *options);
void options_freep(struct options *const *options);

const char *options_verb(const struct options *options);
bool options_flag(const struct options *options, enum option_flag flag);
size_t options_operand_count(const struct options *options);
const char *options_operand(const struct options *options, size_t index); /* NULL if not given */

/* The value as text (paths made absolute), NULL if there is none. */
const char *options_text(const struct options *options, enum option_key key);

/* Of types with numbers: bytes, seconds, the number, 0 or 1. 0 if there is none. */
uint64_t options_number(const struct options *options, enum option_key key);
enum option_origin options_origin(const struct options *options, enum option_key key);

/* "--server", "AGNESFS_SERVER", "/etc/agnesfs.conf": where the value was found, for people. */
const char *options_origin_text(const struct options *options, enum option_key key);

/* What is wrong with environment or files, for the verb that is to tell (doctor); any other is not
 * run then. NULL: nothing. What stands behind a wrong line of a file is not read. */
const struct complaint *options_trouble(const struct options *options);

/* --config, by which no other file is read; NULL: not given. */
const char *options_config(const struct options *options);

/* --- help --- */

void options_print_help(const struct verb *verb, FILE *file);
void options_print_main_help(FILE *file);

/* --- shared by the options files and their tests --- */

/* Takes one value, unless a better origin has given one. where: what options_origin_text says;
 * has_folder: relative paths mean something there. */
int options_set(struct options *options, enum option_key key, const char *text,
                enum option_origin origin, const char *where, bool has_folder,
                struct complaint *ret_complaint);

/* The configuration file of the user, whether it is there or not: config, else that in
 * $XDG_CONFIG_HOME. malloc'd; NULL: no home, no memory. */
char *option_file_path(const char *config);

/* Reads a configuration file; with optional set, it may be missing. */
int options_read_file(struct options *options, const char *path, enum option_origin origin,
                      bool optional, struct complaint *ret_complaint);

/* Takes one -o list: KEY=VALUE,KEY,... with "\\," for a comma in a value, and the words of
 * mount(8), which are ignored. */
int options_read_list(struct options *options, const char *list, struct complaint *ret_complaint);

/* The words of mount(8), patterns as of fnmatch; ends with NULL. */
const char *const *option_mount_words(void);

/* "AGNESFS_CACHE_DIR". */
#define OPTION_VARIABLE_SIZE 64
void option_variable(const struct option_spec *spec, char ret_name[static OPTION_VARIABLE_SIZE]);

/* The key of that name, '_' being '-'; -ENOENT. */
int option_find(const char *name, enum option_key *ret_key);

/* The known name that is nearest to this one, NULL if none is near. verbs: whose flags count too. */
const char *option_nearest(const char *name, unsigned verbs);

/* Levenshtein distance; SIZE_MAX where a name has more than 32 bytes. */
size_t option_distance(const char *a, const char *b);

/* Checks a value and reads its number. 0, or a negative errno with ret_why filled ("not one of
 * all|none"). */
int option_value_parse(const struct option_spec *spec, const char *text, uint64_t *ret_number,
                       char ret_why[static 128]);
