/* SPDX-License-Identifier: MIT */
/* partial_read.c - bytes out, and the proof before them.
 *
 * The entry is looked up under the lock and the bytes are read without it. A block only grows or is
 * dropped, so what was here then still is, unless the count of drops has changed. */
#include <errno.h>
#include <string.h>

#include "cache/files.h"
#include "cache/partial_object.h"
#include "cache/room.h"

/* --- proof --- */

/* Proved counts: a block that was dropped and filled again has the entry that it had, and is proved
 * now, while what somebody has read of it before was rotten. */
static bool same_entry(const struct block *a, const struct block *b)
{
    return a->filled == b->filled && a->sum == b->sum && a->proved == b->proved;
}

/* 0: proved. 1: the entry is another one by now. -EAGAIN: dropped. */
static int judge(struct partial *partial, uint32_t block, const struct block *seen, bool fits)
{
    scoped_lock(&partial->lock);
    struct block *now = &partial->blocks[block];

    if (partial->state == PARTIAL_GIVEN_UP)
        return -EBADMSG;
    if (!same_entry(now, seen))
        return 1;
    if (fits) {
        now->proved = true;
        return 0;
    }
    partial->bytes -= now->filled;
    partial->drops++;
    *now = (struct block){0};
    return -EAGAIN;
}

static struct block block_now(struct partial *partial, uint32_t block)
{
    scoped_lock(&partial->lock);
    return partial->blocks[block];
}

/* What rotted is not believed again by whoever opens the map next. At worst, a block that somebody
 * has filled anew meanwhile is fetched once more then. */
static void forget_on_disk(struct partial *partial, uint32_t block)
{
    if (partial->writable && partial->map >= 0)
        (void)map_write_blocks(partial->map, block, &(struct block){0}, 1);
}

/* Only the filler may find fault with what has been proved before. */
static int prove(struct partial *partial, uint32_t block, bool filler, void *buffer,
                 uint32_t *ret_filled)
{
    for (;;) {
        const struct block seen = block_now(partial, block);

        if (seen.filled == 0)
            return -EAGAIN;
        if (seen.proved && !filler)
            return 0;

        int r = read_fully(partial->fd, buffer, seen.filled, block * PARTIAL_BLOCK);

        if (r < 0 && r != -ENODATA)
            return r;

        bool fits = r == 0 && checksum_of(buffer, seen.filled) == seen.sum;

        if (!fits)
            forget_on_disk(partial, block);
        r = judge(partial, block, &seen, fits);
        if (r == -EAGAIN && partial->writable)
            room_end_open(partial->store, seen.filled);
        if (r == 0)
            *ret_filled = seen.filled;
        if (r <= 0)
            return r;
    }
}

int partial_prove(struct partial *partial, uint32_t block, void *buffer, uint32_t *ret_filled)
{
    return prove(partial, block, true, buffer, ret_filled);
}

/* --- what is here --- */

static void take_newer(struct partial *partial, uint32_t first, const struct block *read,
                       uint32_t count)
{
    scoped_lock(&partial->lock);

    for (uint32_t i = 0; i < count; i++) {
        struct block *block = &partial->blocks[first + i];

        if (read[i].filled > block->filled) {
            partial->bytes += read[i].filled - block->filled;
            *block = read[i];
        }
    }
}

void partial_refresh(struct partial *partial, uint32_t first, uint32_t last)
{
    struct block read[64];

    for (uint64_t next = first; next <= last; next += 64) {
        uint32_t rest = (uint32_t)(last - next + 1);
        uint32_t count = rest < 64 ? rest : 64;

        if (map_read_blocks(partial->map, key_of(partial), (uint32_t)next, read, count) < 0)
            return;
        take_newer(partial, (uint32_t)next, read, count);
    }
}

struct view {
    uint32_t drops;
    bool unproved; /* this block is: */
    uint32_t block;
};

static int look(struct partial *partial, uint64_t offset, uint64_t size, struct view *ret_view)
{
    scoped_lock(&partial->lock);
    struct view view = {.drops = partial->drops};

    if (partial->state == PARTIAL_GIVEN_UP)
        return -EBADMSG;
    for (uint32_t i = block_at(offset); size > 0 && i <= last_block(offset, size); i++) {
        const struct block *block = &partial->blocks[i];

        if (block->filled < reach(i, offset, size))
            return -EAGAIN;
        if (!view.unproved && !block->proved) {
            view.unproved = true;
            view.block = i;
        }
    }
    *ret_view = view;
    return 0;
}

static int look_again(struct partial *partial, uint64_t offset, uint64_t size,
                      struct view *ret_view)
{
    if (!partial->writable && map_is_spoiled(partial->map)) {
        scoped_lock(&partial->lock);
        partial->state = PARTIAL_GIVEN_UP;
    }
    int r = look(partial, offset, size, ret_view);

    if (r != -EAGAIN || partial->writable)
        return r;
    partial_refresh(partial, block_at(offset), last_block(offset, size));
    return look(partial, offset, size, ret_view);
}

bool partial_has(struct partial *partial, uint64_t offset, uint64_t size)
{
    struct view view;

    return in_bounds(partial, offset, size) && look_again(partial, offset, size, &view) == 0;
}

static int prove_alone(struct partial *partial, uint32_t block)
{
    scoped_free void *buffer = malloc(PARTIAL_BLOCK);
    uint32_t filled = 0;

    return buffer ? prove(partial, block, false, buffer, &filled) : -ENOMEM;
}

/* Nothing was dropped or given up since? */
static int confirm(struct partial *partial, const struct view *view)
{
    scoped_lock(&partial->lock);

    if (partial->state == PARTIAL_GIVEN_UP)
        return -EBADMSG;
    return partial->drops == view->drops ? 0 : 1;
}

int partial_read(struct partial *partial, void *buffer, size_t size, uint64_t offset)
{
    if (!in_bounds(partial, offset, size))
        return -EFBIG;
    for (;;) {
        struct view view;
        int r = look_again(partial, offset, size, &view);

        if (r < 0)
            return r;
        if (view.unproved) {
            r = prove_alone(partial, view.block);
            if (r < 0 && r != -EAGAIN)
                return r;
            if (r == -EAGAIN && !partial->writable)
                return r; /* the map would say it again */
            continue;
        }
        r = read_fully(partial->fd, buffer, size, offset);
        if (r < 0)
            return r == -ENODATA ? -EIO : r;
        r = confirm(partial, &view);
        if (r <= 0)
            return r;
    }
}
