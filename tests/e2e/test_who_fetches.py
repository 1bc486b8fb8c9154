"""Which program causes which bytes."""

import os
import shutil
import subprocess
import threading

import pytest

from tests.lib.agnesfs import wait_for
from tests.lib.faultd import Fault
from tests.lib.stack import noise

SIZE = 500_000


@pytest.fixture
def mount(agnes, stack, server):
    tables = [stack.add_table(f"t{i}", noise(SIZE)) for i in range(3)]
    tables.append(stack.add_table("whole", noise(6 << 20)))
    tables.append(stack.add_table("big", noise(24 << 20)))
    stack.add_package("sales", *tables)
    stack.write()
    with agnes.mount(server.url, "prefetch=none") as mount:
        yield mount


def programs(mount):
    return {program["name"]: program for program in mount.status()["programs"]}


def test_each_byte_is_told_of_the_program_that_waited_for_it(mount, tmp_path):
    begin = mount.status()["transfers"]["bytes"]
    subprocess.run(["cat", mount / "data/sales/t0.parquet", mount / "data/sales/t1.parquet"],
                   check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["head", "-c", "10", mount / "data/sales/t2.parquet"], check=True,
                   stdout=subprocess.DEVNULL)
    for _ in range(2):  # what is here is nobody's doing
        subprocess.run(["wc", "-c", mount / "data/sales/t0.parquet"], check=True,
                       stdout=subprocess.DEVNULL)
        subprocess.run(["md5sum", mount / "data/sales/t0.parquet"], check=True,
                       stdout=subprocess.DEVNULL)
    found = programs(mount)
    assert set(found) == {"cat", "head"}
    assert found["cat"]["bytes"] == 2 * SIZE and found["cat"]["path"] == "data/sales/t1.parquet"
    assert found["head"]["bytes"] == SIZE  # ten of them were wanted, a small file comes whole
    assert found["cat"]["reads"] >= 2 and found["cat"]["waiting"] == 0
    assert mount.status()["transfers"]["bytes"] - begin == 3 * SIZE


def test_who_waits_now_is_told_with_the_file_and_how_far_it_is(mount, server, tmp_path):
    reader = tmp_path / "a-reader"
    shutil.copy(shutil.which("cat"), reader)
    server.always("/tables/whole.parquet", Fault(stall=4_000_000))
    process = subprocess.Popen([reader, mount / "data/sales/whole.parquet"],
                               stdout=subprocess.DEVNULL)
    try:
        program = wait_for(lambda: programs(mount).get("a-reader"), 30)
        assert program["pid"] == process.pid and program["waiting"] >= 1
        assert program["path"] == "data/sales/whole.parquet"

        def coming():
            files = mount.status()["transfers"]["files"]
            return files and files[0]["bytes"] and files

        file, = wait_for(coming, 30)
        assert file["path"] == "data/sales/whole.parquet" and file["size"] == 6 << 20
        assert file["bytes"] <= 4_000_000
    finally:
        process.kill()
        process.wait(30)


def test_many_threads_are_one_program_and_blocks_are_told_once(mount):
    """By block, several at a time: no byte is told twice."""
    path = mount / "data/sales/big.parquet"
    before = mount.status()["transfers"]["bytes"]
    offsets = range(0, path.stat().st_size, 1 << 20)

    def read(part):
        with open(path, "rb") as file:
            for offset in part:
                os.pread(file.fileno(), 4096, offset)

    threads = [threading.Thread(target=read, args=(offsets[i::4],)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    found = [program for program in mount.status()["programs"] if program["pid"] == os.getpid()]
    assert len(found) == 1, found
    fetched = mount.status()["transfers"]["bytes"] - before
    assert 0 < found[0]["bytes"] <= fetched
