/* SPDX-License-Identifier: MIT */
/* control_files.h - the files of a mount in the runtime folder: the lock and the socket of control.h,
 * shared by both of its sides, and what death.h keeps beside them. */
#pragma once

#include <stddef.h>
#include <sys/types.h>
#include <sys/un.h>

enum control_file {
    CONTROL_LOCK,
    CONTROL_SOCKET,
    CONTROL_LIFE,
};

#define CONTROL_NAME_SIZE 32

void control_name(const char *mountpoint, enum control_file file,
                  char ret_name[static CONTROL_NAME_SIZE]);

/* The runtime folder, open. */
int control_open_folder(const char *runtime, int *ret_fd);

/* An address that is short enough whatever the folder's path: by way of /proc/self/fd. */
void control_address(int folder, const char *name, struct sockaddr_un *ret_address);

/* Is the other end of a connection our own user, or root? */
int control_check_peer(int fd);
