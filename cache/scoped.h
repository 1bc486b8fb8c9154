/* SPDX-License-Identifier: MIT */
/* scoped.h - what ends with its scope.
 *
 * The one piece of glue that every folder uses; it lives here because cache/ is the bottom.
 *
 *     scoped_free char *text = NULL;     free(text) when the scope is left
 *     scoped_fd int fd = -1;             close(fd), unless negative
 *     scoped_dir DIR *dir = NULL;        closedir(dir), unless NULL
 *     scoped_file FILE *file = NULL;     fclose(file), unless NULL; of what is written, look before
 *     scoped_lock(&table->lock);         lock now, unlock when the scope is left
 *
 * To hand a scoped value to somebody else: `return take_ptr(text)`, `*ret_fd = take_fd(fd)`.
 * Modules define their own with `scoped(fn)`, where fn takes the address of the variable.
 *
 *     return negative_errno();           of the call that just failed: certainly below zero */
#pragma once

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Unused, as compilers see it, is a variable that only waits for the end of its scope. */
#define scoped(fn) __attribute__((cleanup(fn), unused))

static inline void scoped_free_at(void *address)
{
    free(*(void **)address);
}

static inline void scoped_close_at(const int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

static inline void scoped_closedir_at(DIR *const *dir)
{
    if (*dir)
        closedir(*dir);
}

static inline void scoped_fclose_at(FILE *const *file)
{
    if (*file)
        fclose(*file);
}

static inline pthread_mutex_t *scoped_lock_now(pthread_mutex_t *mutex)
{
    pthread_mutex_lock(mutex);
    return mutex;
}

static inline void scoped_unlock_at(pthread_mutex_t *const *mutex)
{
    pthread_mutex_unlock(*mutex);
}

#define scoped_free scoped(scoped_free_at)
#define scoped_fd scoped(scoped_close_at)
#define scoped_dir scoped(scoped_closedir_at)
#define scoped_file scoped(scoped_fclose_at)

#define scoped_name_2(line) scope_holds_lock_##line
#define scoped_name_1(line) scoped_name_2(line)
#define scoped_lock(mutex)                                                                         \
    __attribute__((unused)) scoped(scoped_unlock_at) pthread_mutex_t *const scoped_name_1(         \
        __LINE__) = scoped_lock_now(mutex)

#define take_ptr(pointer)                                                                          \
    ({                                                                                             \
        __typeof__(pointer) taken_ = (pointer);                                                    \
        (pointer) = NULL;                                                                          \
        taken_;                                                                                    \
    })

static inline int take_fd_at(int *fd)
{
    int taken = *fd;

    *fd = -1;
    return taken;
}

#define take_fd(fd) take_fd_at(&(fd))

/* A failed call sets errno, but neither a compiler nor an analyser knows; this says so. */
static inline int negative_errno(void)
{
    int negative = -errno;

    return negative < 0 ? negative : -EIO;
}
