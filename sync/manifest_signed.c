/* SPDX-License-Identifier: MIT */
/* Signed addresses. They stand in the flat "tables" alone, which are keyed by name while rows have
 * ids (contract 1.2, 1.3): so the two are joined by the name, and only where both mean the same
 * bytes. Why a wrong one does no harm: it is an address of bytes that must have the row's digest,
 * and nothing is lost where there is none. So nothing here makes a row worse. */
#include <errno.h>
#include <string.h>
#include <strings.h>

#include "cache/scoped.h"
#include "sync/manifest_private.h"

static const char *signed_url_of(const struct json *entry)
{
    return json_string(json_get(entry, "signed_url"));
}

static int by_name(const void *a, const void *b)
{
    const struct json *const *one = a, *const *other = b;

    return strcmp(json_key(*one), json_key(*other));
}

int manifest_find_signed(struct reading *reading, const struct json *root)
{
    const struct json *tables = json_get(root, "tables");
    const char *made = json_string(json_get(root, "server_time"));
    size_t count = 0;

    reading->made_ns = made ? manifest_time(made) : -1;
    if (json_type(tables) != JSON_OBJECT || reading->made_ns < 0)
        return 0;
    for (const struct json *entry = json_first(tables); entry; entry = json_next(entry))
        count += signed_url_of(entry) != NULL;
    if (count == 0)
        return 0;
    reading->signed_entries = arena_take(&reading->manifest->arena,
                                         count * sizeof(*reading->signed_entries),
                                         alignof(const struct json *));
    if (!reading->signed_entries)
        return -ENOMEM;
    for (const struct json *entry = json_first(tables); entry; entry = json_next(entry)) {
        if (signed_url_of(entry))
            reading->signed_entries[reading->signed_count++] = entry;
    }
    qsort(reading->signed_entries, count, sizeof(*reading->signed_entries), by_name);
    return 0;
}

static const struct json *find_entry(const struct reading *reading, const char *name)
{
    size_t low = 0, high = reading->signed_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(json_key(reading->signed_entries[middle]), name);

        if (order == 0)
            return reading->signed_entries[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

/* -1: for no time, or who knows. */
static int64_t signed_for_ms(const struct reading *reading, const struct json *entry)
{
    const char *text = json_string(json_get(entry, "signed_url_expires_at"));
    int64_t until_ns = text ? manifest_time(text) : -1;

    return until_ns <= reading->made_ns ? -1 : (until_ns - reading->made_ns) / 1000000;
}

int manifest_read_signed(struct reading *reading, struct manifest_row *row)
{
    bool one_file = row->file_count == 1 && row->files[0].key.kind == BLOB_MD5 &&
                    !(row->row.flags & TREE_ROW_PARTS);
    const struct json *entry = one_file ? find_entry(reading, row->row.name) : NULL;
    const char *hash = json_string(json_get(entry, "hash"));
    int64_t left_ms = entry ? signed_for_ms(reading, entry) : -1;
    scoped_free char *url = NULL;
    int r;

    if (!hash || strcasecmp(hash, row->row.md5) != 0 || left_ms < 0)
        return 0;
    r = source_signed_url(reading->reader.source, signed_url_of(entry), &url);
    if (r < 0)
        return r == -ENOMEM ? r : 0;
    row->signed_url = arena_copy(&reading->manifest->arena, url, strlen(url));
    row->signed_for_ms = left_ms;
    return row->signed_url ? 0 : -ENOMEM;
}
