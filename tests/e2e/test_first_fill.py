"""A cache that is filled: many tables at once, hashed beside being written, and killed in the middle."""

import hashlib
import random

import pytest

from tests.lib.agnesfs import wait_for
from tests.lib.faultd import Fault
from tests.lib.stack import raw

MIB = 1 << 20
COUNT = 60
SIZES = [0, 1, 100, 4096, 300_000, MIB - 12, MIB, MIB + 1, 5 * MIB - 7, 6 * MIB]


def content(index):
    size = SIZES[index % len(SIZES)]
    return raw(random.Random(index).randbytes(max(0, size - 8)))


TABLES = {f"t{index:02}": content(index) for index in range(COUNT)}
DIFFERENT = len(set(TABLES.values()))
STUCK = "t59"


@pytest.fixture
def many(stack):
    stack.add_package("many", *[stack.add_table(name, bytes) for name, bytes in TABLES.items()])
    stack.write()
    return stack


def assert_only_good(cache):
    for key, path in cache.blobs().items():
        bytes = path.read_bytes()
        assert key == f"md5-{hashlib.md5(bytes).hexdigest()}-{len(bytes)}"


def files():
    return {f"data/many/{name}.parquet": bytes for name, bytes in TABLES.items()}


def test_many_tables_of_all_sizes_are_filled_at_once(agnes, many, server):
    report = agnes.sync(server.url)
    assert report.errors == []
    assert server.count("/tables/*") == DIFFERENT
    assert_only_good(agnes.cache())
    assert agnes.cache().partials() == []
    assert agnes.verify(server.url).findings == set()


def test_killed_while_it_fills_nothing_is_lost_and_nothing_wrong_is_there(agnes, many, server):
    """Three times, each time further on. What has a blob's name is the blob, and is not fetched again;
    what was under way is, or its rest."""
    server.always(f"/tables/{STUCK}.parquet", Fault(stall=100_000))  # so that it never ends by itself
    here = set()
    for number in (1, 20, 40):
        server.clear()
        process = agnes.start("sync", server.url, "--json")
        wait_for(lambda: agnes.caches() and len(agnes.cache().blobs()) >= number, 30,
                 f"{number} tables are here")
        process.kill()
        process.wait(5)
        cache = agnes.cache()
        assert_only_good(cache)
        for name in here:
            assert cache.blob(TABLES[name]).exists()
            assert server.count(f"/tables/{name}.parquet") == 0
        here = {name for name in TABLES if cache.blob(TABLES[name]).exists()}
        assert STUCK not in here

    server.forget()
    server.clear()
    report = agnes.sync(server.url)
    assert report.errors == []
    assert all(server.count(f"/tables/{name}.parquet") == 0 for name in here)
    assert_only_good(agnes.cache())
    assert agnes.cache().partials() == []
    with agnes.mount(server.url, "prefetch=none") as mount:
        found = mount.files()
        assert {path: found[path] for path in files()} == files()


def test_wrong_bytes_among_many_are_found(agnes, many, server):
    for name in ("t08", "t16", "t29"):
        server.always(f"/tables/{name}.parquet", Fault(flip=len(TABLES[name]) // 2))
    report = agnes.sync(server.url, expect=9)
    assert sorted(line.name for line in report.errors) == ["t08", "t16", "t29"]
    assert_only_good(agnes.cache())
    assert len(agnes.cache().blobs()) == DIFFERENT - 3


def test_stopped_while_it_fills_it_ends_at_once(agnes, many, server):
    server.always(f"/tables/{STUCK}.parquet", Fault(stall=100_000))
    process = agnes.start("sync", server.url, "--json")
    wait_for(lambda: agnes.caches() and len(agnes.cache().blobs()) >= 3, 30, "3 tables are here")
    process.terminate()
    process.wait(5)
    assert_only_good(agnes.cache())
    server.forget()
    assert agnes.sync(server.url).errors == []
    assert len(agnes.cache().blobs()) == DIFFERENT
