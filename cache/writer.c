/* SPDX-License-Identifier: MIT */
/* writer.c - filling a partial.
 *
 * Invariant: digest and size describe the first `size` bytes of the file, and what lies beyond
 * them does not count. A write that fails half-way leaves both as they were, so the same write can
 * be repeated; whoever keeps or publishes the file first cuts it to size.
 *
 * The tag file has one line, the tag, and after an orderly suspend a second one, the xxh key of
 * the bytes. Resumed bytes are vouched for when that key still fits. Without it they are only
 * probable (we were killed, or the machine was): good enough to go on when commit is told what
 * must come out, and refused when the bytes themselves would give the blob its name. */
#include "cache/writer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "cache/blob.h"
#include "cache/files.h"
#include "cache/names.h"

#define TAG_FILE_LIMIT ((size_t)1024)

struct writer {
    struct store *store;
    char name[PARTIAL_FILE_SIZE];
    char tag_name[PARTIAL_FILE_SIZE];
    char tag[WRITER_TAG_SIZE];
    struct digest *digest;
    int fd;
    uint64_t cap;
    uint64_t size;
    bool claimed;
    bool unproven; /* holds resumed bytes that nothing vouches for */
};

static void writer_free(struct writer *writer)
{
    if (!writer)
        return;
    if (writer->claimed)
        claims_release(writer->store->names, writer->name);
    if (writer->fd >= 0)
        close(writer->fd);
    digest_free(writer->digest);
    free(writer);
}

static void writer_freep(struct writer *const *writer)
{
    writer_free(*writer);
}

static int partial_dir(const struct writer *writer)
{
    return writer->store->root.partial;
}

/* --- the tag --- */

/* sums: also vouch for the bytes so far. */
static int save_tag(const struct writer *writer, const char *tag, const struct digest_sums *sums)
{
    char text[WRITER_TAG_SIZE + BLOB_KEY_TEXT_SIZE + 2];
    char vouch[BLOB_KEY_TEXT_SIZE] = "";

    if (sums) {
        struct blob_key key = {.kind = BLOB_XXH, .size = sums->size};

        memcpy(key.digest, sums->xxh, BLOB_DIGEST_SIZE);
        blob_key_format(&key, vouch);
    }

    int size = snprintf(text, sizeof(text), "%s\n%s%s", tag, vouch, sums ? "\n" : "");
    int r = name_clear(partial_dir(writer), writer->tag_name);

    if (r < 0)
        return r;
    scoped_fd int fd = openat(partial_dir(writer), writer->tag_name,
                              O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);

    return fd < 0 ? negative_errno() : write_fully(fd, text, (size_t)size, 0);
}

static bool tag_valid(const char *tag)
{
    size_t size = strlen(tag);

    for (size_t i = 0; i < size; i++) {
        if ((unsigned char)tag[i] < ' ' || tag[i] == 0x7f)
            return false;
    }
    return size < WRITER_TAG_SIZE;
}

/* ret_vouch is set to the empty key when nobody vouches. A line without its end is no line. */
static void load_tag(struct writer *writer, struct blob_key *ret_vouch)
{
    scoped_free char *text = NULL;
    size_t size = 0;

    *ret_vouch = (struct blob_key){0};
    if (file_load(partial_dir(writer), writer->tag_name, TAG_FILE_LIMIT, &text, &size) < 0)
        return;

    char *line_end = strchr(text, '\n');

    if (!line_end)
        return;
    *line_end = '\0';
    if (!tag_valid(text))
        return;
    memcpy(writer->tag, text, strlen(text) + 1);

    char *vouch = line_end + 1;

    line_end = strchr(vouch, '\n');
    if (line_end) {
        *line_end = '\0';
        if (blob_key_parse(vouch, ret_vouch) < 0)
            *ret_vouch = (struct blob_key){0};
    }
}

/* --- beginning --- */

