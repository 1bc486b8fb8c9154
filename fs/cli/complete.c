/* SPDX-License-Identifier: MIT */
/* complete.c - walks the words as getopt_long would, to know what the last one is. */
#include "fs/cli/complete.h"

#include <stdlib.h>
#include <string.h>

#include "cache/scoped.h"
#include "fs/cli/complete_private.h"
#include "fs/cli/options.h"

void complete_offer(const struct completion *completion, const char *prefix, const char *word,
                    const char *description)
{
    const char *current = completion->current;
    size_t length = strlen(prefix);
    size_t given = strlen(current);

    if (strncmp(current, prefix, given < length ? given : length) != 0 ||
        (given > length && strncmp(current + length, word, given - length) != 0))
        return;
    if (strpbrk(word, "\t\n"))
        return;
    fprintf(completion->file, "%s%s\t%.*s\n", prefix, word,
            description ? (int)strcspn(description, "\t\n") : 0, description ? description : "");
}

static void offer_choices(const struct completion *completion, const char *prefix,
                          const char *choices)
{
    scoped_free char *copy = strdup(choices);
    char *rest = copy;
    char *word;

    while ((word = strsep(&rest, "|")))
        complete_offer(completion, prefix, word, NULL);
}

static void leave_to_shell(const struct completion *completion, const char *what,
                           const char *prefix)
{
    fprintf(completion->file, "\t%s\t%s\n", what, prefix);
}

/* --- keys and flags --- */

static void offer_value(const struct completion *completion, const char *prefix,
                        const struct option_spec *spec)
{
    if (spec->type == OPTION_PATH)
        leave_to_shell(completion, strcmp(spec->argument, "DIR") == 0 ? "folders" : "files",
                       prefix);
    if (spec->choices)
        offer_choices(completion, prefix, spec->choices);
    if (spec->type == OPTION_BOOL)
        offer_choices(completion, prefix, "yes|no");
    if (spec->zero_word)
        complete_offer(completion, prefix, spec->zero_word, NULL);
    if (spec->value && !spec->choices && spec->type != OPTION_BOOL)
        complete_offer(completion, prefix, spec->value, "default");
}

static const struct option_spec *find_key(const char *name, size_t length, unsigned verbs)
{
    scoped_free char *copy = strndup(name, length);
    enum option_key key;

    if (!copy || option_find(copy, &key) < 0 || !(option_spec(key)->verbs & verbs))
        return NULL;
    return option_spec(key);
}

/* A flag of the verb that takes a value, by its long name. */
static const struct flag_spec *find_flag(const char *name, size_t length, unsigned verbs)
{
    for (unsigned flag = 0; flag < FLAGS; flag++) {
        const struct flag_spec *spec = flag_spec((enum option_flag)flag);

        if (spec->verbs & verbs && spec->argument && spec->name && strlen(spec->name) == length &&
            strncmp(spec->name, name, length) == 0)
            return spec;
    }
    return NULL;
}

/* KEY=VALUE,KEY=... as -o has it; start: where in the current word the list begins. */
static void offer_list(const struct completion *completion, size_t start)
{
    const char *current = completion->current;
    const char *element = current + start;

    for (const char *at = element; *at; at++)
        if (*at == ',' && (at == current || at[-1] != '\\'))
            element = at + 1;

    size_t name = strcspn(element, "=");
    bool has_value = element[name] == '=';
    size_t kept = (size_t)(element - current) + (has_value ? name + 1 : 0);
    scoped_free char *prefix = strndup(current, kept);
    const struct option_spec *spec = has_value ? find_key(element, name, VERB_MOUNT) : NULL;

    if (!prefix)
        return;
    if (spec)
        offer_value(completion, prefix, spec);
    for (unsigned key = 0; !has_value && key < OPTION_KEYS; key++) {
        char word[64];

        spec = option_spec((enum option_key)key);
        snprintf(word, sizeof(word), "%s%s", spec->name, spec->type == OPTION_BOOL ? "" : "=");
        if (spec->verbs & VERB_MOUNT)
            complete_offer(completion, prefix, word, spec->help);
    }
}

