/* SPDX-License-Identifier: MIT */
/* Why this needs no lock around the disk: of a sink's lanes each has one thread at most at a time, and
 * they share nothing but what partial.h allows; ops are performed in the order they were posted, and
 * the last one of a sink frees it, alone. What the network thread may look at meanwhile, the sink's
 * error and its partial, is atomic.
 *
 * After its first error a sink swallows what still comes, until the network thread has noticed. */
#include <errno.h>
#include <string.h>

#include "cache/scoped.h"
#include "sync/transfer_private.h"

static void sink_fail(struct sink *sink, int error)
{
    int none = 0;

    atomic_compare_exchange_strong(&sink->error, &none, error);
}

/* --- operations --- */

/* Whatever is in the store but not trusted is read before the network is asked. */
static int find_resident(struct store *store, const struct blob_key *key)
{
    scoped_fd int fd = -1;
    int r;

    if (key->kind == BLOB_NONE)
        return -ENOENT;
    r = store_get(store, key, &fd);
    return r == -EUCLEAN ? store_verify(store, key) : r;
}

/* Bytes of no version that anybody could name are no good beginning. */
static int begin_partial(struct store *store, struct sink *sink)
{
    struct partial *partial = NULL;
    int r = partial_begin(store, &sink->key, &partial);

    if (r == 0 && partial_bytes(partial) > 0 && partial_tag(partial)[0] == '\0') {
        partial_fail(partial);
        partial_put(take_ptr(partial));
        r = partial_begin(store, &sink->key, &partial);
    }
    if (r == 0)
        atomic_store(&sink->partial, partial);
    return r;
}

static int begin_sink(struct store *store, struct sink *sink)
{
    if (sink->key.kind != BLOB_NONE)
        return begin_partial(store, sink);
    sink_reset(sink);
    return writer_begin(store, sink->name, sink->cap, &sink->writer);
}

static bool perform_open(struct transfers *transfers, struct disk_op *op)
{
    struct sink *sink = op->sink;

    op->key = sink->promised.kind != BLOB_NONE ? sink->promised : sink->key;
    op->resident = find_resident(transfers->conf.store, &op->key) == 0;
    if (!op->resident)
        op->error = begin_sink(transfers->conf.store, sink);
    if (op->resident || op->error < 0) {
        sink_free(sink);
        return false;
    }
    if (sink->partial)
        memcpy(op->tag, partial_tag(sink->partial), strlen(partial_tag(sink->partial)) + 1);
    return true;
}

/* What is awaited is read in a moment. */
static int write_partial(struct sink *sink, const struct disk_op *op)
{
    if (atomic_load(&sink->awaited))
        return partial_write(sink->partial, op->offset, op->bytes, op->bytes_size);
    return partial_write_direct(sink->partial, op->offset, op->bytes, op->bytes_size);
}

static void perform_write(struct disk_op *op)
{
    struct sink *sink = op->sink;
    int r = atomic_load(&sink->error);

    if (r == 0 && sink->partial)
        r = write_partial(sink, op);
    else if (r == 0)
        r = sink_take(sink, op->bytes, op->bytes_size);
    if (r < 0)
        sink_fail(sink, r);
    atomic_fetch_add(&sink->written, 1);
}

static void perform_tag(struct disk_op *op)
{
    int r = partial_set_tag(op->sink->partial, op->tag);

    if (r < 0)
        sink_fail(op->sink, r);
}

/* Readers may have seen bytes of a pinned version. */
static void give_up(struct transfers *transfers, struct sink *sink)
{
    struct partial *partial = atomic_exchange(&sink->partial, NULL);

    if (partial) {
        bool seen = partial_tag(partial)[0] != '\0' && partial_bytes(partial) > 0;

        partial_fail(partial);
        partial_put(partial);
        if (seen && transfers->conf.spoiled)
            transfers->conf.spoiled(transfers->conf.spoiled_arg, &sink->key);
    }
    writer_abort(take_ptr(sink->writer));
}

static void perform_restart(struct transfers *transfers, struct disk_op *op)
{
    give_up(transfers, op->sink);
    atomic_store(&op->sink->error, 0);
    op->error = begin_sink(transfers->conf.store, op->sink);
    if (op->error < 0)
        sink_fail(op->sink, op->error);
}

/* What the bytes must be: a key, or, where none was promised, what they turn out to be. */
static int sink_expects(const struct sink *sink, struct blob_key *ret_key, bool *ret_any)
{
    *ret_any = false;
    if (sink->exact && writer_size(sink->writer) != sink->cap)
        return -EBADMSG;
    if (sink->md5[0])
        return blob_key_from_md5(sink->md5, writer_size(sink->writer), ret_key);
    *ret_any = sink->promised.kind == BLOB_NONE;
    *ret_key = sink->promised;
    return sink_looks_right(sink);
}

static int commit_writer(struct sink *sink, struct blob_key *ret_key)
{
    struct blob_key expected;
    bool any = false;
    int r = sink_finish(sink);

    if (r == 0)
        r = sink_expects(sink, &expected, &any);
    if (r == 0)
        return writer_commit(take_ptr(sink->writer), any ? NULL : &expected, ret_key);
    writer_abort(take_ptr(sink->writer));
    return r;
}

static bool perform_commit(struct transfers *transfers, struct disk_op *op)
{
    struct sink *sink = op->sink;

    op->key = sink->key;
    op->error = atomic_load(&sink->error);
    if (op->error == 0)
        op->error = sink->partial ? partial_commit(sink->partial) : commit_writer(sink, &op->key);
    if (op->error == -EBADMSG)
        give_up(transfers, sink);
    if (op->error != 0)
        return true;
    partial_put(sink->partial);
    sink_free(sink);
    return false;
}

static void perform_close(struct transfers *transfers, struct disk_op *op)
{
    struct sink *sink = op->sink;
    struct partial *partial = atomic_load(&sink->partial);

    if (partial && op->keep) {
        partial_flush(partial);
        partial_put(atomic_exchange(&sink->partial, NULL));
    }
    give_up(transfers, sink);
    sink_free(sink);
}

bool disk_perform(struct transfers *transfers, struct disk_op *op)
{
    switch (op->kind) {
    case DISK_OPEN: return perform_open(transfers, op);
    case DISK_WRITE: perform_write(op); break;
    case DISK_TAG: perform_tag(op); break;
    case DISK_RESTART: perform_restart(transfers, op); break;
    case DISK_COMMIT: return perform_commit(transfers, op);
    case DISK_CLOSE: perform_close(transfers, op); return false;
    case DISK_SETTLE:
    default: break;
    }
    return true;
}

void disk_hash(const struct disk_op *op)
{
    partial_hash(op->sink->partial, op->offset, op->bytes, op->bytes_size);
}
