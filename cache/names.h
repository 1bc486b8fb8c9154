/* SPDX-License-Identifier: MIT */
/* names.h (private to cache/) - what may lie in partial/: <name>, and beside it <name>.tag. */
#pragma once

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define PARTIAL_NAME_MAX 128

/* NUL and ".tag" included. */
#define PARTIAL_FILE_SIZE (PARTIAL_NAME_MAX + 5)

/* A name ending in ".tag" is none: it would be taken for another one's tag. */
static inline bool partial_name_valid(const char *name)
{
    const char *const allowed = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-";
    size_t size = strlen(name);

    return size >= 1 && size <= PARTIAL_NAME_MAX && strspn(name, allowed) == size &&
           strcmp(name, ".") != 0 && strcmp(name, "..") != 0 &&
           (size < 4 || strcmp(name + size - 4, ".tag") != 0);
}

/* The name that this is the tag of; false when it is no tag's name. */
static inline bool partial_name_of_tag(const char *file, char ret_name[static PARTIAL_FILE_SIZE])
{
    size_t size = strlen(file);

    if (size < 5 || size >= PARTIAL_FILE_SIZE || strcmp(file + size - 4, ".tag") != 0)
        return false;
    snprintf(ret_name, PARTIAL_FILE_SIZE, "%.*s", (int)(size - 4), file);
    return partial_name_valid(ret_name);
}

static inline bool partial_name_is_tag(const char *file)
{
    char name[PARTIAL_FILE_SIZE];

    return partial_name_of_tag(file, name);
}
