/* SPDX-License-Identifier: MIT */
/* test_manifest_cases.c - every case of tests/data/manifests.txt, whose head says how it is read, has
 * exactly its verdict. tests/fuzz/test_manifests.py puts the same cases to the program. */
#include <ctype.h>

#include "cache/scoped.h"
#include "tests/unit/sync/manifest_judge.h"

#define CASES TEST_DATA_DIR "/manifests.txt"

struct word {
    char *name;
    char *text;
};

struct cases {
    FILE *file;
    struct word words[16];
    size_t word_count;
    const char *source;
    char *frame;
    char *line; /* the one read last, without its end; NULL at the end */
    size_t room;
    size_t number;
    size_t judged;
    size_t wrong;
};

/* What $ORIGIN is, too, but for the manifest's own path. */
static const char *const sources[][3] = {
    {"server", SERVER, SERVER},
    {"https", SERVER, SERVER},
    {"static", STATIC_STACK, "https://stacks.example.com"},
};

static const char *source_field(const struct cases *cases, int field)
{
    for (size_t i = 0; i < sizeof(sources) / sizeof(*sources); i++)
        if (strcmp(cases->source, sources[i][0]) == 0)
            return sources[i][field];
    fail_msg("line %zu: frame of what?", cases->number);
    return NULL;
}

static const char *find_word(const struct cases *cases, const char *name, size_t size)
{
    if (size == 6 && memcmp(name, "ORIGIN", 6) == 0)
        return source_field(cases, 2);
    for (size_t i = 0; i < cases->word_count; i++)
        if (strlen(cases->words[i].name) == size && !memcmp(cases->words[i].name, name, size))
            return cases->words[i].text;
    fail_msg("line %zu: $%.*s is not defined", cases->number, (int)size, name);
    return NULL;
}

static void put(FILE *out, const char *text, size_t size, bool quotes)
{
    for (size_t i = 0; i < size; i++)
        fputc(quotes && text[i] == '\'' ? '"' : text[i], out);
}

/* "\(N text)" or "\xNN" at text; returns its length, 0 for anything else. */
static size_t put_escape(FILE *out, const char *text)
{
    char *end;
    unsigned long count;

    if (text[1] == 'x' && isxdigit(text[2]) && isxdigit(text[3])) {
        fputc((int)strtoul((char[]){text[2], text[3], '\0'}, NULL, 16), out);
        return 4;
    }
    if (text[1] != '(')
        return 0;
    count = strtoul(text + 2, &end, 10);
    assert_true(*end == ' ' && strchr(end, ')'));
    for (unsigned long i = 0; i < count; i++)
        put(out, end + 1, strcspn(end + 1, ")"), true);
    return strcspn(text, ")") + 1;
}

