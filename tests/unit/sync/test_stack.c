/* SPDX-License-Identifier: MIT */
/* test_stack.c - what a server may say of the stack, and what is made of it. */
#include "sync/stack.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cache/scoped.h"
#include "tests/unit/support/http_server.h"

static int enter(void **state)
{
    *state = calloc(1, sizeof(struct stack));
    return *state == NULL;
}

static int leave(void **state)
{
    stack_free(*state);
    return 0;
}

static int list(struct stack *stack, enum tree_section section, const char *text)
{
    char message[STACK_MESSAGE_SIZE] = "";
    int r = stack_read_list(stack, section, text, strlen(text), message);

    assert_int_equal(*message != '\0', r < 0);
    return r;
}

static int slugs(struct stack *stack, const char *text)
{
    char message[STACK_MESSAGE_SIZE] = "";
    int r = stack_read_slugs(stack, text, strlen(text), message);

    assert_int_equal(*message != '\0', r < 0);
    return r;
}

static const struct stack_entry *find(const struct stack *stack, const char *name)
{
    const struct stack_entry *entry = NULL;

    assert_int_equal(stack_find(stack, name, &entry), 0);
    return entry;
}

static int find_error(const struct stack *stack, const char *name)
{
    const struct stack_entry *entry = NULL;

    return stack_find(stack, name, &entry);
}

/* --- lists --- */

static void entries_are_read(void **state)
{
    struct stack *stack = *state;

    assert_int_equal(list(stack, TREE_PACKAGES,
                          "{\"items\":[{\"id\":\"p1\",\"name\":\"Sales\",\"description\":\"d\","
                          "\"icon\":null,\"color\":null,\"requirement\":\"available\","
                          "\"in_stack\":true,\"materialized\":false}]}"),
                     0);
    assert_int_equal(list(stack, TREE_MEMORY,
                          "{\"items\":[{\"id\":\"m1\",\"name\":\"Finance\",\"requirement\":"
                          "\"required\",\"in_stack\":true,\"materialized\":true}]}"),
                     0);
    assert_int_equal(slugs(stack, "{\"data_packages\":[{\"id\":\"p1\",\"slug\":\"sales\"}],"
                                  "\"memory_domains\":[{\"id\":\"m1\",\"slug\":\"finance\"}]}"),
                     0);
    assert_int_equal(stack->count, 2);

    const struct stack_entry *sales = find(stack, "sales");
    const struct stack_entry *finance = find(stack, "memory/finance");

    assert_string_equal(sales->id, "p1");
    assert_string_equal(sales->description, "d");
    assert_int_equal(sales->section, TREE_PACKAGES);
    assert_true(sales->in_stack && !sales->copied && !sales->required);
    assert_true(finance->in_stack && finance->copied && finance->required);
    assert_string_equal(finance->description, "");
}

static void what_is_no_list_is_refused(void **state)
{
    static const char *const texts[] = {
        "",
        "null",
        "[]",
        "{}",
        "\"items\"",
        "{\"items\":null}",
        "{\"items\":{}}",
        "{\"items\":\"x\"}",
        "{\"items\":[]",
        "{\"items\":[]} x",
        "{\"items\":[],\"items\":[]}",
        "<!doctype html>",
    };

    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
        struct stack *stack = *state;

        assert_int_equal(list(stack, TREE_PACKAGES, texts[i]), -EPROTO);
        assert_int_equal(stack->count, 0);
    }
}

static void odd_entries_are_dropped_and_counted(void **state)
{
    struct stack *stack = *state;

    assert_int_equal(list(stack, TREE_PACKAGES,
                          "{\"items\":[null,1,\"x\",[],{},{\"id\":7},{\"id\":\"\"},"
                          "{\"id\":null,\"name\":\"n\"},{\"id\":\"p\"}]}"),
                     0);
    assert_int_equal(stack->count, 1);
    assert_int_equal(stack->dropped, 8);
}

