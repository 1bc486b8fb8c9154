"""Several mounts of one source: one cache, one set of transfers, and whoever is left goes on."""

import errno
import os
import random
import signal
import threading
import time

import pytest

from tests.lib.agnesfs import wait_for
from tests.lib.faultd import Fault
from tests.lib.stack import raw

MIB = 1 << 20
BIG = raw(random.Random(4).randbytes(12 * MIB))
SMALL = {f"t{index}": raw(b"%d" % index * 50_000) for index in range(6)}
TABLE = "data/sales/big.parquet"


@pytest.fixture
def stack(stack):
    stack.add_package("sales", stack.add_table("big", BIG),
                      *(stack.add_table(name, content) for name, content in SMALL.items()))
    stack.add_domain("finance", "# Finance\n")
    return stack.write()


def path_of(name):
    return f"data/sales/{name}.parquet"


@pytest.fixture
def mounts(agnes, server):
    """Mounts folder after folder; all are gone again at the end."""
    made = []

    def mount(number, *options):
        path = agnes.folder / f"m{number}"
        path.mkdir(exist_ok=True)
        made.append(agnes.mount(server.url, "prefetch=none", *options, path=path))
        return made[-1]

    yield mount
    for mount in made:
        if str(mount.path) in agnes.mountpoints():
            mount.umount("--lazy")


def pid_of(mount):
    return mount.status(expect=None)["pid"]


def shares(mount):
    return mount.status(expect=None)["cache"]["shared"]


def test_what_one_fetched_the_other_reads(agnes, server, mounts):
    first, second = mounts(1), mounts(2)
    assert not shares(first) and shares(second)
    server.clear()
    for name, content in SMALL.items():
        assert (second / path_of(name)).read_bytes() == content
        assert (first / path_of(name)).read_bytes() == content
    assert server.count("/tables/*") == len(SMALL)
    assert len(agnes.caches()) == 1
    assert (first / "memory/finance/bundle.md").read_text() == "# Finance\n"
    assert (second / "memory/finance/bundle.md").read_text() == "# Finance\n"


def test_blocks_too(server, mounts):
    first, second = mounts(1), mounts(2)
    server.clear()
    descriptor = os.open(second / TABLE, os.O_RDONLY)
    assert os.pread(descriptor, 100, 5 * MIB) == BIG[5 * MIB:5 * MIB + 100]
    assert second.xattr(TABLE, "state") == first.xattr(TABLE, "state") == "partial"
    os.close(descriptor)
    assert (first / TABLE).read_bytes() == BIG
    assert (second / TABLE).read_bytes() == BIG
    assert server.sent("/tables/big.parquet") == len(BIG)


def test_a_refresh_through_either_is_seen_in_both(stack, mounts, server):
    first, second = mounts(1), mounts(2)
    for number, mount in enumerate((first, second, first)):
        content = raw(b"generation %d" % number)
        stack.add_table("t0", content)
        stack.write()
        server.clear()
        mount.refresh()
        assert (mount / path_of("t0")).read_bytes() == content
        assert server.count("/manifest.json") == 1
        for other in (first, second):
            wait_for(lambda: content_of(other / path_of("t0")) == content, what="both see it")


def content_of(path):
    """None: opened just before the switch, and what it was opened as is nowhere any more."""
    try:
        return path.read_bytes()
    except OSError as error:
        assert error.errno == errno.ESTALE
        return None


def test_pins_are_of_all(agnes, mounts):
    first, second = mounts(1), mounts(2)
    agnes.run("pin", "sales/t1", second.path)
    assert first.xattr(path_of("t1"), "state") == "resident"
    rows = {row["path"]: row for row in agnes.run("ls", first.path, "--json").json()["rows"]}
    assert rows[path_of("t1")]["pinned"]


def test_when_the_first_ends_the_other_takes_over(stack, server, mounts):
    first, second = mounts(1), mounts(2)
    assert (second / path_of("t0")).read_bytes() == SMALL["t0"]
    first.umount()
    begin = time.monotonic()
    wait_for(lambda: not shares(second), what="took over")
    assert time.monotonic() - begin < 2
    assert (second / path_of("t1")).read_bytes() == SMALL["t1"]
    stack.add_table("t2", raw(b"new"))
    stack.write()
    second.refresh()
    assert (second / path_of("t2")).read_bytes() == raw(b"new")


def test_killed_it_is_followed_and_no_reader_misses_a_byte(agnes, server, mounts):
    first, second, third = mounts(1), mounts(2), mounts(3)
    server.always("/tables/t5.parquet", Fault(delay=0.3))
    found = {}

    def read(mount):
        found[mount.path] = (mount / path_of("t5")).read_bytes()

    readers = [threading.Thread(target=read, args=(mount,)) for mount in (second, third)]
    for reader in readers:
        reader.start()
    wait_for(lambda: server.count("/tables/t5.parquet") == 1)
    os.kill(pid_of(first), signal.SIGKILL)
    begin = time.monotonic()
    wait_for(lambda: shares(second) != shares(third), what="one of them took over")
    assert time.monotonic() - begin < 2
    for reader in readers:
        reader.join(20)
    assert found == {second.path: SMALL["t5"], third.path: SMALL["t5"]}
    for mount in (second, third):
        for name, content in SMALL.items():
            assert (mount / path_of(name)).read_bytes() == content
    assert agnes.verify(server.url, "--prefetch", "none", expect=None).findings == set()


def test_one_after_the_other_is_killed_and_there_is_always_one_writer(agnes, server, mounts):
    alive = {number: mounts(number) for number in range(4)}
    for round in range(8):
        writers = [number for number, mount in alive.items() if not shares(mount)]
        assert len(writers) == 1
        victim = alive.pop(writers[0])
        os.kill(pid_of(victim), signal.SIGKILL)
        wait_for(lambda: any(not shares(mount) for mount in alive.values()), seconds=3,
                 what="a successor")
        victim.umount("--lazy")
        name = f"t{round % len(SMALL)}"
        for mount in alive.values():
            assert (mount / path_of(name)).read_bytes() == SMALL[name]
        alive[10 + round] = mounts(10 + round)


def test_a_cache_that_a_sync_has_is_busy(agnes, stack, server):
    server.always("/tables/t0.parquet", Fault(delay=1))
    sync = agnes.start("sync", server.url)
    wait_for(lambda: server.count("/tables/t0.parquet") == 1)
    (agnes.folder / "m").mkdir()
    assert "in use by process" in agnes.run("mount", server.url, agnes.folder / "m", expect=6).err
    assert sync.wait(20) == 0