/* escapes: also "\(N text)", "\xNN" and quotes; else words alone. */
static void expand(const struct cases *cases, FILE *out, const char *text, bool escapes)
{
    while (*text) {
        size_t taken = 0;
        size_t name = *text == '$' ? strspn(text + 1, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") : 0;

        if (name > 0) {
            const char *word = find_word(cases, text + 1, name);

            put(out, word, strlen(word), escapes);
            taken = name + 1;
        } else if (escapes && *text == '\\') {
            taken = put_escape(out, text);
        }
        if (taken == 0) {
            put(out, text, 1, escapes);
            taken = 1;
        }
        text += taken;
    }
}

static void next_line(struct cases *cases)
{
    if (getline(&cases->line, &cases->room, cases->file) < 0) {
        free(cases->line);
        cases->line = NULL;
        return;
    }
    cases->line[strcspn(cases->line, "\n")] = '\0';
    cases->number++;
}

/* "let NAME TEXT"; the text may have words in it that were defined before. */
static void define(struct cases *cases)
{
    struct word *word = &cases->words[cases->word_count];
    const char *name = cases->line + strlen("let ");
    size_t size = strcspn(name, " ");
    struct text text;

    assert_true(cases->word_count < sizeof(cases->words) / sizeof(*cases->words));
    text_open(&text);
    expand(cases, text.file, name + size + 1, false);
    fclose(text.file);
    *word = (struct word){strndup(name, size), text.bytes};
    cases->word_count++;
}

/* "frame SOURCE TEXT" */
static void begin_frame(struct cases *cases)
{
    char *source = cases->line + strlen("frame ");

    free(cases->frame);
    cases->frame = strdup(source);
    source = strsep(&(char *){cases->frame}, " ");
    cases->source = source;
}

static struct text make_text(const struct cases *cases)
{
    const char *frame = cases->source + strlen(cases->source) + 1;
    size_t before = strcspn(frame, "%");
    const char *text = cases->line + (cases->line[1] == ' ' ? 2 : 1);
    struct text made;

    text_open(&made);
    put(made.file, frame, before, true);
    expand(cases, made.file, text, true);
    put(made.file, frame + before + 1, strlen(frame + before + 1), true);
    fclose(made.file);
    return made;
}

/* One line, in which libcurl decides between two reasons. */
static bool line_fits(const char *expected, size_t size, const char *found, size_t found_size)
{
    static const char or [] = " || ";
    const char *second = memmem(expected, size, or, strlen(or));
    const char *first = memmem(expected, size, ": ", 2);

    if (!second)
        return size == found_size && memcmp(expected, found, size) == 0;
    second += strlen(or);
    first += 2;

    size_t head = (size_t)(first - expected);
    size_t one = (size_t)(second - first) - strlen(or), other = size - (size_t)(second - expected);

    if (found_size < head || memcmp(expected, found, head) != 0)
        return false;
    found += head;
    found_size -= head;
    return (one == found_size && !memcmp(first, found, one)) ||
           (other == found_size && !memcmp(second, found, other));
}

static bool verdict_fits(const char *expected, const char *found)
{
    while (*expected && *found) {
        size_t size = strcspn(expected, "\n"), found_size = strcspn(found, "\n");

        if (!line_fits(expected, size, found, found_size))
            return false;
        expected += size + 1;
        found += found_size + 1;
    }
    return !*expected && !*found;
}

/* "? TEXT", then the verdict's lines up to an empty one. */
static void judge_case(struct cases *cases)
{
    struct text text = make_text(cases), expected;
    size_t number = cases->number;
    char *found = judge(source_field(cases, 1), text.bytes, text.size);

    text_open(&expected);
    for (next_line(cases); cases->line && *cases->line; next_line(cases)) {
        expand(cases, expected.file, cases->line, false);
        fputc('\n', expected.file);
    }
    fclose(expected.file);
    if (!verdict_fits(expected.bytes, found)) {
        print_error("--- %s:%zu: %.300s\nexpected:\n%sfound:\n%s", CASES, number, text.bytes,
                    expected.bytes, found);
        cases->wrong++;
    }
    cases->judged++;
    free(expected.bytes);
    free(text.bytes);
    free(found);
}

static void each_has_its_verdict(void **state)
{
    struct cases cases = {.file = fopen(CASES, "re")};

    assert_non_null(cases.file);
    for (next_line(&cases); cases.line; next_line(&cases)) {
        if (strncmp(cases.line, "let ", 4) == 0)
            define(&cases);
        else if (strncmp(cases.line, "frame ", 6) == 0)
            begin_frame(&cases);
        else if (*cases.line == '?')
            judge_case(&cases);
        else if (*cases.line && *cases.line != '#')
            fail_msg("line %zu: what is that?", cases.number);
        if (!cases.line)
            break;
    }
    assert_int_equal(cases.wrong, 0);
    assert_true(cases.judged >= 300);
    for (size_t i = 0; i < cases.word_count; i++) {
        free(cases.words[i].name);
        free(cases.words[i].text);
    }
    free(cases.frame);
    fclose(cases.file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(each_has_its_verdict)};

    return cmocka_run_group_tests_name("manifest_cases", tests, NULL, NULL);
}
