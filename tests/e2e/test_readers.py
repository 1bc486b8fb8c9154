"""Readers of what is not here yet: who asks the server, how often, and who waits for whom."""

import errno
import json
import os
import signal
import statistics
import subprocess
import sys
import threading
import time

import pytest

from tests.lib.agnesfs import wait_for
from tests.lib.faultd import Fault
from tests.lib.stack import raw

ORDERS = raw(bytes(range(256)) * 2048)  # half a megabyte
COLD = "data/sales/orders.parquet"
WARM = "data/sales/customers.parquet"
URL = "/tables/orders.parquet"

READER = """
import os, sys
file = os.open(sys.argv[1], os.O_RDONLY)
print("reads", flush=True)
try:
    print(len(os.read(file, 1 << 20)))
except KeyboardInterrupt:
    print("interrupted")
except OSError as error:
    print(error.errno)
"""


@pytest.fixture
def stack(stack):
    stack.add_package("sales", stack.add_table("orders", ORDERS),
                      stack.add_table("customers", raw(b"customers")))
    stack.add_package("marketing", stack.rows["orders"])
    clicks = {f"month=2026-0{month}/data.parquet": raw(b"%d" % month) for month in (5, 6, 7)}
    stack.add_package("events", stack.add_table("clicks", clicks))
    stack.add_domain("finance", "# Finance\n")
    return stack.write()


@pytest.fixture
def mount(agnes, stack, server):
    """Cold, and the server has forgotten what it was asked so far."""
    with agnes.mount(server.url, "prefetch=none") as mount:
        server.clear()
        yield mount


