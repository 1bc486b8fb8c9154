/* SPDX-License-Identifier: MIT */
/* progress.h - how far something has come: a bar on a terminal, redrawn at most five times a second; a
 * plain line every five seconds elsewhere; nothing when silent. It writes no colours.
 *
 *     progress_new -> progress_show (as often as one likes) -> progress_free
 *
 * The terminal's width is asked at each redraw, so a window may change its size: what does not fit is
 * left out, the least telling first. Limit: a terminal that cuts lines when it becomes narrower,
 * instead of folding them as most do, loses the line above the bar then.
 *
 * Threads: one at a time. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct progress;

/* Totals of 0: not known, or not counted. */
struct progress_state {
    const char *idle; /* what is done while bytes_total and files_total are 0 */
    uint64_t files_total;
    uint64_t files_done;
    uint64_t bytes_total;
    uint64_t bytes_done;
};

struct progress *progress_new(FILE *file, bool silent); /* NULL without memory */
void progress_free(struct progress *progress); /* and takes the bar away; NULL is allowed */
void progress_freep(struct progress *const *progress);

void progress_show(struct progress *progress, const struct progress_state *state);

/* Takes the bar away. */
void progress_end(struct progress *progress);

/* --- its parts, for other screens --- */

/* Is it one whose cursor can be moved? */
bool progress_is_screen(FILE *file);

/* Columns that may be used: $COLUMNS, else the terminal's, else 80; one less, so that nothing wraps. */
size_t progress_columns(FILE *file);

/* Bytes a second, smoothed over the last looks; a look may come at any time. */
struct progress_rate {
    double seconds; /* monotonic, of the last look; 0: none yet */
    uint64_t bytes;
    double rate;
};

void progress_rate_look(struct progress_rate *rate, double now_s, uint64_t bytes);
double progress_now_s(void);

/* "[#####     ]", cells wide between the brackets. */
#define PROGRESS_CELLS 20
void progress_bar(double part, size_t cells, char ret_text[static PROGRESS_CELLS + 3]);

/* "38 MB/s  eta 14 s", or "" while nothing moves. */
void progress_pace(uint64_t bytes_left, double rate, char *ret_text, size_t size);

/* The whole line, without its end, cut to so many columns. */
void progress_line(const struct progress_state *state, double rate, bool bar, size_t columns,
                   char *ret_text, size_t size);
