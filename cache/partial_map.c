/* SPDX-License-Identifier: MIT */
/* partial_map.c - the map as bytes.
 *
 * Why nothing here syncs, locks or renames: an entry that is too old, too new, torn or invented
 * names bytes that do not fit it, and whoever reads them finds out (partial_read.c). Only what would
 * lead out of its block is refused here. The header decides what the entries are about, so it has a
 * checksum, and fits into one sector. */
#include "cache/partial_map.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "cache/files.h"
#include "cache/names.h"
#include "cache/scoped.h"

#define MAP_MAGIC UINT64_C(0x70616d736e676101) /* so that a text or a parquet is none */
#define MAP_VERSION 1
#define ENTRIES_AT_ONCE 128

struct map_header {
    uint64_t magic;
    uint64_t version;
    uint64_t block_size;
    uint64_t blob_size;
    char key[64];
    char tag[PARTIAL_TAG_SIZE];
    uint8_t reserved[152];
    uint64_t sum; /* of all above */
};

struct map_entry {
    uint64_t sum;
    uint64_t filled;
};

_Static_assert(sizeof(struct map_header) == 512, "the header is one sector");
_Static_assert(sizeof(struct map_entry) == 16, "entries do not straddle sectors");

uint32_t map_blocks(const struct blob_key *key)
{
    return (uint32_t)(key->size / PARTIAL_BLOCK + (key->size % PARTIAL_BLOCK > 0));
}

uint32_t map_block_length(const struct blob_key *key, uint32_t block)
{
    uint64_t rest = key->size - block * PARTIAL_BLOCK;

    return (uint32_t)(rest < PARTIAL_BLOCK ? rest : PARTIAL_BLOCK);
}

static off_t entry_offset(uint32_t block)
{
    return (off_t)(sizeof(struct map_header) + (uint64_t)block * sizeof(struct map_entry));
}

/* --- the header --- */

static struct map_header make_header(const struct blob_key *key, const char *tag)
{
    struct map_header header = {
        .magic = htole64(MAP_MAGIC),
        .version = htole64(MAP_VERSION),
        .block_size = htole64(PARTIAL_BLOCK),
        .blob_size = htole64(key->size),
    };

    blob_key_format(key, header.key);
    memcpy(header.tag, tag, strlen(tag) + 1);
    header.sum = htole64(checksum_of(&header, offsetof(struct map_header, sum)));
    return header;
}

int map_write_tag(int map, const struct blob_key *key, const char *tag)
{
    const struct map_header header = make_header(key, tag);

    return write_fully(map, &header, sizeof(header), 0);
}

/* A header is right when it is the one that we would write, its own tag given. */
static int read_header(int map, const struct blob_key *key, char ret_tag[static PARTIAL_TAG_SIZE])
{
    struct map_header header;
    int r = read_fully(map, &header, sizeof(header), 0);

    if (r < 0)
        return r == -ENODATA ? -EBADMSG : r;
    if (!memchr(header.tag, '\0', sizeof(header.tag)))
        return -EBADMSG;

    const struct map_header ours = make_header(key, header.tag);

    if (memcmp(&header, &ours, sizeof(header)) != 0)
        return -EBADMSG;
    memcpy(ret_tag, header.tag, PARTIAL_TAG_SIZE);
    return 0;
}

void map_spoil(int map)
{
    const uint64_t nothing = 0;

    write_fully(map, &nothing, sizeof(nothing), 0);
}

bool map_is_spoiled(int map)
{
    uint64_t magic = 0;

    return read_fully(map, &magic, sizeof(magic), 0) < 0 || magic != htole64(MAP_MAGIC);
}

/* --- the entries --- */

int map_write_blocks(int map, uint32_t first, const struct block *blocks, uint32_t count)
{
    struct map_entry entries[ENTRIES_AT_ONCE];
    int r = 0;

    for (uint32_t done = 0; r == 0 && done < count;) {
        uint32_t n = 0;

        for (; n < ENTRIES_AT_ONCE && done + n < count; n++) {
            entries[n].sum = htole64(blocks[done + n].sum);
            entries[n].filled = htole64(blocks[done + n].filled);
        }
        r = write_fully(map, entries, n * sizeof(*entries), (uint64_t)entry_offset(first + done));
        done += n;
    }
    return r;
}

/* What lies behind the file's end is not filled: maps are written as they grow. */
static int read_entries(int map, uint32_t first, struct map_entry *ret_entries, uint32_t count)
{
    size_t size = count * sizeof(*ret_entries);

    memset(ret_entries, 0, size);
    int r = read_fully(map, ret_entries, size, (uint64_t)entry_offset(first));

    return r == -ENODATA ? 0 : r;
}

int map_read_blocks(int map, const struct blob_key *key, uint32_t first, struct block *ret_blocks,
                    uint32_t count)
{
    struct map_entry entries[ENTRIES_AT_ONCE];

    for (uint32_t done = 0; done < count;) {
        uint32_t n = count - done < ENTRIES_AT_ONCE ? count - done : ENTRIES_AT_ONCE;
        int r = read_entries(map, first + done, entries, n);

        if (r < 0)
            return r;
        for (uint32_t i = 0; i < n; i++) {
            uint64_t filled = le64toh(entries[i].filled);
            bool possible = filled <= map_block_length(key, first + done + i);

            ret_blocks[done + i] = (struct block){
                .sum = le64toh(entries[i].sum),
                .filled = possible ? (uint32_t)filled : 0,
            };
        }
        done += n;
    }
    return 0;
}

/* --- the file --- */

int map_create(int dir, const struct blob_key *key, const char *tag, int *ret_fd)
{
    char name[MAP_NAME_SIZE];

    map_name_format(key, name);
    int r = name_clear(dir, name);

    if (r < 0)
        return r;

    scoped_fd int fd = openat(dir, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);

    if (fd < 0)
        return negative_errno();
    r = map_write_tag(fd, key, tag);
    if (r < 0) {
        unlinkat(dir, name, 0);
        return r;
    }
    *ret_fd = take_fd(fd);
    return 0;
}

int map_open(int dir, const struct blob_key *key, uid_t owner, bool writable,
             struct block *ret_blocks, char ret_tag[static PARTIAL_TAG_SIZE], int *ret_fd)
{
    scoped_fd int fd = -1;
    char name[MAP_NAME_SIZE];
    struct stat st;

    map_name_format(key, name);
    int r = file_open_plain(dir, name, owner, writable, &fd, &st);

    if (r == 0)
        r = read_header(fd, key, ret_tag);
    if (r == 0)
        r = map_read_blocks(fd, key, 0, ret_blocks, map_blocks(key));
    if (r == 0)
        *ret_fd = take_fd(fd);
    return r;
}
