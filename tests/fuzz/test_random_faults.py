"""Reads while each answer may be damaged in another way: what is read is right, or an error; when the
server behaves again everything can be read, and nothing wrong is in the cache.

    AGNESFS_SEED=N pytest tests/fuzz/test_random_faults.py        repeats a run's choices
"""

import concurrent.futures
import hashlib
import os
import random

import pytest

from tests.lib.agnes_server import AgnesServer
from tests.lib.agnesfs import wait_for
from tests.lib.effort import amount, seed
from tests.lib.faultd import Fault
from tests.lib.stack import raw

MIB = 1 << 20
ROUNDS = amount(standard=8, long=1000)
READS = 40
SIZES = {"small": 40_000, "middle": 3 * MIB + 17, "big": 9 * MIB + 1234, "bigger": 20 * MIB + 5}
OTHER = raw(random.Random(1).randbytes(SIZES["big"] - 8))
TURBULENCE = (0.2, 0.5, 0.9)  # of the answers are damaged

DAMAGE = [
    lambda dice: Fault(reset=True),
    lambda dice: Fault(cut=dice.random(), reset=dice.random() < 0.5),
    lambda dice: Fault(cut=dice.randrange(3), reset=True),
    lambda dice: Fault(cut=dice.random(), headers={"ETag": None}),
    lambda dice: Fault(cut=dice.random(), chunked=True),
    lambda dice: Fault(cut=dice.random(), headers={"Content-Length": None}),
    lambda dice: Fault(status=dice.choice((408, 429, 500, 502, 503, 504, 416))),
    lambda dice: Fault(whole=True),
    lambda dice: Fault(whole=True, cut=dice.random()),
    lambda dice: Fault(new_tag=True),
    lambda dice: Fault(new_tag=True, cut=dice.random()),
    lambda dice: Fault(headers={"ETag": dice.choice(('"other"', 'W/"weak"', None))}),
    lambda dice: Fault(headers={"Content-Range": "bytes 7-9/12345"}),
    lambda dice: Fault(length=dice.choice((-1, 1))),
    lambda dice: Fault(gzip=True),
    lambda dice: Fault(html=True),
    lambda dice: Fault(body=b"other bytes" * 99),
    lambda dice: Fault(chunked=True),
    lambda dice: Fault(interim=3),
]
# Of bytes that are read by block, before all of them are here, nobody can tell: see design, 7.
LIES = [
    lambda dice: Fault(flip=dice.randrange(min(SIZES.values()))),
    lambda dice: Fault(flip=-1 - dice.randrange(9)),
    lambda dice: Fault(body=OTHER, new_tag=True),
    lambda dice: Fault(body=OTHER),
]


@pytest.fixture
def server(agnes):
    agnes.write_token("a-token")
    with AgnesServer() as server:
        server.add_package("sales")
        yield server


class Turbulence:
    """Damages answers at random, and counts what it has damaged."""

    def __init__(self, server, dice, share, damage):
        self.server, self.dice, self.share, self.damage = server, dice, share, damage

    def note(self, request):
        fault = self.note_calmly(request)
        if request.path.startswith("/api/data/") and self.dice.random() < self.share:
            request.faulty = True
            return self.dice.choice(self.damage)(self.dice)
        return fault

    def __enter__(self):
        self.note_calmly, self.server.note = self.server.note, self.note

    def __exit__(self, *exception):
        self.server.note = self.note_calmly


def fill(server, dice):
    contents = {name: raw(dice.randbytes(size - 8)) for name, size in SIZES.items()}
    for name, content in contents.items():
        server.add_table(name, content, packages=["sales"])
    return contents


def mounted(agnes, server, strict):
    return agnes.mount(server.url, "prefetch=none", "report=off", "timeout=2s",
                       f"verify={'strict' if strict else 'auto'}")


def table(mount, name):
    return mount / f"data/sales/{name}.parquet"


def read_through(mount, contents, dice, turbulence):
    """How many of the reads were good."""
    places = [(name, dice.randrange(SIZES[name]), dice.choice((1, 4096, 300_000, 2 * MIB)))
              for name in dice.choices(list(SIZES), k=READS)]
    with turbulence, concurrent.futures.ThreadPoolExecutor(8) as pool:
        return sum(pool.map(lambda place: read_some(
            table(mount, place[0]), contents[place[0]], *place[1:]), places))


def read_some(path, content, offset, size):
    """1 if it could be read; it is right then, though less than was asked for where the rest failed."""
    try:
        with open(path, "rb", buffering=0) as file:
            found = os.pread(file.fileno(), size, offset)
    except OSError:
        return 0
    assert found and found == content[offset:offset + len(found)], f"{path.name} at {offset}"
    return 1


def read_all(path):
    try:
        return path.read_bytes()
    except OSError:
        return None  # it failed a moment ago, and that is remembered


@pytest.mark.timeout(amount(standard=300, long=80_000))
def test_what_is_read_is_right_or_an_error(agnes, server):
    dice = random.Random(seed())
    good = 0
    contents = fill(server, dice)
    for number in range(ROUNDS):
        strict = number % 2 == 1
        turbulence = Turbulence(server, dice, TURBULENCE[number % len(TURBULENCE)],
                                DAMAGE + LIES if strict else DAMAGE)
        with mounted(agnes, server, strict) as mount:
            good += read_through(mount, contents, dice, turbulence)
            for name, content in contents.items():
                path = table(mount, name)
                wait_for(lambda: read_all(path) == content, 20, f"all of {name}")
        for path in agnes.cache().blobs().values():
            assert hashlib.md5(path.read_bytes()).hexdigest() in path.name
        agnes.run("prune", server.url, "--cache-size", "1")
    assert server.hits() > ROUNDS * 4 and 0 < good < ROUNDS * READS


def test_a_lie_that_nobody_looks_at_is_noticed(agnes, server):
    """The control: by block, wrong bytes can be read."""
    dice = random.Random(seed())
    contents = fill(server, dice)
    turbulence = Turbulence(server, dice, 1, [lambda dice: Fault(flip=0)])
    with mounted(agnes, server, False) as mount, pytest.raises(AssertionError, match="at 0"):
        with turbulence:
            read_some(table(mount, "big"), contents["big"], 0, 4096)
