"""What is left behind by an end, kind or unkind, is soon in order again.

A cache of a hundred thousand blobs after a SIGKILL, transfers that are cut short, readers whose
mount is taken from under them, connections that the kernel cuts, dead mounts.
"""

import contextlib
import errno
import mmap
import os
import random
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

from tests.lib import agnesfs
from tests.lib.agnesfs import Agnesfs, wait_for
from tests.lib.effort import amount, seed, within
from tests.lib.faultd import Fault
from tests.lib.stack import Stack, raw

BLOBS = amount(standard=100_000, long=1_000_000)
SERVING_S = amount(standard=2, long=15)
MIB = 1 << 20
GONE = {errno.EIO, errno.ENOTCONN, errno.ECONNABORTED, errno.EINTR, errno.ETIMEDOUT}

pytestmark = pytest.mark.timeout(600)


def is_dead(path):
    try:
        os.statvfs(path)
    except OSError as error:
        return error.errno == errno.ENOTCONN
    return False


def kill(agnes, mount):
    pid = mount.status(expect=None)["pid"]
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: pid not in agnes.processes() and is_dead(mount.path), what="dead")


def assert_nothing_is_left(agnes, seconds=2):
    """Neither process, nor mount, nor lock; and the cache was closed in order."""
    wait_for(lambda: not agnes.processes(), seconds, what="the process has ended")
    assert agnes.mountpoints() == []
    assert list(agnes.runtime.glob("agnesfs/*")) == []
    assert (agnes.cache().root / "clean").exists()


# --- a hundred thousand blobs ---

def plant(cache, contents):
    """What a sync would have left behind, a little faster."""
    cache.shared.mkdir(mode=0o700, exist_ok=True)
    for shard in range(256):
        (cache.shared / f"{shard:02x}").mkdir(mode=0o700, exist_ok=True)
    for content in contents:
        descriptor = os.open(cache.blob(content), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400)
        os.write(descriptor, content)
        os.close(descriptor)
    subprocess.run(["sync", "--file-system", cache.shared], check=True, timeout=120)


def test_after_a_sigkill_a_big_cache_serves_within_two_seconds(agnes, stack):
    random.seed(seed())
    parts = {f"p{number // 1000:04}/{number:07}.parquet": raw(b"%d" % number)
             for number in range(BLOBS)}
    stack.add_package("big", stack.add_table("big", parts))
    stack.write_manifest(stack.manifest())
    with agnes.mount(stack.url, "prefetch=none"):
        pass
    plant(agnes.cache(), parts.values())
    assert agnes.verify(stack.url, "--repair").findings == set()
    mount = agnes.mount(stack.url)
    assert mount.status()["resident_files"] == BLOBS, "the cache is full"
    for round in range(3):
        kill(agnes, mount)
        sample = random.sample(sorted(parts), 100)
        begin = time.monotonic()
        agnes.start("mount", stack.url, mount.path, "--foreground", "-o", "refresh=off")
        wait_for(lambda: not is_dead(mount.path) and (mount / "data").exists(), what="mounted")
        for path in sample:
            assert (mount / f"data/big/big/{path}").read_bytes() == parts[path]
        seconds = time.monotonic() - begin
        print(f"serving after {seconds:.2f} s")
        assert seconds < within(SERVING_S)
    status = mount.status(expect=None)
    assert (status["files"], status["error"], status["problems"]) == (BLOBS, None, [])
    begin = time.monotonic()
    mount.umount()
    assert time.monotonic() - begin < within(2), "while what is doubted is being looked at"
    assert_nothing_is_left(agnes)


# --- an end in the middle of transfers ---

def noise(number, size):
    """Its last bytes are no length of a footer, to those who look for one."""
    return raw(random.Random(number).randbytes(size) + b"\xff" * 4)


BIG = {f"big{number}": noise(number, 6 * MIB) for number in range(6)}
HUGE = noise(99, 24 * MIB)


@pytest.fixture
def filling(stack):
    stack.add_package("sales", stack.add_table("huge", HUGE),
                      *(stack.add_table(name, content) for name, content in BIG.items()))
    return stack.write()


