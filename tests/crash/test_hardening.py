"""What a mount's process gives up, seen from outside and tried from within.

A library that is preloaded into it (probe.c) makes any call that the test names, in the thread that
serves the control socket: the process as it would be if somebody had taken it over.
"""

import contextlib
import errno
import json
import os
import re
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from tests.lib.agnesfs import BINARY, ROOT, wait_for
from tests.lib.faultd import Server
from tests.lib.sites import Agnes
from tests.lib.stack import raw

BUILD = Path(os.environ.get("AGNESFS_BUILD") or Path(BINARY).parent)
SYS_ADMIN = 1 << 21
WORKS = 0


class Probed:
    """A mount in the foreground with the probe in it."""

    def __init__(self, agnes, process, path):
        self.agnes, self.process, self.path = agnes, process, path

    def ask(self, call, argument=""):
        """The errno of a call made from within; None if the process died of it."""
        (name,) = (self.agnes.runtime / "agnesfs").glob("*.sock")
        folder = os.open(name.parent, os.O_PATH)
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(10)
            client.connect(f"/proc/self/fd/{folder}/{name.name}")
            os.close(folder)
            client.sendall(f"probe {call} {argument}\n".encode())
            answer = b""
            with contextlib.suppress(ConnectionResetError):
                while part := client.recv(100):
                    answer += part
        return int(answer) if answer else None


@pytest.fixture
def served(stack):
    stack.add_package("sales", stack.add_table("orders", raw(b"orders")))
    with Server(Agnes(stack, token="a-token")) as server:
        yield server


@pytest.fixture
def probed(agnes, served, tmp_path):
    """start(options...) -> Probed. One mount at a time."""
    library = BUILD / "tests/crash/libprobe.so"
    assert library.is_file(), f"{library}: not built"

    def start(*options):
        path = tmp_path / "agnes"
        path.mkdir(exist_ok=True)
        agnes.write_token("a-token")
        agnes.env["LD_PRELOAD"] = str(library)
        process = agnes.start("mount", served.url, path, "--foreground", "-o",
                              ",".join(("refresh=off", "report=off", *options)))
        del agnes.env["LD_PRELOAD"]
        wait_for(lambda: str(path) in agnes.mountpoints() and (path / "data").is_dir(),
                 what=f"mounted: {process.poll()}")
        return Probed(agnes, process, path)

    return start


def status_of(pid):
    return dict(line.split(":\t", 1) for line in
                Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line)


# --- the program, as it is built ---

HARD = {"pie", "relro", "now", "noexecstack", "canary", "fortify", "no rpath"}


@pytest.mark.timeout(600)
def test_release_binary_is_hardened():
    """Builds the release preset, and looks at what its flags made of the program."""
    folder = ROOT / "build/release"
    subprocess.run(["cmake", "--preset", "release"], cwd=ROOT, check=True, capture_output=True)
    subprocess.run(["ninja", "-C", folder, "-j2", "agnesfs"], cwd=ROOT, check=True,
                   capture_output=True)
    assert hardening_of(folder / "agnesfs") == HARD
    for command in json.loads((folder / "compile_commands.json").read_text()):
        if os.path.relpath(command["file"], ROOT).split("/")[0] in ("cache", "sync", "fs"):
            assert all(flag in command["command"] for flag in (
                "-D_FORTIFY_SOURCE=3", "-fstack-protector-strong", "-fstack-clash-protection",
                "-fPI", "-O2")), command


def hardening_of(program):
    def readelf(*options):
        return subprocess.run(["readelf", "-W", *options, program], capture_output=True, text=True,
                              check=True).stdout

    header, segments, dynamic = readelf("-h"), readelf("-l"), readelf("-d")
    symbols = readelf("--dyn-syms")
    flags = " ".join(re.findall(r"\((?:FLAGS|FLAGS_1|BIND_NOW)\)\s+(.*)", dynamic))
    signs = {
        "pie": "DYN (Position-Independent" in header and "PIE" in flags,
        "relro": "GNU_RELRO" in segments,
        "now": "NOW" in flags,
        "noexecstack": re.search(r"GNU_STACK\s.*\sRW\s", segments),
        "canary": "__stack_chk_fail" in symbols,
        "fortify": len(re.findall(r"__\w+_chk\b", symbols)) >= 5,
        "no rpath": "RPATH" not in dynamic,
    }
    return {name for name, sign in signs.items() if sign}


