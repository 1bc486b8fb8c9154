/* SPDX-License-Identifier: MIT */
/* report.h - what one refresh did: the old engine's report, and what it hid.
 *
 * Counts are of rows (tables, bundles), by section. For every row of the manifest exactly one of
 * added, updated, unchanged, skipped or dropped-with-an-error is counted; kept and held rows count
 * as unchanged and appear in errors or held.
 *
 *     report_new -> report_fill(last tree, next tree, manifest, plan) -> report_json
 *
 * A row is what section, group and label say it is; its content is its keys. So a table that moves
 * to another package is removed here and added there, at 0 bytes. A row with an item that was never
 * tried (dry run) counts as what it would become. Lines are in order of section, group and name.
 *
 * The text that people read is printed from the same numbers (fs/cli).
 * A report owns its strings. Errors: -ENOMEM. */
#pragma once

#include "sync/json.h"
#include "sync/plan.h"

struct report_line {
    enum tree_section section;
    char *group;  /* package slug; "" where there is none */
    char *name;   /* table or domain */
    char *reason; /* one phrase */
    int error;    /* negative errno; 0 for skipped */
};

struct report_section {
    uint64_t added;
    uint64_t updated;
    uint64_t removed;
    uint64_t unchanged;
    uint64_t skipped;
    uint64_t bytes; /* fetched for it */
    bool held;      /* its rows rest on the last generation */
};

struct report {
    struct report_section sections[TREE_SECTIONS];
    struct report_line *skipped;
    size_t skipped_count;
    struct report_line *errors;
    size_t error_count;
    char **invariant_violations;
    size_t invariant_count;
    uint64_t generation; /* after */
    bool changed;        /* a new generation was published (or would be: dry run) */
    bool dry_run;
    uint64_t requests;       /* made for this refresh */
    uint64_t fetched;        /* blobs that came for it */
    uint64_t signed_fetched; /* those of them that came by a signed address */
    double seconds;
    int error;         /* negative errno when the refresh as a whole failed, else 0 */
    char message[200]; /* why */
};

struct report *report_new(void); /* empty; NULL without memory */
void report_free(struct report *report);
void report_freep(struct report *const *report);

/* Fills counts, skipped and errors from the four. */
int report_fill(struct report *report, const struct tree *last, const struct tree *next,
                const struct manifest *manifest, struct plan *plan);

int report_add_error(struct report *report, enum tree_section section, const char *group,
                     const char *name, int error, const char *reason);
int report_add_violation(struct report *report, const char *text);

/* What an earlier refresh of the same ask has cost. */
void report_absorb(struct report *report, const struct report *earlier);

/* {"direct_tables": {"added", "updated", "removed", "unchanged", "skipped", "bytes", "held",
 *                    "errors": [{"name", "error"}], "skipped_rows": [{"name", "reason"}]},
 *  "data_packages": ... the same, lines with "package",
 *  "memory_domains": ... the same, lines with "slug" for "name",
 *  "knowledge_artifacts": ... the same, lines with "kind" ("chunks", "digest"),
 *  "invariant_violations": [], "generation", "changed", "dry_run", "requests", "fetched",
 *  "fetched_by_signed_url", "duration_ms",
 *  "error": null or why the refresh failed as a whole} */
#define REPORT_SCHEMA 1 /* of the document: it says so itself */

int report_json(const struct report *report, struct json **ret_json);
