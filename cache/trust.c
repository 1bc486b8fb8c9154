/* SPDX-License-Identifier: MIT */
/* trust.c - an open-addressed hash table.
 *
 * Invariant: every record can be reached from its home slot by walking forward over occupied slots
 * only. Removal keeps it without tombstones: the gap moves forward, filled by each later record of
 * the same run that may live there. At least a quarter of the slots is free, so walks end. */
#include "cache/trust.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "cache/scoped.h"

#define FIRST_SLOTS 64

struct trust {
    pthread_mutex_t lock;       /* guards all below */
    struct trust_record *slots; /* kind BLOB_NONE: free */
    size_t slot_count;          /* a power of two */
    size_t used;
};

int trust_new(struct trust **ret_trust)
{
    struct trust *trust = calloc(1, sizeof(*trust));

    if (!trust)
        return -ENOMEM;
    trust->slots = calloc(FIRST_SLOTS, sizeof(*trust->slots));
    if (!trust->slots) {
        free(trust);
        return -ENOMEM;
    }
    trust->slot_count = FIRST_SLOTS;
    pthread_mutex_init(&trust->lock, NULL);
    *ret_trust = trust;
    return 0;
}

void trust_free(struct trust *trust)
{
    if (!trust)
        return;
    pthread_mutex_destroy(&trust->lock);
    free(trust->slots);
    free(trust);
}

void trust_freep(struct trust *const *trust)
{
    trust_free(*trust);
}

static size_t home_of(const struct trust *trust, const struct blob_key *key)
{
    return (size_t)blob_key_hash(key) & (trust->slot_count - 1);
}

static size_t next_slot(const struct trust *trust, size_t slot)
{
    return (slot + 1) & (trust->slot_count - 1);
}

/* The key's slot, or the free one where it belongs. */
static size_t find(const struct trust *trust, const struct blob_key *key)
{
    size_t slot = home_of(trust, key);

    while (trust->slots[slot].key.kind != BLOB_NONE &&
           !blob_key_equal(&trust->slots[slot].key, key))
        slot = next_slot(trust, slot);
    return slot;
}

static const struct trust_record *record_of(const struct trust *trust, const struct blob_key *key)
{
    const struct trust_record *record = &trust->slots[find(trust, key)];

    return record->key.kind == BLOB_NONE ? NULL : record;
}

static int resize(struct trust *trust, size_t slot_count)
{
    struct trust_record *old = trust->slots;
    size_t old_count = trust->slot_count;
    struct trust_record *slots = calloc(slot_count, sizeof(*slots));

    if (!slots)
        return -ENOMEM;
    trust->slots = slots;
    trust->slot_count = slot_count;
    for (size_t i = 0; i < old_count; i++) {
        if (old[i].key.kind != BLOB_NONE)
            slots[find(trust, &old[i].key)] = old[i];
    }
    free(old);
    return 0;
}

static int make_room(struct trust *trust)
{
    return trust->used + 1 <= trust->slot_count / 4 * 3 ? 0 : resize(trust, 2 * trust->slot_count);
}

int trust_reserve(struct trust *trust, size_t count)
{
    scoped_lock(&trust->lock);
    size_t slot_count = trust->slot_count;

    while (count > slot_count / 4 * 3)
        slot_count *= 2;
    return slot_count > trust->slot_count ? resize(trust, slot_count) : 0;
}

/* Lock held. */
static int put_locked(struct trust *trust, const struct trust_record *record)
{
    int r = make_room(trust);

    if (r < 0)
        return r;

    struct trust_record *slot = &trust->slots[find(trust, &record->key)];

    trust->used += slot->key.kind == BLOB_NONE;
    *slot = *record;
    return 0;
}

int trust_put_record(struct trust *trust, const struct trust_record *record)
{
    if (record->key.kind == BLOB_NONE)
        return -EINVAL;

    scoped_lock(&trust->lock);
    return put_locked(trust, record);
}

/* Wraps for times some three hundred years away, the same way each time: only equality matters. */
static int64_t nanoseconds(struct timespec time)
{
    return (int64_t)((uint64_t)time.tv_sec * UINT64_C(1000000000) + (uint64_t)time.tv_nsec);
}

static struct trust_record record_for(const struct blob_key *key, const struct stat *st)
{
    return (struct trust_record){
        .key = *key,
        .dev = st->st_dev,
        .ino = st->st_ino,
        .mtime_ns = nanoseconds(st->st_mtim),
        .ctime_ns = nanoseconds(st->st_ctim),
    };
}

int trust_put(struct trust *trust, const struct blob_key *key, const struct stat *st,
              const uint8_t xxh[static BLOB_DIGEST_SIZE])
{
    scoped_lock(&trust->lock);
    const struct trust_record *old = record_of(trust, key);
    struct trust_record record = record_for(key, st);

    memcpy(record.xxh, xxh, BLOB_DIGEST_SIZE);
    record.has_xxh = true;
    record.proved_here = true;
    record.opened = old ? old->opened : time(NULL);
    return put_locked(trust, &record);
}

int trust_vouch(struct trust *trust, const struct blob_key *key, const struct stat *st)
{
    scoped_lock(&trust->lock);
    const struct trust_record *old = record_of(trust, key);
    struct trust_record record = record_for(key, st);

    record.opened = old ? old->opened : time(NULL);
    if (old && old->has_xxh && old->ino == record.ino) {
        memcpy(record.xxh, old->xxh, BLOB_DIGEST_SIZE);
        record.has_xxh = true;
    }
    return put_locked(trust, &record);
}

