/* SPDX-License-Identifier: MIT */
/* progress.h - how far a fill has come: a bar on a terminal (at most five times a second), a plain
 * line every five seconds elsewhere, nothing when silent. It writes no colours. */
#pragma once

#include <stdbool.h>
#include <stdio.h>

#include "sync/engine.h"

struct progress;

struct progress *progress_new(FILE *file, bool silent); /* NULL without memory */
void progress_free(struct progress *progress); /* and takes the bar away; NULL is allowed */
void progress_freep(struct progress *const *progress);

void progress_show(struct progress *progress, const struct engine_status *status);

/* Takes the bar away. */
void progress_end(struct progress *progress);

/* One line without its end, cut to width: what both forms print. */
void progress_line(const struct engine_status *status, double bytes_per_second, bool bar,
                   size_t width, char *ret_text, size_t size);
