/* SPDX-License-Identifier: MIT */
#include "sync/transfer_span.h"

#include <stddef.h>

static uint64_t block_size(const struct span_map *map, uint32_t block)
{
    uint64_t left = map->size - (uint64_t)block * map->block;

    return left < map->block ? left : map->block;
}

static bool is_missing(const struct span_map *map, uint32_t block)
{
    return map->filled(map->arg, block) < block_size(map, block) && !map->coming(map->arg, block);
}

bool span_next(const struct span_map *map, uint64_t from, uint64_t to, uint64_t most,
               struct span *ret_span)
{
    if (to > map->size)
        to = map->size;
    if (from >= to)
        return false;

    uint32_t block = (uint32_t)(from / map->block);
    uint32_t end = (uint32_t)((to + map->block - 1) / map->block);

    while (block < end && !is_missing(map, block))
        block++;
    if (block == end)
        return false;

    uint64_t begin = (uint64_t)block * map->block + map->filled(map->arg, block);
    uint64_t stop = (uint64_t)block * map->block + block_size(map, block);

    /* A block with something in it can only be gone on with from its own end, so a run that came to
     * one would have to skip bytes: it ends before. */
    for (block++; block < end && stop - begin < most && is_missing(map, block) &&
                  map->filled(map->arg, block) == 0;
         block++)
        stop += block_size(map, block);
    *ret_span = (struct span){begin, stop};
    return true;
}
