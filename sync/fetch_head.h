/* SPDX-License-Identifier: MIT */
/* fetch_head.h - header lines in, struct fetch_head out. Private to fetch.c.
 *
 *     head_parser_reset -> head_parser_line... until it answers HEAD_COMPLETE -> head_parser_head
 *
 * A status line begins a new block and forgets the one before: 1xx answers come first and count
 * for nothing. All lines of one exchange together have at most HEAD_BYTES, however they are split.
 * What is too long for its field, or not printable, is treated as not said. Pure. */
#pragma once

#include "sync/fetch.h"

#define HEAD_BYTES 65536
#define HEAD_FIELD 256

struct head_parser {
    size_t bytes; /* of all blocks */
    int status;
    bool chunked;
    bool framed;     /* by the protocol itself: HTTP/2 and later */
    bool encoded;    /* by gzip */
    bool unreadable; /* encoded by something else, or twice */
    int64_t length;
    int64_t range_start;
    int64_t range_total;
    char etag[HEAD_FIELD];
    char type[HEAD_FIELD];
    char location[2 * HEAD_FIELD];
    char min_version[HEAD_FIELD];
    char content_md5[HEAD_FIELD];
    char retry_after[HEAD_FIELD]; /* as said; a date needs a calendar */
    char date[HEAD_FIELD];        /* likewise */
};

enum head_line {
    HEAD_MORE,
    HEAD_COMPLETE, /* the empty line after a final answer */
    HEAD_TOO_BIG,
};

void head_parser_reset(struct head_parser *parser);

/* One line with its line end, not NUL-terminated. */
enum head_line head_parser_line(struct head_parser *parser, const char *line, size_t size);

/* Strings point into the parser. retry_after_s is that of a number; -1 for a date.
 * date_unix is left to whoever has a calendar. */
void head_parser_head(const struct head_parser *parser, struct fetch_head *ret_head);
