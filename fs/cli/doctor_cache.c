/* SPDX-License-Identifier: MIT */
/* doctor_cache.c - where the cache lies, and whether it has room. Nothing is made there. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>

#include "cache/scoped.h"
#include "fs/cli/discovery.h"
#include "fs/cli/doctor.h"
#include "fs/cli/format.h"
#include "fs/cli/paths.h"
#include "fs/cli/session.h"

/* The folder, or the nearest one above it that is there. malloc'd. */
static char *nearest(const char *path)
{
    scoped_free char *folder = strdup(path);
    struct stat st;

    while (folder && stat(folder, &st) < 0) {
        char *slash = strrchr(folder, '/');

        if (errno != ENOENT || !slash || slash == folder)
            break;
        *slash = '\0';
    }
    return take_ptr(folder);
}

/* What its file system is, if that is one to be wary of (statfs(2), linux/magic.h). */
static const char *wary_of(long type)
{
    static const struct {
        long type;
        const char *why;
    } types[] = {
        {0x6969, "NFS: slow, and its locks are not those of this machine"},
        {0xff534d42, "CIFS: slow, and modes are not kept"},
        {0xfe534d42, "SMB: slow, and modes are not kept"},
        {0x65735546, "a FUSE file system: slow, and it may go away"},
        {0x01021994, "tmpfs: memory, and gone after a restart"},
        {0x4d44, "FAT: modes are not kept"},
        {0x2011bab0, "exFAT: modes are not kept"},
    };

    for (size_t i = 0; i < sizeof(types) / sizeof(*types); i++)
        if ((unsigned)type == (unsigned)types[i].type)
            return types[i].why;
    return NULL;
}

static void judge_folder(const char *path, const char *there, struct findings *findings)
{
    bool exists = strcmp(path, there) == 0;
    scoped_free char *fix = NULL;
    const char *why = NULL;
    struct statfs disk;
    struct stat st;
    int r = 0;

    if (stat(there, &st) < 0)
        why = strerror(errno);
    else if (!S_ISDIR(st.st_mode))
        why = "not a folder";
    if (why) {
        r = asprintf(&fix, "ls -ld %s", there);
    } else if (exists && st.st_uid != geteuid()) {
        why = "belongs to somebody else";
        r = asprintf(&fix, "sudo chown -R $(id -u) %s", there);
    } else if (exists && st.st_mode & 077) {
        why = "others may enter it";
        r = asprintf(&fix, "chmod 700 %s", there);
    } else if (access(there, W_OK | X_OK) < 0) {
        why = strerror(errno);
        r = asprintf(&fix, "%s %s", errno == EROFS ? "findmnt -T" : "chmod u+wx", there);
    }
    if (r < 0)
        fix = NULL;
    if (why) {
        finding_add(findings, "cache-dir", FINDING_FAIL, fix, "cache: %s: %s", there, why);
        return;
    }
    if (statfs(there, &disk) == 0 && (why = wary_of((long)disk.f_type)))
        finding_add(findings, "cache-dir", FINDING_WARN,
                    "agnesfs doctor --cache-dir DIR   # on a disk", "cache: %s is on %s", path,
                    why);
    else
        finding_add(findings, "cache-dir", FINDING_OK, NULL, "cache: %s%s", path,
                    exists ? "" : " (to be made)");
}

static void judge_space(const struct options *options, const char *there, struct findings *findings)
{
    uint64_t size = session_bound(options, OPTION_CACHE_SIZE, there);
    uint64_t min = session_bound(options, OPTION_MIN_FREE, there);
    struct statfs disk;
    char free_text[FORMAT_SIZE];
    char min_text[FORMAT_SIZE];
    char size_text[FORMAT_SIZE] = "unlimited";

    if (statfs(there, &disk) < 0)
        return;

    uint64_t left = (uint64_t)disk.f_bavail * (uint64_t)disk.f_bsize;
    uint64_t all = (uint64_t)disk.f_blocks * (uint64_t)disk.f_bsize;

    format_bytes(left, free_text);
    format_bytes(min, min_text);
    if (size > 0)
        format_bytes(size, size_text);
    if (left < min)
        finding_add(findings, "cache-space", FINDING_FAIL, "agnesfs prune --cache-size 1GiB",
                    "space: %s free, less than min-free (%s): nothing new is kept", free_text,
                    min_text);
    else if (size > all)
        finding_add(findings, "cache-space", FINDING_WARN, "agnesfs mount DIR -o cache-size=SIZE",
                    "space: cache-size is %s, more than the disk has", size_text);
    else
        finding_add(findings, "cache-space", FINDING_OK, NULL,
                    "space: %s free; cache-size %s, min-free %s", free_text, size_text, min_text);
}

void doctor_check_cache(const struct doctor *doctor, struct findings *findings)
{
    struct discovery discovery;
    struct complaint complaint;
    scoped_free char *path = NULL;
    scoped_free char *there = NULL;
    int r;

    if (discovery_find(NULL, doctor->options, &discovery, &complaint) < 0)
        return; /* which doctor_check_source tells */
    r = paths_cache(options_text(doctor->options, OPTION_CACHE_DIR), discovery.source, &path);
    discovery_release(&discovery);
    if (r == 0 && !(there = nearest(path)))
        r = -ENOMEM;
    if (r < 0 || !there) {
        finding_add(findings, "cache-dir", FINDING_FAIL, "agnesfs doctor --cache-dir DIR",
                    "cache: no place for it: %s", strerror(-r));
        return;
    }
    judge_folder(path, there, findings);
    judge_space(doctor->options, there, findings);
}
