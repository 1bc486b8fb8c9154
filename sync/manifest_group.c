/* SPDX-License-Identifier: MIT */
/* Packages and domains: whose folder is whose. A package that can not be read takes only its own
 * rows along; two slugs that fold to one folder are settled by the smaller one, whatever the order. */
#include "sync/manifest_private.h"

#include <errno.h>
#include <string.h>

#include "cache/scoped.h"
#include "sync/names.h"

/* A package or a domain before it is known whether its folder is its own. */
struct claim {
    struct tree_group group; /* folder is "" when the slug can not be one */
    const struct json *entry;
    const char *id;     /* orders what else is equal */
    const char *reason; /* why all of it is dropped; NULL if it is not */
};

/* 0 also for a bad one: claim->reason is set. */
static int read_claim(struct reading *reading, const struct json *entry, enum tree_section section,
                      size_t position, struct claim *claim)
{
    struct row_reader *reader = &reading->reader;
    struct tree_group *group = &claim->group;
    char folder[NAME_SIZE];
    int r;

    *claim = (struct claim){.entry = entry, .id = ""};
    *group = (struct tree_group){
        .section = section,
        .folder = "",
        .name = "",
        .description = "",
        .requirement = tree_requirement_from_name(json_string(json_get(entry, "requirement"))),
    };
    r = row_read_label(reader, entry, "slug", &group->slug);
    if (r == -EBADMSG)
        group->slug = manifest_label_or_place(reading, entry, "slug", tree_section_name(section),
                                              position);
    else if (r == 0 && name_from_label(group->slug, "", folder) < 0)
        r = row_drop(reader, "slug can not be the name of a folder");
    else if (r == 0 && name_is_reserved_slug(folder))
        r = row_drop(reader, "slug is reserved");
    else if (r == 0 && !(group->folder = arena_copy(reader->arena, folder, strlen(folder))))
        r = -ENOMEM;
    if (r == 0)
        r = row_read_prose(reader, entry, "name", &group->name);
    if (r == 0)
        r = row_read_prose(reader, entry, "description", &group->description);
    if (r == 0)
        r = row_read_prose(reader, entry, "id", &claim->id);
    if (r == -EBADMSG)
        claim->reason = reader->reason;
    return r == -ENOMEM || !group->slug || !group->folder ? -ENOMEM : 0;
}

static int by_folder(const void *a, const void *b)
{
    const struct claim *one = a, *other = b;
    int r = strcmp(one->group.folder, other->group.folder);

    r = r ? r : strcmp(one->group.slug, other->group.slug);
    r = r ? r : strcmp(one->id, other->id);
    r = r ? r : strcmp(one->group.name, other->group.name);
    r = r ? r : strcmp(one->group.description, other->group.description);
    return r ? r : (int)one->group.requirement - (int)other->group.requirement;
}

static int read_claims(struct reading *reading, enum tree_section section,
                       struct claim **ret_claims, size_t *ret_count)
{
    const struct json *array = reading->sections[section];
    size_t count = json_count(array);
    scoped_free struct claim *claims = calloc(count + 1, sizeof(*claims));
    size_t i = 0;

    if (!claims)
        return -ENOMEM;
    for (const struct json *entry = json_first(array); entry; entry = json_next(entry), i++) {
        int r = read_claim(reading, entry, section, i, &claims[i]);

        if (r < 0)
            return r;
    }
    qsort(claims, count, sizeof(*claims), by_folder);
    *ret_claims = take_ptr(claims);
    *ret_count = count;
    return 0;
}

/* Drops a package: each of its rows by name, or the package itself if it has none. */
static int drop_package(struct reading *reading, const struct claim *claim, const char *reason)
{
    const struct json *tables = json_get(claim->entry, "tables");
    size_t position = 0;
    int r = 0;

    if (json_type(tables) != JSON_ARRAY || !json_first(tables))
        return manifest_judge(reading->manifest, VERDICT_DROPPED, TREE_PACKAGES, claim->group.slug,
                              "", NULL, reason);
    for (const struct json *entry = json_first(tables); entry && r == 0;
         entry = json_next(entry), position++) {
        const char *label = manifest_label_or_place(reading, entry, "name", "tables", position);

        r = label ? manifest_judge(reading->manifest, VERDICT_DROPPED, TREE_PACKAGES,
                                   claim->group.slug, label, NULL, reason)
                  : -ENOMEM;
    }
    return r;
}

