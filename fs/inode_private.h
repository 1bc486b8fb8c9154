/* SPDX-License-Identifier: MIT */
/* inode_private.h - the entries of the inode table, for its two files: inode.c (what the kernel
 * does to them) and inode_publish.c (what a generation does to them). Everything here is called
 * with the table's lock held. */
#pragma once

#include <pthread.h>

#include "fs/inode.h"

struct face {
    struct face *next; /* in its nodeid bucket */
    uint64_t nodeid;   /* 0: never given out */
    uint64_t lookups;
};

struct inode {
    struct inode *next; /* in its identity bucket */
    struct face faces[FACES];
    uint32_t opens[FACES];
    uint32_t waiting; /* of the lazy opens */
    uint32_t references;
    enum inode_type type;
    bool outdated;       /* the full face; only while it is open */
    struct blob_key key; /* of a folder: only its digest's first bytes, a hash of the path */
    int64_t mtime_ns;
    char *own; /* a folder's path, a text's bytes; NULL for blobs */
};

struct inode_table {
    pthread_mutex_t lock;
    /* all below: under lock */
    struct inode **by_identity;
    struct face **by_nodeid;
    size_t buckets; /* of each index; a power of two */
    size_t inodes;
    size_t nodeids;
    uint64_t next_nodeid;
    struct inode_open *opened; /* all that is open; a list */
};

/* What an inode is: enough to find it, and to make it if it is not there. */
struct identity {
    enum inode_type type;
    struct blob_key key;
    const char *path; /* of a folder */
};

struct identity inode_identity_of_path(const char *path);

/* NULL if there is none. */
struct inode *inode_find(const struct inode_table *table, const struct identity *identity);

/* Of a nodeid that is there. */
struct inode *inode_of_nodeid(const struct inode_table *table, uint64_t nodeid);

/* own: a folder's path or a text's bytes, copied; NULL for a blob. NULL without memory. */
struct inode *inode_create(struct inode_table *table, const struct identity *identity,
                           int64_t mtime_ns, const char *own, size_t own_size);

/* To be called after any count fell. */
void inode_bury_if_dead(struct inode_table *table, struct inode *inode);