class Reader(threading.Thread):
    """Reads to the end, or to the error."""

    def __init__(self, path, offset=0):
        super().__init__(daemon=True)
        self.path, self.offset, self.content, self.error = path, offset, None, None
        self.start()

    def run(self):
        try:
            with open(self.path, "rb", buffering=0) as file:
                file.seek(self.offset)
                self.content = file.readall()
        except OSError as error:
            self.error = error.errno


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_told_to_end_during_transfers_it_does_within_two_seconds_and_keeps_what_came(
        agnes, filling, server, number):
    server.bandwidth = 8 * MIB
    mount = agnes.mount(server.url)
    readers = [Reader(mount / f"data/sales/{name}.parquet") for name in (*BIG, "huge")]
    readers.append(Reader(mount / "data/sales/huge.parquet", 20 * MIB))
    wait_for(lambda: server.sent("/tables/*") > 8 * MIB, 20, what="under way")
    status = mount.status(expect=None)
    assert status["transfers"]["running"] >= 4 and status["mount"]["parked_reads"] >= 4, status
    asking = agnes.start("refresh", mount.path)
    begin = time.monotonic()
    os.kill(status["pid"], number)
    wait_for(lambda: status["pid"] not in agnes.processes(), what="it has ended")
    assert time.monotonic() - begin < within(2)
    for reader in readers:
        reader.join(2)
        assert not reader.is_alive() and (reader.error in GONE or reader.content is not None)
    assert any(reader.error for reader in readers), "somebody was waiting"
    asking.wait(5)
    assert_nothing_is_left(agnes)

    sent = server.sent("/tables/*")
    server.clear()
    assert sent < len(HUGE) + sum(map(len, BIG.values())), "it was in the middle"
    server.bandwidth = 0
    agnes.sync(server.url)
    with agnes.mount(server.url, "prefetch=none") as mount:
        assert mount.files() == {f"data/sales/{name}.parquet": content for name, content
                                 in [*BIG.items(), ("huge", HUGE)]}
    again = sent + server.sent("/tables/*") - len(HUGE) - sum(map(len, BIG.values()))
    print(f"{again / MIB:.1f} MiB of {sent / MIB:.1f} came twice")
    assert again < sent, "what had come was not thrown away"
    assert any(request.range and not request.range.startswith("bytes=0-")
               for request in server.matching("/tables/big*")), "it went on where it had ended"


def test_told_to_end_while_the_server_hangs_it_does(agnes, filling, server):
    with agnes.mount(server.url, "prefetch=none"):
        pass
    server.always("/*", Fault(delay=60))
    mount = agnes.mount(server.url)
    readers = [Reader(mount / f"data/sales/{name}.parquet") for name in BIG]
    wait_for(lambda: server.count("/manifest.json") == 2 and
             mount.status(expect=None)["mount"]["parked_reads"] >= len(BIG), what="all hang")
    begin = time.monotonic()
    mount.umount("--lazy")
    os.kill(next(iter(agnes.processes())), signal.SIGTERM)
    wait_for(lambda: not agnes.processes(), what="it has ended")
    assert time.monotonic() - begin < within(2)
    for reader in readers:
        reader.join(2)
        assert reader.error in GONE
    assert_nothing_is_left(agnes)


# --- taken away from under its readers ---

@pytest.fixture
def held(agnes, filling, server):
    """A mount with handles of every kind: {name: descriptor}, and a reader that waits."""
    mount = agnes.mount(server.url, "prefetch=none", "timeout=5")
    (mount / "data/sales/big0.parquet").read_bytes()
    server.always("/tables/big5.parquet", Fault(delay=60))
    with contextlib.ExitStack() as stack:
        def opened(path, flags=os.O_RDONLY):
            descriptor = os.open(mount / path, flags)
            stack.callback(os.close, descriptor)
            return descriptor

        handles = {"resident": opened("data/sales/big0.parquet"),
                   "partial": opened("data/sales/huge.parquet"),
                   "cold": opened("data/sales/big1.parquet"),
                   "folder": opened("data/sales", os.O_DIRECTORY),
                   "text": opened("README.md"), "live": opened(".agnes/status.json")}
        assert os.pread(handles["partial"], 4, 9 * MIB) == HUGE[9 * MIB:9 * MIB + 4]
        os.listdir(handles["folder"])
        mapped = mmap.mmap(handles["resident"], 0, access=mmap.ACCESS_READ)
        stack.callback(mapped.close)
        reader = Reader(mount / "data/sales/big5.parquet")
        wait_for(lambda: server.count("/tables/big5.parquet") == 1)
        assert mount.status(expect=None)["mount"]["open_files"] >= 6
        yield mount, handles, reader, stack


def test_detached_it_serves_what_is_open_and_ends_with_the_last_handle(agnes, held, server):
    mount, handles, reader, stack = held
    pid = mount.status(expect=None)["pid"]
    subprocess.run(["umount", "-l", mount.path], check=True, timeout=60)
    assert agnes.mountpoints() == [] and os.listdir(mount.path) == []
    assert os.pread(handles["resident"], 6 * MIB, 0) == BIG["big0"][:6 * MIB]
    assert os.pread(handles["cold"], MIB, MIB) == BIG["big1"][MIB:2 * MIB]
    assert os.pread(handles["partial"], MIB, 3 * MIB) == HUGE[3 * MIB:4 * MIB]
    assert pid in agnes.processes()
    stack.close()
    server.close()
    reader.join(15)
    assert reader.error in GONE
    assert_nothing_is_left(agnes, seconds=5)


