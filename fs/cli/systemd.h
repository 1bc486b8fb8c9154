/* SPDX-License-Identifier: MIT */
/* systemd.h - what the service manager is told, if one started us that wants to be told: Type=notify,
 * `systemctl status`, WatchdogSec=.
 *
 *     systemd_ready       the mount answers
 *     systemd_status      one line on how it is, whenever that changes
 *     systemd_watch_new   from now on the mount is looked at twice in each watchdog interval, as
 *                         anybody would, and the manager hears of each answer
 *     systemd_stopping    the end has begun
 *     systemd_watch_free  once the connection to the kernel is closed
 *
 * The look is a statfs, which the kernel never answers by itself: the threads that serve have to. It is
 * a thread of its own that looks. While they are stuck it waits, nobody says that all is well, and
 * systemd ends the process and starts another one. After a close of the connection it waits no longer.
 *
 * Limit: a mount whose folder this process may not reach can not be looked at, and counts as well.
 *
 * Without a manager, or libsystemd, all of these do nothing. Any thread. */
#pragma once

void systemd_ready(void);
void systemd_stopping(void);

/* What may move the cursor or begin another line is escaped, and what is long is cut. */
void systemd_status(const char *format, ...) __attribute__((format(printf, 1, 2)));

struct systemd_watch;

/* *ret_watch may be NULL: nobody watches. mountpoint must outlive it. -ENOMEM or what pthread_create
 * says. */
int systemd_watch_new(const char *mountpoint, struct systemd_watch **ret_watch);
void systemd_watch_free(struct systemd_watch *watch); /* NULL is allowed */
