/* SPDX-License-Identifier: MIT */
/* world.c - inventing a stack, and serving it from a folder. */
#include "tests/crash/world.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cache/scoped.h"
#include "tests/crash/points.h"

enum {
    SMALL_MIN = 128,
    SMALL_MAX = 12000,
    FIRST_TEXT = CONTENTS - 12,
    FIRST_BLIND = CONTENTS - 20
};

/* Slots: 0-4 tables of a package, 5 a table that is in two packages, 6 a direct table, which may be
 * without md5, 7 and 8 bundles. Those that are always there: a section that is suddenly empty is
 * held, which is a matter of other tests. */
enum { SLOT_SHARED = 5, SLOT_DIRECT = 6, SLOT_TEXT = 7 };

uint64_t world_random(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15);

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

unsigned world_pick(uint64_t *state, unsigned below)
{
    return (unsigned)(world_random(state) % below);
}

static char *format(const char *template, ...) __attribute__((format(printf, 1, 2)));

static char *format(const char *template, ...)
{
    va_list arguments;
    char *text = NULL;

    va_start(arguments, template);
    if (vasprintf(&text, template, arguments) < 0)
        abort();
    va_end(arguments);
    return text;
}

static void write_file(const char *path, const char *bytes, size_t size)
{
    FILE *file = fopen(path, "we");

    if (!file || fwrite(bytes, 1, size, file) != size || fclose(file) != 0) {
        perror(path);
        abort();
    }
}

/* --- contents --- */

static void make_key(struct content *content, size_t size)
{
    scoped(digest_freep) struct digest *digest = NULL;
    struct digest_sums sums;

    blob_key_of_bytes(content->bytes, size, &content->key);
    if (!content->has_md5)
        return;
    if (digest_new(&digest) < 0 || digest_update(digest, content->bytes, size) < 0 ||
        digest_sums(digest, &sums) < 0)
        abort();
    content->key.kind = BLOB_MD5;
    memcpy(content->key.digest, sums.md5, sizeof(sums.md5));
}

/* No two have one size: it is how the news of a table without md5 is known. */
static size_t size_of(int index, uint64_t *random)
{
    size_t size = index < LARGE_CONTENTS ? WORLD_LARGE : SMALL_MIN + world_pick(random, SMALL_MAX);

    return size - size % CONTENTS + (size_t)index;
}

/* Letters, between two marks as parquet files have them. */
static void make_content(struct world *world, int index, uint64_t *random)
{
    struct content *content = &world->contents[index];
    size_t size = size_of(index, random);
    char *bytes = malloc(size + sizeof(uint64_t));

    if (!bytes)
        abort();
    for (size_t i = 0; i < size; i += sizeof(uint64_t)) {
        uint64_t word = (world_random(random) & 0x0f0f0f0f0f0f0f0f) + 0x6161616161616161;

        memcpy(bytes + i, &word, sizeof(word));
    }
    memcpy(bytes, "PAR1", 4);
    memcpy(bytes + size - 4, "PAR1", 4);
    content->bytes = bytes;
    content->is_text = index >= FIRST_TEXT;
    content->has_md5 = index < FIRST_BLIND;
    make_key(content, size);

    scoped_free char *path = format("%s/%d", world->stack, index);

    write_file(path, bytes, size);
}

bool world_lists(const struct world *world, int version, int content)
{
    for (int i = 0; version >= 0 && i < SLOTS; i++)
        if (world->versions[version].slots[i] == content)
            return true;
    return false;
}

int world_find(const struct world *world, const struct blob_key *key)
{
    for (int i = 0; i < CONTENTS; i++)
        if (blob_key_equal(&world->contents[i].key, key))
            return i;
    return -1;
}

/* --- versions --- */

static int content_for(int slot, uint64_t *random)
{
    if (slot >= SLOT_TEXT)
        return FIRST_TEXT + (int)world_pick(random, CONTENTS - FIRST_TEXT);
    if (slot == SLOT_DIRECT && world_pick(random, 2))
        return FIRST_BLIND + (int)world_pick(random, FIRST_TEXT - FIRST_BLIND);
    if (world_pick(random, 24) == 0)
        return (int)world_pick(random, LARGE_CONTENTS);
    return LARGE_CONTENTS + (int)world_pick(random, FIRST_BLIND - LARGE_CONTENTS);
}

static bool may_be_empty(int slot)
{
    return slot != 0 && slot != SLOT_DIRECT && slot != SLOT_TEXT;
}