@contextlib.contextmanager
def connections(folder):
    """fusectl, which is not mounted everywhere."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "fusectl", "none", folder], check=True, timeout=60)
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True, timeout=60)


def errno_of(call, *args):
    try:
        call(*args)
    except OSError as error:
        return error.errno
    return 0


def test_a_connection_that_the_kernel_cuts_ends_it_whoever_holds_what(agnes, held, tmp_path):
    mount, handles, reader, stack = held
    number = os.minor(os.stat(mount.path).st_dev)
    with connections(tmp_path / "fusectl") as folder:
        (folder / str(number) / "abort").write_text("1")
    begin = time.monotonic()
    reader.join(2)
    assert reader.error in GONE
    for name in ("cold", "partial", "text", "live"):
        assert errno_of(os.pread, handles[name], 100, 0) in GONE, name
    wait_for(lambda: not agnes.processes(), what="it has ended")
    assert time.monotonic() - begin < within(2)
    assert_nothing_is_left(agnes)
    stack.close()
    assert agnes.verify(agnesfs_source(agnes), "--prefetch", "none").findings == set()


def agnesfs_source(agnes):
    """The source of the only cache there is, as its log has it."""
    line = next(line for line in agnes.logs().splitlines() if " mounted " in line)
    return line.split(" mounted ")[1].split(" at ")[0]


# --- dead mounts ---

def test_mounting_over_a_dead_mount_of_ones_own_works_with_handles_on_the_dead_one(
        agnes, filling, server):
    server.clear()
    mount = agnes.mount(server.url, "prefetch=none")
    table = mount / "data/sales/big0.parquet"
    for round in range(5):
        with open(table, "rb", buffering=0) as file:
            assert file.read(4) == b"PAR1"
            kill(agnes, mount)
            agnes.mount(server.url, "prefetch=none")
            assert table.read_bytes() == BIG["big0"]
            assert errno_of(os.listdir, mount.path) == 0
            assert errno_of(os.pread, file.fileno(), 100, 5 * MIB) in {0, *GONE}
            assert len(agnes.mountpoints()) == 1, "the dead one is gone"
    assert server.count("/tables/big0.parquet") <= 2, "what was fetched is still there"
    mount.umount()
    assert_nothing_is_left(agnes)


def test_a_mount_that_lives_is_never_taken_for_a_dead_one(agnes, filling):
    """Control: not while it is at work, nor while it is stopped and answers nothing."""
    with agnes.mount(filling.url, "prefetch=none") as mount:
        pid = mount.status()["pid"]
        agnes.run("mount", filling.url, mount.path, expect=5)
        os.kill(pid, signal.SIGSTOP)
        begin = time.monotonic()
        said = agnes.run("mount", filling.url, mount.path, expect=5).err
        assert time.monotonic() - begin < within(2)
        os.kill(pid, signal.SIGCONT)
        assert "mounted there already" in said
        assert mount.status()["pid"] == pid


def test_a_dead_mount_of_somebody_else_stays_theirs(agnes, tmp_path_factory):
    """Here root is the stranger: it could clear it away, and does not."""
    place = Path(subprocess.run(["mktemp", "-d"], capture_output=True, text=True,
                                check=True).stdout.strip())
    place.chmod(0o755)
    os.chown(place, 65534, 65534)
    user = "nobody"
    theirs = Agnesfs(place, user=user, capabilities=["sys_admin"])
    stack = Stack(place / "stack")
    stack.add_package("sales", stack.add_table("orders", raw(b"orders")))
    stack.write()
    subprocess.run(["chmod", "-R", "a+rX", stack.folder], check=True)
    binary, copy = agnesfs.BINARY, place / "agnesfs"
    copy.write_bytes(Path(binary).read_bytes())
    copy.chmod(0o755)
    device = os.stat("/dev/fuse").st_mode
    os.chmod("/dev/fuse", 0o666)
    try:
        agnesfs.BINARY = str(copy)
        mount = theirs.mount(stack.url, "allow-other=yes")
        kill(theirs, mount)
        said = agnes.run("mount", stack.url, mount.path, expect=5).err
        assert "a dead mount lies there" in said
        assert str(mount.path) in theirs.mountpoints()
        theirs.mount(stack.url, "allow-other=yes", path=mount.path)
        assert (mount / "data/sales/orders.parquet").read_bytes() == raw(b"orders")
        mount.umount()
    finally:
        agnesfs.BINARY = binary
        theirs.clean_up()
        os.chmod("/dev/fuse", device & 0o777)
        subprocess.run(["rm", "-rf", place], check=True)
