/* SPDX-License-Identifier: MIT */
#include "fs/cli/document.h"

#include <stdio.h>
#include <stdlib.h>

#include "cache/scoped.h"

struct json *document_new(void)
{
    scoped(json_freep) struct json *root = json_new_object();

    return root && json_add_u64(root, "schema", DOCUMENT_SCHEMA) == 0 ? take_ptr(root) : NULL;
}

int document_print(const struct json *root)
{
    scoped_free char *text = NULL;
    size_t size;
    int r = json_print(root, true, &text, &size);

    if (r == 0)
        fputs(text, stdout);
    return r;
}