static int start_empty(struct writer *writer)
{
    int r = name_clear(partial_dir(writer), writer->tag_name);

    if (r == 0)
        r = name_clear(partial_dir(writer), writer->name);
    if (r == 0)
        r = digest_reset(writer->digest);
    if (r < 0)
        return r;

    writer->tag[0] = '\0';
    writer->size = 0;
    writer->unproven = false;
    if (writer->fd >= 0)
        close(writer->fd);
    writer->fd = openat(partial_dir(writer), writer->name,
                        O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    return writer->fd < 0 ? negative_errno() : 0;
}

/* A partial that is complete may be 0400 already: we died between fchmod and rename. */
static int open_partial(const struct writer *writer, struct stat *ret_st)
{
    const int flags = O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
    scoped_fd int fd = openat(partial_dir(writer), writer->name, O_RDONLY | flags);

    if (fd < 0 || fstat(fd, ret_st) < 0)
        return negative_errno();
    if (!stat_is_plain(ret_st, writer->store->root.owner))
        return -EBADMSG;
    if (fchmod(fd, 0600) < 0)
        return negative_errno();

    int writable = openat(partial_dir(writer), writer->name, O_RDWR | flags);

    return writable < 0 ? negative_errno() : writable;
}

/* Takes up what lies there. Any failure means only that we begin with nothing. */
static int take_up(struct writer *writer)
{
    struct blob_key vouch;
    struct digest_sums sums;
    struct stat st;

    writer->fd = open_partial(writer, &st);
    if (writer->fd < 0)
        return writer->fd;

    uint64_t size = (uint64_t)st.st_size;

    if (size == 0 || size > writer->cap)
        return -EFBIG;
    load_tag(writer, &vouch);
    int r = digest_update_file(writer->digest, writer->fd, 0, size);

    if (r == 0)
        r = digest_sums(writer->digest, &sums);
    if (r < 0)
        return r;

    writer->unproven = !digest_matches(&sums, &vouch);
    if (writer->unproven && vouch.kind == BLOB_XXH && vouch.size == size)
        return -EBADMSG; /* as long as it was, yet not what it was */
    writer->size = size;
    return 0;
}

int writer_begin(struct store *store, const char *name, uint64_t cap, bool resume,
                 struct writer **ret_writer)
{
    if (store_mode(store) != STORE_WRITER)
        return -EROFS;
    if (!partial_name_valid(name))
        return -EINVAL;

    scoped(writer_freep) struct writer *writer = calloc(1, sizeof(*writer));

    if (!writer)
        return -ENOMEM;
    writer->store = store;
    writer->cap = cap;
    writer->fd = -1;
    snprintf(writer->name, sizeof(writer->name), "%.*s", PARTIAL_NAME_MAX, name);
    snprintf(writer->tag_name, sizeof(writer->tag_name), "%.*s.tag", PARTIAL_NAME_MAX, name);

    int r = digest_new(&writer->digest);

    if (r == 0)
        r = claims_take(store->names, name, CLAIM_LONG);
    if (r < 0)
        return r;
    writer->claimed = true;

    if (!resume || take_up(writer) < 0)
        r = start_empty(writer);
    if (r < 0)
        return r;
    *ret_writer = take_ptr(writer);
    return 0;
}

/* --- filling --- */

uint64_t writer_size(const struct writer *writer)
{
    return writer->size;
}

const char *writer_tag(const struct writer *writer)
{
    return writer->tag;
}

int writer_set_tag(struct writer *writer, const char *tag)
{
    if (!tag_valid(tag))
        return -EINVAL;

    int r = save_tag(writer, tag, NULL);

    if (r == 0)
        memcpy(writer->tag, tag, strlen(tag) + 1);
    return r;
}

int writer_write(struct writer *writer, const void *data, size_t size)
{
    if (size > writer->cap - writer->size)
        return -EFBIG;

    int r = write_fully(writer->fd, data, size, writer->size);

    if (r == 0)
        r = digest_update(writer->digest, data, size);
    if (r == 0)
        writer->size += size;
    return r;
}

bool writer_edges(const struct writer *writer, uint8_t ret_head[static 4],
                  uint8_t ret_tail[static 4])
{
    /* Read back rather than remembered: it is asked once a blob, and right after a resume too. */
    return writer->size >= 8 && pread(writer->fd, ret_head, 4, 0) == 4 &&
           pread(writer->fd, ret_tail, 4, (off_t)writer->size - 4) == 4;
}

int writer_restart(struct writer *writer)
{
    return start_empty(writer);
}

/* --- ending --- */

static int cut_to_size(const struct writer *writer)
{
    struct stat st;

    if (fstat(writer->fd, &st) < 0)
        return negative_errno();
    if ((uint64_t)st.st_size < writer->size)
        return -EBADMSG; /* somebody else has been here */
    if ((uint64_t)st.st_size == writer->size)
        return 0;
    return ftruncate(writer->fd, (off_t)writer->size) < 0 ? negative_errno() : 0;
}

static int judge(const struct writer *writer, const struct blob_key *expected,
                 struct digest_sums *ret_sums, struct blob_key *ret_key)
{
    int r = digest_sums(writer->digest, ret_sums);

    if (r < 0)
        return r;
    if (expected) {
        *ret_key = *expected;
        return digest_matches(ret_sums, expected) ? 0 : -EBADMSG;
    }
    *ret_key = (struct blob_key){.kind = BLOB_XXH, .size = writer->size};
    memcpy(ret_key->digest, ret_sums->xxh, BLOB_DIGEST_SIZE);
    return writer->unproven ? -EBADMSG : 0;
}

static void remove_partial(const struct writer *writer)
{
    name_clear(partial_dir(writer), writer->name);
    name_clear(partial_dir(writer), writer->tag_name);
}

int writer_commit(struct writer *writer, const struct blob_key *expected, struct blob_key *ret_key)
{
    scoped(writer_freep) struct writer *owned = writer;
    struct digest_sums sums;
    struct blob_key key;
    int r = judge(writer, expected, &sums, &key);

    if (r == 0)
        r = cut_to_size(writer);
    if (r == 0 && (fchmod(writer->fd, 0400) < 0 || fdatasync(writer->fd) < 0))
        r = negative_errno();
    if (r == 0)
        r = blob_publish(writer->store, writer->name, writer->fd, &key, sums.xxh);
    remove_partial(writer);
    if (r == 0 && ret_key)
        *ret_key = key;
    return r;
}

void writer_suspend(struct writer *writer)
{
    scoped(writer_freep) struct writer *owned = writer;
    struct digest_sums sums;

    if (writer->size == 0 || cut_to_size(writer) < 0) {
        remove_partial(writer);
        return;
    }

    /* Bytes that nobody vouched for do not become better by being kept once more. */
    bool vouch = !writer->unproven && digest_sums(writer->digest, &sums) == 0;

    save_tag(writer, writer->tag, vouch ? &sums : NULL);
}

void writer_abort(struct writer *writer)
{
    if (!writer)
        return;
    remove_partial(writer);
    writer_free(writer);
}
