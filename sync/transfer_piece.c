/* SPDX-License-Identifier: MIT */
/* Spare pieces: as many as were ever under way at once, which is what QUEUE_HIGH allows and one for
 * each request. They go back when there is nothing to transfer. */
#include "cache/scoped.h"
#include "sync/transfer_private.h"

struct piece {
    struct piece *next;
};

static struct piece *take_spare(struct transfers *transfers)
{
    scoped_lock(&transfers->lock);
    struct piece *piece = transfers->pieces;

    if (piece)
        transfers->pieces = piece->next;
    return piece;
}

void *piece_take(struct transfers *transfers)
{
    struct piece *piece = take_spare(transfers);

    return piece ? piece : aligned_alloc(PARTIAL_ALIGN, PIECE_SIZE);
}

void piece_give(struct transfers *transfers, void *bytes)
{
    struct piece *piece = bytes;

    if (!piece)
        return;
    scoped_lock(&transfers->lock);
    piece->next = transfers->pieces;
    transfers->pieces = piece;
}

void pieces_drop(struct transfers *transfers)
{
    struct piece *piece;

    while ((piece = take_spare(transfers)))
        free(piece);
}