@pytest.fixture
def start_reader(mount):
    """Starts a process that reads a file at once; it has opened it when this returns."""
    readers = []

    def start(path=COLD):
        reader = subprocess.Popen([sys.executable, "-c", READER, mount / path], text=True,
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        readers.append(reader)
        assert reader.stdout.readline() == "reads\n"
        return reader

    yield start
    for reader in readers:
        reader.kill()
        reader.communicate(timeout=10)


def error_of_read(path):
    """Why a read of the file fails, None if it does not."""
    try:
        path.read_bytes()
    except OSError as error:
        return error.errno
    return None


def seconds(action):
    begin = time.monotonic()
    action()
    return time.monotonic() - begin


def getxattr(mount, path, name):
    try:
        return mount.xattr(path, name)
    except OSError as error:
        assert error.errno == errno.ENODATA
        return None


# --- who asks ---

def test_looking_around_asks_the_server_nothing(mount, server):
    for command in ("ls -lRa .", "find . -ls", "du -sb .", "df ."):
        subprocess.run(command.split(), cwd=mount.path, check=True, stdout=subprocess.DEVNULL,
                       timeout=30)
    for name in mount.names():
        os.stat(mount / name)
        for value in ("state", "md5", "rows", "updated"):
            getxattr(mount, name, value)
        if not name.endswith("/"):
            os.close(os.open(mount / name, os.O_RDONLY))
    json.loads((mount / ".agnes/status.json").read_text())
    assert mount.xattr(COLD, "state") == "cold"
    assert server.count() == 0, server.requests


def test_the_first_read_fetches_the_file_whole_and_the_next_ones_nothing(mount, server):
    assert mount.xattr(COLD, "state") == "cold"
    with open(mount / COLD, "rb", buffering=0) as file:
        file.seek(300_000)
        assert file.read(10) == ORDERS[300_000:300_010]
        assert server.count(URL) == 1
        assert server.sent(URL) == len(ORDERS)
        assert mount.xattr(COLD, "state") == "resident"
        file.seek(0)
        assert file.read(len(ORDERS)) == ORDERS
    assert (mount / "data/marketing/orders.parquet").read_bytes() == ORDERS
    assert server.count() == 1, "the same table under another name is the same file"


def test_nothing_else_is_fetched_with_it(mount, server):
    (mount / COLD).read_bytes()
    time.sleep(0.3)
    assert [request.path for request in server.requests] == [URL]
    assert mount.xattr(WARM, "state") == "cold"


def test_with_prefetch_all_becomes_resident_without_a_reader(agnes, stack, server):
    with agnes.mount(server.url, "prefetch=all") as mount:
        for name in mount.names():
            if not name.endswith("/"):
                wait_for(lambda name=name: mount.xattr(name, "state") == "resident", what=name)
        server.clear()
        assert mount.files()[COLD] == ORDERS
        assert server.count() == 0


def test_fifty_readers_of_one_cold_file_make_one_request(mount, server):
    server.always(URL, Fault(delay=0.5))
    found = []
    threads = [threading.Thread(target=lambda: found.append((mount / COLD).read_bytes()),
                                daemon=True) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(found) == 50 and all(content == ORDERS for content in found)
    assert server.count(URL) == 1


def test_readers_of_different_cold_files_do_not_wait_for_each_other(mount, server):
    server.always(URL, Fault(delay=1.5))
    slow = threading.Thread(target=(mount / COLD).read_bytes, daemon=True)
    slow.start()
    wait_for(lambda: server.count(URL) == 1)
    assert seconds((mount / WARM).read_bytes) < 1
    assert slow.is_alive()
    slow.join(10)


def test_an_empty_read_and_a_read_beyond_the_end_are_empty(mount, stack, server):
    with open(mount / COLD, "rb", buffering=0) as file:
        assert os.pread(file.fileno(), 100, len(ORDERS)) == b""
        assert os.pread(file.fileno(), 100, len(ORDERS) + 1_000_000) == b""
        assert os.pread(file.fileno(), 100, len(ORDERS) - 10) == ORDERS[-10:]


# --- who waits ---

def test_a_waiting_reader_ends_at_once_on_sigint(server, start_reader):
    server.always(URL, Fault(stall=1000))
    reader = start_reader()
    wait_for(lambda: server.count(URL) == 1)
    time.sleep(0.1)
    begin = time.monotonic()
    reader.send_signal(signal.SIGINT)
    assert reader.stdout.readline() == "interrupted\n"
    assert time.monotonic() - begin < 1
    assert reader.wait(5) == 0


def test_a_waiting_reader_ends_at_once_on_sigkill(server, start_reader):
    server.always(URL, Fault(stall=1000))
    reader = start_reader()
    wait_for(lambda: server.count(URL) == 1)
    time.sleep(0.1)
    begin = time.monotonic()
    reader.kill()
    assert reader.wait(5) == -signal.SIGKILL
    assert time.monotonic() - begin < 1


def test_the_others_still_get_their_bytes_when_one_waiting_reader_is_interrupted(
        server, start_reader):
    server.script(URL, Fault(delay=1.5))
    first, second, third = (start_reader() for _ in range(3))
    wait_for(lambda: server.count(URL) == 1)
    time.sleep(0.2)
    first.send_signal(signal.SIGINT)
    second.kill()
    assert first.stdout.readline() == "interrupted\n"
    assert third.poll() is None
    assert third.stdout.readline() == f"{len(ORDERS)}\n"
    assert server.count(URL) == 1


def test_an_interrupted_reader_can_read_again(mount, server, start_reader):
    server.script(URL, Fault(delay=1))
    reader = start_reader()
    wait_for(lambda: server.count(URL) == 1)
    time.sleep(0.1)
    reader.send_signal(signal.SIGINT)
    assert reader.wait(5) == 0
    assert (mount / COLD).read_bytes() == ORDERS
    assert server.count(URL) == 1, "the transfer went on"


def test_everything_else_answers_while_readers_wait(mount, server, start_reader):
    assert (mount / WARM).read_bytes()
    server.always(URL, Fault(stall=1000))
    for _ in range(12):  # more than there are threads
        start_reader()
    wait_for(lambda: server.count(URL) == 1)

    def read_warm():
        with open(mount / WARM, "rb") as file:
            assert file.read()

    def look():
        assert os.listdir(mount / "data/sales")
        assert os.stat(mount / COLD).st_size == len(ORDERS)
        assert getxattr(mount, COLD, "state") == "cold"

    for action in (read_warm, look):
        assert statistics.median(seconds(action) for _ in range(9)) < 0.1
    assert seconds(lambda: subprocess.run(["ls", "-lR", mount.path], check=True, timeout=10,
                                          stdout=subprocess.DEVNULL)) < 1
    assert mount.status()["generation"] >= 1


def test_a_read_without_progress_ends_after_the_timeout(agnes, stack, server):
    with agnes.mount(server.url, "prefetch=none", "timeout=1s") as mount:
        server.always(URL, Fault(stall=1000))
        begin = time.monotonic()
        assert error_of_read(mount / COLD) in (errno.ETIMEDOUT, errno.EIO)
        assert 0.9 < time.monotonic() - begin < 15
        assert getxattr(mount, COLD, "error")
        server.forget()
        wait_for(lambda: error_of_read(mount / COLD) is None, what="recovered")


# --- who fails ---

FAILURES = {
    "404": (Fault(status=404), {errno.ESTALE, errno.EIO}, "404"),
    "410": (Fault(status=410), {errno.ESTALE, errno.EIO}, "410"),
    "401": (Fault(status=401), {errno.EACCES}, "401"),
    "403": (Fault(status=403), {errno.EACCES}, "403"),
    "500": (Fault(status=500), {errno.EIO}, "500"),
    "other bytes": (Fault(flip=1000), {errno.EIO}, "bytes"),
    "a login page": (Fault(html=True), {errno.EIO}, ""),
    "too short": (Fault(body=ORDERS[:1000]), {errno.EIO}, ""),
    "too long": (Fault(body=ORDERS + b"x"), {errno.EIO}, ""),
}


def problems_of(mount):
    return mount.status(expect=None)["problems"]


@pytest.mark.parametrize("failure", FAILURES)
def test_a_read_fails_with_its_reason_and_recovers_with_the_server_from(mount, server, failure):
    fault, errors, word = FAILURES[failure]
    server.always(URL, fault)
    assert error_of_read(mount / COLD) in errors
    assert mount.xattr(COLD, "state") == "error"
    reason = mount.xattr(COLD, "error")
    assert word in reason and reason.isprintable(), reason
    problems = problems_of(mount)
    assert len(problems) == 1 and reason in json.dumps(problems, ensure_ascii=False), problems
    assert "orders" in json.dumps(problems)
    assert (mount / WARM).read_bytes(), "other files are not affected"
    assert os.stat(mount / COLD).st_size == len(ORDERS)

    server.forget()
    wait_for(lambda: error_of_read(mount / COLD) is None, what="recovered")
    assert (mount / COLD).read_bytes() == ORDERS
    assert mount.xattr(COLD, "state") == "resident"
    assert getxattr(mount, COLD, "error") is None
    assert problems_of(mount) == []
    assert mount.status()["state"] == "ready"


def test_a_failing_file_is_no_request_storm(mount, server):
    server.always(URL, Fault(status=404))
    begin = time.monotonic()
    while time.monotonic() - begin < 1:
        assert error_of_read(mount / COLD) in (errno.ESTALE, errno.EIO)
    assert server.count(URL) < 40


def test_a_short_outage_is_bridged_without_the_reader_noticing(mount, server):
    server.script(URL, Fault(status=503), Fault(cut=100_000))
    assert (mount / COLD).read_bytes() == ORDERS
    assert server.count(URL) == 3


def test_readers_waiting_for_one_failing_file_all_get_the_error_soon(server, start_reader):
    server.always(URL, Fault(delay=0.5, status=403))
    begin = time.monotonic()
    readers = [start_reader() for _ in range(8)]
    assert [reader.stdout.readline() for reader in readers] == [f"{errno.EACCES}\n"] * 8
    assert time.monotonic() - begin < 5
