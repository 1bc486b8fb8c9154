/* SPDX-License-Identifier: MIT */
/* complete_private.h - what complete.c and complete_live.c share. */
#pragma once

#include <stdio.h>

#include "fs/cli/complete.h"
#include "fs/cli/verbs.h"

struct completion {
    const struct verb *verb;
    int count; /* of words, the current one included; words[0] is the verb's name */
    char *const *words;
    const char *current;
    FILE *file;
};

/* prefix + word as a candidate, if it begins as the current word does. description may be NULL. */
void complete_offer(const struct completion *completion, const char *prefix, const char *word,
                    const char *description);

/* --- complete_live.c --- */

/* Folders on which we have mounted something, dead ones too. */
void complete_mounts(const struct completion *completion);

/* Tables as GLOBs name them, one step of a path at a time: "sales/", then "sales/orders". */
void complete_tables(const struct completion *completion);

/* Slugs of packages and domains. */
void complete_slugs(const struct completion *completion);

/* Globs that are pinned. */
void complete_pins(const struct completion *completion);