/* Nothing is made up: neither a copy that is not there, nor a requirement. */
static void wrong_types_are_read_as_absent(void **state)
{
    struct stack *stack = *state;

    assert_int_equal(
        list(stack, TREE_PACKAGES,
             "{\"items\":[{\"id\":\"a\",\"name\":5,\"description\":[],\"requirement\":1,"
             "\"in_stack\":\"true\",\"materialized\":1},"
             "{\"id\":\"b\",\"requirement\":\"sometimes\",\"in_stack\":true},"
             "{\"id\":\"c\",\"requirement\":\"required\"}]}"),
        0);

    const struct stack_entry *a = find(stack, "a");
    const struct stack_entry *b = find(stack, "b");
    const struct stack_entry *c = find(stack, "c");

    assert_string_equal(a->name, "");
    assert_true(!a->required && !a->in_stack && !a->copied);
    assert_true(!b->required && b->in_stack && b->copied); /* a server without materialized */
    assert_true(c->required && c->in_stack && c->copied);
}

static void same_id_twice_is_one_entry(void **state)
{
    struct stack *stack = *state;

    assert_int_equal(list(stack, TREE_PACKAGES, "{\"items\":[{\"id\":\"a\"},{\"id\":\"a\"}]}"), 0);
    assert_int_equal(list(stack, TREE_MEMORY, "{\"items\":[{\"id\":\"a\"}]}"), 0);
    assert_int_equal(slugs(stack, "{}"), 0);
    assert_int_equal(stack->count, 2);
}

/* 200,000 entries, each with its slug: a join that compares each with each takes minutes. */
static void huge_lists_are_read(void **state)
{
    enum { MANY = 200000 };
    struct stack *stack = *state;
    scoped_free char *items = NULL;
    scoped_free char *groups = NULL;
    size_t size;
    FILE *file = open_memstream(&items, &size);

    fputs("{\"items\":[{\"id\":\"x\"}", file);
    for (int i = 0; i < MANY; i++)
        fprintf(file, ",{\"id\":\"p%d\"}", i);
    fputs("]}", file);
    fclose(file);
    file = open_memstream(&groups, &size);
    fputs("{\"data_packages\":[{\"id\":\"x\",\"slug\":\"y\"}", file);
    for (int i = 0; i < MANY; i++)
        fprintf(file, ",{\"id\":\"p%d\",\"slug\":\"s%d\"}", i, i);
    fputs("]}", file);
    fclose(file);
    assert_int_equal(list(stack, TREE_PACKAGES, items), 0);
    assert_int_equal(slugs(stack, groups), 0);
    assert_int_equal(stack->count, MANY + 1);
    assert_string_equal(find(stack, "s199999")->id, "p199999");
}

/* --- slugs --- */

static void manifest_without_sense_gives_no_slugs(void **state)
{
    static const char *const texts[] = {
        "{}",
        "[]",
        "{\"data_packages\":null}",
        "{\"data_packages\":{\"id\":\"a\",\"slug\":\"s\"}}",
        ("{\"data_packages\":[null,3,[],{\"id\":\"a\"},{\"slug\":\"s\"},{\"id\":1,\"slug\":\"s\"},"
         "{\"id\":\"a\",\"slug\":{}},{\"id\":\"b\",\"slug\":\"s\"}]}"),
        "{\"memory_domains\":[{\"id\":\"a\",\"slug\":\"s\"}]}",
    };
    struct stack *stack = *state;

    assert_int_equal(list(stack, TREE_PACKAGES, "{\"items\":[{\"id\":\"a\"}]}"), 0);
    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
        assert_int_equal(slugs(stack, texts[i]), 0);
        assert_string_equal(find(stack, "a")->slug, "");
    }
    assert_int_equal(slugs(stack, "<html>"), -EPROTO);
}

