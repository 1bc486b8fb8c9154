/* SPDX-License-Identifier: MIT */
/* target_manifest.c - two manifests, one after the other, as a server or a static stack gives them:
 * all that is made of them up to the tree. A byte that no JSON has stands between the two.
 *
 * The first byte says what happens: of what kind the source is, and which items can be fetched. */
#include <errno.h>

#include "sync/manifest.h"
#include "sync/plan.h"
#include "tests/fuzz/fuzz.h"

#define SEPARATOR 0xff

static const char *const sources[] = {"https://agnes.example.com",
                                      "https://stacks.example.com/team/manifest.json"};

struct world {
    const struct source *source;
    struct tree *last;
    uint64_t generation;
    uint8_t luck; /* bit by bit: is it resident, can it be had */
    unsigned asked;
};

static bool is_lucky(struct world *world)
{
    return world->luck >> (world->asked++ % 7) & 1;
}

static bool is_resident(void *arg, const struct blob_key *key)
{
    return is_lucky(arg);
}

static int64_t first_seen(void *arg, const struct blob_key *key)
{
    return 1;
}

static void check_manifest(const struct manifest *manifest)
{
    size_t count;
    const struct manifest_row *rows = manifest_rows(manifest, &count);

    for (size_t i = 0; i < count; i++) {
        require((rows[i].row.withheld != NULL) == (rows[i].row.path == NULL));
        require(rows[i].row.withheld || is_safe_path(rows[i].row.path));
        require(rows[i].row.withheld || rows[i].file_count > 0);
        for (size_t f = 0; f < rows[i].file_count; f++)
            require(!rows[i].files[f].part || is_safe_path(rows[i].files[f].part));
    }

    const struct tree_group *groups = manifest_groups(manifest, &count);

    for (size_t i = 0; i < count; i++)
        require(is_safe_path(groups[i].folder));

    const struct verdict *verdicts = manifest_verdicts(manifest, &count);

    for (size_t i = 0; i < count; i++) {
        require(is_printable(verdicts[i].group) && is_printable(verdicts[i].name));
        require(is_printable(verdicts[i].reason) && *verdicts[i].reason);
        require(!*verdicts[i].path || is_safe_path(verdicts[i].path));
    }
}

/* Each item comes, or fails. */
static void settle(struct world *world, struct plan *plan)
{
    size_t count;
    struct plan_item *items = plan_items(plan, &count);

    for (size_t i = 0; i < count; i++) {
        items[i].outcome = is_lucky(world) ? PLAN_DONE : PLAN_FAILED;
        items[i].error = -EIO;
        if (items[i].outcome == PLAN_DONE && items[i].key.kind == BLOB_NONE)
            blob_key_of_bytes(items[i].row->row.name, strlen(items[i].row->row.name),
                              &items[i].key);
    }
}

static void refresh(struct world *world, const uint8_t *data, size_t size)
{
    scoped(manifest_freep) struct manifest *manifest = NULL;
    scoped(plan_freep) struct plan *plan = NULL;
    scoped_free char *text = fuzz_bytes(data, size);
    struct tree *tree = NULL;
    struct manifest_error error = {""};

    if (manifest_parse(text, size, world->source, &manifest, &error) < 0) {
        require(*error.message && is_printable(error.message));
        return;
    }
    check_manifest(manifest);

    struct plan_inputs inputs = {
        .manifest = manifest,
        .last = world->last,
        .empty_confirmed = {world->luck & 1, world->luck & 2, world->luck & 4, world->luck & 8},
        .resident = is_resident,
        .first_seen = first_seen,
        .arg = world,
        .now_ns = INT64_C(1800000000000000000),
    };

    require(plan_make(&inputs, &plan) == 0);
    settle(world, plan);
    require(plan_tree(plan, ++world->generation, NULL, NULL, &tree) == 0);
    require(tree_check(tree) == 0);
    tree_unref(world->last);
    world->last = tree;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct source *parsed[2];
    const uint8_t *second;

    for (size_t i = 0; i < 2 && !parsed[i]; i++)
        require(source_parse(sources[i], &parsed[i]) == 0);
    if (size == 0)
        return 0;

    struct world world = {.source = parsed[data[0] & 1], .luck = data[0] >> 1};

    data++, size--;
    second = memchr(data, SEPARATOR, size);
    refresh(&world, data, second ? (size_t)(second - data) : size);
    if (second)
        refresh(&world, second + 1, size - (size_t)(second - data) - 1);
    tree_unref(world.last);
    return 0;
}
