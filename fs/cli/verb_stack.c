/* SPDX-License-Identifier: MIT */
/* verb_stack.c - sync/stack.h asks the server; here are the words. The cache has no part in it, but
 * that a mount of the source is refreshed after a change. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cache/scoped.h"
#include "fs/cli/answer.h"
#include "fs/cli/document.h"
#include "fs/cli/format.h"
#include "fs/cli/session.h"
#include "fs/cli/target.h"
#include "sync/stack.h"

enum { NEAREST_MAX = 3 };

/* Whom we ask, and what it said. */
struct inquiry {
    const struct options *options;
    struct discovery discovery;
    struct token *token;
    struct caller *caller;
    struct stack *stack;
};

static void inquiry_release(struct inquiry *inquiry)
{
    stack_free(inquiry->stack);
    caller_free(inquiry->caller);
    token_free(inquiry->token);
    discovery_release(&inquiry->discovery);
}

static const char *source_name(const struct inquiry *inquiry)
{
    return source_text(inquiry->discovery.source);
}

static int no_memory(struct complaint *ret_complaint)
{
    return complain(ret_complaint, EXIT_FAILED, "stack", "out of memory");
}

/* --- asking --- */

/* No answer, or none that is about the stack. */
static int complain_answer(const struct inquiry *inquiry, int error, const char *message,
                           struct complaint *ret_complaint)
{
    enum exit_code code = exit_code_of(error);
    int r;

    if (code == EXIT_AUTHENTICATION || code == EXIT_UNREACHABLE)
        return complain_refresh(ret_complaint, source_name(inquiry), inquiry->discovery.origin,
                                token_present(inquiry->token), error, message);
    r = complain(ret_complaint, EXIT_FAILED, source_name(inquiry), "no usable answer: %s", message);
    complaint_hint(ret_complaint, "this source comes from %s", inquiry->discovery.origin);
    return r;
}

static int open_caller(struct inquiry *inquiry, struct complaint *ret_complaint)
{
    const struct options *options = inquiry->options;
    const struct caller_conf conf = {
        .source = inquiry->discovery.source,
        .user_agent = SESSION_USER_AGENT,
        .ca_file = options_text(options, OPTION_CA_FILE),
        .proxy = options_text(options, OPTION_PROXY),
        .timeout_s = (unsigned)options_number(options, OPTION_TIMEOUT),
        .token = token_read,
        .token_arg = inquiry->token,
    };

    return caller_new(&conf, &inquiry->caller) < 0 ? no_memory(ret_complaint) : 0;
}

static int inquire(struct inquiry *inquiry, struct complaint *ret_complaint)
{
    char message[STACK_MESSAGE_SIZE];
    int r = discovery_find(NULL, inquiry->options, &inquiry->discovery, ret_complaint);

    if (r < 0)
        return r;
    if (source_kind(inquiry->discovery.source) == SOURCE_STATIC) {
        r = complain(ret_complaint, EXIT_USAGE, source_name(inquiry),
                     "a static stack: there is no server that could add or remove anything");
        complaint_hint(ret_complaint, "all that its manifest lists is yours; agnesfs ls");
        return r;
    }
    if ((r = token_new(inquiry->options, inquiry->discovery.source, &inquiry->token,
                       ret_complaint)) < 0 ||
        (r = open_caller(inquiry, ret_complaint)) < 0)
        return r;
    r = stack_fetch(inquiry->caller, &inquiry->stack, message);
    if (r < 0)
        return complain_answer(inquiry, r, message, ret_complaint);
    if (inquiry->stack->dropped > 0)
        warn(source_name(inquiry), "entries without an id are left out: %zu",
             inquiry->stack->dropped);
    return 0;
}

/* --- list --- */

static const char *state_of(const struct stack_entry *entry)
{
    return entry->required ? "required" : entry->copied ? "added" : "available";
}

