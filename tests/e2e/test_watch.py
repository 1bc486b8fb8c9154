"""`agnesfs status --watch`, in a real terminal and without one."""

import json
import os
import re
import signal
import subprocess

import pytest

from tests.lib.agnesfs import BINARY, wait_for
from tests.lib.faultd import Fault
from tests.lib.stack import noise, raw
from tests.lib.terminal import BEFORE, Terminal

LABELS = ("generation", "cache", "here", "transfers")


@pytest.fixture
def mount(agnes, stack, server):
    """One table is fetched very slowly, another can not be had."""
    stack.add_package("sales", stack.add_table("orders", noise(6_000_000)),
                      stack.add_table("ledger", raw(b"ledger")))
    stack.write()
    server.always("/tables/orders.parquet", Fault(stall=4_000_000))
    server.always("/tables/ledger.parquet", Fault(flip=5))
    with agnes.mount(server.url, "prefetch=none") as mount:
        with pytest.raises(OSError):
            (mount / "data/sales/ledger.parquet").read_bytes()
        mount.reader = subprocess.Popen(["cat", mount / "data/sales/orders.parquet"],
                                        stdout=subprocess.DEVNULL)
        wait_for(lambda: mount.status(expect=None)["transfers"]["files"], what="it is coming")
        yield mount
        end_reader(mount)


def end_reader(mount):
    mount.reader.kill()
    mount.reader.wait(30)


@pytest.fixture
def terminal(tmp_path):
    with Terminal(tmp_path) as terminal:
        yield terminal


def watch(terminal, mount, **env):
    terminal.run([BINARY, "status", "--watch", mount.path], mount.agnes.env | env)
    return terminal.wait("q: end")


def is_gone(terminal):
    """Nothing of it is left: the screen before, the cursor."""
    lines = terminal.wait(BEFORE)
    return terminal.modes() == "0 1" and not any("generation" in line for line in lines)


def test_the_screen_says_what_goes_on_at_any_size(mount, terminal):
    watch(terminal, mount)
    lines = terminal.wait("<- data/sales/orders")
    assert terminal.modes() == "1 0"
    assert lines[0][:60] == f"degraded  {mount.path}"[:60]  # as much of it as there is room
    for number, label in enumerate(LABELS, 1):
        assert lines[number].startswith(f"  {label}"), lines
    text = "\n".join(lines)
    assert re.search(r"^  coming +\[#* *\] +\d+ % of 6\.0 MB  cat\[\d+\] <- data/sales/orders", text,
                     re.M), text
    assert re.search(r"^  programs +\S+ k?B  cat\[\d+\], waiting  data/sales/orders", text, re.M)
    assert re.search(r"^  problems    data/sales/ledger.parquet: ", text, re.M)
    assert re.search(r"^  hint        agnesfs refresh ", text, re.M)
    assert lines[23] == "q: end"

    terminal.resize(40, 10)
    lines = wait_for(lambda: (found := terminal.lines())[9] == "q: end" and found, 30)
    assert lines[0].startswith("degraded  ") and all(len(line) <= 40 for line in lines)
    assert [line.split()[0] for line in lines[1:9]] == [*LABELS, "coming", "programs", "problems",
                                                        "hint"]
    terminal.resize(100, 30)
    lines = wait_for(lambda: (found := terminal.lines())[29] == "q: end" and found, 30)
    assert sum(line.startswith("  generation") for line in lines) == 1

    terminal.type("q")
    assert terminal.wait_end() == 0 and is_gone(terminal)


def test_it_is_drawn_anew_as_things_change(mount, terminal, stack):
    watch(terminal, mount)
    before = next(line for line in terminal.lines() if "generation" in line)
    stack.add_direct(stack.add_table("prices", raw(b"prices")))
    stack.write()
    mount.agnes.run("refresh", mount.path, expect=None)
    wait_for(lambda: not any(line.startswith(before[:16]) for line in terminal.lines()), 30)
    terminal.type("C-c")
    assert terminal.wait_end() == 0 and is_gone(terminal)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_signals_give_the_screen_back(mount, terminal, number):
    watch(terminal, mount)
    pid, = [pid for pid, command in mount.agnes.processes().items() if "--watch" in command]
    os.kill(pid, number)
    assert terminal.wait_end() == 130 and is_gone(terminal)


def test_no_colour_where_none_is_wanted(mount, terminal):
    def attributes():
        return terminal._tmux("capture-pane", "-p", "-e", "-t", "test")

    watch(terminal, mount)
    assert "\x1b[33m" in attributes()
    terminal.type("q")
    assert terminal.wait_end() == 0
    watch(terminal, mount, NO_COLOR="1")
    assert "\x1b[3" not in attributes() and "\x1b[2m" not in attributes()
    terminal.type("q")
    assert terminal.wait_end() == 0


def test_a_source_that_has_gone_is_told_with_a_hint(agnes, stack, server, terminal):
    stack.add_package("sales", stack.add_table("orders", raw(b"orders")))
    stack.write()
    with agnes.mount(server.url, "timeout=1s") as mount:
        watch(terminal, mount)
        server.close()
        agnes.run("refresh", mount.path, expect=4)
        terminal.wait("stale  ")
        lines = terminal.wait("  error  ")
        assert any(line.startswith("  hint        what was here stays; agnesfs refresh ")
                   for line in lines)
        terminal.type("q")
        assert terminal.wait_end() == 0


def test_a_process_that_is_silent_is_waited_for_and_one_that_ends_ends_it(mount, terminal):
    watch(terminal, mount)
    pid = mount.status(expect=None)["pid"]
    os.kill(pid, signal.SIGSTOP)
    try:
        terminal.wait("does not answer")
        assert terminal.lines()[0].startswith("degraded")  # what was known stays
    finally:
        os.kill(pid, signal.SIGCONT)
    terminal.wait("q: end")
    end_reader(mount)
    mount.umount()
    assert terminal.wait_end() == 1
    terminal.wait("no agnesfs mount")
    assert is_gone(terminal)


def test_lines_and_documents_without_a_terminal(mount):
    agnes = mount.agnes
    lines = agnes.start("status", "--watch", mount.path)
    documents = agnes.start("status", "--watch", "--json", mount.path)
    line = lines.stdout.readline()
    assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ  degraded  generation \d+, .+ of 6\.0 MB here  "
                    r".+/s, \d running, \d waiting  1 problem", line), line
    found = [json.loads(documents.stdout.readline()) for _ in range(2)]
    assert all(document["mountpoint"] == str(mount.path) for document in found)
    assert found[0]["transfers"]["files"]
    end_reader(mount)
    mount.umount()
    assert documents.wait(30) == 1 and "no agnesfs mount" in documents.stderr.read()
    assert documents.stdout.read().count("\n") <= 3
    lines.terminate()
    assert lines.wait(30) in (1, 130)


def test_one_mount_has_to_be_named(agnes):
    result = agnes.run("status", "--watch", expect=1)
    assert result.err == "agnesfs: DIR: nothing is mounted\n"
