/* SPDX-License-Identifier: MIT */
/* stack.c - slugs are joined to entries by id. Both come from outside and may be many, so the
 * entries are sorted for it: the cost is that of sorting, whatever the server sends. */
#include "sync/stack.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cache/scoped.h"
#include "sync/json.h"
#include "sync/manifest.h"

#define LIST_MAX ((uint64_t)8 << 20)
#define DEPTH_MAX 32

__attribute__((format(printf, 3, 4))) static int say(char ret_message[static STACK_MESSAGE_SIZE],
                                                     int error, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(ret_message, STACK_MESSAGE_SIZE, format, arguments);
    va_end(arguments);
    return error;
}

static void entry_release(struct stack_entry *entry)
{
    free(entry->id);
    free(entry->slug);
    free(entry->name);
    free(entry->description);
}

void stack_free(struct stack *stack)
{
    if (!stack)
        return;
    for (size_t i = 0; i < stack->count; i++)
        entry_release(&stack->entries[i]);
    free(stack->entries);
    free(stack);
}

void stack_freep(struct stack *const *stack)
{
    stack_free(*stack);
}

/* --- a list --- */

static char *copy_word(const struct json *object, const char *key)
{
    const char *word = json_string(json_get(object, key));

    return strdup(word ? word : "");
}

/* An older server that does not tell copies from entries copies what is in the stack. */
static bool truth(const struct json *object, const char *key, bool otherwise)
{
    const struct json *value = json_get(object, key);

    return json_type(value) == JSON_BOOL ? json_is_true(value) : otherwise;
}

static int read_entry(const struct json *item, enum tree_section section, struct stack_entry *entry)
{
    const char *requirement = json_string(json_get(item, "requirement"));

    *entry = (struct stack_entry){
        .section = section,
        .id = copy_word(item, "id"),
        .slug = strdup(""),
        .name = copy_word(item, "name"),
        .description = copy_word(item, "description"),
        .required = requirement && strcmp(requirement, "required") == 0,
    };
    entry->in_stack = truth(item, "in_stack", entry->required);
    entry->copied = truth(item, "materialized", entry->in_stack);
    if (entry->id && entry->slug && entry->name && entry->description)
        return *entry->id ? 0 : -EINVAL;
    return -ENOMEM;
}

int stack_read_list(struct stack *stack, enum tree_section section, const char *text, size_t size,
                    char ret_message[static STACK_MESSAGE_SIZE])
{
    const struct json_limits limits = {.bytes = LIST_MAX, .depth = DEPTH_MAX};
    scoped(json_freep) struct json *root = NULL;
    struct stack_entry *grown;
    struct json_error error;
    const struct json *items;
    int r = json_parse(text, size, &limits, &root, &error);

    if (r < 0)
        return say(ret_message, r, "not a list of the stack: %s",
                   r == -EPROTO ? error.message : "no memory");
    items = json_get(root, "items");
    if (json_type(items) != JSON_ARRAY)
        return say(ret_message, -EPROTO, "not a list of the stack: no \"items\" in it");
    grown = reallocarray(stack->entries, stack->count + json_count(items) + 1, sizeof(*grown));
    if (!grown)
        return say(ret_message, -ENOMEM, "no memory");
    stack->entries = grown;
    for (const struct json *item = json_first(items); item; item = json_next(item)) {
        r = read_entry(item, section, &grown[stack->count]);
        if (r == 0) {
            stack->count++;
            continue;
        }
        entry_release(&grown[stack->count]);
        if (r == -ENOMEM)
            return say(ret_message, r, "no memory");
        stack->dropped++;
    }
    return 0;
}

/* --- slugs --- */

static int compare_sections(const struct stack_entry *a, const struct stack_entry *b)
{
    return (a->section > b->section) - (a->section < b->section);
}

static int compare_ids(const void *a, const void *b)
{
    const struct stack_entry *one = a;
    const struct stack_entry *other = b;
    int r = compare_sections(one, other);

    return r ? r : strcmp(one->id, other->id);
}

static const char *shown_name(const struct stack_entry *entry)
{
    return *entry->slug ? entry->slug : *entry->name ? entry->name : entry->id;
}

static int compare_labels(const void *a, const void *b)
{
    const struct stack_entry *one = a;
    const struct stack_entry *other = b;
    int r = compare_sections(one, other);

    r = r ? r : strcmp(shown_name(one), shown_name(other));
    return r ? r : strcmp(one->id, other->id);
}

/* An id that is listed twice is one entry. */
static void sort_by_id(struct stack *stack)
{
    size_t kept = 0;

    if (stack->count > 0)
        qsort(stack->entries, stack->count, sizeof(*stack->entries), compare_ids);
    for (size_t i = 0; i < stack->count; i++) {
        if (kept > 0 && compare_ids(&stack->entries[kept - 1], &stack->entries[i]) == 0)
            entry_release(&stack->entries[i]);
        else
            stack->entries[kept++] = stack->entries[i];
    }
    stack->count = kept;
}

static int take_slug(struct stack *stack, enum tree_section section, const struct json *group)
{
    const char *id = json_string(json_get(group, "id"));
    const char *slug = json_string(json_get(group, "slug"));
    const struct stack_entry wanted = {.section = section, .id = (char *)id};
    struct stack_entry *entry;
    char *copy;

    if (!id || !slug || stack->count == 0)
        return 0;
    entry = bsearch(&wanted, stack->entries, stack->count, sizeof(*entry), compare_ids);
    if (!entry)
        return 0;
    copy = strdup(slug);
    if (!copy)
        return -ENOMEM;
    free(entry->slug);
    entry->slug = copy;
    return 0;
}

