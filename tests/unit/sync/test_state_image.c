/* SPDX-License-Identifier: MIT */
/* The image of a state beside its file: taken where it fits, ignored where anything is odd. */
#include "sync/state_image.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "cache/scoped.h"
#include "tests/unit/support/tempdir.h"

#define STATE "sync_state.json"
#define IMAGE "sync_state.image"

static struct state sample(uint64_t generation)
{
    struct state state = {.last_sync_unix = 1000 + generation, .doubt_since = {0, 77}};
    struct tree_group group = {.section = TREE_DIRECT,
                               .slug = "_direct",
                               .folder = "_direct",
                               .name = ""};
    struct tree_row row = {.name = "prices",
                           .path = "data/_direct/prices.parquet",
                           .table_id = "prices",
                           .token = "t",
                           .md5 = "900150983cd24fb0d6963f7d28e17f72",
                           .url = "",
                           .updated = "",
                           .query_mode = "local",
                           .rows = 12,
                           .size = 4};
    struct tree_builder *builder = NULL;
    struct blob_key key;
    uint32_t index;

    assert_int_equal(blob_key_from_md5(row.md5, 4, &key), 0);
    assert_int_equal(tree_builder_new(generation, &builder), 0);
    assert_int_equal(tree_builder_add_group(builder, &group, &index), 0);
    assert_int_equal(tree_builder_add_row(builder, &row, &index), 0);
    assert_int_equal(tree_builder_add_blob(builder, row.path, index, &key, 1000), 0);
    assert_int_equal(tree_builder_add_text(builder, "README.md", "# Here\n", 7), 0);
    assert_int_equal(tree_builder_freeze(builder, &state.tree), 0);
    return state;
}

/* The state file and its image. */
static void save(const struct place *folder, uint64_t generation)
{
    scoped(state_release) struct state state = sample(generation);

    assert_int_equal(state_save(folder->fd, &state), 0);
    assert_int_equal(state_image_save(folder->fd, "here", &state), 0);
}

static int load(const struct place *folder, const char *decoration)
{
    scoped(state_release) struct state state = {.tree = NULL};

    return state_image_load(folder->fd, decoration, &state);
}

static char *read_file(const struct place *folder, const char *name, size_t *ret_size)
{
    scoped_fd int fd = openat(folder->fd, name, O_RDONLY | O_CLOEXEC);
    struct stat st;
    char *bytes;

    assert_int_equal(fstat(fd, &st), 0);
    bytes = malloc((size_t)st.st_size + 1);
    assert_int_equal(read(fd, bytes, (size_t)st.st_size), st.st_size);
    *ret_size = (size_t)st.st_size;
    return bytes;
}

static void write_file(const struct place *folder, const char *name, const char *bytes, size_t size)
{
    scoped_fd int fd = openat(folder->fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    assert_int_equal(write(fd, bytes, size), size);
}

static void what_is_saved_is_loaded_with_its_decoration(void **state)
{
    const struct place *folder = *state;
    scoped(state_release) struct state saved = sample(3);
    scoped(state_release) struct state loaded = {.tree = NULL};

    save(folder, 3);
    assert_int_equal(state_image_load(folder->fd, "here", &loaded), 0);
    assert_true(tree_equal(saved.tree, loaded.tree));
    assert_int_equal(tree_generation(loaded.tree), 3);
    assert_int_equal(loaded.last_sync_unix, saved.last_sync_unix);
    assert_memory_equal(loaded.doubt_since, saved.doubt_since, sizeof(saved.doubt_since));
    assert_int_equal(load(folder, "there"), -ENOENT);
    assert_int_equal(load(folder, NULL), 0);
}

static void an_image_of_something_else_is_none(void **state)
{
    const struct place *folder = *state;
    scoped(state_release) struct state next = sample(4);
    scoped_free char *text = NULL;
    const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = 1}};
    size_t size;

    assert_int_equal(load(folder, "here"), -ENOENT);
    save(folder, 3);
    assert_int_equal(load(folder, "there"), -ENOENT); /* of another place */
    assert_int_equal(load(folder, "here"), 0);

    text = read_file(folder, STATE, &size); /* somebody edits the state */
    text[size / 2] ^= 1;
    write_file(folder, STATE, text, size);
    assert_int_equal(utimensat(folder->fd, STATE, times, 0), 0);
    assert_int_equal(load(folder, "here"), -ENOENT);

    save(folder, 3);
    assert_int_equal(load(folder, "here"), 0);
    assert_int_equal(state_save(folder->fd, &next), 0); /* a newer generation */
    assert_int_equal(load(folder, "here"), -ENOENT);

    save(folder, 5);
    assert_int_equal(unlinkat(folder->fd, STATE, 0), 0);
    assert_int_equal(load(folder, "here"), -ENOENT);
}

/* The state file of the same size and time, but of other content, has another last line. */
static void the_checksum_of_the_state_counts(void **state)
{
    const struct place *folder = *state;
    const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = 1}};

    for (uint64_t generation = 3; generation <= 4; generation++) {
        scoped(state_release) struct state saved = sample(generation);

        assert_int_equal(state_save(folder->fd, &saved), 0);
        assert_int_equal(utimensat(folder->fd, STATE, times, 0), 0);
        if (generation == 3)
            assert_int_equal(state_image_save(folder->fd, "here", &saved), 0);
    }
    assert_int_equal(load(folder, "here"), -ENOENT);
}

static void a_damaged_image_is_noticed(void **state)
{
    const struct place *folder = *state;
    scoped_free char *image = NULL;
    size_t size;

    save(folder, 3);
    image = read_file(folder, IMAGE, &size);
    for (size_t at = 0; at < size; at++) {
        image[at] ^= 0x20;
        write_file(folder, IMAGE, image, size);
        assert_true(load(folder, "here") < 0);
        image[at] ^= 0x20;
    }
    for (size_t cut = 0; cut < size; cut += 7) {
        write_file(folder, IMAGE, image, cut);
        assert_true(load(folder, "here") < 0);
    }
    write_file(folder, IMAGE, image, size);
    assert_int_equal(load(folder, "here"), 0);
}

static void what_is_no_file_is_no_image(void **state)
{
    const struct place *folder = *state;

    save(folder, 3);
    assert_int_equal(unlinkat(folder->fd, IMAGE, 0), 0);
    assert_int_equal(mkfifoat(folder->fd, IMAGE, 0600), 0);
    assert_true(load(folder, "here") < 0);
    save(folder, 4); /* takes its place */
    assert_int_equal(load(folder, "here"), 0);
    assert_int_equal(unlinkat(folder->fd, IMAGE, 0), 0);
    assert_int_equal(symlinkat(STATE, folder->fd, IMAGE), 0);
    assert_true(load(folder, "here") < 0);
}

#define test(name) cmocka_unit_test_setup_teardown(name, place_enter, place_leave)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(what_is_saved_is_loaded_with_its_decoration),
        test(an_image_of_something_else_is_none),
        test(the_checksum_of_the_state_counts),
        test(a_damaged_image_is_noticed),
        test(what_is_no_file_is_no_image),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
