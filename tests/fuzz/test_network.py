"""What each fault of the network comes to, in each thing that is done over it; and where the token is
after all of that.

A row of FAULTS is a fault and what is declared of it, a cell of it one operation: the errno of the
reader or the exit code of the refresh, words of the message, how many requests at most. One world
(tests/lib/network_world.py) for each row, many at once; then each cell is a test of its own.

    AGNESFS_FAULTS='503*' ... pytest tests/fuzz/test_network.py         only some rows
"""

import base64
import concurrent.futures
import contextlib
import email.utils
import errno
import fnmatch
import gzip
import os
import secrets
import socket
import ssl
import subprocess
import threading
import urllib.error
import urllib.request
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from tests.lib.certificates import Authority
from tests.lib.faultd import Fault, babble, hang_up, silence, slam
from tests.lib.network_world import (
    AT, BIG, COLD, MIB, OPERATIONS, TIMEOUT, Trouble, World, digest)
from tests.lib.private_network import PrivateNetwork

TOKEN = f"canary-{secrets.token_hex(16)}"
AT_ONCE = 24
# The kernel asks again for what it could not read ahead. Mostly we remember: but not for long, and a
# busy machine is slow. A refresh that met other bytes than promised reads the manifest again.
TURNS = {"cold": 2, "resume": 2, "warm": 1, "sync": 2, "bundle": 2, "manifest": 1}
FAILED, AUTHENTICATION, UNREACHABLE, INTEGRITY = 1, 3, 4, 9
OFTEN = 14  # with luck at every throw of the dice, in TIMEOUT seconds


@dataclass
class Cell:
    error: int = 0
    words: str = ""
    most: int = 3


OK = Cell()


@dataclass
class Row:
    trouble: object
    cells: dict = field(default_factory=dict)

    def but(self, **cells):
        return replace(self, cells=self.cells | cells)


def row(trouble, read, refresh, manifest=None):
    """All reads one way, what a refresh finds another, the refresh itself a third."""
    if isinstance(trouble, (Fault, list)):
        trouble = Trouble(trouble)
    cells = {"cold": read, "resume": read, "warm": Cell(most=0), "sync": refresh,
             "bundle": refresh, "manifest": manifest or refresh}
    return Row(trouble, cells)


def fine(fault):
    return row(fault, OK, OK)


def refused(fault, words, most=1, code=FAILED):
    """Asked once, or, where it may be chance, once more."""
    return row(fault, Cell(errno.EIO, words, most), Cell(FAILED, words, most),
               Cell(code, words, most))


def tried(fault, words, most=OFTEN):
    """Readers wait as long as they may; refreshes have four attempts, or as long."""
    return row(fault, Cell(errno.ETIMEDOUT, words, most), Cell(FAILED, words, min(most, 4)),
               Cell(UNREACHABLE, words, min(most, 4)))


def wrong(fault, words, bundle, manifest):
    """Not the bytes that were promised, where that can be seen."""
    return row(fault, Cell(errno.EIO, words, 2), Cell(INTEGRITY, words, 2)).but(
        bundle=bundle, manifest=manifest)


def raw(text, body=b""):
    return Fault(raw=text.replace("\n", "\r\n").encode("latin-1") + body)


def after(value, status=503):
    return Fault(status=status, headers={"Retry-After": value})


def tag(value):
    return Fault(headers={"ETag": value})


LOST = "reset by peer"
CUT = "closed with"
ENCODED = "encoded in a way that was not asked for"
LONG_HEADERS = "the headers are too long"
SILENT = "no data came in time"
NO_END = Cell(FAILED, "does not say where the bundle ends", 2)
NO_TEXT = Cell(FAILED, "no markdown text", 2)
NO_MANIFEST = Cell(FAILED, "not a manifest", 1)
NOT_ASKED = "a range that was not asked for"
LESS = Cell(errno.EIO, "less than was there before", 2)
FAR = {"Location": "http://other.invalid/x"}