/* Each is the one before it, but for a few slots; the first always changes. */
static void make_version(struct world *world, int index, uint64_t *random)
{
    struct version *version = &world->versions[index];
    int first = index > 0 ? world->versions[index - 1].slots[0] : -1;

    if (index > 0)
        *version = world->versions[index - 1];
    while (version->slots[0] == first)
        version->slots[0] = content_for(0, random);
    for (int i = 1; i < SLOTS; i++) {
        if (index > 0 && world_pick(random, 3) > 0)
            continue;
        version->slots[i] = may_be_empty(i) && world_pick(random, 4) == 0 ? -1
                                                                          : content_for(i, random);
    }
}

static char *row_of(const struct world *world, const struct version *version, int slot)
{
    int index = version->slots[slot];
    const struct content *content = &world->contents[index];
    char key[BLOB_KEY_TEXT_SIZE];

    blob_key_format(&content->key, key);
    if (content->is_text)
        return format("{\"id\":\"m%d\",\"slug\":\"m%d\",\"name\":\"m%d\",\"md5\":\"%.32s\","
                      "\"bundle_url\":\"%d\"}",
                      slot, slot, slot, key + 4, index);
    return format("{\"id\":\"t%d\",\"name\":\"t%d\",\"md5\":\"%.32s\",\"size_bytes\":%" PRIu64 ","
                  "\"query_mode\":\"local\",\"updated\":\"%s\",\"parquet_url\":\"%d\","
                  "\"hash\":\"%.32s\"}",
                  slot, slot, content->has_md5 ? key + 4 : "", content->key.size,
                  content->has_md5 ? "" : "2026-01-01T00:00:00", index,
                  content->has_md5 ? key + 4 : "");
}

static char *rows_of(const struct world *world, const struct version *version, int first, int last)
{
    char *rows = strdup("");

    for (int i = first; i <= last; i++) {
        if (version->slots[i] < 0)
            continue;
        scoped_free char *row = row_of(world, version, i);
        char *longer = format("%s%s%s", rows, *rows ? "," : "", row);

        free(rows);
        rows = longer;
    }
    return rows;
}

static void write_manifest(const struct world *world, int index)
{
    const struct version *version = &world->versions[index];
    scoped_free char *sales = rows_of(world, version, 0, SLOT_SHARED);
    scoped_free char *also = rows_of(world, version, SLOT_SHARED, SLOT_SHARED);
    scoped_free char *direct = rows_of(world, version, SLOT_DIRECT, SLOT_DIRECT);
    scoped_free char *memory = rows_of(world, version, SLOT_TEXT, SLOTS - 1);
    scoped_free char *path = format("%s/version-%d", world->stack, index);
    scoped_free char *text =
        format("{\"tables\":{},\"direct_tables\":[%s],\"memory_domains\":[%s],\"data_packages\":["
               "{\"id\":\"p1\",\"slug\":\"sales\",\"name\":\"Sales\",\"tables\":[%s]},"
               "{\"id\":\"p2\",\"slug\":\"also\",\"name\":\"Also\",\"tables\":[%s]}]}",
               direct, memory, sales, also);

    write_file(path, text, strlen(text));
}

/* --- the whole --- */

struct world *world_make(const char *disk, const char *safe, uint64_t seed)
{
    struct world *world = calloc(1, sizeof(*world));
    uint64_t random = seed;

    if (!world)
        abort();
    world->root = format("%s/cache", disk);
    world->home = format("%s/home", disk);
    world->stack = format("%s/stack", safe);
    world->promises = mmap(NULL, sizeof(*world->promises), PROT_READ | PROT_WRITE,
                           MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (world->promises == MAP_FAILED || (mkdir(world->stack, 0700) < 0 && errno != EEXIST))
        abort();
    *world->promises = (struct promises){.shown = -1, .next = -1};
    for (int i = 0; i < CONTENTS; i++)
        make_content(world, i, &random);
    for (int i = 0; i < VERSIONS; i++) {
        make_version(world, i, &random);
        write_manifest(world, i);
    }
    return world;
}

void world_free(struct world *world)
{
    for (int i = 0; i < CONTENTS; i++)
        free((char *)world->contents[i].bytes);
    munmap(world->promises, sizeof(*world->promises));
    free(world->root);
    free(world->home);
    free(world->stack);
    free(world);
}

void world_serve(const struct world *world, int version)
{
    scoped_free char *target = format("version-%d", version);
    scoped_free char *link = format("%s/manifest.new", world->stack);
    scoped_free char *path = format("%s/manifest.json", world->stack);

    unlink(link); /* of a life that was ended by another thread of its own */
    if (symlink(target, link) < 0 || rename(link, path) < 0) {
        perror(path);
        abort();
    }
}

void world_fail(struct world *world, const char *template, ...)
{
    va_list arguments;

    if (*world->promises->failure || points_are_over())
        return;
    va_start(arguments, template);
    vsnprintf(world->promises->failure, sizeof(world->promises->failure), template, arguments);
    va_end(arguments);
}

const char *world_failure(const struct world *world)
{
    return world->promises->failure;
}
