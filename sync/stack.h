/* SPDX-License-Identifier: MIT */
/* stack.h - my stack, as the server keeps it: what I may have, what I have, and changing that.
 *
 *     stack_fetch -> stack_find -> stack_add / stack_remove -> stack_free
 *
 * The server knows packages and domains by id, people know them by slug. Its lists have no slugs,
 * its manifest has, of what is in the stack; so both are asked, and what is not in the stack may have
 * none.
 *
 * What the server leaves out or says in another type is read so that nothing is made up: an entry
 * without an id is dropped and counted, a word that is no string is "".
 *
 * A stack is immutable and owns its strings. Entries are in order of section, then slug (or name).
 * Errors: caller.h's, each with a phrase in ret_message; -EPROTO also for what is no such list. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "sync/caller.h"
#include "sync/tree.h"

struct stack_entry {
    enum tree_section section; /* one with a stack_type */
    char *id;
    char *slug; /* "" if not known */
    char *name; /* for people; may be "" */
    char *description;
    bool required; /* the administrator's decision: neither added nor removed */
    bool in_stack; /* listed in the manifest */
    bool copied;   /* for local use: required, or added */
};

struct stack {
    struct stack_entry *entries;
    size_t count;
    size_t dropped; /* entries that made no sense */
};

#define STACK_MESSAGE_SIZE 200

/* Three requests. */
int stack_fetch(struct caller *caller, struct stack **ret_stack,
                char ret_message[static STACK_MESSAGE_SIZE]);
void stack_free(struct stack *stack); /* NULL is allowed */
void stack_freep(struct stack *const *stack);

/* What the entry is called here: "data/sales", "memory/finance"; its id where the slug is not known.
 * malloc'd; NULL without memory. */
char *stack_label(const struct stack_entry *entry);

/* By slug, also with the folder in front ("data/sales", "data/sales/"), else by id, else by name.
 * -ENOENT; -EEXIST: more than one is called so; -ENOMEM. */
int stack_find(const struct stack *stack, const char *name, const struct stack_entry **ret_entry);

enum stack_refusal {
    STACK_NOT_REFUSED,    /* or for a reason that says all: see the error and the message */
    STACK_REQUIRED,       /* already_required, cannot_remove_required */
    STACK_NO_GRANT,       /* no_grant: not, or no longer, offered to this user */
    STACK_SHARED_SESSION, /* co_session: such a token may not */
    STACK_REFUSED,        /* in words that we do not know: they are the message */
};

/* To ask for what is there already, or to give back what is not, is no error at the server.
 * ret_refusal says why where the server did. */
int stack_add(struct caller *caller, const struct stack_entry *entry,
              enum stack_refusal *ret_refusal, char ret_message[static STACK_MESSAGE_SIZE]);
int stack_remove(struct caller *caller, const struct stack_entry *entry,
                 enum stack_refusal *ret_refusal, char ret_message[static STACK_MESSAGE_SIZE]);

/* --- the parts of stack_fetch that need no server --- */

/* What GET /api/stack/browse answered is appended. -EPROTO, -ENOMEM. */
int stack_read_list(struct stack *stack, enum tree_section section, const char *text, size_t size,
                    char ret_message[static STACK_MESSAGE_SIZE]);

/* The slugs that a manifest knows; then the entries are in their order. Once, after all lists. */
int stack_read_slugs(struct stack *stack, const char *text, size_t size,
                     char ret_message[static STACK_MESSAGE_SIZE]);
