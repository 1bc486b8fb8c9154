/* SPDX-License-Identifier: MIT */
/* inode.c - what the kernel does to inodes: it learns of them, asks, opens, closes, forgets. */
#include <errno.h>
#include <string.h>

#include "cache/scoped.h"
#include "fs/inode_private.h"

/* 0 means "none" to many, 1 is the root's. */
uint64_t inode_number(const struct blob_key *key)
{
    const uint64_t ino = blob_key_hash(key);

    return ino > INODE_ROOT ? ino : ino + 2;
}

uint64_t inode_number_of_dir(const char *path)
{
    const struct identity identity = inode_identity_of_path(path);

    return *path ? inode_number(&identity.key) : INODE_ROOT;
}

static void fill_facts(const struct inode *inode, enum inode_face face, struct inode_facts *facts)
{
    *facts = (struct inode_facts){
        .nodeid = inode_nodeid(inode, face),
        .ino = inode_number(&inode->key),
        .type = inode->type,
        .face = face,
        .references = inode->references,
        .key = inode->key,
        .mtime_ns = inode->mtime_ns,
        .path = inode->type == INODE_DIR ? inode->own : NULL,
        .bytes = inode->type == INODE_TEXT ? inode->own : NULL,
    };
    if (facts->nodeid == INODE_ROOT)
        facts->ino = INODE_ROOT;
}

/* The kernel gets to know a face. */
static void remember(struct inode *inode, enum inode_face face, struct inode_facts *facts)
{
    inode->lookups[face]++;
    fill_facts(inode, face, facts);
}

int inode_table_new(struct inode_table **ret_table)
{
    struct inode_table *table = calloc(1, sizeof(*table));
    const struct identity root = inode_identity_of_path("");
    struct inode_facts facts;
    struct inode *inode;

    if (!table)
        return -ENOMEM;
    pthread_mutex_init(&table->lock, NULL);
    inode = inode_slots_init(table) == 0 ? inode_create(table, &root, 0, "", 0) : NULL;
    if (!inode) {
        inode_table_free(table);
        return -ENOMEM;
    }
    remember(inode, FACE_FULL, &facts);
    *ret_table = table;
    return 0;
}

void inode_table_free(struct inode_table *table)
{
    if (!table)
        return;
    inode_slots_release(table);
    pthread_mutex_destroy(&table->lock);
    free(table);
}

int inode_lookup_dir(struct inode_table *table, const char *path, int64_t mtime_ns,
                     struct inode_facts *ret_facts)
{
    const struct identity identity = inode_identity_of_path(path);
    struct inode *inode;

    scoped_lock(&table->lock);
    inode = inode_find(table, &identity);
    if (!inode)
        inode = inode_create(table, &identity, mtime_ns, path, strlen(path));
    if (!inode)
        return -ENOMEM;
    remember(inode, FACE_FULL, ret_facts);
    return 0;
}

int inode_lookup_blob(struct inode_table *table, const struct tree_blob *blob, enum inode_face face,
                      struct inode_facts *ret_facts)
{
    const struct identity identity = {.type = INODE_BLOB, .key = blob->key};
    struct inode *inode;

    scoped_lock(&table->lock);
    inode = inode_find(table, &identity);
    if (!inode)
        inode = inode_create(table, &identity, blob->mtime_ns, NULL, 0);
    if (!inode)
        return -ENOMEM;
    inode->mtime_ns = blob->mtime_ns;
    remember(inode, inode->outdated ? FACE_LAZY : face, ret_facts);
    return 0;
}

int inode_lookup_text(struct inode_table *table, const char *bytes, size_t size,
                      const struct blob_key *key, int64_t mtime_ns, struct inode_facts *ret_facts)
{
    const struct identity identity = {.type = INODE_TEXT, .key = *key};
    struct inode *inode;

    scoped_lock(&table->lock);
    inode = inode_find(table, &identity);
    if (!inode)
        inode = inode_create(table, &identity, mtime_ns, bytes, size);
    if (!inode)
        return -ENOMEM;
    remember(inode, FACE_FULL, ret_facts);
    return 0;
}

void inode_forget(struct inode_table *table, uint64_t nodeid, uint64_t lookups)
{
    struct inode *inode;
    uint64_t *known;

    scoped_lock(&table->lock);
    inode = inode_of_nodeid(table, nodeid);
    if (!inode || nodeid == INODE_ROOT)
        return;
    known = &inode->lookups[inode_face_of(nodeid)];
    *known -= lookups < *known ? lookups : *known;
    inode_bury_if_dead(table, inode);
}

int inode_facts(struct inode_table *table, uint64_t nodeid, struct inode_facts *ret_facts)
{
    const struct inode *inode;

    scoped_lock(&table->lock);
    inode = inode_of_nodeid(table, nodeid);
    if (!inode)
        return -ESTALE;
    fill_facts(inode, inode_face_of(nodeid), ret_facts);
    return 0;
}

int inode_open(struct inode_table *table, uint64_t nodeid, struct inode_open *open,
               struct inode_facts *ret_facts)
{
    const enum inode_face face = inode_face_of(nodeid);
    struct inode *inode;

    scoped_lock(&table->lock);
    inode = inode_of_nodeid(table, nodeid);
    if (!inode)
        return -ESTALE;
    inode->opens[face]++;
    open->nodeid = nodeid;
    open->waits = face == FACE_LAZY;
    inode->waiting += open->waits;
    open->previous = NULL;
    open->next = table->opened;
    if (open->next)
        open->next->previous = open;
    table->opened = open;
    fill_facts(inode, face, ret_facts);
    return 0;
}

/* Lock held; an open keeps its face: it is there. */
static void wait_no_more(struct inode_table *table, struct inode_open *open)
{
    inode_of_nodeid(table, open->nodeid)->waiting -= open->waits;
    open->waits = false;
}

void inode_has_bytes(struct inode_table *table, struct inode_open *open)
{
    scoped_lock(&table->lock);
    wait_no_more(table, open);
}

void inode_outdate(struct inode_table *table, uint64_t nodeid)
{
    scoped_lock(&table->lock);
    inode_of_nodeid(table, nodeid)->outdated = true;
}

void inode_close(struct inode_table *table, struct inode_open *open)
{
    struct inode *inode;

    scoped_lock(&table->lock);
    wait_no_more(table, open);
    if (open->previous)
        open->previous->next = open->next;
    else
        table->opened = open->next;
    if (open->next)
        open->next->previous = open->previous;
    inode = inode_of_nodeid(table, open->nodeid);
    inode->opens[inode_face_of(open->nodeid)]--;
    inode->outdated &= inode->opens[FACE_FULL] > 0;
    inode_bury_if_dead(table, inode);
}

void inode_release_all(struct inode_table *table)
{
    while (table->opened)
        table->opened->release(table->opened);
}
