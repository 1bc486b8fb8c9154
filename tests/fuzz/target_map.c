/* SPDX-License-Identifier: MIT */
/* target_map.c - the file that says what of a partial is here, in any state: entries never lead out
 * of their block, and a file that is not the key's own map is none.
 *
 * The first byte is the blob's size in half blocks, the second how much of the header is made right;
 * the rest is the file. */
#include "cache/digest.h"
#include "cache/names.h"
#include "cache/partial_map.h"
#include "tests/fuzz/fuzz.h"

enum { BLOCKS_MAX = 129, HEADER = 512, SUM_AT = HEADER - 8 };

/* Puts the key's header in front, with a tag that was there. */
static void put_header(const struct blob_key *key, char *bytes, size_t size)
{
    static struct fuzz_file scratch = {.name = "scratch"};
    char tag[PARTIAL_TAG_SIZE] = "";

    snprintf(tag, sizeof(tag), "%.*s", (int)size, bytes);
    fuzz_write(&scratch, "", 0);
    require(map_write_tag(scratch.fd, key, tag) == 0);
    require(pread(scratch.fd, bytes, HEADER, 0) == HEADER);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct fuzz_file files[256];
    static char names[256][MAP_NAME_SIZE];
    struct block blocks[BLOCKS_MAX];
    char tag[PARTIAL_TAG_SIZE];
    struct blob_key key = {.kind = BLOB_MD5};
    int fd = -1;

    if (size < 2)
        return 0;
    key.size = data[0] * PARTIAL_BLOCK / 2;
    if (!files[data[0]].name) {
        map_name_format(&key, names[data[0]]);
        files[data[0]].name = names[data[0]];
    }

    size_t rest = size - 2;
    scoped_free char *bytes = fuzz_bytes(data + 2, rest);

    if (data[1] & 1 && rest >= HEADER) {
        put_header(&key, bytes, HEADER);
    } else if (data[1] & 2 && rest >= HEADER) {
        uint64_t sum = checksum_of(bytes, SUM_AT);

        memcpy(bytes + SUM_AT, &sum, sizeof(sum));
    }
    fuzz_write(&files[data[0]], bytes, rest);
    memset(blocks, 0xff, sizeof(blocks));

    int r = map_open(fuzz_folder(), &key, geteuid(), false, blocks, tag, &fd);

    require(r == 0 || fd < 0);
    require(r < 0 || !(data[1] & 1) || rest >= HEADER);
    require(r == 0 || !(data[1] & 1) || rest < HEADER);
    if (r < 0)
        return 0;
    require(memchr(tag, '\0', sizeof(tag)) && !map_is_spoiled(fd));
    for (uint32_t i = 0; i < map_blocks(&key); i++)
        require(!blocks[i].proved && blocks[i].filled <= map_block_length(&key, i));
    close(fd);
    return 0;
}
