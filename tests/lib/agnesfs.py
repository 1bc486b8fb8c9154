"""Run agnesfs as a user would: in a home of its own, and leaving nothing behind.

    agnes = Agnesfs(tmp_path)                  the fixture `agnes` is one; it cleans up and checks
    report = agnes.sync(stack.url)             `agnesfs sync SOURCE --json`, exit code 0 expected
    report = agnes.sync(stack.url, expect=1)
    with agnes.mount(stack.url, "prefetch=none") as mount:
        (mount / "data/sales/orders.parquet").read_bytes()
        report = mount.refresh()
        mount.files(), mount.status(), mount.nlink(path), mount.xattr(path, "state")
    cache = agnes.cache()                      the one cache that was filled
    cache.blobs(), cache.blob(content), cache.state()
    result = agnes.run("ls", "--json")         any verb: result.code .out .err .json()

What the JSON documents look like is known here and nowhere else in the tests: see Report and
Audit.
"""

import datetime
import hashlib
import json
import os
import pwd
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BINARY = os.environ.get("AGNESFS_BINARY") or str(ROOT / "build/dev/agnesfs")
SECTIONS = ("direct_tables", "data_packages", "memory_domains", "knowledge_artifacts")
COUNTS = ("added", "updated", "removed", "unchanged", "skipped")
HELPERS = ("agnesfs-mounter\n", "agnesfs-keeper\n")
KEY = re.compile(r"(md5|xxh)-[0-9a-f]{32}-(0|[1-9][0-9]*)")


def wait_for(condition, seconds=30, what=None):
    """What condition() returns once it is true; fails when it does not become so."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s: {what or condition}")
        time.sleep(0.02)
    return found


class Result:
    def __init__(self, command, code, out, err):
        self.command, self.code, self.out, self.err = command, code, out, err

    def json(self):
        try:
            return json.loads(self.out)
        except ValueError as error:
            raise AssertionError(f"no JSON: {error}\n{self}") from None

    def __repr__(self):
        return f"{' '.join(self.command)}\nexit {self.code}\n--- out\n{self.out}--- err\n{self.err}"


class Line:
    """One row that was skipped or went wrong."""

    def __init__(self, section, fields, reason):
        self.section = section
        self.group = fields.get("package") or fields.get("kind") or ""
        self.name = fields.get("name") or fields.get("slug") or ""
        self.reason = fields[reason]

    def __repr__(self):
        return f"{self.section}/{self.group}/{self.name}: {self.reason}"


class Report:
    """What one refresh did: the JSON that `agnesfs sync` and `agnesfs refresh` print."""

    def __init__(self, document):
        self.document = document

    def counts(self, section):
        """Those that are not zero: {"added": 2, "skipped": 1}."""
        found = self.document[section]
        return {count: found[count] for count in COUNTS if found[count]}

    def total(self, count):
        return sum(self.document[section][count] for section in SECTIONS)

    @property
    def bytes(self):
        return self.total("bytes")

    @property
    def skipped(self):
        return self._lines("skipped_rows", "reason")

    @property
    def errors(self):
        return self._lines("errors", "error")

    def _lines(self, key, reason):
        return [Line(section, fields, reason) for section in SECTIONS
                for fields in self.document[section][key]]

    def held(self, section):
        return self.document[section]["held"]

    @property
    def generation(self):
        return self.document["generation"]

    @property
    def violations(self):
        return self.document["invariant_violations"]

    def __repr__(self):
        return json.dumps(self.document, indent=1)


class Audit:
    """What `agnesfs verify` found: the JSON that it prints."""

    def __init__(self, document):
        self.document = document

    @property
    def findings(self):
        """{(what is wrong, path relative to the cache)}."""
        return {(line["kind"], line["path"]) for line in self.document["findings"]}

    @property
    def mended(self):
        return {(line["kind"], line["path"]) for line in self.document["findings"] if line["mended"]}

    def __repr__(self):
        return json.dumps(self.document, indent=1)


class Cache:
    """One source's cache on disk."""

    def __init__(self, root):
        self.root = Path(root)
        self.shared = self.root / "_shared"
        self.state_file = self.root / "sync_state.json"
        self.previous_file = self.root / "sync_state.prev.json"

    def state(self):
        return json.loads(self.state_file.read_text())

    def blobs(self):
        """{key: path} of everything that is named and placed like a blob."""
        return {path.name: path for path in sorted(self.shared.glob("*/*"))
                if KEY.fullmatch(path.name)}

    def contents(self):
        """The bytes of all blobs, sorted."""
        return sorted(path.read_bytes() for path in self.blobs().values())

    def blob(self, content):
        """Where these bytes are as a table with an md5; no word on whether they are."""
        digest = hashlib.md5(content).hexdigest()
        return self.shared / digest[:2] / f"md5-{digest}-{len(content)}"

    def partials(self):
        return sorted(path.name for path in (self.root / "partial").glob("*"))


