"""How the process behind a mount died is known afterwards, and mounting again mends it.

A fatal signal writes its name into the log before it kills; of a SIGKILL the next start finds that
nobody said goodbye, and asks the kernel whether it has killed for want of memory meanwhile.
"""

import errno
import os
import re
import shutil
import signal
import time
from pathlib import Path

import pytest

from tests.lib.agnesfs import ROOT, Mount, wait_for
from tests.lib.effort import within
from tests.lib.stack import raw

TOLD = [signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGQUIT,
        signal.SIGSEGV, signal.SIGSYS, signal.SIGTRAP, signal.SIGUSR1, signal.SIGUSR2,
        signal.SIGXCPU]
ORDERS = raw(b"orders")
TABLE = "data/sales/orders.parquet"


@pytest.fixture
def stack(stack):
    stack.add_package("sales", stack.add_table("orders", ORDERS))
    return stack.write()


def is_dead(mount):
    try:
        os.statvfs(mount.path)
    except OSError as error:
        return error.errno == errno.ENOTCONN
    return False


def kill(agnes, mount, number):
    """The pid of the process that was killed."""
    pid = mount.status(expect=None)["pid"]
    os.kill(pid, number)
    wait_for(lambda: pid not in agnes.processes(), what="the process is gone")
    wait_for(lambda: is_dead(mount), what="the mount is dead")
    return pid


def last_death(mount):
    return mount.status(expect=None)["last_death"]


# --- the reason ---

def test_every_fatal_signal_is_named_in_the_log_and_in_the_next_status(agnes, stack):
    mount = agnes.mount(stack.url)
    assert last_death(mount) is None
    for number in TOLD:
        pid = kill(agnes, mount, number)
        assert agnes.logs().count(f" error killed by {number.name}\n") == 1
        said = agnes.run("status", mount.path, expect=1).err
        assert f"its process {pid} was killed by {number.name}" in said
        assert f"hint: agnesfs mount {mount.path}" in said
        assert said == agnes.run("status", expect=1).err, "without DIR it is listed too"
        assert f"{pid}, was killed by {number.name}" in agnes.run(
            "mount", stack.url, mount.path, "-o", "refresh=off").err
        assert last_death(mount)["pid"] == pid
        assert last_death(mount)["reason"] == f"killed by {number.name}"
        assert f"process {pid} was killed by {number.name}" in agnes.run("status", mount.path).out
        assert re.search(rf" warning .*{pid}, was killed by {number.name} ", agnes.logs())
        assert (mount / TABLE).read_bytes() == ORDERS
    mount.umount()


def test_where_it_died_is_in_the_log(agnes, stack):
    with agnes.mount(stack.url) as mount:
        kill(agnes, mount, signal.SIGSEGV)
        log = agnes.logs()
        after = log[log.index("killed by SIGSEGV"):]
        assert re.search(r"^\S*agnesfs\(\+0x[0-9a-f]+\)", after, re.M), after
        mount.umount("--lazy")


def test_a_process_that_died_did_die(agnes, stack):
    """The handler hands the signal on: the exit status is the signal's, as a supervisor wants it."""
    folder = agnes.folder / "agnes"
    folder.mkdir()
    process = agnes.start("mount", stack.url, folder, "--foreground", "-o", "refresh=off")
    wait_for(lambda: str(folder) in agnes.mountpoints() and (folder / TABLE).exists())
    wait_for(lambda: list(agnes.runtime.glob("agnesfs/*.life")), what="it is watched")
    process.send_signal(signal.SIGSEGV)
    assert process.wait(5) == -signal.SIGSEGV
    assert "error killed by SIGSEGV" in process.stderr.read(), "to stderr, which is the journal"
    agnes.run("umount", folder, "--lazy")


def test_sigkill_is_what_it_was_when_nothing_was_said(agnes, stack):
    mount = agnes.mount(stack.url)
    begin = int(time.time())
    pid = kill(agnes, mount, signal.SIGKILL)
    assert "error" not in agnes.logs()
    assert f"process {pid} was killed by SIGKILL" in agnes.run("status", mount.path, expect=1).err
    agnes.mount(stack.url)
    death = last_death(mount)
    assert (death["pid"], death["reason"]) == (pid, "killed by SIGKILL")
    alive = time.strptime(death["alive"], "%Y-%m-%dT%H:%M:%SZ")
    assert begin - 5 <= time.mktime(alive) - time.timezone <= begin + 5
    mount.umount()


def edited_life(agnes, edit):
    path, = agnes.runtime.glob("agnesfs/*.life")
    path.write_text(edit(path.read_text()))


def test_a_machine_that_stopped_has_killed_nobody(agnes, stack):
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    mount = agnes.mount(stack.url)
    kill(agnes, mount, signal.SIGKILL)
    edited_life(agnes, lambda text: text.replace(boot, boot[::-1]))
    assert "was stopped with the machine" in agnes.run("status", mount.path, expect=1).err
    agnes.mount(stack.url)
    assert last_death(mount)["reason"] == "stopped with the machine"
    mount.umount()


@pytest.mark.parametrize("edit", [lambda text: "", lambda text: text[:70], lambda text: "x" * 9999,
                                  lambda text: text.replace(" ", "\0")], ids=range(4))
