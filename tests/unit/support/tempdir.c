/* SPDX-License-Identifier: MIT */
/* tempdir.c - removal is a physical walk (FTW_PHYS): a symbolic link that a test planted is
 * removed, never followed out of the folder. */
#include "tests/unit/support/tempdir.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static _Noreturn void give_up(const char *what, const char *path)
{
    fprintf(stderr, "tempdir: %s %s: %s\n", what, path, strerror(errno));
    abort();
}

char *path_join(const char *dir, const char *rel)
{
    char *path = NULL;

    if (asprintf(&path, "%s/%s", dir, rel) < 0)
        give_up("join", rel);
    return path;
}

char *tempdir_new(void)
{
    const char *base = getenv("TMPDIR");
    char *path = path_join(base && *base ? base : "/tmp", "agnesfs-test-XXXXXX");

    if (!mkdtemp(path))
        give_up("make", path);
    return path;
}

static int open_up(const char *path, const struct stat *st, int type, struct FTW *walk)
{
    if (type == FTW_D || type == FTW_DNR)
        chmod(path, 0700);
    return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *walk)
{
    if (remove(path) < 0)
        give_up("remove", path);
    return 0;
}

void tempdir_free(char *path)
{
    if (!path)
        return;
    nftw(path, open_up, 16, FTW_PHYS);
    nftw(path, remove_one, 16, FTW_PHYS | FTW_DEPTH);
    free(path);
}

static void make_parents(char *path, size_t from)
{
    for (size_t i = from; path[i]; i++) {
        if (path[i] != '/')
            continue;
        path[i] = '\0';
        if (mkdir(path, 0700) < 0 && errno != EEXIST)
            give_up("make", path);
        path[i] = '/';
    }
}

void file_write(const char *dir, const char *rel, const void *data, size_t len)
{
    char *path = path_join(dir, rel);

    make_parents(path, strlen(dir) + 1);

    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    if (fd < 0)
        give_up("open", path);
    for (size_t done = 0; done < len;) {
        ssize_t n = write(fd, (const char *)data + done, len - done);

        if (n < 0)
            give_up("write", path);
        done += (size_t)n;
    }
    close(fd);
    free(path);
}

char *file_read(const char *dir, const char *rel, size_t *ret_len)
{
    char *path = path_join(dir, rel);
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0 && errno == ENOENT) {
        free(path);
        return NULL;
    }

    struct stat st;

    if (fd < 0 || fstat(fd, &st) < 0)
        give_up("open", path);

    size_t room = (size_t)st.st_size + 1;
    size_t used = 0;
    char *data = malloc(room + 1);

    for (ssize_t n = 1; data && n > 0; used += (size_t)n) {
        if (used == room)
            data = realloc(data, (room *= 2) + 1);
        n = data ? read(fd, data + used, room - used) : -1;
        if (n < 0)
            give_up("read", path);
    }
    if (!data)
        give_up("read", path);
    close(fd);
    free(path);
    data[used] = '\0';
    if (ret_len)
        *ret_len = used;
    return data;
}

int place_enter(void **state)
{
    struct place *place = malloc(sizeof(*place));

    if (!place)
        give_up("enter", "no memory");
    place->dir = tempdir_new();
    place->fd = open(place->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (place->fd < 0)
        give_up("open", place->dir);
    *state = place;
    return 0;
}

int place_leave(void **state)
{
    struct place *place = *state;

    close(place->fd);
    tempdir_free(place->dir);
    free(place);
    return 0;
}
