/* SPDX-License-Identifier: MIT */
/* quote.h - somebody else's words inside Markdown and SQL.
 *
 * The server's names and descriptions may hold anything: what is written here stays the text that
 * it is. It opens no link, tag, heading, table cell, code or comment, and ends no string; what
 * could move the cursor, reorder the line or hide is shown as an escape (names.h).
 *
 * Pure but for the stream, which remembers its own failure. Texts are UTF-8. */
#pragma once

#include <stddef.h>
#include <stdio.h>

/* On one line: line breaks and tabs become blanks. What is longer than limit bytes is cut between
 * characters and ends in "...". Good for headings, table cells and running text. */
void quote_markdown(FILE *out, const char *text, size_t limit);

/* As a block quote that keeps its lines. Ends its line; "" writes nothing. */
void quote_markdown_block(FILE *out, const char *text);

/* A path as code, if it consists of [A-Za-z0-9_./=-] as all paths in a tree do; else as text. */
void quote_markdown_path(FILE *out, const char *path);

/* On one line, for comments in any language that ends them with the line. */
void quote_line(FILE *out, const char *text);

/* "name" */
void quote_sql_name(FILE *out, const char *name);

/* 'path' for DuckDB's readers: glob characters in path mean themselves, those in pattern ("" for
 * one file) are meant. A backslash in path can not be expressed beside a glob: nothing is found. */
void quote_sql_path(FILE *out, const char *path, const char *pattern);
