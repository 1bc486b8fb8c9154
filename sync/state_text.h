/* SPDX-License-Identifier: MIT */
/* state_text.h - a generation as text and back. For state*.c only; state.h has the format. */
#pragma once

#include "sync/json.h"
#include "sync/state.h"

#define STATE_FILE "sync_state.json"
#define STATE_MESSAGE_SIZE 160

/* The strings of a row that stand in the file under their own names, unless they are empty. */
struct state_field {
    const char *key;
    size_t offset; /* of a const char * in struct tree_row */
};

static const struct state_field state_fields[] = {
    {"title", offsetof(struct tree_row, title)},
    {"table_id", offsetof(struct tree_row, table_id)},
    {"md5", offsetof(struct tree_row, md5)},
    {"token", offsetof(struct tree_row, token)},
    {"url", offsetof(struct tree_row, url)},
    {"updated", offsetof(struct tree_row, updated)},
    {"query_mode", offsetof(struct tree_row, query_mode)},
};

#define STATE_FIELDS (sizeof(state_fields) / sizeof(*state_fields))

/* The same for flags, which stand there as true or not at all. */
struct state_flag {
    const char *key;
    uint32_t flag;
};

static const struct state_flag state_flags[] = {
    {"partitioned", TREE_ROW_PARTS}, {"unverified", TREE_ROW_UNVERIFIED},
    {"kept", TREE_ROW_KEPT},         {"access_policy", TREE_ROW_POLICY},
    {"stale", TREE_ROW_STALE},
};

#define STATE_FLAGS (sizeof(state_flags) / sizeof(*state_flags))

#define STATE_VERSION 1

/* How every file ends, where the zeros are the checksum: XXH3-128 of the text with
 * these zeros, which is the digest of its blob key. */
#define STATE_TAIL_BEFORE "\"checksum\": \"xxh3-"
#define STATE_TAIL_ZEROS "00000000000000000000000000000000"
#define STATE_TAIL_AFTER "\"\n}\n"
#define STATE_CHECKSUM_DIGITS (sizeof(STATE_TAIL_ZEROS) - 1)

/* The digits' place in a text; NULL if it does not end as every file ends. */
const char *state_checksum_place(const char *text, size_t size);

/* The checksum of a text whose place holds zeros. */
void state_checksum(const char *text, size_t size,
                    char ret_digits[static STATE_CHECKSUM_DIGITS + 1]);

/* The whole file, checksum included; for the caller to free. -ENOMEM, -ERANGE. */
int state_text_make(const struct state *state, char **ret_text, size_t *ret_size);

/* Is it what state_text_make wrote, to the last byte? -EBADMSG with the reason if not. */
int state_text_check(const char *text, size_t size, char ret_message[static STATE_MESSAGE_SIZE]);

/* Checks and reads. -EBADMSG with the reason, -ENOMEM, or what decorate says. */
int state_text_read(const char *text, size_t size,
                    int (*decorate)(void *arg, struct tree_builder *builder), void *arg,
                    struct state *ret_state, char ret_message[static STATE_MESSAGE_SIZE]);
