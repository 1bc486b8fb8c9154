/* SPDX-License-Identifier: MIT */
/* target_names.c - a label of the server's: as a name of a file, in a log, in Markdown and SQL. */
#include "sync/names.h"
#include "sync/quote.h"
#include "tests/fuzz/fuzz.h"

static void check_name(const char *label, const char *suffix)
{
    char name[NAME_SIZE], again[NAME_SIZE];

    if (name_from_label(label, suffix, name) < 0)
        return;

    size_t size = strlen(name), suffix_size = strlen(suffix);

    require(is_safe_name(name, size) && !strchr(name, '='));
    require(size > suffix_size && strcmp(name + size - suffix_size, suffix) == 0);
    if (suffix_size == 0)
        require(name_from_label(name, "", again) == 0 && strcmp(name, again) == 0);
}

static void check_shown(const char *label)
{
    char shown[NAME_PRINTABLE_SIZE];

    name_printable(label, shown);
    require(strlen(shown) < NAME_PRINTABLE_SIZE && is_printable(shown));
}

/* What is between the quotes of a SQL name must not end it, nor leave the line. */
static void check_sql(const char *text, char quote)
{
    size_t size = strlen(text);

    require(size >= 2 && text[0] == quote && text[size - 1] == quote);
    for (size_t i = 1; i < size - 1; i++)
        require(text[i] != quote || (i + 1 < size - 1 && text[++i] == quote));
}

static char *quoted(void (*quote)(FILE *out, const char *text), const char *label)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);

    require(out);
    quote(out, label);
    require(fclose(out) == 0);
    return text;
}

static void quote_short(FILE *out, const char *text)
{
    quote_markdown(out, text, 100);
}

static void check_quotes(const char *label)
{
    scoped_free char *name = quoted(quote_sql_name, label);
    scoped_free char *line = quoted(quote_line, label);
    scoped_free char *markdown = quoted(quote_short, label);

    check_sql(name, '"');
    require(is_printable(line) && is_printable(markdown));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    scoped_free char *label = fuzz_text(data, size);

    check_name(label, "");
    check_name(label, ".parquet");
    check_shown(label);
    if (name_is_part_path(label))
        require(is_safe_path(label) && strlen(label) <= 1024);
    if (size % 4 == 0) /* three streams are slow */
        check_quotes(label);
    return 0;
}
