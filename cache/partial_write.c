/* SPDX-License-Identifier: MIT */
/* partial_write.c - bytes in.
 *
 * Data, then its entry in the map on disk, then the entry in memory. Killed between any two of
 * these, the entry on disk still describes the bytes it counts, since a block only ever grows. If a
 * step fails, memory has not changed, and what was written beyond an entry is written again.
 *
 * A block that goes on needs the running sum of its beginning. Where that is not at hand (the block
 * was filled by an earlier process, or more blocks than STRANDS are under way) the beginning is
 * read back, and proved: otherwise a new sum would vouch for old damage. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "cache/files.h"
#include "cache/partial_object.h"
#include "cache/room.h"

#define WRITEBACK_STEP ((uint64_t)32 << 20)

static struct strand *strand_of(struct partial *partial, uint32_t block)
{
    for (size_t i = 0; i < STRANDS; i++) {
        if (partial->strands[i].filled > 0 && partial->strands[i].block == block)
            return &partial->strands[i];
    }
    return NULL;
}

/* An empty one for the block: its own, a free one, or that which was used longest ago. */
static int strand_begin(struct partial *partial, uint32_t block, struct strand **ret_strand)
{
    struct strand *strand = strand_of(partial, block);

    for (size_t i = 0; i < STRANDS && !strand; i++) {
        if (partial->strands[i].filled == 0)
            strand = &partial->strands[i];
    }
    if (!strand) {
        strand = &partial->strands[0];
        for (size_t i = 1; i < STRANDS; i++) {
            if (partial->strands[i].used < strand->used)
                strand = &partial->strands[i];
        }
    }
    if (!strand->sum) {
        int r = checksum_new(&strand->sum);

        if (r < 0)
            return r;
    }
    checksum_reset(strand->sum);
    strand->block = block;
    strand->filled = 0;
    *ret_strand = strand;
    return 0;
}

/* The strand of a block that goes on, holding the sum of what is here of it. One that has run ahead,
 * in a write that failed, does not. */
static int strand_resume(struct partial *partial, uint32_t block, uint32_t filled)
{
    struct strand *strand = strand_of(partial, block);
    uint32_t proved = 0;

    if (strand && strand->filled == filled)
        return 0;

    scoped_free void *buffer = malloc(PARTIAL_BLOCK);
    int r = buffer ? partial_prove(partial, block, buffer, &proved) : -ENOMEM;

    if (r < 0)
        return r == -EAGAIN ? -EINVAL : r; /* dropped: it begins at its beginning now */
    r = strand_begin(partial, block, &strand);
    if (r < 0)
        return r;
    checksum_update(strand->sum, buffer, proved);
    strand->filled = proved;
    return 0;
}

/* Does each block that the range touches end where the range goes on? */
static int check_ends(struct partial *partial, uint64_t offset, size_t size)
{
    scoped_lock(&partial->lock);
    uint32_t expected = within_block(offset);

    if (partial->state != PARTIAL_FILLING)
        return partial->state == PARTIAL_GIVEN_UP ? -EBADMSG : -EINVAL;
    for (uint32_t i = block_at(offset); i <= last_block(offset, size); i++) {
        if (partial->blocks[i].filled != expected)
            return -EINVAL;
        expected = 0;
    }
    return 0;
}

/* What the block's entry will be, given the data that goes into it. */
static int add_to_block(struct partial *partial, uint32_t block, uint32_t from, const void *data,
                        uint32_t size, struct block *ret_block)
{
    struct block entry = {.filled = from + size, .proved = true};
    struct strand *strand = strand_of(partial, block);

    if (from == 0 && entry.filled == map_block_length(key_of(partial), block)) {
        entry.sum = checksum_of(data, size);
    } else {
        int r = from == 0 ? strand_begin(partial, block, &strand) : 0;

        if (r < 0)
            return r;
        checksum_update(strand->sum, data, size);
        entry.sum = checksum_value(strand->sum);
        strand->filled = entry.filled;
    }
    if (strand && entry.filled == map_block_length(key_of(partial), block))
        strand->filled = 0;
    *ret_block = entry;
    return 0;
}

static int add_to_blocks(struct partial *partial, uint64_t offset, const uint8_t *data, size_t size,
                         struct block *ret_blocks)
{
    int r = 0;

    while (r == 0 && size > 0) {
        uint32_t block = block_at(offset);
        uint32_t from = within_block(offset);
        uint32_t n = reach(block, offset, size) - from;

        r = add_to_block(partial, block, from, data, n, ret_blocks++);
        offset += n;
        data += n;
        size -= n;
    }
    return r;
}

