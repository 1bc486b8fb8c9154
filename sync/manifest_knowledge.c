/* SPDX-License-Identifier: MIT */
/* Knowledge artifacts (contract 1.5). Two kinds of rows share one array and know each other's keys by
 * nothing but "kind", so each kind is a line of a table here and there is one reader. Why a bad kind
 * takes no file away: what kind a row was is told by its other keys as well. */
#include "sync/manifest_private.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cache/scoped.h"
#include "sync/names.h"

#define ARRAY "knowledge_artifacts"

struct kind {
    const char *word; /* the manifest's, and the slug of its group */
    const char *label_key;
    const char *id_key;
    const char *title_key;
    const char *updated_key;
    const char *suffix;
};

static const struct kind kinds[] = {
    {TREE_KIND_CHUNKS, "corpus_id", "corpus_id", "name", "built_at", ".duckdb"},
    {TREE_KIND_DIGEST, "slug", "id", "title", "generated_at", ".md"},
};

#define KINDS (sizeof(kinds) / sizeof(*kinds))

/* By its word; without one a row is chunks, as the first servers had no other, unless it can only be
 * the other. NULL: a word that we never heard of. */
static const struct kind *find_kind(const struct json *entry)
{
    const char *word = json_string(json_get(entry, "kind"));

    for (size_t i = 0; i < KINDS; i++)
        if (word ? !strcmp(kinds[i].word, word) : json_get(entry, kinds[i].label_key) != NULL)
            return &kinds[i];
    return word ? NULL : &kinds[0];
}

bool manifest_can_read_knowledge(const struct json *array)
{
    if (json_type(array) != JSON_ARRAY)
        return false;
    for (const struct json *entry = json_first(array); entry; entry = json_next(entry))
        if (!find_kind(entry))
            return true; /* not ours to read, but an entry */
    for (size_t i = 0; i < KINDS; i++)
        if (manifest_can_read(array, kinds[i].label_key))
            return true;
    return false;
}

/* --- one row --- */

/* The server's md5 covers all but the title, which stands in the page too. Where there is no md5,
 * what the manifest says of its state is the next best. */
static int digest_token(struct row_reader *reader, const char *status, const char *reason,
                        struct tree_row *row)
{
    bool hashed = *row->md5;

    return row_set_token(reader, row, "%s\n%zu %s\n%s\n%s\n%s", row->md5, strlen(row->title),
                         row->title, hashed ? "" : status, hashed ? "" : row->updated,
                         hashed ? "" : reason);
}

static int read_digest(struct row_reader *reader, const struct json *entry,
                       struct manifest_row *row)
{
    struct manifest_file *file = arena_take(reader->arena, sizeof(*file),
                                            alignof(struct manifest_file));
    const char *status = "", *reason = "";
    int r;

    if (!file)
        return -ENOMEM;
    *file = (struct manifest_file){.size_limit = MANIFEST_BUNDLE_MAX};
    row->files = file;
    row->file_count = 1;
    if ((r = row_read_md5(reader, entry, &row->row.md5)) < 0 ||
        (r = row_read_prose(reader, entry, "status", &status)) < 0 ||
        (r = row_read_prose(reader, entry, "status_reason", &reason)) < 0)
        return r;
    if (!strcmp(status, "stale"))
        row->row.flags |= TREE_ROW_STALE;
    return digest_token(reader, status, reason, &row->row);
}

static int read_chunks(struct row_reader *reader, const struct json *entry,
                       struct manifest_row *row)
{
    uint64_t chunks;

    if (json_u64(json_get(entry, "chunks"), &chunks) == 0)
        row->row.rows = (int64_t)chunks;
    return row_read_content(reader, entry, row);
}

