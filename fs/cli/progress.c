/* SPDX-License-Identifier: MIT */
/* progress.c - a line of an older, wider window has been folded by the time the next one is drawn:
 * then it is as many rows up as it had columns. */
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
    bool screen;
    size_t drawn; /* columns of the bar that is on the screen, 0: none */
    double last_shown;
    struct progress_rate rate;
};

double progress_now_s(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

bool progress_is_screen(FILE *file)
{
    const char *terminal = getenv("TERM");

    return isatty(fileno(file)) && (!terminal || strcmp(terminal, "dumb") != 0);
}

size_t progress_columns(FILE *file)
{
    const char *columns = getenv("COLUMNS");
    struct winsize window;
    long width = columns ? strtol(columns, NULL, 10) : 0;

    if (width <= 0 && ioctl(fileno(file), TIOCGWINSZ, &window) == 0)
        width = window.ws_col;
    if (width <= 0)
        width = 80;
    return width > 1 ? (size_t)width - 1 : 1;
}

struct progress *progress_new(FILE *file, bool silent)
{
    struct progress *progress = calloc(1, sizeof(*progress));

    if (!progress)
        return NULL;
    progress->file = file;
    progress->silent = silent;
    progress->screen = progress_is_screen(file);
    progress->last_shown = progress_now_s();
    progress_rate_look(&progress->rate, progress->last_shown, 0);
    return progress;
}

/* To where the bar began, which is not there any more. */
static void wipe(struct progress *progress)
{
    size_t columns = progress_columns(progress->file) + 1;
    size_t rows = progress->drawn ? (progress->drawn - 1) / columns : 0;

    if (rows > 0)
        fprintf(progress->file, "\r\033[%zuA\033[J", rows);
    else if (progress->drawn)
        fputs("\r\033[K", progress->file);
    progress->drawn = 0;
}

void progress_end(struct progress *progress)
{
    wipe(progress);
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

/* --- parts --- */

void progress_rate_look(struct progress_rate *rate, double now_s, uint64_t bytes)
{
    if (rate->seconds > 0 && now_s > rate->seconds && bytes >= rate->bytes) {
        double now = (double)(bytes - rate->bytes) / (now_s - rate->seconds);

        rate->rate = rate->rate > 0 ? 0.8 * rate->rate + 0.2 * now : now;
    }
    rate->seconds = now_s;
    rate->bytes = bytes;
}

void progress_bar(double part, size_t cells, char ret_text[static PROGRESS_CELLS + 3])
{
    size_t full;

    if (cells > PROGRESS_CELLS)
        cells = PROGRESS_CELLS;
    full = part >= 1 ? cells : part > 0 ? (size_t)(part * (double)cells) : 0;
    ret_text[0] = '[';
    memset(ret_text + 1, '#', full);
    memset(ret_text + 1 + full, ' ', cells - full);
    ret_text[1 + cells] = ']';
    ret_text[2 + cells] = '\0';
}

void progress_pace(uint64_t bytes_left, double rate, char *ret_text, size_t size)
{
    char speed[FORMAT_SIZE];
    char eta[FORMAT_SIZE];
    double seconds = rate >= 1 ? (double)bytes_left / rate : 0;

    ret_text[0] = '\0';
    if (rate < 1)
        return;
    format_bytes((uint64_t)rate, speed);
    format_duration((uint64_t)(seconds + 0.5), eta);
    if (bytes_left > 0 && seconds < 1e7)
        snprintf(ret_text, size, "%s/s  eta %s", speed, eta);
    else
        snprintf(ret_text, size, "%s/s", speed);
}

/* --- the line --- */

/* One way to say it. They are tried from the richest on until one fits. */
struct layout {
    size_t cells; /* of the bar, 0: none */
    bool files;
    bool total;
    bool pace;
    bool done;
};

static void lay_out(const struct progress_state *state, double rate, const struct layout *layout,
                    char *ret_text, size_t size)
{
    double part = state->bytes_total   ? (double)state->bytes_done / (double)state->bytes_total
                  : state->files_total ? (double)state->files_done / (double)state->files_total
                                       : 0;
    uint64_t left = state->bytes_total > state->bytes_done ? state->bytes_total - state->bytes_done
                                                           : 0;
    char bar[PROGRESS_CELLS + 3] = "";
    char files[64] = "";
    char done[FORMAT_SIZE];
    char total[FORMAT_SIZE];
    char pace[80] = "";

    format_bytes(state->bytes_done, done);
    format_bytes(state->bytes_total, total);
    if (layout->cells)
        progress_bar(part, layout->cells, bar);
    if (layout->files && state->files_total)
        snprintf(files, sizeof(files), "  %llu of %llu files",
                 (unsigned long long)state->files_done, (unsigned long long)state->files_total);
    if (layout->pace)
        progress_pace(left, rate, pace, sizeof(pace));
    snprintf(ret_text, size, "%s%s%3.0f %%%s%s%s%s%s%s%s", bar, *bar ? " " : "",
             part > 1 ? 100 : part * 100, files, layout->done ? "  " : "", layout->done ? done : "",
             layout->total ? " of " : "", layout->total ? total : "", *pace ? "  " : "", pace);
}

void progress_line(const struct progress_state *state, double rate, bool bar, size_t columns,
                   char *ret_text, size_t size)
{
    static const struct layout layouts[] = {
        {PROGRESS_CELLS, true, true, true, true},  {10, true, true, true, true},
        {PROGRESS_CELLS, false, true, true, true}, {10, false, true, true, true},
        {10, false, false, true, false},           {0, false, false, true, false},
        {0, false, false, false, false},
    };

    if (!state->files_total && !state->bytes_total) {
        snprintf(ret_text, size, "%s", state->idle ? state->idle : "");
        ret_text[format_cut(ret_text, columns, NULL)] = '\0';
        return;
    }
    for (size_t i = 0; i < sizeof(layouts) / sizeof(*layouts); i++) {
        struct layout layout = layouts[i];

        if (!bar)
            layout.cells = 0;
        lay_out(state, rate, &layout, ret_text, size);
        if (strlen(ret_text) <= columns)
            return;
    }
    ret_text[columns < size ? columns : size - 1] = '\0';
}

void progress_show(struct progress *progress, const struct progress_state *state)
{
    double now = progress_now_s();
    double every = progress->screen ? 0.2 : 5.0;
    char line[256];

    if (progress->silent || now - progress->last_shown < every)
        return;
    progress->last_shown = now;
    progress_rate_look(&progress->rate, now, state->bytes_done);
    progress_line(state, progress->rate.rate, progress->screen,
                  progress->screen ? progress_columns(progress->file) : sizeof(line), line,
                  sizeof(line));
    wipe(progress);
    fprintf(progress->file, progress->screen ? "%s" : "%s\n", line);
    progress->drawn = progress->screen ? strlen(line) : 0;
    fflush(progress->file);
}
