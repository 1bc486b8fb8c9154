/* SPDX-License-Identifier: MIT */
/* inode_private.h - the entries of the inode table, for its three files: inode_slots.c (where they
 * are), inode.c (what the kernel does to them) and inode_publish.c (what a generation does to them).
 * Everything here is called with the table's lock held. */
#pragma once

#include <pthread.h>

#include "fs/inode.h"

/* A million of them is a hundred megabytes: the order is that which leaves no gaps. */
struct inode {
    struct blob_key key; /* of a folder: only its digest's first bytes, a hash of the path */
    uint64_t nodeid;     /* of the full face; 0: the slot is free */
    uint64_t lookups[FACES];
    int64_t mtime_ns;
    char *own; /* a folder's path, a text's bytes; NULL for blobs */
    uint32_t opens[FACES];
    uint32_t waiting; /* of the lazy opens */
    uint32_t references;
    uint32_t next; /* slot of the next one in its bucket, INODE_NO_SLOT at the end */
    uint8_t type;  /* enum inode_type */
    bool outdated; /* the full face; only while it is open */
};

#define INODE_NO_SLOT UINT32_MAX

struct inode_chunk {
    struct inode *slots; /* pages; NULL while none is used */
    uint32_t used;
    uint32_t look; /* where to begin to look for a free one */
};

struct inode_table {
    pthread_mutex_t lock;
    /* all below: under lock */
    struct inode_chunk *chunks;
    size_t chunk_count;
    size_t roomy;    /* no chunk before this one has a free slot */
    uint32_t *first; /* slots by identity: the first one of each bucket */
    size_t buckets;  /* a power of two */
    size_t inodes;
    uint64_t serial;           /* of the next inode */
    struct inode_open *opened; /* all that is open; a list */
};

/* What an inode is: enough to find it, and to make it if it is not there. */
struct identity {
    enum inode_type type;
    struct blob_key key;
    const char *path; /* of a folder */
};

struct identity inode_identity_of_path(const char *path);

/* --- inode_slots.c --- */

int inode_slots_init(struct inode_table *table);
void inode_slots_release(struct inode_table *table);

/* NULL if there is none. */
struct inode *inode_find(const struct inode_table *table, const struct identity *identity);

/* NULL if there is none, or none any more. */
struct inode *inode_of_nodeid(const struct inode_table *table, uint64_t nodeid);

/* Its nodeid, whether the kernel was told of that face or not. */
uint64_t inode_nodeid(const struct inode *inode, enum inode_face face);
enum inode_face inode_face_of(uint64_t nodeid);

/* own: a folder's path or a text's bytes, copied; NULL for a blob. NULL without memory. */
struct inode *inode_create(struct inode_table *table, const struct identity *identity,
                           int64_t mtime_ns, const char *own, size_t own_size);

/* To be called after any count fell. */
void inode_bury_if_dead(struct inode_table *table, struct inode *inode);

/* All of them: NULL begins, NULL ends. */
struct inode *inode_after(const struct inode_table *table, const struct inode *inode);
