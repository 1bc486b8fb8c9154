/* SPDX-License-Identifier: MIT */
/* pages.h - memory that is the system's again when it is given back.
 *
 * malloc puts a large block into a hole where it has one, and a hole is kept as long as anything
 * beside it is in use. What is large and lives long has pages of its own instead: nothing that is
 * freed around it leaves a hole, and what it leaves is not there any more. Rounded up to whole pages,
 * so not for small things. Zeroed; pages that nobody touches cost nothing. */
#pragma once

#include <stddef.h>
#include <sys/mman.h>

/* NULL without memory. */
static inline void *pages_new(size_t size)
{
    void *pages = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    return pages == MAP_FAILED ? NULL : pages;
}

/* size: as it was given to pages_new. NULL is allowed. */
static inline void pages_free(void *pages, size_t size)
{
    if (pages)
        munmap(pages, size);
}
