"""Every system call that changes a file system, on every kind of node: EROFS, and nothing changed.

mutate.c makes the calls. What can not be EROFS is listed with its reason.
"""

import collections
import errno
import hashlib
import os
import pwd
import subprocess
from pathlib import Path

import pytest

from tests.e2e.test_users import agnes as agnes_of_user  # noqa: F401 the fixtures
from tests.e2e.test_users import folder, place, users  # noqa: F401
from tests.lib.agnesfs import BINARY
from tests.lib.stack import Stack, parquet

BUILD = Path(os.environ.get("AGNESFS_BUILD") or Path(BINARY).parent)
MUTATE = BUILD / "tests/crash/mutate"

# A descriptor on a read-only mount can only be one to read from; the kernel says so first.
BY_DESCRIPTOR = {
    **dict.fromkeys(("write", "pwrite", "writev", "pwritev", "pwritev2", "fallocate",
                     "fallocate-punch", "posix_fallocate", "copy_file_range", "sendfile", "splice",
                     "ioctl-ficlone", "ioctl-ficlonerange"), errno.EBADF),
    "ftruncate": errno.EINVAL,
    "mmap-shared-write": errno.EACCES,
}

# The mount point itself is a name in the folder above, and in use.
OF_THE_ROOT = {
    **dict.fromkeys(("rename", "renameat", "renameat2-noreplace", "renameat2-whiteout", "rmdir",
                     "unlinkat-removedir", "remove"), errno.EBUSY),
    "unlink": errno.EISDIR, "unlinkat": errno.EISDIR, "renameat2-exchange": errno.ENOENT,
}

# Asked of the caller before the file is looked at; and the folder above is not theirs.
OF_USERS = dict.fromkeys(("acct", "swapon"), errno.EPERM)
OF_THEIR_ROOT = {call: errno.EACCES for call in OF_THE_ROOT if call != "renameat2-exchange"}

NODES = ["", "data", "data/sales", "data/sales/orders.parquet", "data/sales/README.md",
         "data/_direct", "data/_direct/prices.parquet", "data/events/clicks",
         "data/events/clicks/month=06", "data/events/clicks/month=06/data.parquet",
         "memory/finance", "memory/finance/bundle.md", "README.md", ".agnes",
         ".agnes/status.json", ".agnes/duckdb.sql", ".agnes/generation"]


def filled(stack):
    stack.add_package("sales", stack.add_table("orders", parquet(rows=100)))
    stack.add_package("events", stack.add_table("clicks", {"month=06/data.parquet": parquet()}))
    stack.add_direct(stack.add_table("prices", parquet(rows=3)))
    stack.add_domain("finance", "# Finance\n")
    stack.write()
    return stack


def everything(root):
    """All that can be seen of a tree: names, attributes, bytes. Of live documents not the bytes."""
    found = {}
    for where, folders, names in os.walk(root):
        for name in [".", *folders, *names]:
            path = Path(where, name)
            st = path.stat()
            live = path.name in ("status.json", "generation")
            body = path.read_bytes() if path.is_file() and not live else b""
            found[str(path.relative_to(root))] = (
                st.st_mode, st.st_nlink, st.st_uid, st.st_gid, st.st_ino, os.listxattr(path),
                *(() if live else (st.st_size, st.st_mtime_ns)), hashlib.md5(body).hexdigest())
    return found


def results(mount, node, tool=MUTATE, **identity):
    """{call: errno}; calls that this kernel has not are left out."""
    done = subprocess.run([tool, mount.path / node], capture_output=True, text=True, timeout=30,
                          check=False, **identity)
    assert done.returncode == 0, done
    found = {name: int(number) for name, number in map(str.split, done.stdout.splitlines())}
    newer = ("fchmodat2", "setxattrat", "removexattrat")
    return {call: number for call, number in found.items()
            if not (call in newer and number == errno.ENOSYS)}


def expected(node, calls, of_all=(), of_root=()):
    exceptions = BY_DESCRIPTOR | dict(of_all) | ({} if node else OF_THE_ROOT | dict(of_root))
    return {call: exceptions.get(call, errno.EROFS) for call in calls}


def differences(found, wanted):
    def words(number):
        return errno.errorcode.get(number, number)
    return {call: f"{words(number)}, not {words(wanted[call])}" for call, number in found.items()
            if number != wanted[call]}


def test_no_call_changes_anything_on_any_node(agnes, stack):
    filled(stack)
    with agnes.mount(stack.url) as mount:
        assert {path for path in NODES if not (mount / path).exists()} == set()
        before = everything(mount.path)
        assert len(before) >= len(NODES)
        cells = collections.Counter()
        for node in NODES:
            found = results(mount, node)
            assert differences(found, expected(node, found)) == {}, node
            cells.update(found.values())
        assert everything(mount.path) == before
        assert mount.status()["state"] == "ready"
        print(dict(cells))
        assert cells[errno.EROFS] > 40 * len(NODES)
    with agnes.mount(stack.url, "prefetch=none") as mount:  # another day, from the cache
        after = everything(mount.path)
        assert {path: entry[:4] for path, entry in after.items()} == \
            {path: entry[:4] for path, entry in before.items()}


def test_nor_does_the_owner_of_an_ordinary_mount(users, agnes_of_user, folder):  # noqa: F811
    entry = pwd.getpwnam(users[0])
    stack = filled(Stack(folder / "stack"))
    tool = folder / "mutate"
    tool.write_bytes(MUTATE.read_bytes())
    tool.chmod(0o755)
    with agnes_of_user.mount(stack.url) as mount:
        for node in NODES:
            found = results(mount, node, tool, user=entry.pw_uid, group=entry.pw_gid,
                            extra_groups=[])
            wanted = expected(node, found, OF_USERS, OF_THEIR_ROOT)
            assert differences(found, wanted) == {}, node


def test_the_tool_does_change_what_can_be_changed(tmp_path):
    """The control: on an ordinary folder nearly every call works."""
    file, place = tmp_path / "a/file", tmp_path / "b/folder"
    for attempt in (file, place):
        attempt.parent.mkdir()
        attempt.write_bytes(b"bytes") if attempt is file else attempt.mkdir()
        done = subprocess.run([MUTATE, attempt], capture_output=True, text=True, check=True)
        found = dict(line.split() for line in done.stdout.splitlines())
        worked = {call for call, number in found.items() if number == "0"}
        assert {"chmod", "chown", "utimensat", "setxattr-user", "rename"} <= worked
        assert ({"open-write", "truncate"} if attempt is file else {"open-create", "bind"}) <= worked
        assert not attempt.exists() and (attempt.parent / "moved").exists()