int stack_read_slugs(struct stack *stack, const char *text, size_t size,
                     char ret_message[static STACK_MESSAGE_SIZE])
{
    const struct json_limits limits = {.bytes = MANIFEST_BYTES_MAX,
                                       .depth = DEPTH_MAX,
                                       .values = MANIFEST_VALUES_MAX};
    scoped(json_freep) struct json *root = NULL;
    struct json_error error;
    int r = json_parse(text, size, &limits, &root, &error);

    if (r < 0)
        return say(ret_message, r, "not a manifest: %s",
                   r == -EPROTO ? error.message : "no memory");
    sort_by_id(stack);
    for (enum tree_section section = 0; section < TREE_SECTIONS; section++) {
        const struct json *groups = json_get(root, tree_section_name(section));

        if (!tree_section(section)->stack_type || json_type(groups) != JSON_ARRAY)
            continue;
        for (const struct json *group = json_first(groups); group; group = json_next(group))
            if (take_slug(stack, section, group) < 0)
                return say(ret_message, -ENOMEM, "no memory");
    }
    if (stack->count > 0)
        qsort(stack->entries, stack->count, sizeof(*stack->entries), compare_labels);
    return 0;
}

/* --- asking --- */

/* The server's own word is worth more than its status. */
static int failed(const struct caller_answer *answer, int error,
                  char ret_message[static STACK_MESSAGE_SIZE])
{
    if (*answer->detail && answer->status != 401)
        return say(ret_message, error, "%s (%d)", answer->detail, answer->status);
    return say(ret_message, error, "%s", answer->message);
}

static int fetch_list(struct caller *caller, struct stack *stack, enum tree_section section,
                      char ret_message[static STACK_MESSAGE_SIZE])
{
    scoped(caller_answer_release) struct caller_answer answer = {.status = 0};
    char path[64];
    const struct caller_request request = {.path = path, .limit = LIST_MAX};
    int r;

    snprintf(path, sizeof(path), "/api/stack/browse?type=%s", tree_section(section)->stack_type);
    r = caller_call(caller, &request, &answer);
    if (r < 0)
        return failed(&answer, r, ret_message);
    return stack_read_list(stack, section, answer.text ? answer.text : "", answer.size,
                           ret_message);
}

static int fetch_slugs(struct caller *caller, struct stack *stack,
                       char ret_message[static STACK_MESSAGE_SIZE])
{
    scoped(caller_answer_release) struct caller_answer answer = {.status = 0};
    const struct caller_request request = {.path = "/api/sync/manifest",
                                           .limit = MANIFEST_BYTES_MAX};
    int r = caller_call(caller, &request, &answer);

    if (r < 0)
        return failed(&answer, r, ret_message);
    return stack_read_slugs(stack, answer.text ? answer.text : "", answer.size, ret_message);
}

int stack_fetch(struct caller *caller, struct stack **ret_stack,
                char ret_message[static STACK_MESSAGE_SIZE])
{
    scoped(stack_freep) struct stack *stack = calloc(1, sizeof(*stack));
    int r = 0;

    if (!stack)
        return say(ret_message, -ENOMEM, "no memory");
    for (enum tree_section section = 0; r == 0 && section < TREE_SECTIONS; section++)
        if (tree_section(section)->stack_type)
            r = fetch_list(caller, stack, section, ret_message);
    if (r == 0)
        r = fetch_slugs(caller, stack, ret_message);
    if (r == 0)
        *ret_stack = take_ptr(stack);
    return r;
}

/* --- names --- */

char *stack_label(const struct stack_entry *entry)
{
    char *label = NULL;

    if (!*entry->slug)
        return strdup(entry->id);
    return asprintf(&label, "%s/%s", tree_section(entry->section)->folder, entry->slug) < 0 ? NULL
                                                                                            : label;
}

/* Without the slash that a shell's completion leaves at a folder's end. */
static bool names_path(const struct stack_entry *entry, const char *name)
{
    const char *folder = tree_section(entry->section)->folder;
    size_t length = strlen(folder);
    size_t slug = strlen(entry->slug);

    if (slug == 0 || strncmp(name, folder, length) != 0 || name[length] != '/' ||
        strncmp(name + length + 1, entry->slug, slug) != 0)
        return false;
    return strcmp(name + length + 1 + slug, "") == 0 || strcmp(name + length + 1 + slug, "/") == 0;
}

enum naming { BY_SLUG, BY_PATH, BY_ID, BY_NAME, NAMINGS };

static bool is_named(const struct stack_entry *entry, enum naming naming, const char *name)
{
    switch (naming) {
    case BY_SLUG: return strcmp(entry->slug, name) == 0;
    case BY_PATH: return names_path(entry, name);
    case BY_ID: return strcmp(entry->id, name) == 0;
    case BY_NAME:
    default: return strcmp(entry->name, name) == 0;
    }
}

int stack_find(const struct stack *stack, const char *name, const struct stack_entry **ret_entry)
{
    for (enum naming naming = BY_SLUG; *name && naming < NAMINGS; naming++) {
        size_t found = 0;

        for (size_t i = 0; i < stack->count; i++) {
            if (!is_named(&stack->entries[i], naming, name))
                continue;
            *ret_entry = &stack->entries[i];
            found++;
        }
        if (found > 0)
            return found > 1 ? -EEXIST : 0;
    }
    return -ENOENT;
}
