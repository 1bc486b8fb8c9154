/* SPDX-License-Identifier: MIT */
/* confirm.h - tells an Agnes server what a refresh brought (POST /api/sync/pull-confirm).
 *
 *     confirm_new -> confirm_post... -> confirm_free
 *
 * As the agnes CLI does after a pull: the server counts it, nothing else depends on it. So it is
 * best effort: a thread of its own, one attempt, five seconds; how it went is not told to anybody.
 * At most one report waits while another is sent; a newer one takes its place.
 *
 * Threads: confirm_post from any, never blocks. */
#pragma once

#include "sync/caller.h"
#include "sync/report.h"

struct confirm;

int confirm_new(const struct caller_conf *conf, struct confirm **ret_confirm);

/* Only of a refresh that changed something, and not in a dry run. NULL is allowed. */
void confirm_post(struct confirm *confirm, const struct report *report);

/* What waits or is being sent has one second more. NULL is allowed. */
void confirm_free(struct confirm *confirm);

/* The document, malloc'd: {"duration_ms", "errors", "direct_tables": {"added", "updated",
 * "removed"}, "data_packages": ..., "memory_domains": ...}. */
int confirm_render(const struct report *report, char **ret_text);
