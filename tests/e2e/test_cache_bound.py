"""A cache that is smaller than the stack: it never holds more than it may, and every byte is right."""

import hashlib
import os
import random
import threading

import pytest

from tests.lib.agnesfs import wait_for
from tests.lib.stack import raw

MIB = 1 << 20
TABLES = {f"t{index:02}": raw(random.Random(index).randbytes(MIB)) for index in range(40)}
BOUND = 4 * MIB


@pytest.fixture
def stack(stack):
    stack.add_package("many", *(stack.add_table(name, content) for name, content in TABLES.items()))
    return stack.write()


def path_of(name):
    return f"data/many/{name}.parquet"


def files_held(agnes):
    """{path: (inode, bytes on disk)} of blobs and partials, as du would count them."""
    found = {}
    for root in (agnes.cache().shared, agnes.cache().root / "partial"):
        for where, _, names in os.walk(root):
            for path in (os.path.join(where, name) for name in names if name[-4:] != ".map"):
                try:
                    stat = os.stat(path)
                except FileNotFoundError:
                    continue
                found[path] = stat.st_ino, min(stat.st_size, stat.st_blocks * 512)
    return found


def held(agnes):
    """Bytes that were there at one moment: what went during the walk was not, with what came."""
    for _ in range(10000):
        found = files_held(agnes)
        after = files_held(agnes)
        if all(after.get(path, (0,))[0] == inode for path, (inode, _) in found.items()):
            return sum(size for _, size in found.values())
    raise AssertionError("the cache is never at rest")


class Watch:
    """The most that was ever seen on disk while something ran."""

    def __init__(self, agnes):
        self.agnes, self.most, self.stop = agnes, 0, threading.Event()
        self.thread = threading.Thread(target=self.run)

    def run(self):
        while not self.stop.wait(0.005):
            self.most = max(self.most, held(self.agnes))

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *error):
        self.stop.set()
        self.thread.join()


def test_a_stack_of_ten_times_the_cache_is_read_twice(agnes, stack, server):
    with agnes.mount(server.url, "prefetch=none", f"cache-size={BOUND}", "min-free=0") as mount:
        with Watch(agnes) as watch:
            for _ in range(2):
                for name, content in TABLES.items():
                    found = (mount / path_of(name)).read_bytes()
                    assert hashlib.md5(found).digest() == hashlib.md5(content).digest(), name
        assert 0 < watch.most <= BOUND
        status = mount.status()["cache"]
        assert status["used"] <= status["size"] == BOUND
        assert status["evicted_files"] >= 36
    assert agnes.verify(server.url, "--prefetch", "none").findings == set()


def test_what_was_read_last_stays_and_what_was_read_first_goes(agnes, stack, server):
    with agnes.mount(server.url, "prefetch=none", f"cache-size={BOUND + 2 * MIB}",
                     "min-free=0") as mount:
        for name in ("t00", "t01", "t02", "t03", "t04"):
            (mount / path_of(name)).read_bytes()
        os.sync()
        wait_for(lambda: pass_a_second(mount), seconds=5)
        (mount / path_of("t00")).read_bytes()
        wait_for(lambda: pass_a_second(mount), seconds=5)
        for name in ("t05", "t06"):
            (mount / path_of(name)).read_bytes()
        assert mount.xattr(path_of("t00"), "state") == "resident"
        assert mount.xattr(path_of("t01"), "state") == "cold"


def pass_a_second(mount, seen={}):
    import time
    now = int(time.time())
    if mount.path in seen and now > seen[mount.path]:
        del seen[mount.path]
        return True
    seen.setdefault(mount.path, now)
    return False


def test_an_open_file_keeps_its_bytes_while_all_around_is_evicted(agnes, stack, server):
    with agnes.mount(server.url, "prefetch=none", f"cache-size={BOUND}", "min-free=0") as mount:
        with open(mount / path_of("t07"), "rb", buffering=0) as file:
            assert os.pread(file.fileno(), 10, 0) == TABLES["t07"][:10]
            for name, content in TABLES.items():
                assert (mount / path_of(name)).read_bytes() == content
            assert agnes.cache().blob(TABLES["t07"]).exists(), "open ones never go"
            assert os.pread(file.fileno(), MIB + 8, 0) == TABLES["t07"]


def test_a_file_larger_than_the_cache_fails_with_its_reason_and_harms_nothing(agnes, stack, server):
    big = raw(random.Random(99).randbytes(6 * MIB))
    stack.add_package("big", stack.add_table("big", big))
    stack.write()
    with agnes.mount(server.url, "prefetch=none", f"cache-size={BOUND}", "min-free=0") as mount:
        assert (mount / path_of("t01")).read_bytes() == TABLES["t01"]
        with pytest.raises(OSError):
            (mount / "data/big/big.parquet").read_bytes()
        assert "space" in mount.xattr("data/big/big.parquet", "error")
        for name in ("t01", "t02"):
            assert (mount / path_of(name)).read_bytes() == TABLES[name]
        assert held(agnes) <= BOUND


def test_prefetch_fills_the_cache_and_stops(agnes, stack, server):
    with agnes.mount(server.url, f"cache-size={BOUND}", "min-free=0") as mount:
        wait_for(lambda: mount.status()["resident_files"] >= 3, what="filled")
        wait_for(lambda: mount.status()["transfers"]["waiting"] == 0, what="at rest")
        assert mount.status()["cache"]["evicted_files"] == 0
        fetched = server.count("/tables/*")
        assert fetched <= 4
        mount.refresh()
        assert server.count("/tables/*") == fetched


def test_withdrawn_goes_first(agnes, stack, server):
    """The state before the restart names it; nothing does any more."""
    agnes.sync(server.url)
    stack.packages["many"]["tables"] = stack.packages["many"]["tables"][:2]
    stack.write()
    agnes.sync(server.url)
    assert len(agnes.cache().contents()) == 2


def test_prune_makes_it_smaller(agnes, stack, server):
    agnes.sync(server.url)
    result = agnes.run("prune", server.url, "--cache-size", "10MiB", "--json").json()
    assert result["used"] <= 10 * MIB
    assert result["blobs"] >= 30
    assert held(agnes) == result["used"]
    assert agnes.verify(server.url, "--prefetch", "none").findings == set()


def test_prune_asks_the_mount_that_holds_the_cache(agnes, stack, server):
    with agnes.mount(server.url) as mount:
        wait_for(lambda: mount.status()["resident_files"] == 40, what="filled", seconds=20)
        with open(mount / path_of("t05"), "rb", buffering=0) as file:
            result = agnes.run("prune", server.url, "--cache-size", "3MiB", "--json").json()
            assert result["used"] <= 3 * MIB
            assert agnes.cache().blob(TABLES["t05"]).exists()
            assert file.read() == TABLES["t05"]
        assert "left" in agnes.run("prune", server.url).out


def test_min_free_is_kept(agnes, stack, server):
    """More than the disk has: then nothing fits, and that is said."""
    with agnes.mount(server.url, "prefetch=none", "min-free=1000TB") as mount:
        with pytest.raises(OSError):
            (mount / path_of("t01")).read_bytes()
        assert "space" in mount.xattr(path_of("t01"), "error")
        assert agnes.cache().contents() == []
