/* SPDX-License-Identifier: MIT */
/* discovery.h - which source, and which token, when nobody says.
 *
 * Source: the argument, else the key "server" (flag, -o, AGNESFS_SERVER, our configuration), else as
 * the agnes CLI does: AGNES_SERVER, `server:` in $AGNES_CONFIG_DIR/config.yaml (~/.config/agnes),
 * http://localhost:8000.
 *
 * Token: the key "token-file" (the bare token, or JSON with access_token), else as the agnes CLI
 * does, surprises included: token.json beside config.yaml beats AGNES_TOKEN, unless
 * AGNES_SESSION_ID is set; a token.json without access_token means no token at all. A static source
 * never gets one.
 *
 * A token is read from its file each time it is asked for, so that a new login counts at once. It
 * never appears in a message, AGNES_TOKEN is taken out of the environment, and a process that has had
 * one leaves no core. Its file must be a regular file of ours; bits for group or others get one
 * warning. */
#pragma once

#include <stdbool.h>

#include "fs/cli/messages.h"
#include "fs/cli/options.h"
#include "sync/source.h"

struct discovery {
    struct source *source; /* owned */
    char *origin;          /* where it was found, for people; owned */
    bool is_last_resort;   /* nobody named it: http://localhost:8000 */
};

/* argument may be NULL. Exit code 2 in the complaint for what is no source. */
int discovery_find(const char *argument, const struct options *options,
                   struct discovery *ret_discovery, struct complaint *ret_complaint);
void discovery_release(struct discovery *discovery);

struct token;

/* Finds out where tokens come from and tries once, so that a file that is no good is said at once
 * (exit code 3). Having no token is no error: not all servers want one. */
int token_new(const struct options *options, const struct source *source, struct token **ret_token,
              struct complaint *ret_complaint);
void token_free(struct token *token);

/* Takes AGNES_TOKEN out of our environment, which can be read in /proc and is handed on to children:
 * for a process that has no use for it. token_new does so too. Before there are other threads. */
void token_leave_environment(void);

/* The engine's callback: the token now, malloc'd; NULL for none. arg is a struct token. From any
 * thread. */
char *token_read(void *arg);

/* Was there one when last asked? */
bool token_present(const struct token *token);

/* Where it comes from, for people: a file's path, "AGNES_TOKEN", "" for none. */
const char *token_origin(const struct token *token);

/* When that one ends by its own word, in seconds since 1970; 0 if it does not say. */
uint64_t token_ends(const struct token *token);

#define TOKEN_HINT_S (7 * 24 * 3600) /* so long before, people are told */
