/* SPDX-License-Identifier: MIT */
/* open never fetches; only read may. A read of bytes that are not here is parked: its request waits
 * in the provider's callback and no thread waits with it.
 *
 * A file that was read from a partial stays with it to its end. If that turns out to have been wrong,
 * every later read of this file fails: it has told something false, and must not go on as if not.
 *
 * A parked request is answered exactly once, by whoever moves its state away from PARKED:
 *
 *     ARMING --interrupt--> EARLY     interrupted while being parked: the parking thread answers
 *     ARMING -------------> PARKED
 *     PARKED --interrupt--> TAKEN     the interrupt answers EINTR; the transfer goes on for others
 *     PARKED --bytes------> TAKEN     the callback answers with bytes or the reason
 *
 * Two rules make that safe. The interrupt side touches only its request after it won, since the
 * callback may free the rest at any time. The callback, when it won, first unhooks itself from the
 * request: that waits for an interrupt function which is running (libfuse holds the request's lock
 * around it), so afterwards nobody else looks at what it frees. And libfuse must not be answered
 * from inside fuse_req_interrupt_func, which still uses the request: hence EARLY.
 *
 * An open file belongs to its request while that is unanswered: the kernel sends no release before.
 * So the callback may use it if and only if it won. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cache/scoped.h"
#include "fs/mount_private.h"
#include "fs/pattern.h"

struct open_file {
    struct inode_open open; /* first: the table hands it back as such */
    struct mount *mount;
    struct blob_key key;
    const char *bytes;      /* of a text, which the open keeps; NULL for a blob */
    struct live_text *live; /* where they are, if it is a large live document; else NULL */
    _Atomic int fd;         /* on the blob; -1 until it is resident. Set once */
    int backing_id;         /* above 0: the kernel reads it by itself, and there is no fd */
    pthread_mutex_t lock;
    struct partial *partial; /* lock; what it was read from, NULL if from none */
    struct pattern pattern;  /* lock */
};

static struct open_file *handle_of(const struct fuse_file_info *info)
{
    return (struct open_file *)(uintptr_t)info->fh;
}

/* The blob's descriptor, opened when first needed. Two readers may race: one descriptor stays. */
static int file_fd(struct open_file *file)
{
    const struct provider *provider = &file->mount->conf.provider;
    int fd = atomic_load(&file->fd);
    int fresh, r;

    if (fd >= 0)
        return fd;
    r = provider->open(provider->arg, &file->key, &fresh);
    if (r < 0)
        return r;
    if (atomic_compare_exchange_strong(&file->fd, &fd, fresh)) {
        inode_has_bytes(file->mount->table, &file->open);
        return fresh;
    }
    close(fresh);
    return fd;
}

static void file_free(struct open_file *file)
{
    const int fd = atomic_load(&file->fd);

    if (fd >= 0)
        close(fd);
    if (file->backing_id > 0)
        passthrough_close(file->mount->passthrough, file->open.nodeid);
    partial_put(file->partial);
    live_put(&file->mount->live, file->live);
    pthread_mutex_destroy(&file->lock);
    inode_close(file->mount->table, &file->open);
    atomic_fetch_sub(&file->mount->open_files, 1);
    free(file);
}

static void file_release(struct inode_open *open)
{
    file_free((struct open_file *)open);
}

/* Hands a blob that was judged just now over to the kernel, if that may be. The kernel keeps it open
 * by itself, so the file descriptor is not needed any more: ret_spare. While earlier opens read
 * another file of the same name, names lead to the lazy face. */
static int file_hand_over(struct open_file *file, int *ret_spare)
{
    const int fd = atomic_load(&file->fd);
    int r;

    r = passthrough_open(file->mount->passthrough, file->open.nodeid, fd, file->key.size,
                         &file->backing_id);
    if (r == -ESTALE)
        inode_outdate(file->mount->table, file->open.nodeid);
    if (file->backing_id > 0) {
        atomic_store(&file->fd, -1);
        *ret_spare = fd;
    }
    return r;
}

/* A large live document is there as long as somebody has it open. If there is another generation
 * since the look-up, the kernel is to look again. */
static int file_open_live(struct open_file *file)
{
    struct mount *mount = file->mount;
    scoped_view struct view_now now = view_get(&mount->view);
    const struct live_view view = attr_live_view(mount, &now);
    int r;

    r = live_open(&mount->live, &view, &file->key, &file->live);
    if (r == 0)
        file->bytes = file->live->bytes;
    return r;
}

/* A full face promises bytes without waiting. If they have gone since the look-up (withdrawn,
 * evicted, touched by somebody), -ESTALE makes the kernel look up anew and find the lazy face. What
 * was looked up lazily may have its bytes by now: taken here, they are kept whatever comes. */