static int save_entries(struct partial *partial, uint32_t first, const struct block *blocks,
                        uint32_t count)
{
    if (partial->map < 0)
        return 0;

    int r = map_write_blocks(partial->map, first, blocks, count);

    if (room_retry(partial->store, r))
        r = room_retried(partial->store, map_write_blocks(partial->map, first, blocks, count));
    return r;
}

static void take_entries(struct partial *partial, uint32_t first, const struct block *blocks,
                         uint32_t count)
{
    scoped_lock(&partial->lock);

    for (uint32_t i = 0; i < count; i++) {
        partial->bytes += blocks[i].filled - partial->blocks[first + i].filled;
        partial->blocks[first + i] = blocks[i];
    }
}

/* --- the bytes --- */

/* The same file once more, since what is written past the page cache is a matter of the open file. */
static int open_direct(struct partial *partial)
{
    char name[BLOB_KEY_TEXT_SIZE];
    struct stat ours;
    struct stat found;

    blob_key_format(key_of(partial), name);
    scoped_fd int fd = openat(partial->store->root.partial, name,
                              O_RDWR | O_DIRECT | O_NOFOLLOW | O_CLOEXEC);

    if (fd < 0 || fstat(fd, &found) < 0 || fstat(partial->fd, &ours) < 0)
        return negative_errno();
    if (found.st_dev != ours.st_dev || found.st_ino != ours.st_ino)
        return -ESTALE;
    partial->direct = take_fd(fd);
    return 0;
}

static bool can_go_direct(struct partial *partial, uint64_t offset, const void *data, size_t size)
{
    if (partial->indirect || ((uintptr_t)data | offset | size) % PARTIAL_ALIGN != 0)
        return false;
    partial->indirect = partial->direct < 0 && open_direct(partial) < 0;
    return !partial->indirect;
}

/* Lets the disk begin with what is complete, so that the sync at the end has little left to wait for.
 * Whether it does is seen there. */
static void start_writeback(const struct partial *partial, uint64_t end)
{
    if (end % WRITEBACK_STEP == 0)
        sync_file_range(partial->fd, (off_t)(end - WRITEBACK_STEP), (off_t)WRITEBACK_STEP,
                        SYNC_FILE_RANGE_WRITE);
}

static int write_bytes(struct partial *partial, uint64_t offset, const void *data, size_t size,
                       bool direct)
{
    int r = -EINVAL;

    if (direct && can_go_direct(partial, offset, data, size)) {
        r = room_write(partial->store, partial->direct, data, size, offset);
        if (r != -EINVAL)
            return r;
        partial->indirect = true; /* it was opened, but is not meant */
    }
    r = room_write(partial->store, partial->fd, data, size, offset);
    if (r == 0)
        start_writeback(partial, offset + size);
    return r;
}

/* They are written: the map shall say so. */
static int note_range(struct partial *partial, uint64_t offset, const void *data, size_t size,
                      struct block *blocks)
{
    uint32_t first = block_at(offset);
    uint32_t last = last_block(offset, size);
    int r = add_to_blocks(partial, offset, data, size, blocks);

    if (r == 0)
        r = save_entries(partial, first, blocks, last - first + 1);
    if (r < 0) {
        room_end_open(partial->store, size);
        return r;
    }
    take_entries(partial, first, blocks, last - first + 1);
    return 0;
}

static int write_either_way(struct partial *partial, uint64_t offset, const void *data, size_t size,
                            bool direct)
{
    if (!partial->writable)
        return -EROFS;
    if (!in_bounds(partial, offset, size))
        return -EFBIG;
    if (size == 0)
        return 0;

    uint32_t count = last_block(offset, size) - block_at(offset) + 1;
    scoped_free struct block *blocks = calloc(count, sizeof(*blocks));

    if (!blocks)
        return -ENOMEM;
    int r = check_ends(partial, offset, size);

    if (r == 0 && within_block(offset) > 0)
        r = strand_resume(partial, block_at(offset), within_block(offset));
    if (r == 0)
        r = write_bytes(partial, offset, data, size, direct);
    return r < 0 ? r : note_range(partial, offset, data, size, blocks);
}

int partial_write(struct partial *partial, uint64_t offset, const void *data, size_t size)
{
    return write_either_way(partial, offset, data, size, false);
}

int partial_write_direct(struct partial *partial, uint64_t offset, const void *data, size_t size)
{
    return write_either_way(partial, offset, data, size, true);
}
