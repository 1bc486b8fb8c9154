/* SPDX-License-Identifier: MIT */
/* names.h (private to cache/) - what may lie in partial/:
 *
 *     <key>        bytes of a blob that is not all here (partial.h)...
 *     <key>.map    ...and what of them is here
 *     <name>       a draft: what a writer is filling (writer.h)
 *
 * The three can not be confused: a draft's name is no key, and does not end like a map's. */
#pragma once

#include <stdio.h>
#include <string.h>

#include "cache/key.h"

#define DRAFT_NAME_MAX 128
#define DRAFT_NAME_SIZE (DRAFT_NAME_MAX + 1)
#define MAP_NAME_SIZE (BLOB_KEY_TEXT_SIZE + 4)

static inline bool draft_name_valid(const char *name)
{
    const char *const allowed = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-";
    size_t size = strlen(name);
    struct blob_key key;

    return size >= 1 && size <= DRAFT_NAME_MAX && strspn(name, allowed) == size &&
           strcmp(name, ".") != 0 && strcmp(name, "..") != 0 &&
           (size < 4 || strcmp(name + size - 4, ".map") != 0) && blob_key_parse(name, &key) < 0;
}

static inline void map_name_format(const struct blob_key *key, char ret_name[static MAP_NAME_SIZE])
{
    blob_key_format(key, ret_name);
    memcpy(ret_name + strlen(ret_name), ".map", sizeof(".map"));
}

/* The key that this is the map of; false when it is no map's name. */
static inline bool map_name_parse(const char *name, struct blob_key *ret_key)
{
    char text[MAP_NAME_SIZE];
    size_t size = strlen(name);

    if (size < 4 || size >= MAP_NAME_SIZE || strcmp(name + size - 4, ".map") != 0)
        return false;
    snprintf(text, sizeof(text), "%.*s", (int)(size - 4), name);
    return blob_key_parse(text, ret_key) == 0;
}
