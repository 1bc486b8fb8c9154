/* SPDX-License-Identifier: MIT */
/* text.h - a text in memory, printed to like a file, that says when it is not whole.
 *
 *     text_open -> fprintf(text_stream(text), ...)... -> text_close    the bytes
 *                                                     -> text_free     never mind
 *
 * Why not open_memstream: glibc's leaves out what it finds no memory for, and neither ferror nor
 * fclose tells.
 *
 * Threads: a text belongs to one. Errors: -ENOMEM. */
#pragma once

#include <stddef.h>
#include <stdio.h>

struct text;

int text_open(struct text **ret_text);
FILE *text_stream(struct text *text);

/* What has been printed so far; good until more is. -ENOMEM: not all of it. */
int text_look(struct text *text, const char **ret_bytes, size_t *ret_size);

/* All that was printed, for the caller to free, a NUL behind it. Consumes the text whatever it
 * returns. */
int text_close(struct text *text, char **ret_bytes, size_t *ret_size);

void text_free(struct text *text); /* NULL is allowed */
void text_freep(struct text *const *text);
