/* SPDX-License-Identifier: MIT */
/* test_state.c - what is saved is what is loaded, and what was not saved by us is not believed. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>

#include "cache/scoped.h"
#include "sync/state_text.h"
#include "tests/unit/support/tempdir.h"
#include "tests/unit/sync/tree_model.h"

#define CURRENT "sync_state.json"
#define PREVIOUS "sync_state.prev.json"

/* --- making states --- */

static uint32_t add_group(struct tree_builder *builder, enum tree_section section, const char *slug,
                          const char *folder, const char *name)
{
    struct tree_group group = {
        .section = section,
        .slug = slug,
        .folder = folder,
        .name = name,
        .description = "",
        .requirement = section == TREE_PACKAGES ? REQUIREMENT_REQUIRED : REQUIREMENT_UNKNOWN,
    };
    uint32_t index = 0;

    assert_int_equal(tree_builder_add_group(builder, &group, &index), 0);
    return index;
}

static struct tree_row plain_row(uint32_t group, const char *name, const char *path)
{
    return (struct tree_row){.group = group,
                             .name = name,
                             .path = path,
                             .table_id = name,
                             .token = "t1",
                             .md5 = "900150983cd24fb0d6963f7d28e17f72",
                             .updated = "2026-07-01T00:00:00Z",
                             .query_mode = "local",
                             .rows = 12,
                             .size = 4};
}

static uint32_t add_row(struct tree_builder *builder, const struct tree_row *row)
{
    uint32_t index = 0;

    assert_int_equal(tree_builder_add_row(builder, row, &index), 0);
    return index;
}

static void add_file(struct tree_builder *builder, const char *path, uint32_t row, unsigned content,
                     int64_t mtime_ns)
{
    struct blob_key key = model_key(content);

    assert_int_equal(tree_builder_add_blob(builder, path, row, &key, mtime_ns), 0);
}

static void add_table(struct tree_builder *builder, const struct tree_row *row, unsigned content,
                      int64_t mtime_ns)
{
    add_file(builder, row->path, add_row(builder, row), content, mtime_ns);
}

static void add_parts(struct tree_builder *builder, uint32_t group)
{
    struct tree_row row = plain_row(group, "clicks", "data/sales/clicks");
    uint32_t index;

    row.flags = TREE_ROW_PARTS;
    index = add_row(builder, &row);
    assert_int_equal(tree_builder_add_dir(builder, row.path, index), 0);
    add_file(builder, "data/sales/clicks/month=2026-06/data.parquet", index, 5, 50);
    add_file(builder, "data/sales/clicks/month=2026-07/data.parquet", index, 6, 60);
    add_file(builder, "data/sales/clicks/tail.parquet", index, 1, 10);
}

static void add_knowledge(struct tree_builder *builder)
{
    static const struct tree_group chunks = {.section = TREE_KNOWLEDGE,
                                             .slug = TREE_KIND_CHUNKS,
                                             .folder = TREE_KIND_CHUNKS,
                                             .name = "",
                                             .description = ""};
    static const struct tree_group digests = {.section = TREE_KNOWLEDGE,
                                              .slug = TREE_KIND_DIGEST,
                                              .folder = TREE_KIND_DIGEST,
                                              .name = "",
                                              .description = ""};
    uint32_t group;

    assert_int_equal(tree_builder_add_group(builder, &chunks, &group), 0);

    struct tree_row row = plain_row(group, "both", "knowledge/both.duckdb");

    row.title = "Staff \"handbook\"";
    add_table(builder, &row, 8, 80);
    assert_int_equal(tree_builder_add_group(builder, &digests, &group), 0);
    row = plain_row(group, "both", "knowledge/both.md");
    row.flags = TREE_ROW_STALE;
    add_table(builder, &row, 9, 90);
}

static void add_odd_rows(struct tree_builder *builder, uint32_t direct, uint32_t sales)
{
    struct tree_row row = plain_row(sales, "Agnes \"audit\" log\n\xc3\xa9",
                                    "data/sales/log.parquet");

    row.flags = TREE_ROW_UNVERIFIED | TREE_ROW_KEPT;
    row.md5 = "";
    row.url = "https://agnes.example.com/log?x=1";
    row.rows = -1;
    row.size = ((uint64_t)1 << 53) - 1;
    add_table(builder, &row, 7, -5); /* before 1970 */

    row = plain_row(direct, "secret", NULL);
    row.withheld = "remote";
    row.query_mode = "remote";
    row.flags = TREE_ROW_PARTS;
    add_row(builder, &row);

    row = plain_row(direct, "empty parts", "data/_direct/empty_parts");
    row.flags = TREE_ROW_PARTS;
    row.rows = 0;
    assert_int_equal(tree_builder_add_dir(builder, row.path, add_row(builder, &row)), 0);

    row = plain_row(direct, "without files", "data/_direct/lost.parquet");
    add_row(builder, &row);
}

