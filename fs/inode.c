/* SPDX-License-Identifier: MIT */
/* Two hash indexes over one set of entries: by identity (what it is) and by nodeid (what the kernel
 * calls it). Find-or-create is one critical section, so two look-ups can not make two inodes of one
 * blob, and an entry leaves both indexes in the critical section in which its last count fell.
 *
 * A nodeid is twice a counter, plus the face: its lowest bit says which face it is, which is also
 * how a face in the nodeid index finds the entry that it is part of. The root's 1 fits: folders and
 * texts only have the full face. */
#include <errno.h>
#include <string.h>

#include "cache/scoped.h"
#include "fs/inode_private.h"

#define FIRST_BUCKETS 64

static size_t identity_bucket(const struct inode_table *table, const struct inode *inode)
{
    return blob_key_hash(&inode->key) & (table->buckets - 1);
}

static size_t nodeid_bucket(const struct inode_table *table, uint64_t nodeid)
{
    return (nodeid >> 1) & (table->buckets - 1);
}

static enum inode_face face_of(uint64_t nodeid)
{
    return nodeid & 1 ? FACE_FULL : FACE_LAZY;
}

static struct inode *owner(struct face *face)
{
    return (struct inode *)((char *)(face - face_of(face->nodeid)) - offsetof(struct inode, faces));
}

/* --- the two indexes --- */

static void link_inode(struct inode_table *table, struct inode *inode)
{
    struct inode **bucket = &table->by_identity[identity_bucket(table, inode)];

    inode->next = *bucket;
    *bucket = inode;
}

static void link_face(struct inode_table *table, struct face *face)
{
    struct face **bucket = &table->by_nodeid[nodeid_bucket(table, face->nodeid)];

    face->next = *bucket;
    *bucket = face;
}

static void unlink_face(struct inode_table *table, struct face *face)
{
    struct face **at = &table->by_nodeid[nodeid_bucket(table, face->nodeid)];

    while (*at != face)
        at = &(*at)->next;
    *at = face->next;
    table->nodeids--;
}

/* Doubles both indexes. That there is no memory for it only makes chains longer. */
static void grow(struct inode_table *table)
{
    struct inode **inodes = table->by_identity;
    struct face **faces = table->by_nodeid;
    const size_t old = table->buckets;
    struct inode **more_inodes = calloc(old * 2, sizeof(*more_inodes));
    struct face **more_faces = calloc(old * 2, sizeof(*more_faces));

    if (!more_inodes || !more_faces) {
        free(more_inodes);
        free(more_faces);
        return;
    }
    table->by_identity = more_inodes;
    table->by_nodeid = more_faces;
    table->buckets = old * 2;
    for (size_t i = 0; i < old; i++) {
        for (struct inode *inode = inodes[i], *next; inode; inode = next) {
            next = inode->next;
            link_inode(table, inode);
        }
        for (struct face *face = faces[i], *next; face; face = next) {
            next = face->next;
            link_face(table, face);
        }
    }
    free(inodes);
    free(faces);
}

static struct face *find_face(const struct inode_table *table, uint64_t nodeid)
{
    struct face *face = table->by_nodeid[nodeid_bucket(table, nodeid)];

    while (face && face->nodeid != nodeid)
        face = face->next;
    return face;
}

struct inode *inode_of_nodeid(const struct inode_table *table, uint64_t nodeid)
{
    return owner(find_face(table, nodeid));
}

/* --- entries --- */

struct identity inode_identity_of_path(const char *path)
{
    struct identity identity = {.type = INODE_DIR, .path = path};

    blob_key_of_bytes(path, strlen(path), &identity.key);
    return identity;
}

struct inode *inode_find(const struct inode_table *table, const struct identity *identity)
{
    const size_t bucket = blob_key_hash(&identity->key) & (table->buckets - 1);

    for (struct inode *inode = table->by_identity[bucket]; inode; inode = inode->next)
        if (inode->type == identity->type && blob_key_equal(&inode->key, &identity->key) &&
            (inode->type != INODE_DIR || !strcmp(inode->own, identity->path)))
            return inode;
    return NULL;
}

