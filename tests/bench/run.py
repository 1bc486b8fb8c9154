"""scripts/bench calls this, from the root of the checkout, with a folder to work in."""

import argparse
import contextlib
import fcntl
import os
import signal
import sys
from pathlib import Path

from tests.bench import report, rows_folder, rows_read, rows_refresh
from tests.bench.measure import Bench
from tests.bench.site import Site

BUILD = Path("build/release").resolve()
TOOLS = [BUILD / "agnesfs", *(BUILD / "tests/bench" / name
                              for name in ("bench_null", "bench_loops", "bench_tree"))]
RESULTS = Path("build/bench").resolve()
GROUPS = [
    (("P1", "P2", "P3", "P4", "P8"), rows_read.run),
    (("P5", "P6", "P7", "P14"), rows_folder.run),
    (("P14",), rows_folder.run_start),
    (("P9",), rows_refresh.run_unchanged),
    (("P10",), rows_refresh.withdraw),
    (("P11",), rows_refresh.fill),
    (("P12",), rows_folder.run_switch),
    (("P13",), rows_folder.run_memory),
]
ALL = [f"P{number}" for number in range(1, 15)]


def parse():
    parser = argparse.ArgumentParser(prog="scripts/bench", description="Measure agnesfs.")
    parser.add_argument("--only", default="", metavar="P1,P4", help="these rows")
    parser.add_argument("--quick", action="store_true",
                        help="small sizes, two rounds; says that all works, judges nothing")
    parser.add_argument("--rounds", type=int, default=0, metavar="N", help="at least 7 to judge")
    parser.add_argument("--lock", type=Path, metavar="FILE",
                        help="held while rows are measured, for other work that takes turns")
    parser.add_argument("--work", type=Path, required=True, help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.only = {row.upper() for row in options.only.split(",") if row}
    if unknown := options.only - set(ALL):
        parser.error(f"no such row: {', '.join(sorted(unknown))}")
    if options.rounds and options.rounds < 7 and not options.quick:
        parser.error("fewer than 7 rounds prove nothing; with --quick they may")
    return options


def check(work, quick):
    if os.geteuid() != 0:
        sys.exit("bench: some rows are root's, some of a user made for them: run it as root")
    room = os.statvfs(work)
    free, needed = room.f_bavail * room.f_frsize / 1e9, 1 if quick else 14
    if free < needed:
        sys.exit(f"bench: {free:.0f} GB free at {work}, {needed} needed; set TMPDIR")


@contextlib.contextmanager
def turn(path):
    """Nobody else who takes the lock (flock -s FILE COMMAND) works meanwhile."""
    with open(path, "a", encoding="utf-8") if path else contextlib.nullcontext() as file:
        if file:
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def main():
    options = parse()
    check(options.work, options.quick)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, frame: sys.exit(128 + number))
    bench = Bench(options.rounds or (2 if options.quick else 7), options.quick, options.only)
    facts = report.machine(options.work, TOOLS[0])
    try:
        with Site(options.work, TOOLS) as site:
            for ids, function in GROUPS:
                with turn(options.lock):
                    bench.group(ids, function, site)
    finally:
        bench.rows.sort(key=lambda row: ALL.index(row.id))
        if bench.rows:
            report.write(bench, facts, RESULTS)
    bench.say("see build/bench/results.md")
    return 0 if bench.good else 1


if __name__ == "__main__":
    sys.exit(main())