static int read_row(struct row_reader *reader, const struct json *entry, const struct kind *kind,
                    const struct tree_group *group, struct manifest_row *ret_row)
{
    enum json_type word = json_type(json_get(entry, "kind"));
    int r;

    *ret_row = (struct manifest_row){.section = group->section,
                                     .form = tree_group_form(group),
                                     .updated_ns = -1};
    ret_row->row = (struct tree_row){.rows = -1, .token = "", .md5 = "", .query_mode = ""};
    if ((r = row_read_label(reader, entry, kind->label_key, &ret_row->row.name)) < 0 ||
        (r = row_find_path(reader, tree_section(group->section)->folder, kind->suffix, ret_row)) <
            0)
        return r;
    if (word != JSON_ABSENT && word != JSON_NULL && word != JSON_STRING)
        return row_drop(reader, "kind is not a string");
    if ((r = row_read_text(reader, entry, kind->id_key, &ret_row->row.table_id)) < 0 ||
        (r = row_read_text(reader, entry, "url", &ret_row->row.url)) < 0 ||
        (r = row_read_prose(reader, entry, kind->title_key, &ret_row->row.title)) < 0 ||
        (r = row_read_prose(reader, entry, kind->updated_key, &ret_row->row.updated)) < 0 ||
        (r = row_read_withheld(reader, entry, ret_row)) < 0)
        return r;
    ret_row->updated_ns = manifest_time(ret_row->row.updated);
    r = ret_row->form == FORM_DIGEST ? read_digest(reader, entry, ret_row)
                                     : read_chunks(reader, entry, ret_row);
    return r < 0 || ret_row->row.withheld ? r : row_check_url(reader, ret_row, "url");
}

/* --- all of them --- */

/* A newer server's business: no error, and nothing that we could show. */
static int judge_unknown(struct reading *reading, const struct json *entry, size_t position)
{
    struct manifest *manifest = reading->manifest;
    const char *word = json_string(json_get(entry, "kind"));
    const char *label = manifest_label_or_place(reading, entry, "id", ARRAY, position);
    char printable[NAME_PRINTABLE_SIZE];
    const char *reason;

    name_printable(word, printable);
    reason = row_format(&manifest->arena, "unknown kind \"%s\"", printable);
    return label && reason ? manifest_judge(manifest, VERDICT_WITHHELD, TREE_KNOWLEDGE, word, label,
                                            NULL, reason)
                           : -ENOMEM;
}

static int read_entry(struct reading *reading, const struct json *entry, size_t position,
                      uint32_t first_group)
{
    struct manifest *manifest = reading->manifest;
    const struct kind *kind = find_kind(entry);
    struct manifest_row row;

    if (!kind)
        return judge_unknown(reading, entry, position);

    uint32_t group = first_group + (uint32_t)(kind - kinds);
    const char *label = manifest_label_or_place(reading, entry, kind->label_key, ARRAY, position);
    int r = label ? read_row(&reading->reader, entry, kind, &manifest->groups[group], &row)
                  : -ENOMEM;

    if (r == -EBADMSG)
        return manifest_judge(manifest, VERDICT_DROPPED, TREE_KNOWLEDGE, kind->word, label,
                              row.row.path, reading->reader.reason);
    if (r == 0) {
        row.row.group = group;
        manifest->rows[manifest->row_count++] = row;
    }
    return r;
}

int manifest_read_knowledge(struct reading *reading)
{
    struct manifest *manifest = reading->manifest;
    uint32_t first_group = (uint32_t)manifest->group_count;
    size_t position = 0;
    int r = 0;

    for (size_t i = 0; i < KINDS; i++)
        manifest->groups[manifest->group_count++] = (struct tree_group){.section = TREE_KNOWLEDGE,
                                                                        .slug = kinds[i].word,
                                                                        .folder = kinds[i].word,
                                                                        .name = "",
                                                                        .description = ""};
    for (const struct json *entry = json_first(reading->sections[TREE_KNOWLEDGE]); entry && r == 0;
         entry = json_next(entry), position++)
        r = read_entry(reading, entry, position, first_group);
    return r;
}
