/* SPDX-License-Identifier: MIT */
/* partial.c - a partial's life.
 *
 * Why one key is one object: whoever opens, publishes, removes or puts aside a key's files holds
 * its entry busy meanwhile (partials.h), so the files on disk belong to the object in the list, or
 * to nobody.
 *
 * Why nothing foreign is taken for ours: files are opened without following links, looked at, and
 * used only when they are plain, of our owner, and of the key's size; the map's header names the
 * key; and bytes are believed only when they fit the map. Anything else is cleared away.
 *
 * A partial of one block has no map while it is in use: small tables come by the thousand and most
 * are whole before anybody could profit from one. It gets one when it is put aside. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "cache/files.h"
#include "cache/names.h"
#include "cache/partial_object.h"
#include "cache/room.h"

static void partial_free(struct partial *partial)
{
    if (!partial)
        return;
    for (size_t i = 0; i < STRANDS; i++)
        checksum_free(partial->strands[i].sum);
    if (partial->fd >= 0)
        close(partial->fd);
    if (partial->map >= 0)
        close(partial->map);
    if (partial->direct >= 0)
        close(partial->direct);
    digest_free(partial->digest);
    pthread_mutex_destroy(&partial->lock);
    free(partial->blocks);
    free(partial);
}

static void partial_freep(struct partial *const *partial)
{
    partial_free(*partial);
}

static int partial_new(struct store *store, const struct blob_key *key,
                       struct partial **ret_partial)
{
    if (key->size > INT64_MAX || key->size / PARTIAL_BLOCK >= UINT32_MAX)
        return -EFBIG;

    struct partial *partial = calloc(1, sizeof(*partial));

    if (!partial)
        return -ENOMEM;
    pthread_mutex_init(&partial->lock, NULL);
    partial->listed.key = *key;
    partial->store = store;
    partial->writable = store_mode(store) == STORE_WRITER;
    partial->fd = -1;
    partial->map = -1;
    partial->direct = -1;
    *ret_partial = partial;
    return 0;
}

/* --- the files --- */

static int open_data(const struct partial *partial, int *ret_fd)
{
    const struct root *root = &partial->store->root;
    scoped_fd int fd = -1;
    char name[BLOB_KEY_TEXT_SIZE];
    struct stat st;

    blob_key_format(key_of(partial), name);
    int r = file_open_plain(root->partial, name, root->owner, partial->writable, &fd, &st);

    if (r == 0 && (uint64_t)st.st_size != key_of(partial)->size)
        r = -EBADMSG;
    if (r == 0)
        *ret_fd = take_fd(fd);
    return r;
}

/* Takes up what lies there. -ENOENT, -EBADMSG: nothing that could be. */
static int take_up(struct partial *partial)
{
    scoped_fd int fd = -1;
    const struct root *root = &partial->store->root;
    int r = root->partial < 0 ? -ENOENT : open_data(partial, &fd);

    if (r == 0)
        r = map_open(root->partial, key_of(partial), root->owner, partial->writable,
                     partial->blocks, partial->tag, &partial->map);
    if (r < 0)
        return r;

    for (uint32_t i = 0; i < map_blocks(key_of(partial)); i++)
        partial->bytes += partial->blocks[i].filled;
    partial->fd = take_fd(fd);
    return 0;
}

/* Only those of one block, or none, come to be without. */
int partial_make_map(struct partial *partial)
{
    scoped_fd int map = -1;
    struct block block;

    {
        scoped_lock(&partial->lock);
        block = partial->blocks[0];
    }
    int r = map_create(partial->store->root.partial, key_of(partial), partial->tag, &map);

    if (r == 0)
        r = map_write_blocks(map, 0, &block, map_blocks(key_of(partial)));
    if (r == 0)
        partial->map = take_fd(map);
    return r;
}

void partial_unlink(const struct partial *partial)
{
    char data[BLOB_KEY_TEXT_SIZE];
    char map[MAP_NAME_SIZE];

    blob_key_format(key_of(partial), data);
    map_name_format(key_of(partial), map);
    name_clear(partial->store->root.partial, map);
    name_clear(partial->store->root.partial, data);
}

static int start_empty(struct partial *partial)
{
    const int dir = partial->store->root.partial;
    const uint32_t blocks = map_blocks(key_of(partial));
    char data[BLOB_KEY_TEXT_SIZE];
    char map[MAP_NAME_SIZE];

    blob_key_format(key_of(partial), data);
    map_name_format(key_of(partial), map);
    memset(partial->blocks, 0, blocks * sizeof(*partial->blocks));
    partial->tag[0] = '\0';

    int r = name_clear(dir, map);

    if (r == 0)
        r = name_clear(dir, data);
    if (r < 0)
        return r;

    scoped_fd int fd = openat(dir, data, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);

    if (fd < 0)
        return negative_errno();
    r = ftruncate(fd, (off_t)key_of(partial)->size) < 0 ? negative_errno() : 0;
    if (r == 0 && blocks > 1)
        r = map_create(dir, key_of(partial), "", &partial->map);
    if (r < 0) {
        partial_unlink(partial);
        return r;
    }
    partial->fd = take_fd(fd);
    return 0;
}

static bool is_none(int r)
{
    return r == -ENOENT || r == -EBADMSG;
}

static int open_files(struct partial *partial, bool make)
{
    /* One more than there are: nobody wants to think about zero. */
    partial->blocks = calloc(map_blocks(key_of(partial)) + (size_t)1, sizeof(*partial->blocks));
    if (!partial->blocks)
        return -ENOMEM;

    int r = partial->writable ? digest_new(&partial->digest) : 0;

    if (r == 0)
        r = take_up(partial);
    if (!is_none(r))
        return r;
    if (!make)
        return -ENOENT;
    r = start_empty(partial);
    if (room_retry(partial->store, r))
        r = room_retried(partial->store, start_empty(partial));
    return r;
}