static int decorate(void *arg, struct tree_builder *builder)
{
    int *calls = arg;

    if (calls)
        ++*calls;
    assert_int_equal(tree_builder_add_text(builder, "README.md", "# Hello\n", 8), 0);
    assert_int_equal(tree_builder_add_text(builder, "data/empty/README.md", "none\n", 5), 0);
    assert_int_equal(tree_builder_add_text(builder, "data/sales/clicks/README.md", "parts\n", 6),
                     0);
    return tree_builder_add_live(builder, ".agnes/status.json", 1);
}

/* Everything that a state can have, decorated or not. */
static struct state sample(uint64_t generation, bool decorated)
{
    struct state state = {.last_sync_unix = 1780000000, .doubt_since = {0, 1770000000, 0}};
    struct tree_builder *builder = NULL;
    uint32_t direct, sales, marketing, finance;
    struct tree_row row;

    assert_int_equal(tree_builder_new(generation, &builder), 0);
    marketing = add_group(builder, TREE_PACKAGES, "Marketing & more", "Marketing_more", "M");
    finance = add_group(builder, TREE_MEMORY, "finance", "finance", "Finance");
    sales = add_group(builder, TREE_PACKAGES, "sales", "sales", "");
    direct = add_group(builder, TREE_DIRECT, "", "_direct", "");
    add_group(builder, TREE_PACKAGES, "empty", "empty", "Nothing yet");
    assert_int_equal(tree_builder_add_dir(builder, "data/empty", TREE_NO_ROW), 0);
    row = plain_row(sales, "orders", "data/sales/orders.parquet");
    add_table(builder, &row, 1, 1780000000123456789);
    row = plain_row(marketing, "orders", "data/Marketing_more/orders.parquet");
    add_table(builder, &row, 1, 10);
    row = plain_row(direct, "prices", "data/_direct/prices.parquet");
    add_table(builder, &row, 3, INT64_MAX);
    add_parts(builder, sales);
    add_odd_rows(builder, direct, sales);
    add_knowledge(builder);
    row = plain_row(finance, "Finance rules", "memory/finance/bundle.md");
    row.query_mode = "";
    add_table(builder, &row, 4, 40);
    if (decorated)
        assert_int_equal(decorate(NULL, builder), 0);
    assert_int_equal(tree_builder_freeze(builder, &state.tree), 0);
    return state;
}

/* Small enough to be looked at as a whole. */
static struct state small(void)
{
    struct state state = {.last_sync_unix = 1780000000};
    struct tree_builder *builder = NULL;
    struct tree_row row;

    assert_int_equal(tree_builder_new(3, &builder), 0);
    row = plain_row(add_group(builder, TREE_PACKAGES, "sales", "sales", "Sales"), "orders",
                    "data/sales/orders.parquet");
    add_table(builder, &row, 1, 1780000000000000001);
    row = plain_row(add_group(builder, TREE_DIRECT, "", "_direct", ""), "prices", NULL);
    row.withheld = "remote";
    add_row(builder, &row);
    row = plain_row(add_group(builder, TREE_MEMORY, "finance", "finance", ""), "finance",
                    "memory/finance/bundle.md");
    add_table(builder, &row, 2, 20);
    assert_int_equal(tree_builder_freeze(builder, &state.tree), 0);
    return state;
}

static void save(const struct place *folder, const struct state *state)
{
    assert_int_equal(state_save(folder->fd, state), 0);
}

static void save_generation(const struct place *folder, uint64_t generation)
{
    scoped(state_release) struct state state = sample(generation, false);

    save(folder, &state);
}

/* What loading says; on success the generation in ret_generation. */
static int load(const struct place *folder, uint64_t *ret_generation, bool *ret_previous,
                char message[static 160])
{
    scoped(state_release) struct state state = {0};
    int r;

    strcpy(message, "");
    r = state_load(folder->fd, NULL, NULL, &state, ret_previous, message);
    if (r == 0) {
        assert_int_equal(tree_check(state.tree), 0);
        *ret_generation = tree_generation(state.tree);
    } else {
        assert_null(state.tree);
    }
    return r;
}

/* --- round trips --- */

static void check_same(const struct state *a, const struct state *b)
{
    assert_true(tree_equal(a->tree, b->tree));
    assert_int_equal(tree_check(b->tree), 0);
    assert_int_equal(tree_generation(a->tree), tree_generation(b->tree));
    assert_int_equal(a->last_sync_unix, b->last_sync_unix);
    assert_memory_equal(a->doubt_since, b->doubt_since, sizeof(a->doubt_since));
}

static void what_is_saved_is_loaded(void **state)
{
    struct place *folder = *state;
    scoped(state_release) struct state saved = sample(77, false);
    scoped(state_release) struct state loaded = {0};
    char message[160] = "";
    bool previous = true;

    save(folder, &saved);
    if (state_load(folder->fd, NULL, NULL, &loaded, &previous, message) < 0)
        fail_msg("%s", message);
    assert_false(previous);
    check_same(&saved, &loaded);
}