FAULTS = {
    "none": fine(Fault()),

    # --- connections that break ---
    "reset before the answer": tried(Fault(reset=True), LOST),
    "reset at 0": tried(Fault(cut=0, reset=True), LOST),
    "reset at 1": tried(Fault(cut=1, reset=True), LOST),
    "reset at half": tried(Fault(cut=0.5, reset=True), LOST).but(resume=OK),
    "reset at the last byte": tried(Fault(cut=-1, reset=True), LOST).but(resume=OK),
    "reset once": fine([Fault(cut=0.5, reset=True)]),
    "reset at half, no ETag": tried(Fault(cut=0.5, reset=True, headers={"ETag": None}), LOST).but(
        cold=Cell(errno.EIO, LOST, 5), resume=OK),
    "closed before the answer": tried(raw(""), "mpty reply"),
    "closed at 0": tried(Fault(cut=0), CUT),
    "closed at 1": tried(Fault(cut=1), CUT),
    "closed at half": tried(Fault(cut=0.5), CUT).but(resume=OK),
    "closed at the last byte": tried(Fault(cut=-1), CUT).but(resume=OK),
    "chunks, cut": tried(Fault(cut=0.5, chunked=True), CUT).but(resume=OK),
    "chunks": fine(Fault(chunked=True)),

    # --- lengths ---
    "no length, cut": wrong(Fault(cut=0.5, headers={"Content-Length": None}),
                            "bytes, the manifest says", NO_END, NO_MANIFEST).but(resume=OK),
    "no length": fine(Fault(headers={"Content-Length": None})).but(bundle=NO_END),
    "a length too long": wrong(Fault(length=1), "bytes, the manifest says", Cell(FAILED, CUT, 8),
                               Cell(UNREACHABLE, CUT, 4)).but(resume=OK),
    "a longer body": wrong(Fault(body=COLD + b"x"), "bytes, the manifest says", NO_TEXT,
                           NO_MANIFEST).but(resume=LESS),
    "a shorter body": wrong(Fault(body=COLD[:-1]), "bytes, the manifest says", NO_TEXT,
                            NO_MANIFEST).but(resume=LESS),
    "an empty body": wrong(Fault(body=b""), "bytes, the manifest says", NO_TEXT,
                           NO_MANIFEST).but(resume=LESS),
    "without end": wrong(Fault(body=bytes(1000), endless=True), "longer than the manifest says",
                         NO_END, Cell(FAILED, "not a manifest", 1)).but(
                             resume=LESS, manifest=Cell(FAILED, "", 1)),
    "two lengths": refused(raw("HTTP/1.1 200 OK\nContent-Length: 5\nContent-Length: 7\n\nhello!!"),
                           "").but(cold=Cell(errno.EIO, "the manifest says", 2),
                                   resume=Cell(errno.EIO, "the manifest says", 2),
                                   sync=Cell(INTEGRITY, "the manifest says", 2)),
    "a length of -5": refused(raw("HTTP/1.1 200 OK\nContent-Length: -5\n\nhello"),
                              "Content-Length"),

    # --- wrong bytes ---
    "the first byte": wrong(Fault(flip=0), "not those that the manifest promises", OK,
                            NO_MANIFEST).but(resume=OK),
    "the last byte": wrong(Fault(flip=-1), "not those that the manifest promises", OK,
                           NO_MANIFEST).but(resume=OK),

    # --- statuses ---
    "400": refused(Fault(status=400), "answered 400"),
    "401": row(Fault(status=401), Cell(errno.EACCES, "refused the token (401)", 1),
               Cell(FAILED, "refused the token (401)", 1),
               Cell(AUTHENTICATION, "refused the token (401)", 1)),
    "403": row(Fault(status=403), Cell(errno.EACCES, "refused access (403)", 1),
               Cell(FAILED, "refused access (403)", 1),
               Cell(AUTHENTICATION, "refused access (403)", 1)),
    "404": row(Fault(status=404), Cell(errno.ESTALE, "does not have it (404)", 1),
               Cell(FAILED, "does not have it (404)", 1),
               Cell(FAILED, "no manifest there (404)", 1)),
    "410": row(Fault(status=410), Cell(errno.ESTALE, "does not have it (410)", 1),
               Cell(FAILED, "does not have it (410)", 1),
               Cell(FAILED, "no manifest there (410)", 1)),
    "408": tried(Fault(status=408), "answered 408"),
    "409": refused(Fault(status=409), "answered 409"),
    "429": tried(Fault(status=429), "answered 429"),
    "500": refused(Fault(status=500), "answered 500", 4, UNREACHABLE),
    "502": tried(Fault(status=502), "answered 502"),
    "503": tried(Fault(status=503), "answered 503"),
    "503 twice": fine([Fault(status=503)] * 2),
    "503 with a long body": tried(
        raw("HTTP/1.1 503 Busy\nContent-Length: 100000\n\n", bytes(100000)), "answered 503"),
    "503 without end": tried(Fault(status=503, endless=True), "answered 503"),
    "999": refused(Fault(code=999), "answered 999", code=UNREACHABLE),
    "429 for a second": tried(after("1", 429), "answered 429", 5),
    "503 for an hour": tried(after("3600"), "answered 503", 1),
    "503 for 30 years": tried(after("1000000000"), "answered 503", 1),
    "503 until a date": tried(after(email.utils.formatdate(4102444800, usegmt=True)),
                              "answered 503", 1),
    "503 until a past date": tried(after(email.utils.formatdate(0, usegmt=True)), "answered 503"),
    "503 until soon": tried(after("soon"), "answered 503"),
    "503 for -1 s": tried(after("-1"), "answered 503"),
    "204": refused(raw("HTTP/1.1 204 No Content\n\n"), "answered 204"),
    "206 unasked": refused(Fault(code=206), NOT_ASKED, 2).but(resume=OK),
    "304": refused(raw("HTTP/1.1 304 Not Modified\n\n"), "answered 304"),
    "416": refused(Fault(status=416), "answered 416", 2).but(resume=LESS),
    "101": refused(raw("HTTP/1.1 101 Switching Protocols\nUpgrade: x\n\nhello"),
                   "belong to no answer"),

    # --- redirects ---
    "301": refused(Fault(code=301, headers=FAR), "other.invalid/x, not followed (301)"),
    "302": refused(Fault(code=302, headers=FAR), "other.invalid/x, not followed (302)"),
    "303": refused(Fault(code=303, headers=FAR), "other.invalid/x, not followed (303)"),
    "307": refused(Fault(code=307, headers=FAR), "other.invalid/x, not followed (307)"),
    "308": refused(Fault(code=308, headers=FAR), "other.invalid/x, not followed (308)"),
    "302 to the same place": refused(Fault(redirect="/api/sync/manifest"), "not followed (302)"),
    "302 to nowhere": refused(raw("HTTP/1.1 302 Found\nContent-Length: 0\n\n"), "answered 302"),
    "302 with a password": refused(Fault(redirect="https://u:secret@other.invalid/"),
                                   "an address with a user name, not followed"),

    # --- what it is not ---
    "gzip": refused(Fault(gzip=True), ENCODED).but(bundle=OK, manifest=OK),
    "gzip twice": refused(Fault(gzip=True, headers={"Content-Encoding": "gzip, gzip"}), ENCODED),
    "brotli": refused(Fault(headers={"Content-Encoding": "br"}), ENCODED),
    "gzip in name only": refused(Fault(body=b"not gzip" * 9, whole=True,
                                       headers={"Content-Encoding": "gzip"}), "").but(
        cold=Cell(errno.EIO, ENCODED, 1), sync=Cell(FAILED, ENCODED, 1)),
    "a bomb": refused(Fault(body=gzip.compress(bytes(64 * MIB)), whole=True,
                            headers={"Content-Encoding": "gzip"}), "").but(
        cold=Cell(errno.EIO, ENCODED, 1), sync=Cell(FAILED, ENCODED, 1), bundle=NO_TEXT,
        manifest=NO_MANIFEST),
    "a login page": refused(Fault(html=True), "the server sent text/html"),
    "a page of the right bytes": refused(Fault(headers={"Content-Type": "text/html"}),
                                         "the server sent text/html"),
    "no type": fine(Fault(headers={"Content-Type": None})).but(
        bundle=Cell(FAILED, "without a type", 1), manifest=Cell(FAILED, "without a type", 1)),

    # --- heads ---
    "ten 103s": fine(Fault(interim=10)),
    "a storm of 103s": refused(Fault(interim=100_000), LONG_HEADERS),
    "2000 headers": refused(Fault(headers={f"X-{n}": "x" * 100 for n in range(2000)}),
                            LONG_HEADERS),
    "a header of 70 KiB": refused(Fault(headers={"X-Flood": "x" * (70 << 10)}), LONG_HEADERS),
    "a header of 2 MiB": refused(Fault(headers={"X-Flood": "x" * (2 << 20)}), LONG_HEADERS),
    "headers that trickle": tried(Fault(trickle=0.3), "no progress", 2),
    "garbage": refused(raw("", bytes(range(256)) * 4), "HTTP/0.9"),
    "HTTP/0.9": refused(raw("hello, old world"), "HTTP/0.9"),
    "a status of letters": refused(raw("HTTP/1.1 abc OK\n\n"), "unsupported HTTP"),
    "a NUL in a header": refused(raw("HTTP/1.1 200 OK\nX: a\0b\nContent-Length: 5\n\nhello"),
                                 "ul byte in header"),

    # --- time ---
    "silence": tried(Fault(delay=60), SILENT, 4),
    "a stall at 0": tried(Fault(stall=0), SILENT, 4),
    "a stall at half": tried(Fault(stall=0.5), SILENT, 4).but(resume=OK),
    "a drip": tried(Fault(drip=20), "no progress", 4),

    # --- ranges and versions ---
    "a range from elsewhere": fine(Fault(headers={"Content-Range": f"bytes 7-9/{len(BIG)}"})).but(
        resume=Cell(errno.EIO, NOT_ASKED, 2)),
    "a range of another whole": fine(
        Fault(headers={"Content-Range": "bytes 5242880-6291455/12345"})).but(
            resume=Cell(errno.EIO, "the manifest says", 2)),
    "a range that makes no sense": fine(Fault(headers={"Content-Range": "5-9/10"})).but(
        resume=Cell(errno.EIO, NOT_ASKED, 2)),
    "a range that is not said": fine(Fault(headers={"Content-Range": None})).but(
        resume=Cell(errno.EIO, NOT_ASKED, 2)),
    "the whole for a range": fine(Fault(whole=True)),
    "another ETag each time": fine(Fault(new_tag=True)),
    "a range of another ETag": fine(tag('"other"')),
    "a weak ETag": fine(tag('W/"weak"')),
    "a long ETag": fine(tag(f'"{"x" * 300}"')),

    # --- the token, repeated ---
    "the token in words": row(Fault(echo="detail"), Cell(errno.EACCES, "the token (401)", 1),
                              Cell(FAILED, "the token (401)", 1),
                              Cell(AUTHENTICATION, "the token (401)", 1)),
    "the token in a Location": refused(Fault(echo="Location", code=302), "answered 302"),
    "the token as a type": fine(Fault(echo="Content-Type")).but(
        bundle=Cell(FAILED, "without a type", 1), manifest=Cell(FAILED, "without a type", 1)),
    "the token as a version": fine(Fault(echo="X-Agnes-Min-Version")),
    "the token as an ETag": fine(Fault(echo="ETag")),
}


