"""The same mount as an ordinary user, through fusermount3: theirs, and theirs alone.

Needs root, to make two users for the time of the tests.
"""

import contextlib
import errno
import functools
import json
import os
import pwd
import shutil
import stat
import subprocess
import tempfile
import time
from pathlib import Path

import duckdb
import pytest

from tests.lib import agnesfs
from tests.lib.agnesfs import Agnesfs, Mount, wait_for
from tests.lib.stack import Stack, parquet

FUSE = Path("/dev/fuse")
QUERY = "SELECT count(*) FROM read_parquet('{}/data/*/*.parquet')"


def run_checked(*command):
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, (command, done)


@contextlib.contextmanager
def made_user(name):
    run_checked("useradd", "--no-create-home", "--home-dir", "/nonexistent",
                "--shell", "/bin/sh", name)
    try:
        yield name
    finally:
        end = time.monotonic() + 10
        while subprocess.run(["userdel", name], capture_output=True, check=False).returncode:
            assert time.monotonic() < end, f"userdel {name}"
            time.sleep(0.1)  # a process of theirs is still on its way out


@contextlib.contextmanager
def usable_by_all(path):
    mode = stat.S_IMODE(path.stat().st_mode)
    path.chmod(mode | 0o666)
    try:
        yield
    finally:
        path.chmod(mode)


@pytest.fixture(scope="module")
def users():
    assert os.geteuid() == 0, "these tests make users: run them as root"
    assert shutil.which("fusermount3"), "fusermount3 is not installed (package fuse3)"
    names = [f"agnesfs-{letter}{os.getpid()}" for letter in "ab"]
    with made_user(names[0]), made_user(names[1]), usable_by_all(FUSE):
        yield names


@pytest.fixture(scope="module")
def place():
    """A folder that every user may enter, unlike those of pytest; the program is in it."""
    with tempfile.TemporaryDirectory(prefix="agnesfs-") as folder:
        folder = Path(folder)
        folder.chmod(0o755)
        shutil.copy(agnesfs.BINARY, folder / "agnesfs")
        (folder / "agnesfs").chmod(0o755)
        yield folder


@pytest.fixture
def folder(place):
    folder = Path(tempfile.mkdtemp(dir=place))
    folder.chmod(0o755)
    return folder


@pytest.fixture
def stack(folder):
    stack = Stack(folder / "stack")
    orders = stack.add_table("orders", parquet(rows=100))
    stack.add_package("sales", orders, stack.add_table("customers", parquet(rows=20, seed=1)))
    stack.add_package("marketing", orders)
    stack.add_domain("finance", "# Finance\n")
    stack.write()
    return stack


@pytest.fixture
def agnes(users, place, folder, monkeypatch):
    """As the `agnes` of the other tests, but of an ordinary user; it has no capabilities."""
    monkeypatch.setattr(agnesfs, "BINARY", str(place / "agnesfs"))
    home = folder / "user"
    home.mkdir()
    home.chmod(0o755)
    agnes = Agnesfs(home, user=users[0])
    yield agnes
    left = agnes.clean_up()
    assert not left, f"left behind: {left}"


def as_user(name, function):
    """What function() returns when that user calls it; an OSError is its number."""
    entry = pwd.getpwnam(name)
    output, input = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setresgid(entry.pw_gid, entry.pw_gid, entry.pw_gid)
            os.setresuid(entry.pw_uid, entry.pw_uid, entry.pw_uid)
            found = function()
        except OSError as error:
            found = error.errno
        except BaseException as error:
            found = f"{type(error).__name__}: {error}"
        os.write(input, json.dumps(found).encode())
        os._exit(0)
    os.close(input)
    try:
        with os.fdopen(output, "rb") as answer:
            return json.loads(answer.read())
    finally:
        os.waitpid(child, 0)


def count_rows(root):
    with duckdb.connect() as connection:
        return connection.sql(QUERY.format(root)).fetchall()[0][0]


def tree_of(root):
    return sorted(os.path.relpath(os.path.join(where, name), root)
                  for where, _, names in os.walk(root) for name in names)


def size_of(path):
    return len(Path(path).read_bytes())


def test_an_ordinary_user_mounts_reads_queries_and_unmounts(agnes, users, stack):
    call = functools.partial(as_user, users[0])
    mount = agnes.mount(stack.url)
    owner = pwd.getpwnam(users[0])
    processes = agnes.processes()
    assert len(processes) == 1
    status = Path(f"/proc/{next(iter(processes))}/status").read_text()
    assert f"Uid:\t{owner.pw_uid}\t{owner.pw_uid}\t{owner.pw_uid}" in status
    assert "CapEff:\t0000000000000000" in status

    assert "data/marketing/orders.parquet" in call(lambda: tree_of(mount.path))
    orders = mount / "data/sales/orders.parquet"
    assert call(lambda: size_of(orders)) == len(stack.files["tables/orders.parquet"])
    found = call(lambda: list(os.stat(orders)[:6]))
    assert found[2] and found[3:] == [2, owner.pw_uid, owner.pw_gid]
    assert call(lambda: os.getxattr(orders, "user.agnes.state").decode()) == "resident"
    assert call(lambda: count_rows(mount.path)) == 100 + 20 + 100

    assert mount.status()["state"] == "ready"
    stack.add_package("more", stack.add_table("more", parquet(rows=7, seed=2)))
    stack.write()
    assert mount.refresh().counts("data_packages")["added"] == 1
    assert call(lambda: count_rows(mount.path)) == 100 + 20 + 100 + 7

    mount.umount()
    assert agnes.mountpoints() == []
    wait_for(lambda: not agnes.processes(), what="daemon gone")


