/* SPDX-License-Identifier: MIT */
/* verbs.h - what agnesfs can be told to do.
 *
 * One table (verbs.c) says what each verb is called, what it takes and what its help says; one file
 * per verb says what it does. A verb's function gets its options parsed and checked, prints what it
 * has to say, and returns the exit code: it is the only place where errors become messages. */
#pragma once

#include <stddef.h>

struct options;

enum verb_bit {
    VERB_MOUNT = 1,
    VERB_UMOUNT = 2,
    VERB_STATUS = 4,
    VERB_SYNC = 8,
    VERB_REFRESH = 16,
    VERB_LS = 32,
    VERB_VERIFY = 64,
    VERB_PIN = 128,
    VERB_UNPIN = 256,
    VERB_PRUNE = 512,
    VERB_STACK = 1024,
    VERB_EXPORT = 2048,
    VERB_SQL = 4096,
    VERB_DOCTOR = 8192,
    VERB_ALL = 16383,
};

/* What an operand names, for completion. */
enum operand {
    OPERAND_NONE,
    OPERAND_FOLDER, /* also a SOURCE: of all sources, only a folder can be completed */
    OPERAND_MOUNT,
    OPERAND_TABLE, /* a GLOB */
    OPERAND_TABLE_OR_MOUNT,
    OPERAND_PIN,    /* a GLOB that is pinned */
    OPERAND_ACTION, /* of stack */
    OPERAND_SLUG,
    OPERAND_VERB,
};

struct verb {
    const char *name;
    enum verb_bit bit;
    size_t min_operands;
    size_t max_operands;
    enum operand operands[2];
    const char *usage;                         /* operands and the flags worth naming */
    const char *summary;                       /* what it does, one line of the main help */
    const char *details;                       /* further lines of its own help, "" for none */
    int (*run)(const struct options *options); /* NULL: main.c sees to it, before any option */
};

/* NULL if there is no such verb. */
const struct verb *verb_find(const char *name);

/* The table, in the order of the help; ends with a NULL name. */
const struct verb *verb_table(void);

int verb_mount(const struct options *options);
int verb_umount(const struct options *options);
int verb_status(const struct options *options);
int verb_sync(const struct options *options);
int verb_refresh(const struct options *options);
int verb_ls(const struct options *options);
int verb_verify(const struct options *options);
int verb_pin(const struct options *options);
int verb_unpin(const struct options *options);
int verb_prune(const struct options *options);
int verb_sql(const struct options *options);
int verb_stack(const struct options *options);
int verb_export(const struct options *options);
int verb_doctor(const struct options *options);