def connection(trouble, read, words, code=UNREACHABLE):
    """Whatever is done meets it; connections are counted, of all that is done at the time."""
    return row(trouble, Cell(read, words, 2 * OFTEN), Cell(code, words, OFTEN)).but(
        warm=Cell(most=2 * OFTEN))


def by_name(mode, read, words):
    """Found out at the start, so readers are told at once."""
    return connection(Trouble(names=mode, start=True), read, words)


ALL = FAULTS | {
    # --- below HTTP ---
    "nobody listens": connection(Trouble(closed=True), errno.ETIMEDOUT, "onnection refused"),
    "all connections silent": connection(Trouble(greet=silence), errno.ETIMEDOUT, SILENT),
    "all connections closed": connection(Trouble(greet=hang_up), errno.ETIMEDOUT, "mpty reply"),
    "all connections reset": connection(Trouble(greet=slam), errno.ETIMEDOUT, LOST),
    "another protocol": connection(Trouble(greet=babble), errno.EIO, "HTTP/0.9", FAILED),
    "no such name": by_name("nxdomain", errno.EIO, "not resolve"),
    "the name service fails": by_name("servfail", errno.EIO, "not resolve"),
    "the name service is silent": by_name("silent", errno.ETIMEDOUT, SILENT),
}
TLS = {
    "TLS: expired": "certificate",
    "TLS: of another name": "alternative certificate subject name",
    "TLS: of nobody we know": "certificate",
    "TLS: too old": "protocol",
    "TLS: none": "wrong version number",
    "TLS: silent": SILENT,
    "TLS: closed": "",
}
NAMES = [name for name in [*ALL, *TLS]
         if fnmatch.fnmatchcase(name, os.environ.get("AGNESFS_FAULTS", "*"))]


