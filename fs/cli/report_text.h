/* SPDX-License-Identifier: MIT */
/* report_text.h - a report (sync/report.h) for people: the same numbers as its JSON.
 *
 *     tables     +0 ~0 -0 =1
 *     packages   +1 ~0 -0 =3  skipped 1  1.2 MB
 *     memory     +2 ~0 -0 =0  4.1 kB
 *     error      sales/orders: other bytes than promised, twice
 *
 * + added, ~ updated, - removed, = unchanged. verbose: what was skipped, and why, too. */
#pragma once

#include <stdbool.h>
#include <stdio.h>

#include "sync/report.h"

void report_print(const struct report *report, bool verbose, FILE *file);