static void decoration_is_made_anew(void **state)
{
    struct place *folder = *state;
    scoped(state_release) struct state saved = sample(77, true);
    scoped(state_release) struct state loaded = {0};
    scoped_free char *text = NULL;
    char message[160];
    bool previous;
    int calls = 0;

    save(folder, &saved);
    text = file_read(folder->dir, CURRENT, NULL);
    assert_null(strstr(text, "README"));
    assert_null(strstr(text, ".agnes"));
    assert_int_equal(state_load(folder->fd, decorate, &calls, &loaded, &previous, message), 0);
    assert_int_equal(calls, 1);
    check_same(&saved, &loaded);
}

static int refuse(void *arg, struct tree_builder *builder)
{
    ++*(int *)arg;
    return -EBADMSG;
}

static void a_failing_decorator_is_not_the_files_fault(void **state)
{
    struct place *folder = *state;
    struct state loaded = {0};
    char message[160] = "";
    bool previous;
    int calls = 0;

    save_generation(folder, 1);
    save_generation(folder, 2);
    assert_int_equal(state_load(folder->fd, refuse, &calls, &loaded, &previous, message), -EBADMSG);
    assert_int_equal(calls, 1); /* not again with the previous file */
}

static struct state random_state(uint64_t *seed)
{
    struct state state = {.last_sync_unix = model_random(seed) % 2000000000};
    struct tree_builder *builder = NULL;
    unsigned groups = 1 + (unsigned)(model_random(seed) % 6);

    assert_int_equal(tree_builder_new(model_random(seed) % 1000, &builder), 0);
    for (unsigned g = 0; g < groups; g++) {
        char slug[16];
        enum tree_section section = g ? TREE_PACKAGES : TREE_DIRECT;
        unsigned rows = (unsigned)(model_random(seed) % 20);
        uint32_t group;

        snprintf(slug, sizeof(slug), "g%u", (g * 5) % 7);
        group = add_group(builder, section, slug, slug, "");
        for (unsigned i = 0; i < rows; i++) {
            char name[16], path[64];
            struct tree_row row;

            snprintf(name, sizeof(name), "t%u", (i * 7) % 23);
            snprintf(path, sizeof(path), "data/%s/%s.parquet", slug, name);
            row = plain_row(group, name, path);
            row.flags = model_random(seed) % 4 ? 0 : TREE_ROW_KEPT;
            row.rows = (int64_t)(model_random(seed) % 10) - 1;
            add_table(builder, &row, (unsigned)(model_random(seed) % 30),
                      (int64_t)(model_random(seed) >> 1));
        }
    }
    assert_int_equal(tree_builder_freeze(builder, &state.tree), 0);
    return state;
}

static void random_states_survive(void **state)
{
    struct place *folder = *state;
    uint64_t seed = (uint64_t)time(NULL);

    print_message("seed %llu\n", (unsigned long long)seed);
    for (int round = 0; round < 50; round++) {
        scoped(state_release) struct state saved = random_state(&seed);
        scoped(state_release) struct state loaded = {0};
        char message[160];
        bool previous;

        save(folder, &saved);
        assert_int_equal(state_load(folder->fd, NULL, NULL, &loaded, &previous, message), 0);
        check_same(&saved, &loaded);
    }
}

static struct state two_packages(bool swapped)
{
    struct state state = {0};
    struct tree_builder *builder = NULL;

    assert_int_equal(tree_builder_new(1, &builder), 0);
    for (int i = 0; i < 2; i++) {
        const char *slug = swapped == (i == 0) ? "b" : "a";
        uint32_t group = add_group(builder, TREE_PACKAGES, slug, slug, "");

        for (int j = 0; j < 2; j++) {
            char path[32];
            const char *name = swapped == (j == 0) ? "y" : "x";
            struct tree_row row;

            snprintf(path, sizeof(path), "data/%s/%s", slug, name);
            row = plain_row(group, name, path);
            add_table(builder, &row, 1, 10);
        }
    }
    assert_int_equal(tree_builder_freeze(builder, &state.tree), 0);
    return state;
}

static void the_same_generation_is_the_same_text(void **state)
{
    scoped(state_release) struct state forward = two_packages(false);
    scoped(state_release) struct state backward = two_packages(true);
    scoped_free char *one = NULL;
    scoped_free char *other = NULL;
    size_t size;

    assert_int_equal(state_text_make(&forward, &one, &size), 0);
    assert_int_equal(state_text_make(&backward, &other, &size), 0);
    assert_string_equal(one, other);
}

/* No manifest brings this; it must still not make a file that can not be read. */
static void a_name_twice_is_saved_once(void **state)
{
    struct place *folder = *state;
    scoped(state_release) struct state saved = {0};
    scoped(state_release) struct state loaded = {0};
    struct tree_builder *builder = NULL;
    char message[160];
    bool previous;

    assert_int_equal(tree_builder_new(1, &builder), 0);
    for (unsigned i = 0; i < 6; i++) {
        enum tree_section section = (enum tree_section)(i % 3);
        uint32_t group = add_group(builder, section, "same", "same", "");
        struct tree_row row = plain_row(group, "same", NULL);

        row.size = i;
        add_row(builder, &row);
    }
    assert_int_equal(tree_builder_freeze(builder, &saved.tree), 0);
    save(folder, &saved);
    assert_int_equal(state_load(folder->fd, NULL, NULL, &loaded, &previous, message), 0);
    assert_int_equal(tree_row_count(loaded.tree), 3);
    for (uint32_t i = 0; i < 3; i++)
        assert_true(tree_row(loaded.tree, i)->size < 3); /* the first of each wins */
}

