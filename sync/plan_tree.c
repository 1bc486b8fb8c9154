/* SPDX-License-Identifier: MIT */
/* The next generation, written down. Why a refresh without news gives the very same tree: rows and
 * groups are added in one order whatever the manifest's was, blobs that stay keep their times, and
 * a tree that equals the last one is thrown away for it.
 *
 * Times first, because a blob has one time under all its names: blobs that arrive are collected
 * with everything that bears on it, and decided key by key. */
#include "sync/plan_lines.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cache/scoped.h"

/* One name under which a blob arrives that the last tree did not have. */
struct arrival {
    struct blob_key key;
    int64_t updated_ns;  /* -1 if its row does not say, or says a time to come */
    int64_t replaced_ns; /* of the content that the name had; -1 if none */
    int64_t mtime_ns;    /* decided */
};

/* One plan_tree. */
struct writing {
    const struct plan *plan;
    struct plan_lines lines;
    struct arrival *arrivals; /* by key */
    size_t arrival_count;
    struct tree_builder *builder;
};

static void writing_release(struct writing *writing)
{
    plan_lines_release(&writing->lines);
    free(writing->arrivals);
    tree_builder_free(writing->builder);
}

/* --- times --- */

static int by_key(const void *a, const void *b)
{
    const struct arrival *one = a, *other = b;

    return blob_key_compare(&one->key, &other->key);
}

static int by_key_then_replaced(const void *a, const void *b)
{
    const struct arrival *one = a, *other = b;
    int r = by_key(a, b);

    return r ? r
             : (one->replaced_ns > other->replaced_ns) - (one->replaced_ns < other->replaced_ns);
}

/* Decides for count arrivals of one key, in the order of what they replace. */
static void decide_time(const struct plan_inputs *inputs, struct arrival *arrivals, size_t count)
{
    int64_t mtime = -1;

    for (size_t i = 0; i < count; i++)
        if (arrivals[i].updated_ns >= 0 && (mtime < 0 || arrivals[i].updated_ns < mtime))
            mtime = arrivals[i].updated_ns;
    if (mtime < 0) {
        mtime = inputs->first_seen(inputs->arg, &arrivals[0].key);
        mtime = mtime < 0 || mtime > inputs->now_ns ? inputs->now_ns : mtime;
    }
    for (size_t i = 0; i < count; i++)
        if (arrivals[i].replaced_ns == mtime)
            mtime += 1000;
    for (size_t i = 0; i < count; i++)
        arrivals[i].mtime_ns = mtime;
}

static void collect_arrivals(struct writing *writing)
{
    const struct plan_inputs *inputs = &writing->plan->inputs;

    for (size_t i = 0; i < writing->lines.line_count; i++) {
        const struct plan_line *line = &writing->lines.lines[i];

        for (size_t f = 0; line->news && f < line->news->file_count; f++) {
            const struct blob_key key = plan_line_key(writing->plan, line, f);
            int64_t updated = line->news->updated_ns;
            const struct tree_blob *old;

            if (inputs->last && tree_blob_find(inputs->last, &key))
                continue;
            old = plan_blob_before(writing->plan, line->row->path, line->news->files[f].part);
            writing->arrivals[writing->arrival_count++] = (struct arrival){
                .key = key,
                .updated_ns = updated > inputs->now_ns ? -1 : updated,
                .replaced_ns = old ? old->mtime_ns : -1,
            };
        }
    }
}

static int decide_times(struct writing *writing)
{
    size_t files = 0, next;

    for (size_t i = 0; i < writing->lines.line_count; i++)
        files += writing->lines.lines[i].news ? writing->lines.lines[i].news->file_count : 0;
    writing->arrivals = calloc(files + 1, sizeof(*writing->arrivals));
    if (!writing->arrivals)
        return -ENOMEM;
    collect_arrivals(writing);
    qsort(writing->arrivals, writing->arrival_count, sizeof(*writing->arrivals),
          by_key_then_replaced);
    for (size_t i = 0; i < writing->arrival_count; i = next) {
        for (next = i + 1; next < writing->arrival_count; next++)
            if (by_key(&writing->arrivals[i], &writing->arrivals[next]) != 0)
                break;
        decide_time(&writing->plan->inputs, &writing->arrivals[i], next - i);
    }
    return 0;
}

static int64_t time_of(const struct writing *writing, const struct blob_key *key)
{
    const struct tree *last = writing->plan->inputs.last;
    const struct tree_blob *old = last ? tree_blob_find(last, key) : NULL;
    struct arrival wanted = {.key = *key};
    const struct arrival *arrival;

    if (old)
        return old->mtime_ns;
    arrival = bsearch(&wanted, writing->arrivals, writing->arrival_count, sizeof(wanted), by_key);
    return arrival->mtime_ns; /* collected from the same lines, so it is there */
}

/* --- names --- */

static int add_file(struct writing *writing, const char *path, const char *part, uint32_t row,
                    const struct blob_key *key)
{
    char below[TREE_PATH_MAX];

    if (part) {
        if (snprintf(below, sizeof(below), "%s/%s", path, part) >= (int)sizeof(below))
            return -EINVAL; /* names.h keeps paths far shorter */
        path = below;
    }
    return tree_builder_add_blob(writing->builder, path, row, key, time_of(writing, key));
}

