/* SPDX-License-Identifier: MIT */
/* manifest_private.h - what a manifest is made of. For sync/manifest*.c only.
 *
 *     manifest.c          the document, its sections
 *     manifest_group.c    packages and domains
 *     manifest_row.c      one table or bundle
 *     manifest_knowledge.c  chunks and digests
 *     manifest_content.c  its digests, sizes and parts
 *     manifest_signed.c   its signed address
 *     manifest_settle.c   who gets a name that several claim; canonical order
 *     manifest_time.c     `updated` */
#pragma once

#include "sync/arena.h"
#include "sync/manifest.h"

#define MANIFEST_STRING_MAX ((size_t)64 << 10)
#define MANIFEST_BUNDLE_MAX ((uint64_t)16 << 20)
#define MANIFEST_UNSIZED_MAX ((uint64_t)100 << 30) /* a file of which no size is said */

/* The arrays are allocated once, for as many entries as the text has: no row makes two verdicts. */
struct manifest {
    struct arena arena; /* strings and files */
    struct manifest_row *rows;
    struct tree_group *groups;
    struct verdict *verdicts;
    size_t row_count;
    size_t group_count;
    size_t verdict_count;
    size_t entries[TREE_SECTIONS];
    enum section_state sections[TREE_SECTIONS];
    bool flat;
};

/* --- one row --- */

struct row_reader {
    struct arena *arena;
    const struct source *source;
    const char *label;  /* of a table whose entry does not say it; NULL: the entry does */
    const char *reason; /* why the row is dropped */
};

/* 0: the row can be believed; a withheld one says so in row.withheld, and row.path is then the
 * name it would have had, or NULL. -EBADMSG: drop it, for reader->reason; row.name and row.path
 * are set as far as they could be read. -ENOMEM. The group's index is left to the caller. */
int row_read_table(struct row_reader *reader, const struct json *entry,
                   const struct tree_group *group, struct manifest_row *ret_row);
int row_read_bundle(struct row_reader *reader, const struct json *entry,
                    const struct tree_group *group, struct manifest_row *ret_row);

/* Sets row.withheld if the entry gives a reason for that. -ENOMEM. */
int row_read_withheld(struct row_reader *reader, const struct json *entry,
                      struct manifest_row *row);

/* Where the row will be, below folder, from its name. -EBADMSG when that can not be a file. */
int row_find_path(struct row_reader *reader, const char *folder, const char *suffix,
                  struct manifest_row *row);

/* The row's token is a digest of that text. -ENOMEM. */
__attribute__((format(printf, 3, 4))) int row_set_token(struct row_reader *reader,
                                                        struct tree_row *row, const char *format,
                                                        ...);

/* Can the source have the row's bytes? -EBADMSG, with key as the name of the row's url. */
int row_check_url(struct row_reader *reader, struct manifest_row *row, const char *key);

/* The string that a row goes by: -EBADMSG unless it is there and says something. */
int row_read_label(struct row_reader *reader, const struct json *entry, const char *key,
                   const char **ret_label);

/* md5 || hash || "", in lower case. */
int row_read_md5(struct row_reader *reader, const struct json *entry, const char **ret_md5);

/* Fills md5, size, token and files of a table whose flags say whether it has parts; or withheld,
 * if it was never synced. */
int row_read_content(struct row_reader *reader, const struct json *entry, struct manifest_row *row);

/* A member that must be text where it is there at all: "" when absent or null. -EBADMSG when it is
 * something else or too long. */
int row_read_text(struct row_reader *reader, const struct json *entry, const char *key,
                  const char **ret_text);

/* For texts that nothing depends on: "" when it is no string; what is too long is cut. */
int row_read_prose(struct row_reader *reader, const struct json *entry, const char *key,
                   const char **ret_text);

/* Sets reader->reason. Returns -EBADMSG, or -ENOMEM. */
__attribute__((format(printf, 2, 3))) int row_drop(struct row_reader *reader, const char *format,
                                                   ...);

/* printf into the arena; NULL without memory. */
__attribute__((format(printf, 2, 3))) const char *row_format(struct arena *arena,
                                                             const char *format, ...);

/* RFC 3339, with or without a time and an offset (none means UTC), to ns since 1970. -1 if it is
 * nothing of the kind, or before 1970, or beyond 2261. */
int64_t manifest_time(const char *text);

/* --- the manifest --- */

/* One manifest_parse. */
struct reading {
    struct manifest *manifest;
    struct row_reader reader;
    const struct json *sections[TREE_SECTIONS];
    const struct json *flat;            /* the tables of a manifest that knows no sections; NULL */
    const struct json **signed_entries; /* of "tables", by name */
    size_t signed_count;
    int64_t made_ns; /* when the server says it made it; -1: it does not say */
    struct manifest_error *error;
};

int manifest_read_packages(struct reading *reading);
int manifest_read_domains(struct reading *reading);
int manifest_read_knowledge(struct reading *reading);

/* The group's tables; what can not be believed becomes a verdict. */
int manifest_read_tables(struct reading *reading, const struct json *tables, const char *array,
                         uint32_t group);

/* Finds the entries of "tables" that have a signed address. -ENOMEM. */
int manifest_find_signed(struct reading *reading, const struct json *root);

/* Gives the row the address of the entry that has its name and its bytes. -ENOMEM. */
int manifest_read_signed(struct reading *reading, struct manifest_row *row);

/* An array that is empty, or has an entry with such a label. */
bool manifest_can_read(const struct json *array, const char *label_key);
bool manifest_can_read_knowledge(const struct json *array);

/* A row that nobody can name is known by its place. NULL without memory. */
const char *manifest_label_or_place(struct reading *reading, const struct json *entry,
                                    const char *key, const char *array, size_t position);

/* Group, name and path may be NULL. -ENOMEM. */
int manifest_judge(struct manifest *manifest, enum verdict_kind kind, enum tree_section section,
                   const char *group, const char *name, const char *path, const char *reason);

/* From what was read to what is handed out: duplicates and collisions dropped, withheld rows
 * reported, groups nobody is in forgotten, everything in its order. -ENOMEM. */
int manifest_settle(struct manifest *manifest);
