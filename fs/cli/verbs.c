/* SPDX-License-Identifier: MIT */
/* verbs.c - data only. Each verb's help must fit 24 lines of 80 columns; a test holds it to that. */
#include "fs/cli/verbs.h"

#include <string.h>

static const struct verb verbs[] = {
    {
        .name = "mount",
        .bit = VERB_MOUNT,
        .min_operands = 1,
        .max_operands = 2,
        .operands = {OPERAND_FOLDER, OPERAND_FOLDER},
        .usage = "[SOURCE] DIR [-o KEY=VALUE,...] [--foreground]",
        .summary = "show a stack as the folder DIR; returns when it answers",
        .details = "",
        .run = verb_mount,
    },
    {
        .name = "umount",
        .bit = VERB_UMOUNT,
        .min_operands = 1,
        .max_operands = 1,
        .operands = {OPERAND_MOUNT},
        .usage = "DIR [--lazy]",
        .summary = "end a mount; works on a dead one too",
        .details = "Waits until the process behind it has ended, so that mounting again works.\n",
        .run = verb_umount,
    },
    {
        .name = "status",
        .bit = VERB_STATUS,
        .max_operands = 1,
        .operands = {OPERAND_MOUNT},
        .usage = "[DIR] [--json|--prometheus] [--watch]",
        .summary = "what the mounts know about themselves",
        .details =
            "Without DIR: every mount of yours. The JSON is that of DIR/.agnes/status.json;\n"
            "several mounts, or none, are {\"mounts\": [...]}.\n"
            "--watch: one mount; q or Ctrl-C ends it with 0; with --json a document a line.\n"
            "--prometheus: of DIR, or of all; exit code 0, the state is one of the numbers.\n"
            "Exit code: 0 ready, 7 stale or degraded, 1 DIR is not a mount of yours.\n",
        .run = verb_status,
    },
    {
        .name = "sync",
        .bit = VERB_SYNC,
        .max_operands = 1,
        .operands = {OPERAND_FOLDER},
        .usage = "[SOURCE] [--dry-run]",
        .summary = "fill the cache without a mount, and report",
        .details = "Exit code: 0 all there, 1 something failed, 9 something failed its checksum,\n"
                   "3 not allowed, 4 server unreachable, 8 disk. What came so far is kept.\n",
        .run = verb_sync,
    },
    {
        .name = "refresh",
        .bit = VERB_REFRESH,
        .max_operands = 1,
        .operands = {OPERAND_MOUNT},
        .usage = "[DIR] [--log-level LEVEL]",
        .summary = "make a mount fetch the manifest now; prints what changed",
        .details = "Without DIR: the only mount there is. --log-level: what it logs from now on,\n"
                   "this refresh included.\n",
        .run = verb_refresh,
    },
    {
        .name = "ls",
        .bit = VERB_LS,
        .max_operands = 2,
        .operands = {OPERAND_TABLE_OR_MOUNT, OPERAND_MOUNT},
        .usage = "[GLOB] [DIR]",
        .summary = "list tables and bundles, also without a mount",
        .details = "GLOB matches the path or PACKAGE/TABLE. Without DIR: what the cache knows of\n"
                   "the source that mount would take; where none is named, the only mount.\n",
        .run = verb_ls,
    },
    {
        .name = "pin",
        .bit = VERB_PIN,
        .min_operands = 1,
        .max_operands = 2,
        .operands = {OPERAND_TABLE, OPERAND_MOUNT},
        .usage = "GLOB [DIR]",
        .summary = "keep what GLOB matches in the cache, and fetch it",
        .details = "GLOB matches the path or PACKAGE/TABLE, now and later; quote it.\n"
                   "Without DIR: as for ls.\n",
        .run = verb_pin,
    },
    {
        .name = "unpin",
        .bit = VERB_UNPIN,
        .min_operands = 1,
        .max_operands = 2,
        .operands = {OPERAND_PIN, OPERAND_MOUNT},
        .usage = "GLOB [DIR]",
        .summary = "take a pin back; GLOB as it was given to pin",
        .details = "What it kept stays in the cache until the room is needed.\n",
        .run = verb_unpin,
    },
    {
        .name = "prune",
        .bit = VERB_PRUNE,
        .max_operands = 1,
        .operands = {OPERAND_FOLDER},
        .usage = "[SOURCE] [--cache-size SIZE]",
        .summary = "make the cache smaller: what was opened longest ago goes first",
        .details = "Down to --cache-size. What is pinned or open stays.\n",
        .run = verb_prune,
    },
    {
        .name = "verify",
        .bit = VERB_VERIFY,
        .max_operands = 1,
        .operands = {OPERAND_FOLDER},
        .usage = "[SOURCE] [--repair]",
        .summary = "read and check everything in the cache",
        .details = "A listed file that is not in the cache is a missing blob, unless prefetch is\n"
                   "none: then being cold is normal. Exit code: 9 when findings remain.\n",
        .run = verb_verify,
    },
    {
        .name = "sql",
        .bit = VERB_SQL,
        .max_operands = 1,
        .operands = {OPERAND_MOUNT},
        .usage = "[DIR]",
        .summary = "print a CREATE VIEW statement for every table of a mount",
        .details = "For DuckDB, with absolute paths; the same as DIR/.agnes/duckdb.sql.\n"
                   "Without DIR: the only mount there is.\n",
        .run = verb_sql,
    },
    {
        .name = "stack",
        .bit = VERB_STACK,
        .max_operands = 2,
        .operands = {OPERAND_ACTION, OPERAND_SLUG},
        .usage = "[list] | add SLUG | remove SLUG",
        .summary = "your stack on the server: what is in it, what could be",
        .details = "required: for everybody, can not be removed. added: you asked for a copy.\n"
                   "available: you may. SLUG as list shows it: data/sales, or just sales. After a\n"
                   "change the mount of that server, if there is one, is refreshed.\n"
                   "Exit code: 1 the server refused, 3 authentication, 4 server unreachable.\n",
        .run = verb_stack,
    },
    {
        .name = "export",
        .bit = VERB_EXPORT,
        .min_operands = 1,
        .max_operands = 2,
        .operands = {OPERAND_FOLDER, OPERAND_FOLDER},
        .usage = "[SOURCE] TARGET [--strategy HOW]",
        .summary = "what mount would show, as ordinary files in the folder TARGET",
        .details =
            "Syncs the cache first. Again: writes what changed, removes what is gone, never\n"
            "touches files that it did not write. Exit code: that of sync; 1 when a file\n"
            "was skipped or could not be written, 8 when TARGET can not be used.\n",
        .run = verb_export,
    },
    {
        .name = "doctor",
        .bit = VERB_DOCTOR,
        .max_operands = 1,
        .usage = "[DIR] | --report [FILE]",
        .summary = "what is wrong, and what to type against it",
        .details =
            "Looks at machine, configuration, source, token, cache and mount; without DIR at\n"
            "all your mounts. Touches none; answers within two seconds, whatever hangs.\n"
            "--report writes it all, without secrets, to a new FILE, a .tar.gz for an issue.\n"
            "Exit code: 0 ok and warnings, 7 when a line says FAIL.\n",
        .run = verb_doctor,
    },
    {
        .name = "help",
        .max_operands = 1,
        .operands = {OPERAND_VERB},
        .usage = "[VERB]",
        .summary = "this, or the help of a verb",
        .details = "",
    },
    {
        .name = "version",
        .usage = "[--json]",
        .summary = "the version, its libraries, and what it was built with",
        .details = "",
    },
    {.name = NULL},
};

const struct verb *verb_table(void)
{
    return verbs;
}

const struct verb *verb_find(const char *name)
{
    for (const struct verb *verb = verbs; verb->name; verb++)
        if (strcmp(verb->name, name) == 0)
            return verb;
    return NULL;
}
