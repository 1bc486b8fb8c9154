/* SPDX-License-Identifier: MIT */
/* verb_sql.c - prints the mount's own .agnes/duckdb.sql, whose paths are absolute. The process
 * behind the mount is asked first: it says what a dead or hanging mount would not. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cache/scoped.h"
#include "fs/cli/document.h"
#include "fs/cli/options.h"
#include "fs/cli/target.h"
#include "fs/cli/verbs.h"
#include "sync/guide.h"

enum { PATIENCE_MS = 10 * 1000 };

static void fclose_at(FILE *const *file)
{
    if (*file)
        fclose(*file);
}

/* The whole file, malloc'd, one NUL added. */
static int load(const char *path, char **ret_text)
{
    scoped(fclose_at) FILE *file = fopen(path, "re");
    scoped_free char *text = NULL;
    size_t room = 0;

    if (!file)
        return negative_errno();
    if (getdelim(&text, &room, '\0', file) < 0) /* it has no NUL, so that is all of it */
        return negative_errno();
    *ret_text = take_ptr(text);
    return 0;
}

static int find_text(const struct options *options, char **ret_text,
                     struct complaint *ret_complaint)
{
    scoped(target_release) struct target target = {0};
    scoped(json_freep) struct json *root = NULL;
    scoped_free char *path = NULL;
    int r;

    if (target_find(options_operand(options, 0), &target, ret_complaint) < 0 ||
        target_ask(&target, &(struct control_request){.verb = "status"}, PATIENCE_MS, &root, NULL,
                   ret_complaint) < 0)
        return -EIO;
    if (asprintf(&path, "%s/.agnes/" GUIDE_SQL, target.mountpoint) < 0) {
        path = NULL;
        return complain(ret_complaint, EXIT_FAILED, "sql", "%s", strerror(ENOMEM));
    }
    r = load(path, ret_text);
    return r < 0 ? complain(ret_complaint, EXIT_FAILED, path, "%s", strerror(-r)) : 0;
}

static int print_json(const char *sql)
{
    scoped(json_freep) struct json *root = document_new();
    int r = root ? json_add_string(root, "sql", sql) : -ENOMEM;

    return r < 0 ? r : document_print(root);
}

int verb_sql(const struct options *options)
{
    bool json = options_flag(options, FLAG_JSON);
    scoped_free char *sql = NULL;
    struct complaint complaint;

    if (find_text(options, &sql, &complaint) < 0)
        return complaint_print(&complaint, json);
    if (!json)
        fputs(sql, stdout);
    else if (print_json(sql) < 0) {
        complain(&complaint, EXIT_FAILED, "sql", "%s", strerror(ENOMEM));
        return complaint_print(&complaint, json);
    }
    return EXIT_OK;
}
