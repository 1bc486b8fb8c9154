/* SPDX-License-Identifier: MIT */
/* Why this needs no lock around the disk: a sink is touched by this thread only, ops are performed
 * in the order they were posted, and the last one of a sink frees it. The one field that the
 * network thread may look at meanwhile, the sink's error, is guarded by the lock.
 *
 * After its first error a sink swallows what still comes, until the network thread has noticed. */
#include <errno.h>
#include <string.h>

#include "cache/scoped.h"
#include "sync/transfer_private.h"

static void sink_fail(struct transfers *transfers, struct sink *sink, int error)
{
    scoped_lock(&transfers->lock);
    if (sink->error == 0)
        sink->error = error;
}

static int sink_error(struct transfers *transfers, struct sink *sink)
{
    scoped_lock(&transfers->lock);
    return sink->error;
}

/* --- bundles are text --- */

static bool is_space(unsigned char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* How many bytes follow this first byte of a character, and between what the next one must lie, so
 * that overlong forms and surrogates are no text. */
static bool utf8_begin(struct sink *sink, unsigned char c)
{
    sink->utf8_low = 0x80;
    sink->utf8_high = 0xbf;
    if (c < 0x80)
        return c != 0;
    if (c >= 0xc2 && c <= 0xdf) {
        sink->utf8_left = 1;
    } else if (c >= 0xe0 && c <= 0xef) {
        sink->utf8_left = 2;
        sink->utf8_low = c == 0xe0 ? 0xa0 : 0x80;
        sink->utf8_high = c == 0xed ? 0x9f : 0xbf;
    } else if (c >= 0xf0 && c <= 0xf4) {
        sink->utf8_left = 3;
        sink->utf8_low = c == 0xf0 ? 0x90 : 0x80;
        sink->utf8_high = c == 0xf4 ? 0x8f : 0xbf;
    } else {
        return false;
    }
    return true;
}

/* A page that a proxy put in the way begins with "<", whatever its type says. */
static bool sink_takes_text(struct sink *sink, const unsigned char *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        unsigned char c = bytes[i];

        if (sink->utf8_left > 0) {
            if (c < sink->utf8_low || c > sink->utf8_high)
                return false;
            sink->utf8_left--;
            sink->utf8_low = 0x80;
            sink->utf8_high = 0xbf;
            continue;
        }
        if (!utf8_begin(sink, c) || (!sink->begun && c == '<'))
            return false;
        sink->begun = sink->begun || !is_space(c);
    }
    return true;
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

static void perform_open(struct transfers *transfers, struct disk_op *op)
{
    struct store *store = transfers->conf.store;
    struct sink *sink = op->sink;

    op->resident = find_resident(store, &sink->key) == 0;
    op->key = sink->key;
    if (op->resident) {
        free(sink);
        return;
    }
    /* A resumed bundle would have bytes that nobody looked at; and it is small. */
    op->error = writer_begin(store, sink->name, sink->cap, !sink->bundle, &sink->writer);
    if (op->error == 0 && writer_size(sink->writer) > 0 && writer_tag(sink->writer)[0] == '\0')
        op->error = writer_restart(sink->writer);
    if (op->error < 0) {
        writer_abort(sink->writer);
        free(sink);
        return;
    }
    op->size = writer_size(sink->writer);
    memcpy(op->tag, writer_tag(sink->writer), strlen(writer_tag(sink->writer)) + 1);
}

static void perform_begin(struct transfers *transfers, struct disk_op *op)
{
    struct sink *sink = op->sink;
    int r = sink_error(transfers, sink);

    if (r == 0 && op->restart) {
        sink->utf8_left = 0;
        sink->begun = false;
        r = writer_size(sink->writer) > 0 ? writer_restart(sink->writer) : 0;
    }
    if (r == 0)
        r = writer_set_tag(sink->writer, op->tag);
    if (r < 0)
        sink_fail(transfers, sink, r);
}

static void perform_block(struct transfers *transfers, struct disk_op *op)
{
    struct sink *sink = op->sink;
    int r = sink_error(transfers, sink);

    if (r == 0 && sink->bundle && !sink_takes_text(sink, op->bytes, op->bytes_size))
        r = -EPROTO;
    if (r == 0)
        r = writer_write(sink->writer, op->bytes, op->bytes_size);
    if (r < 0)
        sink_fail(transfers, sink, r);
}

static void perform_settle(struct transfers *transfers, struct disk_op *op)
{
    op->error = sink_error(transfers, op->sink);
    op->size = writer_size(op->sink->writer);
    memcpy(op->tag, writer_tag(op->sink->writer), strlen(writer_tag(op->sink->writer)) + 1);
}

/* What the bytes must be: a key, or, where none was promised, what they turn out to be. */
static int sink_expects(struct sink *sink, struct blob_key *ret_key, bool *ret_any)
{
    uint8_t head[4];
    uint8_t tail[4];

    *ret_any = false;
    *ret_key = sink->key;
    if (sink->key.kind != BLOB_NONE)
        return 0;
    if (sink->exact && writer_size(sink->writer) != sink->cap)
        return -EBADMSG;
    if (sink->md5[0])
        return blob_key_from_md5(sink->md5, writer_size(sink->writer), ret_key);
    *ret_any = true;
    if (sink->bundle)
        return sink->utf8_left == 0 ? 0 : -EPROTO;
    if (!writer_edges(sink->writer, head, tail) || memcmp(head, "PAR1", 4) != 0 ||
        memcmp(tail, "PAR1", 4) != 0)
        return -EBADMSG;
    return 0;
}

static void perform_commit(struct transfers *transfers, struct disk_op *op)
{
    struct sink *sink = op->sink;
    struct blob_key expected;
    bool any = false;
    int r = sink_error(transfers, sink);

    if (r == 0)
        r = sink_expects(sink, &expected, &any);
    if (r == 0)
        r = writer_commit(sink->writer, any ? NULL : &expected, &op->key);
    else
        writer_abort(sink->writer);
    free(sink);
    op->error = r;
}

static void perform_end(struct transfers *transfers, struct sink *sink, bool keep)
{
    bool sound = sink_error(transfers, sink) == 0 && !sink->bundle;

    if (keep && sound && writer_size(sink->writer) > 0 && writer_tag(sink->writer)[0])
        writer_suspend(sink->writer);
    else
        writer_abort(sink->writer);
    free(sink);
}

static void perform(struct transfers *transfers, struct disk_op *op)
{
    switch (op->kind) {
    case DISK_OPEN: perform_open(transfers, op); break;
    case DISK_BEGIN: perform_begin(transfers, op); break;
    case DISK_BLOCK: perform_block(transfers, op); break;
    case DISK_SETTLE: perform_settle(transfers, op); break;
    case DISK_COMMIT: perform_commit(transfers, op); break;
    case DISK_END: perform_end(transfers, op->sink, op->keep); break;
    default: break;
    }
}

/* --- the thread --- */

static struct disk_op *take_op(struct transfers *transfers)
{
    struct disk_op *op;

    scoped_lock(&transfers->lock);
    while (!transfers->disk_first && !transfers->net_ended)
        pthread_cond_wait(&transfers->disk_work, &transfers->lock);
    op = transfers->disk_first;
    if (op) {
        transfers->disk_first = op->next;
        if (!op->next)
            transfers->disk_last = NULL;
        op->next = NULL;
    }
    return op;
}

/* True if the network thread should know: an answer, or room for more. */
static bool put_back(struct transfers *transfers, struct disk_op *op, size_t size)
{
    bool was_full;

    scoped_lock(&transfers->lock);
    was_full = transfers->queued_bytes >= QUEUE_LOW;
    transfers->queued_bytes -= size;
    if (!op)
        return was_full && transfers->queued_bytes < QUEUE_LOW;
    if (transfers->answers_last)
        transfers->answers_last->next = op;
    else
        transfers->answers = op;
    transfers->answers_last = op;
    return true;
}

void *disk_main(void *arg)
{
    struct transfers *transfers = arg;
    struct disk_op *op;

    while ((op = take_op(transfers))) {
        bool answered = op->job != NULL;
        bool ends_sink = op->kind == DISK_END; /* the op was part of it */
        size_t size = op->bytes_size;

        perform(transfers, op);
        if (!answered && !ends_sink) {
            free(op->bytes);
            free(op);
        }
        if (put_back(transfers, answered ? op : NULL, size))
            fetch_wake(transfers->fetch);
    }
    return NULL;
}
