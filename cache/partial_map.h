/* SPDX-License-Identifier: MIT */
/* partial_map.h (private to cache/) - the file that says what of a partial is here.
 *
 *     offset 0      512 bytes: magic, version, block size, blob size, key, tag, XXH3-64 of these
 *     offset 512    16 bytes a block: XXH3-64 of its first `filled` bytes, filled
 *
 * Numbers are little-endian. The header is all or nothing: one that is not ours, of this version
 * and of this key makes the file no map. Entries stand alone, each proved by its block's bytes and
 * by nothing else, so they may be written in any order, at any time after their bytes, and be lost.
 *
 * Errors: -ENOENT no map, -EBADMSG not one that we wrote for this key, else what the system says. */
#pragma once

#include "cache/partial.h"

struct block {
    uint64_t sum;
    uint32_t filled;
    bool proved; /* these bytes were written or hashed by this process; never on disk */
};

/* Makes an empty one, in the place of whatever has the name. */
int map_create(int dir, const struct blob_key *key, const char *tag, int *ret_fd);

/* Opens and reads one: an entry a block of the key, none of them proved. */
int map_open(int dir, const struct blob_key *key, uid_t owner, bool writable,
             struct block *ret_blocks, char ret_tag[static PARTIAL_TAG_SIZE], int *ret_fd);

int map_write_tag(int map, const struct blob_key *key, const char *tag);

int map_write_blocks(int map, uint32_t first, const struct block *blocks, uint32_t count);
int map_read_blocks(int map, const struct blob_key *key, uint32_t first, struct block *ret_blocks,
                    uint32_t count);

/* Tells other processes, and whoever starts after a crash, that the bytes are given up. */
void map_spoil(int map);
bool map_is_spoiled(int map);

/* How many blocks a blob has, and how long each is. */
uint32_t map_blocks(const struct blob_key *key);
uint32_t map_block_length(const struct blob_key *key, uint32_t block);
