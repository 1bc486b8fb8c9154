/* SPDX-License-Identifier: MIT */
/* metrics.h - status documents (status_doc.h) as numbers for Prometheus.
 *
 * One table (metrics.c) says which member of the document is which metric, of which kind and unit.
 * Each sample has the labels mountpoint and source. Counters only rise while a mount lasts, and begin
 * anew with the next one; those of programs may also begin anew for a program that was not seen for
 * long (readers.h).
 *
 * Two formats: OpenMetrics 1.0, for whoever asks, and the older text format 0.0.4, which is what the
 * textfile collector of node_exporter reads. They differ in how a counter's type is told, in units
 * and in the end. */
#pragma once

#include <stddef.h>
#include <stdio.h>

#include "sync/json.h"

enum metrics_format {
    METRICS_OPENMETRICS,
    METRICS_TEXT,
};

struct metrics_mount {
    const char *mountpoint;
    const struct json *status; /* NULL: it does not answer */
};

void metrics_write(const struct metrics_mount *mounts, size_t count, enum metrics_format format,
                   FILE *file);
