/* SPDX-License-Identifier: MIT */
/* blob.c - finding, proving, publishing and removing one blob.
 *
 * Publishing has one rule for a name that is taken: a trusted blob stays, anything else makes way.
 * What makes way is replaced by rename, so a reader sees the old or the new file, never a gap.
 * There is no need to read the old one first: ours is verified, and one key means one content.
 *
 * The trust record is made after the rename, since renaming is a change of ctime, and from our own
 * descriptor, since a name can be changed under us. The key's claim covers both steps. */
#include "cache/blob.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>

#include "cache/files.h"
#include "cache/room.h"

/* Bytes between two reports of progress. */
#define CHECK_STEP ((uint64_t)64 * 1024 * 1024)

void blob_path(const struct blob_key *key, char ret_path[static BLOB_PATH_SIZE])
{
    char text[BLOB_KEY_TEXT_SIZE];

    blob_key_format(key, text);
    snprintf(ret_path, BLOB_PATH_SIZE, "%02x/%s", key->digest[0], text);
}

bool blob_in_shard(const struct blob_key *key, const char *shard)
{
    char path[BLOB_PATH_SIZE];

    blob_path(key, path);
    return strlen(shard) == 2 && memcmp(path, shard, 2) == 0;
}

/* --- looking --- */

/* Errors that say "there is something, but not a file that we can read". */
static bool is_obstacle(int error)
{
    return error == ELOOP || error == ENXIO || error == ENODEV || error == EACCES || error == EPERM;
}

static bool is_blob_of(const struct store *store, const struct blob_key *key, const struct stat *st)
{
    return stat_is_plain(st, store->root.owner) && (uint64_t)st->st_size == key->size;
}

/* A shard must be a folder of the store's: no link on the way is followed, nor leads it out. Linux before
 * 5.6 does not know the call, and some containers forbid it: there only the last name is watched. */
static int open_beneath(int dir, const char *path, int flags)
{
    const struct open_how how = {
        .flags = (unsigned)flags,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
    };
    long fd = syscall(SYS_openat2, dir, path, &how, sizeof(how));

    if (fd < 0 && errno == ENOSYS)
        return openat(dir, path, flags);
    return (int)fd;
}

int blob_open(struct store *store, const struct blob_key *key, int *ret_fd, struct stat *ret_st)
{
    const int flags = O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;
    char path[BLOB_PATH_SIZE];

    if (store->root.shared < 0)
        return -ENOENT;
    blob_path(key, path);
    scoped_fd int fd = open_beneath(store->root.shared, path, flags | O_NOATIME);

    if (fd < 0 && errno == EPERM) /* not our file, or a file system without the flag */
        fd = open_beneath(store->root.shared, path, flags);
    if (fd < 0 && errno == EPERM) /* or a filter that forbids the call */
        fd = openat(store->root.shared, path, flags);
    if (fd < 0 && errno == ENOTDIR)
        return -ENOENT;
    if (fd < 0)
        return is_obstacle(errno) ? -EUCLEAN : negative_errno();

    struct stat st;

    if (fstat(fd, &st) < 0)
        return negative_errno();
    if (!is_blob_of(store, key, &st))
        return -EUCLEAN;
    *ret_st = st;
    *ret_fd = take_fd(fd);
    return 0;
}

