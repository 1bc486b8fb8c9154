"""What rots in the cache is found before a byte of it is returned, and mended.

A thousand objects and more: blobs, partials, and the files that say what is there. Each is damaged
in every way that a hand or a failing program can: what a failing disk does without touching the
inode, only `agnesfs verify` can find (store.h).
"""

import errno
import os
import random
import shutil
import signal
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.lib.agnesfs import wait_for
from tests.lib.effort import amount, seed
from tests.lib.faultd import Fault
from tests.lib.places import cache_in_memory
from tests.lib.shims import preload
from tests.lib.stack import raw

EACH = amount(standard=30, long=2000)  # blobs for every kind of damage, four times
SOUND = 40
MIB = 1 << 20

pytestmark = pytest.mark.timeout(600)


# --- the damages: each takes a file and leaves something else under its name ---

def rewrite(path, content):
    """In place, with the mode and the time of before: only the ctime tells."""
    before = path.stat()
    path.chmod(0o600)
    with open(path, "r+b") as file:
        file.write(content)
        file.truncate()
    path.chmod(before.st_mode & 0o777)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def flipped(content):
    damaged = bytearray(content)
    damaged[random.randrange(len(damaged))] ^= 1 << random.randrange(8)
    return bytes(damaged)


def flip(path):
    rewrite(path, flipped(path.read_bytes()))


def truncate(path):
    rewrite(path, path.read_bytes()[:random.randrange(path.stat().st_size)])


def zero(path):
    rewrite(path, bytes(path.stat().st_size))


def replace(path):
    before = path.stat()
    other = path.with_name("other")
    other.write_bytes(flipped(path.read_bytes()))
    other.chmod(before.st_mode & 0o777)
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.rename(path)


def aside(path, content):
    """A file outside of the cache, with that content and the look of the original."""
    aside.number += 1
    other = aside.folder / f"aside{aside.number}"
    other.write_bytes(content)
    other.chmod(path.stat().st_mode & 0o777)
    return other


aside.number = 0


def symlink(path):
    other = aside(path, flipped(path.read_bytes()))
    path.unlink()
    path.symlink_to(other)


def fifo(path):
    path.unlink()
    os.mkfifo(path, 0o400)


def hard_link(path):
    """Changed by its other name, which lies where nobody looks."""
    near = path.stat().st_dev == aside.folder.stat().st_dev
    other = (aside.folder if near else path.parents[1]) / f"link{random.random()}"
    os.link(path, other)
    rewrite(other, flipped(other.read_bytes()))


def directory(path):
    path.unlink()
    path.mkdir()


def removed(path):
    path.unlink()


DAMAGES = [flip, truncate, zero, replace, symlink, fifo, hard_link, directory, removed]


@pytest.fixture(autouse=True)
def place_aside(agnes):
    random.seed(seed())
    with cache_in_memory(agnes):
        aside.folder = agnes.cache_home / "aside"
        aside.folder.mkdir()
        yield


# --- blobs ---

def content_of(number):
    return raw(random.Random(number).randbytes(500 + number % 3000) + b"%d" % number
               + b"\xff" * 4)


@pytest.fixture
def parts(stack):
    """{path in the mount: content}"""
    count = EACH * len(DAMAGES) + SOUND
    parts = {f"p{number % 50:02}/{number:06}.parquet": content_of(number)
             for number in range(count)}
    stack.add_package("big", stack.add_table("big", parts))
    stack.write()
    return {f"data/big/big/{path}": content for path, content in parts.items()}


def damage_blobs(cache, parts):
    """{path: damage} of those that were damaged."""
    paths = random.sample(sorted(parts), EACH * len(DAMAGES))
    damaged = {path: DAMAGES[index % len(DAMAGES)] for index, path in enumerate(paths)}
    for path, damage in damaged.items():
        damage(cache.blob(parts[path]))
    return damaged


def read(mount, path):
    try:
        return (mount / path).read_bytes()
    except OSError as error:
        return error.errno


def fetches(server):
    return {request.path for request in server.matching("/tables/big/*")}


def judge(mount, server, parts, damaged, offline):
    """Reads everything; the paths of damaged blobs of which a wrong byte was served, or which were
    not found out."""
    bad = []
    server.clear()
    with ThreadPoolExecutor(8) as pool:
        founds = list(pool.map(lambda path: read(mount, path), parts))
    for (path, content), found in zip(parts.items(), founds):
        if path not in damaged:
            assert found == content, path
        elif found != (errno.EIO if offline else content):
            bad.append((damaged[path].__name__, path, found))
    asked = {path.removeprefix("data/big/big/") for path in damaged}
    if not offline:
        assert fetches(server) == {f"/tables/big/{path}" for path in asked}, "those and no others"
    return bad


