/* SPDX-License-Identifier: MIT */
/* watch_view.h - a status document (status_doc.h) as a screen, or as one line.
 *
 * Pure: what is drawn depends on the arguments alone. Whatever the document holds, no line is wider than
 * the window and there are no more lines than it has rows; what does not fit is counted ("3 more"), and
 * problems are the last to go. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "sync/json.h"

struct watch_view {
    size_t columns;
    size_t rows;
    bool colours;
    double rate;        /* bytes a second, as the watcher has seen them come */
    const char *notice; /* shown in the last row instead of the keys; NULL: nothing */
};

/* Rows separated by "\n"; none after the last one. */
void watch_draw(const struct json *status, const struct watch_view *view, FILE *file);

/* Without its end. */
void watch_line(const struct json *status, double rate, FILE *file);
