/* SPDX-License-Identifier: MIT */
/* verb_umount.c - asks nothing of the mounted folder: a dead or hanging one must end too. Done means
 * that the process behind it has let go of everything, so that mounting again works at once. One that
 * is busy stays as it is, and who keeps it is listed (holders.h); with --json as
 *
 *     the members of an error, "mountpoint", "unseen": processes that we may not look into, "partial":
 *     there may be more, "holders": [{"pid": null for another mount in it, "uid", "user": null if not
 *     known, "command", "how": "file" | "cwd" | "root" | "mmap" | "mount", "other_namespace", "path":
 *     below the mount, "" for the mount itself}] */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cache/scoped.h"
#include "fs/cli/control.h"
#include "fs/cli/document.h"
#include "fs/cli/format.h"
#include "fs/cli/holders.h"
#include "fs/cli/mounts.h"
#include "fs/cli/options.h"
#include "fs/cli/target.h"
#include "fs/cli/unmount.h"

enum { GONE_MS = 10 * 1000, GONE_SOON_MS = 1000, STOP_MS = 2000, HOLDERS_MS = 1200, ROWS_MAX = 20 };

/* Nothing is mounted (yet, or any more), but its process lives: it waits for its first manifest, or
 * for the last open file after a lazy umount. */
static bool tell_to_stop(const struct target *target)
{
    scoped_free char *text = NULL;
    size_t size;

    return control_ask(target->runtime, target->mountpoint,
                       &(struct control_request){.verb = "stop"}, STOP_MS, &text, &size) == 0;
}

/* --- who keeps it busy --- */

static int add_holder(struct json *list, const struct holder *holder)
{
    struct json *line = json_add_object(list, NULL);
    int r = line ? 0 : -ENOMEM;

    if (r == 0)
        r = holder->pid ? json_add_u64(line, "pid", (uint64_t)holder->pid)
                        : json_add_string(line, "pid", NULL);
    if (r == 0 && (r = json_add_u64(line, "uid", holder->user)) == 0 &&
        (r = json_add_string(line, "user", holder->user_name)) == 0 &&
        (r = json_add_string(line, "command", holder->command)) == 0 &&
        (r = json_add_string(line, "how", holder_how_name(holder->how))) == 0 &&
        (r = json_add_bool(line, "other_namespace", holder->elsewhere)) == 0)
        r = json_add_string(line, "path", holder->path);
    return r;
}

static void print_document(const struct holders *holders, const char *mountpoint,
                           struct complaint *complaint)
{
    scoped(json_freep) struct json *root = document_new();
    scoped_free char *error = NULL;

    if (!root || asprintf(&error, "%s: %s", complaint->what, complaint->why) < 0 ||
        json_add_string(root, "error", error) < 0 ||
        json_add_string(root, "hint", complaint->hint) < 0 ||
        json_add_u64(root, "exit", complaint->code) < 0 ||
        json_add_string(root, "mountpoint", mountpoint) < 0 ||
        json_add_u64(root, "unseen", holders->unseen) < 0 ||
        json_add_bool(root, "partial", holders->partial) < 0)
        return;

    struct json *list = json_add_array(root, "holders");

    for (size_t i = 0; list && i < holders->count; i++)
        if (add_holder(list, &holders->list[i]) < 0)
            return;
    complaint->told = list && document_print(root) == 0;
}

static int add_row(struct table *table, const struct holder *holder)
{
    scoped_free char *command = NULL;
    char pid[16] = "-";
    char user[16];
    int r;

    if (holder->pid)
        snprintf(pid, sizeof(pid), "%d", (int)holder->pid);
    snprintf(user, sizeof(user), "%u", holder->user);
    if (holder->how == HOLDER_FILE && !holder->elsewhere)
        r = asprintf(&command, "%s", holder->command);
    else
        r = asprintf(&command, "%s (%s%s)", holder->command, holder_how_name(holder->how),
                     holder->elsewhere ? ", other namespace" : "");
    if (r < 0) {
        command = NULL;
        return -ENOMEM;
    }
    return table_add(table,
                     (const char *const[]){"", pid, holder->user_name ? holder->user_name : user,
                                           command, *holder->path ? holder->path : "."});
}

