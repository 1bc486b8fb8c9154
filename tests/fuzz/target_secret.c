/* SPDX-License-Identifier: MIT */
/* target_secret.c - the file that a token is in: a token can go into a header line, or there is none.
 * And what a token says of itself. The first byte says which of the two kinds of file it is. */
#include <time.h>

#include "fs/cli/discovery.h"
#include "fs/cli/token_expiry.h"
#include "tests/fuzz/fuzz.h"

static struct token *make_token(const struct source *source, char *const *argv, int argc)
{
    struct options *options = NULL;
    struct token *token = NULL;
    struct complaint complaint;

    require(options_parse(verb_find("sync"), argc, argv, "/nonexistent", &options, &complaint) ==
            0);
    require(token_new(options, source, &token, &complaint) == 0);
    options_free(options);
    return token;
}

/* One that the user named, and the agnes command's own. */
static void make_tokens(struct token *ret_tokens[2])
{
    static struct fuzz_file files[] = {{.name = "bare"}, {.name = "token.json"}};
    char *argv[] = {(char *)"sync", (char *)"--token-file", (char *)"bare"};
    struct source *source = NULL;

    fuzz_write(&files[0], "a", 1);
    fuzz_write(&files[1], "{}", 2);
    setenv("HOME", ".", 1);
    setenv("AGNES_CONFIG_DIR", ".", 1);
    unsetenv("AGNES_TOKEN");
    require(source_parse("https://agnes.example.com", &source) == 0);
    ret_tokens[0] = make_token(source, argv, 3);
    ret_tokens[1] = make_token(source, argv, 1);
    source_free(source);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct token *tokens[2];
    static struct fuzz_file files[] = {{.name = "bare"}, {.name = "token.json"}};

    if (!tokens[0])
        make_tokens(tokens);
    if (size == 0)
        return 0;

    size_t which = data[0] & 1;
    scoped_free char *text = fuzz_text(data + 1, size - 1);
    scoped_free char *found = NULL;

    token_expiry(text);
    fuzz_write(&files[which], data + 1, size - 1);
    found = token_read(tokens[which]);
    if (!found)
        return 0;
    require(*found && strlen(found) < size);
    for (const char *c = found; *c; c++)
        require(*c > ' ' && *c < 0x7f);
    return 0;
}
