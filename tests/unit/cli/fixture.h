/* SPDX-License-Identifier: MIT */
/* fixture.h - cmocka, and a home of the test's own: HOME is a new folder, and nothing of the
 * caller's environment that agnesfs would read is left. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/cli/options.h"
#include "tests/unit/support/tempdir.h"

extern char **environ;

static inline bool is_ours(const char *variable)
{
    return strncmp(variable, "AGNES", 5) == 0 || strncmp(variable, "XDG_", 4) == 0;
}

/* setup: *state becomes the home. */
static inline int home_begin(void **state)
{
    char name[128];

    for (char **at = environ; *at;) {
        if (is_ours(*at)) {
            snprintf(name, sizeof(name), "%.*s", (int)strcspn(*at, "="), *at);
            unsetenv(name);
            at = environ;
        } else {
            at++;
        }
    }
    *state = tempdir_new();
    setenv("HOME", *state, 1);
    return 0;
}

static inline int home_end(void **state)
{
    tempdir_free(*state);
    return 0;
}

#define home_test(function) cmocka_unit_test_setup_teardown(function, home_begin, home_end)

static inline void put(const char *home, const char *name, const char *text)
{
    file_write(home, name, text, strlen(text));
}

/* Parses "verb word word..."; NULL and the complaint on an error. system_file may be NULL. */
static inline struct options *parse_from(const char *system_file, struct complaint *ret_complaint,
                                         const char *verb, ...)
{
    char *argv[16] = {(char *)verb};
    int argc = 1;
    struct options *options = NULL;
    va_list args;

    va_start(args, verb);
    for (char *word; argc < 16 && (word = va_arg(args, char *)); argc++)
        argv[argc] = word;
    va_end(args);
    if (options_parse(verb_find(verb), argc, argv, system_file ? system_file : "/nonexistent",
                      &options, ret_complaint) < 0)
        return NULL;
    return options;
}
