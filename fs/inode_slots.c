/* SPDX-License-Identifier: MIT */
/* inode_slots.c - where inodes are, and how they are found.
 *
 * An inode has a slot, and slots are in chunks, which are made when they are needed and given back
 * when all of one are free. It does not move as long as it lives. A nodeid says where it is:
 *
 *     serial | slot | face       39, 24 and 1 bits
 *
 * so what the kernel asks for needs no index. The serial, which counts all inodes that were ever
 * made, is what makes the nodeid a new one, whoever had the slot before. Should it begin again after
 * 2^39 of them, nobody is mistaken either: who has that slot with that serial would still be in it.
 * The root is the first, and so its nodeid is the 1 that FUSE wants.
 *
 * By identity there is one index, of chains through the slots. Find-or-create is one critical
 * section, so two look-ups can not make two inodes of one blob, and an entry leaves in the critical
 * section in which its last count fell. */
#include <errno.h>
#include <string.h>

#include "cache/pages.h"
#include "cache/scoped.h"
#include "fs/inode_private.h"

#define FACE_BITS 1
#define SLOT_BITS 24
#define SLOT_SHIFT FACE_BITS
#define SERIAL_SHIFT (FACE_BITS + SLOT_BITS)

#define CHUNK_SLOTS 4096
#define CHUNK_SIZE (CHUNK_SLOTS * sizeof(struct inode))
#define CHUNKS_MAX ((1U << SLOT_BITS) / CHUNK_SLOTS)
#define FIRST_BUCKETS 64

/* --- nodeids --- */

static uint32_t slot_of(uint64_t nodeid)
{
    return (uint32_t)(nodeid >> SLOT_SHIFT) & ((1U << SLOT_BITS) - 1);
}

static struct inode *in_slot(const struct inode_table *table, uint32_t slot)
{
    return &table->chunks[slot / CHUNK_SLOTS].slots[slot % CHUNK_SLOTS];
}

enum inode_face inode_face_of(uint64_t nodeid)
{
    return nodeid & 1 ? FACE_FULL : FACE_LAZY;
}

uint64_t inode_nodeid(const struct inode *inode, enum inode_face face)
{
    return face == FACE_FULL ? inode->nodeid : inode->nodeid - 1;
}

struct inode *inode_of_nodeid(const struct inode_table *table, uint64_t nodeid)
{
    const uint32_t slot = slot_of(nodeid);
    struct inode *inode;

    if (slot / CHUNK_SLOTS >= table->chunk_count || !table->chunks[slot / CHUNK_SLOTS].slots)
        return NULL;
    inode = in_slot(table, slot);
    return inode->nodeid == (nodeid | 1) ? inode : NULL;
}

/* --- slots --- */

/* The first chunk that has room for one more. */
static struct inode_chunk *find_room(struct inode_table *table)
{
    struct inode_chunk *chunk;

    while (table->roomy < table->chunk_count && table->chunks[table->roomy].used == CHUNK_SLOTS)
        table->roomy++;
    if (table->roomy == CHUNKS_MAX)
        return NULL;
    if (table->roomy == table->chunk_count) {
        chunk = realloc(table->chunks, (table->chunk_count + 1) * sizeof(*chunk));
        if (!chunk)
            return NULL;
        table->chunks = chunk;
        table->chunks[table->chunk_count++] = (struct inode_chunk){NULL, 0, 0};
    }
    chunk = &table->chunks[table->roomy];
    if (!chunk->slots)
        chunk->slots = pages_new(CHUNK_SIZE);
    return chunk->slots ? chunk : NULL;
}

/* A zeroed entry that has its nodeid. NULL without memory. */
static struct inode *take_slot(struct inode_table *table)
{
    struct inode_chunk *chunk = find_room(table);
    uint32_t at;

    if (!chunk)
        return NULL;
    for (at = chunk->look; chunk->slots[at].nodeid != 0;)
        at = (at + 1) % CHUNK_SLOTS;
    chunk->look = (at + 1) % CHUNK_SLOTS;
    chunk->used++;
    chunk->slots[at].nodeid = table->serial++ << SERIAL_SHIFT |
                              (table->roomy * CHUNK_SLOTS + at) << SLOT_SHIFT | FACE_FULL;
    return &chunk->slots[at];
}

static void give_slot(struct inode_table *table, struct inode *inode)
{
    const size_t number = slot_of(inode->nodeid) / CHUNK_SLOTS;
    struct inode_chunk *chunk = &table->chunks[number];

    memset(inode, 0, sizeof(*inode));
    if (--chunk->used == 0) {
        pages_free(chunk->slots, CHUNK_SIZE);
        chunk->slots = NULL;
    }
    if (number < table->roomy)
        table->roomy = number;
}

