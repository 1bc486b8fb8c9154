/* SPDX-License-Identifier: MIT */
/* verb_verify.c - the state file says what should be there, the audit says what is.
 *
 * A state file that can not be read names nothing: then no blob is called an orphan, let alone
 * removed, on its word. Repair is audit, fetch, audit again, and only the second audit counts; with
 * an unreadable state the fetch comes first, since it writes a new one. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cache/scoped.h"
#include "cache/sweep.h"
#include "fs/cli/document.h"
#include "fs/cli/format.h"
#include "fs/cli/progress.h"
#include "fs/cli/session.h"
#include "sync/state.h"

struct finding {
    const char *kind; /* not owned */
    char *path;
    char *name; /* the first name of the blob in that file, "" if it has none */
    bool mended;
};

struct findings {
    struct finding *all;
    size_t count;
};

struct verification {
    const struct options *options;
    struct session session;
    struct state state;
    bool state_known;
    struct findings found;
    int error; /* no memory for the findings */
};

/* --- findings --- */

static void findings_release(struct findings *findings)
{
    for (size_t i = 0; i < findings->count; i++) {
        free(findings->all[i].path);
        free(findings->all[i].name);
    }
    free(findings->all);
    *findings = (struct findings){0};
}

static void verification_release(struct verification *verification)
{
    findings_release(&verification->found);
    state_release(&verification->state);
    session_close(&verification->session);
}

static void name_of_file(const struct tree *tree, const char *path,
                         char ret_name[static TREE_PATH_MAX])
{
    const char *slash = strrchr(path, '/');
    const struct tree_blob *blob = NULL;
    struct blob_key key;

    if (tree && blob_key_parse(slash ? slash + 1 : path, &key) == 0)
        blob = tree_blob_find(tree, &key);
    if (!blob || blob->references == 0 ||
        tree_path(tree, tree_reference(tree, blob->first), ret_name, TREE_PATH_MAX) < 0)
        ret_name[0] = '\0';
}

/* Consumes the finding, also on failure. */
static int findings_add(struct findings *findings, struct finding finding)
{
    struct finding *longer = reallocarray(findings->all, findings->count + 1, sizeof(finding));

    if (longer)
        findings->all = longer;
    if (!longer || !finding.path || !finding.name) {
        free(finding.path);
        free(finding.name);
        return -ENOMEM;
    }
    findings->all[findings->count++] = finding;
    return 0;
}

static void take_finding(struct verification *verification, const char *kind, const char *path,
                         bool mended)
{
    char name[TREE_PATH_MAX];

    name_of_file(verification->state.tree, path, name);
    if (findings_add(&verification->found,
                     (struct finding){kind, strdup(path), strdup(name), mended}) < 0)
        verification->error = -ENOMEM;
}

static void audit_found(void *arg, const struct audit_finding *finding)
{
    struct verification *verification = arg;

    if (finding->kind == AUDIT_ORPHAN && !verification->state_known)
        return;
    take_finding(verification, audit_kind_name(finding->kind), finding->path, finding->mended);
}

static bool findings_have(const struct findings *findings, const struct finding *wanted)
{
    for (size_t i = 0; i < findings->count; i++)
        if (strcmp(findings->all[i].kind, wanted->kind) == 0 &&
            strcmp(findings->all[i].path, wanted->path) == 0)
            return true;
    return false;
}

/* What was found before and is not found again has been mended. */
static int findings_merge(struct findings *now, struct findings *before)
{
    int r = 0;

    for (size_t i = 0; i < before->count; i++) {
        struct finding finding = before->all[i];

        before->all[i] = (struct finding){0};
        if (findings_have(now, &finding)) {
            free(finding.path);
            free(finding.name);
            continue;
        }
        finding.mended = true;
        if (findings_add(now, finding) < 0)
            r = -ENOMEM;
    }
    return r;
}

static size_t findings_remaining(const struct findings *findings)
{
    size_t remaining = 0;

    for (size_t i = 0; i < findings->count; i++)
        remaining += !findings->all[i].mended;
    return remaining;
}