# --- the run: every world once ---

class Sampler(threading.Thread):
    """Command lines and environments of all that runs below a folder, while it runs."""

    def __init__(self, folder):
        super().__init__()
        self.folder, self.seen, self.ended = os.fsencode(folder), {}, threading.Event()

    def look(self):
        for entry in Path("/proc").iterdir():
            try:
                environ = (entry / "environ").read_bytes() if entry.name.isdigit() else b""
                if self.folder in environ:
                    self.seen[int(entry.name)] = environ + (entry / "cmdline").read_bytes()
            except OSError:
                pass

    def run(self):
        while not self.ended.wait(0.2):
            self.look()

    def end(self):
        self.ended.set()
        self.join(5)


class Trap(threading.Thread):
    """The other host: whoever comes, and what they say."""

    def __init__(self, network):
        super().__init__()
        network.names["other.invalid"] = ["127.0.0.2"]
        self.said = []
        self.socket = socket.create_server(("127.0.0.2", 80))
        self.socket.settimeout(0.2)
        self.ended = False

    def run(self):
        while not self.ended:
            try:
                connection = self.socket.accept()[0]
            except TimeoutError:
                continue
            connection.settimeout(2)
            self.said.append(connection.recv(65536))
            connection.close()

    def end(self):
        self.ended = True
        self.join(5)
        self.socket.close()


