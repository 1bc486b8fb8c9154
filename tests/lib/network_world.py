"""One mount and its server, the six things that are done with it while the network is at fault, and
what came of each.

    world = World(folder, "503", Trouble(Fault(status=503)), token="a-token")
    outcomes = world.run()              {"cold": Outcome, "resume": ..., ...}, in OPERATIONS

    cold      a table that is not here is read
    resume    of a table that has begun to come, other bytes are read
    warm      a table that is here is read, through none but the cache
    sync      a refresh finds new content of a table
    bundle    and of a memory domain
    manifest  a refresh

The last good content of every other file is looked at after each; see Outcome.spoiled.
"""

import dataclasses
import hashlib
import json
import os
import random
import threading
import time

from tests.lib.agnes_server import AgnesServer, Item
from tests.lib.agnesfs import Agnesfs, Mount, Report, wait_for
from tests.lib.faultd import Fault
from tests.lib.stack import raw

OPERATIONS = ("cold", "warm", "sync", "bundle", "manifest", "resume")
MIB = 1 << 20
TIMEOUT = 4  # seconds without progress, the option of each mount
BYTES = random.Random(11)
COLD, WARM, OLD, NEW = (raw(BYTES.randbytes(200 << 10)) for _ in range(4))
BIG = raw(BYTES.randbytes(9 * MIB))
OLD_TEXT, NEW_TEXT = (f"What was known {when}.".encode() * 500 for when in ("then", "now"))
AT = {"cold": "/api/data/cold/*", "resume": "/api/data/big/*", "warm": "/api/data/warm/*",
      "sync": "/api/data/news/*", "bundle": "/api/memory/*", "manifest": "/api/sync/manifest"}
DATA = "data/sales"
BUNDLE = "memory/finance/bundle.md"


@dataclasses.dataclass
class Outcome:
    error: int  # errno of a read, exit code of a refresh, 0 if it went well
    message: str
    seconds: float
    requests: int
    hits: int  # how often the fault was met
    spoiled: list  # what is not as it was before

    def __repr__(self):
        return (f"error {self.error}, {self.message!r}, {self.seconds:.2f} s, "
                f"{self.requests} requests, {self.hits} hits, spoiled {self.spoiled}")


@dataclasses.dataclass
class Trouble:
    """What is wrong: with answers (a fault, or a few in a row), or with all connections."""

    fault: object = None  # a Fault, or a list of them: after those it behaves
    greet: object = None  # of faultd
    tls: object = None  # a context instead of the good one
    closed: bool = False  # nobody listens
    names: str = None  # how names are answered: a mode of PrivateNetwork
    start: bool = False  # only what starts anew meets it: a connection that is there goes on


def digest(path, make=hashlib.sha256):
    """None when it has gone: what is not listed any more goes, whenever."""
    try:
        return make(path.read_bytes()).hexdigest()
    except FileNotFoundError:
        return None


