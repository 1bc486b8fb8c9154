/* SPDX-License-Identifier: MIT */
/* The document as a whole. Why half a manifest can not pass for one: the text is JSON to its last
 * byte or nothing, each section says for itself whether it is there, and a package or domain that
 * can not be read takes only its own rows along. What was read is settled at the end, in one place
 * and in sorted order. */
#include "sync/manifest_private.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cache/scoped.h"
#include "sync/names.h"

#define MANIFEST_DEPTH 32
#define MANIFEST_ROWS 1000000
#define MANIFEST_GROUPS 100000
#define OTHER_GROUPS 3 /* direct tables, chunks, digests */

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
const char *manifest_label_or_place(struct reading *reading, const struct json *entry,
                                    const char *key, const char *array, size_t position)
{
    const char *label = json_string(json_get(entry, key));

    if (label && *label)
        return label;
    return row_format(&reading->manifest->arena, "%s[%zu]", array, position);
}

/* --- tables --- */

bool manifest_can_read(const struct json *array, const char *label_key)
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

/* A bad one is dropped, not an error. */
static int read_table(struct reading *reading, const struct json *entry, uint32_t group,
                      const char *label)
{
    struct manifest *manifest = reading->manifest;
    const struct tree_group *in = &manifest->groups[group];
    const char *slug = tree_section(in->section)->group_key ? in->slug : "";
    struct manifest_row row;
    int r = row_read_table(&reading->reader, entry, in, &row);

    if (r == -EBADMSG)
        return manifest_judge(manifest, VERDICT_DROPPED, in->section, slug, label, row.row.path,
                              reading->reader.reason);
    if (r == 0)
        r = manifest_read_signed(reading, &row);
    if (r == 0) {
        row.row.group = group;
        manifest->rows[manifest->row_count++] = row;
    }
    return r;
}

int manifest_read_tables(struct reading *reading, const struct json *tables, const char *array,
                         uint32_t group)
{
    size_t position = 0;
    int r = 0;

    for (const struct json *entry = json_first(tables); entry && r == 0;
         entry = json_next(entry), position++) {
        const char *label = manifest_label_or_place(reading, entry, "name", array, position);

        r = label ? read_table(reading, entry, group, label) : -ENOMEM;
    }
    return r;
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
    return manifest_read_tables(reading, reading->sections[TREE_DIRECT], "direct_tables", group);
}

/* Servers from before packages say only {name: table} (contract 1.10). */
static int read_flat(struct reading *reading)
{
    struct manifest *manifest = reading->manifest;
    struct row_reader *reader = &reading->reader;
    uint32_t group = (uint32_t)manifest->group_count;
    int r = 0;

    manifest->groups[manifest->group_count++] = (struct tree_group){.section = TREE_DIRECT,
                                                                    .slug = NAME_FLAT,
                                                                    .folder = NAME_FLAT,
                                                                    .name = "",
                                                                    .description = ""};
    for (const struct json *entry = json_first(reading->flat); entry && r == 0;
         entry = json_next(entry)) {
        reader->label = json_key(entry);
        r = read_table(reading, entry, group, reader->label);
    }
    reader->label = NULL;
    return r;
}

/* --- the whole --- */

static bool can_read(enum tree_section section, const struct json *array)
{
    return section == TREE_KNOWLEDGE
               ? manifest_can_read_knowledge(array)
               : manifest_can_read(array, section == TREE_DIRECT ? "name" : "slug");
}

