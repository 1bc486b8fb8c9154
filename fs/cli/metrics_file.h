/* SPDX-License-Identifier: MIT */
/* metrics_file.h - a file with a mount's metrics, written anew each few seconds for the textfile
 * collector of node_exporter, which reads what is called *.prom.
 *
 *     metrics_file_start -> metrics_file_end
 *
 * Each time a new file takes the old one's name, so a reader finds all of one or all of the other. It
 * is readable for everybody (0644), and removed in the end: numbers of a mount that is gone would look
 * like those of one at rest. Two mounts need two files.
 *
 * Threads: one of its own, on which render and failed are called. */
#pragma once

#include <stddef.h>

struct metrics_file;

struct metrics_file_conf {
    const char *path; /* outlives it */
    unsigned every_ms;
    int (*render)(void *arg, char **ret_text, size_t *ret_size); /* malloc'd */
    void (*failed)(void *arg, int error); /* it could not be written; said once until it can */
    void *arg;
};

int metrics_file_start(const struct metrics_file_conf *conf, struct metrics_file **ret_file);
void metrics_file_end(struct metrics_file *file); /* NULL is allowed */
