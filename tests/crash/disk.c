/* SPDX-License-Identifier: MIT */
#include "tests/crash/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/loop.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* linux/fs/ext4: the header is not for programs. */
#define EXT4_IOC_SHUTDOWN _IOR('X', 125, uint32_t)
#define EXT4_GOING_FLAGS_NOLOGFLUSH 2

enum { BUSY_TRIES = 500 };

static void fail(const char *what)
{
    perror(what);
    exit(2);
}

static void make_filesystem(const char *device)
{
    pid_t pid = fork();
    int status = 0;

    if (pid == 0) {
        execlp("mkfs.ext4", "mkfs.ext4", "-q", "-F", "-b", "1024", "-N", "4096", "-J", "size=4",
               "-E", "lazy_itable_init=0,lazy_journal_init=0,nodiscard", device, NULL);
        _exit(127);
    }
    if (pid < 0 || waitpid(pid, &status, 0) < 0 || status != 0) {
        fprintf(stderr, "mkfs.ext4 %s: status %x\n", device, (unsigned)status);
        exit(2);
    }
}

/* Another process may take the number that we were told is free. */
static int attach(int image, char *ret_device, size_t size)
{
    const struct loop_config config = {.fd = (uint32_t)image, .info.lo_flags = LO_FLAGS_AUTOCLEAR};
    int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);

    for (int i = 0; control >= 0 && i < BUSY_TRIES; i++) {
        int number = ioctl(control, LOOP_CTL_GET_FREE);

        snprintf(ret_device, size, "/dev/loop%d", number);

        int loop = open(ret_device, O_RDWR | O_CLOEXEC);

        if (loop >= 0 && ioctl(loop, LOOP_CONFIGURE, &config) == 0) {
            close(control);
            return loop;
        }
        if (loop >= 0)
            close(loop);
    }
    fail("no loop device");
    return -1;
}

static void mount_it(struct disk *disk)
{
    if (mount(disk->device, disk->mountpoint, "ext4", MS_NOATIME, "") < 0)
        fail("mount");
    disk->root = open(disk->mountpoint, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (disk->root < 0)
        fail(disk->mountpoint);
}

void disk_make(struct disk *disk, const char *mountpoint, size_t size)
{
    int image = memfd_create("disk", MFD_CLOEXEC);

    snprintf(disk->mountpoint, sizeof(disk->mountpoint), "%s", mountpoint);
    disk->size = size;
    disk->kept = malloc(size);
    if (!disk->kept || image < 0 || ftruncate(image, (off_t)size) < 0)
        fail("an image in memory");
    disk->bytes = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, image, 0);
    if (disk->bytes == MAP_FAILED)
        fail("an image in memory");
    if (mkdir(mountpoint, 0700) < 0 && errno != EEXIST)
        fail(mountpoint);
    if (unshare(CLONE_NEWNS) < 0 || mount("", "/", "", MS_REC | MS_PRIVATE, NULL) < 0)
        fail("a mount namespace");
    disk->loop = attach(image, disk->device, sizeof(disk->device));
    close(image);
    make_filesystem(disk->device);
    mount_it(disk);
}

void disk_cut(const struct disk *disk)
{
    uint32_t how = EXT4_GOING_FLAGS_NOLOGFLUSH;

    if (ioctl(disk->root, EXT4_IOC_SHUTDOWN, &how) < 0)
        fail("shutdown");
}

void disk_settle(const struct disk *disk)
{
    if (syncfs(disk->root) < 0)
        fail("syncfs");
}

/* Who was killed may still be leaving. */
static void unmount_it(struct disk *disk)
{
    const struct timespec moment = {.tv_nsec = 1000000};

    close(disk->root);
    for (int i = 0; i < BUSY_TRIES; i++) {
        if (umount2(disk->mountpoint, 0) == 0)
            return;
        if (errno != EBUSY)
            break;
        nanosleep(&moment, NULL);
    }
    fail("umount");
}

void disk_restart(struct disk *disk)
{
    memcpy(disk->kept, disk->bytes, disk->size);
    unmount_it(disk);
    if (ioctl(disk->loop, BLKFLSBUF, 0) < 0)
        fail("BLKFLSBUF");
    memcpy(disk->bytes, disk->kept, disk->size);
    mount_it(disk);
}

void disk_end(struct disk *disk)
{
    unmount_it(disk);
    close(disk->loop);
    munmap(disk->bytes, disk->size);
    free(disk->kept);
}
