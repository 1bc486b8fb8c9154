/* SPDX-License-Identifier: MIT */
/* harden.c - the order: capabilities first, since the folders are then opened for Landlock with what
 * will be left of them; no_new_privs before Landlock and seccomp, which ask for it; seccomp last,
 * since it forbids all the rest.
 *
 * Root may have put its folders below somebody else's home, where only its capabilities lead. They
 * are tried without; if one can not be reached, CAP_DAC_READ_SEARCH is kept, and said.
 *
 * Numbers that Debian 12 has no name for are those of linux/landlock.h and linux/prctl.h. */
#include "fs/cli/harden.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "cache/scoped.h"

enum {
    ACCESS_READ = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR,
    ACCESS_REFER = 1 << 13,
    ACCESS_TRUNCATE = 1 << 14,
    ACCESS_IOCTL_DEV = 1 << 15,
    ACCESS_OWN = ACCESS_READ | ACCESS_REFER | ACCESS_TRUNCATE | LANDLOCK_ACCESS_FS_WRITE_FILE |
                 LANDLOCK_ACCESS_FS_REMOVE_DIR | LANDLOCK_ACCESS_FS_REMOVE_FILE |
                 LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG |
                 LANDLOCK_ACCESS_FS_MAKE_SOCK,
    ACCESS_OF_FILES = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE |
                      ACCESS_TRUNCATE,
    NET_BIND_TCP = 1 << 0,
    SCOPE_SIGNAL = 1 << 1,
    SET_MDWE = 65,
    MDWE_REFUSE_EXEC_GAIN = 1,
};

/* Sanitizers write reports where they were told to, and debug their own process at its end. */
#ifdef AGNESFS_SANITIZED
enum { SANITIZED = 1 };
#else
enum { SANITIZED = 0 };
#endif

/* What the C library, libcurl and OpenSSL read at any time: names, networks, certificates, modules. */
static const char *const system_places[] = {
    "/etc",         "/usr",  "/lib", "/lib64", "/nix/store", "/sys/devices/system/cpu",
    "/dev/urandom", "/proc", NULL,
};

static void miss(struct harden_facts *facts, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* The first reason is kept. */
static void miss(struct harden_facts *facts, const char *format, ...)
{
    va_list args;

    if (facts->why_not[0])
        return;
    va_start(args, format);
    vsnprintf(facts->why_not, sizeof(facts->why_not), format, args);
    va_end(args);
}

static int count_threads(void)
{
    scoped_dir DIR *dir = opendir("/proc/self/task");
    int count = 0;

    for (const struct dirent *entry = dir ? readdir(dir) : NULL; entry; entry = readdir(dir))
        count += entry->d_name[0] != '.';
    return count;
}

/* --- capabilities --- */

static uint64_t bit(unsigned capability)
{
    return UINT64_C(1) << capability;
}

static uint64_t get_capabilities(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {0};

    syscall(SYS_capget, &header, data);
    return (uint64_t)data[1].permitted << 32 | data[0].permitted;
}

static void set_capabilities(uint64_t permitted, uint64_t effective)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {
        {.permitted = (uint32_t)permitted, .effective = (uint32_t)effective},
        {.permitted = (uint32_t)(permitted >> 32), .effective = (uint32_t)(effective >> 32)},
    };

    syscall(SYS_capset, &header, data);
}

/* Not to be had back by any program or identity. */
static void drop_bounds(uint64_t kept)
{
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    for (unsigned capability = 0; capability < 64; capability++)
        if (!(kept & bit(capability)))
            prctl(PR_CAPBSET_DROP, capability, 0, 0, 0);
}

static bool is_out_of_reach(const char *const *places)
{
    struct stat st;

    for (const char *const *at = places; *at; at++)
        if (stat(*at, &st) < 0 && errno == EACCES)
            return true;
    return false;
}

static void give_up_capabilities(const struct harden_conf *conf, struct harden_facts *facts)
{
    uint64_t had = get_capabilities();
    uint64_t kept = had & (conf->passthrough ? bit(CAP_SYS_ADMIN) : 0);
    uint64_t search = had & bit(CAP_DAC_READ_SEARCH);
    uint64_t bounding = had & bit(CAP_SETPCAP);

    set_capabilities(kept | search | bounding, kept | bounding);
    if (search && (is_out_of_reach(conf->own) || is_out_of_reach(conf->read))) {
        miss(facts, "CAP_DAC_READ_SEARCH is kept: a folder of ours lies in one of another user");
        kept |= search;
    }
    drop_bounds(kept);
    set_capabilities(kept, kept);
}

/* --- files --- */

static int get_version(void)
{
    long version = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);

    return version < 0 ? negative_errno() : (int)version;
}