static int file_new(struct mount *mount, fuse_ino_t nodeid, int *ret_spare,
                    struct open_file **ret_file)
{
    struct open_file *file = calloc(1, sizeof(*file));
    struct inode_facts facts;
    int r;

    if (!file)
        return -ENOMEM;
    r = inode_open(mount->table, nodeid, &file->open, &facts);
    if (r < 0) {
        free(file);
        return r;
    }
    file->open.release = file_release;
    file->mount = mount;
    file->key = facts.key;
    file->bytes = facts.bytes;
    atomic_init(&file->fd, -1);
    pthread_mutex_init(&file->lock, NULL);
    atomic_fetch_add(&mount->open_files, 1);
    if (facts.type == INODE_DIR)
        r = -EISDIR;
    else if (facts.type == INODE_BLOB)
        r = file_fd(file);
    else if (!file->bytes)
        r = file_open_live(file);
    if (r == -ENOENT && facts.face == FACE_LAZY)
        r = 0;
    else if (r >= 0 && facts.type == INODE_BLOB && facts.face == FACE_FULL)
        r = file_hand_over(file, ret_spare);
    if (r < 0) {
        file_free(file);
        return r == -ENOENT ? -ESTALE : r;
    }
    *ret_file = file;
    return 0;
}

void serve_open(fuse_req_t req, fuse_ino_t nodeid, struct fuse_file_info *info)
{
    scoped_fd int spare = -1; /* closed when the opener does not wait for that */
    struct open_file *file;
    int r;

    r = file_new(mount_of(req), nodeid, &spare, &file);
    if (r < 0) {
        fuse_reply_err(req, errno_for_reader(r));
        return;
    }
    info->fh = (uintptr_t)file;
    info->backing_id = file->backing_id;
    info->keep_cache = !file->backing_id; /* a nodeid's bytes never change */
    info->noflush = 1;
    if (fuse_reply_open(req, info) < 0)
        file_free(file);
}

void serve_release(fuse_req_t req, fuse_ino_t nodeid, struct fuse_file_info *info)
{
    (void)nodeid;
    file_free(handle_of(info));
    fuse_reply_err(req, 0);
}

/* How many bytes a read of size at offset must bring: a short answer would be padded with zeros. */
static size_t bytes_due(const struct open_file *file, size_t size, off_t offset)
{
    const uint64_t at = (uint64_t)offset;

    if (at >= file->key.size)
        return 0;
    return size < file->key.size - at ? size : (size_t)(file->key.size - at);
}

/* 0, or -EIO when the file ends before it should. */
static int read_fully(int fd, char *buffer, size_t size, off_t offset)
{
    for (size_t done = 0; done < size;) {
        const ssize_t n = pread(fd, buffer + done, size - done, offset + (off_t)done);

        if (n > 0)
            done += (size_t)n;
        else if (n == 0)
            return -EIO;
        else if (errno != EINTR)
            return negative_errno();
    }
    return 0;
}

/* --- bytes of a blob that is not complete --- */

static struct partial *file_partial(struct open_file *file)
{
    scoped_lock(&file->lock);
    return file->partial ? partial_ref(file->partial) : NULL;
}

/* From now on the file is read from this one. Two readers may race: they found the same. */
static void file_stay_with(struct open_file *file, struct partial *partial)
{
    scoped_lock(&file->lock);
    if (!file->partial)
        file->partial = partial_ref(partial);
}

static int read_found(struct open_file *file, char *buffer, size_t size, off_t offset)
{
    const struct provider *provider = &file->mount->conf.provider;
    scoped(partial_putp) struct partial *partial = NULL;
    int r;

    r = provider->find(provider->arg, &file->key, &partial);
    if (r == 0)
        r = partial_read(partial, buffer, size, (uint64_t)offset);
    if (r == 0)
        file_stay_with(file, partial);
    return r == -ENOENT || r == -EBADMSG ? -EAGAIN : r;
}

/* -EAGAIN: not here. */
static int read_now(struct open_file *file, char *buffer, size_t size, off_t offset)
{
    scoped(partial_putp) struct partial *partial = file_partial(file);
    int fd;

    if (size == 0) /* at the end: of what, need not be known */
        return 0;

    if (partial)
        return partial_read(partial, buffer, size, (uint64_t)offset);
    fd = file_fd(file);
    if (fd >= 0)
        return read_fully(fd, buffer, size, offset);
    return fd == -ENOENT ? read_found(file, buffer, size, offset) : fd;
}

