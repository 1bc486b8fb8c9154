"""What somebody has planted where agnesfs keeps its files: nothing outside is read, changed or lost.

Every kind of object at every place that is ever opened by name: one mount each, which reads, refreshes,
pins and ends, then a verify with repair. And a swapper that exchanges blobs for planted objects while
the store is used (swap.c).
"""

import os
import re
import shutil
import socket
import stat
import subprocess
from pathlib import Path

import pytest

from tests.lib.agnesfs import BINARY, Agnesfs, wait_for
from tests.lib.effort import amount, seed
from tests.lib.stack import Stack, raw

BUILD = Path(os.environ.get("AGNESFS_BUILD") or Path(BINARY).parent)
SWAPS = amount(100_000, 10_000_000)

ORDERS, CLICKS, NEW = raw(b"orders"), raw(b"clicks"), raw(b"new!!!")
SECRET = raw(b"secret")  # as long as a blob, and looks like one
BUNDLE = b"# Finance\n"

# --- what is planted ---


class Outside:
    """What lies next door, and must be the same afterwards."""

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir()
        self.secret = folder / "secret"
        self.secret.write_bytes(SECRET)
        self.secret.chmod(0o644)
        (folder / "full").mkdir()
        (folder / "full/precious").write_bytes(SECRET)
        (folder / "empty").mkdir()
        self.before = self.look()

    def look(self):
        found = {}
        for path in [self.folder, *sorted(self.folder.rglob("*"))]:
            st = path.lstat()
            found[path] = (st.st_mode, st.st_uid, st.st_size, st.st_mtime_ns,
                           path.read_bytes() if path.is_file() else None)
        return found


def file_with(content, owner=None):
    def make(path, outside):
        path.write_bytes(content)
        path.chmod(0o400)
        if owner is not None:
            os.chown(path, owner, owner)
    return make


def folder_with(*names):
    def make(path, outside):
        path.mkdir(mode=0o700)
        for name in names:
            (path / name).write_bytes(SECRET)
    return make


def bound_socket(path, outside):
    number = os.open(path.parent, os.O_PATH)
    with socket.socket(socket.AF_UNIX) as maker:
        maker.bind(f"/proc/self/fd/{number}/{path.name}")
    os.close(number)


OBJECTS = {
    "link to a file": lambda path, outside: path.symlink_to(outside.secret),
    "link to nothing": lambda path, outside: path.symlink_to(outside.folder / "made"),
    "link to a folder": lambda path, outside: path.symlink_to(outside.folder / "full"),
    "link to itself": lambda path, outside: path.symlink_to(path.name),
    "other name of a file": lambda path, outside: os.link(outside.secret, path),
    "fifo": lambda path, outside: os.mkfifo(path, 0o600),
    "socket": bound_socket,
    "empty folder": folder_with(),
    "full folder": folder_with("precious"),
    "device": lambda path, outside: os.mknod(path, 0o600 | stat.S_IFCHR, os.makedev(1, 5)),
    "foreign file": file_with(SECRET, owner=12345),
    "wrong bytes": file_with(SECRET),
}

# --- where ---


def blob_of(content):
    return lambda agnes: agnes.cache().blob(content)


def in_cache(name):
    return lambda agnes: agnes.cache().root / name


def in_state(name):
    return lambda agnes: agnes.state_home / "agnesfs" / agnes.cache().root.name / name


PLACES = {
    "blob": blob_of(ORDERS),
    "blob to come": blob_of(NEW),
    "shard": lambda agnes: agnes.cache().blob(ORDERS).parent,
    "shard to come": lambda agnes: agnes.cache().blob(NEW).parent,
    "object of a partial": lambda agnes: agnes.cache().root / "partial" / agnes.cache().blob(NEW).name,
    "map of a partial": lambda agnes: agnes.cache().root / "partial" /
    f"{agnes.cache().blob(NEW).name}.map",
    **{name: in_cache(name) for name in (
        "_shared", "trust", "trust.new", "clean", "lock", "followers", "CACHEDIR.TAG",
        "CACHEDIR.new", "sync_state.json", "sync_state.json.tmp", "sync_state.prev.json")},
    "folder of partials": in_cache("partial"),
    **{f"state {name}": in_state(name) for name in ("log", "pins", "pins.new", "first_seen",
                                                    "first_seen.new")},
}

# Where folders are expected, foreign files in them are litter, and verify --repair may sweep them.
FOLDERS = {"shard", "shard to come", "_shared", "folder of partials"}