/* --- looking --- */

static int load_state(struct verification *verification, struct complaint *ret_complaint)
{
    char why[160] = "";
    char text[256];
    bool previous = false;
    int r;

    state_release(&verification->state);
    verification->state = (struct state){0};
    r = state_load(store_dirfd(verification->session.store), NULL, NULL, &verification->state,
                   &previous, why);
    verification->state_known = r == 0 || r == -ENOENT;
    if (r == -EBADMSG || previous) {
        snprintf(text, sizeof(text), "%s", previous ? "the one before it had to do" : why);
        take_finding(verification, "state file unreadable", text, false);
        return 0;
    }
    if (r < 0 && r != -ENOENT)
        return complain(ret_complaint, EXIT_DISK, verification->session.cache_dir, "%s",
                        strerror(-r));
    return 0;
}

/* Every key of the generation, in order: the tree keeps its blobs sorted. */
static struct blob_key *tree_keys(const struct tree *tree, size_t *ret_count)
{
    size_t count = tree ? tree_blob_count(tree) : 0;
    struct blob_key *keys = calloc(count + 1, sizeof(*keys));

    for (size_t i = 0; keys && i < count; i++)
        keys[i] = tree_blob(tree, (uint32_t)i)->key;
    *ret_count = count;
    return keys;
}

struct hashing {
    struct progress *progress;
    uint64_t total;
};

static void show_hashing(void *arg, uint64_t bytes_done)
{
    const struct hashing *hashing = arg;

    progress_show(hashing->progress, &(struct progress_state){.idle = "looking at every file",
                                                              .bytes_total = hashing->total,
                                                              .bytes_done = bytes_done});
}

/* What the audit will read, by all that is known. */
static uint64_t bytes_to_hash(const struct verification *verification)
{
    const struct tree *tree = verification->state.tree;
    uint64_t bytes = 0;

    for (uint32_t i = 0; tree && i < tree_blob_count(tree); i++)
        if (store_expects(verification->session.store, &tree_blob(tree, i)->key))
            bytes += tree_blob(tree, i)->key.size;
    return bytes;
}

static int audit(struct verification *verification, bool repair, struct complaint *ret_complaint)
{
    const struct options *options = verification->options;
    bool silent = options_flag(options, FLAG_QUIET) || options_flag(options, FLAG_JSON);
    scoped(progress_freep) struct progress *progress = progress_new(stderr, silent);
    struct hashing hashing = {progress, bytes_to_hash(verification)};
    bool all = strcmp(options_text(options, OPTION_PREFETCH), "all") == 0;
    const struct audit_options how = {.deep = true,
                                      .repair = repair && verification->state_known,
                                      .progress = progress ? show_hashing : NULL,
                                      .progress_arg = &hashing};
    struct tree *tree = verification->state.tree;
    size_t count;
    scoped_free struct blob_key *keys = tree_keys(tree, &count);
    size_t wanted;
    scoped(tree_unrefp) struct tree *view = tree ? tree_ref(tree) : NULL;
    int r = view ? session_view(&verification->session, NULL, NULL, &view) : 0;
    scoped_free struct blob_key *shown = tree_keys(r == 0 ? view : NULL, &wanted);
    const struct store_keep keep = {keys, count};
    const struct store_keep expected = {shown, all ? wanted : 0};

    if (r == 0)
        r = keys && shown ? store_audit(verification->session.store, &keep, &expected, &how,
                                        audit_found, verification)
                          : -ENOMEM;
    if (r == 0)
        r = verification->error;
    if (r < 0)
        return complain(ret_complaint, exit_code_of(r), verification->session.cache_dir, "%s",
                        strerror(-r));
    return 0;
}

/* --- mending --- */

/* Fetches what is missing. Rows that can not be had are said here; the audit after it counts. */
static int fill(struct verification *verification, struct complaint *ret_complaint)
{
    struct session *session = &verification->session;
    scoped(report_freep) struct report *report = NULL;
    int r = session_refresh(session, REFRESH_FILL, &report, ret_complaint);

    if (r == 0 && report->error)
        r = complain_refresh(ret_complaint, session_source(session), session->discovery.origin,
                             token_present(session->token), report->error, report->message);
    for (size_t i = 0; r == 0 && i < report->error_count; i++)
        warn(report->errors[i].name, "%s", report->errors[i].reason);
    return r;
}