static int print_table(const struct stack *stack)
{
    static const char *const titles[] = {"STATE", "SLUG", "NAME", "ID"};
    scoped(table_freep) struct table *table = table_new(titles, 4);

    for (size_t i = 0; table && i < stack->count; i++) {
        const struct stack_entry *entry = &stack->entries[i];
        scoped_free char *label = stack_label(entry);
        const char *const cells[] = {state_of(entry), label, entry->name, entry->id};

        if (!label || table_add(table, cells) < 0)
            return -ENOMEM;
    }
    if (!table)
        return -ENOMEM;
    table_print(table, stdout);
    return 0;
}

static int add_names(struct json *object, const struct stack_entry *entry)
{
    int r = json_add_string(object, "section", tree_section_name(entry->section));

    r |= json_add_string(object, "slug", *entry->slug ? entry->slug : NULL);
    r |= json_add_string(object, "id", entry->id);
    return r | json_add_string(object, "name", entry->name);
}

static int print_list(const struct stack *stack)
{
    scoped(json_freep) struct json *root = document_new();
    struct json *list = root ? json_add_array(root, "entries") : NULL;

    for (size_t i = 0; list && i < stack->count; i++) {
        const struct stack_entry *entry = &stack->entries[i];
        struct json *object = json_add_object(list, NULL);

        if (!object || add_names(object, entry) < 0 ||
            json_add_string(object, "description", entry->description) < 0 ||
            json_add_string(object, "state", state_of(entry)) < 0 ||
            json_add_bool(object, "in_stack", entry->in_stack) < 0 ||
            json_add_bool(object, "copied", entry->copied) < 0)
            return -ENOMEM;
    }
    return list ? document_print(root) : -ENOMEM;
}

static int show_list(const struct inquiry *inquiry, struct complaint *ret_complaint)
{
    int r = 0;

    if (options_flag(inquiry->options, FLAG_JSON))
        r = print_list(inquiry->stack);
    else if (inquiry->stack->count > 0 && !options_flag(inquiry->options, FLAG_QUIET))
        r = print_table(inquiry->stack);
    return r < 0 ? no_memory(ret_complaint) : 0;
}

/* --- which one --- */

static size_t farness(const struct stack_entry *entry, const char *name)
{
    const char *const known[] = {entry->slug, entry->id, entry->name};
    size_t least = SIZE_MAX;

    for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++) {
        size_t away = *known[i] ? option_distance(name, known[i]) : SIZE_MAX;

        least = away < least ? away : least;
    }
    return least;
}

/* The nearest, best first, as far as they are near at all; returns how many. The folder in front is
 * left out: it would make everything in it look alike. */
static size_t find_nearest(const struct stack *stack, const char *name,
                           const struct stack_entry *ret_nearest[static NEAREST_MAX])
{
    const char *slash = strchr(name, '/');
    const char *bare = slash ? slash + 1 : name;
    size_t aways[NEAREST_MAX];
    size_t count = 0;

    for (size_t i = 0; i < stack->count; i++) {
        size_t away = farness(&stack->entries[i], bare);
        size_t at = count;

        if (away > strlen(bare) / 2)
            continue;
        while (at > 0 && aways[at - 1] > away)
            at--;
        if (at == NEAREST_MAX)
            continue;
        count += count < NEAREST_MAX;
        for (size_t to = count - 1; to > at; to--) {
            aways[to] = aways[to - 1];
            ret_nearest[to] = ret_nearest[to - 1];
        }
        aways[at] = away;
        ret_nearest[at] = &stack->entries[i];
    }
    return count;
}

static int complain_unknown(const struct inquiry *inquiry, const char *name,
                            struct complaint *ret_complaint)
{
    const struct stack_entry *nearest[NEAREST_MAX];
    size_t count = find_nearest(inquiry->stack, name, nearest);
    char names[300] = "";
    int r = complain(ret_complaint, EXIT_FAILED, name,
                     "no package or domain of that name is offered to you at %s",
                     source_name(inquiry));

