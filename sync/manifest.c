/* SPDX-License-Identifier: MIT */
/* The document as a whole. Why half a manifest can not pass for one: the text is JSON to its last
 * byte or nothing, each section says for itself whether it is there, and a package or domain that
 * can not be read takes only its own rows along. What was read is settled at the end, in one place
 * and in sorted order. */
#include "sync/manifest_private.h"

#include <errno.h>
#include <stdio.h>

#include "cache/scoped.h"
#include "sync/names.h"

#define MANIFEST_BYTES ((size_t)64 << 20)
#define MANIFEST_DEPTH 32
#define MANIFEST_ROWS 1000000
#define MANIFEST_GROUPS 100000

/* One manifest_parse. */
struct reading {
    struct manifest *manifest;
    struct row_reader reader;
    const struct json *sections[TREE_SECTIONS];
    struct manifest_error *error;
};

/* The whole manifest is refused, and why. */
#define reject(ret_error, ...)                                                                     \
    (snprintf((ret_error)->message, sizeof((ret_error)->message), __VA_ARGS__), -EPROTO)

/* --- verdicts --- */

static const char *printable_copy(struct manifest *manifest, const char *label)
{
    char text[NAME_PRINTABLE_SIZE];

    if (!label || !*label)
        return "";
    name_printable(label, text);
    return arena_copy(&manifest->arena, text, strlen(text));
}

int manifest_judge(struct manifest *manifest, enum verdict_kind kind, enum tree_section section,
                   const char *group, const char *name, const char *path, const char *reason)
{
    struct verdict verdict = {
        .kind = kind,
        .section = section,
        .group = printable_copy(manifest, group),
        .name = printable_copy(manifest, name),
        .path = path ? path : "",
        .reason = reason,
    };

    if (!verdict.group || !verdict.name)
        return -ENOMEM;
    manifest->verdicts[manifest->verdict_count++] = verdict;
    return 0;
}

/* A row that nobody can name is known by its place. */
static const char *label_or_place(struct reading *reading, const struct json *entry,
                                  const char *key, const char *array, size_t position)
{
    const char *label = json_string(json_get(entry, key));

    if (label && *label)
        return label;
    return row_format(&reading->manifest->arena, "%s[%zu]", array, position);
}

/* --- tables --- */

static bool is_readable_array(const struct json *array, const char *label_key)
{
    const struct json *entry = json_first(array);

    if (json_type(array) != JSON_ARRAY)
        return false;
    if (!entry)
        return true;
    for (; entry; entry = json_next(entry))
        if (json_string(json_get(entry, label_key)))
            return true;
    return false; /* entries, but none that we could recognize */
}

static int read_tables(struct reading *reading, const struct json *tables, const char *array,
                       uint32_t group)
{
    struct manifest *manifest = reading->manifest;
    const struct tree_group *in = &manifest->groups[group];
    const char *slug = in->section == TREE_PACKAGES ? in->slug : "";
    size_t position = 0;

    for (const struct json *entry = json_first(tables); entry;
         entry = json_next(entry), position++) {
        struct manifest_row row;
        int r = row_read_table(&reading->reader, entry, in, &row);

        if (r == -EBADMSG) {
            const char *label = label_or_place(reading, entry, "name", array, position);

            r = label ? manifest_judge(manifest, VERDICT_DROPPED, in->section, slug, label,
                                       row.row.path, reading->reader.reason)
                      : -ENOMEM;
        } else if (r == 0) {
            row.row.group = group;
            manifest->rows[manifest->row_count++] = row;
        }
        if (r < 0)
            return r;
    }
    return 0;
}

static int read_direct(struct reading *reading)
{
    struct manifest *manifest = reading->manifest;
    uint32_t group = (uint32_t)manifest->group_count;

    manifest->groups[manifest->group_count++] = (struct tree_group){.section = TREE_DIRECT,
                                                                    .slug = "_direct",
                                                                    .folder = "_direct",
                                                                    .name = "",
                                                                    .description = ""};
    return read_tables(reading, reading->sections[TREE_DIRECT], "direct_tables", group);
}

/* --- packages and domains --- */

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
    *group = (struct tree_group){.section = section, .folder = "", .name = "", .description = ""};
    r = row_read_label(reader, entry, "slug", &group->slug);
    if (r == -EBADMSG)
        group->slug = label_or_place(reading, entry, "slug", tree_section_name(section), position);
    else if (r == 0 && name_from_label(group->slug, "", folder) < 0)
        r = row_drop(reader, "slug can not be the name of a folder");
    else if (r == 0 && name_is_reserved_slug(folder))
        r = row_drop(reader, "slug is reserved");
    else if (r == 0 && !(group->folder = arena_copy(reader->arena, folder, strlen(folder))))
        r = -ENOMEM;
    if (r == 0)
        r = row_read_text(reader, entry, "name", &group->name);
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
    return r ? r : strcmp(one->group.description, other->group.description);
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
        const char *label = label_or_place(reading, entry, "name", "tables", position);

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

