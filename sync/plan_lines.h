/* SPDX-License-Identifier: MIT */
/* plan_lines.h - which rows the next generation has, and on whose word. For plan_*.c only.
 *
 *     plan_lines_make(plan) -> lines and groups, in their order -> plan_tree writes them down */
#pragma once

#include "sync/plan_private.h"

/* One row of the next generation. */
struct plan_line {
    enum tree_section section;
    const char *slug;                /* of its group */
    const struct tree_row *row;      /* the manifest's or the last tree's */
    const struct manifest_row *news; /* its content is the manifest's; NULL: the last tree's */
    const struct plan_row *state;    /* with news */
    bool kept;                       /* the manifest says something else, which can not be had */
    bool dropped;                    /* kept because the manifest's row could not be believed */
};

struct plan_lines {
    struct plan_line *lines;          /* by section, slug and name */
    const struct tree_group **groups; /* by section and slug */
    size_t line_count;
    size_t group_count;
};

int plan_lines_make(const struct plan *plan, struct plan_lines *ret_lines);
void plan_lines_release(struct plan_lines *lines);

/* The key of a row's file number i, once its items are settled. */
struct blob_key plan_line_key(const struct plan *plan, const struct plan_line *line, size_t i);
