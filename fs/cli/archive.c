/* SPDX-License-Identifier: MIT */
/* archive.c - of a member's head all that matters is name, size, mode and time: the sum is over the
 * bytes of the head, its own field counting as blanks. */
#include "fs/cli/archive.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <zlib.h>

#include "cache/scoped.h"

enum { BLOCK = 512 };

struct archive {
    char *path;
    gzFile file;
    bool finished;
};

struct head {
    char name[100];
    char mode[8];
    char uid[8];
    char gid[8];
    char size[12];
    char mtime[12];
    char sum[8];
    char type;
    char link[100];
    char magic[6];
    char version[2];
    char rest[247];
};

_Static_assert(sizeof(struct head) == BLOCK, "a head is one block");

void archive_free(struct archive *archive)
{
    if (!archive)
        return;
    if (archive->file)
        gzclose(archive->file);
    if (!archive->finished)
        unlink(archive->path);
    free(archive->path);
    free(archive);
}

void archive_freep(struct archive *const *archive)
{
    archive_free(*archive);
}

int archive_create(const char *path, struct archive **ret_archive)
{
    scoped_fd int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    struct archive *archive = fd < 0 ? NULL : calloc(1, sizeof(*archive));

    if (fd < 0)
        return negative_errno();
    if (archive && (archive->path = strdup(path)) && (archive->file = gzdopen(fd, "w"))) {
        take_fd(fd);
        *ret_archive = archive;
        return 0;
    }
    if (archive)
        free(archive->path);
    free(archive);
    unlink(path);
    return -ENOMEM;
}

static int put(struct archive *archive, const void *data, size_t size)
{
    return size == 0 || gzwrite(archive->file, data, (unsigned)size) == (int)size ? 0 : -EIO;
}

int archive_add(struct archive *archive, const char *name, const char *text, size_t size)
{
    static const char zeros[BLOCK];
    struct head head = {.mode = "0000600", .uid = "0000000", .gid = "0000000", .type = '0'};
    unsigned sum = 0;

    if (strlen(name) >= sizeof(head.name))
        return -ENAMETOOLONG;
    snprintf(head.name, sizeof(head.name), "%s", name);
    snprintf(head.size, sizeof(head.size), "%011o", (unsigned)size & 0777777777U);
    snprintf(head.mtime, sizeof(head.mtime), "%011lo", (unsigned long)time(NULL) & 077777777777UL);
    memcpy(head.magic, "ustar", 6);
    memcpy(head.version, "00", 2);
    memset(head.sum, ' ', sizeof(head.sum));
    for (size_t i = 0; i < sizeof(head); i++)
        sum += ((const unsigned char *)&head)[i];
    snprintf(head.sum, sizeof(head.sum), "%06o", sum & 0777777U);

    int r = put(archive, &head, sizeof(head));

    if (r == 0)
        r = put(archive, text, size);
    return r < 0 ? r : put(archive, zeros, (BLOCK - size % BLOCK) % BLOCK);
}

int archive_finish(struct archive *archive)
{
    static const char zeros[2 * BLOCK];
    int r = put(archive, zeros, sizeof(zeros));
    int closed = gzclose(archive->file);

    archive->file = NULL;
    archive->finished = r == 0 && closed == Z_OK;
    return archive->finished ? 0 : -EIO;
}
