/* SPDX-License-Identifier: MIT */
/* status_doc.h - what a mount knows about itself, as one JSON document.
 *
 * `agnesfs status --json` prints it and .agnes/status.json holds it. Keys are added, never renamed
 * or given another meaning, without a new "schema" number.
 *
 *     {"schema": 1, "version", "state": "ready" | "stale" | "degraded",
 *      "source", "only", "except", "mountpoint", "pid", "started", "uptime_seconds",
 *      "last_death": null | {"pid", "reason", "alive"},
 *      "generation", "last_refresh", "age_seconds", "next_refresh", "refreshing", "error",
 *      "progress": {"files_total", "files_done", "bytes_total", "bytes_done"}, of the refresh that
 *      runs or ran last,
 *      "tables", "packages", "domains", "artifacts", "files", "bytes", "resident_files",
 *      "resident_bytes",
 *      "sections": {"direct_tables": {"listed", "withheld", "bytes"}, "data_packages", ...},
 *      "withheld": [{"section", "package", "name", "reason"}], the first STATUS_WITHHELD of them,
 *      "cache_dir", "log", "log_level",
 *      "transfers": {"running", "waiting", "done", "failed", "bytes", "requests",
 *                    "files": [{"path", "size", "bytes"}], at most STATUS_TRANSFERS that are coming
 *                    in},
 *      "programs": [{"pid", "name", "waiting", "reads", "bytes", "path", "last"}],
 *      "programs_before": {"reads", "bytes"},
 *      "problems": [{"path", "error", "since"}],
 *      "mount": {"inodes", "lookups", "open_files", "parked_reads", "reads", "bytes_read",
 *                "passthrough": true | false, "passthrough_why_not", "passthrough_files",
 *                "io_uring": true | false, "io_uring_why_not"},
 *      "sandbox": {"no_new_privs", "landlock": version or 0, "seccomp", "capabilities": ["..."],
 *                  "why_not"}}
 *
 * passthrough: the kernel reads complete files by itself; passthrough_files are open that way.
 * io_uring: requests come by it. last_death: how the process before this one ended, if not in order;
 * it was last known to be alive then. Times are RFC 3339 in UTC, null if there is none; numbers are
 * exact; "error" is null or a phrase.
 *
 * programs: whose reads had to wait for bytes, and how many of these came over the wire for them; path
 * is what they last waited for. programs_before: the sum of those that are not listed any more
 * (readers.h).
 *
 * stale: the last refresh failed, or the source last confirmed the generation longer than two
 * refresh intervals ago. degraded: up to date, but something listed can not be had. */
#pragma once

#include "fs/cli/death.h"
#include "fs/cli/harden.h"
#include "fs/cli/log.h"
#include "fs/cli/readers.h"
#include "fs/mount.h"
#include "sync/engine.h"
#include "sync/json.h"

#define STATUS_SCHEMA 1
#define STATUS_TRANSFERS 16
#define STATUS_WITHHELD 20 /* of so many it says why they are not here; agnesfs ls knows of all */

struct status_facts {
    const char *source;
    const char *source_from; /* where it was found */
    const char *token_from;  /* "" for none */
    const char *only;        /* the filter's lists (filter.h); NULL for none */
    const char *except;
    uint64_t token_ends_unix; /* by its own word; 0: it does not say */
    const char *mountpoint;
    const char *cache_dir;
    const char *state_dir;
    bool follows;    /* another process has the cache */
    const char *log; /* path, NULL for stderr */
    enum log_level log_level;
    pid_t pid;
    uint64_t started_unix;
    const struct death *before; /* NULL: the process before ended in order */
    uint64_t now_unix;
    uint64_t refresh_s;      /* interval, 0: off */
    const struct tree *tree; /* NULL: no generation */
    const struct engine_status *engine;
    const struct budget_facts *budget;
    const struct engine_problem *problems;
    size_t problem_count;
    const struct mount_facts *mount;
    const struct harden_facts *hardened;
    uint64_t resident_files;
    uint64_t resident_bytes;
    struct store *store; /* what is coming is asked of it */
    const struct reader_facts *readers;
    size_t reader_count;
    const struct reader_facts *others;
};

/* The first name of a blob, else its key. */
void status_name_of(const struct tree *tree, const struct blob_key *key,
                    char ret_path[static TREE_PATH_MAX]);

/* "ready", "stale" or "degraded". */
const char *status_state(const struct status_facts *facts);

int status_doc_make(const struct status_facts *facts, struct json **ret_root);

/* What a stack holds, as people count it. */
struct stack_counts {
    uint64_t tables; /* listed, one for each package that has it */
    uint64_t packages;
    uint64_t domains;
    uint64_t artifacts; /* of knowledge */
    uint64_t bytes;
    struct {
        uint64_t listed;
        uint64_t withheld;
        uint64_t bytes;
    } sections[TREE_SECTIONS];
};

void stack_count(const struct tree *tree, struct stack_counts *ret_counts);
