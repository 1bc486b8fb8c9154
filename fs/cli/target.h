/* SPDX-License-Identifier: MIT */
/* target.h - which mount a verb is about, and asking it.
 *
 * Never touches the mount itself: it may hang or be dead. */
#pragma once

#include <stdbool.h>

#include "fs/cli/control.h"
#include "fs/cli/messages.h"
#include "fs/cli/options.h"
#include "sync/json.h"

struct target {
    char *runtime;    /* owned */
    char *mountpoint; /* absolute; owned */
};

/* dir: DIR as given; NULL: the only mount there is (a usage error if there are several). */
int target_find(const char *dir, struct target *ret_target, struct complaint *ret_complaint);

/* Where nobody names a source and there is one mount, that is what is meant. Never fails: false, and
 * nothing to release. */
bool target_unsaid(const struct options *options, struct target *ret_target);

/* Is dir one of our mounts? Never fails: what can not be looked at is none. */
bool target_is_mount(const char *dir);
void target_release(struct target *target);

/* Sends the request, parses the answer. timeout_ms -1: no limit. The complaint says whether there is no
 * such mount, whether it is dead, or whether its process does not answer. ret_text may be NULL. */
int target_ask(const struct target *target, const struct control_request *request, int timeout_ms,
               struct json **ret_root, char **ret_text, struct complaint *ret_complaint);
