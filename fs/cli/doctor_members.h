/* SPDX-License-Identifier: MIT */
/* doctor_members.h - what the members of a report are made of: errands that write texts, not redacted
 * yet. Private to doctor_report.c. */
#pragma once

#include <stdio.h>

#include "fs/cli/doctor.h"

struct member_facts {
    const struct doctor *doctor;
    const char *mountpoint; /* NULL: of none */
};

/* arg of all of them: a struct member_facts. */
void member_names(const void *arg, FILE *out); /* of packages, tables, domains: one a line */
void member_config(const void *arg, FILE *out);
void member_mounts(const void *arg, FILE *out);
void member_system(const void *arg, FILE *out);
void member_status(const void *arg, FILE *out);
void member_log(const void *arg, FILE *out);
