/* SPDX-License-Identifier: MIT */
/* metrics.c - names by the conventions of OpenMetrics: base units, spelt out and last, "_total" for
 * counters. All samples of a metric come together, of however many mounts. */
#include "fs/cli/metrics.h"

#include <inttypes.h>
#include <stdbool.h>
#include <string.h>

struct metric {
    const char *name; /* without agnesfs_ and _total */
    bool counts;
    const char *unit;    /* "": none */
    const char *section; /* of the document; NULL: its top */
    const char *member;
    const char *help;
};

static const struct metric metrics[] = {
    {"uptime_seconds", false, "seconds", NULL, "uptime_seconds", "Age of the mount's process."},
    {"generation", false, "", NULL, "generation", "Number of the generation that is shown."},
    {"refresh_age_seconds", false, "seconds", NULL, "age_seconds",
     "Since the source last confirmed the generation."},
    {"tables", false, "", NULL, "tables", "Tables listed, once for each package."},
    {"listed_files", false, "", NULL, "files", "Different files listed."},
    {"listed_bytes", false, "bytes", NULL, "bytes", "Size of the files listed."},
    {"resident_files", false, "", NULL, "resident_files",
     "Of the files listed, those in the cache."},
    {"resident_bytes", false, "bytes", NULL, "resident_bytes", "Size of those in the cache."},
    {"cache_used_bytes", false, "bytes", "cache", "used", "What the cache holds."},
    {"cache_limit_bytes", false, "bytes", "cache", "size",
     "What it may hold; missing without bound."},
    {"cache_disk_free_bytes", false, "bytes", "cache", "disk_free",
     "Free on the disk of the cache."},
    {"cache_evicted_files", true, "", "cache", "evicted_files", "Files that made room."},
    {"cache_evicted_bytes", true, "bytes", "cache", "evicted_bytes",
     "Size of files that made room."},
    {"transfers_running", false, "", "transfers", "running", "Requests to the source under way."},
    {"transfers_waiting", false, "", "transfers", "waiting", "Wants that are not met yet."},
    {"transfers_done", true, "", "transfers", "done", "Wants that were met."},
    {"transfers_failed", true, "", "transfers", "failed", "Wants that could not be met."},
    {"fetched_bytes", true, "bytes", "transfers", "bytes", "Bytes of bodies that the source sent."},
    {"requests", true, "", "transfers", "requests", "Requests to the source."},
    {"inodes", false, "", "mount", "inodes", "Inodes that the kernel knows."},
    {"open_files", false, "", "mount", "open_files", "Files that are open."},
    {"parked_reads", false, "", "mount", "parked_reads", "Reads that wait for bytes."},
    {"reads", true, "", "mount", "reads", "Reads that this process answered, without passthrough."},
    {"read_bytes", true, "bytes", "mount", "bytes_read", "Bytes of these reads."},
};

struct output {
    const struct metrics_mount *mounts;
    size_t count;
    enum metrics_format format;
    FILE *file;
};

static void put_label(FILE *file, const char *name, const char *value)
{
    fprintf(file, "%s=\"", name);
    for (; *value; value++) {
        if (*value == '\n')
            fputs("\\n", file);
        else if (*value == '"' || *value == '\\')
            fprintf(file, "\\%c", *value);
        else
            fputc(*value, file);
    }
    fputc('"', file);
}

static void put_head(const struct output *output, const char *name, bool counts, const char *unit,
                     const char *help)
{
    bool open = output->format == METRICS_OPENMETRICS;
    const char *end = counts && !open ? "_total" : "";

    fprintf(output->file, "# TYPE agnesfs_%s%s %s\n", name, end, counts ? "counter" : "gauge");
    if (open && *unit)
        fprintf(output->file, "# UNIT agnesfs_%s %s\n", name, unit);
    fprintf(output->file, "# HELP agnesfs_%s%s %s\n", name, end, help);
}

/* extra: one label more, NULL for none. */
static void put_sample(const struct output *output, const char *name, bool counts,
                       const struct metrics_mount *mount, const char *extra, const char *value,
                       uint64_t number)
{
    fprintf(output->file, "agnesfs_%s%s{", name, counts ? "_total" : "");
    put_label(output->file, "mountpoint", mount->mountpoint);
    if (mount->status) {
        fputc(',', output->file);
        put_label(output->file, "source", json_text_of(mount->status, "source"));
    }
    if (extra) {
        fputc(',', output->file);
        put_label(output->file, extra, value);
    }
    fprintf(output->file, "} %" PRIu64 "\n", number);
}

