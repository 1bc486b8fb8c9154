"""Whatever the server does, nobody waits for it who does not read from it: df, ls, status, doctor,
umount answer within two seconds, and readers can be killed. With the option timeout as it is by default.

A row of TROUBLES is what the server does, a row of COMMANDS what is asked meanwhile, with readers and
a refresh waiting. A new verb is one line.
"""

import json
import os
import random
import signal
import subprocess
import time

import pytest

from tests.lib.agnes_server import AgnesServer
from tests.lib.agnesfs import BINARY, Mount, wait_for
from tests.lib.faultd import Fault, babble, hang_up, silence, slam
from tests.lib.private_network import PrivateNetwork, run
from tests.lib.stack import raw

SECONDS = 2
MIB = 1 << 20
BIG = raw(random.Random(5).randbytes(12 * MIB))
TABLES = {"warm": raw(b"warm"), "cold": raw(b"cold" * 9999), "big": BIG}

COMMANDS = {
    "df": ["df", "{mount}"],
    "ls": ["ls", "-lR", "{mount}"],
    "find": ["find", "{mount}/data", "-newer", "{mount}"],
    "getfattr": ["python3", "-c", "import os, sys; print(os.getxattr(sys.argv[1], sys.argv[2]))",
                 "{mount}/data/sales/cold.parquet", "user.agnes.state"],
    "cat": ["cat", "{mount}/data/sales/warm.parquet", "{mount}/.agnes/status.json"],
    "status": [BINARY, "status", "{mount}"],
    "status --json": [BINARY, "status", "{mount}", "--json"],
    "agnesfs ls": [BINARY, "ls", "*", "{mount}"],
    "doctor": [BINARY, "doctor", "{mount}", "--server", "{url}"],
}


def fault(fault, at="*"):
    return lambda world: world.server.always(at, fault)


def greet(greeting):
    def greet(world):
        world.server.greet = greeting
        world.server.break_connections()
    return greet


def names(mode):
    def answer_so(world):
        world.mount.umount()  # what was resolved once is remembered for a minute
        world.network.modes["agnes.test"] = mode
        world.start()
    return answer_so


TROUBLES = {
    "silent answers": fault(Fault(delay=90)),
    "silent connections": greet(silence),
    "closed connections": greet(hang_up),
    "reset connections": greet(slam),
    "another protocol": greet(babble),
    "a drip": fault(Fault(drip=3)),
    "stalled bodies": fault(Fault(stall=10)),
    "headers that trickle": fault(Fault(trickle=0.5)),
    "a storm of 103s": fault(Fault(interim=100_000)),
    "503 for ever": fault(Fault(status=503)),
    "503 for an hour": fault(Fault(status=503, headers={"Retry-After": "3600"})),
    "an endless manifest": fault(Fault(body=b" ", endless=True), "/api/sync/manifest"),
    "a silent pull-confirm": fault(Fault(delay=90), "/api/sync/pull-confirm"),
    "a pull-confirm that drips": fault(Fault(drip=3), "/api/sync/pull-confirm"),
    "nobody listens": lambda world: world.server.close(),
    "names without answers": names("silent"),
    "names that fail": names("servfail"),
    "packets that vanish": lambda world: world.vanish(),
}


