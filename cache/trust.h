/* SPDX-License-Identifier: MIT */
/* trust.h (private to cache/) - what each blob looked like when its bytes were last proved right.
 *
 * A record is (dev, ino, mtime, ctime) of the file plus the XXH3 of its bytes, where somebody has
 * computed it; the size is the key's. It also says when the blob was opened last, for eviction.
 * Three answers to "may these bytes be served?":
 *
 *     trusted    the record is in force and the file still looks the same
 *     doubted    there is a record, but it comes from before an unclean stop, or the file was found
 *                to be gone or another: its XXH3 is good enough to check against, its existence is
 *                not good enough to skip the check
 *     unknown    no record, or another file: only the key's own digest can tell
 *
 * Limit: before Linux 6.13 ctime moves in steps of a few milliseconds, so a file that somebody
 * rewrites, size unchanged, within that time of its verification looks the same.
 *
 * On disk: one line of text a record, checksum in the last line. A file that can not be read whole
 * is no record at all; it makes every blob unknown and is never a reason to delete one.
 *
 * Threads: any. Its mutex is never held over I/O. */
#pragma once

#include <sys/stat.h>

#include "cache/key.h"

struct trust;

struct trust_record {
    struct blob_key key;
    uint64_t dev;
    uint64_t ino;
    int64_t mtime_ns;
    int64_t ctime_ns;
    int64_t opened; /* seconds */
    uint8_t xxh[BLOB_DIGEST_SIZE];
    bool has_xxh;
    bool doubted;
    bool proved_here; /* by this process; not saved */
};

int trust_new(struct trust **ret_trust);
void trust_free(struct trust *trust);
void trust_freep(struct trust *const *trust);

/* These bytes are right, and this is the file. Replaces the key's record, but for when it was
 * opened: a blob without a record is opened now. */
int trust_put(struct trust *trust, const struct blob_key *key, const struct stat *st,
              const uint8_t xxh[static BLOB_DIGEST_SIZE]);

int trust_put_record(struct trust *trust, const struct trust_record *record);

/* Makes room for so many, so that a table that is read need not grow step by step. */
int trust_reserve(struct trust *trust, size_t count);

/* Another process says that the bytes of this file are right. */
int trust_vouch(struct trust *trust, const struct blob_key *key, const struct stat *st);

/* This file is there, and more is not known: a doubted record, unless there is one already. */
int trust_list(struct trust *trust, const struct blob_key *key, const struct stat *st);

/* It is being opened now. */
void trust_touch(struct trust *trust, const struct blob_key *key);

/* The sizes of all blobs on record. */
uint64_t trust_sum(struct trust *trust);

/* Takes over the records of the writer before us, save of blobs that this process has proved: it
 * knows better. With doubt, all but those become doubted. */
int trust_adopt(struct trust *trust, struct trust *saved, bool doubt);

void trust_forget(struct trust *trust, const struct blob_key *key);

/* Forgets every key that is not in the sorted list. */
void trust_retain(struct trust *trust, const struct blob_key *keys, size_t count);

/* All records become doubted. */
void trust_doubt(struct trust *trust);

/* Whatever has the key's name now is not what is on record. */
void trust_suspect(struct trust *trust, const struct blob_key *key);

/* Is there a record in force? No word on the file. */
bool trust_expects(struct trust *trust, const struct blob_key *key);

/* Trusted, in the sense above? */
bool trust_holds(struct trust *trust, const struct blob_key *key, const struct stat *st);

/* The XXH3 on record for this very file (inode and size), trusted or doubted; false if none. */
bool trust_recall(struct trust *trust, const struct blob_key *key, const struct stat *st,
                  uint8_t ret_xxh[static BLOB_DIGEST_SIZE]);

/* A copy of all records, in no order; the caller frees it. */
int trust_snapshot(struct trust *trust, struct trust_record **ret_records, size_t *ret_count);

/* trust_file.c: the table on disk, as `trust` in dir. Loading gives an empty table when there is no
 * file or not a sound one. ret_same_boot: the machine has not restarted since it was saved. */
int trust_load(int dir, struct trust **ret_trust, bool *ret_same_boot);

/* Temporary file, fsync, rename, fsync of dir. One caller at a time. */
int trust_save(struct trust *trust, int dir);
