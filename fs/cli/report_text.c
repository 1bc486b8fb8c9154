/* SPDX-License-Identifier: MIT */
/* report_text.c - names and reasons come from the server: all of them are printed escaped. */
#include "fs/cli/report_text.h"

#include "fs/cli/format.h"

static void print_section(const char *title, const struct report_section *section, FILE *file)
{
    char bytes[FORMAT_SIZE];

    fprintf(file, "%-9s  +%llu ~%llu -%llu =%llu", title, (unsigned long long)section->added,
            (unsigned long long)section->updated, (unsigned long long)section->removed,
            (unsigned long long)section->unchanged);
    if (section->skipped)
        fprintf(file, "  skipped %llu", (unsigned long long)section->skipped);
    if (section->bytes) {
        format_bytes(section->bytes, bytes);
        fprintf(file, "  %s", bytes);
    }
    if (section->held)
        fputs("  held: the server's word is not believed yet", file);
    fputc('\n', file);
}

static void print_line(const char *title, const struct report_line *line, FILE *file)
{
    fprintf(file, "%-9s  ", title);
    if (line->group && *line->group) {
        print_escaped(file, line->group);
        fputc('/', file);
    }
    print_escaped(file, line->name ? line->name : "");
    fputs(": ", file);
    print_escaped(file, line->reason ? line->reason : "");
    fputc('\n', file);
}

/* A section that many servers do not have is not worth a line of zeros. */
static bool has_any(const struct report_section *section)
{
    return section->held || section->added + section->updated + section->removed +
                                section->unchanged + section->skipped + section->bytes;
}

/* Zeros alone leave people guessing what is broken. */
static bool is_nothing(const struct report *report)
{
    uint64_t rows = report->error_count;

    for (unsigned i = 0; i < TREE_SECTIONS; i++) {
        const struct report_section *section = &report->sections[i];

        rows += section->added + section->updated + section->unchanged + section->skipped;
    }
    return rows == 0;
}

void report_print(const struct report *report, bool verbose, FILE *file)
{
    static const char *const titles[TREE_SECTIONS] = {
        [TREE_DIRECT] = "tables",
        [TREE_PACKAGES] = "packages",
        [TREE_MEMORY] = "memory",
        [TREE_KNOWLEDGE] = "knowledge",
    };

    for (enum tree_section section = 0; section < TREE_SECTIONS; section++)
        if (!tree_section(section)->is_optional || has_any(&report->sections[section]))
            print_section(titles[section], &report->sections[section], file);
    if (is_nothing(report))
        fputs(
            "nothing is listed for you: ask for a grant, or see `agnesfs stack list` for what you\n"
            "may add\n",
            file);
    for (size_t i = 0; verbose && i < report->skipped_count; i++)
        print_line("skipped", &report->skipped[i], file);
    for (size_t i = 0; i < report->error_count; i++)
        print_line("error", &report->errors[i], file);
    for (size_t i = 0; i < report->invariant_count; i++) {
        fputs("violation  ", file);
        print_escaped(file, report->invariant_violations[i]);
        fputc('\n', file);
    }
    if (report->dry_run)
        fputs(report->changed ? "dry run: a sync would change this\n"
                              : "dry run: a sync would change nothing\n",
              file);
    if (verbose)
        fprintf(file, "%-9s  generation %llu, %llu requests, %.1f s\n", "done",
                (unsigned long long)report->generation, (unsigned long long)report->requests,
                report->seconds);
}
