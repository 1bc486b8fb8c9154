/* SPDX-License-Identifier: MIT */
/* filter.h - the part of a stack that somebody wants: only these rows, except those.
 *
 *     filter_new(only, except) -> filter_tree(generation) -> view
 *
 * Each is a list of globs (glob.h) with ':' between them ("\:" is a colon); a glob names rows as pins
 * do (pins.h), by path or as GROUP/NAME. A row is taken if only is empty or one of its globs matches,
 * and none of except does.
 *
 * Whose is it? The cache's generation is the source's, whole, whoever fetched it: the cache has one,
 * and one state file. A filter belongs to who looks. A view is the generation as a tree in which what
 * is left out is withheld, with that reason: it has no name, is in no count, is not fetched ahead. So
 * two mounts of one cache with different filters each show their own; neither takes away what the
 * other shows; a changed filter withdraws nothing, and fetches nothing again. What nobody shows goes
 * when room is needed, as what was opened longest ago. A pin is the cache's too: it keeps what it
 * matches, whoever shows it, and who fetches it are those who do.
 *
 * It costs no request: a refresh stages nothing that its own filter leaves out. So content that
 * changed there is cold for a mount that shows it, until that reads it; and a row of which only the
 * bytes tell what they are (bundles, digests, tables without md5) is withheld in the generation too,
 * for all who share the cache, until one whose filter takes it has the cache and refreshes.
 *
 * Immutable; any thread. Errors: -EINVAL no list (an empty glob, one longer than FILTER_GLOB_MAX, more
 * than FILTER_GLOBS_MAX), -ENOMEM. */
#pragma once

#include "sync/tree.h"

#define FILTER_GLOB_MAX 1024
#define FILTER_GLOBS_MAX 100

#define FILTER_ONLY "left out: not in only"
#define FILTER_EXCEPT "left out: in except"

struct filter;

/* Either may be NULL or empty; if both are, ret_filter is NULL, which takes everything. */
int filter_new(const char *only, const char *except, struct filter **ret_filter);
void filter_free(struct filter *filter); /* NULL is allowed */
void filter_freep(struct filter *const *filter);

/* Why the row is left out; NULL: it is not. filter may be NULL. */
const char *filter_reason(const struct filter *filter, const struct tree_group *group,
                          const struct tree_row *row);

/* The tree without what is left out, decorated (plan.h) if decorate is not NULL. The generation's
 * number stays. The tree's own decoration is not looked at: its texts and live documents are left
 * behind. */
int filter_tree(const struct filter *filter, const struct tree *tree,
                int (*decorate)(void *arg, struct tree_builder *builder), void *arg,
                struct tree **ret_view);