# What the whole cache is built on: with something else there, there is no mount, and it is said.
MAY_REFUSE = {"_shared", "folder of partials", "lock", "state log", "trust.new",
              "sync_state.json.tmp", "clean", "shard", "shard to come", "blob to come", "blob",
              "trust", "sync_state.json", "sync_state.prev.json", "state pins", "state pins.new",
              "state first_seen", "state first_seen.new"}


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """A filled cache and its home, to be copied for each case."""
    folder = tmp_path_factory.mktemp("template")
    agnes = Agnesfs(folder)
    stack = Stack(folder / "stack")
    fill(stack)
    with agnes.mount(stack.url) as mount:
        agnes.run("pin", "data/sales/*", mount.path)
        wait_for(lambda: mount.status()["resident_files"] == 3, what="all here")
    assert not agnes.clean_up()
    return folder


def fill(stack, orders=ORDERS):
    stack.add_package("sales", stack.add_table("orders", orders))
    stack.add_package("events", stack.add_table("clicks", CLICKS))
    stack.add_domain("finance", BUNDLE.decode())
    stack.write()


def copy_of(template, folder):
    """The caches are named after the stack's URL, which therefore stays where it was."""
    agnes = Agnesfs(folder)
    shutil.rmtree(agnes.home)
    shutil.copytree(template / "home", agnes.home, symlinks=True)
    return agnes


def remove(path):
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.timeout(180)
def test_planted_objects_let_nothing_in_or_out(template, tmp_path, place):
    stack = Stack(template / "stack")
    for kind, make in OBJECTS.items():
        fill(stack)
        folder = tmp_path / kind.replace(" ", "-")
        folder.mkdir()
        agnes, outside = copy_of(template, folder), Outside(folder / "outside")
        path = PLACES[place](agnes)
        path.parent.mkdir(exist_ok=True)
        remove(path)
        make(path, outside)
        outside.before = outside.look()
        try:
            use(agnes, stack, (place, kind))
        finally:
            left = agnes.clean_up()
        assert not left, (place, kind)
        assert outside.look() == outside.before, (place, kind)
        if kind == "full folder" and place not in FOLDERS:
            assert_kept(agnes, (place, kind))


def use(agnes, stack, where):
    """Every entry point once. Each either works or says why not, in time, and never tells a secret."""
    result = agnes.run("mount", stack.url, make_mountpoint(agnes), "-o", "refresh=off", expect=None,
                       timeout=20)
    assert result.code in (0, 1, 8), (where, result)
    if result.code:
        assert result.err.startswith("agnesfs: "), (where, result)
        assert where[0] in MAY_REFUSE, (where, result)
    else:
        look(agnes, [ORDERS], where)
        fill(stack, NEW)
        agnes.run("refresh", agnes.folder / "agnes", expect=None, timeout=20)
        look(agnes, [ORDERS, NEW], where)
        agnes.run("pin", "data/events/*", agnes.folder / "agnes", expect=None, timeout=20)
        agnes.run("umount", agnes.folder / "agnes", timeout=20)
    verified = agnes.run("verify", stack.url, "--repair", expect=None, timeout=20)
    assert verified.code in (0, 1, 8, 9), (where, verified)
    assert "secret" not in verified.out, (where, verified)


def make_mountpoint(agnes):
    path = agnes.folder / "agnes"
    path.mkdir()
    return path


def look(agnes, allowed, where):
    root = agnes.folder / "agnes"
    for path, right in ((root / "data/sales/orders.parquet", allowed),
                        (root / "data/events/clicks.parquet", [CLICKS]),
                        (root / "memory/finance/bundle.md", [BUNDLE])):
        try:
            found = path.read_bytes()
        except OSError as error:
            found = error.errno
        assert found in right, (where, path.name, found)


def assert_kept(agnes, where):
    """A folder with something in it is moved aside, never taken apart."""
    assert [*agnes.cache_home.rglob("precious"), *agnes.state_home.rglob("precious")], where


@pytest.mark.timeout(600)
def test_a_swapper_finds_no_moment(tmp_path):
    number = seed() % (1 << 31)
    command = [BUILD / "tests/crash/swap", tmp_path, str(SWAPS), str(number)]
    print(f"replay: {' '.join(map(str, command))}")
    done = subprocess.run(command, capture_output=True, text=True, timeout=580, check=False)
    print(done.stdout, done.stderr)
    counts = dict(re.findall(r"^(\S+) (\d+)$", done.stdout, re.MULTILINE))
    assert done.returncode == 0, "1: an escape, 2: the control was not fooled, 4: something hangs"
    assert int(counts["swaps"]) >= SWAPS and counts["escapes"] == "0"
    for kind in ("read", "refused", "verified", "found-wrong", "committed", "dropped",
                 "fooled-control"):
        assert int(counts[kind]) > 100, kind