static int read_package(struct reading *reading, const struct claim *claim)
{
    struct manifest *manifest = reading->manifest;
    const struct json *tables = json_get(claim->entry, "tables");

    if (!is_readable_array(tables, "name")) {
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
    return read_tables(reading, tables, "tables", (uint32_t)manifest->group_count - 1);
}

static int read_packages(struct reading *reading)
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

static int read_domains(struct reading *reading)
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

/* --- the whole --- */

static int find_sections(struct reading *reading, const struct json *root)
{
    struct manifest *manifest = reading->manifest;
    bool known = json_get(root, "tables") != NULL; /* what the oldest servers say instead */

    if (json_type(root) != JSON_OBJECT)
        return reject(reading->error, "the manifest is not an object");
    for (enum tree_section section = 0; section < TREE_SECTIONS; section++) {
        const struct json *array = json_get(root, tree_section_name(section));
        const char *label_key = section == TREE_DIRECT ? "name" : "slug";
        enum json_type type = json_type(array);

        known |= type != JSON_ABSENT;
        manifest->sections[section] = type == JSON_ABSENT || type == JSON_NULL ? SECTION_MISSING
                                      : is_readable_array(array, label_key)    ? SECTION_PRESENT
                                                                               : SECTION_BROKEN;
        if (type == JSON_ARRAY) {
            reading->sections[section] = array;
            manifest->entries[section] = json_count(array);
        }
    }
    return known ? 0 : reject(reading->error, "the manifest has none of the sections we know");
}

/* Counts before anything is made of it, and allocates accordingly. */
static int make_room(struct reading *reading)
{
    struct manifest *manifest = reading->manifest;
    size_t packages = manifest->entries[TREE_PACKAGES];
    size_t domains = manifest->entries[TREE_MEMORY];
    size_t rows = manifest->entries[TREE_DIRECT] + domains;

    for (const struct json *package = json_first(reading->sections[TREE_PACKAGES]); package;
         package = json_next(package))
        rows += json_count(json_get(package, "tables"));
    if (packages > MANIFEST_GROUPS || domains > MANIFEST_GROUPS)
        return reject(reading->error, "the manifest lists more than %d packages", MANIFEST_GROUPS);
    if (rows > MANIFEST_ROWS)
        return reject(reading->error, "the manifest lists more than %d tables", MANIFEST_ROWS);
    manifest->rows = calloc(rows + 1, sizeof(*manifest->rows));
    manifest->groups = calloc(1 + packages + domains, sizeof(*manifest->groups));
    manifest->verdicts = calloc(rows + packages + 1, sizeof(*manifest->verdicts));
    return manifest->rows && manifest->groups && manifest->verdicts ? 0 : -ENOMEM;
}

int manifest_parse(const char *text, size_t size, const struct source *source,
                   struct manifest **ret_manifest, struct manifest_error *ret_error)
{
    static const struct json_limits limits = {MANIFEST_BYTES, MANIFEST_DEPTH};
    scoped(manifest_freep) struct manifest *manifest = calloc(1, sizeof(*manifest));
    scoped(json_freep) struct json *root = NULL;
    struct json_error json_error = {.offset = 0};
    int r;

    if (!manifest)
        return -ENOMEM;
    r = json_parse(text, size, &limits, &root, &json_error);
    if (r == -EPROTO)
        return reject(ret_error, "%s", json_error.message);
    if (r < 0)
        return r;

    struct reading reading = {
        .manifest = manifest,
        .reader = {.arena = &manifest->arena, .source = source},
        .error = ret_error,
    };

    if ((r = find_sections(&reading, root)) < 0 || (r = make_room(&reading)) < 0 ||
        (r = read_direct(&reading)) < 0 || (r = read_packages(&reading)) < 0 ||
        (r = read_domains(&reading)) < 0 || (r = manifest_settle(manifest)) < 0)
        return r;
    *ret_manifest = take_ptr(manifest);
    return 0;
}

void manifest_free(struct manifest *manifest)
{
    if (!manifest)
        return;
    free(manifest->rows);
    free(manifest->groups);
    free(manifest->verdicts);
    arena_release(&manifest->arena);
    free(manifest);
}

void manifest_freep(struct manifest *const *manifest)
{
    manifest_free(*manifest);
}

enum section_state manifest_section(const struct manifest *manifest, enum tree_section section)
{
    return manifest->sections[section];
}

size_t manifest_section_entries(const struct manifest *manifest, enum tree_section section)
{
    return manifest->entries[section];
}

const struct manifest_row *manifest_rows(const struct manifest *manifest, size_t *ret_count)
{
    *ret_count = manifest->row_count;
    return manifest->rows;
}

const struct tree_group *manifest_groups(const struct manifest *manifest, size_t *ret_count)
{
    *ret_count = manifest->group_count;
    return manifest->groups;
}

const struct verdict *manifest_verdicts(const struct manifest *manifest, size_t *ret_count)
{
    *ret_count = manifest->verdict_count;
    return manifest->verdicts;
}
