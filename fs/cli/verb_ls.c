/* SPDX-License-Identifier: MIT */
/* verb_ls.c - reads the cache that mount and sync keep; of a mount only its source and its cache's
 * folder are asked, by its control socket. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cache/scoped.h"
#include "fs/cli/catalogue.h"
#include "fs/cli/format.h"
#include "fs/cli/session.h"
#include "fs/cli/target.h"
#include "sync/state.h"

enum { PATIENCE_MS = 10 * 1000 };

/* The folder of a mount's cache. */
static int mount_cache(const char *dir, char **ret_path, struct complaint *ret_complaint)
{
    scoped(target_release) struct target target = {0};
    scoped(json_freep) struct json *root = NULL;
    const char *path;

    if (target_find(dir, &target, ret_complaint) < 0 ||
        target_ask(&target, "status", false, PATIENCE_MS, &root, NULL, ret_complaint) < 0)
        return -EIO;
    path = json_string(json_get(root, "cache_dir"));
    *ret_path = path ? strdup(path) : NULL;
    return *ret_path ? 0 : complain(ret_complaint, EXIT_FAILED, dir, "its process names no cache");
}

static int open_mount(const char *dir, struct session *ret_session, struct complaint *ret_complaint)
{
    int r = mount_cache(dir, &ret_session->cache_dir, ret_complaint);

    if (r < 0)
        return r;
    r = store_open(ret_session->cache_dir, STORE_READER, &ret_session->store);
    return r < 0 ? complain_store(ret_complaint, ret_session->cache_dir, r, 0, NULL) : 0;
}

static int load(const struct session *session, struct state *ret_state,
                struct complaint *ret_complaint)
{
    char why[160] = "";
    bool previous;
    int r = state_load(store_dirfd(session->store), NULL, NULL, ret_state, &previous, why);

    if (r == -ENOENT) {
        complain(ret_complaint, EXIT_FAILED, session->cache_dir, "no generation is known yet");
        complaint_hint(ret_complaint, "agnesfs sync");
    } else if (r == -EBADMSG) {
        complain(ret_complaint, EXIT_INTEGRITY, session->cache_dir, "state file unreadable: %s",
                 why);
        complaint_hint(ret_complaint, "agnesfs verify --repair");
    } else if (r < 0) {
        complain(ret_complaint, EXIT_DISK, session->cache_dir, "%s", strerror(-r));
    }
    return r;
}

/* A withheld row has no path: its name stands for it. */
static const char *label(const struct tree *tree, const struct tree_row *row, char *buffer,
                         size_t size)
{
    if (row->path)
        return row->path;
    catalogue_name(tree, row, buffer, size);
    return buffer;
}

static int print_text(const struct tree *tree, struct store *store, const char *glob, bool quiet)
{
    static const char *const titles[] = {"PATH", ">SIZE", ">ROWS", "STATE", "UPDATED"};
    scoped(table_freep) struct table *table = table_new(titles, 5);
    size_t shown = 0;

    for (uint32_t i = 0; table && i < tree_row_count(tree); i++) {
        const struct tree_row *row = tree_row(tree, i);
        char name[1024];
        char bytes[FORMAT_SIZE];
        char rows[FORMAT_SIZE] = "";
        char state[256];

        if (!catalogue_matches(tree, row, glob))
            continue;
        format_bytes(row->size, bytes);
        if (row->rows >= 0)
            snprintf(rows, sizeof(rows), "%" PRId64, row->rows);
        snprintf(state, sizeof(state), "%s%s%.200s",
                 catalogue_state(row, catalogue_residence(tree, row, store)),
                 row->withheld ? ": " : "", row->withheld ? row->withheld : "");

        const char *const cells[] = {label(tree, row, name, sizeof(name)), bytes, rows, state,
                                     row->updated};

        if (table_add(table, cells) < 0)
            return -ENOMEM;
        shown++;
    }
    if (!table)
        return -ENOMEM;
    if (shown > 0 && !quiet)
        table_print(table, stdout);
    return 0;
}

static int add_row(struct json *list, const struct tree *tree, const struct tree_row *row,
                   struct store *store)
{
    const struct tree_group *group = tree_group(tree, row->group);
    struct json *object = json_add_object(list, NULL);

    if (!object)
        return -ENOMEM;

    int r = json_add_string(object, "path", row->path);

    r |= json_add_string(object, "section", tree_section_name(group->section));
    r |= json_add_string(object, "group", group->slug);
    r |= json_add_string(object, "name", row->name);
    r |= json_add_string(object, "table_id", *row->table_id ? row->table_id : NULL);
    r |= json_add_u64(object, "size", row->size);
    r |= row->rows >= 0 ? json_add_i64(object, "rows", row->rows)
                        : json_add_string(object, "rows", NULL);
    r |= json_add_string(object, "state",
                         catalogue_state(row, catalogue_residence(tree, row, store)));
    r |= json_add_string(object, "updated", *row->updated ? row->updated : NULL);
    r |= json_add_string(object, "query_mode", *row->query_mode ? row->query_mode : NULL);
    r |= json_add_string(object, "withheld", row->withheld);
    return r < 0 ? -ENOMEM : 0;
}

static int print_json(const struct tree *tree, struct store *store, const char *glob)
{
    scoped(json_freep) struct json *list = json_new_array();
    scoped_free char *text = NULL;
    size_t size;
    int r = list ? 0 : -ENOMEM;

    for (uint32_t i = 0; r == 0 && i < tree_row_count(tree); i++)
        if (catalogue_matches(tree, tree_row(tree, i), glob))
            r = add_row(list, tree, tree_row(tree, i), store);
    if (r == 0)
        r = json_print(list, true, &text, &size);
    if (r == 0)
        fputs(text, stdout);
    return r;
}

int verb_ls(const struct options *options)
{
    const char *first = options_operand(options, 0);
    bool only_dir = options_operand_count(options) == 1 && target_is_mount(first);
    const char *glob = only_dir ? NULL : first;
    const char *dir = only_dir ? first : options_operand(options, 1);
    scoped(session_close) struct session session = {0};
    scoped(state_release) struct state state = {0};
    struct complaint complaint;
    int r;

    if ((dir ? open_mount(dir, &session, &complaint)
             : session_open(options, NULL, STORE_READER, &session, &complaint)) < 0 ||
        load(&session, &state, &complaint) < 0)
        return complaint_print(&complaint, options_flag(options, FLAG_JSON));
    if (options_flag(options, FLAG_JSON))
        r = print_json(state.tree, session.store, glob);
    else
        r = print_text(state.tree, session.store, glob, options_flag(options, FLAG_QUIET));
    if (r == 0)
        return EXIT_OK;
    complain(&complaint, EXIT_FAILED, "ls", "%s", strerror(-r));
    return complaint_print(&complaint, options_flag(options, FLAG_JSON));
}
