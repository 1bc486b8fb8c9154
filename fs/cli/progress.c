/* SPDX-License-Identifier: MIT */
/* progress.c - the rate is smoothed over the last looks, so it neither jumps nor remembers for
 * ever. */
#include "fs/cli/progress.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "fs/cli/format.h"

struct progress {
    FILE *file;
    bool silent;
    bool terminal;
    bool drawn; /* a bar is on the screen */
    double last_shown;
    double last_look;
    uint64_t last_bytes;
    double rate;
};

static double now_s(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

struct progress *progress_new(FILE *file, bool silent)
{
    struct progress *progress = calloc(1, sizeof(*progress));
    const char *terminal = getenv("TERM");

    if (!progress)
        return NULL;
    progress->file = file;
    progress->silent = silent;
    progress->terminal = isatty(fileno(file)) && (!terminal || strcmp(terminal, "dumb") != 0);
    progress->last_shown = progress->last_look = now_s();
    return progress;
}

void progress_end(struct progress *progress)
{
    if (progress->drawn)
        fputs("\r\033[K", progress->file);
    progress->drawn = false;
    fflush(progress->file);
}

void progress_free(struct progress *progress)
{
    if (progress)
        progress_end(progress);
    free(progress);
}

void progress_freep(struct progress *const *progress)
{
    progress_free(*progress);
}

static size_t screen_width(FILE *file)
{
    const char *columns = getenv("COLUMNS");
    struct winsize window;
    long width = columns ? strtol(columns, NULL, 10) : 0;

    if (width <= 0 && ioctl(fileno(file), TIOCGWINSZ, &window) == 0)
        width = window.ws_col;
    return width > 20 && width < 1000 ? (size_t)width - 1 : 79;
}

void progress_line(const struct engine_status *status, double bytes_per_second, bool bar,
                   size_t width, char *ret_text, size_t size)
{
    enum { CELLS = 20 };
    double part = status->bytes_total ? (double)status->bytes_done / (double)status->bytes_total
                                      : 0;
    char done[FORMAT_SIZE];
    char total[FORMAT_SIZE];
    char rate[FORMAT_SIZE];
    char cells[CELLS + 4] = "";

    if (part > 1)
        part = 1;
    format_bytes(status->bytes_done, done);
    format_bytes(status->bytes_total, total);
    format_bytes((uint64_t)bytes_per_second, rate);
    if (bar) {
        size_t full = (size_t)(part * CELLS);

        memset(cells, ' ', sizeof(cells) - 1);
        cells[0] = '[';
        memset(cells + 1, '#', full);
        cells[CELLS + 1] = ']';
        cells[CELLS + 3] = '\0';
    }
    if (status->files_total == 0)
        snprintf(ret_text, size, "%sasking for the manifest", cells);
    else
        snprintf(ret_text, size, "%s%3.0f %%  %llu of %llu files  %s of %s  %s/s", cells,
                 part * 100, (unsigned long long)status->files_done,
                 (unsigned long long)status->files_total, done, total, rate);
    if (width < size && strlen(ret_text) > width)
        ret_text[width] = '\0';
}

void progress_show(struct progress *progress, const struct engine_status *status)
{
    double now = now_s();
    double every = progress->terminal ? 0.2 : 5.0;
    char line[256];

    if (progress->silent || now - progress->last_shown < every)
        return;
    if (status->bytes_done >= progress->last_bytes && now > progress->last_look) {
        double rate = (double)(status->bytes_done - progress->last_bytes) /
                      (now - progress->last_look);

        progress->rate = progress->rate > 0 ? 0.8 * progress->rate + 0.2 * rate : rate;
    }
    progress->last_look = progress->last_shown = now;
    progress->last_bytes = status->bytes_done;
    progress_line(status, progress->rate, progress->terminal, screen_width(progress->file), line,
                  sizeof(line));
    if (progress->terminal)
        fprintf(progress->file, "\r%s\033[K", line);
    else
        fprintf(progress->file, "%s\n", line);
    progress->drawn = progress->terminal;
    fflush(progress->file);
}