class World:
    """A mount with one table here, two that are not, and a server that can be spoiled."""

    def __init__(self, agnes, network):
        self.agnes, self.network = agnes, network
        agnes.write_token("a-token")
        self.server = AgnesServer()
        self.server.add_package("sales")
        for name, content in TABLES.items():
            self.server.add_table(name, content, packages=["sales"])
        self.network.names["agnes.test"] = ["127.0.0.1"]
        self.network.modes.clear()
        self.url = self.server.origin.replace("127.0.0.1", "agnes.test")
        self.children = []

    def vanish(self):
        """An address of whose packets nothing is ever heard, not even that it is not there."""
        self.mount.umount()
        self.network.names["agnes.test"] = ["10.9.9.9"]
        self.start()

    def start(self, *options):
        self.mount = self.agnes.mount(self.url, "prefetch=none", *options)
        assert (self.mount / "data/sales/warm.parquet").read_bytes() == TABLES["warm"]

    def read(self, name):
        path = self.mount / f"data/sales/{name}.parquet"
        child = subprocess.Popen(["cat", path], stdout=subprocess.DEVNULL,
                                 stderr=subprocess.DEVNULL)
        self.children.append(child)
        return child

    def timed(self, what, command, codes=(0,)):
        """Its words; fails when it takes too long."""
        command = [part.format(mount=self.mount.path, url=self.url) for part in map(str, command)]
        begin = time.monotonic()
        try:
            done = subprocess.run(command, env=self.agnes.env, stdin=subprocess.DEVNULL, text=True,
                                  capture_output=True, timeout=SECONDS, check=False)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{what}: no answer within {SECONDS} s") from None
        assert done.returncode in codes, f"{what}: {done}"
        print(f"{what}: {time.monotonic() - begin:.2f} s")
        return done.stdout

    def met(self):
        """How often the server, or what is between, was asked for anything."""
        shown = subprocess.run(["ip", "-json", "-s", "link", "show", "nowhere"], text=True,
                               capture_output=True, check=True).stdout
        packets = json.loads(shown)[0]["stats64"]["tx"]["packets"]
        return (self.server.connected + self.server.count() + packets +
                self.network.asked["agnes.test"])

    def end(self):
        self.server.close()
        for child in self.children:
            child.kill()
            child.wait(5)


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    with PrivateNetwork(tmp_path_factory.mktemp("names")) as network:
        run("ip", "link", "add", "nowhere", "type", "veth", "peer", "name", "nobody")
        run("ip", "address", "add", "10.9.9.1/24", "dev", "nowhere")
        run("ip", "link", "set", "nowhere", "up")
        run("ip", "link", "set", "nobody", "up")
        run("ip", "neighbour", "add", "10.9.9.9", "lladdr", "02:00:00:00:00:09", "dev", "nowhere")
        yield network


@pytest.fixture
def world(agnes, network):
    world = World(agnes, network)
    yield world
    world.end()


@pytest.mark.parametrize("trouble", TROUBLES)
def test_nobody_waits_for_the_server(world, trouble):
    world.start()
    TROUBLES[trouble](world)
    before = world.met()
    world.server.publish("warm", raw(b"new"))
    world.agnes.start("refresh", world.mount.path)
    readers = [world.read("cold"), world.read("big")]
    if trouble != "nobody listens":
        wait_for(lambda: world.met() > before, what="a request in vain")
    for what, command in COMMANDS.items():
        world.timed(what, command, (0, 7))
    begin = time.monotonic()
    for reader in readers:
        reader.send_signal(signal.SIGKILL)
        reader.wait(SECONDS)
    assert time.monotonic() - begin < SECONDS
    world.timed("umount", [BINARY, "umount", "{mount}"])
    assert world.agnes.processes() == {} or wait_for(
        lambda: not [line for line in world.agnes.processes().values() if " mount " in line], 1)


def test_who_does_wait_is_noticed(world):
    """The control: a command that reads what is not here."""
    world.start()
    TROUBLES["silent answers"](world)
    with pytest.raises(AssertionError, match="no answer within 2 s"):
        world.timed("cat", ["cat", "{mount}/data/sales/cold.parquet"])
    world.mount.umount()


@pytest.mark.parametrize("trouble", ["silent connections", "a drip", "headers that trickle"])
def test_a_mount_that_is_being_read_from_says_so_at_once_and_can_be_detached(world, trouble):
    world.start()
    TROUBLES[trouble](world)
    reader = world.read("cold")
    wait_for(lambda: world.agnes.run("status", world.mount.path, "--json", expect=None)
             .json()["transfers"]["waiting"] > 0, what="a reader who waits")
    world.timed("umount", [BINARY, "umount", "{mount}"], (6,))
    world.timed("df", ["df", "{mount}"])
    world.timed("umount --lazy", [BINARY, "umount", "--lazy", "{mount}"])
    reader.kill()
    reader.wait(SECONDS)
    wait_for(lambda: not world.agnes.processes(), SECONDS, "the end of the process")