def files_below(folder):
    """{relative path: bytes} of all files, as a reader finds them."""
    found = {}
    for where, _, names in os.walk(folder, onerror=_raise):
        for name in names:
            path = Path(where, name)
            found[str(path.relative_to(folder))] = path.read_bytes()
    return found


def _raise(error):
    raise error


class Mount:
    def __init__(self, agnes, path):
        self.agnes = agnes
        self.path = Path(path)
        self.pid = None

    def __truediv__(self, path):
        return self.path / path

    def __fspath__(self):
        return str(self.path)

    def __enter__(self):
        return self

    def __exit__(self, kind, error, traceback):
        if str(self.path) not in self.agnes.mountpoints():
            return
        if kind:
            self.agnes.clean_up()
        else:
            self.umount()

    def refresh(self, expect=0):
        """Also waits until what it has withdrawn is cleared up."""
        report = Report(self.agnes.run("refresh", self.path, "--json", expect=expect).json())
        self.settle()
        return report

    def settle(self):
        """Waits until no refresh runs, nor what it leaves behind."""
        wait_for(lambda: not self.status(expect=None)["refreshing"], 60, "the refresh is over")

    def status(self, expect=0):
        return self.agnes.run("status", self.path, "--json", expect=expect).json()

    def seconds_to_refresh(self):
        """Until it refreshes by itself."""
        at = datetime.datetime.fromisoformat(self.status(expect=None)["next_refresh"])
        return (at - datetime.datetime.now(datetime.UTC)).total_seconds()

    def umount(self, *args, expect=0):
        return self.agnes.run("umount", self.path, *args, expect=expect)

    def names(self):
        """All paths, folders end in a slash; without what agnesfs generates."""
        found = set()
        for where, folders, names in os.walk(self.path, onerror=_raise):
            relative = Path(where).relative_to(self.path)
            found |= {f"{relative / folder}/" for folder in folders}
            found |= {str(relative / name) for name in names}
        return {name for name in found
                if not name.startswith(".agnes/")
                and Path(name).name not in ("README.md", ".xdg-volume-info")}

    def files(self):
        """{path: bytes} of the tables and bundles; without what agnesfs generates."""
        return {name: (self.path / name).read_bytes() for name in self.names()
                if not name.endswith("/")}

    def nlink(self, path):
        return (self.path / path).stat().st_nlink

    def xattr(self, path, name):
        return os.getxattr(self.path / path, f"user.agnes.{name}").decode()