static int run(struct verification *verification, struct complaint *ret_complaint)
{
    bool repair = options_flag(verification->options, FLAG_REPAIR);
    int r = load_state(verification, ret_complaint);

    if (r == 0)
        r = audit(verification, repair, ret_complaint);
    if (r < 0 || !repair)
        return r;
    if ((r = fill(verification, ret_complaint)) < 0)
        return r;

    scoped(findings_release) struct findings before = verification->found;

    verification->found = (struct findings){0};
    if ((r = load_state(verification, ret_complaint)) < 0 ||
        (r = audit(verification, true, ret_complaint)) < 0)
        return r;
    if (findings_merge(&verification->found, &before) < 0)
        return complain(ret_complaint, EXIT_FAILED, "verify", "out of memory");
    return 0;
}

/* --- the verdict --- */

static void print_finding(const struct finding *finding)
{
    printf("%s: ", finding->kind);
    print_escaped(stdout, finding->path);
    if (*finding->name) {
        fputs(" (", stdout);
        print_escaped(stdout, finding->name);
        fputc(')', stdout);
    }
    puts(finding->mended ? " - mended" : "");
}

static int add_finding(struct json *list, const struct finding *finding)
{
    struct json *object = json_add_object(list, NULL);

    if (!object)
        return -ENOMEM;

    int r = json_add_string(object, "kind", finding->kind);

    r |= json_add_string(object, "path", finding->path);
    r |= json_add_string(object, "name", *finding->name ? finding->name : NULL);
    r |= json_add_bool(object, "mended", finding->mended);
    return r < 0 ? -ENOMEM : 0;
}

static int print_json(const struct findings *findings)
{
    scoped(json_freep) struct json *root = document_new();
    struct json *list = root ? json_add_array(root, "findings") : NULL;
    int r = list ? 0 : -ENOMEM;

    for (size_t i = 0; r == 0 && i < findings->count; i++)
        r = add_finding(list, &findings->all[i]);
    return r < 0 ? r : document_print(root);
}

static int show(struct verification *verification, struct complaint *ret_complaint)
{
    const struct options *options = verification->options;
    const struct tree *tree = verification->state.tree;
    size_t remaining = findings_remaining(&verification->found);
    char files[FORMAT_SIZE];

    if (options_flag(options, FLAG_JSON))
        return print_json(&verification->found) == 0
                   ? 0
                   : complain(ret_complaint, EXIT_FAILED, "verify", "out of memory");
    for (size_t i = 0; i < verification->found.count; i++)
        print_finding(&verification->found.all[i]);
    if (remaining > 0) {
        complain(ret_complaint, EXIT_INTEGRITY, verification->session.cache_dir,
                 "%zu not as it should be", remaining);
        if (!options_flag(options, FLAG_REPAIR))
            complaint_hint(ret_complaint, "agnesfs verify --repair");
        return -EBADMSG;
    }
    if (!options_flag(options, FLAG_QUIET)) {
        format_count(tree ? tree_blob_count(tree) : 0, "file", "files", files);
        printf("all as it should be: %s\n", files);
    }
    return 0;
}

int verb_verify(const struct options *options)
{
    scoped(verification_release) struct verification verification = {.options = options};
    bool repair = options_flag(options, FLAG_REPAIR);
    struct complaint complaint;

    if (session_open(options, options_operand(options, 0), repair ? STORE_WRITER : STORE_READER,
                     &verification.session, &complaint) < 0 ||
        run(&verification, &complaint) < 0 || show(&verification, &complaint) < 0)
        return complaint_print(&complaint, options_flag(options, FLAG_JSON));
    return findings_remaining(&verification.found) > 0 ? EXIT_INTEGRITY : EXIT_OK;
}
