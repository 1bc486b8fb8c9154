/* SPDX-License-Identifier: MIT */
/* test_options.c - each key from each place, which place wins, and what is said of a wrong word. */
#include "tests/unit/cli/fixture.h"

#include <ctype.h>

/* A good value for a key, which is not its default, and what is read of it. */
static const char *sample(const struct option_spec *spec, uint64_t *ret_number)
{
    static char last[32];
    const char *bar = spec->choices ? strrchr(spec->choices, '|') : NULL;

    *ret_number = 0;
    switch (spec->type) {
    case OPTION_PATH: return "/t/file";
    case OPTION_SIZE: *ret_number = 5UL << 30; return "5GiB";
    case OPTION_DURATION: *ret_number = 120; return "2m";
    case OPTION_NUMBER: *ret_number = 3; return "3";
    case OPTION_MODE: *ret_number = 027; return "027";
    case OPTION_BOOL: *ret_number = !spec->value || strcmp(spec->value, "no") == 0; break;
    case OPTION_CHOICE: snprintf(last, sizeof(last), "%s", bar + 1); return last;
    default: return "https://a.example";
    }
    return *ret_number ? "yes" : "off";
}

/* One that takes such a key, and one operand. */
static const char *verb_taking(unsigned verbs)
{
    for (const struct verb *verb = verb_table(); verb->name; verb++)
        if (verb->bit & verbs && verb->max_operands > 0 && verb->min_operands <= 1)
            return verb->name;
    fail_msg("no verb takes the key");
    return NULL;
}

static void underscored(const char *name, bool upper, char *ret_text)
{
    for (; *name; name++)
        *ret_text++ = *name == '-' ? '_' : (char)(upper ? toupper((unsigned char)*name) : *name);
    *ret_text = '\0';
}

static void expect(struct options *options, const struct complaint *complaint, enum option_key key,
                   enum option_origin origin)
{
    uint64_t number;
    const char *text = sample(option_spec(key), &number);

    if (!options)
        fail_msg("%s: %s: %s", option_spec(key)->name, complaint->what, complaint->why);
    assert_string_equal(options_text(options, key), text);
    assert_int_equal(options_number(options, key), number);
    assert_int_equal(options_origin(options, key), origin);
    options_free(options);
}

static void test_every_key_everywhere(void **state)
{
    struct complaint complaint;

    for (unsigned i = 0; i < OPTION_KEYS; i++) {
        enum option_key key = (enum option_key)i;
        const char *name = option_spec(key)->name;
        uint64_t number;
        const char *text = sample(option_spec(key), &number);
        bool mounts = option_spec(key)->verbs & VERB_MOUNT;
        const char *verb = mounts ? "mount" : verb_taking(option_spec(key)->verbs);
        char variant[64];
        char word[128];

        snprintf(word, sizeof(word), "--%s=%s", name, text);
        expect(parse_from(NULL, &complaint, verb, word, "/m", NULL), &complaint, key, ORIGIN_FLAG);
        underscored(name, false, variant);
        snprintf(word, sizeof(word), "--%s=%s", variant, text);
        expect(parse_from(NULL, &complaint, verb, "/m", word, NULL), &complaint, key, ORIGIN_FLAG);

        snprintf(word, sizeof(word), "ro,%s=%s,nodev", variant, text);
        if (mounts)
            expect(parse_from(NULL, &complaint, "mount", "/m", "-o", word, NULL), &complaint, key,
                   ORIGIN_MOUNT_OPTION);

        underscored(name, true, variant);
        snprintf(word, sizeof(word), "AGNESFS_%s", variant);
        setenv(word, text, 1);
        expect(parse_from(NULL, &complaint, verb, "/m", NULL), &complaint, key, ORIGIN_ENVIRONMENT);
        unsetenv(word);

        snprintf(word, sizeof(word), "# ours\n%s = %s\n", name, text);
        put(*state, ".config/agnesfs/config", word);
        expect(parse_from(NULL, &complaint, verb, "/m", NULL), &complaint, key, ORIGIN_USER_FILE);
        put(*state, ".config/agnesfs/config", "");
    }
}

