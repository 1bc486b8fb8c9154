/* SPDX-License-Identifier: MIT */
/* Why this stays correct: size and ETag are taken once, from the descriptor that is read. A file
 * replaced by rename keeps answering with its old bytes; one that is cut while we read ends with an
 * error and not with a short body that claims to be whole. */
#include "sync/fetch_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cache/scoped.h"

#define BLOCK_SIZE 262144

struct fetch_file {
    int fd;
    int status;
    uint64_t start; /* of the body */
    uint64_t offset;
    uint64_t end; /* of the body */
    uint64_t size;
    char etag[64];
    char block[BLOCK_SIZE];
};

/* A fifo must not hold us up, and nothing but a regular file has a size to promise. */
static int open_regular(const char *path, struct stat *ret_st)
{
    scoped_fd int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

    if (fd < 0)
        return errno == ENOTDIR ? -ENOENT : negative_errno();
    if (fstat(fd, ret_st) < 0)
        return negative_errno();
    if (!S_ISREG(ret_st->st_mode))
        return -ENOENT;
    return take_fd(fd);
}

int fetch_file_open(const char *path, uint64_t offset, uint64_t length, const char *if_range,
                    struct fetch_file **ret_file)
{
    struct stat st = {.st_size = 0};
    scoped_fd int fd = open_regular(path, &st);
    bool ranged = offset > 0 || length > 0;
    struct fetch_file *file;

    if (fd < 0)
        return fd;
    file = malloc(sizeof(*file));
    if (!file)
        return -ENOMEM;
    file->size = (uint64_t)st.st_size;
    snprintf(file->etag, sizeof(file->etag), "\"%" PRIx64 "-%" PRIx64 "-%" PRIx64 ".%lx\"",
             (uint64_t)st.st_ino, file->size, (uint64_t)st.st_mtim.tv_sec,
             (unsigned long)st.st_mtim.tv_nsec);
    if (if_range && if_range[0] && strcmp(if_range, file->etag) != 0)
        ranged = false;
    file->status = !ranged ? 200 : offset < file->size ? 206 : 416;
    file->start = !ranged ? 0 : file->status == 416 ? file->size : offset;
    file->offset = file->start;
    file->end = file->size;
    if (ranged && length > 0 && length < file->size - file->start)
        file->end = file->start + length;
    file->fd = take_fd(fd);
    *ret_file = file;
    return 0;
}

void fetch_file_close(struct fetch_file *file)
{
    if (!file)
        return;
    close(file->fd);
    free(file);
}

void fetch_file_head(const struct fetch_file *file, struct fetch_head *ret_head)
{
    *ret_head = (struct fetch_head){
        .status = file->status,
        .length = (int64_t)(file->end - file->start),
        .range_start = file->status == 206 ? (int64_t)file->start : -1,
        .range_total = file->status == 200 ? -1 : (int64_t)file->size,
        .etag = file->etag,
        .type = "",
        .location = "",
        .min_version = "",
        .content_md5 = "",
        .retry_after_s = -1,
        .date_unix = -1,
    };
}

ssize_t fetch_file_read(struct fetch_file *file, const void **ret_data)
{
    uint64_t left = file->end - file->offset;
    size_t wanted = left < BLOCK_SIZE ? (size_t)left : BLOCK_SIZE;
    ssize_t got;

    if (wanted == 0)
        return 0;
    do
        got = pread(file->fd, file->block, wanted, (off_t)file->offset);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        return negative_errno();
    if (got == 0)
        return -ENODATA;
    file->offset += (uint64_t)got;
    *ret_data = file->block;
    return got;
}
