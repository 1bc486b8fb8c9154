/* SPDX-License-Identifier: MIT */
/* What must be staged. Why so few questions suffice: a key that the manifest gives needs no fetch
 * to be listed, so there are two reasons to stage, and each is one condition in plan_file. The
 * cache is asked only where something changes: a refresh without changes asks it nothing but
 * whether the bundles are still there. */
#include "sync/plan_private.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cache/scoped.h"

static bool is_resident(const struct plan *plan, const struct blob_key *key)
{
    return plan->inputs.resident(plan->inputs.arg, key);
}

static bool is_superseded(const struct plan *plan, const struct blob_key *key)
{
    return plan->inputs.superseded && plan->inputs.superseded(plan->inputs.arg, key);
}

const struct tree_blob *plan_blob_before(const struct plan *plan, const char *path,
                                         const char *part)
{
    const struct tree *last = plan->inputs.last;
    const struct tree_node *node;
    char below[TREE_PATH_MAX];

    if (!last)
        return NULL;
    if (part) {
        if (snprintf(below, sizeof(below), "%s/%s", path, part) >= (int)sizeof(below))
            return NULL;
        path = below;
    }
    node = tree_find(last, path);
    return node && node->type == TREE_BLOB ? tree_blob(last, node->blob) : NULL;
}

/* What the row's path shows, if it is the same row that shows it: the content of another table
 * that had the name before is nothing to fall back on. */
static const struct tree_node *find_before(const struct plan *plan, const struct manifest_row *row)
{
    const struct tree *last = plan->inputs.last;
    const struct tree_node *node = last ? tree_find(last, row->row.path) : NULL;
    const struct tree_group *groups;
    size_t count;

    if (!node || node->row == TREE_NO_ROW)
        return NULL;
    groups = manifest_groups(plan->inputs.manifest, &count);

    const struct tree_row *old = tree_row(last, node->row);
    const struct tree_group *old_group = tree_group(last, old->group);
    bool same = old_group->section == row->section && !strcmp(old->name, row->row.name) &&
                !strcmp(old_group->slug, groups[row->row.group].slug);

    return same ? node : NULL;
}

static int add_item(struct plan *plan, const struct manifest_row *row,
                    const struct manifest_file *file)
{
    size_t count = plan->item_count;

    if ((count & (count - 1)) == 0) { /* full at each power of two */
        struct plan_item *more = reallocarray(plan->items, count ? 2 * count : 1,
                                              sizeof(*plan->items));

        if (!more)
            return -ENOMEM;
        plan->items = more;
    }
    plan->items[plan->item_count++] =
        (struct plan_item){.row = row, .file = file, .key = file->key, .slot = plan->key_count - 1};
    return 0;
}

static int plan_file(struct plan *plan, const struct plan_row *state,
                     const struct manifest_row *row, const struct manifest_file *file)
{
    const struct tree_blob *old = state->before ? plan_blob_before(plan, row->row.path, file->part)
                                                : NULL;
    struct blob_key *key = &plan->keys[plan->key_count++];

    *key = file->key;
    if (key->kind == BLOB_NONE) {
        /* The same md5 as before is the same key, whether we have the bytes or not. */
        bool same = old && state->same_token &&
                    (old->key.kind == BLOB_MD5 || is_resident(plan, &old->key));

        if (!same)
            return add_item(plan, row, file);
        *key = old->key;
        return 0;
    }

    if (row->left_out)
        return 0;

    bool replaces = old && !blob_key_equal(key, &old->key) && is_resident(plan, &old->key);

    if ((!replaces && !is_superseded(plan, key)) || is_resident(plan, key))
        return 0;
    return add_item(plan, row, file);
}

static int plan_row(struct plan *plan, struct plan_row *state, const struct manifest_row *row)
{
    state->first_key = plan->key_count;
    state->first_item = plan->item_count;
    if (row->row.withheld)
        return 0;
    state->before = find_before(plan, row);
    if (state->before) {
        const struct tree_row *old = tree_row(plan->inputs.last, state->before->row);

        state->same_token = !strcmp(old->token, row->row.token);
    }
    for (size_t i = 0; i < row->file_count; i++) {
        int r = plan_file(plan, state, row, &row->files[i]);

        if (r < 0)
            return r;
    }
    state->item_count = plan->item_count - state->first_item;
    return 0;
}

static void find_held(struct plan *plan)
{
    const struct manifest *manifest = plan->inputs.manifest;
    const struct tree *last = plan->inputs.last;
    bool listed[TREE_SECTIONS] = {false};

    for (size_t i = 0; last && i < tree_row_count(last); i++) {
        const struct tree_row *row = tree_row(last, (uint32_t)i);

        if (row->path)
            listed[tree_group(last, row->group)->section] = true;
    }
    for (enum tree_section section = 0; section < TREE_SECTIONS; section++) {
        enum section_state state = manifest_section(manifest, section);
        bool present = state == SECTION_PRESENT;
        bool nothing = tree_section(section)->is_optional && state == SECTION_MISSING &&
                       !listed[section]; /* it never had one */
        bool empty = present && manifest_section_entries(manifest, section) == 0;

        plan->suddenly_empty[section] = empty && listed[section];
        plan->held[section] = (!present && !nothing) || (plan->suddenly_empty[section] &&
                                                         !plan->inputs.empty_confirmed[section]);
    }
}

int plan_make(const struct plan_inputs *inputs, struct plan **ret_plan)
{
    scoped(plan_freep) struct plan *plan = calloc(1, sizeof(*plan));
    size_t count, files = 0;
    const struct manifest_row *rows = manifest_rows(inputs->manifest, &count);

    if (!plan)
        return -ENOMEM;
    for (size_t i = 0; i < count; i++)
        files += rows[i].file_count;
    plan->inputs = *inputs;
    plan->rows = calloc(count + 1, sizeof(*plan->rows));
    plan->keys = calloc(files + 1, sizeof(*plan->keys));
    if (!plan->rows || !plan->keys)
        return -ENOMEM;
    find_held(plan);
    for (size_t i = 0; i < count; i++) {
        int r = plan_row(plan, &plan->rows[i], &rows[i]);

        if (r < 0)
            return r;
    }
    *ret_plan = take_ptr(plan);
    return 0;
}

void plan_free(struct plan *plan)
{
    if (!plan)
        return;
    free(plan->rows);
    free(plan->keys);
    free(plan->items);
    free(plan);
}

void plan_freep(struct plan *const *plan)
{
    plan_free(*plan);
}

struct plan_item *plan_items(struct plan *plan, size_t *ret_count)
{
    *ret_count = plan->item_count;
    return plan->items;
}

bool plan_section_held(const struct plan *plan, enum tree_section section)
{
    return plan->held[section];
}

bool plan_section_suddenly_empty(const struct plan *plan, enum tree_section section)
{
    return plan->suddenly_empty[section];
}
