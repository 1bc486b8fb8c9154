/* SPDX-License-Identifier: MIT */
#include "fs/cli/log_entry.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cache/scoped.h"
#include "fs/cli/format.h"
#include "sync/json.h"

static const char *const names[] = {"error", "warning", "info", "debug"};

const char *log_level_name(enum log_level level)
{
    return names[level];
}

/* Without user, query and fragment; malloc'd. */
static char *plain_url(const char *url)
{
    char *copy = strdup(url);
    char *host = copy ? strstr(copy, "://") : NULL;
    char *user;

    if (!host)
        return copy;
    host += 3;
    copy[strcspn(copy, "?#")] = '\0';
    user = memchr(host, '@', strcspn(host, "/"));
    if (user)
        memmove(host, user + 1, strlen(user + 1) + 1);
    return copy;
}

/* --- text --- */

static int format_text(const struct log_entry *entry, char **ret_text, size_t *ret_size)
{
    scoped_free char *message = format_escaped(entry->message);
    char when[FORMAT_SIZE];
    int length;

    if (!message)
        return -ENOMEM;
    format_time(entry->unix_time, when);
    length = asprintf(ret_text, "%s %s %s\n", when, names[entry->level], message);
    if (length < 0)
        return -ENOMEM;
    *ret_size = (size_t)length;
    return 0;
}

/* --- JSON --- */

static int add_known(struct json *root, const char *key, const char *value)
{
    return value ? json_add_string(root, key, value) : 0;
}

static int add_number(struct json *root, const char *key, uint64_t value)
{
    return value ? json_add_u64(root, key, value) : 0;
}

static int format_json(const struct log_entry *entry, char **ret_text, size_t *ret_size)
{
    const struct log_fields *fields = &entry->fields;
    scoped(json_freep) struct json *root = json_new_object();
    scoped_free char *url = fields->url ? plain_url(fields->url) : NULL;
    char when[FORMAT_SIZE];
    int r = root ? 0 : -ENOMEM;

    if (r < 0)
        return r;
    format_time(entry->unix_time, when);
    r |= json_add_string(root, "time", when);
    r |= json_add_string(root, "level", names[entry->level]);
    r |= json_add_string(root, "message", entry->message);
    r |= add_known(root, "mountpoint", entry->mountpoint);
    r |= add_known(root, "path", fields->path);
    r |= add_known(root, "key", fields->key);
    r |= add_known(root, "url", url);
    r |= add_known(root, "errno", fields->error ? strerrorname_np(-fields->error) : NULL);
    r |= add_number(root, "reader_pid", (uint64_t)fields->reader_pid);
    r |= add_number(root, "generation", fields->generation);
    if (r < 0 || json_print(root, false, ret_text, ret_size) < 0)
        return -ENOMEM;
    (*ret_text)[(*ret_size)++] = '\n'; /* in the place of the NUL: it is bytes from here on */
    return 0;
}

/* --- the journal --- */

static int put_field(FILE *file, const char *name, const char *value)
{
    scoped_free char *escaped = value ? format_escaped(value) : NULL;

    if (!value)
        return 0;
    if (!escaped)
        return -ENOMEM;
    fprintf(file, "%s=%s\n", name, escaped);
    return 0;
}

static void put_number(FILE *file, const char *name, uint64_t value)
{
    if (value)
        fprintf(file, "%s=%llu\n", name, (unsigned long long)value);
}

static int put_fields(FILE *file, const struct log_entry *entry)
{
    static const int priorities[] = {3, 4, 6, 7}; /* of syslog */
    const struct log_fields *fields = &entry->fields;
    scoped_free char *url = fields->url ? plain_url(fields->url) : NULL;
    int r;

    fprintf(file, "PRIORITY=%d\nSYSLOG_IDENTIFIER=agnesfs\n", priorities[entry->level]);
    r = put_field(file, "MESSAGE", entry->message);
    r |= put_field(file, "AGNESFS_MOUNTPOINT", entry->mountpoint);
    r |= put_field(file, "AGNESFS_PATH", fields->path);
    r |= put_field(file, "AGNESFS_KEY", fields->key);
    r |= put_field(file, "AGNESFS_URL", url);
    put_number(file, "ERRNO", (uint64_t) - (int64_t)fields->error);
    put_number(file, "AGNESFS_READER_PID", (uint64_t)fields->reader_pid);
    put_number(file, "AGNESFS_GENERATION", fields->generation);
    return r;
}

static int format_journal(const struct log_entry *entry, char **ret_text, size_t *ret_size)
{
    char *text = NULL;
    FILE *file = open_memstream(&text, ret_size);
    int r = file ? put_fields(file, entry) : -ENOMEM;

    if (file && fclose(file) != 0)
        r = -ENOMEM;
    if (r < 0) {
        free(text);
        return -ENOMEM;
    }
    *ret_text = text;
    return 0;
}

int log_entry_format(const struct log_entry *entry, enum log_format format, char **ret_text,
                     size_t *ret_size)
{
    switch (format) {
    case LOG_JSON: return format_json(entry, ret_text, ret_size);
    case LOG_JOURNAL: return format_journal(entry, ret_text, ret_size);
    case LOG_TEXT:
    default: return format_text(entry, ret_text, ret_size);
    }
}