def tls_troubles(authority, stranger):
    return {
        "TLS: expired": Trouble(tls=authority.context(days=-1)),
        "TLS: of another name": Trouble(tls=authority.context(names="DNS:other.invalid")),
        "TLS: of nobody we know": Trouble(tls=stranger.context()),
        "TLS: too old": Trouble(tls=authority.context(most=ssl.TLSVersion.TLSv1_1)),
        "TLS: none": Trouble(greet=babble),
        "TLS: silent": Trouble(greet=silence),
        "TLS: closed": Trouble(greet=hang_up),
    }


@dataclass
class Run:
    folder: Path
    outcomes: dict
    worlds: dict
    sampler: Sampler
    trap: Trap


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("network")
    authority, stranger = Authority(folder / "ca"), Authority(folder / "stranger", "others")
    troubles = tls_troubles(authority, stranger)
    good = authority.context()
    with PrivateNetwork(folder) as network:
        sampler, trap = Sampler(folder), Trap(network)
        sampler.start()
        trap.start()
        worlds = {}
        for number, name in enumerate(NAMES):
            tls = name in TLS
            trouble = troubles[name] if tls else ALL[name].trouble
            worlds[name] = World(folder / str(number), name, trouble, token=TOKEN, network=network,
                                 tls=good if tls else None, ca=authority.file if tls else None,
                                 host=f"world-{number}.test" if trouble.names else None)
        with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
            futures = {name: pool.submit(world.run) for name, world in worlds.items()}
        sampler.end()
        trap.end()
    return Run(folder, futures, worlds, sampler, trap)


def declared(name):
    return ALL[name] if name in ALL else connection(None, errno.ETIMEDOUT, TLS[name])


def complaints(row, operation, outcome):
    """What of an outcome is not as declared."""
    cell, turns = row.cells[operation], TURNS[operation]
    error = cell.error
    if error and operation in ("sync", "bundle"):  # they share a refresh, and its exit code
        error = max(row.cells[other].error for other in ("sync", "bundle"))
    if outcome.error != error or bool(outcome.message) != bool(error):
        yield f"not error {error}"
    if cell.words not in outcome.message:
        yield f"not {cell.words!r}"
    if outcome.seconds > turns * TIMEOUT + 3:
        yield "too late"
    if outcome.requests > turns * cell.most:
        yield f"more than {turns * cell.most} requests"
    if outcome.hits == 0 and operation != "warm" and not (row.trouble and row.trouble.closed):
        yield "the fault was not met"
    if outcome.spoiled and not (operation == "bundle" and cell == OK):
        yield "spoiled"


@pytest.mark.timeout(300)
@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("name", NAMES)
def test_cell(run, name, operation):
    outcome = run.outcomes[name].result()[operation]
    assert list(complaints(declared(name), operation, outcome)) == [], outcome