class Agnesfs:
    """folder: everything of this instance is below it. user: run as that user, by name, with no
    capability but those named ("sys_admin")."""

    def __init__(self, folder, user=None, capabilities=()):
        self.folder = Path(folder).resolve()
        self.user = user
        self.capabilities = capabilities
        self.home = self.folder / "home"
        self.cache_home = self.home / ".cache"
        self.state_home = self.home / ".local/state"
        self.config_home = self.home / ".config"
        self.runtime = self.folder / "run"
        self.children = []
        for path in (self.home, self.runtime):
            path.mkdir(mode=0o700)
            if user:
                shutil.chown(path, user, pwd.getpwnam(user).pw_gid)
        self.env = {
            "HOME": str(self.home),
            "XDG_CACHE_HOME": str(self.cache_home),
            "XDG_STATE_HOME": str(self.state_home),
            "XDG_CONFIG_HOME": str(self.config_home),
            "XDG_RUNTIME_DIR": str(self.runtime),
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
        }
        for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS", "LSAN_OPTIONS"):
            if name in os.environ:
                self.env[name] = os.environ[name]

    # --- running ---

    def _popen(self, args):
        identity = {}
        if self.user:
            entry = pwd.getpwnam(self.user)
            identity = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
        command = [BINARY, *map(str, args)]
        if self.capabilities:
            kept = ",".join(f"+{name}" for name in self.capabilities)
            command = ["setpriv", "--reuid", str(identity.pop("user")),
                       "--regid", str(identity.pop("group")), "--clear-groups", "--no-new-privs",
                       "--inh-caps", kept, "--ambient-caps", kept, "--bounding-set", f"-all,{kept}",
                       "--", *command]
        return command, subprocess.Popen(
            command, env=self.env, cwd=self.home, stdin=subprocess.DEVNULL, text=True,
            errors="surrogateescape", stdout=subprocess.PIPE, stderr=subprocess.PIPE, **identity)

    def run(self, *args, expect=0, timeout=60):
        """Run a verb to its end. expect: its exit code, or None for any."""
        command, process = self._popen(args)
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired as late:
            process.kill()
            process.wait(5)
            raise AssertionError(
                f"{' '.join(command)}: not done, or its output still open, after {timeout} s\n"
                f"--- out\n{late.stdout}\n--- err\n{late.stderr}") from None
        result = Result(command, process.returncode, out, err)
        assert expect is None or result.code == expect, f"exit {expect} expected\n{result!r}"
        return result

    def start(self, *args):
        """Start a verb that stays, as a Popen; clean_up ends it, but not what it mounts."""
        process = self._popen(args)[1]
        self.children.append(process)
        return process

    def sync(self, source, *args, expect=0):
        return Report(self.run("sync", source, "--json", *args, expect=expect).json())

    def verify(self, source, *args, expect=0):
        return Audit(self.run("verify", source, "--json", *args, expect=expect).json())

    def mount(self, source, *options, path=None, args=(), expect=0):
        """Mount; options are KEY=VALUE as after -o. It looks for news only when told to."""
        if path is None:
            path = self.folder / "agnes"
            path.mkdir(exist_ok=True)
            if self.user:
                shutil.chown(path, self.user, pwd.getpwnam(self.user).pw_gid)
        listed = ",".join(("refresh=off",) + options)
        operands = [source, path] if source else [path]
        self.run("mount", *operands, "-o", listed, *args, expect=expect)
        return Mount(self, path)

    def write_token(self, token, server=None):
        """Log in, as the agnes CLI leaves it behind."""
        folder = self.home / ".config/agnes"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "token.json"
        path.write_text(json.dumps({"access_token": token, "email": "a@example.com"}))
        path.chmod(0o600)
        if server:
            (folder / "config.yaml").write_text(f"server: {server}\n")
        if self.user:
            for path in (self.home / ".config", folder, *folder.iterdir()):
                shutil.chown(path, self.user, pwd.getpwnam(self.user).pw_gid)

    # --- what is on disk ---

    def caches(self):
        return [Cache(path.parent) for path in sorted(self.cache_home.glob("agnesfs/*/_shared"))]

    def cache(self):
        caches = self.caches()
        assert len(caches) == 1, f"one cache expected: {[str(cache.root) for cache in caches]}"
        return caches[0]

    def logs(self):
        """What the daemons logged, for messages of failed tests."""
        files = sorted(self.state_home.glob("agnesfs/**/*log*"))
        return "".join(path.read_text(errors="replace") for path in files if path.is_file())

    # --- ending ---

    def mountpoints(self):
        """All mounts below our folder, innermost first; asks the kernel, not the mounts."""
        found = []
        for line in Path("/proc/self/mountinfo").read_text().splitlines():
            path = re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), line.split()[4])
            if Path(path).is_relative_to(self.folder):
                found.append(path)
        return found[::-1]

    def processes(self):
        """{pid: command line} of what runs with our home, daemons included.

        The processes that unmount for a daemon, and end its mount when it is killed, belong to it,
        and are named only when they are alone.
        """
        found, mounters = {}, {}
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit() or int(entry.name) == os.getpid():
                continue
            try:
                environ = (entry / "environ").read_bytes().split(b"\0")
                if f"HOME={self.home}".encode() in environ:
                    command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                    if command:  # a zombie has none
                        found[int(entry.name)] = command
                        if (entry / "comm").read_text() in HELPERS:
                            parent = re.search(r"PPid:\t(\d+)", (entry / "status").read_text())[1]
                            mounters[int(entry.name)] = int(parent)
            except OSError:
                pass
        return {pid: command for pid, command in found.items() if mounters.get(pid) not in found}

    def clean_up(self):
        """Ends every mount and process of ours; says what there was to end."""
        grace = time.monotonic() + 10
        while (left := self._leftovers()) and not self.mountpoints() and time.monotonic() < grace:
            time.sleep(0.02)  # a daemon on its way out
        for path in self.mountpoints():
            self._end_mount(path)
        for child in self.children:
            if child.poll() is None:
                child.terminate()
                try:
                    child.wait(5)
                except subprocess.TimeoutExpired:
                    child.kill()
            child.communicate()
        for number in (signal.SIGTERM, signal.SIGKILL):
            for pid in self.processes():
                try:
                    os.kill(pid, number)
                except ProcessLookupError:
                    pass
            end = time.monotonic() + 5
            while self.processes() and time.monotonic() < end:
                time.sleep(0.02)
        self.children = []
        return left

    def _leftovers(self):
        children = {child.pid for child in self.children}
        processes = {pid: command for pid, command in self.processes().items()
                     if pid not in children}
        return [f"mount {path}" for path in self.mountpoints()] + [
            f"process {pid}: {command}" for pid, command in processes.items()]

    def _end_mount(self, path):
        for command in ([BINARY, "umount", path], ["umount", "-l", path],
                        ["fusermount3", "-uz", path]):
            try:
                subprocess.run(command, env=self.env, stdin=subprocess.DEVNULL, timeout=10,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
            except (OSError, subprocess.TimeoutExpired):
                pass
            if path not in self.mountpoints():
                return