def test_a_torn_record_tells_nothing_and_harms_nothing(agnes, stack, edit):
    mount = agnes.mount(stack.url)
    kill(agnes, mount, signal.SIGKILL)
    edited_life(agnes, edit)
    agnes.run("status", mount.path, expect=1)
    agnes.mount(stack.url)
    assert last_death(mount) is None
    mount.umount()


def test_an_orderly_end_leaves_nothing_to_tell(agnes, stack):
    """Control: neither the end of a mount nor that of the machine's session is a death."""
    for end in (lambda mount: mount.umount(),
                lambda mount: os.kill(mount.status()["pid"], signal.SIGTERM)):
        mount = agnes.mount(stack.url)
        assert last_death(mount) is None
        end(mount)
        wait_for(lambda: not agnes.processes(), what="ended")
        assert list(agnes.runtime.glob("agnesfs/*")) == []


def test_a_start_that_fails_does_not_forget_it(agnes, stack):
    mount = agnes.mount(stack.url)
    pid = kill(agnes, mount, signal.SIGABRT)
    mount.umount("--lazy")
    away = stack.folder.rename(agnes.folder / "away")
    shutil.rmtree(agnes.cache().root)
    agnes.run("mount", stack.url, mount.path, expect=None)
    assert agnes.mountpoints() == []
    away.rename(stack.folder)
    agnes.mount(stack.url)
    assert last_death(mount)["pid"] == pid
    mount.umount()


# --- want of memory ---

class Cell:
    """A memory control group of our own below the one we are in, of either version."""

    def __init__(self):
        own = dict(line.split(":")[1:] for line in
                   Path("/proc/self/cgroup").read_text().splitlines())
        self.old = "memory" in own
        base = Path("/sys/fs/cgroup", "memory" if self.old else "")
        parent = base / own["memory" if self.old else ""].lstrip("/")
        self.path = parent / f"agnesfs-{os.getpid()}"
        self.path.mkdir()

    def limit(self, bytes):
        name = "memory.limit_in_bytes" if self.old else "memory.max"
        (self.path / name).write_text(str(bytes))

    def take(self, pid):
        (self.path / "cgroup.procs").write_text(str(pid))

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        for pid in (self.path / "cgroup.procs").read_text().split():
            os.kill(int(pid), signal.SIGKILL)
        wait_for(lambda: not (self.path / "cgroup.procs").read_text(), what="nobody is in it")
        self.path.rmdir()


def oom_kills():
    return int(re.search(r"^oom_kill (\d+)$", Path("/proc/vmstat").read_text(), re.M)[1])


def test_want_of_memory_is_seen_at_the_next_start(agnes, stack):
    mount = agnes.mount(stack.url, "prefetch=none")
    pid = mount.status()["pid"]
    before = oom_kills()
    with Cell() as cell:
        cell.limit(1 << 20)
        cell.take(pid)
        for name in range(5000):
            stack.add_table(f"t{name}", ORDERS)
        stack.add_package("many", *stack.rows.values())
        stack.write()
        agnes.run("refresh", mount.path, expect=None)
        wait_for(lambda: is_dead(mount), what="killed")
    assert oom_kills() > before, "the kernel has killed it"
    agnes.mount(stack.url)
    assert last_death(mount)["reason"] == "killed by SIGKILL, probably for want of memory"
    assert "for want of memory" in agnes.logs()
    mount.umount()


# --- what a supervisor does ---

def unit_commands(agnes, folder):
    """ExecStart and ExecStopPost of the unit, for our binary, home and folder."""
    unit = (ROOT / "scripts/install/agnesfs@.service.in").read_text()
    commands = []
    for key in ("ExecStart", "ExecStopPost"):
        words = re.search(rf"^{key}=-?(.*)$", unit, re.M)[1].split()
        assert words[0] == "@CMAKE_INSTALL_FULL_BINDIR@/agnesfs"
        commands.append([word.replace("${HOME}/agnes", str(folder)) for word in words[1:]])
    assert re.search("^Restart=on-failure$", unit, re.M)
    assert int(re.search(r"^RestartSec=(\d+)$", unit, re.M)[1]) <= 5
    return commands


@pytest.mark.parametrize("clears", [True, False], ids=["ExecStopPost", "killed with it"])
def test_the_unit_starts_it_again(agnes, stack, clears):
    folder = agnes.folder / "agnes"
    folder.mkdir()
    start, stop_post = unit_commands(agnes, folder)
    agnes.write_token("a-token", server=stack.url)
    (agnes.config_home / "agnesfs").mkdir(parents=True, exist_ok=True)
    (agnes.config_home / "agnesfs/config").write_text(f"server = {stack.url}\nrefresh = off\n")
    for round in range(3):
        begin = time.monotonic()
        process = agnes.start(*start)
        mount = Mount(agnes, folder)
        wait_for(lambda: not is_dead(mount) and (folder / TABLE).exists(), what="mounted")
        assert time.monotonic() - begin < within(2)
        assert (folder / TABLE).read_bytes() == ORDERS
        assert bool(last_death(mount)) == (round > 0)
        process.kill()
        assert process.wait(5) == -signal.SIGKILL
        if clears:
            agnes.run(*stop_post)
            assert agnes.mountpoints() == []
        else:
            wait_for(lambda: is_dead(mount), what="the mount is dead")
    agnes.run("umount", folder, "--lazy", expect=None)
