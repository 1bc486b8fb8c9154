"""Cold tables read by block: what is fetched for which read, and that every byte is right."""

import errno
import hashlib
import json
import mmap
import os
import random
import re
import signal
import subprocess
import threading
import time

import pytest

from tests.lib.agnesfs import wait_for
from tests.lib.effort import within
from tests.lib.faultd import Fault
from tests.lib.sites import Folder
from tests.lib.stack import raw, write_atomically

MIB = 1 << 20
SIZE = 24 * MIB + 4321
BIG = raw(random.Random(3).randbytes(SIZE - 8))
TABLE = "data/sales/big.parquet"
URL = "/tables/big.parquet"


@pytest.fixture
def stack(stack):
    stack.add_package("sales", stack.add_table("big", BIG), stack.add_table("small", raw(b"small")))
    stack.add_package("marketing", stack.rows["big"])
    return stack.write()


@pytest.fixture
def mount(agnes, stack, server):
    """Cold, and the server has forgotten what it was asked so far."""
    with agnes.mount(server.url, "prefetch=none", "timeout=10s") as mount:
        server.clear()
        yield mount


def pread(path, size, offset):
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return os.pread(descriptor, size, offset)
    finally:
        os.close(descriptor)


def assert_pread(mount, size, offset):
    assert pread(mount / TABLE, size, offset) == BIG[offset:offset + size], (size, offset)


