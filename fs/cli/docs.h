/* SPDX-License-Identifier: MIT */
/* docs.h - the parts of the manual that are made of the tables, as man(7); see docs.c.
 *
 * Each prints whole lines and expects to begin at the start of one. */
#pragma once

#include <stdio.h>

/* agnesfs(1) */
void docs_synopsis(FILE *file);
void docs_verbs(FILE *file);
void docs_options(FILE *file);
void docs_environment(FILE *file);
void docs_exit_codes(FILE *file);

/* agnesfs(5) */
void docs_keys(FILE *file);
void docs_xattrs(FILE *file);
void docs_errors(FILE *file);

/* /etc/agnesfs.conf, which is no man(7) */
void docs_configuration(FILE *file);

/* mount.agnesfs(8) */
void docs_mount_keys(FILE *file);
void docs_mount_words(FILE *file);
void docs_mount_codes(FILE *file);

/* All of the tables as one JSON document. 0, or 1 without memory. */
int docs_tables(FILE *file);
