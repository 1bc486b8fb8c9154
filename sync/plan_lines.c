/* SPDX-License-Identifier: MIT */
/* Who has a say in the next generation. Why nothing is listed twice, lost or revived:
 *
 *   - A row of the manifest has the first word. It shows its new content, or what it showed before
 *     when the new could not be had, or nothing when there is neither.
 *   - A row of the last tree speaks only for a held section, or where the manifest has a row of
 *     the same group and label that could not be believed; then not if the manifest also has a good
 *     one, nor if its folder or its path now belong to somebody else.
 *   - Everything else that the last tree had is withdrawn. */
#include "sync/plan_lines.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cache/scoped.h"
#include "sync/names.h"

/* --- rows of the manifest --- */

static bool has_failed(const struct plan *plan, const struct plan_row *state)
{
    for (size_t i = 0; i < state->item_count; i++) {
        const struct plan_item *item = &plan->items[state->first_item + i];

        if (item->outcome != PLAN_DONE || item->key.kind == BLOB_NONE)
            return true;
    }
    return false;
}

struct blob_key plan_line_key(const struct plan *plan, const struct plan_line *line, size_t i)
{
    const struct plan_row *state = line->state;
    struct blob_key key = plan->keys[state->first_key + i];

    if (key.kind == BLOB_NONE) /* nothing new was promised: the old content, cold */
        return plan_blob_before(plan, line->row->path, NULL)->key;
    return key;
}

/* False: the row has nothing to show. */
static bool line_of_news(const struct plan *plan, size_t i, struct plan_line *line)
{
    size_t count;
    const struct manifest_row *row = &manifest_rows(plan->inputs.manifest, &count)[i];
    const struct tree_group *groups = manifest_groups(plan->inputs.manifest, &count);
    const struct plan_row *state = &plan->rows[i];

    *line = (struct plan_line){.section = row->section,
                               .slug = groups[row->row.group].slug,
                               .row = &row->row,
                               .news = row,
                               .state = state};
    if (!has_failed(plan, state))
        return true;
    if (!state->before)
        return false;

    bool nothing_new = state->same_token && state->before->type == TREE_BLOB;

    if (!nothing_new) {
        line->row = tree_row(plan->inputs.last, state->before->row);
        line->news = NULL;
        line->kept = true;
    }
    return true;
}

/* --- rows of the last tree --- */

static int compare_verdict(const struct verdict *a, const struct verdict *b)
{
    int r = (int)a->section - (int)b->section;

    r = r ? r : strcmp(a->group, b->group);
    return r ? r : strcmp(a->name, b->name);
}

/* The first verdict that is not before the wanted one. */
static size_t find_verdict(const struct verdict *verdicts, size_t count,
                           const struct verdict *wanted)
{
    size_t low = 0;

    while (low < count) {
        size_t middle = low + (count - low) / 2;

        if (compare_verdict(&verdicts[middle], wanted) < 0)
            low = middle + 1;
        else
            count = middle;
    }
    return low;
}

/* Is there a verdict of "dropped" on that label? Verdicts are in order of section, group, name.
 * The name "" stands for a whole package. */
static bool is_dropped(const struct plan *plan, const struct tree_group *group, const char *name)
{
    char group_text[NAME_PRINTABLE_SIZE] = "", name_text[NAME_PRINTABLE_SIZE];
    struct verdict wanted = {.section = group->section, .group = group_text, .name = name_text};
    size_t count;
    const struct verdict *verdicts = manifest_verdicts(plan->inputs.manifest, &count);

    if (!count)
        return false;
    if (tree_section(group->section)->group_key)
        name_printable(group->slug, group_text);
    name_printable(name, name_text);
    for (size_t i = find_verdict(verdicts, count, &wanted);
         i < count && compare_verdict(&verdicts[i], &wanted) == 0; i++)
        if (verdicts[i].kind == VERDICT_DROPPED)
            return true;
    return false;
}

/* What the last tree's groups may still say. */
enum group_word {
    WORD_NONE,  /* its folder is somebody else's now */
    WORD_SOME,  /* rows that the manifest has dropped are kept */
    WORD_WHOLE, /* a package that could not be read: all that the manifest has no row for is kept */
    WORD_HELD,  /* its section is held */
};

