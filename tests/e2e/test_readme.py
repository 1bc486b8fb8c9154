"""Every command of README.md, typed as it stands there, by somebody who is new.

The blocks of a kind run in their order: sh in one shell, python each as a program of its own. What is
named differently here than there: the server, its token, and /srv and /etc in the line of fstab.
"""

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.lib.agnes_server import AgnesServer
from tests.lib.agnesfs import BINARY, Mount, wait_for

SERVER = "https://agnes.example.com"
SAMPLE = ROOT / "tests/data/sample"
TABLES = SAMPLE / "tables"
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
README = (ROOT / "README.md").read_text()
BLOCKS = FENCE.findall(README)
MACHINES = {"sudo", "docker"}  # what only a whole machine has


def blocks(kind):
    found = [text for own, text in BLOCKS if own == kind]
    assert found, f"README.md has no block of {kind}"
    return found


def block(kind, word):
    found = [text for text in blocks(kind) if word in text]
    assert len(found) == 1, f"README.md: {word!r} in one block of {kind}, not in {len(found)}"
    return found[0]


@pytest.fixture
def server():
    """The sample stack, as an Agnes server has it."""
    with AgnesServer(token="a-token") as server:
        for package in ("sales", "marketing", "events"):
            server.add_package(package)
        server.add_table("orders", (TABLES / "orders.parquet").read_bytes(),
                         packages=["sales", "marketing"])
        server.add_table("customers", (TABLES / "customers.parquet").read_bytes(),
                         packages=["sales"])
        server.add_table("clicks", parts={
            str(path.relative_to(TABLES / "clicks")): path.read_bytes()
            for path in sorted((TABLES / "clicks").rglob("*.parquet"))}, packages=["events"])
        server.add_domain("finance", "Finance", None, ["Revenue is what was paid."])
        yield server


@pytest.fixture
def person(agnes, server):
    """Runs a block as whoever has just installed agnesfs."""
    commands = agnes.folder / "bin"
    commands.mkdir()
    (commands / "agnesfs").symlink_to(BINARY)
    agnes.env |= {"PATH": f"{commands}:{ROOT / 'build/venv/bin'}:{agnes.env['PATH']}",
                  "TOKEN": "a-token"}

    def run(text, shell=("bash", "-eu", "-o", "pipefail", "-c")):
        done = subprocess.run([*shell, text.replace(SERVER, server.url)], env=agnes.env,
                              cwd=agnes.home, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, f"{text}\nexit {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    return run


@pytest.fixture
def mounted(agnes, server, person):
    """As the recipes say: what comes before each of them."""
    agnes.write_token("a-token", server=server.url)
    (agnes.home / "agnes").mkdir()
    person(f"agnesfs mount {SERVER} ~/agnes")
    yield Mount(agnes, agnes.home / "agnes")
    person("agnesfs umount ~/agnes")


def test_the_first_query(agnes, person):
    first = README.index("## The first query")
    story = FENCE.findall(README[first:README.index("\n## ", first + 1)])
    assert {kind for kind, _ in story} == {"sh"}
    said = [person(text) for _, text in story]
    assert "data/sales/orders.parquet" in said[1] and "channel" in said[1]
    assert "ready" in said[2].lower()
    assert agnes.mountpoints() == []
    assert (agnes.home / "agnes.token").stat().st_mode & 0o777 == 0o600


def test_duckdb(person, mounted):
    said = person(block("sh", "duckdb.sql"))
    assert "channel" in said and "2026-06" in said


@pytest.mark.parametrize("number", range(len(blocks("python"))))
def test_python(person, mounted, number):
    person(blocks("python")[number], shell=("python3", "-c"))


def test_agents(person, mounted):
    said = person(block("sh", "grep -ril"))
    assert "/memory/finance/bundle.md" in said and '"customers"' in said


def test_export(agnes, server, person):
    agnes.write_token("a-token", server=server.url)
    person(block("sh", "agnesfs export"))
    copy = agnes.home / "agnes-copy/data/sales/orders.parquet"
    assert copy.read_bytes() == (TABLES / "orders.parquet").read_bytes()


def test_fstab(agnes, server, person):
    """mount(8) looks for mount.agnesfs where the system's programs are; called as it calls it."""
    place, token = agnes.folder / "srv", agnes.folder / "token"
    place.mkdir()
    token.write_text("a-token")
    token.chmod(0o600)
    (agnes.folder / "bin/mount.agnesfs").symlink_to(BINARY)
    source, folder, kind, options, *rest = block("fstab", "agnesfs").split()
    assert (folder, kind, rest) == ("/srv/agnes", "agnesfs", ["0", "0"])
    options = options.replace("/etc/agnesfs.token", str(token))
    person(f"mount.agnesfs {source} {place} -o {options}")
    with Mount(agnes, place) as mount:
        assert os.stat(mount / "data/sales/orders.parquet").st_nlink == 2


def test_what_a_container_runs(agnes, server):
    line = block("console", "docker")
    words = shlex.split(line[line.index("agnesfs mount"):])
    place = agnes.folder / "agnes"
    place.mkdir()
    agnes.write_token("a-token", server=server.url)
    words = [{SERVER: server.url, "/agnes": str(place)}.get(word, word) for word in words[1:]]
    process = agnes.start(*words)
    wait_for(lambda: (place / "data/sales/orders.parquet").exists(), what="mounted")
    Mount(agnes, place).umount()
    assert process.wait(30) == 0


def test_what_only_a_machine_can_run_is_little(agnes):
    for text in blocks("console"):
        assert text.startswith("$ ") and text.split()[1] in MACHINES, text
    assert {kind for kind, _ in BLOCKS} <= {"sh", "python", "fstab", "console", "text"}
    unit = re.search(r"systemctl enable --now (\w+@)", block("console", "systemctl"))[1]
    assert Path(ROOT, f"scripts/install/{unit}.service.in").exists()
    ran = {text for text in blocks("sh")}
    for word in ("./scripts/demo", "umask 077", "agnesfs ls\n", "agnesfs pin", "agnesfs umount",
                 "duckdb.sql", "grep -ril", "agnesfs export"):
        ran -= {block("sh", word)}
    assert ran == set(), "a block that no test runs"


@pytest.mark.timeout(300)
def test_the_two_commands():
    """The second is what runs this."""
    commands = re.findall(r"^\./(\S+)", block("sh", "./scripts/demo"), re.MULTILINE)
    assert commands == ["scripts/demo", "scripts/test"]
    done = subprocess.run([ROOT / commands[0]], capture_output=True, text=True, timeout=280,
                          stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stdout + done.stderr
