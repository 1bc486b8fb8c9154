/* SPDX-License-Identifier: MIT */
/* manifest.h - from the server's words to rows that can be believed. All distrust is here.
 *
 *     manifest_parse(text) -> manifest (rows, groups, verdicts) | a reason why none of it counts
 *
 * The decision table (what, whether, why; the tests hold it line by line):
 *
 * | the text says                                       | we                                    |
 * |-----------------------------------------------------|---------------------------------------|
 * | not JSON, cut short, trailing bytes, nested > 32,   | reject the whole: the last generation |
 * |   > 512 MiB, > 32 million values, duplicate keys,   |   stays                               |
 * |   not an object, none of the sections known         |                                       |
 * | a section missing, null, or not an array, or full   | hold the section: its rows stay       |
 * |   of entries of which none has a name               |                                       |
 * | [] where rows were                                  | hold it until the server's own list   |
 * |                                                     |   of the stack says the same (plan.h) |
 * | knowledge_artifacts missing or null, while none     | nothing: many servers have no such    |
 * |   was listed                                        |   section                             |
 * | only "tables", an object (servers before packages)  | its tables, under data/_tables        |
 * | a row that is no object; a name, id or slug that    | drop the row, report an error; if it  |
 * |   is no string or can not be a name; reserved slug; |   was listed before, it keeps what it |
 * |   md5 not 32 hex; size negative, fractional or not  |   has: a bad row is no withdrawal     |
 * |   below 2^53; a part without md5 or size;           |                                       |
 * |   an unsafe part path; a URL at another origin      |                                       |
 * | a package without a list of tables, or with a list  | drop the package, report an error:    |
 * |   of which no entry has a name                      |   all its rows keep what they had     |
 * | two rows for one name                               | smaller raw label wins, other dropped |
 * | one label twice                                     | smaller id, then smaller md5, wins    |
 * | one package twice                                   | its rows are put together             |
 * | query_mode remote or internal, server_only,         | withhold: no name, no error, reported |
 * |   never synced (no hash, size 0 or null)            |   with the reason                     |
 * | withheld: a reason (manifest_write.h)               | withhold, for that reason             |
 * | query_mode, or kind of an artifact, something we    | withhold, with that reason            |
 * |   never heard of                                    |                                       |
 * | an artifact without kind                            | chunks, unless it has a slug and no   |
 * |                                                     |   corpus_id: then a digest            |
 * | no md5, but a size or nothing at all said           | accept, unverified                    |
 * | signed_url of the entry of "tables" that has the    | the row's, if the hashes are equal;   |
 * |   row's name; one of no use, or for no known time   | ignore it: there is another way       |
 * | anything else                                       | accept; unknown keys are ignored      |
 *
 * Nothing depends on the order of the text: groups are in order of section and slug, rows of
 * section, slug and name, verdicts of section, group, name and path.
 *
 * A manifest is immutable and owns all its strings.
 * Errors: -EPROTO with one phrase for people in ret_error, -ENOMEM. */
#pragma once

#include "sync/filter.h"
#include "sync/json.h"
#include "sync/source.h"
#include "sync/tree.h"

struct manifest;

/* A million rows, which is as many as we take, are 264 MB and 11 million values as the server writes
 * them. What is twice or three times that is no manifest but an attack on our memory: read, a value
 * takes a hundred bytes, however few it had in the text. */
#define MANIFEST_BYTES_MAX ((size_t)512 << 20)
#define MANIFEST_VALUES_MAX ((size_t)32000000)

enum section_state {
    SECTION_PRESENT, /* an array, possibly empty */
    SECTION_MISSING, /* no such key, or null */
    SECTION_BROKEN,  /* not an array */
};

/* One file that a row brings: the table itself, one part, or a bundle. */
struct manifest_file {
    const char *part;    /* below the row's path; NULL when the row is one file */
    struct blob_key key; /* kind BLOB_NONE while only fetching can tell: bundles, rows without md5
                          * (TREE_ROW_UNVERIFIED), rows with row.md5 but without a size */
    uint64_t size_limit; /* what a transfer may bring at most */
    bool sized;          /* exactly that much */
};

/* Why a server keeps a table to itself. It says server_only for two reasons (contract 1.3): the
 * table never leaves it, or the package is one that the user has not taken a copy of. The latter
 * holds for all tables of a package at once, and never for a required one. */
#define MANIFEST_SERVER_ONLY "kept on the server (server_only)"
#define MANIFEST_UNEXPLAINED MANIFEST_SERVER_ONLY ", which did not say why"
#define MANIFEST_NOT_COPIED "not copied to your stack (server_only)" /* and what to do */

struct manifest_row {
    struct tree_row row; /* group is an index into this manifest's groups */
    enum tree_section section;
    enum tree_form form;
    const struct manifest_file *files; /* none when withheld */
    size_t file_count;
    int64_t updated_ns;     /* of row.updated, -1 if none or unreadable */
    bool left_out;          /* nobody here looks at it: it need not be staged (filter.h) */
    const char *asks;       /* of MANIFEST_UNEXPLAINED: the id of the package; else NULL */
    const char *signed_url; /* where its one file can be had without a token, by whoever knows this:
                             * not to be shown to anybody. NULL: nowhere */
    int64_t signed_for_ms;  /* how long, from when the manifest was made */
};

enum verdict_kind {
    VERDICT_WITHHELD, /* listed by the server, not for local use; no error */
    VERDICT_DROPPED,  /* could not be believed */
};

struct verdict {
    enum verdict_kind kind;
    enum tree_section section;
    const char *group;  /* slug of the package, made printable; "" where there is none */
    const char *name;   /* the row's label (of a domain: its slug), made printable; "" if the
                         * verdict is on a whole package */
    const char *path;   /* the name it would have had; "" if it can not have one */
    const char *reason; /* one phrase */
};

struct manifest_error {
    char message[200];
};

int manifest_parse(const char *text, size_t size, const struct source *source,
                   struct manifest **ret_manifest, struct manifest_error *ret_error);
void manifest_free(struct manifest *manifest);
void manifest_freep(struct manifest *const *manifest);

/* The server knows no sections, only tables: they are the direct ones, in a folder of their own. */
bool manifest_is_flat(const struct manifest *manifest);

/* Nothing in it counts, as if every section were missing. */
void manifest_disbelieve(struct manifest *manifest);

/* Gives all unexplained rows of the group their reason, and the verdicts on them. -ENOMEM. */
int manifest_explain(struct manifest *manifest, uint32_t group, const char *reason);

/* Of rows that the filter leaves out (NULL: of none) says so in a verdict; those of which only the
 * bytes tell what they are become withheld. -ENOMEM. */
int manifest_leave_out(struct manifest *manifest, const struct filter *filter);

enum section_state manifest_section(const struct manifest *manifest, enum tree_section section);

/* How many entries the section's array has, good or bad. */
size_t manifest_section_entries(const struct manifest *manifest, enum tree_section section);

const struct manifest_row *manifest_rows(const struct manifest *manifest, size_t *ret_count);
const struct tree_group *manifest_groups(const struct manifest *manifest, size_t *ret_count);
const struct verdict *manifest_verdicts(const struct manifest *manifest, size_t *ret_count);
