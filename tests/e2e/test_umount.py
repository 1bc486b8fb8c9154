"""umount of a mount that is in use: it says who keeps it, and the mount serves on."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.lib.agnesfs import BINARY, wait_for
from tests.lib.stack import raw

ORDERS = "data/sales/orders.parquet"
NOBODY = 65534
MAP = f"""# by hand: Python's own mmap keeps a descriptor
import ctypes
fd = os.open(sys.argv[1] + '/{ORDERS}', os.O_RDONLY)
ctypes.CDLL(None).mmap(None, ctypes.c_size_t(4096), 1, 2, fd, ctypes.c_long(0))
os.close(fd)
"""


@pytest.fixture
def mount(agnes, stack):
    stack.add_package("sales", stack.add_table("orders", raw(b"orders" * 999)))
    stack.write()
    with agnes.mount(stack.url, "prefetch=none") as mount:
        yield mount


class Program:
    """A process that does something to the mount, says so, and stays."""

    def __init__(self, code, *args, **named):
        self.process = subprocess.Popen(
            [sys.executable, "-c", f"import os, sys\n{code}\nprint('there', flush=True)\n"
             "sys.stdin.read()", *map(str, args)],
            stdin=named.pop("stdin", subprocess.PIPE), stdout=subprocess.PIPE, text=True, **named)
        assert self.process.stdout.readline() == "there\n"

    def __enter__(self):
        return self.process.pid

    def __exit__(self, *exception):
        self.process.kill()
        self.process.communicate(timeout=30)


def holders(mount, *args):
    """What --json says of a busy mount, which answers in time and serves on."""
    begin = time.monotonic()
    result = mount.umount("--json", *args, expect=6)
    print(f"{time.monotonic() - begin:.2f} s")
    document = result.json()
    assert (document["exit"], document["schema"]) == (6, 1)
    assert document["mountpoint"] == str(mount.path)
    assert f"agnesfs umount --lazy {mount.path}" in document["hint"]
    return document


def one(document):
    [holder] = document["holders"]
    return holder


def test_an_open_file_is_named_with_its_process(mount):
    with Program("file = open(sys.argv[1], 'rb')", mount / ORDERS) as pid:
        command = Path(f"/proc/{pid}/comm").read_text().strip()
        assert one(holders(mount)) == {
            "pid": pid, "uid": os.getuid(), "user": "root", "how": "file",
            "command": command, "other_namespace": False, "path": ORDERS}
        assert (mount / ORDERS).read_bytes().startswith(b"PAR1")
    assert mount.umount().err == ""


@pytest.mark.parametrize("how, code, path", [
    ("cwd", "os.chdir(sys.argv[1] + '/data/sales')", "data/sales"),
    ("cwd", "os.chdir(sys.argv[1])", ""),
    ("root", "os.chroot(sys.argv[1])", ""),
    ("file", "os.open(sys.argv[1] + '/data', os.O_RDONLY)", "data"),
    ("mmap", MAP, ORDERS),
])
def test_every_way_to_hold_it_is_found(mount, how, code, path):
    with Program(code, mount.path) as pid:
        holder = one(holders(mount))
        assert (holder["pid"], holder["how"], holder["path"]) == (pid, how, path)


def test_another_mount_in_it_is_named(mount, tmp_path):
    subprocess.run(["mount", "-t", "tmpfs", "inner", mount / "data"], check=True, timeout=30)
    try:
        holder = one(holders(mount))
        assert (holder["pid"], holder["how"]) == (None, "mount")
        assert (holder["command"], holder["path"]) == ("tmpfs", "data")
    finally:
        subprocess.run(["umount", mount / "data"], check=True, timeout=30)


def test_the_text_is_a_table_between_sentence_and_hint(mount):
    with Program("file = open(sys.argv[1], 'rb')", mount / ORDERS) as reader, \
         Program("os.chdir(sys.argv[1])", mount / "data") as sitter:
        lines = mount.umount(expect=6).err.splitlines()
    assert lines[0] == f"agnesfs: {mount.path}: busy: 2 holders"
    assert lines[1].split() == ["PID", "USER", "COMMAND", "PATH"]
    rows = sorted((line.split()[0], line.split()[-1], "(cwd)" in line) for line in lines[2:4])
    assert rows == sorted([(str(reader), ORDERS, False), (str(sitter), "data", True)])
    lines = [line for line in lines if "could not be looked into" not in line]
    assert lines[4:] == [f"hint: close them, or: agnesfs umount --lazy {mount.path}"]


def test_a_file_of_the_same_name_below_the_mount_is_none(agnes, stack):
    """A shell that was in the folder before anything was mounted there."""
    folder = agnes.folder / "agnes"
    folder.mkdir()
    with Program("os.chdir(sys.argv[1])", folder):
        with agnes.mount(stack.write().url) as mount:
            mount.umount()


def test_it_does_not_keep_itself_busy(agnes, mount):
    done = subprocess.run(["sh", "-c", f"cd {mount.path} && exec {BINARY} umount ."],
                          env=agnes.env, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_root_sees_the_processes_of_others(mount):
    with open(mount / ORDERS, "rb") as file:
        other = subprocess.Popen(["sleep", "600"], user=NOBODY, group=NOBODY, extra_groups=[],
                                 pass_fds=[file.fileno()])
    try:
        holder = one(holders(mount))
        assert (holder["pid"], holder["uid"], holder["user"]) == (other.pid, NOBODY, "nobody")
        assert (holder["command"], holder["path"]) == ("sleep", ORDERS)
    finally:
        other.kill()
        other.wait(30)


def test_who_may_not_look_into_others_is_told_how_many(agnes, mount):
    with Program("file = open(sys.argv[1], 'rb')", mount / ORDERS):
        blind = ["setpriv", "--bounding-set", "-sys_ptrace", "--inh-caps", "-sys_ptrace"]
        done = subprocess.run([*blind, BINARY, "umount", mount.path, "--json"], env=agnes.env,
                              capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 6, done
        document = json.loads(done.stdout)
        assert document["holders"] == [] and document["unseen"] > 0
        assert f"{document['unseen']} process" in done.stderr
        assert "busy: something in it is in use" in done.stderr


def test_holders_in_another_mount_namespace_are_found(mount):
    """Their file was opened here, or on a copy of the mount that the kernel keeps with this one."""
    space = ("import ctypes\nfile = open(sys.argv[1], 'rb')\n"
             "assert ctypes.CDLL(None).unshare(0x20000) == 0")
    with Program(space, mount / ORDERS) as pid:
        holder = one(holders(mount))
        assert (holder["pid"], holder["path"]) == (pid, ORDERS)
        assert holder["other_namespace"]


def test_a_hung_mount_is_asked_nothing(agnes, mount):
    """Its process is stopped, a reader waits for it: the answer comes all the same."""
    [daemon] = [pid for pid, line in agnes.processes().items() if " mount " in line]
    with Program("file = open(sys.argv[1], 'rb')", mount / ORDERS) as pid:
        os.kill(daemon, 19)
        try:
            reader = subprocess.Popen(["cat", mount / ".agnes/status.json"],
                                      stdout=subprocess.DEVNULL)
            begin = time.monotonic()
            document = holders(mount)
            assert time.monotonic() - begin < 10  # in itself 2 s; the machine may be busy
            assert pid in [holder["pid"] for holder in document["holders"]]
        finally:
            os.kill(daemon, 18)
            reader.wait(30)


def test_many_holders_are_cut_in_text_and_complete_in_json(mount):
    code = "files = [open(f'{sys.argv[1]}/{name}') for name in sys.argv[2:]]"
    programs = [Program(code, mount.path, "README.md") for _ in range(25)]
    try:
        assert "and 5 more: --json lists them" in mount.umount(expect=6).err
        assert len(holders(mount)["holders"]) == 25
    finally:
        for program in programs:
            program.__exit__()


def test_lazy_needs_no_list(agnes, mount):
    with Program("file = open(sys.argv[1], 'rb')", mount / ORDERS):
        mount.umount("--lazy")
        assert agnes.mountpoints() == []
    wait_for(lambda: not agnes.processes(), what="daemon gone")
