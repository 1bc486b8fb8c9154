/* SPDX-License-Identifier: MIT */
/* format.h - numbers, times and tables for people.
 *
 * Sizes are decimal (1 MB = 1,000,000 bytes) as `ls --si`, df --si and file managers print them;
 * JSON never uses these, it has exact numbers.
 *
 * Pure but for printing. Tables: table_new -> table_add... -> table_print -> table_free. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define FORMAT_SIZE 32

/* "0 B", "999 B", "1.2 MB", "12 GB": three digits at most. */
void format_bytes(uint64_t bytes, char ret_text[static FORMAT_SIZE]);

/* "0 s", "42 s", "5 min", "3 h 5 min", "12 d 3 h". */
void format_duration(uint64_t seconds, char ret_text[static FORMAT_SIZE]);

/* RFC 3339 in UTC: "2026-07-01T12:00:00Z". */
void format_time(uint64_t unix_time, char ret_text[static FORMAT_SIZE]);

/* "1 table", "6 tables". */
void format_count(uint64_t count, const char *singular, const char *plural,
                  char ret_text[static FORMAT_SIZE]);

/* Columns that a terminal gives to the text: two to what is wide, none to what combines. */
size_t format_width(const char *text);

/* How many bytes of the text fit into so many columns, never half a character; and, unless
 * ret_columns is NULL, how many columns they take. */
size_t format_cut(const char *text, size_t columns, size_t *ret_columns);

/* The text with control characters (C0, DEL, C1) and bytes that are no UTF-8 written as \xNN.
 * malloc'd; NULL without memory. */
char *format_escaped(const char *text);
void print_escaped(FILE *file, const char *text);

struct table;

/* titles: count column titles; a title that begins with '>' is a right-aligned column. */
struct table *table_new(const char *const *titles, size_t count);
void table_free(struct table *table);
void table_freep(struct table *const *table);

/* One row of as many cells as there are columns, copied and escaped. -ENOMEM. */
int table_add(struct table *table, const char *const *cells);

/* Columns two spaces apart, no trailing blanks; the titles first. */
void table_print(const struct table *table, FILE *file);