static void test_precedence(void **state)
{
    char *system_file = path_join(*state, "agnesfs.conf");
    char *other = path_join(*state, "other");
    struct complaint complaint;

    /* From the weakest place on: each one must beat those before it. */
    static const struct {
        const char *place;
        uint64_t jobs;
        enum option_origin origin;
    } steps[] = {
        {"default", 8, ORIGIN_DEFAULT}, {"system", 2, ORIGIN_SYSTEM_FILE},
        {"user", 3, ORIGIN_USER_FILE},  {"env", 4, ORIGIN_ENVIRONMENT},
        {"-o", 5, ORIGIN_MOUNT_OPTION}, {"flag", 6, ORIGIN_FLAG},
    };

    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        if (i == 1)
            put(*state, "agnesfs.conf", "jobs = 2\n");
        if (i == 2)
            put(*state, ".config/agnesfs/config", "jobs=3\n");
        if (i == 3)
            setenv("AGNESFS_JOBS", "4", 1);

        struct options *options = i == 5 ? parse_from(system_file, &complaint, "mount", "--jobs",
                                                      "6", "/m", "-o", "jobs=5", NULL)
                                  : i == 4
                                      ? parse_from(system_file, &complaint, "mount", "-ojobs=5",
                                                   "/m", NULL)
                                      : parse_from(system_file, &complaint, "mount", "/m", NULL);

        assert_non_null(options);
        assert_int_equal(options_number(options, OPTION_JOBS), steps[i].jobs);
        assert_int_equal(options_origin(options, OPTION_JOBS), steps[i].origin);
        options_free(options);
    }

    /* --config is read instead of both files. */
    unsetenv("AGNESFS_JOBS");
    put(*state, "other", "timeout = 7\n");

    struct options *options = parse_from(system_file, &complaint, "sync", "--config", other, NULL);

    assert_non_null(options);
    assert_int_equal(options_number(options, OPTION_JOBS), 8);
    assert_int_equal(options_number(options, OPTION_TIMEOUT), 7);
    assert_string_equal(options_origin_text(options, OPTION_TIMEOUT), other);
    options_free(options);
    free(system_file);
    free(other);
}

/* What comes out when a word is wrong: 2, and a text in which people find their way. */
static void refuse(struct options *options, const struct complaint *complaint, const char *why,
                   const char *hint)
{
    assert_null(options);
    assert_int_equal(complaint->code, EXIT_USAGE);
    if (!strstr(complaint->why, why) || !strstr(complaint->hint, hint))
        fail_msg("said: %s: %s (hint: %s)", complaint->what, complaint->why, complaint->hint);
}

