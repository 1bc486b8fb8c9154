/* SPDX-License-Identifier: MIT */
/* Why a label can not become a path: whatever leaves name_from_label consists of bytes of one
 * fixed alphabet without '/', is not empty, does not begin with '.' or '-', and fits a directory
 * entry. There is no other way from a label to a name. Comparison is by byte: no locale, no
 * Unicode tables, so the same label gives the same name on every machine. */
#include "sync/names.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

static bool is_letter_or_digit(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

static bool is_plain(char c)
{
    return is_letter_or_digit(c) || c == '_' || c == '.' || c == '-';
}

static bool is_its_own_name(const char *label)
{
    if (!is_letter_or_digit(label[0]) && label[0] != '_')
        return false;
    for (const char *c = label; *c; c++)
        if (!is_plain(*c))
            return false;
    return true;
}

int name_from_label(const char *label, const char *suffix, char ret_name[static NAME_SIZE])
{
    const char *first = label;
    const char *end = label + strlen(label);
    bool folds = !is_its_own_name(label);
    size_t suffix_length = strlen(suffix);
    size_t length = 0;
    char name[NAME_SIZE];

    if (folds) { /* what would be stripped from the folded name ends at a letter or digit */
        while (first < end && !is_letter_or_digit(*first))
            first++;
        while (end > first && !is_letter_or_digit(end[-1]))
            end--;
    }
    if (first == end)
        return -EINVAL;

    for (const char *c = first; c < end; c++) {
        if (!is_plain(*c) && !is_plain(c[-1]))
            continue; /* a run of foreign bytes is one '_' */
        if (length + suffix_length + 1 >= NAME_SIZE)
            return -ENAMETOOLONG;
        name[length++] = is_plain(*c) ? *c : '_';
    }
    memcpy(ret_name, name, length);
    memcpy(ret_name + length, suffix, suffix_length + 1);
    return 0;
}

bool name_is_reserved_slug(const char *name)
{
    return !strcmp(name, "_shared") || !strcmp(name, "_direct") || !strcmp(name, NAME_FLAT) ||
           !strcmp(name, NAME_README);
}

/* Length of the part segment that text begins with; 0 if it begins with none. */
static size_t part_segment(const char *text)
{
    size_t length = 0;

    if (!is_letter_or_digit(text[0]) && text[0] != '_')
        return 0;
    while (is_plain(text[length]) || text[length] == '=')
        length++;
    return length;
}

bool name_is_part_path(const char *path)
{
    const char *at = path;

    for (int depth = 1; depth <= 8; depth++) {
        size_t length = part_segment(at);

        if (length == 0 || length >= NAME_SIZE)
            return false;
        at += length;
        if (!*at)
            return (size_t)(at - path) <= 1024;
        if (*at++ != '/')
            return false;
    }
    return false;
}

/* Decodes one character of valid UTF-8; returns its length. Foreign bytes count as themselves. */
static size_t decode(const char *text, uint32_t *ret_character)
{
    unsigned char lead = (unsigned char)text[0];
    size_t length = lead < 0xc0 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    uint32_t character = length == 1 ? lead : lead & (0xffu >> (length + 1));

    for (size_t i = 1; i < length; i++) {
        unsigned char next = (unsigned char)text[i];

        if ((next & 0xc0) != 0x80) {
            *ret_character = lead;
            return 1;
        }
        character = character << 6 | (next & 0x3f);
    }
    *ret_character = character;
    return length;
}

/* Could it move the cursor, reorder the line, or hide? The last range are tags, which spell words
 * that only programs see. */
static bool is_unprintable(uint32_t c)
{
    return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x61c || (c >= 0x200b && c <= 0x200f) ||
           (c >= 0x2028 && c <= 0x202e) || (c >= 0x2060 && c <= 0x206f) || c == 0xfeff ||
           (c >= 0xe0000 && c <= 0xe0fff);
}

size_t name_show_character(const char *text, char ret_shown[static NAME_SHOWN_SIZE])
{
    uint32_t character;
    size_t taken = decode(text, &character);

    memcpy(ret_shown, text, taken);
    ret_shown[taken] = '\0';
    if (is_unprintable(character))
        snprintf(ret_shown, NAME_SHOWN_SIZE, character < 0x100 ? "\\x%02x" : "\\u%04x", character);
    else if (character == '\\') /* so that no label can pose as another's escape */
        memcpy(ret_shown, "\\\\", sizeof("\\\\"));
    return taken;
}

void name_printable(const char *label, char ret_text[static NAME_PRINTABLE_SIZE])
{
    static const char ellipsis[] = "...";
    size_t length = 0;
    size_t cut = 0; /* where the ellipsis would go */

    for (const char *at = label; *at;) {
        char piece[NAME_SHOWN_SIZE];
        size_t taken = name_show_character(at, piece);
        size_t piece_length = strlen(piece);

        if (length + piece_length >= NAME_PRINTABLE_SIZE) {
            memcpy(ret_text + cut, ellipsis, sizeof ellipsis);
            return;
        }
        memcpy(ret_text + length, piece, piece_length);
        length += piece_length;
        if (length + sizeof ellipsis <= NAME_PRINTABLE_SIZE)
            cut = length;
        at += taken;
    }
    ret_text[length] = '\0';
}