static void put_metric(const struct output *output, const struct metric *metric)
{
    put_head(output, metric->name, metric->counts, metric->unit, metric->help);
    for (size_t i = 0; i < output->count; i++) {
        const struct json *status = output->mounts[i].status;
        const struct json *holder = metric->section ? json_get(status, metric->section) : status;
        uint64_t number;

        if (json_u64(json_get(holder, metric->member), &number) == 0)
            put_sample(output, metric->name, metric->counts, &output->mounts[i], NULL, NULL,
                       number);
    }
}

/* --- those that are more than a member --- */

static void put_up(const struct output *output)
{
    put_head(output, "up", false, "", "1: the process of the mount answers.");
    for (size_t i = 0; i < output->count; i++)
        put_sample(output, "up", false, &output->mounts[i], NULL, NULL,
                   output->mounts[i].status != NULL);
}

static void put_build(const struct output *output)
{
    put_head(output, "build", false, "", "1; the label tells the version.");
    for (size_t i = 0; i < output->count; i++)
        if (output->mounts[i].status)
            put_sample(output, "build", false, &output->mounts[i], "version",
                       json_text_of(output->mounts[i].status, "version"), 1);
}

static void put_states(const struct output *output)
{
    static const char *const states[] = {"ready", "stale", "degraded"};

    put_head(output, "state", false, "", "1 for the state that the mount is in.");
    for (size_t i = 0; i < output->count; i++)
        for (size_t j = 0; output->mounts[i].status && j < 3; j++)
            put_sample(output, "state", false, &output->mounts[i], "state", states[j],
                       strcmp(json_text_of(output->mounts[i].status, "state"), states[j]) == 0);
}

static void put_problems(const struct output *output)
{
    put_head(output, "problems", false, "", "Files that can not be had at the moment.");
    for (size_t i = 0; i < output->count; i++)
        if (output->mounts[i].status)
            put_sample(output, "problems", false, &output->mounts[i], NULL, NULL,
                       json_count(json_get(output->mounts[i].status, "problems")));
}

static bool same_name(const struct json *one, const struct json *other)
{
    return strcmp(json_text_of(one, "name"), json_text_of(other, "name")) == 0;
}

/* A label for each process would be one without end: they are summed up by name. Those that are not
 * told any more, and those without a name, have the name "". */
static void put_programs_of(const struct output *output, const struct metrics_mount *mount,
                            const char *name, const char *member)
{
    const struct json *first = json_first(json_get(mount->status, "programs"));
    uint64_t other = json_number_of(json_get(mount->status, "programs_before"), member);

    for (const struct json *program = first; program; program = json_next(program)) {
        const struct json *seen = first;
        uint64_t sum = 0;

        while (seen != program && !same_name(seen, program))
            seen = json_next(seen);
        if (seen != program)
            continue;
        for (; seen; seen = json_next(seen))
            sum += same_name(seen, program) ? json_number_of(seen, member) : 0;
        if (*json_text_of(program, "name"))
            put_sample(output, name, true, mount, "program", json_text_of(program, "name"), sum);
        else
            other += sum;
    }
    put_sample(output, name, true, mount, "program", "", other);
}

static void put_programs(const struct output *output, const char *name, const char *unit,
                         const char *member, const char *help)
{
    put_head(output, name, true, unit, help);
    for (size_t i = 0; i < output->count; i++)
        if (output->mounts[i].status)
            put_programs_of(output, &output->mounts[i], name, member);
}

void metrics_write(const struct metrics_mount *mounts, size_t count, enum metrics_format format,
                   FILE *file)
{
    const struct output output = {mounts, count, format, file};

    put_up(&output);
    put_build(&output);
    put_states(&output);
    put_problems(&output);
    for (size_t i = 0; i < sizeof(metrics) / sizeof(*metrics); i++)
        put_metric(&output, &metrics[i]);
    put_programs(&output, "program_fetched_bytes", "bytes", "bytes",
                 "Bytes that came while a read of this program waited; program \"\": of others.");
    put_programs(&output, "program_waited_reads", "", "reads",
                 "Reads of this program that had to wait; program \"\": of others.");
    if (format == METRICS_OPENMETRICS)
        fputs("# EOF\n", file);
}