static void offer_options(const struct completion *completion)
{
    unsigned bit = completion->verb->bit;

    for (unsigned flag = 0; flag < FLAGS; flag++) {
        const struct flag_spec *spec = flag_spec((enum option_flag)flag);
        const char letter[] = {spec->letter, '\0'};

        if (!(spec->verbs & bit))
            continue;
        if (spec->name)
            complete_offer(completion, "--", spec->name, spec->help);
        if (spec->letter)
            complete_offer(completion, "-", letter, spec->help);
    }
    for (unsigned key = 0; key < OPTION_KEYS; key++)
        if (option_spec((enum option_key)key)->verbs & bit)
            complete_offer(completion, "--", option_spec((enum option_key)key)->name,
                           option_spec((enum option_key)key)->help);
}

/* --NAME=VALUE */
static void offer_after_equals(const struct completion *completion)
{
    const char *name = completion->current + 2;
    size_t length = strcspn(name, "=");
    const struct option_spec *spec = find_key(name, length, completion->verb->bit);
    scoped_free char *prefix = strndup(completion->current, length + 3);

    if (prefix && spec)
        offer_value(completion, prefix, spec);
    else if (prefix && find_flag(name, length, completion->verb->bit))
        leave_to_shell(completion, "files", prefix);
}

/* --- operands --- */

static void offer_verbs(const struct completion *completion)
{
    for (const struct verb *verb = verb_table(); verb->name; verb++)
        complete_offer(completion, "", verb->name, verb->summary);
}

static void offer_operand(const struct completion *completion, size_t index)
{
    const struct verb *verb = completion->verb;

    switch (index < 2 ? verb->operands[index] : OPERAND_NONE) {
    case OPERAND_NONE: break;
    case OPERAND_FOLDER: leave_to_shell(completion, "folders", ""); break;
    case OPERAND_MOUNT: complete_mounts(completion); break;
    case OPERAND_TABLE: complete_tables(completion); break;
    case OPERAND_TABLE_OR_MOUNT:
        complete_tables(completion);
        complete_mounts(completion);
        break;
    case OPERAND_PIN: complete_pins(completion); break;
    case OPERAND_ACTION: offer_choices(completion, "", "list|add|remove"); break;
    case OPERAND_SLUG: complete_slugs(completion); break;
    case OPERAND_VERB: offer_verbs(completion); break;
    }
}

/* --- the words --- */

/* What came before the current word. */
struct before {
    const struct option_spec *key; /* its value is due */
    bool file;                     /* that of --config is */
    bool list;                     /* that of -o is */
    bool ended;                    /* after -- */
    size_t operands;
};

static void take_word(const struct verb *verb, const char *word, struct before *before)
{
    size_t length = strcspn(word, "=");

    if (before->key || before->file || before->list) {
        before->key = NULL;
        before->file = before->list = false;
    } else if (before->ended || word[0] != '-' || !word[1]) {
        before->operands++;
    } else if (strcmp(word, "--") == 0) {
        before->ended = true;
    } else if (word[1] == '-' && !word[length]) {
        before->key = find_key(word + 2, length - 2, verb->bit);
        if (before->key && before->key->type == OPTION_BOOL)
            before->key = NULL;
        before->file = find_flag(word + 2, length - 2, verb->bit) != NULL;
    } else if (word[1] != '-' && verb->bit == VERB_MOUNT) {
        const char *list = strchr(word, 'o');

        before->list = list && !list[1];
    }
}

void complete_print(int count, char *const *words, FILE *file)
{
    struct completion completion = {NULL, count, words, words[count - 1], file};
    const char *current = completion.current;
    struct before before = {0};

    if (count == 1) {
        offer_verbs(&completion);
        if (*current == '-')
            offer_choices(&completion, "--", "help|version");
        return;
    }
    completion.verb = verb_find(words[0]);
    if (!completion.verb)
        return;
    for (int i = 1; i < count - 1; i++)
        take_word(completion.verb, words[i], &before);
    if (before.key)
        offer_value(&completion, "", before.key);
    else if (before.file)
        leave_to_shell(&completion, "files", "");
    else if (before.list)
        offer_list(&completion, 0);
    else if (before.ended || *current != '-')
        offer_operand(&completion, before.operands);
    else if (current[1] == 'o' && completion.verb->bit == VERB_MOUNT && current[2])
        offer_list(&completion, 2);
    else if (current[1] == '-' && strchr(current, '='))
        offer_after_equals(&completion);
    else if (completion.verb->run)
        offer_options(&completion);
    else
        complete_offer(&completion, "", strcmp(words[0], "version") == 0 ? "--json" : "", NULL);
}
