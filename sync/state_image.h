/* SPDX-License-Identifier: MIT */
/* state_image.h - the current generation as a start wants it: <cache>/sync_state.image.
 *
 * sync_state.json is the truth; this file is what reading it came to, decoration included, so that
 * it need not be parsed, sorted and decorated again (10,000 tables: 1 ms for 60). It says of which
 * state file it is: one of that size, time and checksum. Whatever is not as it should be, the
 * answer is that there is no image, and the state file is read.
 *
 * decoration names what the decoration depends on besides the rows (who makes it, and for which
 * place): an image of another one is none.
 *
 * Layout: a head (state_image.c) with an XXH3-128 of all that follows it, then a tree image
 * (tree_image.h). It is deleted without harm. */
#pragma once

#include "sync/state.h"

/* decoration NULL: any will do, for who wants the rows only. -ENOENT: there is none, or not of this
 * state file and decoration; -EBADMSG: a damaged one; -ENOMEM. All of them mean: state_load. */
int state_image_load(int dirfd, const char *decoration, struct state *ret_state);

/* Of the state that state_save has written last, or state_load read from sync_state.json. */
int state_image_save(int dirfd, const char *decoration, const struct state *state);
