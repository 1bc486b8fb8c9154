/* SPDX-License-Identifier: MIT */
/* Bundles are text: UTF-8 without NUL, and no page that a proxy put in the way, whatever its type
 * says. State is kept between pieces, so a character may be split between two of them. */
#include "sync/transfer_private.h"

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
bool sink_takes_text(struct sink *sink, const unsigned char *bytes, size_t size)
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