def test_a_mount_that_hangs_hangs_nobody_who_asks_about_it(world):
    """Its process is stopped, somebody reads from it, somebody has a file of it mapped."""
    world.start()
    mapped = subprocess.Popen(
        ["python3", "-c", "import mmap, sys; file = open(sys.argv[1]); print(flush=True);"
         "at = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ); sys.stdin.readline();"
         "print(at[:])", world.mount / "data/sales/cold.parquet"], stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, text=True)
    world.children.append(mapped)
    mapped.stdout.readline()
    [daemon] = [pid for pid, line in world.agnes.processes().items() if " mount " in line]
    os.kill(daemon, signal.SIGSTOP)
    try:
        mapped.stdin.write("now\n")
        mapped.stdin.flush()
        world.read("cold")
        said = world.timed("doctor", [BINARY, "doctor", "{mount}", "--server", "{url}"], (7,))
        assert f"process {daemon} is stopped" in said
        world.timed("doctor for all", [BINARY, "doctor"], (7,))
        said = world.timed("doctor whose files hang", [
            BINARY, "doctor", "{mount}", "--server", "{url}", "--cache-dir", "{mount}/data/cache",
            "--token-file", "{mount}/data/token"], (7,))
        assert "cache-dir: could not be told" in said and "server: could not be told" in said
        said = world.timed("umount", [BINARY, "umount", "{mount}", "--json"], (6,))
        assert mapped.pid in [holder["pid"] for holder in json.loads(said)["holders"]]
    finally:
        os.kill(daemon, signal.SIGCONT)
        for child in world.children:
            child.kill()
            child.wait(SECONDS)
    world.mount.umount()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("trouble", ["silent connections", "a silent pull-confirm",
                                     "names without answers"])
def test_a_signal_ends_it_whoever_is_waiting(world, trouble, number):
    world.start()
    TROUBLES[trouble](world)
    world.server.publish("warm", raw(b"new"))
    world.agnes.start("refresh", world.mount.path)
    reader = world.read("cold")
    time.sleep(0.3)
    [daemon] = [pid for pid, line in world.agnes.processes().items() if " mount " in line]
    os.kill(daemon, number)
    wait_for(lambda: daemon not in world.agnes.processes(), SECONDS, "the end of the process")
    reader.wait(SECONDS)


@pytest.mark.parametrize("trouble", ["silent answers", "a drip", "headers that trickle"])
def test_a_mount_that_waits_for_its_first_manifest_can_be_called_off(world, trouble):
    TROUBLES[trouble](world)
    folder = world.agnes.folder / "agnes"
    folder.mkdir()
    world.mount = Mount(world.agnes, folder)
    mounting = world.agnes.start("mount", world.url, folder, "-o", "refresh=off")
    wait_for(lambda: world.server.count() > 0, what="the request for the manifest")
    world.timed("status", [BINARY, "status", "{mount}"], (0, 1, 7))
    world.timed("ls", ["ls", "{mount}"])
    world.timed("umount", [BINARY, "umount", "{mount}"])
    assert mounting.wait(SECONDS) == 130


@pytest.mark.parametrize("verb", ["sync", "refresh", "stack"])
def test_ctrl_c_ends_a_verb_that_waits(world, verb):
    world.start()
    TROUBLES["silent answers"](world)
    command = {"sync": ["sync", world.url, "--cache-dir", world.agnes.folder / "other"],
               "refresh": ["refresh", world.mount.path],
               "stack": ["stack", "list", "--server", world.url]}[verb]
    before = world.server.count()
    waiting = world.agnes.start(*command)
    wait_for(lambda: world.server.count() > before, what="its request")
    waiting.send_signal(signal.SIGINT)
    assert waiting.wait(SECONDS) in (130, -signal.SIGINT)
    world.timed("umount", [BINARY, "umount", "{mount}"])


def test_a_list_that_drips_is_given_up(world):
    world.start()
    world.server.always("/api/stack*", Fault(drip=3))
    begin = time.monotonic()
    result = world.agnes.run("stack", "list", "--server", world.url, "--timeout", "2s", expect=4)
    assert time.monotonic() - begin < 6 and "no progress for 2 s" in result.err
    world.mount.umount()


def test_what_drips_keeps_no_place_from_others(world):
    """More such files than places; each has been read for a moment, and nobody waits any more."""
    dripping = [f"drip{number}" for number in range(12)]
    for number, name in enumerate(dripping):
        world.server.add_table(name, BIG[:-8] + b"%04dPAR1" % number, packages=["sales"])
        world.server.always(f"/api/data/{name}/*", Fault(drip=30))
    world.start("timeout=2s")
    readers = [world.read(name) for name in dripping]
    wait_for(lambda: sum(world.server.count(f"/api/data/{name}/*") > 0 for name in dripping) >= 8,
             what="requests in most places")
    for reader in readers:
        reader.kill()
        reader.wait(SECONDS)
    begin = time.monotonic()
    assert (world.mount / "data/sales/cold.parquet").read_bytes() == TABLES["cold"]
    assert time.monotonic() - begin < 8
    wait_for(lambda: world.mount.status(expect=None)["transfers"]["running"] == 0, 8, "no request")
    world.mount.umount()