class World:
    def __init__(self, folder, name, trouble, *, token="a-token", tls=None, ca=None, host=None,
                 network=None):
        self.name, self.trouble, self.network = name, trouble, network
        folder.mkdir(parents=True)
        self.agnes = Agnesfs(folder)
        self.agnes.write_token(token)
        self.options = ["prefetch=none", "report=off", f"timeout={TIMEOUT}s", "log-level=debug"]
        if ca:
            self.options.append(f"ca-file={ca}")
        self.server = AgnesServer(token=token)
        self.server.tls = tls
        scheme, port = "https" if tls else "http", self.server.origin.rpartition(":")[2]
        self.host = host or "127.0.0.1"
        self.url = f"{scheme}://{self.host}:{port}"
        if host:
            network.names[host] = ["127.0.0.1"]
        self.said = []  # all that was printed

    # --- before ---

    def fill(self):
        self.server.add_package("sales")
        for name, content in {"warm": WARM, "cold": COLD, "news": OLD, "big": BIG}.items():
            self.server.add_table(name, content, packages=["sales"])
        self.server.add_domain("finance", "Finance", None, [Item("i1", "One", OLD_TEXT.decode())])
        self.mount = self.agnes.mount(self.url, *self.options)
        for name, content in {"warm": WARM, "news": OLD}.items():
            assert self.path(name).read_bytes() == content
        assert OLD_TEXT in (self.mount / BUNDLE).read_bytes()
        with open(self.path("big"), "rb", buffering=0) as file:
            assert file.read(4096) == BIG[:4096]
        wait_for(lambda: self.server.sent(AT["resume"]) >= MIB, what="the first block")
        wait_for(lambda: self.mount.status()["transfers"]["running"] == 0, what="quiet")
        cache = self.agnes.cache()
        self.kept = {path: digest(path) for path in
                     [*cache.blobs().values(), cache.state_file]}
        self.generation = (self.mount / ".agnes/generation").read_text()

    def path(self, name):
        return self.mount / f"{DATA}/{name}.parquet"

    def restart(self):
        """The same folder, by a new process that knows the last generation only."""
        self.mount.umount()
        self.break_it()
        self.mount = self.agnes.mount(self.url, *self.options)
        self.mount.settle()

    # --- while it is broken ---

    def break_it(self, *operations):
        trouble, server = self.trouble, self.server
        for operation in operations:
            if isinstance(trouble.fault, Fault):
                server.always(AT[operation], trouble.fault)
            elif trouble.fault:
                server.script(AT[operation], *trouble.fault)
        server.greet = trouble.greet
        if trouble.tls or trouble.greet:
            server.tls = trouble.tls or server.tls
            server.break_connections()
        if trouble.closed:
            server.close()
        if trouble.names:
            self.network.modes[self.host] = trouble.names

    def outcome(self, operation, begin, requests, error, message):
        server = self.server
        count = server.count(AT[operation]) - requests[0]
        hits = server.hits(AT[operation])
        if not self.trouble.fault:
            count = hits = self.connects() - requests[1]
        return Outcome(error, message, time.monotonic() - begin, count, hits, self.spoiled())

    def connects(self):
        asked = self.network.asked[self.host] if self.network else 0
        return self.server.connected + asked

    def counts(self, operation):
        return self.server.count(AT[operation]), self.connects()

    def read(self, operation, name, content, offset=0, size=None):
        """Reads, compares what came, and says what came of it."""
        begin, before = time.monotonic(), self.counts(operation)
        error, message = 0, ""
        try:
            with open(self.path(name), "rb", buffering=0) as file:
                wanted = content[offset:offset + size] if size else content
                found = os.pread(file.fileno(), size, offset) if size else read_all(file)
            if found != wanted:
                error, message = -1, "other bytes"
        except OSError as failure:
            error, message = failure.errno, self.mount.xattr(f"{DATA}/{name}.parquet", "error")
        return self.outcome(operation, begin, before, error, message)

    def refresh(self):
        result = self.agnes.run("refresh", self.mount.path, "--json", expect=None)
        self.said += [result.out, result.err]
        return result

    def staged(self):
        """One refresh that finds new content of a table and of a bundle."""
        self.server.publish("news", NEW)
        self.server.domains["finance"].items[0].content = NEW_TEXT.decode()
        begin = time.monotonic()
        before = {operation: self.counts(operation) for operation in ("sync", "bundle")}
        result = self.refresh()
        document = json.loads(result.out)
        if document.get("error"):
            return {operation: self.outcome(operation, begin, before[operation], result.code,
                                            document["error"]) for operation in before}
        errors = {line.section: line.reason for line in Report(document).errors}
        wanted = {"sync": ("data_packages", self.path("news"), OLD, NEW),
                  "bundle": ("memory_domains", self.mount / BUNDLE, OLD_TEXT, NEW_TEXT)}
        found = {}
        for operation, (section, path, old, new) in wanted.items():
            message = errors.get(section, "")
            error = result.code if message else 0  # of the two together
            if (old if message else new) not in content_of(path):
                error, message = -1, f"other bytes; {message}"
            found[operation] = self.outcome(operation, begin, before[operation], error, message)
        return found

    def asked(self):
        begin, before = time.monotonic(), self.counts("manifest")
        result = self.refresh()
        document = json.loads(result.out)
        message = document.get("error") or ""
        return self.outcome("manifest", begin, before, result.code, message)

    def spoiled(self):
        """What was here and is not, or not as it was. New content may have come to it."""
        found = [str(path) for path, known in self.kept.items()
                 if path.name.startswith(("md5-", "xxh-")) and digest(path) not in (known, None)]
        for path, contents in {self.path("warm"): [WARM], self.path("news"): [OLD, NEW],
                               self.mount / BUNDLE: [OLD_TEXT, NEW_TEXT]}.items():
            if not any(content in content_of(path) for content in contents):
                found.append(str(path))
        for path in self.agnes.cache().blobs().values():
            kind, known, size = path.name.split("-")
            if kind == "md5" and digest(path, hashlib.md5) not in (known, None):
                found.append(str(path))
        return found

    def run(self):
        try:
            self.fill()
            if self.trouble.start:
                self.restart()
            else:
                self.break_it("cold", "resume", "warm")
            outcomes = {}
            reads = {"cold": ("cold", COLD), "resume": ("big", BIG, 5 * MIB, 4096)}

            def read(operation):
                outcomes[operation] = self.read(operation, *reads[operation])

            threads = [threading.Thread(target=read, args=(operation,)) for operation in reads]
            for thread in threads:
                thread.start()
            outcomes["warm"] = self.read("warm", "warm", WARM)
            for thread in threads:
                thread.join(60)
            self.break_it("sync", "bundle")
            outcomes |= self.staged()
            self.server.forget()
            self.break_it("manifest")
            outcomes["manifest"] = self.asked()
            self.look()
            return outcomes
        finally:
            self.server.close()
            self.said += [self.agnes.logs()]
            self.agnes.clean_up()

    def look(self):
        """All that is said of it, for whoever searches it for what must not be said."""
        for command in (["status", self.mount.path, "--json"], ["status", self.mount.path],
                        ["ls", self.mount.path, "--json"]):
            result = self.agnes.run(*command, expect=None)
            self.said += [result.out, result.err]


def content_of(path):
    try:
        return path.read_bytes()
    except OSError as error:
        return str(error).encode()


def read_all(file):
    found = b""
    while piece := file.read(1 << 20):
        found += piece
    return found
