/* SPDX-License-Identifier: MIT */
/* watch_view.c - each row is put together as plain text, escaped and cut, and coloured only then: an
 * escape sequence is no column, and half of one would colour the rest of the screen. */
#include "fs/cli/watch_view.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "cache/scoped.h"
#include "fs/cli/format.h"
#include "fs/cli/progress.h"

enum { INDENT = 2, LABEL = 12 };

struct drawing {
    const struct watch_view *view;
    FILE *file;
    size_t left; /* rows */
    bool begun;
};

#define RED "\033[31m"
#define GREEN "\033[32m"
#define YELLOW "\033[33m"
#define DIM "\033[2m"
#define PLAIN ""

static void draw_row(struct drawing *drawing, const char *colour, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void draw_row(struct drawing *drawing, const char *colour, const char *format, ...)
{
    scoped_free char *text = NULL;
    scoped_free char *escaped = NULL;
    bool coloured = drawing->view->colours && *colour;
    va_list args;
    int length;

    if (drawing->left == 0)
        return;
    drawing->left--;
    va_start(args, format);
    length = vasprintf(&text, format, args);
    va_end(args);
    if (length < 0) {
        text = NULL;
        return;
    }
    escaped = format_escaped(text);
    if (!escaped)
        return;
    fprintf(drawing->file, "%s%s%.*s%s", drawing->begun ? "\n" : "", coloured ? colour : "",
            (int)format_cut(escaped, drawing->view->columns, NULL), escaped,
            coloured ? "\033[0m" : "");
    drawing->begun = true;
}

/* --- what is always there --- */

static const char *colour_of(const char *state)
{
    return strcmp(state, "ready") == 0 ? GREEN : strcmp(state, "stale") == 0 ? RED : YELLOW;
}

static void draw_head(struct drawing *drawing, const struct json *status)
{
    const char *state = json_text_of(status, "state");
    const struct json *cache = json_get(status, "cache");
    char uptime[FORMAT_SIZE];
    char age[FORMAT_SIZE];
    char used[FORMAT_SIZE];
    char size[FORMAT_SIZE] = "unlimited";
    char disk_free[FORMAT_SIZE];

    format_duration(json_number_of(status, "uptime_seconds"), uptime);
    format_duration(json_number_of(status, "age_seconds"), age);
    format_bytes(json_number_of(cache, "used"), used);
    format_bytes(json_number_of(cache, "disk_free"), disk_free);
    if (json_type(json_get(cache, "size")) == JSON_NUMBER)
        format_bytes(json_number_of(cache, "size"), size);
    draw_row(drawing, colour_of(state), "%s  %s  up %s  %s", state,
             json_text_of(status, "mountpoint"), uptime, json_text_of(status, "source"));
    draw_row(drawing, PLAIN, "  generation  %" PRIu64 ", %s%s%s%s",
             json_number_of(status, "generation"),
             *json_text_of(status, "last_refresh") ? "confirmed " : "not confirmed yet",
             *json_text_of(status, "last_refresh") ? age : "",
             *json_text_of(status, "last_refresh") ? " ago" : "",
             json_is_true(json_get(status, "refreshing")) ? ", refreshing now" : "");
    draw_row(drawing, PLAIN, "  cache       %s of %s; disk free %s", used, size, disk_free);
}

/* How much of what is listed is here. */
static void draw_here(struct drawing *drawing, const struct json *status)
{
    uint64_t total = json_number_of(status, "bytes");
    uint64_t here = json_number_of(status, "resident_bytes");
    size_t columns = drawing->view->columns;
    const struct progress_state state = {
        .files_total = json_number_of(status, "files"),
        .files_done = json_number_of(status, "resident_files"),
        .bytes_total = total,
        .bytes_done = here < total ? here : total,
    };
    char line[256];

    columns = columns > INDENT + LABEL ? columns - INDENT - LABEL : 0;
    progress_line(&state, 0, true, columns, line, sizeof(line));
    draw_row(drawing, PLAIN, "  here        %s", line);
}

static void draw_now(struct drawing *drawing, const struct json *status)
{
    const struct json *transfers = json_get(status, "transfers");
    uint64_t total = json_number_of(status, "bytes");
    uint64_t here = json_number_of(status, "resident_bytes");
    uint64_t running = json_number_of(transfers, "running");
    char pace[80];

    progress_pace(running && total > here ? total - here : 0, drawing->view->rate, pace,
                  sizeof(pace));
    draw_row(drawing, PLAIN, "  transfers   %" PRIu64 " running, %" PRIu64 " waiting%s%s", running,
             json_number_of(transfers, "waiting"), *pace ? "  " : "", pace);
}

/* --- lists --- */

static void name_program(const struct json *program, char *ret_text, size_t size)
{
    const char *name = json_text_of(program, "name");

    snprintf(ret_text, size, "%s[%" PRIu64 "]", *name ? name : "?", json_number_of(program, "pid"));
}

/* Who waits for that file now. */
static const struct json *waits_for(const struct json *status, const char *path)
{
    for (const struct json *program = json_first(json_get(status, "programs")); program;
         program = json_next(program))
        if (json_number_of(program, "waiting") > 0 &&
            strcmp(json_text_of(program, "path"), path) == 0)
            return program;
    return NULL;
}

static void draw_file(struct drawing *drawing, const struct json *status, const struct json *file,
                      const char *label)
{
    const char *path = json_text_of(file, "path");
    const struct json *program = waits_for(status, path);
    uint64_t size = json_number_of(file, "size");
    uint64_t bytes = json_number_of(file, "bytes");
    double part = size ? (double)bytes / (double)size : 1;
    bool wide = drawing->view->columns >= 70;
    const char *slash = strrchr(path, '/');
    char bar[PROGRESS_CELLS + 3] = "";
    char total[FORMAT_SIZE];
    char who[64] = "";

    format_bytes(size, total);
    if (wide)
        progress_bar(part, 10, bar);
    if (program)
        name_program(program, who, sizeof(who));
    draw_row(drawing, PLAIN, "  %-10s  %s%s%3.0f %% of %s  %s%s%s", label, bar, wide ? " " : "",
             part * 100, total, who, *who ? " <- " : "", wide || !slash ? path : slash + 1);
}

static void draw_program(struct drawing *drawing, const struct json *program, const char *label)
{
    char who[64];
    char bytes[FORMAT_SIZE];
    uint64_t waiting = json_number_of(program, "waiting");

    name_program(program, who, sizeof(who));
    format_bytes(json_number_of(program, "bytes"), bytes);
    draw_row(drawing, PLAIN, "  %-10s  %7s  %s%s  %s", label, bytes, who,
             waiting ? ", waiting" : "", json_text_of(program, "path"));
}

/* At most so many rows; of several, the last one says how many more there are. */
static void draw_list(struct drawing *drawing, const struct json *status, const char *label,
                      const struct json *list, size_t most)
{
    size_t count = json_count(list);
    size_t shown = count <= most ? count : most > 1 ? most - 1 : 1;
    const struct json *item = json_first(list);

    if (most == 0)
        return;
    for (size_t i = 0; i < shown; i++, item = json_next(item)) {
        if (json_get(item, "size"))
            draw_file(drawing, status, item, i ? "" : label);
        else
            draw_program(drawing, item, i ? "" : label);
    }
    if (shown < count && shown < most)
        draw_row(drawing, PLAIN, "              %zu more", count - shown);
}

/* --- problems --- */

static size_t problem_rows(const struct json *status)
{
    size_t rows = json_count(json_get(status, "problems"));

    return rows + (*json_text_of(status, "error") ? 1 : 0) + (rows ? 1 : 0) +
           (*json_text_of(status, "error") ? 1 : 0);
}

static void draw_problems(struct drawing *drawing, const struct json *status, size_t most)
{
    const char *error = json_text_of(status, "error");
    const struct json *problem = json_first(json_get(status, "problems"));
    size_t count = json_count(json_get(status, "problems"));
    size_t shown;

    if (*error && most > 0) {
        draw_row(drawing, RED, "  error       %s", error);
        most--;
    }
    if (*error && most > 0) {
        draw_row(
            drawing, PLAIN,
            "  hint        what was here stays; agnesfs refresh %s tries again, doctor says why",
            json_text_of(status, "mountpoint"));
        most--;
    }
    shown = count + 1 <= most ? count : most > 2 ? most - 2 : most > 0;
    for (size_t i = 0; i < shown && problem; i++, problem = json_next(problem))
        draw_row(drawing, YELLOW, "  %-10s  %s: %s", i ? "" : "problems",
                 json_text_of(problem, "path"), json_text_of(problem, "error"));
    if (shown < count && most > shown + 1)
        draw_row(drawing, YELLOW, "              %zu more", count - shown);
    if (count > 0 && most > shown)
        draw_row(drawing, PLAIN, "  hint        agnesfs refresh %s tries them again",
                 json_text_of(status, "mountpoint"));
}

/* What it wants, but of a room that is too small for all no more than half, or what the others leave. */
static size_t share(size_t wanted, size_t others, size_t room)
{
    size_t half = (room + 1) / 2;
    size_t spare = room > others ? room - others : 0;
    size_t most = spare > half ? spare : half;

    return wanted < most ? wanted : most;
}

static void draw_lists(struct drawing *drawing, const struct json *status)
{
    const struct json *files = json_get(json_get(status, "transfers"), "files");
    const struct json *programs = json_get(status, "programs");
    size_t file_rows = json_count(files);
    size_t program_rows = json_count(programs);
    size_t room = drawing->left;
    size_t problems = share(problem_rows(status), file_rows + program_rows, room);

    room -= problems;
    file_rows = share(file_rows, program_rows, room);
    room -= file_rows;
    program_rows = program_rows < room ? program_rows : room;
    draw_list(drawing, status, "coming", files, file_rows);
    draw_list(drawing, status, "programs", programs, program_rows);
    draw_problems(drawing, status, problems);
}

void watch_draw(const struct json *status, const struct watch_view *view, FILE *file)
{
    struct drawing drawing = {.view = view, .file = file, .left = view->rows};

    if (view->rows > 1)
        drawing.left--; /* the last row */
    draw_head(&drawing, status);
    draw_here(&drawing, status);
    draw_now(&drawing, status);
    draw_lists(&drawing, status);
    if (view->rows <= 1)
        return;
    while (drawing.left > 0)
        draw_row(&drawing, PLAIN, "%s", "");
    drawing.left = 1;
    if (view->notice)
        draw_row(&drawing, RED, "%s", view->notice);
    else
        draw_row(&drawing, DIM, "q: end");
}

void watch_line(const struct json *status, double rate, FILE *file)
{
    const struct json *transfers = json_get(status, "transfers");
    const struct json *program = json_first(json_get(status, "programs"));
    uint64_t problems = json_count(json_get(status, "problems"));
    char here[FORMAT_SIZE];
    char total[FORMAT_SIZE];
    char speed[FORMAT_SIZE];
    char age[FORMAT_SIZE];
    char text[FORMAT_SIZE];
    char who[64];

    format_bytes(json_number_of(status, "resident_bytes"), here);
    format_bytes(json_number_of(status, "bytes"), total);
    format_bytes((uint64_t)rate, speed);
    format_duration(json_number_of(status, "age_seconds"), age);
    fprintf(file,
            "%s  generation %" PRIu64 ", %s old  %s of %s here  %s/s, %" PRIu64 " running, %" PRIu64
            " waiting",
            json_text_of(status, "state"), json_number_of(status, "generation"), age, here, total,
            speed, json_number_of(transfers, "running"), json_number_of(transfers, "waiting"));
    if (problems > 0) {
        format_count(problems, "problem", "problems", text);
        fprintf(file, "  %s", text);
    }
    if (program && json_number_of(program, "waiting") > 0) {
        name_program(program, who, sizeof(who));
        fputs("  <- ", file);
        print_escaped(file, who);
    }
}
