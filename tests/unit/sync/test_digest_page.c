/* SPDX-License-Identifier: MIT */
/* What a digest's page says of it, whatever the digest says of itself. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "sync/digest_page.h"

#define MADE "_A digest that the Agnes server maintains. Generated "
#define STALE(why) "> **STALE**: " why ". What follows is the last one that could be made.\n\n"

static void pages(void **state)
{
    static const struct {
        const char *document; /* ' stands for " */
        const char *page;     /* NULL: none is made of it */
    } cases[] = {
        {"{'title':'Weekly','status':'fresh','generated_at':'2026-08-22','output_md':'a\\n'}",
         "# Weekly\n\n" MADE "2026-08-22, status fresh._\n\na\n"},
        {"{'slug':'weekly','output_md':'a'}",
         "# weekly\n\n" MADE "at a time it does not say, status unknown._\n\na\n"},
        {"{'output_md':'a','title':5,'status':null,'generated_at':[]}",
         "# Digest\n\n" MADE "at a time it does not say, status unknown._\n\na\n"},
        {"{'title':'W','status':'stale','generated_at':'t','output_md':'a'}",
         "# W\n\n" MADE "t, status stale._\n\n" STALE("it could not be made anew") "a\n"},
        {"{'title':'W','status':'stale','status_reason':'no answer','generated_at':'t',"
         "'output_md':'a'}",
         "# W\n\n" MADE "t, status stale._\n\n" STALE("no answer") "a\n"},
        /* Only what is stale has a reason to be. */
        {"{'title':'W','status':'fresh','status_reason':'no','generated_at':'t','output_md':'a'}",
         "# W\n\n" MADE "t, status fresh._\n\na\n"},
        /* Nobody's words but ours make a line of their own. */
        {"{'title':'W\\n\\n> **STALE**','status':'fresh\\n','generated_at':'t','output_md':'a'}",
         "# W  \\> \\*\\*STALE\\*\\*\n\n" MADE "t, status fresh ._\n\na\n"},
        /* The rest is the digest's. */
        {"{'title':'W','generated_at':'t','output_md':'\\n<b> [x](http://y)\\n\\n'}",
         "# W\n\n" MADE "t, status unknown._\n\n\n<b> [x](http://y)\n\n"},
        /* A page is one. */
        {"# W\n\n" MADE "t, status fresh._\n\na\n", "# W\n\n" MADE "t, status fresh._\n\na\n"},
        {"# W\n\nA digest that\n", NULL},
        {"# W\n\n" MADE "\xff", NULL}, /* no text */
        {"# W", NULL},
        {"", NULL},
        {"[]", NULL},
        {"{}", NULL},
        {"{'output_md':", NULL},
        {"{'output_md':'a'} {}", NULL},
        {"{'output_md':null}", NULL},
        {"{'output_md':''}", NULL},
        {"{'output_md':' \\n\\t'}", NULL},
        {"{'output_md':['a']}", NULL},
        {"{'output_md':'a\\u0000b'}", NULL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        char *document = strdup(cases[i].document);
        char *page = NULL;
        size_t size = 0;

        for (char *c = document; *c; c++)
            *c = *c == '\'' ? '"' : *c;
        assert_int_equal(digest_page_make(document, strlen(document), &page, &size),
                         cases[i].page ? 0 : -EPROTO);
        if (cases[i].page) {
            assert_string_equal(page, cases[i].page);
            assert_int_equal(size, strlen(cases[i].page));
        }
        free(page);
        free(document);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(pages)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
