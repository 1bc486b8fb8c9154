/* SPDX-License-Identifier: MIT */
/* holders_private.h - what holders.c and its errand, holders_scan.c, share.
 *
 * Lines of JSON, each one of
 *     {"pid", "uid", "how": a number, "elsewhere", "command", "path"}
 *     {"unseen": true}
 *     {"user": uid, "name"} */
#pragma once

#include <stdio.h>

#include "fs/cli/holders.h"

/* arg: the mount point. */
void holders_scan(const void *arg, FILE *out);
