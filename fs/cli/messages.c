/* SPDX-License-Identifier: MIT */
/* messages.c - every text is cut to its field and escaped only when printed, so that nothing a
 * server or a file name contains can move the cursor or forge a second message. */
#include "fs/cli/messages.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "cache/scoped.h"
#include "fs/cli/document.h"
#include "fs/cli/format.h"
#include "sync/json.h"

int complain(struct complaint *ret_complaint, enum exit_code code, const char *what,
             const char *why, ...)
{
    va_list args;

    ret_complaint->code = code;
    ret_complaint->hint[0] = '\0';
    ret_complaint->told = false;
    snprintf(ret_complaint->what, sizeof(ret_complaint->what), "%s", what);
    va_start(args, why);
    vsnprintf(ret_complaint->why, sizeof(ret_complaint->why), why, args);
    va_end(args);
    return code == EXIT_USAGE ? -EINVAL : -EIO;
}

void complaint_hint(struct complaint *complaint, const char *hint, ...)
{
    va_list args;

    va_start(args, hint);
    vsnprintf(complaint->hint, sizeof(complaint->hint), hint, args);
    va_end(args);
}

static void print_document(const struct complaint *complaint)
{
    scoped(json_freep) struct json *root = document_new();
    scoped_free char *error = NULL;

    if (!root || asprintf(&error, "%s: %s", complaint->what, complaint->why) < 0)
        return;
    if (json_add_string(root, "error", error) == 0 &&
        json_add_string(root, "hint", *complaint->hint ? complaint->hint : NULL) == 0 &&
        json_add_u64(root, "exit", complaint->code) == 0)
        document_print(root);
}

void hint_print(const char *hint)
{
    if (!*hint)
        return;
    fputs("hint: ", stderr);
    print_escaped(stderr, hint);
    fputc('\n', stderr);
}

int complaint_print(const struct complaint *complaint, bool json)
{
    if (json && !complaint->told)
        print_document(complaint);
    fflush(stdout); /* what was found before comes before, also when both go to one place */
    fputs("agnesfs: ", stderr);
    print_escaped(stderr, complaint->what);
    fputs(": ", stderr);
    print_escaped(stderr, complaint->why);
    fputc('\n', stderr);
    hint_print(complaint->hint);
    return (int)complaint->code;
}

void warn(const char *what, const char *why, ...)
{
    char text[512];
    va_list args;

    va_start(args, why);
    vsnprintf(text, sizeof(text), why, args);
    va_end(args);
    fputs("agnesfs: warning: ", stderr);
    print_escaped(stderr, what);
    fputs(": ", stderr);
    print_escaped(stderr, text);
    fputc('\n', stderr);
}

const struct exit_meaning *exit_meanings(void)
{
    static const struct exit_meaning meanings[] = {
        {EXIT_OK, "ok"},
        {EXIT_FAILED, "failed"},
        {EXIT_USAGE, "usage"},
        {EXIT_AUTHENTICATION, "authentication"},
        {EXIT_UNREACHABLE, "server unreachable"},
        {EXIT_MOUNT, "mount failed"},
        {EXIT_BUSY, "busy"},
        {EXIT_STALE, "stale or degraded"},
        {EXIT_DISK, "cache or disk"},
        {EXIT_INTEGRITY, "integrity"},
        {EXIT_INTERRUPTED, "interrupted"},
        {EXIT_OK, NULL},
    };

    return meanings;
}

const struct error_meaning *reader_errors(void)
{
    static const struct error_meaning meanings[] = {
        {"ENOENT", "not in the generation that is shown"},
        {"EIO", "the bytes could not be obtained, or were not the promised ones"},
        {"EACCES", "the server said 401 or 403, and the file is not here"},
        {"ESTALE", "gone on the server while it is still listed; or withdrawn while it was being "
                   "opened"},
        {"ETIMEDOUT", "no progress for the time that timeout says"},
        {"EINTR", "the reader was interrupted; the transfer goes on for others"},
        {"EROFS", "any attempt to write"},
        {"ENODATA", "no such extended attribute"},
        {NULL, NULL},
    };

    return meanings;
}

int exit_code_of_mount(enum exit_code code)
{
    switch (code) {
    case EXIT_OK: return 0;
    case EXIT_USAGE: return 1;
    case EXIT_FAILED:
    case EXIT_DISK: return 2;
    default: return 32;
    }
}

enum exit_code exit_code_of(int error)
{
    switch (-error) {
    case 0: return EXIT_OK;
    case EACCES: return EXIT_AUTHENTICATION;
    case EHOSTUNREACH:
    case ETIMEDOUT:
    case EAGAIN: return EXIT_UNREACHABLE;
    case EBUSY: return EXIT_BUSY;
    case ENOSPC:
    case EDQUOT:
    case EROFS:
    case EPERM:
    case EIO:
    case EMFILE:
    case ENFILE: return EXIT_DISK;
    case EBADMSG:
    case EUCLEAN: return EXIT_INTEGRITY;
    case ECANCELED:
    case EINTR: return EXIT_INTERRUPTED;
    default: return EXIT_FAILED;
    }
}

enum exit_code exit_code_of_report(const struct report *report)
{
    enum exit_code worst = EXIT_OK;

