/* SPDX-License-Identifier: MIT */
/* Counting what a refresh did. Why the numbers add up: rows of the two trees are put in one order
 * and merged, so each is looked at once, and a row is what its label says, never what its path
 * happens to show. Reasons come from the manifest's verdicts and the plan's items, bytes from the
 * items, each key once. */
#include "sync/report.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cache/scoped.h"
#include "sync/names.h"

struct report *report_new(void)
{
    return calloc(1, sizeof(struct report));
}

static void free_lines(struct report_line *lines, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        free(lines[i].group);
        free(lines[i].name);
        free(lines[i].reason);
    }
    free(lines);
}

void report_free(struct report *report)
{
    if (!report)
        return;
    free_lines(report->skipped, report->skipped_count);
    free_lines(report->errors, report->error_count);
    for (size_t i = 0; i < report->invariant_count; i++)
        free(report->invariant_violations[i]);
    free(report->invariant_violations);
    free(report);
}

void report_freep(struct report *const *report)
{
    report_free(*report);
}

/* --- lines --- */

/* Makes room for one more in an array that is full at each power of two. */
static int grow(void *address, size_t count, size_t size)
{
    void **array = address;
    void *larger;

    if (count & (count - 1))
        return 0;
    larger = reallocarray(*array, count ? 2 * count : 1, size);
    if (!larger)
        return -ENOMEM;
    *array = larger;
    return 0;
}

static int add_line(struct report_line **lines, size_t *count, struct report_line line)
{
    scoped_free char *group = strdup(line.group);
    scoped_free char *name = strdup(line.name);
    scoped_free char *reason = strdup(line.reason);

    if (!group || !name || !reason || grow(lines, *count, sizeof(**lines)) < 0)
        return -ENOMEM;
    line.group = take_ptr(group);
    line.name = take_ptr(name);
    line.reason = take_ptr(reason);
    (*lines)[(*count)++] = line;
    return 0;
}

static int add_skipped(struct report *report, const struct verdict *verdict)
{
    struct report_line line = {.section = verdict->section,
                               .group = (char *)verdict->group, /* add_line copies */
                               .name = (char *)verdict->name,
                               .reason = (char *)verdict->reason};

    return add_line(&report->skipped, &report->skipped_count, line);
}

void report_absorb(struct report *report, const struct report *earlier)
{
    for (enum tree_section section = 0; section < TREE_SECTIONS; section++)
        report->sections[section].bytes += earlier->sections[section].bytes;
    report->requests += earlier->requests;
    report->fetched += earlier->fetched;
    report->signed_fetched += earlier->signed_fetched;
}

int report_add_error(struct report *report, enum tree_section section, const char *group,
                     const char *name, int error, const char *reason)
{
    struct report_line line = {.section = section,
                               .group = (char *)group, /* add_line copies */
                               .name = (char *)name,
                               .reason = (char *)reason,
                               .error = error};

    return add_line(&report->errors, &report->error_count, line);
}

int report_add_violation(struct report *report, const char *text)
{
    scoped_free char *copy = strdup(text);

    if (!copy || grow(&report->invariant_violations, report->invariant_count, sizeof(char *)) < 0)
        return -ENOMEM;
    report->invariant_violations[report->invariant_count++] = take_ptr(copy);
    return 0;
}

static int by_place(const void *a, const void *b)
{
    const struct report_line *one = a, *other = b;
    int r = (int)one->section - (int)other->section;

    r = r ? r : strcmp(one->group, other->group);
    r = r ? r : strcmp(one->name, other->name);
    return r ? r : strcmp(one->reason, other->reason);
}

static void sort_lines(struct report_line *lines, size_t count)
{
    if (count)
        qsort(lines, count, sizeof(*lines), by_place);
}

/* --- rows of two trees, side by side --- */

struct side {
    const struct tree *tree;
    const struct tree_row **rows; /* the listed ones, by section, slug and name */
    size_t count;
};

static void side_release(struct side *side)
{
    free(side->rows);
}

