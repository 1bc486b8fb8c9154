/* SPDX-License-Identifier: MIT */
/* manifest_judge.h - what a manifest became, as text, one line each, to be compared as a whole:
 *
 *     reject: why                                 none of it counts; the only line then
 *     hold data_packages                          the section is missing or broken
 *     [sales]                                     a package
 *     + data/sales/orders.parquet md5-...-5       listed; "unverified", "<=limit" where it applies
 *     - sales/orders: why                         dropped
 *     ~ sales/orders: why                         withheld
 */
#pragma once

#include "tests/unit/sync/stack_fixture.h"

struct text {
    char *bytes;
    size_t size;
    FILE *file;
};

static inline void text_open(struct text *text)
{
    *text = (struct text){.bytes = NULL};
    text->file = open_memstream(&text->bytes, &text->size);
    assert_non_null(text->file);
}

static inline void describe_row(FILE *out, const struct manifest_row *row)
{
    if (row->row.withheld)
        return;
    fprintf(out, "+ %s", row->row.path);
    for (size_t i = 0; i < row->file_count; i++) {
        const struct manifest_file *file = &row->files[i];
        char key[BLOB_KEY_TEXT_SIZE];

        if (file->part)
            fprintf(out, " %s", file->part);
        blob_key_format(&file->key, key);
        if (file->key.kind == BLOB_NONE)
            fprintf(out, " <=%llu", (unsigned long long)file->size_limit);
        else
            fprintf(out, " %s", key);
        if (file->key.kind != BLOB_NONE)
            assert_int_equal(file->size_limit, file->key.size);
    }
    fprintf(out, "%s\n", row->row.flags & TREE_ROW_UNVERIFIED ? " unverified" : "");
    assert_int_equal(!!(row->row.flags & TREE_ROW_PARTS), row->files[0].part != NULL);
}

static inline char *describe(const struct manifest *manifest)
{
    struct text text;
    size_t count;
    const struct tree_group *groups = manifest_groups(manifest, &count);

    text_open(&text);
    for (enum tree_section section = 0; section < TREE_SECTIONS; section++)
        if (manifest_section(manifest, section) != SECTION_PRESENT &&
            (!tree_section(section)->is_optional ||
             manifest_section(manifest, section) == SECTION_BROKEN))
            fprintf(text.file, "hold %s\n", tree_section_name(section));
    for (size_t i = 0; i < count; i++)
        if (groups[i].section == TREE_PACKAGES)
            fprintf(text.file, "[%s]\n", groups[i].folder);

    const struct manifest_row *rows = manifest_rows(manifest, &count);

    for (size_t i = 0; i < count; i++)
        describe_row(text.file, &rows[i]);

    const struct verdict *verdicts = manifest_verdicts(manifest, &count);

    for (size_t i = 0; i < count; i++)
        fprintf(text.file, "%c %s%s%s: %s\n", verdicts[i].kind == VERDICT_WITHHELD ? '~' : '-',
                verdicts[i].group, *verdicts[i].group ? "/" : "", verdicts[i].name,
                verdicts[i].reason);
    fclose(text.file);
    return text.bytes;
}

static inline char *judge(const char *where, const char *text, size_t size)
{
    struct manifest *manifest = NULL;
    struct manifest_error error = {""};
    char *found = NULL;
    int r = parse_at(where, text, size, &manifest, &error);

    if (r == 0) {
        found = describe(manifest);
    } else {
        assert_int_equal(r, -EPROTO);
        assert_true(error.message[0] != '\0');
        assert_true(asprintf(&found, "reject: %s\n", error.message) > 0);
    }
    manifest_free(manifest);
    return found;
}