static void test_refusals(void **state)
{
    struct complaint c;

    refuse(parse_from(NULL, &c, "mount", "--cach-dir=/x", "/m", NULL), &c, "unknown",
           "--cache-dir");
    refuse(parse_from(NULL, &c, "mount", "--cache", "/x", "/m", NULL), &c, "unknown", "");
    refuse(parse_from(NULL, &c, "mount", "/m", "-o", "prefetsch=all", NULL), &c, "prefetsch",
           "prefetch");
    refuse(parse_from(NULL, &c, "mount", "/m", "-o", "teapot=yes", NULL), &c, "unknown", "");
    refuse(parse_from(NULL, &c, "mount", "/m", "-o", "rw", NULL), &c, "read-only", "");
    refuse(parse_from(NULL, &c, "mount", "/m", "-o", "jobs", NULL), &c, "needs a value", "");
    refuse(parse_from(NULL, &c, "mount", "/m", "--jobs", NULL), &c, "needs a value", "");
    refuse(parse_from(NULL, &c, "mount", "/m", "--json=yes", NULL), &c, "takes no value", "");
    refuse(parse_from(NULL, &c, "mount", "/m", "-Z", NULL), &c, "unknown", "--help");
    refuse(parse_from(NULL, &c, "ls", "--jobs=3", NULL), &c, "unknown", "no use");
    refuse(parse_from(NULL, &c, "mount", NULL), &c, "missing", "usage");
    refuse(parse_from(NULL, &c, "mount", "a", "b", "c", NULL), &c, "too many", "usage");
    refuse(parse_from(NULL, &c, "mount", "/m", "--refresh=59s", NULL), &c, "less than 60", "");
    refuse(parse_from(NULL, &c, "mount", "/m", "--jobs=-1", NULL), &c, "not a number", "");
    refuse(parse_from(NULL, &c, "mount", "/m", "--jobs=99999999999999999999", NULL), &c, "not", "");
    refuse(parse_from(NULL, &c, "mount", "/m", "--umask=8", NULL), &c, "octal", "");
    refuse(parse_from(NULL, &c, "mount", "/m", "--prefetch=al", NULL), &c, "all|pinned|none", "");
    setenv("AGNESFS_JOBS", "many", 1);
    refuse(parse_from(NULL, &c, "mount", "/m", "--jobs=2", NULL), &c, "many", "");
    assert_string_equal(c.what, "AGNESFS_JOBS");
    unsetenv("AGNESFS_JOBS");
    setenv("AGNESFS_BINARY", "/x", 1); /* somebody else's */
    options_free(parse_from(NULL, &c, "mount", "/m", NULL));
}

static void test_bad_files(void **state)
{
    struct complaint c;

    put(*state, ".config/agnesfs/config", "jobs = 2\n\njobz = 3\nfoo = 1\n");
    refuse(parse_from(NULL, &c, "sync", NULL), &c, "line 3: unknown key \"jobz\"", "jobs");
    put(*state, ".config/agnesfs/config", "jobs\n");
    refuse(parse_from(NULL, &c, "sync", NULL), &c, "line 1: not KEY = VALUE", "");
    put(*state, ".config/agnesfs/config", "[mount]\njobs = 2\n");
    refuse(parse_from(NULL, &c, "sync", NULL), &c, "section", "");
    put(*state, ".config/agnesfs/config", "cache-dir = here\n");
    refuse(parse_from(NULL, &c, "sync", NULL), &c, "must begin with /", "");
    put(*state, ".config/agnesfs/config", "");
    refuse(parse_from(NULL, &c, "sync", "--config=/no/such", NULL), &c, "No such file", "");
}

static void test_paths_and_words(void **state)
{
    char *folder = get_current_dir_name();
    char *expected = path_join(folder, "c");
    char *at_home = path_join(*state, "c");
    struct complaint c;
    struct options *options = parse_from(NULL, &c, "mount", "--cache-dir", "c", "/m", NULL);

    assert_string_equal(options_text(options, OPTION_CACHE_DIR), expected);
    options_free(options);
    options = parse_from(NULL, &c, "mount", "/m", "-o", "cache-dir=~/c,proxy=a\\,b", NULL);
    assert_string_equal(options_text(options, OPTION_CACHE_DIR), at_home);
    assert_string_equal(options_text(options, OPTION_PROXY), "a,b");
    options_free(options);

    options = parse_from(NULL, &c, "mount", "-qf", "src", "--allow_other", "--", "-m", NULL);
    assert_non_null(options);
    assert_true(options_flag(options, FLAG_QUIET));
    assert_true(options_flag(options, FLAG_FOREGROUND));
    assert_false(options_flag(options, FLAG_JSON));
    assert_int_equal(options_number(options, OPTION_ALLOW_OTHER), 1);
    assert_string_equal(options_operand(options, 0), "src");
    assert_string_equal(options_operand(options, 1), "-m");
    assert_null(options_operand(options, 2));
    options_free(options);

    options = parse_from(NULL, &c, "mount", "/m", "--refresh=off", "-o",
                         "ro,nosuid,suid,nodev,dev,noexec,noatime,_netdev,nofail,auto,noauto,user,"
                         "x-systemd.automount,x-foo=bar,comment=what,defaults",
                         NULL);
    assert_non_null(options);
    assert_int_equal(options_number(options, OPTION_REFRESH), 0);
    options_free(options);
    free(folder);
    free(expected);
    free(at_home);
}

