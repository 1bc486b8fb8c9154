/* SPDX-License-Identifier: MIT */
/* state_image.c - why an old image never hides a newer state: state_save makes a new file each time,
 * and of that the size, the time and the checksum in its last line are compared. Someone who edits
 * the file changes its time. */
#include "sync/state_image.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cache/files.h"
#include "cache/scoped.h"
#include "sync/state_text.h"
#include "sync/tree_image.h"

#define IMAGE_FILE "sync_state.image"
#define IMAGE_TEMP "sync_state.image.new"
#define IMAGE_SIZE_MAX ((size_t)4 << 30)

/* "1" is of the head; what it is followed by says for itself what it is made of. */
#define IMAGE_MAGIC "agnesfs image 1"

/* Which state file it is. */
struct origin {
    uint64_t size;
    int64_t mtime_ns;
    char tail[64]; /* its last bytes, which hold its checksum */
};

struct image_head {
    char magic[16];
    uint64_t size;                        /* of the whole */
    uint8_t rest[BLOB_DIGEST_SIZE];       /* the digest of what follows this field */
    uint8_t decoration[BLOB_DIGEST_SIZE]; /* of the name */
    struct origin origin;
    uint64_t last_sync_unix;
    uint64_t doubt_since[TREE_SECTIONS];
};

#define HEAD_SIZE                                                                                  \
    ((sizeof(struct image_head) + TREE_IMAGE_ALIGN - 1) / TREE_IMAGE_ALIGN * TREE_IMAGE_ALIGN)
#define REST_AT offsetof(struct image_head, decoration)

static void digest_of(const char *bytes, size_t size, uint8_t ret_digest[static BLOB_DIGEST_SIZE])
{
    struct blob_key key;

    blob_key_of_bytes(bytes, size, &key);
    memcpy(ret_digest, key.digest, BLOB_DIGEST_SIZE);
}

static int find_origin(int dirfd, struct origin *ret_origin)
{
    scoped_fd int fd = openat(dirfd, STATE_FILE, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    struct stat st;

    *ret_origin = (struct origin){.size = 0};
    if (fd < 0 || fstat(fd, &st) < 0)
        return negative_errno();
    if (!S_ISREG(st.st_mode) || st.st_size < (off_t)sizeof(ret_origin->tail))
        return -ENOENT;
    ret_origin->size = (uint64_t)st.st_size;
    ret_origin->mtime_ns = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
    return pread(fd, ret_origin->tail, sizeof(ret_origin->tail),
                 st.st_size - (off_t)sizeof(ret_origin->tail)) == (ssize_t)sizeof(ret_origin->tail)
               ? 0
               : -ENOENT;
}

static bool same_origin(const struct origin *a, const struct origin *b)
{
    return a->size == b->size && a->mtime_ns == b->mtime_ns &&
           memcmp(a->tail, b->tail, sizeof(a->tail)) == 0;
}

/* --- reading --- */

static bool head_is_sound(const struct image_head *head, const char *image, size_t size)
{
    uint8_t rest[BLOB_DIGEST_SIZE];

    if (memcmp(head->magic, IMAGE_MAGIC, sizeof(head->magic)) != 0 || head->size != size)
        return false;
    digest_of(image + REST_AT, size - REST_AT, rest);
    return memcmp(rest, head->rest, sizeof(rest)) == 0;
}

/* Takes the image over on success. */
static int read_image(char *image, size_t size, const struct origin *origin, const char *decoration,
                      struct state *ret_state)
{
    struct state state = {.tree = NULL};
    struct image_head head;
    uint8_t wanted[BLOB_DIGEST_SIZE];
    int r;

    if (size < HEAD_SIZE)
        return -EBADMSG;
    memcpy(&head, image, sizeof(head));
    if (decoration)
        digest_of(decoration, strlen(decoration), wanted);
    if (!same_origin(&head.origin, origin) ||
        (decoration && memcmp(head.decoration, wanted, sizeof(wanted)) != 0))
        return -ENOENT;
    if (!head_is_sound(&head, image, size))
        return -EBADMSG;
    r = tree_image_read(image, HEAD_SIZE, size, &state.tree);
    if (r < 0)
        return r;
    state.last_sync_unix = head.last_sync_unix;
    memcpy(state.doubt_since, head.doubt_since, sizeof(state.doubt_since));
    *ret_state = state;
    return 0;
}

int state_image_load(int dirfd, const char *decoration, struct state *ret_state)
{
    scoped_free char *image = NULL;
    struct origin origin;
    size_t size = 0;
    int r = find_origin(dirfd, &origin);

    if (r == 0)
        r = file_load(dirfd, IMAGE_FILE, IMAGE_SIZE_MAX, &image, &size);
    if (r == 0)
        r = read_image(image, size, &origin, decoration, ret_state);
    if (r == 0)
        image = NULL; /* the tree's now */
    return r;
}

/* --- writing --- */

int state_image_save(int dirfd, const char *decoration, const struct state *state)
{
    struct image_head head = {.magic = IMAGE_MAGIC, .last_sync_unix = state->last_sync_unix};
    scoped_free char *image = NULL;
    size_t size = 0;
    int r = find_origin(dirfd, &head.origin);

    if (r == 0)
        r = tree_image_make(state->tree, HEAD_SIZE, &image, &size);
    if (r < 0)
        return r;
    head.size = size;
    digest_of(decoration, strlen(decoration), head.decoration);
    memcpy(head.doubt_since, state->doubt_since, sizeof(head.doubt_since));
    memcpy(image, &head, sizeof(head));
    digest_of(image + REST_AT, size - REST_AT, head.rest);
    memcpy(image, &head, sizeof(head));
    return file_save(dirfd, IMAGE_FILE, IMAGE_TEMP, image, size);
}