static const struct tree_group *group_of(const struct tree *tree, const struct tree_row *row)
{
    return tree_group(tree, row->group);
}

static int compare_rows(const struct tree *tree, const struct tree_row *row,
                        const struct tree *other_tree, const struct tree_row *other)
{
    const struct tree_group *group = group_of(tree, row);
    const struct tree_group *other_group = group_of(other_tree, other);
    int r = (int)group->section - (int)other_group->section;

    r = r ? r : strcmp(group->slug, other_group->slug);
    return r ? r : strcmp(row->name, other->name);
}

static int by_label(const void *a, const void *b, void *tree)
{
    return compare_rows(tree, *(const struct tree_row *const *)a, tree,
                        *(const struct tree_row *const *)b);
}

static int side_fill(struct side *side, const struct tree *tree)
{
    size_t rows = tree ? tree_row_count(tree) : 0;

    side->tree = tree;
    side->rows = calloc(rows + 1, sizeof(*side->rows));
    if (!side->rows)
        return -ENOMEM;
    for (size_t i = 0; i < rows; i++) {
        const struct tree_row *row = tree_row(tree, (uint32_t)i);

        if (row->path)
            side->rows[side->count++] = row;
    }
    qsort_r(side->rows, side->count, sizeof(*side->rows), by_label, (void *)tree);
    return 0;
}

/* The same names below, with the same keys? */
static bool same_content(const struct tree *a, const struct tree_node *one, const struct tree *b,
                         const struct tree_node *other)
{
    if (!one || !other || one->type != other->type)
        return one == other;
    if (one->type == TREE_BLOB)
        return blob_key_equal(&tree_blob(a, one->blob)->key, &tree_blob(b, other->blob)->key);
    if (one->type != TREE_DIR)
        return true;
    if (one->dir.count != other->dir.count)
        return false;
    for (uint32_t i = 0; i < one->dir.count; i++) {
        const struct tree_node *child = tree_node(a, one->dir.first + i);
        const struct tree_node *other_child = tree_node(b, other->dir.first + i);

        if (strcmp(child->name, other_child->name) != 0 || !same_content(a, child, b, other_child))
            return false;
    }
    return true;
}

static void count_rows(struct report *report, const struct side *last, const struct side *next)
{
    size_t i = 0, j = 0;

    while (i < last->count || j < next->count) {
        int order = i == last->count ? 1
                    : j == next->count
                        ? -1
                        : compare_rows(last->tree, last->rows[i], next->tree, next->rows[j]);
        const struct tree_group *group = order < 0 ? group_of(last->tree, last->rows[i])
                                                   : group_of(next->tree, next->rows[j]);
        struct report_section *section = &report->sections[group->section];

        if (order < 0)
            section->removed++;
        else if (order > 0)
            section->added++;
        else if (same_content(last->tree, tree_find(last->tree, last->rows[i]->path), next->tree,
                              tree_find(next->tree, next->rows[j]->path)))
            section->unchanged++;
        else
            section->updated++;
        i += order <= 0;
        j += order >= 0;
    }
}

/* --- what the plan says --- */

struct place {
    char group[NAME_PRINTABLE_SIZE];
    char name[NAME_PRINTABLE_SIZE];
};

static void place_of(const struct manifest *manifest, const struct manifest_row *row,
                     struct place *ret_place)
{
    size_t count;
    const struct tree_group *groups = manifest_groups(manifest, &count);

    ret_place->group[0] = '\0';
    if (tree_section(row->section)->group_key)
        name_printable(groups[row->row.group].slug, ret_place->group);
    name_printable(row->row.name, ret_place->name);
}

