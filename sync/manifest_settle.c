/* SPDX-License-Identifier: MIT */
/* Who gets a name that several rows claim. Why the answer never depends on the order of the text:
 * each question is asked of a sorted array whose order is total over everything that rows differ
 * in, and the first of equals wins.
 *
 *   1. by label: a table listed twice in one package is one table; smaller id, then smaller md5
 *   2. by path: labels that fold to one name; smaller label
 *   3. groups without rows go (a package stays: its empty folder says something)
 *   4. rows in the order of section, group and label, for whoever reads them */
#include "sync/manifest_private.h"

#include <errno.h>

#include "cache/scoped.h"
#include "sync/names.h"

static const struct tree_group *group_of(const struct manifest *manifest,
                                         const struct manifest_row *row)
{
    return &manifest->groups[row->row.group];
}

static int judge_row(struct manifest *manifest, enum verdict_kind kind,
                     const struct manifest_row *row, const char *reason)
{
    const char *group = tree_section(row->section)->group_key ? group_of(manifest, row)->slug : "";

    return manifest_judge(manifest, kind, row->section, group, row->row.name, row->row.path,
                          reason);
}

/* --- order --- */

/* NULL before all text. */
static int compare_text(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) : (a != NULL) - (b != NULL);
}

static int compare_labels(const struct manifest *manifest, const struct manifest_row *a,
                          const struct manifest_row *b)
{
    int r = (int)a->section - (int)b->section;

    if (r == 0)
        r = strcmp(group_of(manifest, a)->slug, group_of(manifest, b)->slug);
    return r ? r : strcmp(a->row.name, b->row.name);
}

static int by_label(const void *a, const void *b, void *manifest)
{
    const struct manifest_row *one = a, *other = b;
    int r = compare_labels(manifest, one, other);

    r = r ? r : strcmp(one->row.table_id, other->row.table_id);
    r = r ? r : strcmp(one->row.md5, other->row.md5);
    r = r ? r : strcmp(one->row.token, other->row.token);
    r = r ? r : strcmp(one->row.url, other->row.url);
    r = r ? r : strcmp(one->row.updated, other->row.updated);
    r = r ? r : compare_text(one->row.title, other->row.title);
    r = r ? r : compare_text(one->row.withheld, other->row.withheld);
    return r ? r : compare_text(one->row.path, other->row.path);
}

static int by_path(const void *a, const void *b, void *manifest)
{
    const struct manifest_row *one = a, *other = b;
    int r = compare_text(one->row.path, other->row.path);

    return r ? r : compare_labels(manifest, one, other);
}

/* --- claims --- */

static bool same_label(const struct manifest *manifest, const struct manifest_row *a,
                       const struct manifest_row *b)
{
    return compare_labels(manifest, a, b) == 0;
}

/* A withheld row claims no name. */
static bool same_path(const struct manifest *manifest, const struct manifest_row *a,
                      const struct manifest_row *b)
{
    (void)manifest;
    return !a->row.withheld && !b->row.withheld && !strcmp(a->row.path, b->row.path);
}

static int drop_loser(struct manifest *manifest, const struct manifest_row *winner,
                      const struct manifest_row *loser)
{
    char printable[NAME_PRINTABLE_SIZE];
    const char *reason;

    if (same_label(manifest, winner, loser))
        return judge_row(manifest, VERDICT_DROPPED, loser, "listed twice");
    name_printable(winner->row.name, printable);
    reason = row_format(&manifest->arena, "its name belongs to \"%s\"", printable);
    return reason ? judge_row(manifest, VERDICT_DROPPED, loser, reason) : -ENOMEM;
}

/* Of each run of rows that claim the same, the first in order stays. */
static int settle_claims(struct manifest *manifest,
                         int (*order)(const void *, const void *, void *),
                         bool (*same)(const struct manifest *, const struct manifest_row *,
                                      const struct manifest_row *))
{
    struct manifest_row *rows = manifest->rows;
    const struct manifest_row *winner = NULL;
    size_t kept = 0;

    if (!manifest->row_count)
        return 0;
    qsort_r(rows, manifest->row_count, sizeof(*rows), order, manifest);
    for (size_t i = 0; i < manifest->row_count; i++) {
        if (winner && same(manifest, winner, &rows[i])) {
            int r = drop_loser(manifest, winner, &rows[i]);

            if (r < 0)
                return r;
            continue;
        }
        rows[kept] = rows[i];
        if (!winner || !rows[kept].row.withheld || same == same_label)
            winner = &rows[kept];
        kept++;
    }
    manifest->row_count = kept;
    return 0;
}

