"""The place where all is measured, and what runs in it. All of it ends with the place.

    with Site(work, tools) as site, site.folder("P1") as place:
        agnes = place.agnes("root")                  an Agnesfs with a home of its own
        with place.null(100_000, file) as null:      the FUSE floor, at null.path
            null.tell("entries")
        site.loops("seq", path, 1 << 20)             seconds
        with site.nginx(folder) as url:              a folder behind a web server
        site.user                                    an ordinary user, made for the time of the run
"""

import contextlib
import json
import os
import pwd
import re
import select
import shutil
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

from tests.lib import agnesfs
from tests.lib.agnesfs import Agnesfs, wait_for

FUSE = Path("/dev/fuse")
DEADLINE = 900  # seconds, of whatever has no nearer one

NGINX = """
user root; daemon off; pid {folder}/pid; error_log {folder}/error.log; worker_processes 1;
events {{ worker_connections 256; }}
http {{
    access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000;
    client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
    uwsgi_temp_path {folder}; scgi_temp_path {folder};
    server {{ listen 127.0.0.1:{port}; root {root}; }}
}}
"""


# --- processes ---

def end(process):
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(5)


def timed(command, timeout=DEADLINE, **options):
    """Runs a command: {"wall": seconds, "cpu": seconds of it and of what it waited for}."""
    start = time.monotonic()
    process = subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL,
                               stdout=subprocess.DEVNULL, **options)
    try:
        while True:
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            if pid:
                break
            if time.monotonic() > start + timeout:
                raise subprocess.TimeoutExpired(command, timeout)
            time.sleep(0.0005)
    except BaseException:
        end(process)
        raise
    wall = time.monotonic() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"exit {process.returncode}: {' '.join(map(str, command))[:200]}")
    return {"wall": wall, "cpu": usage.ru_utime + usage.ru_stime}


def cpu_clock(pid):
    """Seconds of CPU of a whole process, threads that ended included; see clock_getcpuclockid."""
    return time.clock_gettime((~pid << 3) | 2)


def as_user(name, function, timeout=DEADLINE):
    """What function() returns in a process of its own, of that user; name None: of ours."""
    output, given = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.close(output)
            if name:
                entry = pwd.getpwnam(name)
                os.setgroups([])
                os.setresgid(*[entry.pw_gid] * 3)
                os.setresuid(*[entry.pw_uid] * 3)
            found = {"found": function()}
            code = 0
        except BaseException as error:  # the process ends here, whatever it was
            found = {"error": f"{type(error).__name__}: {error}"}
        os.write(given, json.dumps(found).encode())
        os._exit(code)
    os.close(given)
    try:
        with os.fdopen(output, "rb") as answer:
            if not select.select([answer], [], [], timeout)[0]:
                os.kill(child, 9)
                raise TimeoutError(f"not done in {timeout} s")
            found = json.loads(answer.read())
    finally:
        os.waitpid(child, 0)
    if "error" in found:
        raise RuntimeError(found["error"])
    return found["found"]


# --- places ---

def mounts_below(folder):
    found = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        path = re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), line.split()[4])
        if Path(path).is_relative_to(folder):
            found.append(path)
    return found[::-1]


class Null:
    """A null server, mounted."""

    def __init__(self, process, path):
        self.process, self.path = process, path
        self.flat = path / "data/flat"

    def tell(self, command, timeout=60):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        assert select.select([self.process.stdout], [], [], timeout)[0], f"{command}: no answer"
        return float(self.process.stdout.readline())


class Place:
    """A folder for some rows; at its end nothing of it is left."""

    def __init__(self, site, path):
        self.site, self.path = site, path
        self.stack = contextlib.ExitStack()

    def __truediv__(self, name):
        return self.path / name

    def agnes(self, name, user=None):
        folder = self.path / name
        folder.mkdir()
        agnes = Agnesfs(folder, user=user)
        self.stack.callback(agnes.clean_up)
        return agnes

    @contextlib.contextmanager
    def null(self, count, file, *words):
        path = self.path / "null/mount"  # as deep as that of an Agnesfs
        path.mkdir(parents=True, exist_ok=True)
        process = subprocess.Popen([self.site.bin / "bench_null", path, str(count), file, *words],
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                   stderr=subprocess.DEVNULL, text=True)
        try:
            wait_for(lambda: process.poll() is not None or os.path.ismount(path), 10, "null server")
            assert process.poll() is None, "the null server did not mount"
            yield Null(process, path)
        finally:
            process.stdin.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(5)
            end(process)
            process.stdout.close()