/* --- the text --- */

static const char small_text[] = "{\n"
                                 "  \"version\": 1,\n"
                                 "  \"generation\": 3,\n"
                                 "  \"last_sync_unix\": 1780000000,\n"
                                 "  \"doubt_since\": {},\n"
                                 "  \"groups\": [\n"
                                 "    {\n"
                                 "      \"section\": \"direct_tables\",\n"
                                 "      \"slug\": \"\",\n"
                                 "      \"folder\": \"_direct\",\n"
                                 "      \"name\": \"\",\n"
                                 "      \"description\": \"\"\n"
                                 "    },\n"
                                 "    {\n"
                                 "      \"section\": \"data_packages\",\n"
                                 "      \"slug\": \"sales\",\n"
                                 "      \"folder\": \"sales\",\n"
                                 "      \"name\": \"Sales\",\n"
                                 "      \"description\": \"\",\n"
                                 "      \"requirement\": \"required\"\n"
                                 "    },\n"
                                 "    {\n"
                                 "      \"section\": \"memory_domains\",\n"
                                 "      \"slug\": \"finance\",\n"
                                 "      \"folder\": \"finance\",\n"
                                 "      \"name\": \"\",\n"
                                 "      \"description\": \"\"\n"
                                 "    }\n"
                                 "  ],\n"
                                 "  \"empty_folders\": [],\n"
                                 "  \"direct_tables\": {\n"
                                 "    \"prices\": {\n"
                                 "      \"table_id\": \"prices\",\n"
                                 "      \"md5\": \"900150983cd24fb0d6963f7d28e17f72\",\n"
                                 "      \"token\": \"t1\",\n"
                                 "      \"updated\": \"2026-07-01T00:00:00Z\",\n"
                                 "      \"query_mode\": \"local\",\n"
                                 "      \"rows\": 12,\n"
                                 "      \"size\": 4,\n"
                                 "      \"withheld\": \"remote\"\n"
                                 "    }\n"
                                 "  },\n"
                                 "  \"data_packages\": {\n"
                                 "    \"sales\": {\n"
                                 "      \"orders\": {\n"
                                 "        \"table_id\": \"orders\",\n"
                                 "        \"md5\": \"900150983cd24fb0d6963f7d28e17f72\",\n"
                                 "        \"token\": \"t1\",\n"
                                 "        \"updated\": \"2026-07-01T00:00:00Z\",\n"
                                 "        \"query_mode\": \"local\",\n"
                                 "        \"rows\": 12,\n"
                                 "        \"size\": 4,\n"
                                 "        \"path\": \"data/sales/orders.parquet\",\n"
                                 "        \"files\": [\n"
                                 "          {\n"
                                 "            \"key\": \"md5-KEY1-4\",\n"
                                 "            \"shared_path\": \"_shared/AA1/md5-KEY1-4\",\n"
                                 "            \"mtime_ns\": \"1780000000000000001\"\n"
                                 "          }\n"
                                 "        ]\n"
                                 "      }\n"
                                 "    }\n"
                                 "  },\n"
                                 "  \"memory_domains\": {\n"
                                 "    \"finance\": {\n"
                                 "      \"table_id\": \"finance\",\n"
                                 "      \"md5\": \"900150983cd24fb0d6963f7d28e17f72\",\n"
                                 "      \"token\": \"t1\",\n"
                                 "      \"updated\": \"2026-07-01T00:00:00Z\",\n"
                                 "      \"query_mode\": \"local\",\n"
                                 "      \"rows\": 12,\n"
                                 "      \"size\": 4,\n"
                                 "      \"path\": \"memory/finance/bundle.md\",\n"
                                 "      \"files\": [\n"
                                 "        {\n"
                                 "          \"key\": \"xxh-KEY2-4\",\n"
                                 "          \"shared_path\": \"_shared/AA2/xxh-KEY2-4\",\n"
                                 "          \"mtime_ns\": \"20\"\n"
                                 "        }\n"
                                 "      ]\n"
                                 "    }\n"
                                 "  },\n"
                                 "  \"knowledge_artifacts\": {},\n"
                                 "  \"checksum\": \"xxh3-CHECKSUM\"\n"
                                 "}\n";

/* A copy of text with every from replaced by to. */
static char *replace(const char *text, const char *from, const char *to)
{
    char *result = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&result, &size);

    for (const char *hit; (hit = strstr(text, from)); text = hit + strlen(from))
        fprintf(out, "%.*s%s", (int)(hit - text), text, to);
    fputs(text, out);
    fclose(out);
    return result;
}