class Sabotaged(World):
    """Somebody else changes what is here, and everything is asked for much too often."""

    def break_it(self, *operations):
        super().break_it(*operations)
        for path in self.kept:
            if path.name.startswith("md5-") and path.exists():
                path.chmod(0o600)
                path.write_bytes(path.read_bytes()[:-1] + b"x")
        for _ in range(OFTEN):
            for operation in operations:
                request = urllib.request.Request(
                    self.url + AT[operation].replace("*", "download?domain=finance"),
                    headers={"Authorization": f"Bearer {TOKEN}"})
                with contextlib.suppress(urllib.error.HTTPError):
                    urllib.request.urlopen(request, timeout=5).close()

    def counts(self, operation):
        return 0, 0

    def spoiled(self):
        found = super().spoiled()
        return found + [str(path) for path in self.kept if path.name.startswith("md5-")
                        and digest(path) not in (self.kept[path], None)]


def test_what_is_not_as_declared_is_noticed(tmp_path):
    """The control: of a world that is sabotaged, and of one in which nothing is wrong at all."""
    declaration = FAULTS["403"]
    outcomes = Sabotaged(tmp_path / "1", "sabotaged", declaration.trouble, token=TOKEN).run()
    assert "more than 2 requests" in complaints(declaration, "cold", outcomes["cold"])
    assert "spoiled" in complaints(declaration, "warm", outcomes["warm"])
    outcomes = World(tmp_path / "2", "in order", Trouble(), token=TOKEN).run()
    for operation in OPERATIONS:
        found = list(complaints(declaration, operation, replace(outcomes[operation], hits=0)))
        assert operation == "warm" or {"the fault was not met",
                                       "not 'refused access (403)'"} < set(found)


def test_there_are_enough_of_them():
    assert "AGNESFS_FAULTS" in os.environ or len(NAMES) >= 40


# --- the token ---

def forms(token):
    text = token.encode()
    return [text, text.upper(), text[::-1], text.hex().encode(), base64.b64encode(text)[:-4]]


def leaks(run):
    """Where the token is that it should not be."""
    found = [f"said of {name}" for name, world in run.worlds.items()
             if any(form in "".join(world.said).encode(errors="replace") for form in forms(TOKEN))]
    found += [f"process {pid}" for pid, text in run.sampler.seen.items()
              if any(form in text for form in forms(TOKEN))]
    found += ["another host" for said in run.trap.said if any(form in said for form in forms(TOKEN))]
    for path in run.folder.rglob("*"):
        if path.is_file() and not path.is_symlink() and path.name != "token.json":
            content = path.read_bytes()
            found += [str(path.relative_to(run.folder)) for form in forms(TOKEN) if form in content]
    return found


@pytest.mark.timeout(120)
def test_the_token_is_nowhere_but_at_its_origin(run):
    for future in run.outcomes.values():
        future.result()
    assert run.trap.said == [], "other hosts are not asked for anything"
    assert len(run.sampler.seen) >= len(NAMES), "processes were looked at"
    sent = [request.headers.get("authorization") for world in run.worlds.values()
            for request in world.server.requests]
    assert sent and set(sent) == {f"Bearer {TOKEN}"}
    assert leaks(run) == []


@pytest.mark.timeout(120)
def test_a_client_that_sends_it_everywhere_is_found_out(tmp_path):
    """The control: the same search, of a client that follows redirects with the token."""
    with PrivateNetwork(tmp_path) as network:
        sampler, trap = Sampler(tmp_path), Trap(network)
        trap.start()
        world = World(tmp_path / "leaky", "leaky", Trouble(), token=TOKEN, network=network)
        world.server.always("*", Fault(code=302, headers=FAR))
        log = world.agnes.home / "log"
        with open(log, "wb") as output, subprocess.Popen(
                ["curl", "-sv", "--location-trusted", "-H", f"Authorization: Bearer {TOKEN}",
                 world.url, world.url + "/again", "telnet://127.0.0.1:1"],
                env=world.agnes.env | {"AGNES_TOKEN": TOKEN}, stdout=output, stderr=output) as client:
            while client.poll() is None:
                sampler.look()
        world.said.append(log.read_text())
        world.server.close()
        trap.end()
    found = leaks(Run(tmp_path, {}, {"leaky": world}, sampler, trap))
    assert {"said of leaky", "another host", "leaky/home/log"} < set(found)
    assert any(text.startswith("process") for text in found)
