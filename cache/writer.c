/* SPDX-License-Identifier: MIT */
/* writer.c - filling a draft.
 *
 * Invariant: digest and size describe the first `size` bytes of the file, and what lies beyond
 * them does not count. A write that fails half-way leaves both as they were, so the same write can
 * be repeated; whoever publishes the file first cuts it to size.
 *
 * The store's account holds exactly `size` bytes for an open draft, from writer_write on. They
 * become the blob's in blob_publish, or are given back. */
#include "cache/writer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "cache/blob.h"
#include "cache/files.h"
#include "cache/names.h"
#include "cache/room.h"

struct writer {
    struct store *store;
    char name[DRAFT_NAME_SIZE];
    struct digest *digest;
    int fd;
    uint64_t cap;
    uint64_t size;
    bool claimed;
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

static int draft_dir(const struct writer *writer)
{
    return writer->store->root.partial;
}

/* --- beginning --- */

static int create(struct writer *writer)
{
    writer->fd = openat(draft_dir(writer), writer->name,
                        O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    return writer->fd < 0 ? negative_errno() : 0;
}

static int start_empty(struct writer *writer)
{
    int r = name_clear(draft_dir(writer), writer->name);

    if (r == 0)
        r = digest_reset(writer->digest);
    if (r < 0)
        return r;

    room_end_open(writer->store, writer->size);
    writer->size = 0;
    if (writer->fd >= 0)
        close(writer->fd);
    r = create(writer);
    if (room_retry(writer->store, r))
        r = room_retried(writer->store, create(writer));
    return r;
}

int writer_begin(struct store *store, const char *name, uint64_t cap, struct writer **ret_writer)
{
    if (store_mode(store) != STORE_WRITER)
        return -EROFS;
    if (!draft_name_valid(name))
        return -EINVAL;

    scoped(writer_freep) struct writer *writer = calloc(1, sizeof(*writer));

    if (!writer)
        return -ENOMEM;
    writer->store = store;
    writer->cap = cap;
    writer->fd = -1;
    snprintf(writer->name, sizeof(writer->name), "%.*s", DRAFT_NAME_MAX, name);

    int r = digest_new(&writer->digest);

    if (r == 0)
        r = claims_take(store->names, name, CLAIM_LONG);
    if (r < 0)
        return r;
    writer->claimed = true;

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

int writer_write(struct writer *writer, const void *data, size_t size)
{
    if (size > writer->cap - writer->size)
        return -EFBIG;

    int r = room_write(writer->store, writer->fd, data, size, writer->size);

    if (r < 0)
        return r;
    r = digest_update(writer->digest, data, size);
    if (r < 0) {
        room_end_open(writer->store, size);
        return r;
    }
    writer->size += size;
    return 0;
}

bool writer_edges(const struct writer *writer, uint8_t ret_head[static 4],
                  uint8_t ret_tail[static 4])
{
    /* Read back rather than remembered: it is asked once a blob. */
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
    return 0;
}

static void drop_draft(const struct writer *writer)
{
    name_clear(draft_dir(writer), writer->name);
    room_end_open(writer->store, writer->size);
}

static int publish(const struct writer *writer, const struct blob_key *key,
                   const struct digest_sums *sums)
{
    int r = blob_publish(writer->store, writer->name, writer->fd, key, sums->xxh);

    if (room_retry(writer->store, r))
        r = room_retried(writer->store,
                         blob_publish(writer->store, writer->name, writer->fd, key, sums->xxh));
    return r;
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
        r = publish(writer, &key, &sums);
    if (r < 0)
        drop_draft(writer);
    else if (ret_key)
        *ret_key = key;
    return r;
}

void writer_abort(struct writer *writer)
{
    if (!writer)
        return;
    drop_draft(writer);
    writer_free(writer);
}