static int find_sections(struct reading *reading, const struct json *root)
{
    struct manifest *manifest = reading->manifest;
    const struct json *flat = json_get(root, "tables");
    bool typed = false;

    if (json_type(root) != JSON_OBJECT)
        return reject(reading->error, "the manifest is not an object");
    for (enum tree_section section = 0; section < TREE_SECTIONS; section++) {
        const struct json *array = json_get(root, tree_section_name(section));
        enum json_type type = json_type(array);

        typed |= type != JSON_ABSENT;
        manifest->sections[section] = type == JSON_ABSENT || type == JSON_NULL ? SECTION_MISSING
                                      : can_read(section, array)               ? SECTION_PRESENT
                                                                               : SECTION_BROKEN;
        if (type == JSON_ARRAY) {
            reading->sections[section] = array;
            manifest->entries[section] = json_count(array);
        }
    }
    if (!typed && json_type(flat) == JSON_OBJECT && json_first(flat)) {
        reading->flat = flat;
        manifest->flat = true;
        manifest->sections[TREE_DIRECT] = SECTION_PRESENT;
        manifest->entries[TREE_DIRECT] = json_count(flat);
    }
    return typed || flat ? 0
                         : reject(reading->error, "the manifest has none of the sections we know");
}

/* Counts before anything is made of it, and allocates accordingly. */
static int make_room(struct reading *reading)
{
    struct manifest *manifest = reading->manifest;
    size_t packages = manifest->entries[TREE_PACKAGES];
    size_t domains = manifest->entries[TREE_MEMORY];
    size_t rows = manifest->entries[TREE_DIRECT] + domains + manifest->entries[TREE_KNOWLEDGE];

    for (const struct json *package = json_first(reading->sections[TREE_PACKAGES]); package;
         package = json_next(package))
        rows += json_count(json_get(package, "tables"));
    if (packages > MANIFEST_GROUPS || domains > MANIFEST_GROUPS)
        return reject(reading->error, "the manifest lists more than %d packages", MANIFEST_GROUPS);
    if (rows > MANIFEST_ROWS)
        return reject(reading->error, "the manifest lists more than %d tables", MANIFEST_ROWS);
    manifest->rows = calloc(rows + 1, sizeof(*manifest->rows));
    manifest->groups = calloc(packages + domains + OTHER_GROUPS, sizeof(*manifest->groups));
    manifest->verdicts = calloc(rows + packages + 1, sizeof(*manifest->verdicts));
    return manifest->rows && manifest->groups && manifest->verdicts ? 0 : -ENOMEM;
}

int manifest_parse(const char *text, size_t size, const struct source *source,
                   struct manifest **ret_manifest, struct manifest_error *ret_error)
{
    static const struct json_limits limits = {MANIFEST_BYTES_MAX, MANIFEST_DEPTH,
                                              MANIFEST_VALUES_MAX};
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
        (r = manifest_find_signed(&reading, root)) < 0 ||
        (r = reading.flat ? read_flat(&reading) : read_direct(&reading)) < 0 ||
        (r = manifest_read_packages(&reading)) < 0 || (r = manifest_read_domains(&reading)) < 0 ||
        (r = manifest_read_knowledge(&reading)) < 0 || (r = manifest_settle(manifest)) < 0)
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

int manifest_explain(struct manifest *manifest, uint32_t group, const char *reason)
{
    const char *copy = arena_copy(&manifest->arena, reason, strlen(reason));
    const char *slug = printable_copy(manifest, manifest->groups[group].slug);

    if (!copy || !slug)
        return -ENOMEM;
    for (size_t i = 0; i < manifest->row_count; i++) {
        struct manifest_row *row = &manifest->rows[i];

        if (row->asks && row->row.group == group) {
            row->row.withheld = copy;
            row->asks = NULL;
        }
    }
    for (size_t i = 0; i < manifest->verdict_count; i++) {
        struct verdict *verdict = &manifest->verdicts[i];

        if (verdict->section == TREE_PACKAGES && strcmp(verdict->group, slug) == 0 &&
            strcmp(verdict->reason, MANIFEST_UNEXPLAINED) == 0)
            verdict->reason = copy;
    }
    return 0;
}

bool manifest_is_flat(const struct manifest *manifest)
{
    return manifest->flat;
}

void manifest_disbelieve(struct manifest *manifest)
{
    manifest->row_count = 0;
    manifest->group_count = 0;
    manifest->verdict_count = 0;
    for (enum tree_section section = 0; section < TREE_SECTIONS; section++)
        manifest->sections[section] = SECTION_MISSING;
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
