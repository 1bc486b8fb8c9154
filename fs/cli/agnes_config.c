/* SPDX-License-Identifier: MIT */
/* agnes_config.c - libyaml reads the file event by event; only keys of the outermost mapping count,
 * so a `server:` inside something else is never taken for ours. Aliases are not followed. Built
 * without libyaml, a line at the left margin counts, as the agnes CLI writes it. */
#include "fs/cli/agnes_config.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifdef HAVE_LIBYAML
#include <yaml.h>
#endif

#include "cache/scoped.h"

int agnes_config_path(const char *name, char **ret_path)
{
    const char *folder = getenv("AGNES_CONFIG_DIR");
    const char *home = getenv("HOME");
    int length;

    if (folder && *folder)
        length = asprintf(ret_path, "%s/%s", folder, name);
    else if (home && *home)
        length = asprintf(ret_path, "%s/.config/agnes/%s", home, name);
    else
        return -ENOENT;
    return length < 0 ? -ENOMEM : 0;
}

static void close_file(FILE *const *file)
{
    if (*file)
        fclose(*file);
}

#ifdef HAVE_LIBYAML

struct reading {
    int depth;        /* of collections that are open */
    bool expects_key; /* at depth 1 */
    bool is_server;   /* the key just read */
    char *server;
};

static int take_scalar(struct reading *reading, const yaml_event_t *event)
{
    const char *text = (const char *)event->data.scalar.value;

    if (reading->depth == 0)
        return -EINVAL;
    if (reading->depth > 1)
        return 0;
    if (reading->expects_key) {
        reading->is_server = strcmp(text, "server") == 0;
    } else if (reading->is_server) {
        free(reading->server);
        reading->server = strdup(text);
        if (!reading->server)
            return -ENOMEM;
    }
    reading->expects_key = !reading->expects_key;
    return 0;
}

static int take_event(struct reading *reading, const yaml_event_t *event)
{
    switch (event->type) {
    case YAML_SCALAR_EVENT: return take_scalar(reading, event);
    case YAML_SEQUENCE_START_EVENT:
    case YAML_MAPPING_START_EVENT:
        if (reading->depth == 0 && event->type != YAML_MAPPING_START_EVENT)
            return -EINVAL;
        if (reading->depth == 1 && (reading->expects_key || reading->is_server))
            return -EINVAL;
        if (reading->depth++ == 0)
            reading->expects_key = true;
        return 0;
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        if (--reading->depth == 1)
            reading->expects_key = true;
        return 0;
    case YAML_ALIAS_EVENT:
        if (reading->depth == 1 && (reading->expects_key || reading->is_server))
            return -EINVAL;
        if (reading->depth == 1)
            reading->expects_key = true;
        return 0;
    default: return 0;
    }
}

/* Until the end of the first document; -EINVAL when it is not what we understand. */
static int read_events(yaml_parser_t *parser, struct reading *reading)
{
    bool ended = false;
    int r = 0;

    while (r == 0 && !ended) {
        yaml_event_t event;

        if (!yaml_parser_parse(parser, &event))
            return -EINVAL;
        r = take_event(reading, &event);
        ended = event.type == YAML_DOCUMENT_END_EVENT || event.type == YAML_STREAM_END_EVENT;
        yaml_event_delete(&event);
    }
    return r;
}

static int find_server(FILE *file, char **ret_server, char ret_why[static 160])
{
    struct reading reading = {0};
    yaml_parser_t parser;

    if (!yaml_parser_initialize(&parser))
        return -ENOMEM;
    yaml_parser_set_input_file(&parser, file);

    int r = read_events(&parser, &reading);

    if (r == -EINVAL)
        snprintf(ret_why, 160, "line %zu: %s", parser.mark.line + 1,
                 parser.problem ? parser.problem : "not a mapping with a plain server: in it");
    yaml_parser_delete(&parser);
    *ret_server = reading.server;
    return r;
}

#else

/* VALUE, "VALUE" or 'VALUE', then blanks or a comment. In place; NULL: something else. */
static char *plain_value(char *text)
{
    char *start = text + strspn(text, " \t");
    char quote = *start == '"' || *start == '\'' ? *start++ : '\0';
    char *end = start + (quote ? strcspn(start, (char[]){quote, '\0'}) : strcspn(start, " \t\r\n"));
    char *rest = end + (quote && *end == quote);

    if ((quote && *end != quote) || (!quote && *start && strchr("\\{}[]&*!|>%@`", *start)))
        return NULL;
    rest += strspn(rest, " \t\r\n");
    if (*rest && *rest != '#')
        return NULL;
    *end = '\0';
    return start;
}

static int find_server(FILE *file, char **ret_server, char ret_why[static 160])
{
    scoped_free char *line = NULL;
    size_t room = 0;

    while (getline(&line, &room, file) > 0) {
        if (strncmp(line, "server:", 7) != 0 || !strchr(" \t\r\n", line[7]))
            continue;

        const char *value = plain_value(line + 7);

        if (!value) {
            snprintf(ret_why, 160, "server: is not a plain or quoted word");
            return -EINVAL;
        }
        free(*ret_server);
        *ret_server = strdup(value);
        if (!*ret_server)
            return -ENOMEM;
    }
    return 0;
}

#endif

int agnes_config_server(const char *path, char **ret_server, char ret_why[static 160])
{
    scoped(close_file) FILE *file = fopen(path, "re");
    scoped_free char *server = NULL;

    if (!file)
        return errno == ENOTDIR ? -ENOENT : negative_errno();

    int r = find_server(file, &server, ret_why);

    if (r < 0)
        return r;
    if (!server || !*server)
        return -ENOENT;
    *ret_server = take_ptr(server);
    return 0;
}