/* Is the row listed on that side? */
static bool side_has(const struct side *side, const struct manifest *manifest,
                     const struct manifest_row *row)
{
    size_t count, low = 0, high = side->count;
    const struct tree_group *group = &manifest_groups(manifest, &count)[row->row.group];

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct tree_group *other = group_of(side->tree, side->rows[middle]);
        int r = (int)other->section - (int)group->section;

        r = r ? r : strcmp(other->slug, group->slug);
        r = r ? r : strcmp(side->rows[middle]->name, row->row.name);
        if (r == 0)
            return true;
        if (r < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return false;
}

/* One row's items: one line if it failed; if it was only never tried, what it would become. */
static int count_items(struct report *report, const struct manifest *manifest,
                       const struct side *last, const struct plan_item *items, size_t count)
{
    const struct manifest_row *row = items[0].row;
    struct report_section *section = &report->sections[row->section];
    const struct plan_item *failed = NULL;
    bool open = false;
    struct place place;

    for (size_t i = 0; i < count; i++) {
        open |= items[i].outcome == PLAN_OPEN;
        if (items[i].outcome == PLAN_FAILED && !failed)
            failed = &items[i];
    }
    if (failed) {
        place_of(manifest, row, &place);
        return report_add_error(report, row->section, place.group, place.name, failed->error,
                                failed->message);
    }
    if (open && side_has(last, manifest, row)) {
        section->unchanged -= section->unchanged > 0;
        section->updated++;
    } else if (open) {
        section->added++;
    }
    return 0;
}

static int by_key(const void *a, const void *b)
{
    const struct plan_item *one = *(const struct plan_item *const *)a;
    const struct plan_item *other = *(const struct plan_item *const *)b;
    int r = blob_key_compare(&one->key, &other->key);

    return r ? r : (one > other) - (one < other); /* the first to ask is who it is fetched for */
}

static int count_bytes(struct report *report, const struct plan_item *items, size_t count)
{
    scoped_free const struct plan_item **done = calloc(count + 1, sizeof(*done));
    size_t done_count = 0;

    if (!done)
        return -ENOMEM;
    for (size_t i = 0; i < count; i++)
        if (items[i].outcome == PLAN_DONE && items[i].fetched)
            done[done_count++] = &items[i];
    qsort(done, done_count, sizeof(*done), by_key);
    for (size_t i = 0; i < done_count; i++)
        if (i == 0 || !blob_key_equal(&done[i - 1]->key, &done[i]->key))
            report->sections[done[i]->row->section].bytes += done[i]->key.size;
    return 0;
}

static int count_verdicts(struct report *report, const struct manifest *manifest)
{
    size_t count;
    const struct verdict *verdicts = manifest_verdicts(manifest, &count);
    int r = 0;

    for (size_t i = 0; i < count && r == 0; i++) {
        const struct verdict *verdict = &verdicts[i];

        if (verdict->kind == VERDICT_DROPPED) {
            r = report_add_error(report, verdict->section, verdict->group, verdict->name, -EPROTO,
                                 verdict->reason);
        } else {
            report->sections[verdict->section].skipped++;
            r = add_skipped(report, verdict);
        }
    }
    return r;
}

int report_fill(struct report *report, const struct tree *last, const struct tree *next,
                const struct manifest *manifest, struct plan *plan)
{
    scoped(side_release) struct side before = {.count = 0};
    scoped(side_release) struct side after = {.count = 0};
    size_t count, taken;
    const struct plan_item *items = plan_items(plan, &count);
    int r;

    if ((r = side_fill(&before, last)) < 0 || (r = side_fill(&after, next)) < 0 ||
        (r = count_verdicts(report, manifest)) < 0 || (r = count_bytes(report, items, count)) < 0)
        return r;
    count_rows(report, &before, &after);
    for (size_t i = 0; i < count; i += taken) {
        for (taken = 1; i + taken < count && items[i + taken].row == items[i].row;)
            taken++;
        r = count_items(report, manifest, &before, &items[i], taken);
        if (r < 0)
            return r;
    }
    for (enum tree_section section = 0; section < TREE_SECTIONS; section++)
        report->sections[section].held = plan_section_held(plan, section);
    report->generation = tree_generation(next);
    report->changed = next != last;
    sort_lines(report->skipped, report->skipped_count);
    sort_lines(report->errors, report->error_count);
    return 0;
}