static int add_news(struct writing *writing, const struct plan_line *line, uint32_t row)
{
    const struct manifest_row *news = line->news;

    if (news->row.flags & TREE_ROW_PARTS) {
        int r = tree_builder_add_dir(writing->builder, news->row.path, row);

        if (r < 0)
            return r;
    }
    for (size_t i = 0; i < news->file_count; i++) {
        const struct blob_key key = plan_line_key(writing->plan, line, i);
        int r = add_file(writing, news->row.path, news->files[i].part, row, &key);

        if (r < 0)
            return r;
    }
    return 0;
}

/* Copies what the last tree has at a path, and below. Folders of a partitioned table are no row. */
static int add_last(struct writing *writing, const struct tree_node *node, uint32_t row)
{
    const struct tree *last = writing->plan->inputs.last;
    char path[TREE_PATH_MAX];
    int r = tree_path(last, node, path, sizeof(path));

    if (r == 0 && node->type == TREE_BLOB) {
        const struct tree_blob *blob = tree_blob(last, node->blob);

        return tree_builder_add_blob(writing->builder, path, row, &blob->key, blob->mtime_ns);
    }
    if (r < 0 || node->type != TREE_DIR)
        return r; /* texts and live documents are decoration: they are made anew */
    r = tree_builder_add_dir(writing->builder, path, node->row == TREE_NO_ROW ? TREE_NO_ROW : row);
    for (uint32_t i = 0; i < node->dir.count && r == 0; i++)
        r = add_last(writing, tree_node(last, node->dir.first + i), row);
    return r;
}

static int add_line(struct writing *writing, const struct plan_line *line, uint32_t group)
{
    const struct tree *last = writing->plan->inputs.last;
    struct tree_row row = *line->row;
    uint32_t index;
    int r;

    row.group = group;
    row.flags |= line->kept ? TREE_ROW_KEPT : 0;
    if (line->news && !row.withheld) {
        row.size = 0;
        for (size_t i = 0; i < line->news->file_count; i++)
            row.size += plan_line_key(writing->plan, line, i).size;
    }
    r = tree_builder_add_row(writing->builder, &row, &index);
    if (r < 0 || !row.path)
        return r;
    if (line->news)
        return add_news(writing, line, index);

    const struct tree_node *node = tree_find(last, row.path);

    return node ? add_last(writing, node, index) : 0;
}

/* --- the tree --- */

static int add_group(struct writing *writing, const struct tree_group *group, uint32_t *ret_index)
{
    char folder[TREE_PATH_MAX];
    int r = tree_builder_add_group(writing->builder, group, ret_index);

    if (r < 0 || !tree_section(group->section)->is_lasting)
        return r;
    snprintf(folder, sizeof(folder), "%s/%s", tree_section(group->section)->folder, group->folder);
    return tree_builder_add_dir(writing->builder, folder, TREE_NO_ROW);
}

/* Lines and groups are in the same order, so one walk over both finds each line's group. */
static int add_all(struct writing *writing)
{
    const struct plan_lines *lines = &writing->lines;
    size_t next = 0;
    int r;

    if ((r = tree_builder_add_dir(writing->builder, "data", TREE_NO_ROW)) < 0 ||
        (r = tree_builder_add_dir(writing->builder, "memory", TREE_NO_ROW)) < 0)
        return r;
    for (size_t i = 0; i < lines->group_count; i++) {
        const struct tree_group *group = lines->groups[i];
        uint32_t index;

        r = add_group(writing, group, &index);
        if (r < 0)
            return r;
        for (; next < lines->line_count; next++) {
            const struct plan_line *line = &lines->lines[next];

            if (line->section != group->section || strcmp(line->slug, group->slug) != 0)
                break;
            r = add_line(writing, line, index);
            if (r < 0)
                return r;
        }
    }
    return 0;
}

/* Bytes that came are the row's content, whatever the manifest promised. */
static void settle_keys(const struct plan *plan)
{
    for (size_t i = 0; i < plan->item_count; i++) {
        if (plan->items[i].outcome == PLAN_DONE)
            plan->keys[plan->items[i].slot] = plan->items[i].key;
    }
}

int plan_tree(struct plan *plan, uint64_t generation,
              int (*decorate)(void *arg, struct tree_builder *builder), void *arg,
              struct tree **ret_tree)
{
    const struct tree *last = plan->inputs.last;
    scoped(writing_release) struct writing writing = {.plan = plan};
    struct tree *tree;
    int r;

    settle_keys(plan);
    if ((r = tree_builder_new(generation, &writing.builder)) < 0 ||
        (r = plan_lines_make(plan, &writing.lines)) < 0 || (r = decide_times(&writing)) < 0 ||
        (r = add_all(&writing)) < 0 || (r = decorate ? decorate(arg, writing.builder) : 0) < 0 ||
        (r = tree_builder_freeze(writing.builder, &tree)) < 0)
        return r;
    writing.builder = NULL;
    if (last && tree_equal(last, tree)) {
        tree_unref(tree);
        tree = tree_ref((struct tree *)last); /* only its count of holders changes */
    }
    *ret_tree = tree;
    return 0;
}
