"""kill -9 during a switch, with readers: the process dies, and nobody hangs.

The kernel makes the notification of a name wait for look-ups in its folder, and those wait for the
process that is being killed (fs/keeper.h).
"""

import multiprocessing
import os
import random
import subprocess
import time
from pathlib import Path

import pytest

from tests.crash.lives import SECONDS
from tests.lib.agnesfs import BINARY, wait_for
from tests.lib.effort import amount, seed
from tests.lib.stack import raw

ROUNDS = amount(standard=40, long=5_000)
READERS = 3
TABLES = 30
DEAD_SECONDS = 3


def write_version(stack, version):
    rows = [stack.add_table(f"t{i}", raw(b"%d %d" % (i, version if i % 2 else 0)))
            for i in range(TABLES)]
    stack.add_package("sales", *rows)
    stack.write()


def look_up(folder, stop):
    """Names that are not there are asked for each time."""
    number = 0
    while not stop.is_set():
        number += 1
        for name in (f"nothing-{os.getpid()}-{number}", f"t{number % TABLES}.parquet"):
            try:
                os.stat(f"{folder}/{name}")
            except OSError:
                pass


@pytest.fixture
def readers(tmp_path):
    stop = multiprocessing.Event()
    found = [multiprocessing.Process(target=look_up, args=(tmp_path / "agnes/data/sales", stop))
             for _ in range(READERS)]
    for reader in found:
        reader.start()
    yield found
    stop.set()
    for reader in found:
        reader.join(5)
        assert reader.exitcode == 0, "a reader hangs"


def abort(mountpoint):
    """So that a test which found something can end."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        if line.split()[4] == str(mountpoint):
            minor = line.split()[2].split(":")[1]
            Path(f"/sys/fs/fuse/connections/{minor}/abort").write_text("1")


@pytest.mark.timeout(SECONDS)
def test_the_process_dies_and_readers_go_on(agnes, stack, tmp_path, readers):
    mountpoint = tmp_path / "agnes"
    mountpoint.mkdir()
    moments = random.Random(seed())
    for round in range(ROUNDS):
        write_version(stack, round)
        process = agnes.start("mount", stack.url, mountpoint, "-o", "refresh=off,report=off",
                              "--foreground")
        wait_for(lambda: agnes.mountpoints(), 10, "mounted")
        wait_for(lambda: (mountpoint / "data/sales").is_dir(), 10, "mounted, and answers")
        write_version(stack, round + 1)
        refresh = subprocess.Popen([BINARY, "refresh", mountpoint], env=agnes.env,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(moments.uniform(0, 0.06))
        process.kill()
        try:
            wait_for(lambda: process.poll() is not None, DEAD_SECONDS,
                     f"dead, in round {round}")
        except AssertionError:
            abort(mountpoint)
            raise
        finally:
            agnes.run("umount", "--lazy", mountpoint, expect=None)
            refresh.wait(20)