/* --- in use --- */

/* One that was found by a reader, before it became the writer: it stays with those who hold it. */
static bool is_left_over(const struct partial *partial)
{
    return !partial->writable && store_mode(partial->store) == STORE_WRITER;
}

static int get(struct store *store, const struct blob_key *key, bool make,
               struct partial **ret_partial)
{
    scoped(partial_freep) struct partial *mine = NULL;
    struct listed *found = NULL;
    int r = partial_new(store, key, &mine);

    if (r < 0)
        return r;
    for (;;) {
        found = partials_enter(store->partials, key, &mine->listed);
        if (!found || !is_left_over((struct partial *)found))
            break;
        partials_leave(store->partials, found);
        partial_put((struct partial *)found);
    }
    if (found) {
        *ret_partial = (struct partial *)found;
        return 0;
    }

    r = open_files(mine, make);
    if (r < 0) {
        partials_leave(store->partials, &mine->listed);
        return r;
    }
    if (mine->writable)
        room_add_open(store, mine->bytes);
    partials_open(store->partials, &mine->listed);
    *ret_partial = take_ptr(mine);
    return 0;
}

int partial_begin(struct store *store, const struct blob_key *key, struct partial **ret_partial)
{
    return store_mode(store) == STORE_WRITER ? get(store, key, true, ret_partial) : -EROFS;
}

size_t partial_list(struct store *store, struct partial **ret_partials, size_t max)
{
    return partials_list(store->partials, (struct listed **)ret_partials, max);
}

int partial_find(struct store *store, const struct blob_key *key, struct partial **ret_partial)
{
    return get(store, key, false, ret_partial);
}

struct partial *partial_ref(struct partial *partial)
{
    partials_ref(partial->store->partials, &partial->listed);
    return partial;
}

/* The last one is gone: what is left is a partial on disk, or nothing if there is nothing in it. A
 * map that can not be written takes its bytes with it; nobody could tell what they are. */
static void put_aside(struct partial *partial)
{
    int r = partial->bytes > 0 ? 0 : -ENODATA;

    if (r == 0 && partial->map < 0)
        r = partial_make_map(partial);
    if (r == 0) {
        room_put_aside(partial->store, partial->bytes);
    } else {
        partial_unlink(partial);
        room_end_open(partial->store, partial->bytes);
    }
}

void partial_put(struct partial *partial)
{
    if (!partial || !partials_put(partial->store->partials, &partial->listed))
        return;
    partial_assert(partial);
    if (partial->listed.presence != PRESENCE_NONE) {
        if (partial->writable)
            put_aside(partial);
        partials_leave(partial->store->partials, &partial->listed);
    }
    partial_free(partial);
}

void partial_putp(struct partial *const *partial)
{
    partial_put(*partial);
}

/* --- by key alone --- */

uint64_t partial_usage(struct store *store, const struct blob_key *key)
{
    struct partial *partial = (struct partial *)partials_enter(store->partials, key, NULL);
    uint64_t bytes = partial ? partial_bytes(partial) : partial_measure(store, key);

    partial_put(partial);
    return bytes;
}

uint64_t partial_measure(struct store *store, const struct blob_key *key)
{
    scoped(partial_freep) struct partial *partial = NULL;

    if (partial_new(store, key, &partial) < 0)
        return 0;
    partial->writable = false;
    partial->blocks = calloc(map_blocks(key) + (size_t)1, sizeof(*partial->blocks));
    return partial->blocks && take_up(partial) == 0 ? partial->bytes : 0;
}

int partial_discard(struct store *store, const struct blob_key *key, uint64_t *ret_freed)
{
    scoped(partial_freep) struct partial *partial = NULL;
    int r = partial_new(store, key, &partial);

    if (r < 0)
        return r;
    if (!partials_enter_alone(store->partials, &partial->listed))
        return -EBUSY;

    uint64_t bytes = partial_measure(store, key);

    room_will_end(store, bytes);
    partial_unlink(partial);
    room_has_ended(store, bytes, bytes);
    partials_leave(store->partials, &partial->listed);
    if (ret_freed)
        *ret_freed = bytes;
    return 0;
}

/* --- questions --- */

const struct blob_key *partial_key(const struct partial *partial)
{
    return key_of(partial);
}

uint32_t partial_blocks(const struct partial *partial)
{
    return map_blocks(key_of(partial));
}

uint64_t partial_bytes(struct partial *partial)
{
    scoped_lock(&partial->lock);
    return partial->bytes;
}

static uint64_t filled_now(struct partial *partial, uint32_t block)
{
    scoped_lock(&partial->lock);
    return partial->blocks[block].filled;
}

uint64_t partial_filled(struct partial *partial, uint32_t block)
{
    if (block >= partial_blocks(partial))
        return 0;
    if (!partial->writable && filled_now(partial, block) < map_block_length(key_of(partial), block))
        partial_refresh(partial, block, block);
    return filled_now(partial, block);
}

void partial_assert(struct partial *partial)
{
#ifdef AGNESFS_DEBUG
    scoped_lock(&partial->lock);
    uint64_t bytes = 0;

    for (uint32_t i = 0; i < partial_blocks(partial); i++) {
        const struct block *block = &partial->blocks[i];

        if (block->filled > map_block_length(key_of(partial), i))
            abort();
        if ((i + 1) * PARTIAL_BLOCK <= partial->hashed && !block->proved)
            abort();
        bytes += block->filled;
    }
    if (bytes != partial->bytes || partial->hashed > key_of(partial)->size)
        abort();
#else
    (void)partial;
#endif
}
