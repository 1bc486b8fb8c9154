/* SPDX-License-Identifier: MIT */
/* A report as the document that --json, status and logs carry. Its error rows are the old engine's:
 * {"name"} for direct tables, {"package", "name"} for packages, {"slug"} for domains. */
#include "sync/report.h"

#include <errno.h>

#include "cache/scoped.h"

static int add_line(struct json *array, const struct report_line *line, const char *reason_key)
{
    struct json *object = json_add_object(array, NULL);
    const struct tree_section_facts *section = tree_section(line->section);
    int r = object ? 0 : -ENOMEM;

    if (r == 0 && section->group_key)
        r = json_add_string(object, section->group_key, line->group);
    if (r == 0)
        r = json_add_string(object, section->name_key, line->name);
    return r == 0 ? json_add_string(object, reason_key, line->reason) : r;
}

static int add_lines(struct json *object, const char *key, enum tree_section section,
                     const struct report_line *lines, size_t count, const char *reason_key)
{
    struct json *array = json_add_array(object, key);
    int r = array ? 0 : -ENOMEM;

    for (size_t i = 0; i < count && r == 0; i++)
        if (lines[i].section == section)
            r = add_line(array, &lines[i], reason_key);
    return r;
}

static int add_section(struct json *root, const struct report *report, enum tree_section section)
{
    const struct report_section *counts = &report->sections[section];
    struct json *object = json_add_object(root, tree_section_name(section));
    int r;

    if (!object)
        return -ENOMEM;
    if ((r = json_add_u64(object, "added", counts->added)) < 0 ||
        (r = json_add_u64(object, "updated", counts->updated)) < 0 ||
        (r = json_add_u64(object, "removed", counts->removed)) < 0 ||
        (r = json_add_u64(object, "unchanged", counts->unchanged)) < 0 ||
        (r = json_add_u64(object, "skipped", counts->skipped)) < 0 ||
        (r = json_add_u64(object, "bytes", counts->bytes)) < 0 ||
        (r = json_add_bool(object, "held", counts->held)) < 0)
        return r;
    r = add_lines(object, "errors", section, report->errors, report->error_count, "error");
    if (r < 0)
        return r;
    return add_lines(object, "skipped_rows", section, report->skipped, report->skipped_count,
                     "reason");
}

static int add_whole(struct json *root, const struct report *report)
{
    struct json *violations = json_add_array(root, "invariant_violations");
    int r = violations ? 0 : -ENOMEM;

    for (size_t i = 0; i < report->invariant_count && r == 0; i++)
        r = json_add_string(violations, NULL, report->invariant_violations[i]);
    if (r < 0 || (r = json_add_u64(root, "generation", report->generation)) < 0 ||
        (r = json_add_bool(root, "changed", report->changed)) < 0 ||
        (r = json_add_bool(root, "dry_run", report->dry_run)) < 0 ||
        (r = json_add_u64(root, "requests", report->requests)) < 0 ||
        (r = json_add_u64(root, "fetched", report->fetched)) < 0 ||
        (r = json_add_u64(root, "fetched_by_signed_url", report->signed_fetched)) < 0 ||
        (r = json_add_u64(root, "duration_ms", (uint64_t)(report->seconds * 1000))) < 0)
        return r;
    return json_add_string(root, "error", report->error ? report->message : NULL);
}

int report_json(const struct report *report, struct json **ret_json)
{
    scoped(json_freep) struct json *root = json_new_object();
    int r = root ? json_add_u64(root, "schema", REPORT_SCHEMA) : -ENOMEM;

    for (enum tree_section section = 0; section < TREE_SECTIONS && r == 0; section++)
        r = add_section(root, report, section);
    if (r == 0)
        r = add_whole(root, report);
    if (r == 0)
        *ret_json = take_ptr(root);
    return r;
}
