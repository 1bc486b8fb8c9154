/* SPDX-License-Identifier: MIT */
/* verb_ls.c - reads the cache that mount and sync keep; of a mount only its source and its cache's
 * folder are asked, by its control socket. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cache/scoped.h"
#include "fs/cli/catalogue.h"
#include "fs/cli/document.h"
#include "fs/cli/format.h"
#include "fs/cli/session.h"
#include "fs/cli/target.h"
#include "sync/pins.h"
#include "sync/state.h"

enum { PATIENCE_MS = 10 * 1000 };

/* The folders of a mount's cache and state, and what it shows of them. */
static int mount_folders(const char *dir, struct session *ret_session,
                         struct complaint *ret_complaint)
{
    scoped(target_release) struct target target = {0};
    scoped(json_freep) struct json *root = NULL;
    const char *path;

    if (target_find(dir, &target, ret_complaint) < 0 ||
        target_ask(&target, &(struct control_request){.verb = "status"}, PATIENCE_MS, &root, NULL,
                   ret_complaint) < 0)
        return -EIO;
    path = json_string(json_get(root, "cache_dir"));
    ret_session->cache_dir = path ? strdup(path) : NULL;
    path = json_string(json_get(root, "state_dir"));
    ret_session->state_dir = path ? strdup(path) : NULL;
    if (!ret_session->cache_dir)
        return complain(ret_complaint, EXIT_FAILED, dir, "its process names no cache");
    if (filter_new(json_string(json_get(root, "only")), json_string(json_get(root, "except")),
                   &ret_session->filter) < 0)
        return complain(ret_complaint, EXIT_FAILED, dir, "its process names no filter");
    return 0;
}

static int open_mount(const char *dir, struct session *ret_session, struct complaint *ret_complaint)
{
    int r = mount_folders(dir, ret_session, ret_complaint);

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

    if (r == 0)
        r = session_view(session, NULL, NULL, &ret_state->tree);
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

/* What is shown of each row comes from here. */
struct listing {
    const struct tree *tree;
    struct store *store;
    struct pins *pins; /* NULL: not known */
    const char *glob;
};

static bool is_pinned(const struct listing *listing, const struct tree_row *row)
{
    return listing->pins && row->path && pins_match(listing->pins, listing->tree, row);
}

static int print_text(const struct listing *listing, bool quiet)
{
    const struct tree *tree = listing->tree;
    static const char *const titles[] = {"PATH", ">SIZE", ">ROWS", "STATE", "UPDATED"};
    scoped(table_freep) struct table *table = table_new(titles, 5);
    size_t shown = 0;

    for (uint32_t i = 0; table && i < tree_row_count(tree); i++) {
        const struct tree_row *row = tree_row(tree, i);
        char name[1024];
        char bytes[FORMAT_SIZE];
        char rows[FORMAT_SIZE] = "";
        char state[256];

        if (!catalogue_matches(tree, row, listing->glob))
            continue;
        format_bytes(row->size, bytes);
        if (row->rows >= 0)
            snprintf(rows, sizeof(rows), "%" PRId64, row->rows);
        snprintf(state, sizeof(state), "%s%s%.200s%s",
                 catalogue_state(row, catalogue_residence(tree, row, listing->store)),
                 row->withheld ? ": " : "", row->withheld ? row->withheld : "",
                 is_pinned(listing, row) ? ", pinned" : "");

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

static int add_row(struct json *list, const struct listing *listing, const struct tree_row *row)
{
    const struct tree *tree = listing->tree;
    const struct tree_group *group = tree_group(tree, row->group);
    struct json *object = json_add_object(list, NULL);

    if (!object)
        return -ENOMEM;

    int r = json_add_string(object, "path", row->path);

    r |= json_add_string(object, "section", tree_section_name(group->section));
    r |= json_add_string(object, "group", group->slug);
    r |= json_add_string(object, "name", row->name);
    r |= json_add_string(object, "title", *row->title ? row->title : NULL);
    r |= json_add_string(object, "table_id", *row->table_id ? row->table_id : NULL);
    r |= json_add_u64(object, "size", row->size);
    r |= row->rows >= 0 ? json_add_i64(object, "rows", row->rows)
                        : json_add_string(object, "rows", NULL);
    r |= json_add_string(object, "state",
                         catalogue_state(row, catalogue_residence(tree, row, listing->store)));
    r |= json_add_bool(object, "pinned", is_pinned(listing, row));
    r |= json_add_string(object, "updated", *row->updated ? row->updated : NULL);
    r |= json_add_string(object, "query_mode", *row->query_mode ? row->query_mode : NULL);
    r |= json_add_string(object, "withheld", row->withheld);
    return r < 0 ? -ENOMEM : 0;
}

static int print_json(const struct listing *listing)
{
    const struct tree *tree = listing->tree;
    scoped(json_freep) struct json *root = document_new();
    struct json *list = root ? json_add_array(root, "rows") : NULL;
    int r = list ? 0 : -ENOMEM;

    for (uint32_t i = 0; r == 0 && i < tree_row_count(tree); i++)
        if (catalogue_matches(tree, tree_row(tree, i), listing->glob))
            r = add_row(list, listing, tree_row(tree, i));
    return r < 0 ? r : document_print(root);
}

/* Not to know them is no reason not to list. */
static struct pins *open_pins(const struct session *session)
{
    scoped_fd int dirfd = session->state_dir
                              ? open(session->state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
                              : -1;
    struct pins *pins = NULL;

    return dirfd >= 0 && pins_open(dirfd, &pins) == 0 ? pins : NULL;
}

int verb_ls(const struct options *options)
{
    const char *first = options_operand(options, 0);
    bool only_dir = options_operand_count(options) == 1 && target_is_mount(first);
    const char *glob = only_dir ? NULL : first;
    const char *dir = only_dir ? first : options_operand(options, 1);
    scoped(target_release) struct target only = {0};
    scoped(session_close) struct session session = {0};
    scoped(state_release) struct state state = {0};
    struct complaint complaint;
    int r;

    if (!dir && target_unsaid(options, &only))
        dir = only.mountpoint;
    if ((dir ? open_mount(dir, &session, &complaint)
             : session_open(options, NULL, STORE_READER, &session, &complaint)) < 0 ||
        load(&session, &state, &complaint) < 0)
        return complaint_print(&complaint, options_flag(options, FLAG_JSON));

    scoped(pins_closep) struct pins *pins = open_pins(&session);
    const struct listing listing = {state.tree, session.store, pins, glob};

    if (options_flag(options, FLAG_JSON))
        r = print_json(&listing);
    else
        r = print_text(&listing, options_flag(options, FLAG_QUIET));
    if (r == 0)
        return EXIT_OK;
    complain(&complaint, EXIT_FAILED, "ls", "%s", strerror(-r));
    return complaint_print(&complaint, options_flag(options, FLAG_JSON));
}