/* All that this version can forbid. Its fields: fs, net, scope. */
static void handled_by(int version, uint64_t ret_handled[static 3])
{
    uint64_t fs = ACCESS_REFER * 2 - 1;

    if (version >= 3)
        fs |= ACCESS_TRUNCATE;
    if (version >= 5)
        fs |= ACCESS_IOCTL_DEV;
    ret_handled[0] = fs;
    ret_handled[1] = version >= 4 ? NET_BIND_TCP : 0;
    ret_handled[2] = version >= 6 ? SCOPE_SIGNAL : 0;
}

static int allow(int rules, const char *path, uint64_t access)
{
    scoped_fd int fd = open(path, O_PATH | O_CLOEXEC);
    struct landlock_path_beneath_attr rule = {.allowed_access = access, .parent_fd = fd};
    struct stat st;

    if (fd < 0)
        return errno == ENOENT || errno == ENOTDIR || errno == EACCES ? 0 : negative_errno();
    if (fstat(fd, &st) < 0)
        return negative_errno();
    if (!S_ISDIR(st.st_mode))
        rule.allowed_access &= ACCESS_OF_FILES;
    return syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) < 0
               ? negative_errno()
               : 0;
}

static int allow_all(int rules, const char *const *places, uint64_t access)
{
    int r = 0;

    for (const char *const *at = places; r == 0 && *at; at++)
        r = allow(rules, *at, access);
    return r;
}

/* resolv.conf is often a link to where somebody else writes it anew. */
static int allow_resolver(int rules, uint64_t access)
{
    scoped_free char *path = realpath("/etc/resolv.conf", NULL);

    if (!path)
        return 0;
    *strrchr(path, '/') = '\0';
    return *path ? allow(rules, path, access) : 0;
}

/* The first version can not move a file between folders, as every commit does. */
static int give_up_files(const struct harden_conf *conf, int version)
{
    uint64_t handled[3];
    size_t size = version >= 6 ? 3 : version >= 4 ? 2 : 1;

    handled_by(version, handled);

    scoped_fd int rules = (int)syscall(SYS_landlock_create_ruleset, handled,
                                       size * sizeof(handled[0]), 0);
    int r = rules < 0 ? negative_errno() : 0;

    if (r == 0)
        r = allow_all(rules, conf->own, ACCESS_OWN & handled[0]);
    if (r == 0)
        r = allow_all(rules, conf->read, ACCESS_READ);
    if (r == 0)
        r = allow_all(rules, system_places, ACCESS_READ);
    if (r == 0)
        r = allow(rules, "/dev/null", ACCESS_READ | LANDLOCK_ACCESS_FS_WRITE_FILE);
    if (r == 0)
        r = allow_resolver(rules, ACCESS_READ);
    if (r == 0 && syscall(SYS_landlock_restrict_self, rules, 0) < 0)
        r = negative_errno();
    return r;
}

static void try_files(const struct harden_conf *conf, struct harden_facts *facts)
{
    int version = get_version();
    int r = version;

    if (version >= 2)
        r = give_up_files(conf, version);
    else if (version >= 0)
        r = -ENOSYS;
    if (r == 0)
        facts->landlock = version;
    else
        miss(facts, "no Landlock: %s",
             r == -ENOSYS || r == -EOPNOTSUPP ? "not in this kernel, or before Linux 5.19"
                                              : strerror(-r));
}

/* --- all of it --- */

static void try_calls(const struct harden_conf *conf, struct harden_facts *facts)
{
    int r = harden_calls(conf->io_uring);

    facts->seccomp = r == 0;
    if (r < 0)
        miss(facts, "no seccomp filter: %s",
             r == -ENOTSUP ? "not made for this machine" : strerror(-r));
}

static void give_up(const struct harden_conf *conf, struct harden_facts *facts)
{
    give_up_capabilities(conf, facts);
    facts->no_new_privs = prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0;
    if (SANITIZED) {
        miss(facts, "built with a sanitizer");
        return;
    }
    prctl(SET_MDWE, MDWE_REFUSE_EXEC_GAIN, 0, 0, 0);
    try_files(conf, facts);
    try_calls(conf, facts);
}

int harden_enter(const struct harden_conf *conf, struct harden_facts *ret_facts)
{
    struct harden_facts facts = {.why_not = ""};

    if (conf && !SANITIZED && count_threads() > 1) /* a sanitizer has one of its own */
        return -EBUSY;
    if (conf)
        give_up(conf, &facts);
    else
        miss(&facts, "switched off");
    facts.capabilities = get_capabilities();
    *ret_facts = facts;
    return 0;
}