static void test_values(void **state)
{
    const struct option_spec size = {.name = "cache-size", .type = OPTION_SIZE};
    uint64_t number = 0;
    char why[128];

    assert_int_equal(option_value_parse(&size, "20GiB", &number, why), 0);
    assert_int_equal(number, 20ULL << 30);
    assert_int_equal(option_value_parse(&size, "5mb", &number, why), 0);
    assert_int_equal(number, 5000000);
    assert_true(option_value_parse(&size, "5 XB", &number, why) < 0);
    assert_true(option_value_parse(&size, "99999999999TiB", &number, why) < 0);
    assert_true(option_value_parse(&size, "", &number, why) < 0);
}

static void test_every_row_is_whole(void **state)
{
    for (unsigned key = 0; key < OPTION_KEYS; key++) {
        const struct option_spec *spec = option_spec((enum option_key)key);
        bool known = false;

        if (!spec->name || !spec->help || !spec->group || !spec->verbs)
            fail_msg("key %u has no whole row in the table", key);
        for (const char *const *group = option_groups(); *group; group++)
            known |= strcmp(*group, spec->group) == 0;
        if (!known)
            fail_msg("%s: no group is called \"%s\"", spec->name, spec->group);
        if (!spec->argument != (spec->type == OPTION_BOOL) ||
            !spec->choices != (spec->type != OPTION_CHOICE))
            fail_msg("%s: argument or choices do not fit the type", spec->name);
    }
}

static bool is_key(const char *name)
{
    enum option_key key;

    return option_find(name, &key) == 0;
}

static bool is_flag_of(const struct verb *verb, const char *name)
{
    for (unsigned i = 0; i < FLAGS; i++)
        if (flag_spec((enum option_flag)i)->verbs & verb->bit &&
            flag_spec((enum option_flag)i)->name &&
            strcmp(flag_spec((enum option_flag)i)->name, name) == 0)
            return true;
    return false;
}

static void test_help_fits_a_screen(void **state)
{
    for (const struct verb *verb = verb_table(); verb->name; verb++) {
        char *text = NULL;
        size_t size;
        size_t lines = 0;
        FILE *file = open_memstream(&text, &size);

        options_print_help(verb, file);
        fclose(file);
        for (char *line = text; *line; lines++) {
            size_t length = strcspn(line, "\n");

            if (length > 80)
                fail_msg("%s: too long: %.*s", verb->name, (int)length, line);
            line += length + (line[length] == '\n');
        }
        if (lines > 24)
            fail_msg("%s: %zu lines of help", verb->name, lines);
        for (unsigned key = 0; key < OPTION_KEYS; key++) {
            const struct option_spec *spec = option_spec((enum option_key)key);
            char flag[64];

            snprintf(flag, sizeof(flag), "--%s ", spec->name);
            if (is_flag_of(verb, spec->name)) /* doctor --report is not the key */
                continue;
            assert_int_equal(strstr(text, flag) != NULL,
                             (spec->verbs & verb->bit) != 0 && !spec->rare);
        }
        for (unsigned i = 0; i < FLAGS; i++) {
            const struct flag_spec *spec = flag_spec((enum option_flag)i);
            char flag[64];

            snprintf(flag, sizeof(flag), "--%s  ", spec->name); /* an entry, not the usage line */
            if (spec->verbs != VERB_ALL && spec->name &&
                (spec->verbs & verb->bit || !is_key(spec->name)))
                assert_int_equal(strstr(text, flag) != NULL,
                                 (spec->verbs & verb->bit) != 0 && !spec->rare);
        }
        free(text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        home_test(test_every_key_everywhere),
        home_test(test_precedence),
        home_test(test_refusals),
        home_test(test_bad_files),
        home_test(test_paths_and_words),
        home_test(test_values),
        home_test(test_every_row_is_whole),
        home_test(test_help_fits_a_screen),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
