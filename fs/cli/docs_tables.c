/* SPDX-License-Identifier: MIT */
/* docs_tables.c - the tables as a document, so that a test can hold everything else to them. */
#include <stdlib.h>

#include "cache/scoped.h"
#include "fs/cli/docs.h"
#include "fs/cli/options.h"
#include "fs/mount.h"
#include "sync/json.h"

static int add_verbs_of(struct json *object, unsigned verbs)
{
    struct json *list = json_add_array(object, "verbs");
    int r = list ? 0 : -1;

    for (const struct verb *verb = verb_table(); r == 0 && verb->name; verb++)
        if (verb->bit & verbs)
            r = json_add_string(list, NULL, verb->name);
    return r;
}

static int add_key(struct json *list, const struct option_spec *spec)
{
    struct json *object = json_add_object(list, NULL);
    char variable[OPTION_VARIABLE_SIZE];
    int r = object ? 0 : -1;

    option_variable(spec, variable);
    r |= json_add_string(object, "name", spec->name);
    r |= json_add_string(object, "variable", variable);
    r |= json_add_string(object, "argument", spec->argument);
    r |= json_add_string(object, "choices", spec->choices);
    r |= json_add_string(object, "default", spec->value);
    r |= json_add_string(object, "group", spec->group);
    r |= json_add_bool(object, "rare", spec->rare);
    return r < 0 ? r : add_verbs_of(object, spec->verbs);
}

static int add_flag(struct json *list, const struct flag_spec *spec)
{
    const char letter[] = {spec->letter, '\0'};
    struct json *object = json_add_object(list, NULL);
    int r = object ? 0 : -1;

    r |= json_add_string(object, "name", spec->name);
    r |= json_add_string(object, "letter", spec->letter ? letter : NULL);
    r |= json_add_string(object, "argument", spec->argument);
    r |= json_add_bool(object, "rare", spec->rare);
    return r < 0 ? r : add_verbs_of(object, spec->verbs);
}

static int add_others(struct json *root)
{
    struct json *verbs = json_add_array(root, "verbs");
    struct json *codes = json_add_object(root, "exit_codes");
    struct json *errors = json_add_object(root, "errors");
    struct json *xattrs = json_add_object(root, "xattrs");
    struct json *words = json_add_array(root, "mount_words");
    const char *meaning;
    const char *name;
    char number[16];
    int r = verbs && codes && errors && xattrs && words ? 0 : -1;

    for (const struct verb *verb = verb_table(); r == 0 && verb->name; verb++)
        r = json_add_string(verbs, NULL, verb->name);
    for (const struct exit_meaning *at = exit_meanings(); r == 0 && at->meaning; at++) {
        snprintf(number, sizeof(number), "%d", (int)at->code);
        r = json_add_string(codes, number, at->meaning);
    }
    for (const struct error_meaning *at = reader_errors(); r == 0 && at->name; at++)
        r = json_add_string(errors, at->name, at->meaning);
    for (size_t i = 0; r == 0 && (name = mount_xattr(i, &meaning)); i++)
        r = json_add_string(xattrs, name, meaning);
    for (const char *const *word = option_mount_words(); r == 0 && *word; word++)
        r = json_add_string(words, NULL, *word);
    return r;
}

int docs_tables(FILE *file)
{
    scoped(json_freep) struct json *root = json_new_object();
    struct json *keys = root ? json_add_array(root, "keys") : NULL;
    struct json *flags = root ? json_add_array(root, "flags") : NULL;
    scoped_free char *text = NULL;
    size_t size;
    int r = keys && flags ? 0 : -1;

    for (unsigned key = 0; r == 0 && key < OPTION_KEYS; key++)
        r = add_key(keys, option_spec((enum option_key)key));
    for (unsigned flag = 0; r == 0 && flag < FLAGS; flag++)
        r = add_flag(flags, flag_spec((enum option_flag)flag));
    if (r == 0)
        r = add_others(root);
    if (r < 0 || json_print(root, true, &text, &size) < 0)
        return EXIT_FAILURE;
    fputs(text, file);
    return EXIT_SUCCESS;
}
