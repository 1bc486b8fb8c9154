/* SPDX-License-Identifier: MIT */
#include "sync/pins.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "cache/files.h"
#include "cache/scoped.h"
#include "sync/glob.h"

#define NAME "pins"
#define TEMPORARY "pins.tmp"

struct pins {
    int dirfd;
    char **globs;
    size_t count;
};

void pins_close(struct pins *pins)
{
    if (!pins)
        return;
    for (size_t i = 0; i < pins->count; i++)
        free(pins->globs[i]);
    free(pins->globs);
    if (pins->dirfd >= 0)
        close(pins->dirfd);
    free(pins);
}

void pins_closep(struct pins *const *pins)
{
    pins_close(*pins);
}

static int append(struct pins *pins, const char *glob)
{
    char **longer = reallocarray(pins->globs, pins->count + 1, sizeof(*longer));
    char *copy = longer ? strdup(glob) : NULL;

    if (longer)
        pins->globs = longer;
    if (!copy)
        return -ENOMEM;
    pins->globs[pins->count++] = copy;
    return 0;
}

static bool is_glob(const char *glob)
{
    return *glob && strlen(glob) <= PIN_MAX && !strpbrk(glob, "\r\n");
}

static int load(struct pins *pins)
{
    int fd = openat(pins->dirfd, NAME, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    scoped_file FILE *file = fd >= 0 ? fdopen(fd, "r") : NULL;
    char line[PIN_MAX + 2];
    struct stat st;
    int r = 0;

    if (fd < 0)
        return errno == ENOENT ? 0 : negative_errno();
    if (!file) {
        close(fd);
        return -ENOMEM;
    }
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) /* a device has no end */
        return -EPERM;
    while (r == 0 && fgets(line, sizeof(line), file)) {
        line[strcspn(line, "\n")] = '\0';
        if (is_glob(line))
            r = pins->count < PINS_MAX ? append(pins, line) : -EFBIG;
    }
    return r == 0 && ferror(file) ? -EIO : r;
}

int pins_open(int dirfd, struct pins **ret_pins)
{
    scoped(pins_closep) struct pins *pins = calloc(1, sizeof(*pins));
    int r;

    if (!pins)
        return -ENOMEM;
    pins->dirfd = fcntl(dirfd, F_DUPFD_CLOEXEC, 0);
    if (pins->dirfd < 0)
        return negative_errno();
    r = load(pins);
    if (r == 0)
        *ret_pins = take_ptr(pins);
    return r;
}

/* Into a file of its own, whatever lies there under its name: a fifo, another name of a file. */
static int write_all(int dirfd, const struct pins *pins)
{
    int r = name_clear(dirfd, TEMPORARY);

    if (r < 0)
        return r;

    int fd = openat(dirfd, TEMPORARY, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    scoped_file FILE *file = fd >= 0 ? fdopen(fd, "w") : NULL;

    if (fd < 0)
        return negative_errno();
    if (!file) {
        close(fd);
        return -ENOMEM;
    }
    for (size_t i = 0; i < pins->count; i++)
        fprintf(file, "%s\n", pins->globs[i]);
    if (fflush(file) != 0 || fsync(fd) < 0)
        return negative_errno();
    return 0;
}

static int save(const struct pins *pins)
{
    int r = write_all(pins->dirfd, pins);

    if (r == 0 &&
        (renameat(pins->dirfd, TEMPORARY, pins->dirfd, NAME) < 0 || fsync(pins->dirfd) < 0))
        r = negative_errno();
    if (r < 0)
        unlinkat(pins->dirfd, TEMPORARY, 0);
    return r;
}

static size_t find(const struct pins *pins, const char *glob)
{
    size_t i = 0;

    while (i < pins->count && strcmp(pins->globs[i], glob) != 0)
        i++;
    return i;
}

int pins_add(struct pins *pins, const char *glob)
{
    int r;

    if (!is_glob(glob))
        return -EINVAL;
    if (find(pins, glob) < pins->count)
        return -EEXIST;
    if (pins->count == PINS_MAX)
        return -EFBIG;
    r = append(pins, glob);
    if (r == 0)
        r = save(pins);
    if (r < 0 && find(pins, glob) < pins->count)
        free(pins->globs[--pins->count]);
    return r;
}

int pins_remove(struct pins *pins, const char *glob)
{
    size_t at = find(pins, glob);
    char *gone;
    int r;

    if (at == pins->count)
        return -ENOENT;
    gone = pins->globs[at];
    memmove(pins->globs + at, pins->globs + at + 1, (--pins->count - at) * sizeof(*pins->globs));
    r = save(pins);
    if (r < 0) /* at the end: the order means nothing */
        pins->globs[pins->count++] = gone;
    else
        free(gone);
    return r;
}

size_t pins_count(const struct pins *pins)
{
    return pins->count;
}

const char *pins_glob(const struct pins *pins, size_t index)
{
    return pins->globs[index];
}

bool pin_matches(const char *glob, const struct tree_group *group, const struct tree_row *row)
{
    char name[1024];

    snprintf(name, sizeof(name), "%s/%s", *group->slug ? group->slug : group->folder, row->name);
    return glob_match(glob, name) || (row->path && glob_match(glob, row->path));
}

bool pins_match(const struct pins *pins, const struct tree *tree, const struct tree_row *row)
{
    for (size_t i = 0; i < pins->count; i++)
        if (pin_matches(pins->globs[i], tree_group(tree, row->group), row))
            return true;
    return false;
}
