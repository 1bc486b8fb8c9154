/* SPDX-License-Identifier: MIT */
/* What bytes have to look like, and what becomes of those that are not kept as they come. A digest
 * is gathered in memory and written as one page at its end; a database's mark is looked for as it
 * passes. */
#include <errno.h>
#include <string.h>

#include "cache/scoped.h"
#include "sync/digest_page.h"
#include "sync/transfer_private.h"

/* A DuckDB file has a checksum, then these (DuckDB, storage format). */
static const char mark[] = "DUCK";
#define MARK_OFFSET 8
#define MARK_SIZE (sizeof(mark) - 1)

void sink_reset(struct sink *sink)
{
    free(take_ptr(sink->gathered));
    sink->gathered_size = 0;
    sink->utf8_left = 0;
    sink->begun = false;
    sink->mark_seen = 0;
}

void sink_free(struct sink *sink)
{
    sink_reset(sink);
    free(sink);
}

static void look_for_mark(struct sink *sink, const char *bytes, size_t size)
{
    uint64_t at = writer_size(sink->writer);

    for (size_t i = 0; i < size && at + i < MARK_OFFSET + MARK_SIZE; i++)
        if (at + i >= MARK_OFFSET && bytes[i] == mark[at + i - MARK_OFFSET])
            sink->mark_seen++;
}

static int gather(struct sink *sink, const void *bytes, size_t size)
{
    char *longer;

    if (size > DIGEST_DOCUMENT_MAX - sink->gathered_size)
        return -EFBIG;
    longer = realloc(sink->gathered, sink->gathered_size + size);
    if (!longer)
        return -ENOMEM;
    memcpy(longer + sink->gathered_size, bytes, size);
    sink->gathered = longer;
    sink->gathered_size += size;
    return 0;
}

int sink_take(struct sink *sink, const void *bytes, size_t size)
{
    if (sink->form == FORM_DIGEST)
        return gather(sink, bytes, size);
    if (sink->form == FORM_BUNDLE && !sink_takes_text(sink, bytes, size))
        return -EPROTO;
    if (sink->form == FORM_DATABASE)
        look_for_mark(sink, bytes, size);
    return writer_write(sink->writer, bytes, size);
}

int sink_finish(struct sink *sink)
{
    scoped_free char *page = NULL;
    size_t size;
    int r;

    if (sink->form != FORM_DIGEST)
        return 0;
    if (!sink->gathered)
        return -EPROTO;
    r = digest_page_make(sink->gathered, sink->gathered_size, &page, &size);
    if (r == 0 && !sink_takes_text(sink, (const unsigned char *)page, size))
        r = -EPROTO;
    return r < 0 ? r : writer_write(sink->writer, page, size);
}

int sink_looks_right(const struct sink *sink)
{
    uint8_t head[4], tail[4];

    switch (sink->form) {
    case FORM_BUNDLE: /* has a title, whatever else is not in it */
    case FORM_DIGEST: return sink->utf8_left == 0 && sink->begun ? 0 : -EPROTO;
    case FORM_DATABASE: return sink->mark_seen == MARK_SIZE ? 0 : -EBADMSG;
    case FORM_PARQUET:
    default:
        return writer_edges(sink->writer, head, tail) && memcmp(head, "PAR1", 4) == 0 &&
                       memcmp(tail, "PAR1", 4) == 0
                   ? 0
                   : -EBADMSG;
    }
}
