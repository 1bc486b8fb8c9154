/* SPDX-License-Identifier: MIT */
/* Why nothing is lost unnoticed: whatever leaves the stream's buffer comes through take, which
 * remembers that it failed; and it has all left the buffer when fflush has returned. */
#include "cache/text.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "cache/scoped.h"

#define FIRST_ROOM 1024

struct text {
    FILE *stream;
    char *bytes; /* with room for a NUL */
    size_t size;
    size_t room;
    bool failed;
    char buffer[BUFSIZ]; /* the stream's: it need not look for one */
};

static ssize_t take(void *cookie, const char *bytes, size_t size)
{
    struct text *text = cookie;
    size_t room = text->room ? text->room : FIRST_ROOM;

    while (room - text->size <= size)
        room *= 2;
    if (room > text->room) {
        char *longer = realloc(text->bytes, room);

        if (!longer) {
            text->failed = true;
            return 0;
        }
        text->bytes = longer;
        text->room = room;
    }
    memcpy(text->bytes + text->size, bytes, size);
    text->size += size;
    text->bytes[text->size] = '\0';
    return (ssize_t)size;
}

int text_open(struct text **ret_text)
{
    struct text *text = malloc(sizeof(*text));

    if (!text)
        return -ENOMEM;
    text->bytes = NULL;
    text->size = text->room = 0;
    text->failed = false;
    text->stream = fopencookie(text, "w", (cookie_io_functions_t){.write = take});
    if (!text->stream) {
        free(text);
        return -ENOMEM;
    }
    setvbuf(text->stream, text->buffer, _IOFBF, sizeof(text->buffer));
    *ret_text = text;
    return 0;
}

FILE *text_stream(struct text *text)
{
    return text->stream;
}

int text_look(struct text *text, const char **ret_bytes, size_t *ret_size)
{
    if (fflush(text->stream) != 0 || text->failed)
        return -ENOMEM;
    *ret_bytes = text->bytes ? text->bytes : "";
    *ret_size = text->size;
    return 0;
}

int text_close(struct text *text, char **ret_bytes, size_t *ret_size)
{
    scoped(text_freep) struct text *owned = text;

    /* Nothing is a text too, and has its NUL. */
    if (fflush(text->stream) != 0 || take(text, "", 0) < 0 || text->failed)
        return -ENOMEM;
    *ret_size = text->size;
    *ret_bytes = take_ptr(text->bytes);
    return 0;
}

void text_free(struct text *text)
{
    if (!text)
        return;
    fclose(text->stream);
    free(text->bytes);
    free(text);
}

void text_freep(struct text *const *text)
{
    text_free(*text);
}