static int by_folder(const void *a, const void *b)
{
    const struct tree_group *one = *(const struct tree_group *const *)a;
    const struct tree_group *other = *(const struct tree_group *const *)b;
    int r = (int)one->section - (int)other->section;

    return r ? r : strcmp(one->folder, other->folder);
}

/* ret_words: per group of the last tree. */
static int weigh_groups(const struct plan *plan, enum group_word *ret_words)
{
    const struct tree *last = plan->inputs.last;
    size_t count, verdicts;
    const struct tree_group *groups = manifest_groups(plan->inputs.manifest, &count);
    scoped_free const struct tree_group **owners = calloc(count + 1, sizeof(*owners));

    if (!owners)
        return -ENOMEM;
    manifest_verdicts(plan->inputs.manifest, &verdicts);
    for (size_t i = 0; i < count; i++)
        owners[i] = &groups[i];
    qsort(owners, count, sizeof(*owners), by_folder);
    for (size_t i = 0; i < tree_group_count(last); i++) {
        const struct tree_group *group = tree_group(last, (uint32_t)i);
        const struct tree_group **owner = bsearch(&group, owners, count, sizeof(*owners),
                                                  by_folder);
        bool lasting = tree_section(group->section)->is_lasting;

        if (plan->held[group->section])
            ret_words[i] = WORD_HELD;
        else if (!verdicts || (owner && strcmp((*owner)->slug, group->slug) != 0))
            ret_words[i] = WORD_NONE;
        else
            ret_words[i] = lasting && is_dropped(plan, group, "") ? WORD_WHOLE : WORD_SOME;
    }
    return 0;
}

/* --- order --- */

static int compare_places(enum tree_section section, const char *slug, enum tree_section other,
                          const char *other_slug)
{
    int r = (int)section - (int)other;

    return r ? r : strcmp(slug, other_slug);
}

static int by_name(const void *a, const void *b)
{
    const struct plan_line *one = a, *other = b;
    int r = compare_places(one->section, one->slug, other->section, other->slug);

    r = r ? r : strcmp(one->row->name, other->row->name);
    return r ? r : (int)one->dropped - (int)other->dropped;
}

/* Withheld rows, which have no path, come first; of one path the kept line comes last. */
static int by_path(const void *a, const void *b)
{
    const struct plan_line *one = a, *other = b;
    const char *path = one->row->path, *other_path = other->row->path;
    int r = path && other_path ? strcmp(path, other_path) : !!path - !!other_path;

    return r ? r : (int)one->dropped - (int)other->dropped;
}

static int by_slug(const void *a, const void *b)
{
    const struct tree_group *one = *(const struct tree_group *const *)a;
    const struct tree_group *other = *(const struct tree_group *const *)b;

    return compare_places(one->section, one->slug, other->section, other->slug);
}

/* For bsearch: a group among lines. */
static int group_to_line(const void *key, const void *element)
{
    const struct tree_group *group = key;
    const struct plan_line *line = element;

    return compare_places(group->section, group->slug, line->section, line->slug);
}

/* For bsearch: a group among groups. */
static int group_to_group(const void *key, const void *element)
{
    const struct tree_group *group = key, *other = element;

    return compare_places(group->section, group->slug, other->section, other->slug);
}

static bool same_name(const struct plan_line *a, const struct plan_line *b)
{
    return a->section == b->section && !strcmp(a->slug, b->slug) &&
           !strcmp(a->row->name, b->row->name);
}

static bool same_path(const struct plan_line *a, const struct plan_line *b)
{
    return a->row->path && b->row->path && !strcmp(a->row->path, b->row->path);
}

/* What was kept yields to what the manifest says. */
static void yield_lines(struct plan_lines *lines, int (*order)(const void *, const void *),
                        bool (*same)(const struct plan_line *, const struct plan_line *))
{
    size_t left = 0;

    if (!lines->line_count)
        return;
    qsort(lines->lines, lines->line_count, sizeof(*lines->lines), order);
    for (size_t i = 0; i < lines->line_count; i++)
        if (!lines->lines[i].dropped || !left || !same(&lines->lines[left - 1], &lines->lines[i]))
            lines->lines[left++] = lines->lines[i];
    lines->line_count = left;
}