static void names_are_slugs_then_paths_then_ids_then_names(void **state)
{
    struct stack *stack = *state;

    assert_int_equal(list(stack, TREE_PACKAGES,
                          "{\"items\":[{\"id\":\"p1\",\"name\":\"Sales\"},"
                          "{\"id\":\"sales\",\"name\":\"Other\"},{\"id\":\"p3\",\"name\":\"Twin\"},"
                          "{\"id\":\"p4\",\"name\":\"Twin\"},{\"id\":\"p5\",\"name\":\"both\"}]}"),
                     0);
    assert_int_equal(list(stack, TREE_MEMORY, "{\"items\":[{\"id\":\"m1\",\"name\":\"Both\"}]}"),
                     0);
    assert_int_equal(slugs(stack, "{\"data_packages\":[{\"id\":\"p1\",\"slug\":\"sales\"},"
                                  "{\"id\":\"p5\",\"slug\":\"both\"}],"
                                  "\"memory_domains\":[{\"id\":\"m1\",\"slug\":\"both\"}]}"),
                     0);
    assert_string_equal(find(stack, "sales")->id, "p1");
    assert_string_equal(find(stack, "data/sales")->id, "p1");
    assert_string_equal(find(stack, "data/sales/")->id, "p1");
    assert_string_equal(find(stack, "p3")->id, "p3");
    assert_string_equal(find(stack, "Other")->id, "sales");
    assert_string_equal(find(stack, "memory/both")->id, "m1");
    assert_int_equal(find_error(stack, "both"), -EEXIST);
    assert_int_equal(find_error(stack, "Twin"), -EEXIST);
    assert_int_equal(find_error(stack, "memory/sales"), -ENOENT);
    assert_int_equal(find_error(stack, "data/sales/orders"), -ENOENT);
    assert_int_equal(find_error(stack, "data/"), -ENOENT);
    assert_int_equal(find_error(stack, ""), -ENOENT);
}

static void label_is_the_folder_or_else_the_id(void **state)
{
    struct stack *stack = *state;

    assert_int_equal(list(stack, TREE_PACKAGES, "{\"items\":[{\"id\":\"a\"},{\"id\":\"b\"}]}"), 0);
    assert_int_equal(slugs(stack, "{\"data_packages\":[{\"id\":\"b\",\"slug\":\"sales\"}]}"), 0);

    scoped_free char *without = stack_label(find(stack, "a"));
    scoped_free char *with = stack_label(find(stack, "b"));

    assert_string_equal(without, "a");
    assert_string_equal(with, "data/sales");
}

/* --- refusals, and answers that are none --- */

struct trial {
    int status;
    const char *type;
    const char *body;
    const char *headers;
    int error;
    enum stack_refusal refusal;
    const char *message;
};

static const struct trial trials[] = {
    {204, "", "", NULL, 0, STACK_NOT_REFUSED, ""},
    {200, "application/json", "{\"subscribed\": true}", NULL, 0, STACK_NOT_REFUSED, ""},
    {400, "application/json", "{\"detail\": \"cannot_remove_required\"}", NULL, -EPROTO,
     STACK_REQUIRED, NULL},
    {400, "application/json", "{\"detail\": \"already_required\"}", NULL, -EPROTO, STACK_REQUIRED,
     NULL},
    {403, "application/json", "{\"detail\": \"no_grant\"}", NULL, -EACCES, STACK_NO_GRANT, NULL},
    {403, "application/json", "{\"detail\": \"co_session cannot\"}", NULL, -EACCES,
     STACK_SHARED_SESSION, NULL},
    {400, "application/json", "{\"detail\": \"unknown_resource_type:x\"}", NULL, -EPROTO,
     STACK_REFUSED, "unknown_resource_type:x"},
    {403, "text/html", "<html>", NULL, -EACCES, STACK_NOT_REFUSED, NULL},
    {400, "application/json", "{\"detail\": [{\"type\": \"missing\"}]}", NULL, -EPROTO,
     STACK_NOT_REFUSED, "the server answered 400"},
    {400, "application/json", "{\"detail\": 7", NULL, -EPROTO, STACK_NOT_REFUSED, NULL},
    {401, "application/json", "{\"detail\": \"no_grant\"}", NULL, -EACCES, STACK_NOT_REFUSED, NULL},
    {503, "text/html", "<html>", NULL, -EAGAIN, STACK_NOT_REFUSED, NULL},
    {200, "text/html", "<html>", NULL, -EPROTO, STACK_NOT_REFUSED, NULL},
    {302, "", "", "Location: https://new.example.com/x?secret=1\r\n", -EPROTO, STACK_NOT_REFUSED,
     "moved to https://new.example.com/x, not followed (302)"},
};

