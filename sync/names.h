/* SPDX-License-Identifier: MIT */
/* names.h - from the server's labels to names of files.
 *
 * The server validates neither slugs nor table names, and what it says must never become a path by
 * itself. The rule is the old engine's of today, less its holes (contract B3, B4, B12, B25):
 *
 *   1. A label of [A-Za-z0-9_.-] that begins with a letter, a digit or '_' and is not all dots is
 *      its own name.
 *   2. In any other label each run of other bytes becomes one '_', then '.', '_' and '-' are
 *      stripped from both ends. "Agnes audit log" -> "Agnes_audit_log", "-rf" -> "rf".
 *   3. Nothing left (-EINVAL), longer than 255 bytes with its suffix (-ENAMETOOLONG), or reserved
 *      where it stands ("_shared", "_direct", "_tables", "README.md" as slugs): the row is
 *      dropped, reported.
 *
 * Two labels that fold to one name: the lexicographically smaller raw label keeps it, whatever
 * the order of the manifest; the other row is dropped and reported.
 *
 * Pure functions, no locale. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define NAME_SIZE 256

/* What we write beside tables and packages; no slug and no partitioned table may take the name. */
#define NAME_README "README.md"

/* The folder of tables that a server from before packages lists. */
#define NAME_FLAT "_tables"

/* name + suffix (".parquet", "" for folders) in ret_name. */
int name_from_label(const char *label, const char *suffix, char ret_name[static NAME_SIZE]);

/* A slug may not be one of the names that we make ourselves. */
bool name_is_reserved_slug(const char *name);

/* A part's relative path: segments of [A-Za-z0-9_][A-Za-z0-9_.=-]*, at most 8, joined by single
 * slashes, 1024 bytes in all. */
bool name_is_part_path(const char *path);

/* The character that text begins with, as it may be shown: itself, or an escape (\x0a, \u202e,
 * two backslashes for one) if it could move the cursor, reorder the line, hide, or pose as an
 * escape. Returns how many bytes of text it takes. text is not empty. */
#define NAME_SHOWN_SIZE 16
size_t name_show_character(const char *text, char ret_shown[static NAME_SHOWN_SIZE]);

/* A label for logs and reports: control, invisible and bidirectional characters and the backslash
 * are escaped, and what is longer than 200 bytes is cut between characters and ends in "...". */
#define NAME_PRINTABLE_SIZE 201
void name_printable(const char *label, char ret_text[static NAME_PRINTABLE_SIZE]);