def blocks(server):
    """Which blocks were asked for, in the order of the requests."""
    asked = []
    for request in server.matching(URL):
        first, last = re.fullmatch(r"bytes=(\d+)-(\d*)", request.range).groups()
        asked += range(int(first) // MIB, int(last or SIZE - 1) // MIB + 1)
    return asked


def test_a_small_read_in_the_middle_fetches_its_block_only(mount, server):
    assert_pread(mount, 4096, 10 * MIB + 5000)
    assert blocks(server) == [10]
    wait_for(lambda: server.sent(URL) == MIB, what="the rest of the block")
    assert mount.xattr(TABLE, "state") == "partial"
    assert_pread(mount, 4096, 10 * MIB + 900_000)
    assert server.count(URL) == 1, "the rest of the block is here"


def test_a_read_over_a_border_fetches_both_blocks_in_one_request(mount, server):
    assert_pread(mount, 8192, 7 * MIB - 4096)
    assert sorted(blocks(server)) == [6, 7]


def test_the_first_read_at_the_end_brings_the_beginning_too(mount, server):
    """Where parquet readers begin: 8 bytes before the end, then the footer."""
    assert_pread(mount, 8, SIZE - 8)
    wait_for(lambda: sorted(blocks(server)) == [0, 24], what=f"head and tail")
    wait_for(lambda: server.sent(URL) == MIB + SIZE % MIB)
    assert_pread(mount, 4, 0)
    assert server.count(URL) == 2


def test_heads_alone_cost_one_block_a_file(mount, server):
    """A file manager that has no MIME entry looks at the first 16 KiB of each file."""
    assert_pread(mount, 16384, 0)
    assert blocks(server) == [0]


def test_ranges_are_pinned_to_one_version(mount, server):
    for index in (3, 9, 15):
        assert_pread(mount, 100, index * MIB)
    tags = {request.headers.get("if-range") for request in server.matching(URL)[1:]}
    assert len(tags) == 1 and None not in tags
    assert "if-range" not in server.matching(URL)[0].headers


def test_random_reads_fetch_exact_blocks(mount, server):
    numbers = random.Random(5)
    wanted = set()
    for _ in range(6):
        index = numbers.randrange(1, 23)
        wanted.add(index)
        assert_pread(mount, 1000, index * MIB + numbers.randrange(MIB - 1000))
    assert set(blocks(server)) == wanted
    assert len(blocks(server)) == len(wanted), "each block once"


def test_sequential_reading_gets_all_of_it_once_with_few_requests(mount, server):
    digest = hashlib.md5()
    with open(mount / TABLE, "rb", buffering=0) as file:
        while piece := file.read(128 * 1024):
            digest.update(piece)
    assert digest.digest() == hashlib.md5(BIG).digest()
    wait_for(lambda: mount.xattr(TABLE, "state") == "resident", what="complete")
    assert server.sent(URL) == SIZE
    assert server.count(URL) <= 12


def test_from_a_third_on_the_rest_is_fetched_too_and_verified(agnes, mount, server):
    for index in range(0, 16, 2):
        assert_pread(mount, 10, index * MIB)
    assert mount.xattr(TABLE, "state") == "partial"
    assert_pread(mount, 10, 17 * MIB)
    wait_for(lambda: mount.xattr(TABLE, "state") == "resident", what="complete")
    assert server.sent(URL) == SIZE, "nothing twice"
    assert agnes.cache().blob(BIG).read_bytes() == BIG
    assert agnes.cache().partials() == []


def test_what_is_complete_gets_the_full_inode_and_the_old_handle_reads_on(mount, server):
    with open(mount / TABLE, "rb", buffering=0) as file, \
            mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped:
        assert os.pread(file.fileno(), 100, 20 * MIB) == BIG[20 * MIB:20 * MIB + 100]
        before = os.fstat(file.fileno())
        assert (mount / TABLE).read_bytes() == BIG
        wait_for(lambda: mount.xattr(TABLE, "state") == "resident", what="complete")
        after = (mount / TABLE).stat()
        assert (before.st_ino, before.st_size, before.st_mtime_ns) == \
               (after.st_ino, after.st_size, after.st_mtime_ns)
        assert os.pread(file.fileno(), 100, 5 * MIB) == BIG[5 * MIB:5 * MIB + 100]
        assert mapped[23 * MIB:] == BIG[23 * MIB:]
    assert (mount / "data/marketing/big.parquet").read_bytes() == BIG
    assert server.sent(URL) == SIZE


def test_strict_serves_no_byte_before_the_whole_is_verified(agnes, stack, server):
    with agnes.mount(server.url, "prefetch=none", "verify=strict") as mount:
        server.clear()
        server.always(URL, Fault(flip=20 * MIB))
        with pytest.raises(OSError) as error:
            pread(mount / TABLE, 10, 0)
        assert error.value.errno == errno.EIO
        server.forget()
        server.clear()
        time.sleep(2.1)  # what failed is not asked for again at once
        assert_pread(mount, 10, 0)
        assert mount.xattr(TABLE, "state") == "resident"
        assert server.sent(URL) == SIZE


@pytest.mark.parametrize("kind", ["no ranges", "no ETag", "weak ETag"])
def test_sources_without_ranges_or_etag_are_read_whole(agnes, stack, server, kind):
    if kind == "no ranges":
        server.site = Folder(stack.folder, ranges=False)
    else:
        tag = None if kind == "no ETag" else 'W/"1"'
        server.always("/tables/*", Fault(headers={"ETag": tag}))
    with agnes.mount(server.url, "prefetch=none") as mount:
        server.clear()
        assert_pread(mount, 10, 12 * MIB)
        assert mount.xattr(TABLE, "state") == "resident"
        assert server.count(URL) <= 2
        assert server.sent(URL) <= SIZE + 2 * MIB
        assert (mount / TABLE).read_bytes() == BIG


def test_a_file_source_has_ranges_too(agnes, stack):
    with agnes.mount(stack.url, "prefetch=none") as mount:
        assert_pread(mount, 10, 12 * MIB)
        assert mount.xattr(TABLE, "state") == "partial"
        assert (mount / TABLE).read_bytes() == BIG


def test_wrong_bytes_fail_the_handles_that_saw_them_and_are_fetched_once_more(mount, server):
    """Served by block they can only be noticed at the end; then nobody may go on with them."""
    server.always(URL, Fault(flip=2 * MIB + 7))
    with open(mount / TABLE, "rb", buffering=0) as file:
        assert os.pread(file.fileno(), 10, 2 * MIB)[7] == BIG[2 * MIB + 7] ^ 1
        server.forget()
        with pytest.raises(OSError) as error:
            for index in range(0, 25):
                os.pread(file.fileno(), 10, min(index * MIB, SIZE - 10))
            wait_for(lambda: mount.xattr(TABLE, "state") == "resident", what="fetched anew")
            os.pread(file.fileno(), 10, 3 * MIB + 4096)
        assert error.value.errno == errno.EIO
    wait_for(lambda: mount.xattr(TABLE, "state") == "resident", what="fetched anew")
    assert (mount / TABLE).read_bytes() == BIG
    assert server.sent(URL) <= 2 * SIZE + MIB


def test_a_new_version_on_the_server_is_never_spliced(agnes, stack, mount, server):
    """The file changes there before the manifest says so: other bytes than promised."""
    assert_pread(mount, 10, 3 * MIB)
    other = bytearray(BIG)
    other[5 * MIB:5 * MIB + 100] = b"x" * 100
    write_atomically(stack.folder / "tables/big.parquet", other)
    try:
        found = pread(mount / TABLE, 100, 5 * MIB)
    except OSError as error:
        assert error.errno == errno.EIO
    else:
        assert found == b"x" * 100, "of one version, whatever it is"
    write_atomically(stack.folder / "tables/big.parquet", BIG)
    time.sleep(2.1)
    assert (mount / TABLE).read_bytes() == BIG


def test_a_thousand_readers_of_one_cold_blob_fetch_its_bytes_once(mount, server):
    failures = []
    go = threading.Event()

    def read(number):
        go.wait()
        offset = number * (SIZE // 1000)
        try:
            found = pread(mount / TABLE, 5000, offset)
            if found != BIG[offset:offset + 5000]:
                failures.append((number, len(found)))
        except OSError as error:
            failures.append((number, error))

    threads = [threading.Thread(target=read, args=(number,)) for number in range(1000)]
    for thread in threads:
        thread.start()
    go.set()
    for thread in threads:
        thread.join(60)
    assert failures == []
    wait_for(lambda: mount.xattr(TABLE, "state") == "resident", what="complete")
    assert server.sent(URL) == SIZE
    assert sorted(blocks(server)) == list(range(25))


def test_a_thousand_readers_of_one_block_make_one_request(mount, server):
    server.always(URL, Fault(delay=0.5))
    found = []
    threads = [threading.Thread(target=lambda: found.append(pread(mount / TABLE, 100, 9 * MIB)))
               for _ in range(1000)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert found == [BIG[9 * MIB:9 * MIB + 100]] * 1000
    assert server.count(URL) == 1


def daemon_of(agnes):
    return next(pid for pid, line in agnes.processes().items() if " mount " in line)


def test_killed_during_a_fetch_what_came_is_not_fetched_again(agnes, stack, server):
    with agnes.mount(server.url, "prefetch=none") as mount:
        for index in (2, 3, 11, 24):
            assert_pread(mount, 10, min(index * MIB, SIZE - 10))
        wait_for(lambda: sorted(blocks(server)) == [0, 2, 3, 11, 24])
        time.sleep(0.2)
        os.kill(daemon_of(agnes), signal.SIGKILL)
        wait_for(lambda: not agnes.processes(), what="dead")
        mount.umount("--lazy")
    server.clear()
    with agnes.mount(server.url, "prefetch=none") as mount:
        server.clear()
        assert mount.xattr(TABLE, "state") == "partial"
        for index in (2, 3, 11):
            assert_pread(mount, 1000, index * MIB + 1234)
        assert server.count(URL) == 0
        assert (mount / TABLE).read_bytes() == BIG
        wait_for(lambda: mount.xattr(TABLE, "state") == "resident", what="complete")
        assert server.sent(URL) == SIZE - 4 * MIB - SIZE % MIB


def test_partials_that_rotted_are_noticed_before_a_byte_is_served(agnes, stack, server):
    with agnes.mount(server.url, "prefetch=none") as mount:
        for index in (2, 3):
            assert_pread(mount, 10, index * MIB)
    partial = next(path for path in (agnes.cache().root / "partial").iterdir()
                   if not path.name.endswith(".map"))
    with open(partial, "r+b") as file:
        file.seek(2 * MIB + 500)
        file.write(b"rot")
    with agnes.mount(server.url, "prefetch=none") as mount:
        server.clear()
        assert_pread(mount, 1000, 2 * MIB)
        assert_pread(mount, 1000, 3 * MIB)
        assert blocks(server) == [2]


def test_demand_overtakes_prefetch(agnes, stack, server):
    for index in range(12):
        stack.add_package(f"p{index}", stack.add_table(f"t{index}", raw(b"%d" % index * 3 * MIB)))
    stack.write()
    server.bandwidth = 20 * MIB
    with agnes.mount(server.url, "prefetch=all", "jobs=2") as mount:
        wait_for(lambda: server.sent("/tables/*") > 2 * MIB, what="prefetch runs")
        begin = time.monotonic()
        assert_pread(mount, 10, 13 * MIB)
        assert time.monotonic() - begin < 1, "one block, not all that stood in line"


def test_a_failing_file_delays_no_other(mount, server):
    server.always(URL, Fault(status=503))
    reader = subprocess.Popen(["cat", mount / TABLE], stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: server.count(URL) > 0)
        begin = time.monotonic()
        assert (mount / "data/sales/small.parquet").read_bytes() == raw(b"small")
        assert time.monotonic() - begin < 1
    finally:
        reader.kill()
        reader.wait(5)


def test_looking_at_a_thousand_cold_tables_makes_no_request(agnes, stack, server):
    tables = [stack.add_table(f"t{index:04}", raw(b"%d" % index * 100)) for index in range(1000)]
    stack.add_package("many", *tables)
    stack.write()
    with agnes.mount(server.url, "prefetch=none") as mount:
        server.clear()
        for command in (["ls", "-lR"], ["du", "-a"], ["find", "-ls"], ["stat", "-f"],
                        ["find", "-type", "f", "-exec", "test", "-r", "{}", ";"]):
            subprocess.run([command[0], *([] if command[0] == "find" else command[1:]),
                            str(mount.path), *(command[1:] if command[0] == "find" else [])],
                           check=True, stdout=subprocess.DEVNULL, timeout=60)
        for index in range(0, 1000, 7):
            with open(mount / f"data/many/t{index:04}.parquet", "rb"):
                pass
        assert server.requests == []


def test_ten_thousand_cold_tables_are_listed_at_once(agnes, stack, server):
    rows = []
    for index in range(10_000):
        row = {**stack.rows["big"], "id": f"t{index}", "name": f"t{index:05}",
               "md5": hashlib.md5(b"%d" % index).hexdigest()}
        row["hash"] = row["md5"]
        rows.append(row)
    stack.write_manifest({"data_packages": [{"slug": "many", "name": "Many", "tables": rows}],
                          "memory_domains": [], "direct_tables": []})
    begin = time.monotonic()
    with agnes.mount(server.url, "prefetch=none") as mount:
        assert len(os.listdir(mount / "data/many")) == 10_001  # and README.md
        assert time.monotonic() - begin < (10 if "asan" in agnes_binary() else within(1))
        assert server.count() == 1


def agnes_binary():
    from tests.lib.agnesfs import BINARY
    return str(BINARY)


def test_interrupted_reader_ends_and_the_transfer_goes_on(mount, server):
    server.always(URL, Fault(delay=1.5))
    reader = subprocess.Popen(["head", "-c", "10", mount / TABLE], stdout=subprocess.DEVNULL)
    wait_for(lambda: server.count(URL) == 1)
    begin = time.monotonic()
    reader.send_signal(signal.SIGINT)
    reader.wait(5)
    assert time.monotonic() - begin < 0.5
    wait_for(lambda: server.sent(URL) == MIB, what="the block came all the same")
    assert_pread(mount, 10, 0)
    assert server.count(URL) == 1


def test_a_server_that_restarts_is_waited_for(mount, server):
    server.always(URL, Fault(status=503))
    threading.Timer(4, server.forget).start()
    assert_pread(mount, 100, 6 * MIB)


def test_without_progress_a_read_ends_with_a_reason(mount, server):
    server.always(URL, Fault(stall=100))
    begin = time.monotonic()
    with pytest.raises(OSError) as error:
        pread(mount / TABLE, 10, 0)
    assert error.value.errno in (errno.ETIMEDOUT, errno.EIO)
    assert 8 < time.monotonic() - begin < 25
    assert "no progress" in mount.xattr(TABLE, "error")
    problems = mount.status(expect=None)["problems"]
    assert any("big.parquet" in problem["path"] for problem in problems), json.dumps(problems)