def test_the_check_of_the_binary_finds_what_is_missing(tmp_path):
    source = tmp_path / "plain.c"
    source.write_text("#include <stdio.h>\nint main(void) { char b[9]; return scanf(\"%8s\", b); }")
    for flags, lost in {
            "-no-pie": "pie", "-Wl,-z,norelro": "relro", "-Wl,-z,lazy": "now",
            "-Wl,-z,execstack": "noexecstack", "-fno-stack-protector": "canary",
            "-U_FORTIFY_SOURCE": "fortify"}.items():
        subprocess.run(["cc", "-O2", source, "-o", tmp_path / "plain", *flags.split()], check=True,
                       capture_output=True)
        assert lost not in hardening_of(tmp_path / "plain"), flags


# --- the process, seen from outside ---

def test_a_running_mount_has_given_up_what_it_said(agnes, served):
    agnes.write_token("a-token")
    with agnes.mount(served.url) as mount:
        status = mount.status()
        assert status["sandbox"] == {"no_new_privs": True, "landlock": status["sandbox"]["landlock"],
                                     "seccomp": True, "capabilities": ["CAP_SYS_ADMIN"],
                                     "why_not": None}
        assert status["sandbox"]["landlock"] >= 2
        assert status["mount"]["passthrough"]
        threads = list(Path(f"/proc/{status['pid']}/task").iterdir())
        assert len(threads) > 5
        for thread in threads:
            found = status_of(thread.name)
            assert (found["NoNewPrivs"], found["Seccomp"]) == ("1", "2"), found["Name"]
            for kind in ("CapPrm", "CapEff", "CapBnd"):
                assert int(found[kind], 16) == SYS_ADMIN, (found["Name"], kind)
            for kind in ("CapInh", "CapAmb"):
                assert int(found[kind], 16) == 0
        assert "no new privileges, Landlock, seccomp, CAP_SYS_ADMIN" in \
            agnes.run("status", mount.path, "--verbose").out


def test_who_unmounts_holds_neither_the_connection_nor_a_file(agnes, served):
    agnes.write_token("a-token")
    with agnes.mount(served.url) as mount:
        pid = mount.status()["pid"]
        (mounter,) = [child for child in children_of(pid)
                      if status_of(child).get("Name") == "agnesfs-mounter"]
        held = {os.readlink(link) for link in Path(f"/proc/{mounter}/fd").iterdir()}
        assert held == {"/dev/null", next(name for name in held if name.startswith("socket:"))}
        assert b"a-token" not in memory_of(mounter)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            os.kill(mounter, number)
        assert mount.status()["state"] == "ready"
    wait_for(lambda: not Path(f"/proc/{mounter}").exists(), what="it ends with its daemon")


def children_of(pid):
    return [int(child) for task in Path(f"/proc/{pid}/task").iterdir()
            for child in (task / "children").read_text().split()]


