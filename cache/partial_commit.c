/* SPDX-License-Identifier: MIT */
/* partial_commit.c - a partial's end.
 *
 * The key's own digest has the last word, and it is asked about every byte: those that came in
 * order were hashed on their way in, the others are read back here and must fit their sums, so that
 * one bad block costs a block and not the blob. What was hashed was right, whatever becomes of the
 * block that the digest stands in: it goes on there once those bytes are here again.
 *
 * From the rename on, the file is the blob's: the object leaves the list, and its holders read on
 * through their descriptor. A failed sync poisons the file, as in writer.c: the kernel may have
 * dropped the pages and will not say so again. */
#include <errno.h>
#include <string.h>

#include "cache/files.h"
#include "cache/partial_object.h"
#include "cache/room.h"

static enum partial_state state_of(struct partial *partial)
{
    scoped_lock(&partial->lock);
    return partial->state;
}

static void set_state(struct partial *partial, enum partial_state state)
{
    scoped_lock(&partial->lock);
    partial->state = state;
}

/* --- the tag --- */

const char *partial_tag(const struct partial *partial)
{
    return partial->tag;
}

bool partial_tagged(struct partial *partial)
{
    scoped_lock(&partial->lock);
    return partial->tag[0] != '\0';
}

static bool tag_valid(const char *tag)
{
    size_t size = strlen(tag);

    for (size_t i = 0; i < size; i++) {
        if ((unsigned char)tag[i] < ' ' || tag[i] == 0x7f)
            return false;
    }
    return size < PARTIAL_TAG_SIZE;
}

int partial_set_tag(struct partial *partial, const char *tag)
{
    if (!partial->writable)
        return -EROFS;
    if (!tag_valid(tag))
        return -EINVAL;

    int r = partial->map < 0 ? 0 : map_write_tag(partial->map, key_of(partial), tag);

    if (r < 0)
        return r;

    scoped_lock(&partial->lock);
    memmove(partial->tag, tag, strlen(tag) + 1);
    return 0;
}

/* --- giving up --- */

static void give_up(struct partial *partial)
{
    struct partials *partials = partial->store->partials;

    partials_make_busy(partials, &partial->listed);
    set_state(partial, PARTIAL_GIVEN_UP);
    if (partial->map >= 0)
        map_spoil(partial->map);
    partial_unlink(partial);
    room_end_open(partial->store, partial_bytes(partial));
    partials_leave(partials, &partial->listed);
}

void partial_fail(struct partial *partial)
{
    if (partial->writable && state_of(partial) == PARTIAL_FILLING)
        give_up(partial);
}

/* --- on disk --- */

int partial_flush(struct partial *partial)
{
    if (!partial->writable)
        return -EROFS;
    if (state_of(partial) != PARTIAL_FILLING)
        return state_of(partial) == PARTIAL_COMMITTED ? 0 : -EBADMSG;

    int r = partial->map < 0 ? partial_make_map(partial) : 0;

    if (r < 0)
        return r;
    if (fdatasync(partial->fd) < 0 || fdatasync(partial->map) < 0) {
        r = negative_errno();
        give_up(partial);
    }
    return r;
}

/* --- the digest --- */

int partial_rewind(struct partial *partial)
{
    partial->hashed = 0;
    return digest_reset(partial->digest);
}

void partial_hash(struct partial *partial, uint64_t offset, const void *data, size_t size)
{
    if (offset != partial->hashed)
        return;
    if (digest_update(partial->digest, data, size) == 0)
        partial->hashed += size;
    else
        partial_rewind(partial);
}

/* Reads the block at the position of the digest, and takes the digest to the end of it. */
static int hash_block(struct partial *partial, void *buffer, uint32_t *ret_read)
{
    const uint32_t block = (uint32_t)(partial->hashed / PARTIAL_BLOCK);
    const uint32_t from = (uint32_t)(partial->hashed % PARTIAL_BLOCK);
    uint32_t filled = 0;
    int r = partial_prove(partial, block, buffer, &filled);

    if (r < 0)
        return r;
    if (filled <= from)
        return -EAGAIN;
    r = digest_update(partial->digest, (const uint8_t *)buffer + from, filled - from);
    if (r < 0) {
        partial_rewind(partial);
        return r;
    }
    partial->hashed += filled - from;
    *ret_read = filled;
    return 0;
}

static int hash_slice(struct partial *partial)
{
    scoped_free void *buffer = malloc(PARTIAL_BLOCK);
    uint64_t done = 0;

    if (!buffer)
        return -ENOMEM;
    while (partial->hashed < key_of(partial)->size) {
        uint32_t read = 0;

        if (done >= PARTIAL_SLICE)
            return -EINPROGRESS;

        int r = hash_block(partial, buffer, &read);

        if (r < 0)
            return r;
        done += read;
    }
    return 0;
}

/* --- the blob --- */

static int seal(const struct partial *partial)
{
    struct stat st;

    if (fstat(partial->fd, &st) < 0)
        return negative_errno();
    if ((uint64_t)st.st_size != key_of(partial)->size)
        return -EBADMSG; /* somebody else has been here */
    if (fchmod(partial->fd, 0400) < 0 || fdatasync(partial->fd) < 0)
        return negative_errno();
    return 0;
}

/* On error the partial is as before, and may be committed again. */
static int publish(struct partial *partial, const struct digest_sums *sums)
{
    struct partials *partials = partial->store->partials;
    char name[BLOB_KEY_TEXT_SIZE];

    blob_key_format(key_of(partial), name);
    partials_make_busy(partials, &partial->listed);
    int r = blob_publish(partial->store, name, partial->fd, key_of(partial), sums->xxh);

    if (r < 0) {
        partials_open(partials, &partial->listed);
        return r;
    }
    set_state(partial, PARTIAL_COMMITTED);
    partial_unlink(partial); /* the map; the data has its own name now */
    partials_leave(partials, &partial->listed);
    return 0;
}

int partial_commit(struct partial *partial)
{
    struct digest_sums sums;

    if (!partial->writable)
        return -EROFS;
    if (state_of(partial) != PARTIAL_FILLING)
        return state_of(partial) == PARTIAL_COMMITTED ? 0 : -EBADMSG;

    int r = hash_slice(partial);

    if (r == 0)
        r = digest_sums(partial->digest, &sums);
    if (r < 0)
        return r;

    r = digest_matches(&sums, key_of(partial)) ? seal(partial) : -EBADMSG;
    if (r < 0) {
        give_up(partial);
        return r;
    }
    r = publish(partial, &sums);
    if (room_retry(partial->store, r))
        r = room_retried(partial->store, publish(partial, &sums));
    return r;
}
