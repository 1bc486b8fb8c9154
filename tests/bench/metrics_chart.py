"""Plots what `agnesfs status --prometheus` says while programs read a cold stack: metrics.png.

    PYTHONPATH=. build/venv/bin/python3 tests/bench/metrics_chart.py [FILE]

Half a minute; as a user who may mount. What draws is in tests/bench/requirements.txt. The numbers are
those of the run, at 20 MB/s, whatever the machine: a picture of what can be seen, not a measurement.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot  # noqa: E402
from prometheus_client.openmetrics.parser import text_string_to_metric_families  # noqa: E402

from tests.lib.agnesfs import Agnesfs  # noqa: E402
from tests.lib.faultd import Server  # noqa: E402
from tests.lib.sites import Folder  # noqa: E402
from tests.lib.stack import Stack, noise, parquet  # noqa: E402

MB = 1e6
EVERY = 0.25
TABLES = 6


def sample(agnes):
    """{(name, program): value} at this moment."""
    text = agnes.run("status", "--prometheus").out
    return {(found.name, found.labels.get("program")): found.value
            for family in text_string_to_metric_families(text) for found in family.samples}


def run(agnes, server, stack):
    """[(seconds, sample)] of three programs, one after another, and a refresh."""
    query = ("import duckdb, sys; duckdb.sql(f\"select sum(amount), max(label) from '{sys.argv[1]}'\")"
             ".fetchall()")
    samples = []
    with agnes.mount(server.url, "prefetch=none", "cache-size=150MB") as mount:
        tables = mount.path / "data/sales"
        programs = [
            (2, ["md5sum", tables / "t0.parquet", tables / "t1.parquet"]),
            (6, [sys.executable, "-c", query, tables / "rows.parquet"]),
            (9, ["grep", "-c", "needle", tables / "t2.parquet", tables / "t3.parquet"]),
            (12, ["cp", tables / "t4.parquet", tables / "t5.parquet", agnes.folder]),
        ]
        began, started = time.monotonic(), []
        while (now := time.monotonic() - began) < 24:
            while programs and now >= programs[0][0]:
                started.append(subprocess.Popen(programs.pop(0)[1], stdout=subprocess.DEVNULL))
            samples.append((now, sample(agnes)))
            time.sleep(EVERY)
        for process in started:
            process.wait(120)
    return samples


def values(samples, name, program=None):
    return [found.get((f"agnesfs_{name}", program), 0) for _, found in samples]


def rates(samples, name, program=None):
    """A second, over two seconds."""
    times, found = [at for at, _ in samples], values(samples, name, program)
    back = int(2 / EVERY)
    return [0 if i == 0 else (found[i] - found[max(0, i - back)]) / (times[i] - times[max(0, i - back)])
            for i in range(len(found))]


def draw(samples, path):
    times = [at for at, _ in samples]
    programs = sorted({program for _, found in samples for name, program in found
                       if name == "agnesfs_program_fetched_bytes_total" and program})
    figure, axes = pyplot.subplots(2, 2, figsize=(9, 5), sharex=True, layout="constrained")
    (fetched, who), (here, waiting) = axes
    fetched.plot(times, [rate / MB for rate in rates(samples, "fetched_bytes_total")])
    fetched.set_title("fetched, MB/s")
    who.stackplot(times, *([value / MB for value in
                            values(samples, "program_fetched_bytes_total", program)]
                           for program in programs), labels=programs)
    who.legend(loc="upper left", fontsize="small")
    who.set_title("fetched for programs, MB")
    here.plot(times, [value / MB for value in values(samples, "listed_bytes")], label="listed")
    here.plot(times, [value / MB for value in values(samples, "cache_limit_bytes")], label="bound")
    here.plot(times, [value / MB for value in values(samples, "cache_used_bytes")], label="cache")
    here.legend(loc="center right", fontsize="small")
    here.set_title("cache, MB")
    waiting.step(times, values(samples, "parked_reads"), label="reads")
    waiting.step(times, values(samples, "transfers_running"), label="requests")
    waiting.legend(loc="upper right", fontsize="small")
    waiting.set_title("reads that wait, requests under way")
    for axis in (here, waiting):
        axis.set_xlabel("seconds")
    for axis in axes.flat:
        axis.set_ylim(bottom=0)
        axis.grid(alpha=0.3)
    figure.savefig(path, dpi=80)


def main():
    path = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent / "metrics.png")
    with tempfile.TemporaryDirectory() as folder:
        agnes, stack = Agnesfs(folder), Stack(Path(folder) / "stack")
        tables = [stack.add_table(f"t{i}", noise(25_000_000)) for i in range(TABLES)]
        tables.append(stack.add_table("rows", parquet(rows=3_000_000)))
        stack.add_package("sales", *tables)
        stack.write()
        try:
            with Server(Folder(stack.folder), "/manifest.json") as server:
                server.bandwidth = 20_000_000
                draw(run(agnes, server, stack), path)
        finally:
            agnes.clean_up()
    print(f"{path}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