int blob_stat(struct store *store, const struct blob_key *key, struct stat *ret_st)
{
    char path[BLOB_PATH_SIZE];

    if (store->root.shared < 0)
        return -ENOENT;
    blob_path(key, path);
    if (fstatat(store->root.shared, path, ret_st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOTDIR ? -ENOENT : negative_errno();
    return 0;
}

/* --- proving --- */

struct progress {
    void (*report)(void *arg, uint64_t bytes_read);
    void *arg;
};

static int hash_file(struct digest *digest, int fd, uint64_t size, const struct progress *progress,
                     struct digest_sums *ret_sums)
{
    int r = 0;

    for (uint64_t done = 0; r == 0 && done < size;) {
        uint64_t step = size - done < CHECK_STEP ? size - done : CHECK_STEP;

        r = digest_update_file(digest, fd, done, step);
        done += step;
        if (r == 0 && progress->report)
            progress->report(progress->arg, done);
    }
    return r < 0 ? r : digest_sums(digest, ret_sums);
}

/* Do the bytes of fd fit? Where their XXH3 is on record that is the quick way to a yes; a no is
 * only believed from the key's own digest, since it costs the blob its life. */
static int prove(struct store *store, const struct blob_key *key, int fd, const struct stat *st,
                 const struct progress *progress, uint8_t ret_xxh[static BLOB_DIGEST_SIZE])
{
    scoped(digest_freep) struct digest *digest = NULL;
    uint8_t known[BLOB_DIGEST_SIZE];
    struct digest_sums sums;

    if (key->kind == BLOB_XXH || trust_recall(store->trust, key, st, known)) {
        int r = digest_new_xxh(&digest);

        if (r == 0)
            r = hash_file(digest, fd, key->size, progress, &sums);
        if (r < 0)
            return r;
        memcpy(ret_xxh, sums.xxh, BLOB_DIGEST_SIZE);
        if (key->kind == BLOB_XXH)
            return digest_matches(&sums, key) ? 0 : -EBADMSG;
        if (memcmp(sums.xxh, known, BLOB_DIGEST_SIZE) == 0)
            return 0;
    }

    scoped(digest_freep) struct digest *full = NULL;
    int r = digest_new(&full);

    if (r == 0)
        r = hash_file(full, fd, key->size, progress, &sums);
    if (r < 0)
        return r;
    memcpy(ret_xxh, sums.xxh, BLOB_DIGEST_SIZE);
    return digest_matches(&sums, key) ? 0 : -EBADMSG;
}

/* Records what fd is now, unless it changed while we read it or has lost its name since. */
static int record_checked(struct store *store, const struct blob_key *key, int fd,
                          const struct stat *before, const uint8_t xxh[static BLOB_DIGEST_SIZE])
{
    scoped_claim struct claim claim = {0};
    char path[BLOB_PATH_SIZE];
    struct stat now;

    blob_path(key, path);
    int r = claim_take(&claim, store->keys, path);

    if (r < 0)
        return r;
    if (fstat(fd, &now) < 0)
        return negative_errno();
    if (!is_blob_of(store, key, &now) || now.st_mtim.tv_sec != before->st_mtim.tv_sec ||
        now.st_mtim.tv_nsec != before->st_mtim.tv_nsec ||
        now.st_ctim.tv_sec != before->st_ctim.tv_sec ||
        now.st_ctim.tv_nsec != before->st_ctim.tv_nsec)
        return -EUCLEAN;
    return trust_put(store->trust, key, &now, xxh);
}

int blob_check(struct store *store, const struct blob_key *key,
               void (*progress)(void *arg, uint64_t bytes_read), void *arg)
{
    const struct progress report = {.report = progress, .arg = arg};
    uint8_t xxh[BLOB_DIGEST_SIZE];
    scoped_fd int fd = -1;
    struct stat st;
    int r = blob_open(store, key, &fd, &st);

    if (r == 0)
        r = prove(store, key, fd, &st, &report, xxh);
    else if (r == -EUCLEAN)
        r = -EBADMSG;
    return r < 0 ? r : record_checked(store, key, fd, &st, xxh);
}

/* --- changing --- */

/* Frees a name below _shared. A directory with something in it is moved out of the way rather than
 * taken apart: the audit shows it, and nobody loses work over a name. */
static int clear_name(struct store *store, int dir, const char *name)
{
    int r = name_clear(dir, name);

    if (r == -ENOTEMPTY || r == -EEXIST) {
        char aside[BLOB_KEY_TEXT_SIZE + 8];

        snprintf(aside, sizeof(aside), "%.*s.aside", BLOB_KEY_TEXT_SIZE, name);
        r = renameat(dir, name, store->root.partial, aside) < 0 ? negative_errno() : 0;
    }
    return r;
}

/* The key's shard, made where it is missing or where something else has its name. */
static int make_shard(struct store *store, const struct blob_key *key, int *ret_fd)
{
    char shard[3];

    snprintf(shard, sizeof(shard), "%02x", key->digest[0]);
    int r = dir_open(store->root.shared, shard, false, ret_fd);

    if (r == -ENOTDIR)
        r = clear_name(store, store->root.shared, shard);
    if (r < 0 && r != -ENOENT)
        return r;
    if (*ret_fd >= 0)
        return 0;
    r = dir_open(store->root.shared, shard, true, ret_fd);
    atomic_store(&store->shards_dirty, true);
    return r;
}

/* Not every file system knows how to rename without replacing; a hard link never replaces. */
static int rename_noreplace(int from_dir, const char *from, int to_dir, const char *to)
{
    if (renameat2(from_dir, from, to_dir, to, RENAME_NOREPLACE) == 0)
        return 0;
    if (errno != EINVAL && errno != ENOSYS)
        return negative_errno();
    if (linkat(from_dir, from, to_dir, to, 0) < 0 || unlinkat(from_dir, from, 0) < 0)
        return negative_errno();
    return 0;
}

static bool is_trusted(struct store *store, const struct blob_key *key)
{
    struct stat st;

    return blob_stat(store, key, &st) == 0 && is_blob_of(store, key, &st) &&
           trust_holds(store->trust, key, &st);
}

/* What a name stands for in the account. */
static uint64_t counted_size(const struct stat *st)
{
    return S_ISREG(st->st_mode) ? (uint64_t)st->st_size : 0;
}

static int replace(struct store *store, const struct blob_key *key, const char *name, int shard,
                   const char *text)
{
    struct stat old = {0};
    uint64_t bytes = 0;
    int r = 0;

    trust_forget(store->trust, key);
    if (blob_stat(store, key, &old) == 0)
        bytes = counted_size(&old);
    else
        room_doubt(store);
    room_will_end(store, bytes);
    if (renameat(store->root.partial, name, shard, text) < 0)
        r = negative_errno();
    if (r == -EISDIR) {
        r = clear_name(store, shard, text);
        if (r == 0)
            r = rename_noreplace(store->root.partial, name, shard, text);
    }
    room_has_ended(store, bytes, r == 0 ? bytes : 0);
    return r;
}

int blob_publish(struct store *store, const char *name, int fd, const struct blob_key *key,
                 const uint8_t xxh[static BLOB_DIGEST_SIZE])
{
    scoped_claim struct claim claim = {0};
    scoped_fd int shard = -1;
    char path[BLOB_PATH_SIZE];
    struct stat st;

    blob_path(key, path);
    int r = claim_take(&claim, store->keys, path);

    if (r == 0)
        r = make_shard(store, key, &shard);
    if (r < 0)
        return r;

    r = rename_noreplace(store->root.partial, name, shard, path + 3);
    if (r == -EEXIST && is_trusted(store, key)) {
        r = name_clear(store->root.partial, name);
        if (r == 0)
            room_end_open(store, key->size);
        return r;
    }
    if (r == -EEXIST)
        r = replace(store, key, name, shard, path + 3);
    if (r < 0)
        return r;
    room_put_aside(store, key->size);

    /* Only now: a flush that ran between mark and rename would have taken the mark for done. */
    atomic_store(&store->dirty[key->digest[0]], true);

    /* The blob is there, and what was its draft is not. Without a record it has to be verified before
     * it is read, that is all. */
    if (fstat(fd, &st) < 0 || trust_put(store->trust, key, &st, xxh) < 0)
        trust_forget(store->trust, key);
    return 0;
}

int blob_remove(struct store *store, const struct blob_key *key, const struct stat *judged,
                uint64_t *ret_freed)
{
    scoped_claim struct claim claim = {0};
    scoped_fd int shard = -1;
    char path[BLOB_PATH_SIZE];
    struct stat now;

    blob_path(key, path);
    int r = claim_take(&claim, store->keys, path);

    if (r < 0)
        return r;
    if (ret_freed)
        *ret_freed = 0;
    r = blob_stat(store, key, &now);
    if (r == -ENOENT)
        trust_forget(store->trust, key);
    if (r < 0)
        return r == -ENOENT ? 0 : r;
    if (judged && (now.st_dev != judged->st_dev || now.st_ino != judged->st_ino))
        return 0;

    char shard_name[3] = {path[0], path[1], '\0'};

    r = dir_open(store->root.shared, shard_name, false, &shard);
    if (r == -ENOTDIR) { /* a link to elsewhere: it goes, and what it leads to stays */
        trust_forget(store->trust, key);
        return clear_name(store, store->root.shared, shard_name);
    }
    if (r < 0)
        return r;

    const uint64_t bytes = counted_size(&now);

    room_will_end(store, bytes);
    r = clear_name(store, shard, path + 3);
    room_has_ended(store, bytes, r == 0 ? bytes : 0);
    if (r < 0)
        return r;
    trust_forget(store->trust, key);
    if (ret_freed)
        *ret_freed = bytes;
    return 0;
}
