"""What starts agnesfs at boot: fstab, mount(8), and systemd's units with their watchdog."""

import contextlib
import ctypes
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest

from tests.lib.agnesfs import BINARY, ROOT, wait_for
from tests.lib.stack import raw

ORDERS = "data/sales/orders.parquet"
WATCHDOG_SECONDS = 0.4
PTRACE_SEIZE, PTRACE_INTERRUPT, PTRACE_DETACH = 0x4206, 0x4207, 17
BUILD = Path(os.environ.get("AGNESFS_BUILD", ROOT / "build/dev"))


@pytest.fixture
def stack(stack):
    stack.add_package("sales", stack.add_table("orders", raw(b"orders")))
    return stack.write()


# --- what systemd is told -------------------------------------------------------------------------

class Manager:
    """Hears what a service tells systemd: `said`, in order. Always listens: whoever tells a manager
    that does not, waits."""

    def __init__(self, agnes):
        path = agnes.folder / "notify"
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.said = []
        threading.Thread(target=self._listen, daemon=True).start()
        agnes.env |= {"NOTIFY_SOCKET": str(path),
                      "WATCHDOG_USEC": str(int(WATCHDOG_SECONDS * 1e6))}

    def _listen(self):
        while said := self.socket.recv(4096):
            self.said += said.decode().splitlines()

    def wait_for(self, line, times=1):
        wait_for(lambda: self.said.count(line) >= times, 30, f"{line}, {times} times")


@pytest.fixture
def manager(agnes):
    return Manager(agnes)


def serve(agnes, source):
    folder = agnes.folder / "agnes"
    folder.mkdir()
    process = agnes.start("mount", source, folder, "--foreground",
                          "-o", "refresh=off,prefetch=none,report=off")
    return folder, process


def test_systemd_is_told_how_it_is(agnes, server, stack, manager):
    folder, process = serve(agnes, server.url)
    manager.wait_for("READY=1")
    assert (folder / ORDERS).read_bytes() == raw(b"orders"), "ready: it answers"
    size = len(raw(b"orders"))
    manager.wait_for(f"STATUS=1 table ({size} B), generation 1")
    server.close()
    agnes.run("refresh", folder, expect=None)
    wait_for(lambda: any(re.match(rf"STATUS=1 table \({size} B\) as last known; refresh failed: .+",
                                  line) for line in manager.said), 30)
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
    manager.wait_for("STOPPING=1")


def serving_threads(pid):
    """Those that wait for requests of the kernel."""
    device = {fd.name for fd in Path(f"/proc/{pid}/fd").iterdir()
              if os.readlink(fd) == "/dev/fuse"}
    found = set()
    for task in Path(f"/proc/{pid}/task").iterdir():
        call = (task / "syscall").read_text().split()
        if call[0] == "0" and str(int(call[1], 16)) in device:  # read(2) on x86-64
            found.add(int(task.name))
    return found


def ptrace(request, tid):
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    libc.ptrace.restype = ctypes.c_long
    assert libc.ptrace(request, tid, None, None) == 0, os.strerror(ctypes.get_errno())


@contextlib.contextmanager
def held(threads):
    for tid in threads:
        ptrace(PTRACE_SEIZE, tid)
        ptrace(PTRACE_INTERRUPT, tid)
        os.waitpid(tid, 0x40000000)  # __WALL
    try:
        yield
    finally:
        for tid in threads:
            ptrace(PTRACE_DETACH, tid)


def test_the_watchdog_hears_of_the_loop_that_serves_and_of_nobody_else(agnes, stack, manager):
    folder, process = serve(agnes, stack.url)
    manager.wait_for("WATCHDOG=1", 3)
    threads = wait_for(lambda: serving_threads(process.pid), 30, "threads wait for requests")
    with held(threads):
        before = manager.said.count("WATCHDOG=1")
        time.sleep(3 * WATCHDOG_SECONDS)
        assert manager.said.count("WATCHDOG=1") == before, "nobody serves"
    manager.wait_for("WATCHDOG=1", before + 3)
    agnes.run("umount", folder)
    assert process.wait(30) == 0


def test_nobody_is_told_who_does_not_ask(agnes, stack, manager):
    del agnes.env["WATCHDOG_USEC"]
    folder, process = serve(agnes, stack.url)
    manager.wait_for("READY=1")
    threads = {(task / "comm").read_text() for task in Path(f"/proc/{process.pid}/task").iterdir()}
    assert threads and "WATCHDOG=1" not in manager.said
    agnes.run("umount", folder)
    assert process.wait(30) == 0


@pytest.mark.parametrize("unit", ["agnesfs.service", "agnesfs@.service"])
def test_the_units_are_sound(agnes, unit):
    text = re.sub(r"=(-?)\S*/bin/agnesfs ", rf"=\1{shutil.which('true')} ",
                  (BUILD / unit).read_text())
    copy = agnes.folder / unit.replace("@", "@1000")
    copy.write_text(text)
    found = subprocess.run(["systemd-analyze", "verify", copy], capture_output=True, text=True,
                           timeout=30, check=False)
    assert "agnesfs" not in found.stderr, found.stderr


# --- mount(8) and fstab ---------------------------------------------------------------------------

BOOT = """
mount --bind {sbin} /usr/sbin
mount --bind {home} ~root
mount -t tmpfs tmpfs /run
mkdir -p /run/lock
{commands}
"""


def boot(agnes, commands):
    """Runs this as a machine does when it starts: as root, and with next to no environment; with a
    /usr/sbin, a /run and a home for root of our own."""
    sbin = agnes.folder / "sbin"
    sbin.mkdir()
    (sbin / "mount.agnesfs").symlink_to(BINARY)
    script = BOOT.format(sbin=sbin, home=agnes.home, commands=commands)
    sanitizers = [f"{name}={value}" for name, value in agnes.env.items() if "SAN_OPTIONS" in name]
    return subprocess.run(
        ["env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", *sanitizers, "unshare", "--mount",
         "--propagation", "private", "bash", "-euc", script],
        capture_output=True, text=True, timeout=60, check=False)


def test_mount_does_it(agnes, stack, server):
    folder = agnes.folder / "agnes"
    folder.mkdir()
    done = boot(agnes, f"""
        mount -t agnesfs {server.url} {folder} -o refresh=off,allow-other
        md5sum < {folder / ORDERS}
        findmnt -n -o FSTYPE,SOURCE {folder}
        umount {folder}
    """)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].split() == ["fuse.agnesfs", server.url]


def test_a_line_in_fstab_does_it_once(agnes, stack, server):
    folder = agnes.folder / "srv/agnes"
    fstab = agnes.folder / "fstab"
    fstab.write_text(f"{server.url} {folder} agnesfs "
                     "allow-other,refresh=off,_netdev,nofail,X-mount.mkdir 0 0\n")
    done = boot(agnes, f"""
        mount -a -T {fstab}
        mount -a -T {fstab}
        stat -c %s {folder / ORDERS}
        grep -c ' {folder} ' /proc/self/mounts
        umount {folder}
    """)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-2:] == [str(len(raw(b"orders"))), "1"]