static void print_holders(const struct holders *holders)
{
    scoped(table_freep) struct table *table = table_new((const char *const[]){"", "PID", "USER",
                                                                              "COMMAND", "PATH"},
                                                        5);
    size_t shown = holders->count < ROWS_MAX ? holders->count : ROWS_MAX;

    for (size_t i = 0; table && i < shown; i++)
        if (add_row(table, &holders->list[i]) < 0)
            return;
    if (table && shown > 0)
        table_print(table, stderr);
    if (holders->count > shown)
        fprintf(stderr, "  and %zu more: --json lists them\n", holders->count - shown);
    if (holders->partial)
        fputs("  there may be more: not all could be looked at in time\n", stderr);
    if (holders->unseen > 0)
        fprintf(stderr, "  there may be more: %zu process%s could not be looked into%s\n",
                holders->unseen, holders->unseen == 1 ? "" : "es",
                geteuid() == 0 ? "" : "; root sees them");
}

/* The complaint, and between its sentence and its hint whom it is about. */
static int refuse_busy(const struct options *options, const char *mountpoint)
{
    scoped(holders_release) struct holders holders = {0};
    struct complaint complaint;
    char hint[sizeof(complaint.hint)];
    bool json = options_flag(options, FLAG_JSON);

    holders_find(mountpoint, HOLDERS_MS, &holders);
    if (holders.count > 0)
        complain(&complaint, EXIT_BUSY, mountpoint, "busy: %zu holder%s", holders.count,
                 holders.count == 1 ? "" : "s");
    else
        complain(&complaint, EXIT_BUSY, mountpoint, "busy: something in it is in use");
    complaint_hint(&complaint, "close them, or: agnesfs umount --lazy %s", mountpoint);
    if (json)
        print_document(&holders, mountpoint, &complaint);
    snprintf(hint, sizeof(hint), "%s", complaint.hint);
    complaint.hint[0] = '\0';
    complaint_print(&complaint, json);
    print_holders(&holders);
    hint_print(hint);
    return EXIT_BUSY;
}

/* --- the end --- */

static int end_mount(const struct target *target, bool lazy, struct complaint *ret_complaint)
{
    char words[UNMOUNT_WORDS] = "";
    struct mounts_entry entry;
    enum mounts_kind kind = mounts_at(target->mountpoint, &entry);

    if (kind == MOUNTS_NOTHING && tell_to_stop(target))
        return 0;
    if (kind == MOUNTS_NOTHING)
        return complain(ret_complaint, EXIT_FAILED, target->mountpoint, "not mounted");
    if (kind == MOUNTS_OTHER)
        return complain(ret_complaint, EXIT_FAILED, target->mountpoint, "not an agnesfs mount (%s)",
                        entry.type);

    int r = unmount(target->mountpoint, lazy, words);

    if (r < 0 && r != -EBUSY)
        complain(ret_complaint, EXIT_FAILED, target->mountpoint, "could not be unmounted: %s",
                 *words ? words : strerror(-r));
    return r;
}

static int show(const struct options *options, const struct target *target, bool ended)
{
    scoped(json_freep) struct json *root = document_new();

    if (!options_flag(options, FLAG_JSON))
        return EXIT_OK;
    return root && json_add_string(root, "mountpoint", target->mountpoint) == 0 &&
                   json_add_bool(root, "ended", ended) == 0 && document_print(root) == 0
               ? EXIT_OK
               : EXIT_FAILED;
}

int verb_umount(const struct options *options)
{
    scoped(target_release) struct target target = {0};
    bool lazy = options_flag(options, FLAG_LAZY);
    struct complaint complaint;

    if (target_find(options_operand(options, 0), &target, &complaint) < 0)
        return complaint_print(&complaint, options_flag(options, FLAG_JSON));

    /* From now on paths are absolute, and we are nobody who keeps it busy. */
    if (chdir("/") < 0)
        warn("/", "%s", strerror(errno));

    int r = end_mount(&target, lazy, &complaint);

    if (r == -EBUSY)
        return refuse_busy(options, target.mountpoint);
    if (r < 0)
        return complaint_print(&complaint, options_flag(options, FLAG_JSON));
    r = control_wait_gone(target.runtime, target.mountpoint, GONE_SOON_MS);

    /* A copy of the mount in another mount namespace, a container's say, keeps the kernel from telling
     * its process. So we do; one that does not listen any more is ending already. */
    if (r == -ETIMEDOUT && !lazy) {
        tell_to_stop(&target);
        r = control_wait_gone(target.runtime, target.mountpoint, GONE_MS);
    }
    if (r == -ETIMEDOUT && lazy) {
        if (!options_flag(options, FLAG_QUIET))
            warn(target.mountpoint, "detached; its process ends with the last open file");
        return show(options, &target, false);
    }
    if (r == -ETIMEDOUT) {
        complain(&complaint, EXIT_FAILED, target.mountpoint,
                 "unmounted, but its process has not ended yet");
        return complaint_print(&complaint, options_flag(options, FLAG_JSON));
    }
    return show(options, &target, true);
}
