/* SPDX-License-Identifier: MIT */
/* trust.h (private to cache/) - what each blob looked like when its bytes were last proved right.
 *
 * A record is (dev, ino, mtime, ctime) of the file plus the XXH3 of its bytes; the size is the
 * key's. Three answers to "may these bytes be served?":
 *
 *     trusted    the record is in force and the file still looks the same
 *     doubted    there is a record, but it comes from before an unclean stop: its XXH3 is good
 *                enough to check against, its existence is not good enough to skip the check
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
    uint8_t xxh[BLOB_DIGEST_SIZE];
    bool doubted;
};

int trust_new(struct trust **ret_trust);
void trust_free(struct trust *trust);
void trust_freep(struct trust *const *trust);

/* These bytes are right, and this is the file. Replaces the key's record. */
int trust_put(struct trust *trust, const struct blob_key *key, const struct stat *st,
              const uint8_t xxh[static BLOB_DIGEST_SIZE]);

int trust_put_record(struct trust *trust, const struct trust_record *record);

void trust_forget(struct trust *trust, const struct blob_key *key);

/* Forgets every key that is not in the sorted list. */
void trust_retain(struct trust *trust, const struct blob_key *keys, size_t count);

/* All records become doubted. */
void trust_doubt(struct trust *trust);

/* Trusted, in the sense above? */
bool trust_holds(struct trust *trust, const struct blob_key *key, const struct stat *st);

/* The XXH3 on record for this very file (inode and size), trusted or doubted. */
bool trust_recall(struct trust *trust, const struct blob_key *key, const struct stat *st,
                  uint8_t ret_xxh[static BLOB_DIGEST_SIZE]);

/* A copy of all records, in no order; the caller frees it. */
int trust_snapshot(struct trust *trust, struct trust_record **ret_records, size_t *ret_count);

/* trust_file.c: the table on disk, as `trust` in dir. Loading gives an empty table when there is no
 * file or not a sound one. ret_same_boot: the machine has not restarted since it was saved. */
int trust_load(int dir, struct trust **ret_trust, bool *ret_same_boot);

/* Temporary file, fsync, rename, fsync of dir. One caller at a time. */
int trust_save(struct trust *trust, int dir);
