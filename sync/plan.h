/* SPDX-License-Identifier: MIT */
/* plan.h - what must be fetched before a manifest can become the next generation, and then that
 * generation.
 *
 *     plan_make(manifest, last tree, what is resident) -> items to stage
 *     ... the caller fetches each item and writes down its outcome, and key or error ...
 *     plan_tree -> the next generation
 *
 * An item must be staged (fetched before publishing) when
 *   - its bytes alone tell its key or size (bundles, rows without md5), and its token changed or
 *     what we have of it is not resident; or
 *   - a name would change from content that is resident to content that is not: an update never
 *     makes a readable file unreadable; or
 *   - the source has said of its content that it has something else by now (superseded).
 * What is left out (filter.h) is not staged. Everything else is listed at once, cold if need be: plan_make costs no network.
 * An item that fails keeps the content its name had (the row is marked TREE_ROW_KEPT); a name that
 * had none and whose key can not be known without bytes is not listed. A partitioned table switches
 * all its parts or none. What a name shows is only a fallback for the same row (section, slug and
 * label): another table that had the name before was withdrawn.
 *
 * Held: a section that is missing or broken keeps all rows of the last tree. So does a section that
 * is suddenly empty (of one that a server need not have, missing is no reason to hold while no row of
 * it is listed), unless the caller says that the emptiness was confirmed. A dropped row that
 * was listed before keeps what it had (TREE_ROW_KEPT), as does a whole package that could not be
 * read, unless the manifest has a good row of that label or gives the path or folder to another.
 *
 * Times: a blob that was in the last tree keeps its mtime. A new one takes its row's `updated`, else
 * the time it was first seen (asked from first_seen); never later than now; and never the mtime of
 * the content it replaces under a name (then one microsecond more), since DuckDB tells versions by
 * (ino, size, mtime).
 *
 * Pure but for the callbacks. One thread. Errors: -ENOMEM. */
#pragma once

#include "sync/manifest.h"
#include "sync/tree.h"

struct plan;

struct plan_inputs {
    const struct manifest *manifest;
    const struct tree *last; /* NULL: no generation is known */
    bool empty_confirmed[TREE_SECTIONS];
    bool (*resident)(void *arg, const struct blob_key *key);
    bool (*superseded)(void *arg, const struct blob_key *key);    /* NULL: nothing is */
    int64_t (*first_seen)(void *arg, const struct blob_key *key); /* ns since 1970 */
    void *arg;
    int64_t now_ns;
};

enum plan_outcome {
    PLAN_OPEN,   /* not settled */
    PLAN_DONE,   /* resident under plan_item.key */
    PLAN_FAILED, /* plan_item.error says why */
};

struct plan_item {
    const struct manifest_row *row;
    const struct manifest_file *file;
    struct blob_key key; /* kind BLOB_NONE until settled, where only the bytes tell; settled, it may
                          * be another one than the manifest's: what the server vouches for */
    enum plan_outcome outcome;
    int error;         /* negative errno */
    char message[160]; /* one phrase */
    bool fetched;      /* for this; else it was there, or is not */
    size_t slot;       /* the plan's own */
};

int plan_make(const struct plan_inputs *inputs, struct plan **ret_plan);
void plan_free(struct plan *plan);
void plan_freep(struct plan *const *plan);

/* The items to stage, each (row, file) once; the same key may be asked for by several. */
struct plan_item *plan_items(struct plan *plan, size_t *ret_count);

/* Which sections rest on the last generation's word, and so are no ground for deleting anything. */
bool plan_section_held(const struct plan *plan, enum tree_section section);
bool plan_section_suddenly_empty(const struct plan *plan, enum tree_section section);

/* The next generation, decorated with what is generated (README.md, .agnes/...) by decorate. If it
 * equals the last one, ret_tree is a new reference to the last. Items left open count as failed. */
int plan_tree(struct plan *plan, uint64_t generation,
              int (*decorate)(void *arg, struct tree_builder *builder), void *arg,
              struct tree **ret_tree);