    for (size_t i = 0; i < count; i++) {
        scoped_free char *label = stack_label(nearest[i]);

        snprintf(names + strlen(names), sizeof(names) - strlen(names), "%s%s", i > 0 ? ", " : "",
                 label ? label : "");
    }
    if (count > 0)
        complaint_hint(ret_complaint, "did you mean %s?", names);
    else
        complaint_hint(ret_complaint, "agnesfs stack list shows what there is");
    return r;
}

static int find_entry(const struct inquiry *inquiry, const char *name,
                      const struct stack_entry **ret_entry, struct complaint *ret_complaint)
{
    int r = stack_find(inquiry->stack, name, ret_entry);

    if (r == -ENOENT)
        return complain_unknown(inquiry, name, ret_complaint);
    if (r < 0) {
        r = complain(ret_complaint, EXIT_USAGE, name, "more than one is called so");
        complaint_hint(ret_complaint, "data/%s, memory/%s, or the id that agnesfs stack list shows",
                       name, name);
    }
    return r;
}

/* --- add, remove --- */

static int complain_refusal(const struct inquiry *inquiry, const char *label, bool add,
                            enum stack_refusal refusal, const char *message,
                            struct complaint *ret_complaint)
{
    int r;

    switch (refusal) {
    case STACK_REQUIRED:
        return complain(ret_complaint, EXIT_FAILED, label,
                        add ? "required, so everybody has it: there is nothing to add"
                            : "required by those who run the server: it can not be removed");
    case STACK_NO_GRANT:
        r = complain(ret_complaint, EXIT_FAILED, label, "not granted to you");
        complaint_hint(ret_complaint, "an administrator of %s can grant it", source_name(inquiry));
        return r;
    case STACK_SHARED_SESSION:
        r = complain(ret_complaint, EXIT_FAILED, label,
                     "the token is of a shared session, which may not change anybody's stack");
        complaint_hint(ret_complaint, "log in with the agnes CLI, or give --token-file FILE");
        return r;
    default: return complain(ret_complaint, EXIT_FAILED, label, "the server refused: %s", message);
    }
}

static int change(const struct inquiry *inquiry, const struct stack_entry *entry, const char *label,
                  bool add, struct complaint *ret_complaint)
{
    char message[STACK_MESSAGE_SIZE];
    enum stack_refusal refusal;
    int r = add ? stack_add(inquiry->caller, entry, &refusal, message)
                : stack_remove(inquiry->caller, entry, &refusal, message);

    if (refusal != STACK_NOT_REFUSED)
        return complain_refusal(inquiry, label, add, refusal, message, ret_complaint);
    return r < 0 ? complain_answer(inquiry, r, message, ret_complaint) : 0;
}

/* What the source's mount says after a refresh; NULL and no mount point: there is none. */
static int refresh_mount(const struct options *options, char **ret_mountpoint,
                         struct json **ret_root, struct complaint *ret_complaint)
{
    const struct control_request request = {.verb = "refresh",
                                            .verbose = options_flag(options, FLAG_VERBOSE)};
    scoped(target_release) struct target target = {0};

    if (session_find_mount(options, NULL, ret_mountpoint, ret_complaint) < 0)
        return -EIO;
    if (!*ret_mountpoint)
        return 0;
    if (target_find(*ret_mountpoint, &target, ret_complaint) < 0)
        return -EIO;
    return target_ask(&target, &request, -1, ret_root, NULL, ret_complaint);
}

/* A document can not be in two at once. */
static int add_copy(struct json *object, const char *key, const struct json *value)
{
    static const struct json_limits limits = {.bytes = 64 << 20, .depth = 64};
    scoped_free char *text = NULL;
    struct json *copy = NULL;
    struct json_error error;
    size_t size;

    if (!value)
        return json_add_string(object, key, NULL);
    if (json_print(value, false, &text, &size) < 0 ||
        json_parse(text, size, &limits, &copy, &error) < 0)
        return -ENOMEM;
    return json_add(object, key, copy);
}