    if (report->error)
        return exit_code_of(report->error);
    if (report->invariant_count > 0)
        return EXIT_INTEGRITY;
    for (size_t i = 0; i < report->error_count; i++) {
        enum exit_code code = exit_code_of(report->errors[i].error);

        if (code != EXIT_INTEGRITY && code != EXIT_DISK)
            code = EXIT_FAILED;
        if (code > worst)
            worst = code;
    }
    return worst;
}

int complain_refresh(struct complaint *ret_complaint, const char *source, const char *origin,
                     bool has_token, int error, const char *message)
{
    enum exit_code code = exit_code_of(error);
    const char *why = message && *message ? message : strerror(-error);

    if (code == EXIT_AUTHENTICATION && !has_token) {
        complain(ret_complaint, code, source, "%s, and no token was found", why);
        complaint_hint(ret_complaint, "log in with the agnes CLI, or give --token-file FILE");
    } else if (code == EXIT_AUTHENTICATION) {
        complain(ret_complaint, code, source, "%s", why);
        complaint_hint(
            ret_complaint,
            "it may have expired or been revoked: get a fresh one at %s/setup, or log in "
            "with the agnes CLI",
            source);
    } else if (code == EXIT_UNREACHABLE) {
        complain(ret_complaint, code, source, "server unreachable: %s", why);
        complaint_hint(ret_complaint, "this source comes from %s", origin);
    } else if (error == -ENOTSUP) {
        complain(ret_complaint, EXIT_FAILED, source, "%s", why);
        complaint_hint(ret_complaint, "upgrade agnesfs");
    } else if (error == -EPROTO && strncmp(why, "moved to ", 9) == 0) {
        complain(ret_complaint, EXIT_FAILED, source, "%s", why);
        complaint_hint(ret_complaint, "if that is right, use that address (it came from %s)",
                       origin);
    } else if (error == -EPROTO) {
        complain(ret_complaint, EXIT_FAILED, source, "no usable manifest: %s", why);
        complaint_hint(ret_complaint,
                       "is this an Agnes server (source from %s), or a login page in front of it?",
                       origin);
    } else {
        complain(ret_complaint, code, source, "%s", why);
    }
    return -EIO;
}

int complain_mount(struct complaint *ret_complaint, const char *mountpoint, int error)
{
    switch (-error) {
    case ENOENT:
        complain(ret_complaint, EXIT_MOUNT, mountpoint, "no such folder");
        complaint_hint(ret_complaint, "mkdir -p %s", mountpoint);
        break;
    case ENOTDIR: complain(ret_complaint, EXIT_MOUNT, mountpoint, "not a folder"); break;
    case ENOTEMPTY:
        complain(ret_complaint, EXIT_MOUNT, mountpoint, "folder is not empty");
        complaint_hint(ret_complaint, "mount on an empty folder; what lies there would be hidden");
        break;
    case EBUSY:
        complain(ret_complaint, EXIT_MOUNT, mountpoint, "something is mounted there already");
        complaint_hint(ret_complaint, "agnesfs status %s; agnesfs umount %s", mountpoint,
                       mountpoint);
        break;
    case ENOTCONN:
        complain(ret_complaint, EXIT_MOUNT, mountpoint,
                 "a dead mount lies there (its process ended)");
        complaint_hint(ret_complaint, "agnesfs umount --lazy %s", mountpoint);
        break;
    case ENODEV:
        complain(ret_complaint, EXIT_MOUNT, mountpoint, "no /dev/fuse");
        complaint_hint(ret_complaint, "modprobe fuse; in a container: --device /dev/fuse and "
                                      "CAP_SYS_ADMIN");
        break;
    case EPERM:
    case EACCES:
        complain(ret_complaint, EXIT_MOUNT, mountpoint, "not allowed to mount");
        complaint_hint(ret_complaint, "install fusermount3 (package fuse3), mount on a folder of "
                                      "your own; allow-other needs user_allow_other in "
                                      "/etc/fuse.conf");
        break;
    default:
        complain(ret_complaint, EXIT_MOUNT, mountpoint, "could not mount: %s", strerror(-error));
        break;
    }
    return -EIO;
}

int complain_store(struct complaint *ret_complaint, const char *cache_dir, int error, pid_t owner,
                   const char *mountpoint)
{
    if (error == -EBUSY && owner > 0) {
        complain(ret_complaint, EXIT_BUSY, cache_dir, "the cache is in use by process %d",
                 (int)owner);
        if (mountpoint)
            complaint_hint(ret_complaint, "it serves %s: agnesfs refresh %s, or agnesfs umount %s",
                           mountpoint, mountpoint, mountpoint);
    } else if (error == -EBUSY) {
        complain(ret_complaint, EXIT_BUSY, cache_dir, "the cache is in use by another process");
        complaint_hint(ret_complaint, "agnesfs status names the mounts; --cache-dir takes another");
    } else if (error == -EPERM) {
        complain(ret_complaint, EXIT_DISK, cache_dir,
                 "the cache is not ours alone: another owner, or open to others");
        complaint_hint(ret_complaint, "chmod 700 %s, or give --cache-dir DIR", cache_dir);
    } else {
        complain(ret_complaint, EXIT_DISK, cache_dir, "%s", strerror(-error));
    }
    return -EIO;
}
