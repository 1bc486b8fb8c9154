/* SPDX-License-Identifier: MIT */
/* service.h - the process behind a mount: cache, engine, folder and control socket, put together.
 *
 *     service_open     engine, control socket, log; no network yet
 *     service_mount    the first refresh if there is nothing to show, then the folder; a thread
 *                    serves it from here on; returns when it answers a stat
 *     service_wait     until it is unmounted or told to stop
 *     service_close    everything in the order that leaves nobody hanging
 *
 * Threads: the caller's, plus those of engine, mount, control and signals, whose callbacks are all
 * in service_glue.c. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "fs/cli/borrower.h"
#include "fs/cli/control.h"
#include "fs/cli/death.h"
#include "fs/cli/harden.h"
#include "fs/cli/log.h"
#include "fs/cli/metrics_file.h"
#include "fs/cli/readers.h"
#include "fs/cli/session.h"
#include "fs/cli/signals.h"
#include "fs/cli/systemd.h"
#include "fs/mount.h"

struct service {
    struct session *session;
    char *mountpoint; /* absolute */
    struct mounter *mounter;
    char *log_path; /* NULL: stderr */
    uint64_t started_unix;
    struct log *log;
    struct harden_facts hardened; /* const after service_open */
    struct control *control;
    struct death before; /* of the process before this one; pid 0: it ended in order */
    struct death_watch *watch;
    struct signals *signals;
    struct systemd_watch *watchdog; /* NULL: nobody watches */
    struct engine *engine;
    struct borrower *borrower;
    struct readers *readers;
    struct metrics_file *metrics; /* NULL: there is none */
    uint64_t first_refresh;       /* its ticket */
    pthread_t thread;             /* in mount_run */
    bool threaded;
    atomic_bool stopping;

    pthread_mutex_t lock; /* over the lines below; held while publishing, so that the mount stays
                             and one thread at a time does */
    pthread_cond_t changed;
    struct mount *_Atomic mount; /* NULL before and after; read without lock by who only looks */
    bool answers;                /* the kernel has shaken hands */
    bool ended;                  /* mount_run has returned */
    int run_error;

    struct known_errors *known; /* of the sync thread alone: what the log has said already */
};

/* session: open, as writer; it and mounter must outlive the service. Takes over mountpoint, which the
 * mounter was made for, and log_path. */
int service_open(struct session *session, struct mounter *mounter, char *mountpoint, char *log_path,
                 struct service *ret_service, struct complaint *ret_complaint);
int service_mount(struct service *service, struct complaint *ret_complaint);

/* Waits at most timeout_ms for the first refresh. 0, and the report is the caller's; -ETIMEDOUT. */
int service_first_report(struct service *service, int timeout_ms, struct report **ret_report);

int service_wait(struct service *service);
void service_close(struct service *service);

/* --- service_harden.c --- */

/* Gives up what serving does not need; the log and the control claim are open by now, the mounter
 * lives, and there is no other thread yet. */
int service_harden(struct service *service);

/* --- service_metrics.c: the file that metrics-file names, if there is to be one --- */

/* Where it is; malloc'd, NULL: nowhere. */
char *service_metrics_folder(const struct service *service);
int service_check_metrics(const struct service *service, struct complaint *ret_complaint);
void service_start_metrics(struct service *service);

/* --- service_live.c: what the folder says of itself --- */

enum service_live {
    LIVE_STATUS,     /* .agnes/status.json */
    LIVE_GENERATION, /* .agnes/generation */
    LIVE_MANIFEST,   /* .agnes/manifest.json */
};

int service_render_status(struct service *service, char **ret_text, size_t *ret_size);

/* Of the provider: one of the documents, of that tree. arg is the service. */
int service_render(void *arg, const struct tree *tree, unsigned live, char **ret_text,
                   size_t *ret_size);

/* Of the engine: what a generation shows besides its rows. arg is the service. */
int service_decorate(void *arg, struct tree_builder *builder);

/* What the texts of the folder depend on besides its rows: the program, which may be another one
 * after an update, and the place. For the caller to free; NULL: it can not be told. */
char *service_decoration(const struct service *service);

/* --- service_glue.c, service_control.c --- */

int service_status(struct service *service, struct json **ret_root);
struct provider service_provider(struct service *service);
void service_fill_conf(struct service *service, struct engine_conf *conf);

int service_answer(void *arg, const struct control_request *request, char **ret_text,
                   size_t *ret_size);
void service_signal(void *arg, int signal);

/* --- service_systemd.c --- */

/* What `systemctl status` shows from now on: the sync thread, after each refresh. */
void service_tell(const struct service *service, const struct report *report);
void service_forget_errors(struct service *service);