def memory_of(pid):
    found = b""
    with open(f"/proc/{pid}/mem", "rb", 0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            start, end = (int(part, 16) for part in line.split()[0].split("-"))
            if " rw" in line and "[v" not in line:
                with contextlib.suppress(OSError):
                    memory.seek(start)
                    found += memory.read(end - start)
    return found


# --- the process, from within ---

DEADLY = ["exec /bin/true", "execveat /bin/true", "mount /mnt", "umount /mnt", "fsopen", "unshare",
          "chroot", "ptrace 1", "peek 1", "bpf", "module"]


@pytest.mark.parametrize("call", DEADLY)
def test_a_forbidden_call_dies(probed, agnes, call):
    mount = probed()
    assert mount.ask(*call.split()) is None
    assert mount.process.wait(10) == -signal.SIGSYS
    agnes.run("umount", mount.path, "--lazy", expect=None)
    wait_for(lambda: not agnes.mountpoints(), what="the dead mount is gone")


def test_what_is_refused_and_what_is_not(probed, agnes, served, tmp_path):
    mount = probed()
    secret = tmp_path / "secret"
    secret.write_text("secret")
    cache = agnes.cache().root
    log = next(path for path in agnes.state_home.glob("agnesfs/*") if path.name != "run")
    expected = {
        # files
        f"read {secret}": errno.EACCES,
        f"write {secret}": errno.EACCES,
        f"truncate {secret}": errno.EACCES,
        f"write {tmp_path}/new": errno.EACCES,
        f"mkdir {tmp_path}/folder": errno.EACCES,
        f"write {agnes.home}/.bashrc": errno.EACCES,
        f"read {agnes.home}/.ssh": errno.ENOENT,
        f"write {agnes.home}/.config/agnes/token.json": errno.EACCES,
        f"read {agnes.home}/.config/agnes/token.json": WORKS,
        "write /etc/agnesfs-probe": errno.EACCES,
        f"read {mount.path}/README.md": errno.EACCES,
        "read /etc/resolv.conf": WORKS,
        "read /dev/urandom": WORKS,
        "read /proc/self/mountinfo": WORKS,
        "write /dev/null": WORKS,
        f"write {cache}/probe": WORKS,
        f"mkdir {cache}/probes": WORKS,
        f"symlink {cache}/link": errno.EACCES,
        f"fifo {cache}/fifo": errno.EPERM,
        f"write {log}/probe": WORKS,
        # processes and identities
        "thread": WORKS,
        "fork": errno.EPERM,
        "clone": errno.EPERM,
        "clone3": errno.ENOSYS,
        f"kill {os.getpid()}": errno.EPERM,
        f"kill {mount.process.pid}": WORKS,
        "setuid 1": errno.EPERM,
        "setuid 0": errno.EPERM,
        "raise": errno.EPERM,
        "keyctl": errno.EPERM,
        # network
        "inet": WORKS,
        "bind": errno.EACCES,
        "packet": errno.EAFNOSUPPORT,
        # code
        "writable-code": errno.EACCES,
        "made-code": errno.EACCES,
    }
    found = {call: mount.ask(*call.split(" ", 1)) for call in expected}
    assert found == expected, {call: (found[call], expected[call]) for call in expected
                               if found[call] != expected[call]}
    assert secret.read_text() == "secret" and not (tmp_path / "new").exists()
    (cache / "probe").unlink()
    (cache / "probes").rmdir()
    assert agnes.run("refresh", mount.path)
    agnes.run("umount", mount.path)
    assert mount.process.wait(10) == 0


def test_without_the_sandbox_the_same_calls_work(probed, agnes, tmp_path):
    """The control: it is the sandbox that forbids them, and the probe that makes them."""
    mount = probed("sandbox=off")
    status = status_of(mount.process.pid)
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("0", "0")
    assert int(status["CapEff"], 16) != SYS_ADMIN
    secret = tmp_path / "secret"
    secret.write_text("secret")
    folder = tmp_path / "folder"
    for call in (f"read {secret}", f"write {tmp_path}/new", f"mkdir {folder}", f"mount {folder}",
                 f"umount {folder}", f"symlink {tmp_path}/link", f"fifo {tmp_path}/fifo", "fork",
                 "clone", "clone3", f"kill {os.getpid()}", "setuid 0", "bind", "packet", "unshare",
                 "chroot", "writable-code", "made-code"):
        assert mount.ask(*call.split(" ", 1)) == WORKS, call
    assert mount.ask("exec", "/nonexistent") == errno.ENOENT
    sandbox = agnes.run("status", mount.path, "--json").json()["sandbox"]
    assert (sandbox["why_not"], sandbox["landlock"], sandbox["seccomp"]) == ("switched off", 0, False)
    agnes.run("umount", mount.path, "--lazy")


# --- what must still work ---

def test_a_token_that_is_replaced_is_found(agnes, stack, served):
    """A login writes a new file and renames it: the folder counts, not the file that was there."""
    agnes.write_token("an-old-token")
    result = agnes.run("mount", served.url, agnes.folder, expect=None)
    assert result.code in (3, 5)
    agnes.write_token("a-token")
    with agnes.mount(served.url) as mount:
        served.site.token = "another-token"
        assert agnes.run("refresh", mount.path, expect=None).code == 3
        new = agnes.home / ".config/agnes/token.new"
        new.write_text('{"access_token": "another-token"}')
        new.chmod(0o600)
        new.rename(agnes.home / ".config/agnes/token.json")
        mount.refresh()


def test_a_login_that_comes_after_the_mount_is_found(agnes, stack, served):
    served.site.token = None
    with agnes.mount(served.url) as mount:
        served.site.token = "a-token"
        assert agnes.run("refresh", mount.path, expect=None).code == 3
        agnes.write_token("a-token")
        mount.refresh()


def test_ends_in_order_on_a_signal(agnes, served):
    agnes.write_token("a-token")
    mount = agnes.mount(served.url)
    os.kill(mount.status()["pid"], signal.SIGTERM)
    wait_for(lambda: not agnes.mountpoints(), 2, "unmounted by itself")
    wait_for(lambda: not agnes.processes(), 2, "ended")


def test_roots_cache_below_somebody_elses_home_is_reached(agnes, served, tmp_path):
    """Only CAP_DAC_READ_SEARCH leads there, so it is kept, and said."""
    home = tmp_path / "theirs"
    cache = home / "cache"
    cache.mkdir(parents=True, mode=0o700)
    os.chown(home, 12345, 12345)
    home.chmod(0o700)
    agnes.write_token("a-token")
    with agnes.mount(served.url, f"cache-dir={cache}") as mount:
        sandbox = mount.status()["sandbox"]
        assert sandbox["capabilities"] == ["CAP_DAC_READ_SEARCH", "CAP_SYS_ADMIN"]
        assert "folder of ours lies in one of another user" in sandbox["why_not"]
        assert mount.files() == {"data/sales/orders.parquet": raw(b"orders")}
        mount.refresh()