static void answers_to_a_change(void **state)
{
    scoped(source_freep) struct source *source = NULL;
    scoped(caller_freep) struct caller *caller = NULL;
    struct http_server *server = http_server_new();
    scoped_free char *url = http_server_url(server, "");
    struct stack_entry entry = {.section = TREE_PACKAGES, .id = (char *)"a/b ?"};
    const char *path = "/api/stack/subscription/data_package/a%2Fb%20%3F";

    assert_int_equal(source_parse(url, &source), 0);

    const struct caller_conf conf = {.source = source, .proxy = "", .timeout_s = 10};

    assert_int_equal(caller_new(&conf, &caller), 0);
    for (size_t i = 0; i < sizeof(trials) / sizeof(*trials); i++) {
        const struct trial *trial = &trials[i];
        char message[STACK_MESSAGE_SIZE] = "";
        enum stack_refusal refusal;

        http_server_forget(server, path);
        http_server_answer(server, path,
                           &(struct http_answer){.status = trial->status,
                                                 .type = trial->type,
                                                 .headers = trial->headers,
                                                 .body = trial->body,
                                                 .size = strlen(trial->body)});
        print_message("%d %s\n", trial->status, trial->body);
        assert_int_equal(stack_remove(caller, &entry, &refusal, message), trial->error);
        assert_int_equal(refusal, trial->refusal);
        if (trial->message)
            assert_string_equal(message, trial->message);
        assert_int_equal(strncmp(http_server_request(server, i), "DELETE ", 7), 0);
    }
    http_server_free(server);
}

static void answer_that_is_too_long_is_cut_off(void **state)
{
    scoped(source_freep) struct source *source = NULL;
    scoped(caller_freep) struct caller *caller = NULL;
    scoped(caller_answer_release) struct caller_answer answer = {.status = 0};
    struct http_server *server = http_server_new();
    scoped_free char *url = http_server_url(server, "");

    http_server_answer(server, "/x",
                       &(struct http_answer){.type = "application/json",
                                             .body = "0123456789",
                                             .size = 10,
                                             .no_length = true});
    assert_int_equal(source_parse(url, &source), 0);

    const struct caller_conf conf = {.source = source, .proxy = "", .timeout_s = 10};
    struct caller_request request = {.path = "/x", .limit = 9};

    assert_int_equal(caller_new(&conf, &caller), 0);
    assert_int_equal(caller_call(caller, &request, &answer), -EPROTO);
    assert_non_null(strstr(answer.message, "longer than"));
    caller_answer_release(&answer);
    request.limit = 10;
    assert_int_equal(caller_call(caller, &request, &answer), 0);
    assert_string_equal(answer.text, "0123456789");
    http_server_free(server);
}

static void static_stack_has_no_endpoints(void **state)
{
    scoped(source_freep) struct source *source = NULL;
    scoped(caller_freep) struct caller *caller = NULL;
    struct stack *stack = NULL;
    char message[STACK_MESSAGE_SIZE];

    assert_int_equal(source_parse("/srv/stack", &source), 0);

    const struct caller_conf conf = {.source = source, .proxy = "", .timeout_s = 10};

    assert_int_equal(caller_new(&conf, &caller), 0);
    assert_int_equal(stack_fetch(caller, &stack, message), -ENOTSUP);
}

int main(void)
{
#define test(name) cmocka_unit_test_setup_teardown(name, enter, leave)
    const struct CMUnitTest tests[] = {
        test(entries_are_read),
        test(what_is_no_list_is_refused),
        test(odd_entries_are_dropped_and_counted),
        test(wrong_types_are_read_as_absent),
        test(same_id_twice_is_one_entry),
        test(huge_lists_are_read),
        test(manifest_without_sense_gives_no_slugs),
        test(names_are_slugs_then_paths_then_ids_then_names),
        test(label_is_the_folder_or_else_the_id),
        cmocka_unit_test(answers_to_a_change),
        cmocka_unit_test(answer_that_is_too_long_is_cut_off),
        cmocka_unit_test(static_stack_has_no_endpoints),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
