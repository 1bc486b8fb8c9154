"""What people see of a fill that takes a while: a bar on a terminal, lines elsewhere, or nothing."""

import fcntl
import os
import re
import select
import struct
import subprocess
import termios
import time

import pytest

from tests.lib.agnesfs import BINARY
from tests.lib.faultd import Fault
from tests.lib.stack import noise, raw

MIB = 1 << 20
BAR = re.compile(r"\[#* *\] +(\d+) %")
PLAIN = re.compile(r" *\d+ %  0 of 1 files  .+ of 1\.5 MB  .+/s  eta \d+ s\n")


class Terminal:
    """A command whose stderr is a terminal, and what it has drawn there."""

    def __init__(self, agnes, *args, columns=100, env=None):
        self.master, slave = os.openpty()
        self.resize(columns)
        self.process = subprocess.Popen(
            [BINARY, *map(str, args)], env=agnes.env | {"TERM": "xterm"} | (env or {}),
            cwd=agnes.home, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=slave)
        agnes.children.append(self.process)
        os.close(slave)
        self.drawn, self.times = "", []

    def resize(self, columns):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))

    def read(self, until=None, seconds=40):
        """Reads on until that is drawn, or to the end."""
        end = time.monotonic() + seconds
        while until is None or not re.search(until, self.drawn):
            left = end - time.monotonic()
            assert left > 0, f"not within {seconds} s: {until}\n{self.drawn!r}"
            if not select.select([self.master], [], [], left)[0]:
                continue
            try:
                bytes = os.read(self.master, 65536)
            except OSError:
                break
            if not bytes:
                break
            self.drawn += bytes.decode()
            self.times.append(time.monotonic())
        return self.drawn

    def end(self, expect=0):
        self.read()
        out = self.process.communicate(timeout=30)[0]
        os.close(self.master)
        assert self.process.returncode == expect, self.drawn
        return out.decode()


def frames(drawn):
    """The bars, one a redraw."""
    return [frame for frame in re.split(r"\r|\n", drawn) if BAR.search(frame)]


@pytest.fixture
def slow(stack, server):
    """Two megabytes in four tables, in more than a second."""
    tables = [stack.add_table(f"t{i}", noise(500_000)) for i in range(4)]
    stack.add_package("sales", *tables)
    stack.write()
    server.bandwidth = 1_500_000
    return server


def test_sync_draws_a_bar_at_most_five_times_a_second_and_takes_it_away(agnes, slow):
    terminal = Terminal(agnes, "sync", slow.url)
    out = terminal.end()
    bars = frames(terminal.drawn)
    assert len(bars) >= 2, terminal.drawn
    took = terminal.times[-1] - terminal.times[0]
    assert len(bars) <= took * 5 + 2
    parts = [int(BAR.search(bar)[1]) for bar in bars]
    assert parts == sorted(parts) and parts[-1] > parts[0]
    assert re.search(r"\d of 4 files  .+ of 2\.0 MB  .+/s  eta \d+ s", bars[-1]), bars
    assert terminal.drawn.endswith("\r\x1b[K")
    assert "packages   +4" in out and "\x1b" not in out and "[" not in out
    assert "\x1b[3" not in terminal.drawn and "\x1b[1m" not in terminal.drawn  # no colours


def test_a_narrower_window_is_filled_less_and_leaves_nothing_behind(agnes, slow):
    terminal = Terminal(agnes, "sync", slow.url)
    terminal.read(r"of 4 files")
    before = len(terminal.drawn)
    terminal.resize(40)
    terminal.read(r"A\x1b\[J")  # up to where the folded line began
    terminal.read()
    later = terminal.drawn[before:]
    folded = later.index("A\x1b[J")
    assert re.search(r"\r\x1b\[[1-9]A\x1b\[J$", later[:folded + 4])
    for bar in frames(later[folded:]):
        assert len(re.sub(r"\x1b\[\w+", "", bar)) <= 39, bar
    terminal.end()


@pytest.mark.parametrize("args", [("--json",), ("--quiet",)])
def test_whoever_wants_no_bar_gets_none(agnes, slow, args):
    slow.bandwidth = 5_000_000
    terminal = Terminal(agnes, "sync", slow.url, *args)
    out = terminal.end()
    assert terminal.drawn == ""
    assert out.startswith("{") if "--json" in args else out == ""


def test_without_a_terminal_there_is_a_line_each_five_seconds(agnes, stack, server):
    stack.add_package("sales", stack.add_table("orders", noise(1_500_000)))
    stack.write()
    server.always("/tables/*", Fault(drip=270_000))
    result = agnes.run("sync", server.url)
    lines = result.err.splitlines(keepends=True)
    assert 1 <= len(lines) <= 3 and all(PLAIN.fullmatch(line) for line in lines), result
    assert "\x1b" not in result.err and "\r" not in result.err and "[" not in result.err
    assert "packages" in result.out


def test_a_dumb_terminal_gets_lines(agnes, slow):
    slow.bandwidth = 5_000_000
    terminal = Terminal(agnes, "sync", slow.url, env={"TERM": "dumb"})
    terminal.end()
    assert "\x1b" not in terminal.drawn


def test_pin_draws_it_too_by_itself_and_through_a_mount(agnes, slow):
    agnes.config_home.mkdir()
    (agnes.config_home / "agnesfs").mkdir()
    (agnes.config_home / "agnesfs/config").write_text(f"server = {slow.url}\n")
    terminal = Terminal(agnes, "pin", "sales/t[01]")
    terminal.end()
    assert frames(terminal.drawn)
    with agnes.mount(slow.url, "prefetch=none") as mount:
        slow.bandwidth = 1_000_000
        terminal = Terminal(agnes, "pin", "sales/*", mount.path)
        terminal.end()
        assert frames(terminal.drawn) and "of 2 files" in terminal.drawn, terminal.drawn


def test_verify_draws_it_while_it_reads(agnes, stack):
    """So much that hashing it takes more than a moment."""
    stack.add_package("sales", stack.add_table("big", raw(b"\xff" * (220 * MIB))))
    stack.write()
    agnes.sync(stack.url)
    terminal = Terminal(agnes, "verify", stack.url)
    assert "all as it should be" in terminal.end()
    assert frames(terminal.drawn) and "of 231 MB" in terminal.drawn
    assert len(frames(terminal.drawn)) <= (terminal.times[-1] - terminal.times[0]) * 5 + 2