class Site:
    def __init__(self, work, tools):
        self.work = Path(work)
        self.bin = self.work / "bin"
        self.tools = tools
        self.stack = contextlib.ExitStack()
        self._user = None
        self._servers = 0

    def __enter__(self):
        self.bin.mkdir()
        for tool in self.tools:  # where every user gets at them
            shutil.copy(tool, self.bin)
            (self.bin / Path(tool).name).chmod(0o755)
        agnesfs.BINARY = str(self.bin / "agnesfs")
        return self

    def __exit__(self, *error):
        self.stack.close()
        shutil.rmtree(self.bin, ignore_errors=True)

    @contextlib.contextmanager
    def folder(self, name):
        path = self.work / name
        path.mkdir()
        path.chmod(0o755)
        place = Place(self, path)
        try:
            with place.stack:
                yield place
        finally:
            for mount in mounts_below(path):
                subprocess.run(["umount", "-l", mount], timeout=10, check=False)
            shutil.rmtree(path, ignore_errors=True)

    def loops(self, *args, user=None, timeout=DEADLINE, env=None):
        identity = {}
        if user:
            entry = pwd.getpwnam(user)
            identity = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
        done = subprocess.run([self.bin / "bench_loops", *map(str, args)], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, text=True, timeout=timeout, check=True,
                              env=env, **identity)
        return float(done.stdout.split()[-2])

    @property
    def user(self):
        if not self._user:
            name = f"agnesbench{os.getpid()}"
            subprocess.run(["useradd", "--no-create-home", "--home-dir", "/nonexistent", "--shell",
                            "/bin/sh", name], check=True, timeout=60)
            (self.work / "user").write_text(name)
            self.stack.callback(self._drop_user, name)
            mode = stat.S_IMODE(FUSE.stat().st_mode)
            FUSE.chmod(mode | 0o666)
            self.stack.callback(FUSE.chmod, mode)
            self._user = name
        return self._user

    @staticmethod
    def _drop_user(name):
        for _ in range(50):
            done = subprocess.run(["userdel", name], capture_output=True, timeout=60, check=False)
            if done.returncode == 0:
                return
            time.sleep(0.1)
        print(f"bench: the user {name} could not be removed", file=sys.stderr)

    @contextlib.contextmanager
    def nginx(self, root):
        self._servers += 1
        folder = self.work / f"nginx{self._servers}"
        folder.mkdir()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        conf = folder / "nginx.conf"
        conf.write_text(NGINX.format(folder=folder, port=port, root=root))
        process = subprocess.Popen(["nginx", "-c", conf, "-e", folder / "error.log"],
                                   stdin=subprocess.DEVNULL)

        def answers():
            with socket.socket() as client:
                return client.connect_ex(("127.0.0.1", port)) == 0

        try:
            wait_for(answers, 10, "nginx")
            yield f"http://127.0.0.1:{port}"
        finally:
            end(process)
            shutil.rmtree(folder, ignore_errors=True)


# --- what is asked of a mount ---

def daemon_of(agnes):
    found = [pid for pid, command in agnes.processes().items() if " mount " in f" {command} "]
    assert len(found) == 1, found
    return found[0]


def settle(mount):
    """Waits until the first refresh is over: it would cost whoever is measured beside it."""
    wait_for(lambda: not mount.status(expect=None)["refreshing"], 120, "the first refresh")


def unmount(mount):
    agnes = mount.agnes
    mount.umount()
    wait_for(lambda: not agnes.processes(), 60, "the end of the daemon")


@contextlib.contextmanager
def mounted(agnes, url, *options):
    mount = agnes.mount(url, *options)
    try:
        settle(mount)
        yield mount
    finally:
        if str(mount.path) in agnes.mountpoints():
            unmount(mount)


def memory_of(pid):
    """Bytes that a process has in memory."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmRSS")
