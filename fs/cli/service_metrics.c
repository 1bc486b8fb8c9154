/* SPDX-License-Identifier: MIT */
/* service_metrics.c - a mount's own numbers, for the file that metrics-file names. The thread of that
 * file runs all of it but the beginning and the end. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cache/scoped.h"
#include "fs/cli/metrics.h"
#include "fs/cli/metrics_file.h"
#include "fs/cli/service.h"

enum { EVERY_MS = 15 * 1000 };

static int render(void *arg, char **ret_text, size_t *ret_size)
{
    struct service *service = arg;
    scoped(json_freep) struct json *root = NULL;
    char *text = NULL;
    int r = service_status(service, &root);

    if (r < 0)
        return r;

    const struct metrics_mount mount = {service->mountpoint, root};
    FILE *file = open_memstream(&text, ret_size);

    if (!file)
        return -ENOMEM;
    metrics_write(&mount, 1, METRICS_TEXT, file);
    if (fclose(file) != 0) {
        free(text);
        return -ENOMEM;
    }
    *ret_text = text;
    return 0;
}

static void failed(void *arg, int error)
{
    const struct service *service = arg;

    log_write(service->log, LOG_WARNING, "metrics-file could not be written: %s", strerror(-error));
}

char *service_metrics_folder(const struct service *service)
{
    const char *path = options_text(service->session->options, OPTION_METRICS_FILE);
    char *folder = path ? strdup(path) : NULL;
    char *slash = folder ? strrchr(folder, '/') : NULL;

    if (slash)
        slash[slash == folder] = '\0';
    return folder;
}

int service_check_metrics(const struct service *service, struct complaint *ret_complaint)
{
    scoped_free char *folder = service_metrics_folder(service);

    if (!folder || access(folder, W_OK | X_OK) == 0)
        return 0;
    complain(ret_complaint, EXIT_DISK, folder, "no place for metrics-file: %s", strerror(errno));
    complaint_hint(ret_complaint, "it has to lie in a folder that you may write to");
    return -EIO;
}

void service_start_metrics(struct service *service)
{
    const struct metrics_file_conf conf = {
        .path = options_text(service->session->options, OPTION_METRICS_FILE),
        .every_ms = EVERY_MS,
        .render = render,
        .failed = failed,
        .arg = service,
    };
    int r = conf.path ? metrics_file_start(&conf, &service->metrics) : 0;

    if (r < 0)
        failed(service, r);
}