static int print_change(const struct stack_entry *entry, bool add, const char *mountpoint,
                        const struct json *answer)
{
    scoped(json_freep) struct json *root = document_new();

    if (!root || json_add_string(root, "action", add ? "add" : "remove") < 0 ||
        json_add_bool(root, "changed", entry->copied != add) < 0 || add_names(root, entry) < 0 ||
        json_add_string(root, "mount", mountpoint) < 0 ||
        add_copy(root, "report", json_get(answer, "report")) < 0)
        return -ENOMEM;
    return document_print(root);
}

/* The server has done it; whatever goes wrong now is about the mount. */
static int follow_up(const struct options *options, const struct stack_entry *entry, bool add,
                     int *ret_code, struct complaint *ret_complaint)
{
    bool json = options_flag(options, FLAG_JSON);
    scoped(json_freep) struct json *answer = NULL;
    scoped_free char *mountpoint = NULL;
    int r = refresh_mount(options, &mountpoint, &answer, ret_complaint);

    if (json && print_change(entry, add, mountpoint, answer) < 0)
        return no_memory(ret_complaint);
    if (r == 0 && answer) {
        *ret_code = answer_code(answer);
        r = json ? answer_check(answer, ret_complaint)
                 : answer_show(options, answer, ret_complaint);
    }
    if (r < 0)
        ret_complaint->told = json;
    return r;
}

static int change_stack(const struct inquiry *inquiry, bool add, int *ret_code,
                        struct complaint *ret_complaint)
{
    const struct options *options = inquiry->options;
    const struct stack_entry *entry;
    int r = find_entry(inquiry, options_operand(options, 1), &entry, ret_complaint);

    if (r < 0)
        return r;

    scoped_free char *label = stack_label(entry);

    if (!label)
        return no_memory(ret_complaint);
    if ((r = change(inquiry, entry, label, add, ret_complaint)) < 0)
        return r;
    if (!options_flag(options, FLAG_JSON) && !options_flag(options, FLAG_QUIET)) {
        print_escaped(stdout, label);
        puts(entry->copied == add ? add ? ": was added already" : ": was not added"
             : add                ? ": added"
                                  : ": removed");
    }
    return follow_up(options, entry, add, ret_code, ret_complaint);
}

static int check_action(const struct options *options, const char *action,
                        struct complaint *ret_complaint)
{
    bool list = strcmp(action, "list") == 0;
    bool change = strcmp(action, "add") == 0 || strcmp(action, "remove") == 0;
    const char *slug = options_operand(options, 1);
    int r = 0;

    if (!list && !change)
        r = complain(ret_complaint, EXIT_USAGE, action, "not one of list, add, remove");
    else if (change && !(slug && *slug))
        r = complain(ret_complaint, EXIT_USAGE, "stack", "SLUG is missing");
    else if (list && slug)
        r = complain(ret_complaint, EXIT_USAGE, "stack", "too many arguments: \"%s\"", slug);
    if (r < 0)
        complaint_hint(ret_complaint, "usage: agnesfs stack [list] | add SLUG | remove SLUG");
    return r;
}

int verb_stack(const struct options *options)
{
    scoped(inquiry_release) struct inquiry inquiry = {.options = options};
    const char *operand = options_operand(options, 0);
    const char *action = operand ? operand : "list";
    struct complaint complaint;
    int code = EXIT_OK;
    int r = check_action(options, action, &complaint);

    if (r == 0)
        r = inquire(&inquiry, &complaint);
    if (r == 0)
        r = strcmp(action, "list") == 0
                ? show_list(&inquiry, &complaint)
                : change_stack(&inquiry, strcmp(action, "add") == 0, &code, &complaint);
    return r < 0 ? complaint_print(&complaint, options_flag(options, FLAG_JSON)) : code;
}