/* --- groups --- */

static int by_slug(const void *a, const void *b, void *arg)
{
    const struct tree_group *groups = arg;
    const struct tree_group *one = &groups[*(const uint32_t *)a];
    const struct tree_group *other = &groups[*(const uint32_t *)b];
    int r = (int)one->section - (int)other->section;

    return r ? r : strcmp(one->slug, other->slug);
}

static int settle_groups(struct manifest *manifest)
{
    size_t count = manifest->group_count;
    scoped_free struct tree_group *sorted = calloc(count + 1, sizeof(*sorted));
    scoped_free uint32_t *order = calloc(count + 1, sizeof(*order));
    scoped_free uint32_t *index = calloc(count + 1, sizeof(*index)); /* old to new */
    scoped_free bool *used = calloc(count + 1, sizeof(*used));
    size_t kept = 0;

    if (!sorted || !order || !index || !used)
        return -ENOMEM;
    for (size_t i = 0; i < manifest->row_count; i++)
        used[manifest->rows[i].row.group] = true;
    for (size_t i = 0; i < count; i++)
        if (used[i] || tree_section(manifest->groups[i].section)->is_lasting)
            order[kept++] = (uint32_t)i;
    qsort_r(order, kept, sizeof(*order), by_slug, manifest->groups);
    for (size_t i = 0; i < kept; i++) {
        sorted[i] = manifest->groups[order[i]];
        index[order[i]] = (uint32_t)i;
    }
    for (size_t i = 0; i < manifest->row_count; i++)
        manifest->rows[i].row.group = index[manifest->rows[i].row.group];
    free(manifest->groups);
    manifest->groups = take_ptr(sorted);
    manifest->group_count = kept;
    return 0;
}

/* --- verdicts --- */

static int by_place(const void *a, const void *b)
{
    const struct verdict *one = a, *other = b;
    int r = (int)one->section - (int)other->section;

    r = r ? r : strcmp(one->group, other->group);
    r = r ? r : strcmp(one->name, other->name);
    r = r ? r : strcmp(one->path, other->path);
    r = r ? r : (int)one->kind - (int)other->kind;
    return r ? r : strcmp(one->reason, other->reason);
}

static void forget_files(struct manifest_row *row)
{
    row->row.path = NULL;
    row->file_count = 0;
}

static int report_withheld(struct manifest *manifest)
{
    for (size_t i = 0; i < manifest->row_count; i++) {
        struct manifest_row *row = &manifest->rows[i];
        int r = row->row.withheld ? judge_row(manifest, VERDICT_WITHHELD, row, row->row.withheld)
                                  : 0;

        if (r < 0)
            return r;
        if (row->row.withheld)
            forget_files(row);
    }
    return 0;
}

static void sort_verdicts(struct manifest *manifest)
{
    if (manifest->verdict_count)
        qsort(manifest->verdicts, manifest->verdict_count, sizeof(*manifest->verdicts), by_place);
}

int manifest_leave_out(struct manifest *manifest, const struct filter *filter)
{
    for (size_t i = 0; filter && i < manifest->row_count; i++) {
        struct manifest_row *row = &manifest->rows[i];
        const struct tree_group *group = &manifest->groups[row->row.group];
        const char *reason = row->row.withheld ? NULL : filter_reason(filter, group, &row->row);

        if (!reason)
            continue;
        if (judge_row(manifest, VERDICT_WITHHELD, row, reason) < 0)
            return -ENOMEM;
        row->left_out = row->files[0].key.kind != BLOB_NONE; /* of parts, all have one */
        if (!row->left_out) {
            row->row.withheld = reason;
            forget_files(row);
        }
    }
    sort_verdicts(manifest);
    return 0;
}

int manifest_settle(struct manifest *manifest)
{
    int r;

    if ((r = settle_claims(manifest, by_label, same_label)) < 0 ||
        (r = settle_claims(manifest, by_path, same_path)) < 0 ||
        (r = settle_groups(manifest)) < 0 || (r = report_withheld(manifest)) < 0)
        return r;
    if (manifest->row_count)
        qsort_r(manifest->rows, manifest->row_count, sizeof(*manifest->rows), by_label, manifest);
    sort_verdicts(manifest);
    return 0;
}
