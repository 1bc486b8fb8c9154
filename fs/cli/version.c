/* SPDX-License-Identifier: MIT */
/* version.c - each library is asked by the folder that links it. */
#include "fs/cli/version.h"

#include <stdlib.h>

#include "cache/digest.h"
#include "cache/scoped.h"
#include "fs/cli/document.h"
#include "fs/mount.h"
#include "sync/fetch.h"
#include "sync/json.h"

#if defined(__x86_64__)
#define MACHINE "x86_64"
#elif defined(__aarch64__)
#define MACHINE "aarch64"
#else
#define MACHINE "another machine"
#endif

struct library {
    const char *name;
    const char *version;
    const char *with; /* what it was built on; NULL: nothing worth telling */
};

struct versions {
    char openssl[DIGEST_VERSION_SIZE];
    char xxhash[DIGEST_VERSION_SIZE];
    struct library libraries[8]; /* ends with a NULL name */
    const char *features[8];     /* sorted; ends with NULL */
};

static void find_versions(struct versions *ret_versions)
{
    struct library *library = ret_versions->libraries;
    const char **feature = ret_versions->features;
    const char *curl;
    const char *tls;

    *ret_versions = (struct versions){0};
    fetch_versions(&curl, &tls);
    digest_versions(ret_versions->openssl, ret_versions->xxhash);
    *library++ = (struct library){"libfuse", mount_library_version(), NULL};
    *library++ = (struct library){"libcurl", curl, tls};
    *library++ = (struct library){"cJSON", json_library_version(), NULL};
    *library++ = (struct library){"xxHash", ret_versions->xxhash, NULL};
    *library++ = (struct library){"OpenSSL", ret_versions->openssl, NULL};
#ifdef HAVE_SYSTEMD
    *library++ = (struct library){"libsystemd", SYSTEMD_VERSION, NULL};
#endif
    if (mount_knows_uring())
        *feature++ = "io_uring";
    *feature++ = "landlock";
    *feature++ = "passthrough";
#ifdef AGNESFS_SANITIZED
    *feature++ = "sanitizers";
#endif
    *feature++ = "seccomp";
#ifdef HAVE_SYSTEMD
    *feature++ = "systemd";
#endif
}

static void print_text(const struct versions *versions, FILE *file)
{
    fputs("agnesfs " AGNESFS_VERSION " (" MACHINE ")", file);
    for (const struct library *library = versions->libraries; library->name; library++) {
        fprintf(file, " %s/%s", library->name, library->version);
        if (library->with)
            fprintf(file, " (%s)", library->with);
    }
    fputs("\nFeatures:", file);
    for (const char *const *feature = versions->features; *feature; feature++)
        fprintf(file, " %s", *feature);
    fputc('\n', file);
}

static int add_all(struct json *root, const struct versions *versions)
{
    int r = json_add_string(root, "version", AGNESFS_VERSION);
    struct json *libraries;
    struct json *features;

    r |= json_add_string(root, "machine", MACHINE);
    libraries = json_add_object(root, "libraries");
    features = json_add_array(root, "features");
    if (!libraries || !features)
        return -1;
    for (const struct library *library = versions->libraries; library->name; library++) {
        r |= json_add_string(libraries, library->name, library->version);
        if (library->with)
            r |= json_add_string(libraries, "TLS", library->with);
    }
    for (const char *const *feature = versions->features; *feature; feature++)
        r |= json_add_string(features, NULL, *feature);
    return r;
}

void version_print(bool json, FILE *file)
{
    scoped(json_freep) struct json *root = NULL;
    scoped_free char *text = NULL;
    struct versions versions;
    size_t size;

    find_versions(&versions);
    if (!json)
        print_text(&versions, file);
    else if ((root = document_new()) && add_all(root, &versions) == 0 &&
             json_print(root, true, &text, &size) == 0)
        fputs(text, file);
}