static void it_reads_well(void **state)
{
    struct place *folder = *state;
    scoped(state_release) struct state saved = small();
    scoped_free char *text = NULL;
    scoped_free char *expected = strdup(small_text);
    struct stat st;
    size_t size;

    save(folder, &saved);
    text = file_read(folder->dir, CURRENT, &size);
    for (unsigned i = 1; i <= 2; i++) {
        struct blob_key key = model_key(i);
        char mark[8], folder_mark[8], digits[BLOB_KEY_TEXT_SIZE];
        char *old;

        snprintf(mark, sizeof(mark), "KEY%u", i);
        snprintf(folder_mark, sizeof(folder_mark), "AA%u", i);
        blob_key_format(&key, digits);
        digits[4 + 32] = '\0';
        old = expected;
        expected = replace(old, mark, digits + 4);
        free(old);
        digits[4 + 2] = '\0';
        old = expected;
        expected = replace(old, folder_mark, digits + 4);
        free(old);
    }
    assert_int_equal(size, strlen(expected) - strlen("CHECKSUM") + STATE_CHECKSUM_DIGITS);
    *strstr(text, "xxh3-") = '\0';
    *strstr(expected, "xxh3-") = '\0';
    assert_string_equal(text, expected);
    assert_int_equal(fstatat(folder->fd, CURRENT, &st, 0), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
}

static void no_absolute_path_is_in_it(void **state)
{
    struct place *folder = *state;
    scoped_free char *text = NULL;

    save_generation(folder, 1);
    text = file_read(folder->dir, CURRENT, NULL);
    assert_null(strstr(text, folder->dir));
    assert_null(strstr(text, "\"/"));
    assert_null(strstr(text, ".."));
}

/* --- what is not believed --- */

static void damage(const struct place *folder, const char *name, const char *text, size_t size,
                   const char *why)
{
    uint64_t generation = 0;
    char message[160];
    bool previous = false;

    /* With the previous file there, that one has to do... */
    file_write(folder->dir, CURRENT, text, size);
    if (load(folder, &generation, &previous, message) != 0 || generation != 1 || !previous)
        fail_msg("%s: believed", why);
    /* ... and where both are like this, there is no state; that is not the empty state. */
    file_write(folder->dir, PREVIOUS, text, size);
    if (load(folder, &generation, &previous, message) != -EBADMSG)
        fail_msg("%s: believed", why);
    assert_non_null(strstr(message, name));
}

/* The previous generation 1 and the current 2, both good. ret_*: their texts, to be freed. */
static void two_generations(const struct place *folder, char **ret_previous, char **ret_current,
                            size_t *ret_size)
{
    save_generation(folder, 1);
    save_generation(folder, 2);
    *ret_previous = file_read(folder->dir, PREVIOUS, NULL);
    *ret_current = file_read(folder->dir, CURRENT, ret_size);
    assert_non_null(*ret_previous);
}

static void torn_files_are_not_believed(void **state)
{
    struct place *folder = *state;
    scoped_free char *previous = NULL;
    scoped_free char *current = NULL;
    size_t size;

    two_generations(folder, &previous, &current, &size);
    for (size_t length = 0; length < size; length += 97) {
        file_write(folder->dir, PREVIOUS, previous, strlen(previous));
        damage(folder, CURRENT, current, length, "torn");
    }
    file_write(folder->dir, PREVIOUS, previous, strlen(previous));
    damage(folder, CURRENT, current, size - 1, "one byte short");
}

static void zeroed_tails_are_not_believed(void **state)
{
    struct place *folder = *state;
    scoped_free char *previous = NULL;
    scoped_free char *current = NULL;
    size_t size;

    two_generations(folder, &previous, &current, &size);
    for (size_t length = size - 1; length > 97; length -= 97) {
        memset(current + length, 0, size - length);
        file_write(folder->dir, PREVIOUS, previous, strlen(previous));
        damage(folder, CURRENT, current, size, "zeroed");
    }
}

static void flipped_bits_are_not_believed(void **state)
{
    struct place *folder = *state;
    scoped_free char *previous = NULL;
    scoped_free char *current = NULL;
    size_t size;

    two_generations(folder, &previous, &current, &size);
    for (size_t at = 0; at<size; at += at + 60> size ? 1 : 97) {
        char flip = (char)(1 << (at % 8));

        current[at] = (char)(current[at] ^ flip);
        file_write(folder->dir, PREVIOUS, previous, strlen(previous));
        damage(folder, CURRENT, current, size, "flipped");
        current[at] = (char)(current[at] ^ flip);
    }
}

static void hand_edits_are_not_believed(void **state)
{
    static const char *const edits[][2] = {
        {"\"rows\": 12", "\"rows\": 13"}, {"sales", "salez"}, {"  ", " "}, {"}\n", "}\n\n"},
        {"\"version\"", " \"version\""},  {"xxh3-", "XXH3-"},
    };
    struct place *folder = *state;
    scoped_free char *previous = NULL;
    scoped_free char *current = NULL;
    size_t size;

    two_generations(folder, &previous, &current, &size);
    for (size_t i = 0; i < sizeof(edits) / sizeof(*edits); i++) {
        scoped_free char *edited = replace(current, edits[i][0], edits[i][1]);

        assert_string_not_equal(edited, current);
        file_write(folder->dir, PREVIOUS, previous, strlen(previous));
        damage(folder, CURRENT, edited, strlen(edited), edits[i][1]);
    }
}

/* Somebody who can compute the checksum still can not make us believe nonsense. */
struct forgery {
    const char *from, *to;
    const char *message; /* part of it; NULL: this one may be believed */
};

static const struct forgery forgeries[] = {
    {"\"rows\": 12", "\"rows\": 13", NULL},
    {"_shared/", "/etc/", NULL}, /* written for people, never read */
    {"\"size\": 4", "\"unknown\": [1, {}], \"size\": 4", NULL},
    {"  \"knowledge_artifacts\": {},\n", "", NULL}, /* from before there was such a section */
    {"\"knowledge_artifacts\": {}", "\"knowledge_artifacts\": []", "knowledge_artifacts is not"},
    {"\"knowledge_artifacts\": {}", "\"knowledge_artifacts\": {\"chunks\": {\"x\": {}}}",
     "knowledge_artifacts of no known group"},
    {"\"version\": 1", "\"version\": 2", "version 2"},
    {"\"version\": 1", "\"version\": \"1\"", "version is no number"},
    {"\"version\": 1,", "", "version 0"},
    {"\"generation\": 3", "\"generation\": -3", "generation"},
    {"\"generation\": 3", "\"generation\": 3.5", "generation"},
    {"\"generation\": 3", "\"version\": 1", "duplicate key"},
    {"\"last_sync_unix\": 1780000000", "\"last_sync_unix\": true", "last_sync_unix"},
    {"\"doubt_since\": {}", "\"doubt_since\": []", "doubt_since"},
    {"\"doubt_since\": {}", "\"doubt_since\": {\"data_packages\": -1}", "data_packages"},
    {"\"groups\": [", "\"group\": [", "groups is not there"},
    {"\"section\": \"direct_tables\"", "\"section\": \"tables\"", "group without section"},
    {"\"section\": \"direct_tables\"", "\"section\": 1", "group without section"},
    {"\"slug\": \"sales\"", "\"slug\": \"sale\"", "data_packages of no known group"},
    {"\"slug\": \"sales\"", "\"slug\": null", "slug is no string"},
    {"\"slug\": \"finance\"", "\"slug\": \"sales\"", "memory_domains of no known group"},
    {"\"section\": \"direct_tables\"", "\"section\": \"memory_domains\"",
     "direct_tables of no known group"},
    {"\"empty_folders\": []", "\"empty_folders\": {}", "empty_folders"},
    {"\"empty_folders\": []", "\"empty_folders\": [1]", "empty_folders"},
    {"\"empty_folders\": []", "\"empty_folders\": [\"../x\"]", "empty_folders"},
    {"\"empty_folders\": []", "\"empty_folders\": [\"/etc\"]", "empty_folders"},
    {"\"direct_tables\": {", "\"direct\": {", "direct_tables is not there"},
    {"\"memory_domains\": {", "\"memory_domains\": 5, \"x\": {", "memory_domains is not there"},
    {"\"sales\": {", "\"sales\": [], \"x\": {", "sales is no object"},
    {"\"orders\": {", "\"orders\": 1, \"x\": {", "orders is no row"},
    {"\"table_id\": \"orders\"", "\"table_id\": 1", "table_id is no string"},
    {"\"token\": \"t1\"", "\"token\": null", "token is no string"},
    {"\"rows\": 12", "\"rows\": -2", "rows is no number"},
    {"\"size\": 4", "\"size\": 9007199254740994", "size is no number"},
    {"\"withheld\": \"remote\"", "\"withheld\": {}", "withheld is no string"},
    {"\"data/sales/orders.parquet\"", "\"../orders\"", "orders: Invalid"},
    {"\"data/sales/orders.parquet\"", "\"/etc/passwd\"", "orders: Invalid"},
    {"\"data/sales/orders.parquet\"", "\"data//orders\"", "orders: Invalid"},
    {"\"data/sales/orders.parquet\"", "\"\"", "orders: Invalid"},
    {"\"data/sales/orders.parquet\"", "\"memory/finance/bundle.md\"", "two names collide"},
    {"\"data/sales/orders.parquet\"", "\"memory/finance\"", "two names collide"},
    {"\"path\": \"data/sales/orders.parquet\",", "", "files of nothing"},
    {"\"files\": [", "\"files\": {}, \"x\": [", "files of nothing"},
    {"\"key\": \"md5-", "\"key\": \"md4-", "a file without key"},
    {"\"key\": \"md5-", "\"key\": \"md5-0", "a file without key"},
    {"\"key\": \"", "\"kez\": \"", "a file without key"},
    {"\"mtime_ns\": \"20\"", "\"mtime_ns\": 20", "mtime_ns is no time"},
    {"\"mtime_ns\": \"20\"", "\"mtime_ns\": \"020\"", "mtime_ns is no time"},
    {"\"mtime_ns\": \"20\"", "\"mtime_ns\": \" 20\"", "mtime_ns is no time"},
    {"\"mtime_ns\": \"20\"", "\"mtime_ns\": \"2e1\"", "mtime_ns is no time"},
    {"\"mtime_ns\": \"20\"", "\"mtime_ns\": \"\"", "mtime_ns is no time"},
    {"\"mtime_ns\": \"20\"", "\"mtime_ns\": \"99999999999999999999\"", "mtime_ns is no time"},
    {"\"mtime_ns\": \"20\"", "\"mtime_ns\": \"20\", \"part\": \"../x\"", "Invalid"},
    {"\"mtime_ns\": \"20\"", "\"mtime_ns\": \"20\", \"part\": \"\"", "Invalid"},
    {"\"mtime_ns\": \"20\"", "\"mtime_ns\": \"20\", \"part\": 1", "part is no string"},
    {"\"mtime_ns\": \"20\"", "\"mtime_ns\": \"20\", \"part\": \"x\"", NULL},
    {"\"token\": \"t1\"", "\"token\": \"\\u0000\"", "token is no string"},
    {"\"token\": \"t1\"", "\"token\": \"\xff\"", "UTF-8"},
    {"\"token\": \"t1\"", "\"token\": [[[[[[[]]]]]]]", "nested"},
};

static char *forge(const char *text, const struct forgery *forgery)
{
    char *forged = replace(text, forgery->from, forgery->to);
    char digits[STATE_CHECKSUM_DIGITS + 1];
    const char *place = state_checksum_place(forged, strlen(forged));

    assert_string_not_equal(forged, text);
    assert_non_null(place);
    memcpy(forged + (place - forged), STATE_TAIL_ZEROS, STATE_CHECKSUM_DIGITS);
    state_checksum(forged, strlen(forged), digits);
    memcpy(forged + (place - forged), digits, STATE_CHECKSUM_DIGITS);
    return forged;
}

static void forgeries_are_not_believed(void **state)
{
    struct place *folder = *state;
    scoped(state_release) struct state saved = small();
    scoped_free char *text = NULL;

    save(folder, &saved);
    text = file_read(folder->dir, CURRENT, NULL);
    for (size_t i = 0; i < sizeof(forgeries) / sizeof(*forgeries); i++) {
        scoped_free char *forged = forge(text, &forgeries[i]);
        uint64_t generation;
        char message[160];
        bool previous;
        int r;

        file_write(folder->dir, CURRENT, forged, strlen(forged));
        r = load(folder, &generation, &previous, message);
        if (r != (forgeries[i].message ? -EBADMSG : 0) ||
            (forgeries[i].message && !strstr(message, forgeries[i].message)))
            fail_msg("%s: %d, '%s'", forgeries[i].to, r, message);
    }
}

static void what_is_no_file_is_not_believed(void **state)
{
    struct place *folder = *state;
    scoped_free char *path = path_join(folder->dir, CURRENT);
    uint64_t generation;
    char message[160];
    bool previous;

    assert_int_equal(load(folder, &generation, &previous, message), -ENOENT);
    save_generation(folder, 1);
    assert_int_equal(renameat(folder->fd, CURRENT, folder->fd, "elsewhere"), 0);
    assert_int_equal(load(folder, &generation, &previous, message), -ENOENT);
    assert_int_equal(symlinkat("elsewhere", folder->fd, CURRENT), 0);
    assert_int_equal(load(folder, &generation, &previous, message), -EBADMSG);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(load(folder, &generation, &previous, message), -EBADMSG);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(load(folder, &generation, &previous, message), -EBADMSG);
    assert_int_equal(rmdir(path), 0);
    assert_int_equal(renameat(folder->fd, "elsewhere", folder->fd, PREVIOUS), 0);
    assert_int_equal(load(folder, &generation, &previous, message), 0);
    assert_true(previous);
}

/* --- saving --- */

static uint64_t generation_in(const struct place *folder, const char *name)
{
    scoped_free char *text = file_read(folder->dir, name, NULL);
    const char *found = text ? strstr(text, "\"generation\": ") : NULL;

    return found ? strtoull(found + 14, NULL, 10) : 0;
}

static void the_one_before_is_kept(void **state)
{
    struct place *folder = *state;

    save_generation(folder, 1);
    assert_int_equal(generation_in(folder, PREVIOUS), 0);
    for (uint64_t generation = 2; generation < 5; generation++) {
        save_generation(folder, generation);
        assert_int_equal(generation_in(folder, CURRENT), generation);
        assert_int_equal(generation_in(folder, PREVIOUS), generation - 1);
    }
    assert_null(file_read(folder->dir, CURRENT ".tmp", NULL));
}

static void nothing_new_writes_nothing(void **state)
{
    struct place *folder = *state;
    struct stat before, after;

    save_generation(folder, 1);
    save_generation(folder, 2);
    assert_int_equal(fstatat(folder->fd, CURRENT, &before, 0), 0);
    save_generation(folder, 2);
    assert_int_equal(fstatat(folder->fd, CURRENT, &after, 0), 0);
    assert_int_equal(before.st_ino, after.st_ino);
    assert_int_equal(generation_in(folder, PREVIOUS), 1);
}

static void a_rotten_file_does_not_push_out_the_last_good_one(void **state)
{
    struct place *folder = *state;

    save_generation(folder, 1);
    save_generation(folder, 2);
    file_write(folder->dir, CURRENT, "{}", 2);
    save_generation(folder, 3);
    assert_int_equal(generation_in(folder, CURRENT), 3);
    assert_int_equal(generation_in(folder, PREVIOUS), 1);
}

/* What a crash leaves at each step of state.c's table, and the save after it. */
static void any_step_may_be_the_last(void **state)
{
    struct place *folder = *state;
    uint64_t generation;
    char message[160];
    bool previous;

    save_generation(folder, 1);
    save_generation(folder, 2);
    file_write(folder->dir, CURRENT ".tmp", "{\"half", 6);
    assert_int_equal(load(folder, &generation, &previous, message), 0);
    assert_int_equal(generation, 2);
    assert_int_equal(unlinkat(folder->fd, PREVIOUS, 0), 0);
    assert_int_equal(load(folder, &generation, &previous, message), 0);
    assert_int_equal(generation, 2);
    assert_int_equal(linkat(folder->fd, CURRENT, folder->fd, PREVIOUS, 0), 0);
    assert_int_equal(load(folder, &generation, &previous, message), 0);
    assert_int_equal(generation, 2);
    save_generation(folder, 3);
    assert_int_equal(generation_in(folder, CURRENT), 3);
    assert_int_equal(generation_in(folder, PREVIOUS), 2);
    assert_null(file_read(folder->dir, CURRENT ".tmp", NULL));
    /* Without hard links there is an instant with the previous one only. */
    assert_int_equal(renameat(folder->fd, CURRENT, folder->fd, PREVIOUS), 0);
    assert_int_equal(load(folder, &generation, &previous, message), 0);
    assert_int_equal(generation, 3);
    assert_true(previous);
}

static void a_failed_save_changes_nothing(void **state)
{
    struct place *folder = *state;
    scoped_free char *path = path_join(folder->dir, PREVIOUS "/x");
    scoped(state_release) struct state next = sample(2, false);

    save_generation(folder, 1);
    file_write(folder->dir, PREVIOUS "/x", "", 0); /* a directory can not be unlinked */
    assert_true(state_save(folder->fd, &next) < 0);
    assert_int_equal(generation_in(folder, CURRENT), 1);
    assert_null(file_read(folder->dir, CURRENT ".tmp", NULL));
}

static void a_link_in_the_way_is_not_followed(void **state)
{
    struct place *folder = *state;
    scoped_free char *text = NULL;

    file_write(folder->dir, "victim", "precious", 8);
    assert_int_equal(symlinkat("victim", folder->fd, CURRENT ".tmp"), 0);
    assert_int_equal(symlinkat("victim", folder->fd, CURRENT), 0);
    save_generation(folder, 1);
    text = file_read(folder->dir, "victim", NULL);
    assert_string_equal(text, "precious");
    assert_int_equal(generation_in(folder, CURRENT), 1);
}

static void numbers_that_json_can_not_hold_are_not_saved(void **state)
{
    struct place *folder = *state;
    scoped(state_release) struct state saved = small();

    saved.last_sync_unix = UINT64_MAX;
    assert_int_equal(state_save(folder->fd, &saved), -ERANGE);
    assert_null(file_read(folder->dir, CURRENT, NULL));
}

#define with_folder(test) cmocka_unit_test_setup_teardown(test, place_enter, place_leave)

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_folder(what_is_saved_is_loaded),
        with_folder(decoration_is_made_anew),
        with_folder(a_failing_decorator_is_not_the_files_fault),
        with_folder(random_states_survive),
        with_folder(the_same_generation_is_the_same_text),
        with_folder(a_name_twice_is_saved_once),
        with_folder(it_reads_well),
        with_folder(no_absolute_path_is_in_it),
        with_folder(torn_files_are_not_believed),
        with_folder(zeroed_tails_are_not_believed),
        with_folder(flipped_bits_are_not_believed),
        with_folder(hand_edits_are_not_believed),
        with_folder(forgeries_are_not_believed),
        with_folder(what_is_no_file_is_not_believed),
        with_folder(the_one_before_is_kept),
        with_folder(nothing_new_writes_nothing),
        with_folder(a_rotten_file_does_not_push_out_the_last_good_one),
        with_folder(any_step_may_be_the_last),
        with_folder(a_failed_save_changes_nothing),
        with_folder(a_link_in_the_way_is_not_followed),
        with_folder(numbers_that_json_can_not_hold_are_not_saved),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
