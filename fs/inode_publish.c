/* SPDX-License-Identifier: MIT */
/* A generation reaches the table as differences: an inode whose references do not change is not
 * even looked at, so a refresh costs what changed, and what the kernel holds stays as it is. Requests
 * are answered meanwhile, in between. */
#include <errno.h>
#include <time.h>

#include "cache/scoped.h"
#include "fs/inode_private.h"

#define BATCH 1024 /* changes for which requests have to wait, a millisecond or so */

/* Lock held. Downwards it can not fail: what has references has an entry. */
static int change_references(struct inode_table *table, const struct reference_change *change,
                             const struct tree *after)
{
    const struct identity identity = {.type = INODE_BLOB, .key = change->key};
    struct inode *inode = inode_find(table, &identity);

    if (!inode && change->after > change->before)
        inode = inode_create(table, &identity, tree_blob_find(after, &change->key)->mtime_ns, NULL,
                             0);
    if (!inode)
        return -ENOMEM;
    inode->references += change->after - change->before; /* modulo 2^32: also downwards */
    inode_bury_if_dead(table, inode);
    return 0;
}

/* A mutex does not go to who waits for it, but to who is awake: for whoever locks it again at once,
 * nobody else ever gets it. */
static void give_way(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 50000}, NULL);
}

enum pass {
    UPWARDS,
    DOWNWARDS,
    BACK, /* what went upwards */
};

static int make_change(struct inode_table *table, struct reference_change change,
                       const struct tree *after, enum pass pass)
{
    const bool up = change.after > change.before;

    if (up == (pass == DOWNWARDS))
        return 0;
    if (pass == BACK)
        change = (struct reference_change){change.key, change.after, change.before};
    return change_references(table, &change, after);
}

/* Of the first count changes, in batches; ret_done: how many were made. */
static int make_changes(struct inode_table *table, const struct tree_diff *diff, size_t count,
                        const struct tree *after, enum pass pass, size_t *ret_done)
{
    size_t done = 0;
    int r = 0;

    while (r == 0 && done < count) {
        const size_t left = count - done;
        const size_t end = done + (left < BATCH ? left : BATCH);

        if (done > 0)
            give_way();
        scoped_lock(&table->lock);
        for (; r == 0 && done < end; done += r == 0)
            r = make_change(table, diff->references[done], after, pass);
    }
    *ret_done = done;
    return r;
}

/* Upwards first, since only that needs memory, and can be taken back without any. */
int inode_publish(struct inode_table *table, const struct tree_diff *diff, const struct tree *after)
{
    size_t done;
    int r = make_changes(table, diff, diff->reference_count, after, UPWARDS, &done);

    if (r < 0)
        make_changes(table, diff, done, after, BACK, &done);
    else
        make_changes(table, diff, diff->reference_count, after, DOWNWARDS, &done);
    return r;
}

uint64_t inode_dir_nodeid(struct inode_table *table, const char *path)
{
    const struct identity identity = inode_identity_of_path(path);
    const struct inode *inode;

    scoped_lock(&table->lock);
    inode = inode_find(table, &identity);
    return inode ? inode_nodeid(inode, FACE_FULL) : 0;
}

uint64_t inode_touch_dir(struct inode_table *table, const char *path, int64_t mtime_ns)
{
    const struct identity identity = inode_identity_of_path(path);
    struct inode *inode;

    scoped_lock(&table->lock);
    inode = inode_find(table, &identity);
    if (!inode)
        return 0;
    inode->mtime_ns = mtime_ns;
    return inode_nodeid(inode, FACE_FULL);
}

int inode_opened(struct inode_table *table, struct inode_opened **ret_opened, size_t *ret_count)
{
    struct inode_opened *opened;
    size_t count = 0;

    scoped_lock(&table->lock);
    for (const struct inode_open *open = table->opened; open; open = open->next)
        count++;
    opened = calloc(count + 1, sizeof(*opened));
    if (!opened)
        return -ENOMEM;
    count = 0;
    for (const struct inode_open *open = table->opened; open; open = open->next) {
        const struct inode *inode = inode_of_nodeid(table, open->nodeid);

        if (inode->type == INODE_BLOB)
            opened[count++] = (struct inode_opened){open->nodeid, inode->key};
    }
    *ret_opened = opened;
    *ret_count = count;
    return 0;
}

void inode_faces(struct inode_table *table, const struct blob_key *key,
                 uint64_t ret_nodeids[static FACES])
{
    const struct identity identity = {.type = INODE_BLOB, .key = *key};
    const struct inode *inode;

    scoped_lock(&table->lock);
    inode = inode_find(table, &identity);
    for (enum inode_face face = 0; face < FACES; face++)
        ret_nodeids[face] = inode && inode->lookups[face] ? inode_nodeid(inode, face) : 0;
}

enum inode_use inode_use(struct inode_table *table, const struct blob_key *key)
{
    const struct identity identity = {.type = INODE_BLOB, .key = *key};
    const struct inode *inode;

    scoped_lock(&table->lock);
    inode = inode_find(table, &identity);
    if (!inode)
        return INODE_IDLE;
    if (inode->waiting > 0)
        return INODE_WAITING;
    if (inode->opens[FACE_FULL] > 0 || inode->opens[FACE_LAZY] > 0)
        return INODE_OPENED;
    return inode->lookups[FACE_FULL] > 0 ? INODE_FOUND : INODE_IDLE;
}

void inode_census(struct inode_table *table, struct inode_census *ret_census)
{
    struct inode_census census = {0};

    scoped_lock(&table->lock);
    census.inodes = table->inodes;
    for (const struct inode *inode = NULL; (inode = inode_after(table, inode));) {
        census.references += inode->references;
        for (enum inode_face face = 0; face < FACES; face++) {
            census.lookups += inode->lookups[face];
            census.opens += inode->opens[face];
        }
    }
    *ret_census = census;
}

int inode_audit(struct inode_table *table, const struct tree *tree)
{
    size_t referenced = 0;

    scoped_lock(&table->lock);
    for (uint32_t i = 0; i < tree_blob_count(tree); i++) {
        const struct tree_blob *blob = tree_blob(tree, i);
        const struct identity identity = {.type = INODE_BLOB, .key = blob->key};
        const struct inode *inode = inode_find(table, &identity);

        if (!inode || inode->references != blob->references)
            return -EUCLEAN;
    }
    for (const struct inode *inode = NULL; (inode = inode_after(table, inode));)
        referenced += inode->references > 0;
    return referenced == tree_blob_count(tree) ? 0 : -EUCLEAN;
}