static void look_ahead(struct open_file *file, size_t size, off_t offset)
{
    const struct provider *provider = &file->mount->conf.provider;
    struct pattern_advice advice;

    {
        scoped_lock(&file->lock);
        pattern_note(&file->pattern, (uint64_t)offset, size, file->key.size, &advice);
    }
    if (advice.size > 0)
        provider->ahead(provider->arg, &file->key, advice.offset, advice.size, advice.rest);
}

/* Answers, unless the bytes are not here: -EAGAIN. Our lack of memory is no business of the
 * reader's. */
static int answer(fuse_req_t req, struct open_file *file, size_t due, off_t offset)
{
    scoped_free char *buffer = malloc(due ? due : 1);
    const int r = buffer ? read_now(file, buffer, due, offset) : -EIO;

    if (r == -EAGAIN)
        return r;
    if (r < 0) {
        fuse_reply_err(req, EIO);
        return 0;
    }
    atomic_fetch_add(&file->mount->reads, 1);
    atomic_fetch_add(&file->mount->bytes_read, due);
    fuse_reply_buf(req, buffer, due);
    return 0;
}

/* --- parked requests --- */

enum parked_state {
    ARMING,
    PARKED,
    EARLY,
    TAKEN,
};

struct parked {
    _Atomic enum parked_state state;
    fuse_req_t req;
    struct mount *mount;
    struct open_file *file;
    size_t due;
    off_t offset;
    unsigned rounds; /* bytes may have gone again by the time we are told that they are here */
};

#define ROUNDS_MAX 3

static bool move(struct parked *parked, enum parked_state from, enum parked_state to)
{
    return atomic_compare_exchange_strong(&parked->state, &from, to);
}

static void on_interrupt(fuse_req_t req, void *arg)
{
    struct parked *parked = arg;

    if (!move(parked, ARMING, EARLY) && move(parked, PARKED, TAKEN))
        fuse_reply_err(req, EINTR);
}

static void park(fuse_req_t req, struct open_file *file, size_t due, off_t offset, unsigned rounds);

static void on_bytes(void *arg, int error)
{
    struct parked *parked = arg;

    if (move(parked, PARKED, TAKEN)) {
        fuse_req_interrupt_func(parked->req, NULL, NULL);
        if (error < 0)
            fuse_reply_err(parked->req, -error);
        else if (answer(parked->req, parked->file, parked->due, parked->offset) == -EAGAIN)
            park(parked->req, parked->file, parked->due, parked->offset, parked->rounds + 1);
    }
    atomic_fetch_sub(&parked->mount->parked_reads, 1);
    free(parked);
}

static void park(fuse_req_t req, struct open_file *file, size_t due, off_t offset, unsigned rounds)
{
    const struct provider *provider = &file->mount->conf.provider;
    const struct blob_key key =
        file->key; /* the file may be released once the read is interrupted */
    struct parked *parked = rounds < ROUNDS_MAX ? calloc(1, sizeof(*parked)) : NULL;
    const pid_t reader = fuse_req_ctx(req)->pid;
    int r;

    if (!parked) {
        fuse_reply_err(req, EIO);
        return;
    }
    *parked = (struct parked){.req = req,
                              .mount = file->mount,
                              .file = file,
                              .due = due,
                              .offset = offset,
                              .rounds = rounds};
    atomic_init(&parked->state, ARMING);
    fuse_req_interrupt_func(req, on_interrupt, parked);
    if (!move(parked, ARMING, PARKED)) {
        fuse_reply_err(req, EINTR);
        free(parked);
        return;
    }
    atomic_fetch_add(&parked->mount->parked_reads, 1);
    r = provider->want(provider->arg, &key, (uint64_t)offset, due, reader, on_bytes, parked);
    if (r < 0)
        on_bytes(parked, r);
}

/* A copy, because the reader may have closed the file, and the kernel forgotten it, before the write
 * of our answer has returned. */
static void answer_with_text(fuse_req_t req, const char *bytes, size_t size)
{
    scoped_free char *copy = size ? malloc(size) : NULL;

    if (size && !copy) {
        fuse_reply_err(req, EIO);
        return;
    }
    if (size)
        memcpy(copy, bytes, size);
    fuse_reply_buf(req, copy, size);
}

void serve_read(fuse_req_t req, fuse_ino_t nodeid, size_t size, off_t offset,
                struct fuse_file_info *info)
{
    struct open_file *file = handle_of(info);
    const size_t due = bytes_due(file, size, offset);

    (void)nodeid;
    if (file->bytes) {
        answer_with_text(req, file->bytes + (due ? offset : 0), due);
        return;
    }
    if (due > 0 && atomic_load(&file->fd) < 0)
        look_ahead(file, due, offset);
    if (answer(req, file, due, offset) == -EAGAIN)
        park(req, file, due, offset, 0);
}