/* --- all together --- */

static void collect_news(const struct plan *plan, struct plan_lines *lines)
{
    size_t count;

    manifest_rows(plan->inputs.manifest, &count);
    for (size_t i = 0; i < count; i++)
        if (line_of_news(plan, i, &lines->lines[lines->line_count]))
            lines->line_count++;
}

static void collect_last(const struct plan *plan, const enum group_word *words,
                         struct plan_lines *lines)
{
    const struct tree *last = plan->inputs.last;

    for (size_t i = 0; i < tree_row_count(last); i++) {
        const struct tree_row *row = tree_row(last, (uint32_t)i);
        const struct tree_group *group = tree_group(last, row->group);
        enum group_word word = words[row->group];
        bool held = word == WORD_HELD;

        if (word == WORD_NONE || (!held && !row->path))
            continue;
        if (word == WORD_SOME && !is_dropped(plan, group, row->name))
            continue;
        lines->lines[lines->line_count++] = (struct plan_line){.section = group->section,
                                                               .slug = group->slug,
                                                               .row = row,
                                                               .kept = !held,
                                                               .dropped = !held};
    }
}

/* A package stays if it is listed, held or could not be read; any other group if a line is in it.
 * lines are in order. */
static void collect_groups(const struct plan *plan, const enum group_word *words,
                           struct plan_lines *lines)
{
    const struct tree *last = plan->inputs.last;
    size_t count;
    const struct tree_group *groups = manifest_groups(plan->inputs.manifest, &count);

    for (size_t i = 0; i < count; i++)
        if (tree_section(groups[i].section)->is_lasting ||
            bsearch(&groups[i], lines->lines, lines->line_count, sizeof(*lines->lines),
                    group_to_line))
            lines->groups[lines->group_count++] = &groups[i];
    for (size_t i = 0; last && i < tree_group_count(last); i++) {
        const struct tree_group *group = tree_group(last, (uint32_t)i);
        bool stays = tree_section(group->section)->is_lasting &&
                     (words[i] == WORD_HELD || words[i] == WORD_WHOLE);

        if (!stays &&
            !bsearch(group, lines->lines, lines->line_count, sizeof(*lines->lines), group_to_line))
            continue;
        if (!bsearch(group, groups, count, sizeof(*groups), group_to_group))
            lines->groups[lines->group_count++] = group;
    }
    if (lines->group_count)
        qsort(lines->groups, lines->group_count, sizeof(*lines->groups), by_slug);
}

int plan_lines_make(const struct plan *plan, struct plan_lines *ret_lines)
{
    const struct tree *last = plan->inputs.last;
    size_t last_rows = last ? tree_row_count(last) : 0;
    size_t last_groups = last ? tree_group_count(last) : 0;
    scoped_free enum group_word *words = calloc(last_groups + 1, sizeof(*words));
    struct plan_lines lines = {.line_count = 0};
    size_t rows, groups;
    int r;

    manifest_rows(plan->inputs.manifest, &rows);
    manifest_groups(plan->inputs.manifest, &groups);
    lines.lines = calloc(rows + last_rows + 1, sizeof(*lines.lines));
    lines.groups = calloc(groups + last_groups + 1, sizeof(*lines.groups));
    r = words && lines.lines && lines.groups ? 0 : -ENOMEM;
    if (r == 0 && last)
        r = weigh_groups(plan, words);
    if (r < 0) {
        plan_lines_release(&lines);
        return r;
    }
    collect_news(plan, &lines);
    if (last)
        collect_last(plan, words, &lines);
    yield_lines(&lines, by_path, same_path);
    yield_lines(&lines, by_name, same_name);
    collect_groups(plan, words, &lines);
    *ret_lines = lines;
    return 0;
}

void plan_lines_release(struct plan_lines *lines)
{
    free(lines->lines);
    free(lines->groups);
    *lines = (struct plan_lines){.line_count = 0};
}