int trust_list(struct trust *trust, const struct blob_key *key, const struct stat *st)
{
    scoped_lock(&trust->lock);
    struct trust_record record = record_for(key, st);

    if (record_of(trust, key))
        return 0;
    record.opened = st->st_mtim.tv_sec;
    record.doubted = true;
    return put_locked(trust, &record);
}

void trust_touch(struct trust *trust, const struct blob_key *key)
{
    const int64_t now = time(NULL);

    scoped_lock(&trust->lock);
    struct trust_record *slot = &trust->slots[find(trust, key)];

    if (slot->key.kind != BLOB_NONE)
        slot->opened = now;
}

uint64_t trust_sum(struct trust *trust)
{
    scoped_lock(&trust->lock);
    uint64_t sum = 0;

    for (size_t i = 0; i < trust->slot_count; i++) {
        if (trust->slots[i].key.kind != BLOB_NONE)
            sum += trust->slots[i].key.size;
    }
    return sum;
}

static void doubt_what_others_proved(struct trust *trust)
{
    scoped_lock(&trust->lock);

    for (size_t i = 0; i < trust->slot_count; i++) {
        if (!trust->slots[i].proved_here)
            trust->slots[i].doubted = true;
    }
}

static int adopt(struct trust *trust, struct trust_record record, bool doubt)
{
    scoped_lock(&trust->lock);
    const struct trust_record *ours = record_of(trust, &record.key);

    if (ours && ours->proved_here)
        return 0;
    if (ours && ours->opened > record.opened)
        record.opened = ours->opened;
    record.doubted |= doubt;
    return put_locked(trust, &record);
}

int trust_adopt(struct trust *trust, struct trust *saved, bool doubt)
{
    scoped_free struct trust_record *records = NULL;
    size_t count = 0;
    int r = trust_snapshot(saved, &records, &count);

    if (doubt)
        doubt_what_others_proved(trust);
    for (size_t i = 0; r == 0 && i < count; i++)
        r = adopt(trust, records[i], doubt);
    return r;
}

static void remove_slot(struct trust *trust, size_t gap)
{
    size_t mask = trust->slot_count - 1;

    trust->slots[gap].key.kind = BLOB_NONE;
    trust->used--;
    for (size_t slot = next_slot(trust, gap); trust->slots[slot].key.kind != BLOB_NONE;
         slot = next_slot(trust, slot)) {
        size_t home = home_of(trust, &trust->slots[slot].key);

        /* Does the walk from its home to here pass the gap? Then it may move there. */
        if (((slot - home) & mask) >= ((slot - gap) & mask)) {
            trust->slots[gap] = trust->slots[slot];
            trust->slots[slot].key.kind = BLOB_NONE;
            gap = slot;
        }
    }
}

void trust_forget(struct trust *trust, const struct blob_key *key)
{
    scoped_lock(&trust->lock);
    size_t slot = find(trust, key);

    if (trust->slots[slot].key.kind != BLOB_NONE)
        remove_slot(trust, slot);
}

static int compare_keys(const void *a, const void *b)
{
    return blob_key_compare(a, b);
}

void trust_retain(struct trust *trust, const struct blob_key *keys, size_t count)
{
    scoped_lock(&trust->lock);

    for (size_t slot = 0; slot < trust->slot_count;) {
        const struct blob_key *key = &trust->slots[slot].key;

        /* A removal may move a later record into this slot: look at it again. */
        if (key->kind != BLOB_NONE &&
            (count == 0 || !bsearch(key, keys, count, sizeof(*keys), compare_keys)))
            remove_slot(trust, slot);
        else
            slot++;
    }
}

void trust_doubt(struct trust *trust)
{
    scoped_lock(&trust->lock);

    for (size_t i = 0; i < trust->slot_count; i++)
        trust->slots[i].doubted = true;
}

void trust_suspect(struct trust *trust, const struct blob_key *key)
{
    scoped_lock(&trust->lock);
    struct trust_record *slot = &trust->slots[find(trust, key)];

    if (slot->key.kind != BLOB_NONE)
        slot->doubted = true;
}

bool trust_expects(struct trust *trust, const struct blob_key *key)
{
    scoped_lock(&trust->lock);
    const struct trust_record *record = record_of(trust, key);

    return record && !record->doubted;
}

bool trust_holds(struct trust *trust, const struct blob_key *key, const struct stat *st)
{
    scoped_lock(&trust->lock);
    const struct trust_record *record = record_of(trust, key);

    return record && !record->doubted && (uint64_t)st->st_size == key->size &&
           record->dev == st->st_dev && record->ino == st->st_ino &&
           record->mtime_ns == nanoseconds(st->st_mtim) &&
           record->ctime_ns == nanoseconds(st->st_ctim);
}

/* Device numbers may differ after a restart of the machine, hence not dev. */
bool trust_recall(struct trust *trust, const struct blob_key *key, const struct stat *st,
                  uint8_t ret_xxh[static BLOB_DIGEST_SIZE])
{
    scoped_lock(&trust->lock);
    const struct trust_record *record = record_of(trust, key);

    if (!record || !record->has_xxh || record->ino != st->st_ino ||
        (uint64_t)st->st_size != key->size)
        return false;
    memcpy(ret_xxh, record->xxh, BLOB_DIGEST_SIZE);
    return true;
}

int trust_snapshot(struct trust *trust, struct trust_record **ret_records, size_t *ret_count)
{
    scoped_lock(&trust->lock);
    struct trust_record *records = calloc(trust->used + 1, sizeof(*records));
    size_t count = 0;

    if (!records)
        return -ENOMEM;
    for (size_t i = 0; i < trust->slot_count; i++) {
        if (trust->slots[i].key.kind != BLOB_NONE)
            records[count++] = trust->slots[i];
    }
    *ret_records = records;
    *ret_count = count;
    return 0;
}
