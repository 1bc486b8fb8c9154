/* SPDX-License-Identifier: MIT */
/* target_config.c - what people write into files and behind -o: our configuration, the agnes
 * command's, and a list of mount options. The first byte says which. */
#include <errno.h>

#include "fs/cli/agnes_config.h"
#include "fs/cli/options.h"
#include "tests/fuzz/fuzz.h"

static void check_values(const struct options *options)
{
    for (int key = 0; key < OPTION_KEYS; key++) {
        const struct option_spec *spec = option_spec((enum option_key)key);
        const char *text = options_text(options, (enum option_key)key);
        uint64_t number = options_number(options, (enum option_key)key);

        require(!text || text != spec->value ||
                options_origin(options, (enum option_key)key) == ORIGIN_DEFAULT);
        if (spec->type == OPTION_PATH && text && text != spec->value)
            require(text[0] == '/');
        if (spec->type == OPTION_NUMBER && text && number != 0)
            require(number >= spec->min && number <= spec->max);
    }
}

static void read_options(const char *list)
{
    char *argv[] = {(char *)"mount", (char *)"https://a.example.com", (char *)"m"};
    struct options *options = NULL;
    struct complaint complaint = {.code = EXIT_OK};
    int r;

    setenv("HOME", "/home/u", 1);
    require(options_parse(verb_find("mount"), 3, argv, "/nonexistent", &options, &complaint) == 0);
    if (list)
        r = options_read_list(options, list, &complaint);
    else
        r = options_read_file(options, "config", ORIGIN_USER_FILE, false, &complaint);
    if (r == 0)
        check_values(options);
    else
        require(complaint.code == EXIT_USAGE && complaint.why[0]);
    options_free(options);
}

static void read_server(void)
{
    scoped_free char *server = NULL;
    char why[160] = "";
    int r = agnes_config_server("config", &server, why);

    require(r != -EINVAL || *why);
    require(r != 0 || *server);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct fuzz_file file = {.name = "config"};

    if (size == 0)
        return 0;
    if (data[0] & 1) {
        scoped_free char *list = fuzz_text(data + 1, size - 1);

        read_options(list);
        return 0;
    }
    fuzz_write(&file, data + 1, size - 1);
    if (data[0] & 2)
        read_server();
    else
        read_options(NULL);
    return 0;
}