def test_cold_files_are_fetched_when_the_user_reads_them(agnes, users, stack):
    with agnes.mount(stack.url, "prefetch=none") as mount:
        path = mount / "data/sales/orders.parquet"

        def state():
            return os.getxattr(path, "user.agnes.state").decode()

        assert as_user(users[0], state) == "cold"
        assert as_user(users[0], lambda: count_rows(mount.path)) == 220
        assert as_user(users[0], state) == "resident"


def test_nobody_else_sees_into_a_users_mount_not_even_root(agnes, users, stack):
    with agnes.mount(stack.url) as mount:
        for name in (users[1], "root"):
            assert as_user(name, lambda: os.listdir(mount.path)) == errno.EACCES
            assert as_user(name, lambda: size_of(mount / "data/sales/orders.parquet")) == \
                errno.EACCES
        assert as_user(users[0], lambda: size_of(mount / "data/sales/orders.parquet"))


def test_nobody_else_can_unmount_or_command_a_users_mount(agnes, users, folder, stack):
    with agnes.mount(stack.url) as mount:
        home = folder / "other"
        home.mkdir()
        home.chmod(0o755)
        other = Agnesfs(home, user=users[1])
        try:
            for verb in ("umount", "refresh", "status"):
                result = other.run(verb, mount.path, expect=1)
                assert result.err.startswith("agnesfs: "), result
        finally:
            other.clean_up()
        assert mount.status()["state"] == "ready"


def test_what_a_user_fetched_is_readable_by_nobody_else(agnes, users, stack):
    with agnes.mount(stack.url):
        pass
    cache = agnes.cache()
    assert stat.S_IMODE(cache.root.stat().st_mode) == 0o700
    for blob in cache.blobs().values():
        assert stat.S_IMODE(blob.stat().st_mode) == 0o400
        assert as_user(users[1], lambda blob=blob: size_of(blob)) == errno.EACCES


def test_a_user_can_not_mount_on_the_folder_of_somebody_else(agnes, users, folder, stack):
    theirs = folder / "theirs"
    theirs.mkdir()
    shutil.chown(theirs, users[1])
    result = agnes.run("mount", stack.url, theirs, "-o", "refresh=off", expect=5)
    assert str(theirs) in result.err and "not allowed" in result.err
    assert agnes.mountpoints() == [] and agnes.processes() == {}


def test_a_user_clears_a_dead_mount_and_mounts_again(agnes, users, stack):
    mount = agnes.mount(stack.url)
    os.kill(next(iter(agnes.processes())), 9)
    wait_for(lambda: not agnes.processes(), what="daemon gone")
    wait_for(lambda: as_user(users[0], lambda: os.listdir(mount.path)) == errno.ENOTCONN,
             what="a dead mount")
    mount.umount("--lazy")
    assert agnes.mountpoints() == []
    with agnes.mount(stack.url) as mount:
        assert as_user(users[0], lambda: count_rows(mount.path)) == 220


# --- how it is read ---

def reading(mount):
    return {key: value for key, value in mount.status()["mount"].items() if "passthrough" in key}


def test_without_the_capability_files_are_read_through_the_daemon_and_status_says_why(
        agnes, users, stack):
    with agnes.mount(stack.url) as mount:
        for _ in range(3):
            assert as_user(users[0], lambda: count_rows(mount.path)) == 220
        assert reading(mount) == {"passthrough": False, "passthrough_files": 0,
                                  "passthrough_why_not": "needs CAP_SYS_ADMIN"}
        assert mount.status()["mount"]["reads"] > 0
        assert "no passthrough: needs CAP_SYS_ADMIN" in agnes.run("status", mount.path).out


def test_with_that_one_capability_a_users_files_are_read_by_the_kernel(
        users, place, folder, stack, monkeypatch):
    """As agnesfs@.service starts it: their process, their cache, their mount, no setuid helper."""
    monkeypatch.setattr(agnesfs, "BINARY", str(place / "agnesfs"))
    home = folder / "user"
    home.mkdir()
    home.chmod(0o755)
    agnes = Agnesfs(home, user=users[0], capabilities=["sys_admin"])
    try:
        with agnes.mount(stack.url) as mount:
            (pid,) = agnes.processes()
            status = Path(f"/proc/{pid}/status").read_text()
            assert f"Uid:\t{pwd.getpwnam(users[0]).pw_uid}\t" in status
            assert "CapEff:\t0000000000200000" in status
            orders = mount / "data/sales/orders.parquet"
            assert as_user(users[0], lambda: count_rows(mount.path)) == 220
            assert mount.status()["mount"]["reads"] == 0
            assert as_user(users[1], lambda: size_of(orders)) == errno.EACCES
            # their own shell, which has no capability, commands it
            shell = Agnesfs.__new__(Agnesfs)
            shell.__dict__.update(agnes.__dict__, capabilities=())
            assert reading(Mount(shell, mount.path))["passthrough"]
            Mount(shell, mount.path).umount()
            assert agnes.mountpoints() == []
        with agnes.mount(stack.url):
            pass  # which unmounts with the capability and without the helper
    finally:
        left = agnes.clean_up()
    assert not left


def test_root_lets_others_read_with_allow_other(users, place, folder, stack, monkeypatch):
    monkeypatch.setattr(agnesfs, "BINARY", str(place / "agnesfs"))
    home = folder / "root"
    home.mkdir()
    home.chmod(0o755)
    agnes = Agnesfs(home)
    try:
        with agnes.mount(stack.url, "allow-other") as mount:
            for name in users:
                assert as_user(name, lambda: count_rows(mount.path)) == 220
        with agnes.mount(stack.url, "allow-other", "umask=077") as mount:
            for name in users:
                assert as_user(name, lambda: os.listdir(mount.path)) == errno.EACCES
    finally:
        left = agnes.clean_up()
    assert not left