struct inode *inode_after(const struct inode_table *table, const struct inode *inode)
{
    size_t slot = inode ? slot_of(inode->nodeid) + 1 : 0;

    for (; slot < table->chunk_count * CHUNK_SLOTS; slot++) {
        if (!table->chunks[slot / CHUNK_SLOTS].slots)
            slot += CHUNK_SLOTS - 1;
        else if (in_slot(table, (uint32_t)slot)->nodeid != 0)
            return in_slot(table, (uint32_t)slot);
    }
    return NULL;
}

/* --- the index by identity --- */

static uint32_t *bucket_of(const struct inode_table *table, const struct blob_key *key)
{
    return &table->first[blob_key_hash(key) & (table->buckets - 1)];
}

static void link_inode(struct inode_table *table, struct inode *inode)
{
    uint32_t *bucket = bucket_of(table, &inode->key);

    inode->next = *bucket;
    *bucket = slot_of(inode->nodeid);
}

static void unlink_inode(struct inode_table *table, const struct inode *inode)
{
    uint32_t *at = bucket_of(table, &inode->key);

    while (*at != slot_of(inode->nodeid))
        at = &in_slot(table, *at)->next;
    *at = inode->next;
}

static uint32_t *new_buckets(size_t count)
{
    uint32_t *first = pages_new(count * sizeof(*first));

    if (first)
        memset(first, 0xff, count * sizeof(*first)); /* INODE_NO_SLOT */
    return first;
}

/* That there is no memory for it only makes chains longer. */
static void grow(struct inode_table *table)
{
    uint32_t *first = new_buckets(table->buckets * 2);

    if (!first)
        return;
    pages_free(table->first, table->buckets * sizeof(*first));
    table->first = first;
    table->buckets *= 2;
    for (struct inode *inode = NULL; (inode = inode_after(table, inode));)
        link_inode(table, inode);
}

struct identity inode_identity_of_path(const char *path)
{
    struct identity identity = {.type = INODE_DIR, .path = path};

    blob_key_of_bytes(path, strlen(path), &identity.key);
    return identity;
}

struct inode *inode_find(const struct inode_table *table, const struct identity *identity)
{
    for (uint32_t slot = *bucket_of(table, &identity->key); slot != INODE_NO_SLOT;) {
        struct inode *inode = in_slot(table, slot);

        if (inode->type == identity->type && blob_key_equal(&inode->key, &identity->key) &&
            (inode->type != INODE_DIR || !strcmp(inode->own, identity->path)))
            return inode;
        slot = inode->next;
    }
    return NULL;
}

/* --- life --- */

struct inode *inode_create(struct inode_table *table, const struct identity *identity,
                           int64_t mtime_ns, const char *own, size_t own_size)
{
    scoped_free char *copy = own ? malloc(own_size + 1) : NULL;
    struct inode *inode;

    if (own && !copy)
        return NULL;
    inode = take_slot(table);
    if (!inode)
        return NULL;
    inode->type = (uint8_t)identity->type;
    inode->key = identity->key;
    inode->mtime_ns = mtime_ns;
    if (own) {
        memcpy(copy, own, own_size);
        copy[own_size] = '\0';
        inode->own = take_ptr(copy);
    }
    link_inode(table, inode);
    if (++table->inodes > table->buckets)
        grow(table);
    return inode;
}

static bool is_dead(const struct inode *inode)
{
    return !inode->references && !inode->lookups[FACE_LAZY] && !inode->lookups[FACE_FULL] &&
           !inode->opens[FACE_LAZY] && !inode->opens[FACE_FULL];
}

void inode_bury_if_dead(struct inode_table *table, struct inode *inode)
{
    if (!is_dead(inode))
        return;
    unlink_inode(table, inode);
    table->inodes--;
    free(inode->own);
    give_slot(table, inode);
}

int inode_slots_init(struct inode_table *table)
{
    table->buckets = FIRST_BUCKETS;
    table->first = new_buckets(FIRST_BUCKETS);
    return table->first ? 0 : -ENOMEM;
}

void inode_slots_release(struct inode_table *table)
{
    for (struct inode *inode = NULL; (inode = inode_after(table, inode));)
        free(inode->own);
    for (size_t i = 0; i < table->chunk_count; i++)
        pages_free(table->chunks[i].slots, CHUNK_SIZE);
    free(table->chunks);
    pages_free(table->first, table->buckets * sizeof(*table->first));
}