def unclean(agnes, mount):
    pid = mount.status(expect=None)["pid"]
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: pid not in agnes.processes(), what="killed")
    mount.umount("--lazy")


def rot(agnes, server, parts, how):
    """A mount with damaged blobs below it, and which those are."""
    agnes.sync(server.url)
    if how == "at rest":
        damaged = damage_blobs(agnes.cache(), parts)
        return agnes.mount(server.url, "prefetch=none"), damaged
    mount = agnes.mount(server.url, "prefetch=none")
    assert {path: read(mount, path) for path in parts} == parts
    if how == "under a mount":
        return mount, damage_blobs(agnes.cache(), parts)
    unclean(agnes, mount)
    damaged = damage_blobs(agnes.cache(), parts)
    return agnes.mount(server.url, "prefetch=none"), damaged


HOW = ["at rest", "under a mount", "after a kill"]


@pytest.mark.parametrize("how", HOW)
def test_every_damaged_blob_is_found_before_a_byte_is_returned_and_mended(
        agnes, server, parts, how):
    mount, damaged = rot(agnes, server, parts, how)
    assert judge(mount, server, parts, damaged, offline=False) == []
    print(f"{len(damaged)} found")
    mount.umount()
    assert agnes.verify(server.url).findings == set(), "all is mended on disk too"
    with agnes.mount(server.url, "prefetch=none") as mount:
        assert judge(mount, server, parts, {}, offline=False) == []


def test_offline_they_can_not_be_read_and_come_back_with_the_server(agnes, stack, server, parts):
    mount, damaged = rot(agnes, server, parts, "at rest")
    server.always("/tables/*", Fault(html=True))
    assert judge(mount, server, parts, damaged, offline=True) == []
    server.forget()
    assert judge(mount, server, parts, damaged, offline=False) == []
    print(f"{len(damaged)} found")
    mount.umount()


def test_prefetch_mends_what_nobody_has_read(agnes, server, parts):
    mount, damaged = rot(agnes, server, parts, "at rest")
    mount.umount()
    server.clear()
    with agnes.mount(server.url) as mount:
        wait_for(lambda: len(fetches(server)) == len(damaged), what="all is asked for again")
        wait_for(lambda: mount.status(expect=None)["resident_files"] == len(parts),
                 what="all is here again")
    assert len(fetches(server)) == len(damaged)
    assert agnes.verify(server.url).findings == set()


def test_control_without_the_comparison_damage_is_served(agnes, server, parts):
    agnes.env |= preload("blind_stat")
    mount, damaged = rot(agnes, server, parts, "under a mount")
    wrong = {name for name, path, found in bad_reads(mount, parts, damaged)
             if isinstance(found, bytes)}
    mount.umount()
    assert {"flip", "zero", "replace", "hard_link"} <= wrong, wrong


def bad_reads(mount, parts, damaged):
    for path, damage in damaged.items():
        if (found := read(mount, path)) != parts[path]:
            yield damage.__name__, path, found


# --- residence that is told ---

def test_what_is_gone_is_not_called_resident(agnes, server, parts):
    agnes.sync(server.url)
    with agnes.mount(server.url, "prefetch=none") as mount:
        path = next(iter(parts))
        assert mount.xattr(path, "state") == "resident"
        removed(agnes.cache().blob(parts[path]))
        assert mount.xattr(path, "state") == "cold"
        assert mount.status()["resident_files"] == len(parts) - 1
        assert read(mount, path) == parts[path]
        assert mount.xattr(path, "state") == "resident"


# --- partials ---

BEGUN = 4 * len(DAMAGES)  # tables whose transfer was cut: half have their data damaged, half the map