struct inode *inode_create(struct inode_table *table, const struct identity *identity,
                           int64_t mtime_ns, const char *own, size_t own_size)
{
    struct inode *inode = calloc(1, sizeof(*inode));

    if (!inode)
        return NULL;
    inode->type = identity->type;
    inode->key = identity->key;
    inode->mtime_ns = mtime_ns;
    if (own) {
        inode->own = malloc(own_size + 1);
        if (!inode->own) {
            free(inode);
            return NULL;
        }
        memcpy(inode->own, own, own_size);
        inode->own[own_size] = '\0';
    }
    if (table->inodes >= table->buckets)
        grow(table);
    link_inode(table, inode);
    table->inodes++;
    return inode;
}

static bool is_dead(const struct inode *inode)
{
    return !inode->references && !inode->faces[FACE_LAZY].lookups &&
           !inode->faces[FACE_FULL].lookups && !inode->opens[FACE_LAZY] && !inode->opens[FACE_FULL];
}

void inode_bury_if_dead(struct inode_table *table, struct inode *inode)
{
    struct inode **at = &table->by_identity[identity_bucket(table, inode)];

    if (!is_dead(inode))
        return;
    while (*at != inode)
        at = &(*at)->next;
    *at = inode->next;
    for (size_t i = 0; i < FACES; i++)
        if (inode->faces[i].nodeid)
            unlink_face(table, &inode->faces[i]);
    table->inodes--;
    free(inode->own);
    free(inode);
}

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
        .nodeid = inode->faces[face].nodeid,
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
static void remember(struct inode_table *table, struct inode *inode, enum inode_face face,
                     struct inode_facts *facts)
{
    struct face *known = &inode->faces[face];

    if (!known->nodeid) {
        known->nodeid = table->next_nodeid + face;
        table->next_nodeid += 2;
        link_face(table, known);
        table->nodeids++;
    }
    known->lookups++;
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
    table->buckets = FIRST_BUCKETS;
    table->by_identity = calloc(FIRST_BUCKETS, sizeof(*table->by_identity));
    table->by_nodeid = calloc(FIRST_BUCKETS, sizeof(*table->by_nodeid));
    if (table->by_identity && table->by_nodeid) {
        inode = inode_create(table, &root, 0, "", 0);
        if (inode) {
            remember(table, inode, FACE_FULL, &facts);
            table->next_nodeid = 4;
            *ret_table = table;
            return 0;
        }
    }
    inode_table_free(table);
    return -ENOMEM;
}

void inode_table_free(struct inode_table *table)
{
    if (!table)
        return;
    for (size_t i = 0; table->by_identity && i < table->buckets; i++)
        for (struct inode *inode = table->by_identity[i], *next; inode; inode = next) {
            next = inode->next;
            free(inode->own);
            free(inode);
        }
    free(table->by_identity);
    free(table->by_nodeid);
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
    remember(table, inode, FACE_FULL, ret_facts);
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
    remember(table, inode, inode->outdated ? FACE_LAZY : face, ret_facts);
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
    remember(table, inode, FACE_FULL, ret_facts);
    return 0;
}

void inode_forget(struct inode_table *table, uint64_t nodeid, uint64_t lookups)
{
    struct face *face;

    scoped_lock(&table->lock);
    face = find_face(table, nodeid);
    if (!face || nodeid == INODE_ROOT)
        return;
    face->lookups -= lookups < face->lookups ? lookups : face->lookups;
    inode_bury_if_dead(table, owner(face));
}

int inode_facts(struct inode_table *table, uint64_t nodeid, struct inode_facts *ret_facts)
{
    struct face *face;

    scoped_lock(&table->lock);
    face = find_face(table, nodeid);
    if (!face)
        return -ESTALE;
    fill_facts(owner(face), face_of(nodeid), ret_facts);
    return 0;
}

int inode_open(struct inode_table *table, uint64_t nodeid, struct inode_open *open,
               struct inode_facts *ret_facts)
{
    struct face *face;

    scoped_lock(&table->lock);
    face = find_face(table, nodeid);
    if (!face)
        return -ESTALE;
    owner(face)->opens[face_of(nodeid)]++;
    open->nodeid = nodeid;
    open->waits = face_of(nodeid) == FACE_LAZY;
    owner(face)->waiting += open->waits;
    open->previous = NULL;
    open->next = table->opened;
    if (open->next)
        open->next->previous = open;
    table->opened = open;
    fill_facts(owner(face), face_of(nodeid), ret_facts);
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
    inode->opens[face_of(open->nodeid)]--;
    inode->outdated &= inode->opens[FACE_FULL] > 0;
    inode_bury_if_dead(table, inode);
}

void inode_release_all(struct inode_table *table)
{
    while (table->opened)
        table->opened->release(table->opened);
}
