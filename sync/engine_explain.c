/* SPDX-License-Identifier: MIT */
/* Why the server keeps tables to itself. Its manifest says the same of what may never leave it and
 * of what the user has not taken a copy of (contract 1.3), so where both are possible its list of my
 * stack is asked: once, when such a package is news. What was learnt, or could not be, stands in the
 * last generation's rows, so a refresh without news makes no second request. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cache/scoped.h"
#include "sync/engine_private.h"
#include "sync/names.h"

/* One group of the manifest that has unexplained rows. */
struct riddle {
    uint32_t group;
    const char *slug;
    const char *id;
    const char *known; /* as the last generation has it */
};

struct riddles {
    struct riddle *list; /* in order of slug: that of the manifest's groups */
    size_t count;
};

static void riddles_release(const struct riddles *riddles)
{
    free(riddles->list);
}

static int find_riddles(struct refresh *refresh, struct riddles *ret_riddles)
{
    size_t row_count, group_count;
    const struct manifest_row *rows = manifest_rows(refresh->manifest, &row_count);
    const struct tree_group *groups = manifest_groups(refresh->manifest, &group_count);

    *ret_riddles = (struct riddles){.list = calloc(group_count + 1, sizeof(struct riddle))};
    if (!ret_riddles->list)
        return -ENOMEM;
    for (size_t i = 0; i < row_count; i++) {
        size_t count = ret_riddles->count;

        if (!rows[i].asks || (count > 0 && ret_riddles->list[count - 1].group == rows[i].row.group))
            continue;
        ret_riddles->list[ret_riddles->count++] = (struct riddle){
            .group = rows[i].row.group,
            .slug = groups[rows[i].row.group].slug,
            .id = rows[i].asks,
        };
    }
    return 0;
}

static int by_slug(const void *a, const void *b)
{
    return strcmp(((const struct riddle *)a)->slug, ((const struct riddle *)b)->slug);
}

static bool is_explanation(const char *withheld)
{
    return withheld && (strncmp(withheld, MANIFEST_NOT_COPIED, strlen(MANIFEST_NOT_COPIED)) == 0 ||
                        strncmp(withheld, MANIFEST_SERVER_ONLY, strlen(MANIFEST_SERVER_ONLY)) == 0);
}

/* One row of a package speaks for all. */
static void recall(const struct tree *last, const struct riddles *riddles)
{
    for (uint32_t i = 0; last && i < tree_row_count(last); i++) {
        const struct tree_row *row = tree_row(last, i);
        const struct tree_group *group = tree_group(last, row->group);
        struct riddle wanted = {.slug = group->slug};
        struct riddle *riddle;

        if (group->section != TREE_PACKAGES || !is_explanation(row->withheld))
            continue;
        riddle = bsearch(&wanted, riddles->list, riddles->count, sizeof(wanted), by_slug);
        if (riddle)
            riddle->known = row->withheld;
    }
}

/* "materialized" of the item with that id; absent where there is none. */
static const struct json *find_copied(const struct json *stack, const char *id)
{
    const struct json *items = json_get(stack, "items");

    for (const struct json *item = json_first(items); item; item = json_next(item)) {
        const char *its = json_string(json_get(item, "id"));

        if (its && strcmp(its, id) == 0)
            return json_get(item, "materialized");
    }
    return NULL;
}

static int explain(struct refresh *refresh, const struct riddle *riddle, const struct json *stack)
{
    const struct json *copied = find_copied(stack, riddle->id);
    char slug[NAME_PRINTABLE_SIZE];
    char reason[NAME_PRINTABLE_SIZE + 80];

    if (riddle->known)
        return manifest_explain(refresh->manifest, riddle->group, riddle->known);
    if (json_type(copied) != JSON_BOOL)
        return 0;
    if (json_is_true(copied))
        return manifest_explain(refresh->manifest, riddle->group, MANIFEST_SERVER_ONLY);
    name_printable(riddle->slug, slug);
    snprintf(reason, sizeof(reason), MANIFEST_NOT_COPIED ": agnesfs stack add %s", slug);
    return manifest_explain(refresh->manifest, riddle->group, reason);
}

/* NULL when it can not be had: then there is no explanation, and no harm done. */
static struct json *ask_stack(struct refresh *refresh)
{
    static const struct json_limits limits = {.bytes = STACK_MAX, .depth = 32};
    scoped(document_release) struct document document = {.text = NULL};
    scoped_free char *url = NULL;
    struct json *stack = NULL;
    struct json_error error;

    if (source_stack_url(refresh->engine->conf.source, TREE_PACKAGES, &url) < 0 ||
        document_get(refresh, url, STACK_MAX, &document) < 0 ||
        json_parse(document.text, document.size, &limits, &stack, &error) < 0)
        return NULL;
    return stack;
}

int refresh_explain(struct refresh *refresh)
{
    scoped(riddles_release) struct riddles riddles;
    scoped(json_freep) struct json *stack = NULL;
    bool news = false;
    int r = find_riddles(refresh, &riddles);

    if (r == 0 && riddles.count > 0)
        recall(refresh->last, &riddles);
    for (size_t i = 0; i < riddles.count; i++)
        news |= !riddles.list[i].known;
    if (news)
        stack = ask_stack(refresh);
    for (size_t i = 0; i < riddles.count && r == 0; i++)
        r = explain(refresh, &riddles.list[i], stack);
    return r < 0 ? refresh_fail(refresh, r, "no memory") : 0;
}