def test_partials_that_rot_are_found_when_they_are_continued(agnes, stack, server):
    tables = {f"t{number}": raw(random.Random(number).randbytes(3 * MIB // 2) + b"\xff" * 4)
              for number in range(BEGUN)}
    stack.add_package("sales", *(stack.add_table(name, content)
                                 for name, content in tables.items()))
    stack.write()
    server.always("/tables/*", Fault(status=403))
    for name in tables:
        server.script(f"/tables/{name}.parquet", Fault(cut=5 * MIB // 4))
    agnes.run("sync", server.url, "--timeout=1", expect=None, timeout=200)
    partial = agnes.cache().root / "partial"
    names = sorted(path.name for path in partial.iterdir())
    data = [name for name in names if name + ".map" in names]
    assert len(data) == BEGUN, names
    for index, name in enumerate(data):
        DAMAGES[index // 4](partial / (name if index % 2 else name + ".map"))
    server.forget()
    server.clear()
    agnes.sync(server.url)
    with agnes.mount(server.url, "prefetch=none") as mount:
        for name, content in tables.items():
            assert (mount / f"data/sales/{name}.parquet").read_bytes() == content
    assert agnes.verify(server.url).findings == set()
    print(f"{len(data)} found; {server.sent('/tables/*') / MIB:.0f} MiB fetched again")


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
@pytest.mark.parametrize("ending", ["", ".map"], ids=["data", "map"])
def test_blocks_that_rot_are_not_served(agnes, stack, server, ending, damage):
    content = raw(random.Random(5).randbytes(9 * MIB) + b"\xff" * 4)
    stack.add_package("sales", stack.add_table("big", content))
    stack.write()
    offsets = [0, 3 * MIB + 7, 6 * MIB, len(content) - 100]
    table = "data/sales/big.parquet"

    def pieces(mount):
        found = []
        with open(mount / table, "rb", buffering=0) as file:
            for offset in offsets:
                try:
                    found.append(os.pread(file.fileno(), 100, offset))
                except OSError as error:
                    assert error.errno == errno.EIO
                    found.append(None)
        return found

    right = [content[offset:offset + 100] for offset in offsets]
    server.bandwidth = 16 * MIB  # slower than the mount is ended
    with agnes.mount(server.url, "prefetch=none") as mount:
        assert pieces(mount) == right
    server.bandwidth = 0
    name, = (path.name for path in (agnes.cache().root / "partial").glob("md5-*")
             if not path.name.endswith(".map"))
    damage(agnes.cache().root / "partial" / (name + ending))
    server.always("/tables/*", Fault(html=True))
    with agnes.mount(server.url, "prefetch=none") as mount:
        found = pieces(mount)
        assert all(piece in (None, whole) for piece, whole in zip(found, right))
        server.forget()
        wait_for(lambda: read(mount, table) == content, what="asked for again after a moment")
        assert pieces(mount) == right


# --- what says what is there ---

STATE_FILES = ["sync_state.json", "sync_state.prev.json", "sync_state.image", "trust", "clean",
               "CACHEDIR.TAG", "lock", "first_seen", "pins"]


def home_files(agnes, name):
    return [path for home in (agnes.cache_home, agnes.state_home)
            for path in home.glob(f"agnesfs/*/{name}")]


@pytest.mark.parametrize("name", STATE_FILES)
def test_state_that_rots_is_no_ground_for_wrong_bytes_nor_for_deleting(
        agnes, stack, server, name):
    tables = {f"data/sales/t{number}.parquet": raw(b"%d" % number * 300) for number in range(5)}
    for number in range(5):
        stack.add_table(f"t{number}", tables[f"data/sales/t{number}.parquet"])
    stack.add_package("sales", *stack.rows.values())
    stack.write()
    agnes.sync(server.url)
    stack.add_domain("finance", "# Finance\n")
    stack.write()
    with agnes.mount(server.url) as mount:
        agnes.run("pin", "sales/t1", mount.path)
    folders = [agnes.cache().root, *agnes.state_home.glob("agnesfs/*")]
    kept = agnes.folder / "kept"
    for index, folder in enumerate(folders):
        shutil.copytree(folder, kept / str(index))
    blobs, refused = agnes.cache().contents(), []
    for damage in DAMAGES:
        path, = home_files(agnes, name)
        if path.stat().st_size == 0:
            path.write_bytes(b"x")
        damage(path)
        server.always("/tables/*", Fault(status=404))
        mounted = agnes.run("mount", server.url, mount.path, "-o", "refresh=off,prefetch=none",
                            expect=None, timeout=20)
        if mounted.code == 0:
            for table, content in tables.items():
                assert (mount / table).read_bytes() == content, damage
            mount.umount()
        else:
            assert mounted.err.startswith("agnesfs: "), mounted
            refused.append(damage.__name__)
        assert agnes.cache().contents() == blobs, f"{damage.__name__}: {mounted}"
        server.forget()
        for index, folder in enumerate(folders):
            shutil.rmtree(folder)
            shutil.copytree(kept / str(index), folder)
    print(f"{len(DAMAGES)} found; refused to start: {refused}")
    assert not refused or name in ("lock", "first_seen", "pins"), refused
