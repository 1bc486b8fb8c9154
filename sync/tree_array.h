/* SPDX-License-Identifier: MIT */
/* tree_array.h - arrays that grow by one: what trees and diffs are collected in.
 *
 *     larger = array_grow(array, count, sizeof(*larger));
 *     if (!larger)
 *         return -ENOMEM;         (array is still valid, and still its owner's to free)
 *     array = larger;
 *     array[count++] = ...
 *
 * The room is a power of two and follows from count, so there is nothing to remember. Arrays are
 * counted in 32 bits everywhere: one that would not fit has no memory. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

static inline void *array_grow(void *array, size_t count, size_t size)
{
    if (count && (count < 16 || (count & (count - 1))))
        return array;
    if (count >= UINT32_MAX / 2)
        return NULL;
    return reallocarray(array, count ? count * 2 : 16, size);
}

/* Gives back the room that is not used. Failing at that is no failure. */
static inline void *array_shrink(void *array, size_t count, size_t size)
{
    void *smaller = count ? reallocarray(array, count, size) : NULL;

    return smaller ? smaller : array;
}
