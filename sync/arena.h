/* SPDX-License-Identifier: MIT */
/* arena.h - memory that is taken in small pieces and given back all at once.
 *
 *     struct arena arena = {0};
 *     arena_take, arena_copy ... any number of times
 *     arena_release
 *
 * Header-only, because it is forty lines. Not locked: one thread builds, and afterwards nobody
 * takes. NULL means no memory. */
#pragma once

#include <stdalign.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct arena_block {
    struct arena_block *next;
    size_t used; /* of all but the newest */
    alignas(max_align_t) char bytes[];
};

struct arena {
    struct arena_block *blocks; /* the newest first; only that one has room */
    size_t used;                /* of the newest */
    size_t room;
};

#define ARENA_FIRST_BLOCK ((size_t)4 << 10)
#define ARENA_LARGEST_BLOCK ((size_t)1 << 20)

static inline void *arena_take(struct arena *arena, size_t size, size_t align)
{
    size_t start = (arena->used + align - 1) / align * align;

    if (start > arena->room || size > arena->room - start) {
        size_t room = arena->room ? arena->room * 2 : ARENA_FIRST_BLOCK;
        struct arena_block *block;

        room = room > ARENA_LARGEST_BLOCK ? ARENA_LARGEST_BLOCK : room;
        room = room < size ? size : room;
        if (room > SIZE_MAX - sizeof(*block) || !(block = malloc(sizeof(*block) + room)))
            return NULL;
        if (arena->blocks)
            arena->blocks->used = arena->used;
        block->next = arena->blocks;
        *arena = (struct arena){.blocks = block, .room = room};
        start = 0;
    }
    arena->used = start + size;
    return arena->blocks->bytes + start;
}

/* A NUL-terminated copy of size bytes. */
static inline char *arena_copy(struct arena *arena, const char *text, size_t size)
{
    char *copy = size < SIZE_MAX ? arena_take(arena, size + 1, 1) : NULL;

    if (!copy)
        return NULL;
    memcpy(copy, text, size);
    copy[size] = '\0';
    return copy;
}

static inline void arena_release(struct arena *arena)
{
    while (arena->blocks) {
        struct arena_block *next = arena->blocks->next;

        free(arena->blocks);
        arena->blocks = next;
    }
    *arena = (struct arena){0};
}
