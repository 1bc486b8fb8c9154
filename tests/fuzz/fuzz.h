/* SPDX-License-Identifier: MIT */
/* fuzz.h - what the targets of libFuzzer share.
 *
 * A target takes bytes as whoever means harm would give them, to the function that reads them, and
 * requires more than that nothing breaks: that what came out keeps its promises. Formats that have a
 * checksum get a right one here, as anybody can compute it. test_targets.py runs all of them; one
 * input again: build/fuzz/tests/fuzz/fuzz_X FILE.
 *
 * Whatever needs a file has it in the working directory, which is the driver's and in memory. */
#pragma once

#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cache/scoped.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A promise that was not kept is a finding like any other. */
#define require(promise)                                                                           \
    do {                                                                                           \
        if (!(promise)) {                                                                          \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #promise);                  \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

/* A copy with nothing behind it but a NUL. */
static inline char *fuzz_text(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);

    require(text);
    if (size > 0)
        memcpy(text, data, size);
    text[size] = '\0';
    return text;
}

/* A copy with nothing behind it at all. */
static inline char *fuzz_bytes(const uint8_t *data, size_t size)
{
    char *bytes = malloc(size ? size : 1);

    require(bytes);
    if (size > 0)
        memcpy(bytes, data, size);
    return bytes;
}

/* The working directory. */
static inline int fuzz_folder(void)
{
    static int folder = -1;

    if (folder < 0)
        folder = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    require(folder >= 0);
    return folder;
}

/* Makes the file be these bytes; it stays open between calls. */
struct fuzz_file {
    const char *name;
    int fd;
};

static inline void fuzz_write(struct fuzz_file *file, const void *bytes, size_t size)
{
    if (file->fd <= 0)
        file->fd = openat(fuzz_folder(), file->name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    require(file->fd > 0);
    require(pwrite(file->fd, bytes, size, 0) == (ssize_t)size);
    require(ftruncate(file->fd, (off_t)size) == 0);
}

/* Letters, digits, "_.-" (and '=' in parts), not hidden, no option, at most 255 bytes. */
static inline bool is_safe_name(const char *name, size_t size)
{
    if (size == 0 || size > 255 || name[0] == '.' || name[0] == '-')
        return false;
    for (size_t i = 0; i < size; i++) {
        char c = name[i];

        if (!(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') && !(c >= '0' && c <= '9') &&
            (c == '\0' || !strchr("_.-=", c)))
            return false;
    }
    return true;
}

static inline bool is_safe_path(const char *path)
{
    for (;;) {
        size_t size = strcspn(path, "/");

        if (!is_safe_name(path, size))
            return false;
        if (!path[size])
            return true;
        path += size + 1;
    }
}

/* Nothing that moves the cursor, reorders the line or hides, as far as a byte can say that. */
static inline bool is_printable(const char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < 0x20 || *text == 0x7f)
            return false;
    return true;
}