static bool is_last_group(const struct manifest *manifest, const struct tree_group *group)
{
    if (manifest->group_count == 0)
        return false;

    const struct tree_group *last = &manifest->groups[manifest->group_count - 1];

    return last->section == group->section && strcmp(last->slug, group->slug) == 0;
}

static bool is_server_only(const struct manifest_row *row)
{
    return row->row.withheld && strcmp(row->row.withheld, MANIFEST_SERVER_ONLY) == 0;
}

static bool may_be_copied(const struct manifest_row *row)
{
    return !row->row.withheld;
}

/* rows: those of one package. */
static void find_unexplained(const struct claim *claim, struct manifest_row *rows, size_t count)
{
    if (!*claim->id || claim->group.requirement != REQUIREMENT_AVAILABLE)
        return;
    for (size_t i = 0; i < count; i++) {
        if (may_be_copied(&rows[i]))
            return;
    }
    for (size_t i = 0; i < count; i++) {
        if (is_server_only(&rows[i])) {
            rows[i].row.withheld = MANIFEST_UNEXPLAINED;
            rows[i].asks = claim->id;
        }
    }
}

static int read_package(struct reading *reading, const struct claim *claim)
{
    struct manifest *manifest = reading->manifest;
    const struct json *tables = json_get(claim->entry, "tables");

    if (!manifest_can_read(tables, "name")) {
        const char *reason = json_type(tables) == JSON_ARRAY ? "none of its tables can be read"
                                                             : "no list of tables";
        int r = manifest_judge(manifest, VERDICT_DROPPED, TREE_PACKAGES, claim->group.slug, "",
                               NULL, reason);

        if (r < 0 || json_type(tables) != JSON_ARRAY)
            return r;
    }
    /* One package listed in two pieces is one package. */
    if (!is_last_group(manifest, &claim->group))
        manifest->groups[manifest->group_count++] = claim->group;

    size_t first = manifest->row_count;
    int r = manifest_read_tables(reading, tables, "tables", (uint32_t)manifest->group_count - 1);

    if (r == 0 && source_kind(reading->reader.source) == SOURCE_SERVER)
        find_unexplained(claim, manifest->rows + first, manifest->row_count - first);
    return r;
}

int manifest_read_packages(struct reading *reading)
{
    scoped_free struct claim *claims = NULL;
    const struct claim *owner = NULL; /* of the folder we are at */
    size_t count = 0;
    int r = read_claims(reading, TREE_PACKAGES, &claims, &count);

    for (size_t i = 0; i < count && r == 0; i++) {
        const struct claim *claim = &claims[i];

        if (!owner || strcmp(owner->group.folder, claim->group.folder) != 0)
            owner = claim;
        if (claim->reason) {
            r = drop_package(reading, claim, claim->reason);
        } else if (strcmp(owner->group.slug, claim->group.slug) != 0) {
            char printable[NAME_PRINTABLE_SIZE];

            name_printable(owner->group.slug, printable);
            const char *reason = row_format(&reading->manifest->arena,
                                            "its folder belongs to package \"%s\"", printable);

            r = reason ? drop_package(reading, claim, reason) : -ENOMEM;
        } else {
            r = read_package(reading, claim);
        }
    }
    return r;
}

int manifest_read_domains(struct reading *reading)
{
    struct manifest *manifest = reading->manifest;
    scoped_free struct claim *claims = NULL;
    size_t count = 0;
    int r = read_claims(reading, TREE_MEMORY, &claims, &count);

    for (size_t i = 0; i < count && r == 0; i++) {
        const struct tree_group *group = &claims[i].group;
        struct manifest_row row = {.row.path = NULL};

        if (!claims[i].reason) {
            r = row_read_bundle(&reading->reader, claims[i].entry, group, &row);
            claims[i].reason = r == -EBADMSG ? reading->reader.reason : NULL;
        }
        if (claims[i].reason) {
            r = manifest_judge(manifest, VERDICT_DROPPED, TREE_MEMORY, "", group->slug,
                               row.row.path, claims[i].reason);
        } else if (r == 0) {
            row.row.group = (uint32_t)manifest->group_count;
            manifest->groups[manifest->group_count++] = *group;
            manifest->rows[manifest->row_count++] = row;
        }
    }
    return r;
}
