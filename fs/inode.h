/* SPDX-License-Identifier: MIT */
/* inode.h - what the kernel remembers, and what we must therefore remember.
 *
 * Four things are easy to confuse:
 *   path     names a place. May hold different bytes tomorrow.
 *   key      names bytes. Means the same for ever, says nothing of places (cache/key.h).
 *   st_ino   what `stat` shows: derived from the key (or the path of a folder), so equal bytes have
 *            an equal number after a restart too. DuckDB tells versions of a file by it.
 *   nodeid   what the kernel and we call an inode on the wire: 64 bits with a counter in them, never
 *            reused, so generation numbers are not needed.
 *
 * A file inode is a blob: every name that refers to it is a hard link to the same inode. Folders
 * are inodes by path, and stay the same inode as long as anybody remembers the path, which is what
 * keeps a shell inside a folder alive over a refresh. Generated texts are inodes by content.
 *
 * Faces. All opens of one nodeid must be in one mode (the kernel refuses a mix with EIO), so a blob
 * has up to two nodeids: `lazy`, given out while its bytes are not here, and `full`, which the kernel
 * may read by itself (passthrough.h). Both show the same attributes.
 *
 * Three counts keep an inode:
 *
 *   | count      | of                                       | goes up           | goes down       |
 *   |------------|------------------------------------------|-------------------|-----------------|
 *   | references | names in the current generation: st_nlink| inode_publish     | inode_publish   |
 *   | lookups    | entries the kernel was told of, per face | before a reply    | forget, undo    |
 *   | opens      | open files, per face                     | open              | release         |
 *
 * It dies when all are 0. References are derived from the generation and never stored; folders and
 * texts have none, they live by lookups and opens alone.
 *
 * Locking: every function takes the table's lock itself and never calls out while holding it.
 * Facts are handed out as copies. The path and text pointers in them stay valid as long as the
 * kernel holds a lookup or an open on that nodeid, that is, while its request is being answered.
 * Errors: -ESTALE a nodeid we do not know (any more), -ENOMEM. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cache/key.h"
#include "sync/diff.h"
#include "sync/tree.h"

struct inode_table;

#define INODE_ROOT 1 /* FUSE_ROOT_ID: the folder with the path "" */

enum inode_type {
    INODE_DIR,
    INODE_BLOB,
    INODE_TEXT,
};

enum inode_face {
    FACE_LAZY,
    FACE_FULL,
    FACES,
};

struct inode_facts {
    uint64_t nodeid;
    uint64_t ino;
    enum inode_type type;
    enum inode_face face;
    uint32_t references; /* of a blob; the table's count */
    struct blob_key key; /* of a blob or text */
    int64_t mtime_ns;
    const char *path;  /* of a folder */
    const char *bytes; /* of a text; key.size of them. NULL: not kept here */
};

/* What `stat` shows of the blob or text with this key, and of the folder with this path. */
uint64_t inode_number(const struct blob_key *key);
uint64_t inode_number_of_dir(const char *path);

/* The root is there from the start, and for ever. */
int inode_table_new(struct inode_table **ret_table);
void inode_table_free(struct inode_table *table);

/* --- the kernel learns of an inode: one lookup more. Undo with inode_forget if the reply fails --- */

int inode_lookup_dir(struct inode_table *table, const char *path, int64_t mtime_ns,
                     struct inode_facts *ret_facts);

/* Of the face that is asked for, or, while the full one is outdated, of the lazy one. */
int inode_lookup_blob(struct inode_table *table, const struct tree_blob *blob, enum inode_face face,
                      struct inode_facts *ret_facts);

/* Copies the bytes, the first time; NULL: they are not kept here. */
int inode_lookup_text(struct inode_table *table, const char *bytes, size_t size,
                      const struct blob_key *key, int64_t mtime_ns, struct inode_facts *ret_facts);

/* Takes lookups back; never below 0. */
void inode_forget(struct inode_table *table, uint64_t nodeid, uint64_t lookups);

/* --- requests on what it knows --- */

int inode_facts(struct inode_table *table, uint64_t nodeid, struct inode_facts *ret_facts);

/* Something that is open, embedded in whatever the opener keeps of it. The table links all of them,
 * so that at the end of a mount nothing stays open that the kernel never released. */
struct inode_open {
    struct inode_open *next;
    struct inode_open *previous;
    uint64_t nodeid;
    bool waits; /* for bytes: of the lazy face, and inode_has_bytes was not called */
    void (*release)(struct inode_open *open); /* frees its owner; ends in inode_close */
};

/* One open more, or less. */
int inode_open(struct inode_table *table, uint64_t nodeid, struct inode_open *open,
               struct inode_facts *ret_facts);
void inode_has_bytes(struct inode_table *table, struct inode_open *open);
void inode_close(struct inode_table *table, struct inode_open *open);

/* The full face's open files read a file that new ones may not: until they are closed, names lead to
 * the lazy face. nodeid: of something that is open. */
void inode_outdate(struct inode_table *table, uint64_t nodeid);

/* Releases all that is open. Only when no request is served any more. */
void inode_release_all(struct inode_table *table);

/* --- a new generation --- */

/* Applies the differences in references. A blob that the table never saw gets an entry. Requests may
 * see the old tree meanwhile, or the new one: what they look up is kept by its lookups. after is the
 * new tree (for the times of new blobs). -ENOMEM: nothing was applied. */
int inode_publish(struct inode_table *table, const struct tree_diff *diff,
                  const struct tree *after);

/* The nodeid of a folder, 0 if the kernel does not know it. */
uint64_t inode_dir_nodeid(struct inode_table *table, const char *path);

/* A folder whose entries changed: its time moves, which is what makes the kernel read it anew.
 * Returns its nodeid, as inode_dir_nodeid. */
uint64_t inode_touch_dir(struct inode_table *table, const char *path, int64_t mtime_ns);

/* The blobs that are open, one for each open file; the caller frees the array. */
struct inode_opened {
    uint64_t nodeid;
    struct blob_key key;
};

int inode_opened(struct inode_table *table, struct inode_opened **ret_opened, size_t *ret_count);

/* The nodeids of a blob that the kernel knows, 0 where it knows none. */
void inode_faces(struct inode_table *table, const struct blob_key *key,
                 uint64_t ret_nodeids[static FACES]);

/* What is going on with a blob; of several, the last one listed. */
enum inode_use {
    INODE_IDLE,
    INODE_FOUND,  /* the kernel knows the face whose open needs the bytes: it may come any moment */
    INODE_OPENED, /* with its bytes */
    INODE_WAITING, /* opened without them, and not closed yet */
};

enum inode_use inode_use(struct inode_table *table, const struct blob_key *key);

struct inode_census {
    uint64_t inodes;
    uint64_t references;
    uint64_t lookups;
    uint64_t opens;
};

void inode_census(struct inode_table *table, struct inode_census *ret_census);

/* Counts the tree's references anew and compares with the table's. 0, or -EUCLEAN. For debug builds
 * and tests, between publishes. */
int inode_audit(struct inode_table *table, const struct tree *tree);
