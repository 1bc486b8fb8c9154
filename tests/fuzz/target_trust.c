/* SPDX-License-Identifier: MIT */
/* target_trust.c - a trust file whose checksum is right: its records, or none. The input is what
 * stands between the first word and the last line. */
#include "cache/trust.h"
#include "tests/fuzz/fuzz.h"

#define FIRST "agnesfs-trust 2 "

static void write_file(const uint8_t *data, size_t size)
{
    static struct fuzz_file file = {.name = "trust"};
    scoped_free char *text = malloc(strlen(FIRST) + size + 128);
    char key[BLOB_KEY_TEXT_SIZE];
    struct blob_key sum;
    size_t length = strlen(FIRST);

    require(text);
    memcpy(text, FIRST, length);
    memcpy(text + length, data, size);
    length += size;
    text[length++] = '\n';
    blob_key_of_bytes(text, length, &sum);
    blob_key_format(&sum, key);
    length += (size_t)sprintf(text + length, "end %s\n", key);
    fuzz_write(&file, text, length);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    scoped(trust_freep) struct trust *trust = NULL;
    scoped_free struct trust_record *records = NULL;
    size_t count = 0;
    bool same_boot = true;

    if (size == 0)
        return 0;
    write_file(data, size);
    require(trust_load(fuzz_folder(), &trust, &same_boot) == 0);
    require(trust_snapshot(trust, &records, &count) == 0);
    for (size_t i = 0; i < count; i++) {
        require(records[i].key.kind == BLOB_MD5 || records[i].key.kind == BLOB_XXH);
        require(!records[i].proved_here);
    }
    return 0;
}
