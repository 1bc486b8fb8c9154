"""P1 to P4 and P8: bytes that are in the cache, read through the mount and beside it."""

import collections
import contextlib
import functools
import os
import re
import signal
import subprocess
import time

import duckdb

from tests.bench import flat
from tests.bench.site import as_user, daemon_of, mounted
from tests.lib.agnesfs import wait_for

MIB = 1 << 20
BIG = "data/big/big.parquet"
TABLE = "data/big/table.parquet"
THREADS = 2

QUERIES = {
    "full scan": ["SELECT count(*), sum(id), sum(amount), max(label), min(day) FROM '{}'"],
    "group by": ["SELECT grp, count(*), avg(amount) FROM '{}' GROUP BY grp ORDER BY 2, 1 LIMIT 5"],
    "selective": ["SELECT sum(amount), max(label) FROM '{}' WHERE id BETWEEN 700000 AND 701000"],
}
QUERIES["five queries"] = [
    *QUERIES["group by"], *QUERIES["selective"],
    "SELECT count(*) FROM '{}'",
    "SELECT day, max(amount) FROM '{}' GROUP BY day ORDER BY 2 DESC LIMIT 3",
    "SELECT count(DISTINCT grp) FROM '{}' WHERE amount > 900",
]
OPCODES = {1: "LOOKUP", 2: "FORGET", 3: "GETATTR", 14: "OPEN", 15: "READ", 17: "STATFS",
           18: "RELEASE", 22: "GETXATTR", 25: "FLUSH", 26: "INIT", 27: "OPENDIR", 28: "READDIR",
           29: "RELEASEDIR", 34: "ACCESS", 36: "INTERRUPT", 42: "BATCH_FORGET", 44: "READDIRPLUS",
           46: "LSEEK", 52: "STATX"}


def write_big(path, size):
    block = os.urandom(4 * MIB - 8)
    with open(path, "wb") as file:
        for number in range(size // (4 * MIB)):
            file.write((b"PAR1" if number == 0 else b"AAAA") + number.to_bytes(4, "little"))
            file.write(block)
        file.seek(-4, os.SEEK_END)
        file.write(b"PAR1")


def write_table(path, rows):
    with duckdb.connect() as connection:
        connection.sql(f"SET threads={THREADS}")
        connection.sql(
            "COPY (SELECT i AS id, (hash(i) % 1000)::INTEGER AS grp,"
            " (hash(i) % 100003) / 100.0 AS amount, 'row ' || hash(i)::VARCHAR AS label,"
            f" DATE '2020-01-01' + (i % 2000)::INTEGER AS day FROM range({rows}) r(i))"
            f" TO '{path}' (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 122880)")


def make_stack(bench, place):
    folder = place / "stack"
    folder.mkdir()
    write_big(folder / "big.parquet", bench.size(1024, 64) * MIB)
    # in a process of its own: this one forks later, which DuckDB's threads would not survive
    as_user(None, functools.partial(write_table, str(folder / "table.parquet"),
                                    bench.size(10_000_000, 500_000)))
    rows = [flat.row_of_file(folder, name, folder / f"{name}.parquet") for name in ("big", "table")]
    flat.write_manifest(folder, {"big": rows})
    return (folder / "manifest.json").as_uri(), {row["name"]: row["md5"] for row in rows}


def blob_of(agnes, md5):
    return next(path for key, path in agnes.cache().blobs().items() if md5 in key)


# --- P1, P3, P4 ---

def reading_mode(site, mount, path, user=None):
    """passthrough if the daemon is not asked for bytes that the kernel does not have yet."""
    site.loops("drop", path, user=user)
    before = mount.status(expect=None)["mount"]["reads"]
    site.loops("seq", path, MIB, user=user)
    after = mount.status(expect=None)["mount"]["reads"]
    return "passthrough" if after == before else "kept page cache"


def speed(row, size):
    """Adds bytes a second to the note of a row."""
    if row:
        ours, baseline = (size / found.median / 1e9 for found in (row.ours, row.baseline))
        row.note += f"; {ours:.2f} of {baseline:.2f} GB/s"


def read_as_root(bench, site, mount, blob):
    path = mount / BIG
    size = blob.stat().st_size

    def sides(*command):
        return {"native": lambda: site.loops(command[0], blob, *command[1:]),
                "mount": lambda: site.loops(command[0], path, *command[1:])}

    for side in sides("seq", MIB).values():
        side()
    how = reading_mode(site, mount, path)
    if bench.wants("P1"):
        found = bench.interleave(sides("seq", MIB), base="native")
        speed(bench.compare("P1", "warm sequential read, root / native", found["mount"],
                            found["native"], "native", how, at_least=0.95), size)
    if bench.wants("P3"):
        for passes, what in ((1, "first touch"), (2, "second pass")):
            found = bench.interleave(sides("mmap", passes), base="native")
            speed(bench.compare("P3", f"mmap scan, {what}, root / native", found["mount"],
                                found["native"], "native", how, at_least=0.95), size)
    if bench.wants("P4"):
        count = bench.size(500_000, 100_000)
        found = bench.interleave(sides("pread", count), base="native")
        bench.compare("P4", "random 4 KiB pread, root / native", found["mount"], found["native"],
                      "native", how, at_least=0.70)
        added = [(ours - theirs) / count * 1e6
                 for ours, theirs in zip(found["mount"], found["native"])]
        bench.absolute("P4", "random 4 KiB pread, added per call", added, "µs",
                       baseline=found["native"], at_most=0.5)


# --- P2 ---

def read_as_user(bench, site, agnes, url, blob):
    user = site.user
    size = blob.stat().st_size
    read = functools.partial(site.loops, "seq", user=user)
    with mounted(agnes, url) as mount:
        path = mount / BIG
        how = reading_mode(site, mount, path, user)
        sides = {"native": lambda: read(blob, MIB), "mount": lambda: read(path, MIB)}
        for side in sides.values():
            side()
        found = bench.interleave(sides, base="native")
        speed(bench.compare("P2", "warm sequential read, user / native", found["mount"],
                            found["native"], "native", how, at_least=0.60), size)

    def uncached_native():
        site.loops("drop", blob)
        return read(blob, MIB)

    def uncached_mount():
        site.loops("drop", blob)
        with mounted(agnes, url) as mount:
            return read(mount / BIG, MIB)

    found = bench.interleave({"native": uncached_native, "mount": uncached_mount}, base="native")
    speed(bench.compare("P2", "first read after mount, uncached, user / native uncached",
                        found["mount"], found["native"], "native", how, at_least=0.80), size)


# --- P8 ---

def execute(connection, statement, path):
    connection.sql(statement.replace("'{}'", f"read_parquet('{path}')")).fetchall()


def run_queries(path):
    """{kind: seconds}: the best of three, after one that opens and warms."""
    found = {}
    with duckdb.connect() as connection:
        connection.sql(f"SET threads={THREADS}")
        for kind, statements in QUERIES.items():
            best = float("inf")
            for turn in range(4):
                start = time.monotonic()
                for statement in statements:
                    execute(connection, statement, path)
                if turn:
                    best = min(best, time.monotonic() - start)
            found[kind] = best
    return found


def query(bench, site, mount, blob, user, who):
    path = mount / TABLE
    found = bench.interleave({
        "native": lambda: as_user(user, functools.partial(run_queries, str(blob))),
        "mount": lambda: as_user(user, functools.partial(run_queries, str(path))),
    }, base="native")
    for kind in QUERIES:
        bench.compare("P8", f"DuckDB, {kind}, {who} / native", found["mount"][kind],
                      found["native"][kind], "native", at_most=1.03)
    for kind, statements in QUERIES.items():
        counts = count_requests(site, mount, path, user, statements)
        total = sum(counts.values()) / len(statements)
        detail = ", ".join(f"{name} {count}" for name, count in counts.most_common())
        bench.absolute("P8", f"DuckDB, {kind}, {who}: kernel requests a query", [total], "requests",
                       detail, at_most=10)


def query_twice(path, statements, between):
    with duckdb.connect() as connection:
        connection.sql(f"SET threads={THREADS}")
        for turn in range(2):
            for statement in statements:
                execute(connection, statement, path)
            if turn == 0:
                between()


@contextlib.contextmanager
def traced(pid, output):
    """Every request that the kernel gives to a daemon, a line each."""
    messages = output.with_suffix(".messages")
    with open(messages, "w") as file:
        process = subprocess.Popen(
            ["strace", "-f", "-p", str(pid), "-e", "trace=read", "-P", "/dev/fuse", "-xx", "-s",
             "8", "-o", output], stdin=subprocess.DEVNULL, stdout=file, stderr=file)
    try:
        wait_for(lambda: process.poll() is not None or "attached" in messages.read_text(), 20,
                 "strace")
        assert process.poll() is None, messages.read_text()
        time.sleep(0.3)  # it attaches thread by thread
        yield
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(5)


def count_requests(site, mount, path, user, statements):
    """{request: how many} of queries that have run once before on the same connection."""
    output = site.work / "strace"
    ready, tell_ready = os.pipe()
    go, tell_go = os.pipe()
    pid = daemon_of(mount.agnes)

    def watch():
        os.read(ready, 1)
        with traced(pid, output):
            os.write(tell_go, b".")
            os.read(ready, 1)

    def between():
        os.write(tell_ready, b".")
        os.read(go, 1)

    def work():
        query_twice(str(path), statements, between)
        os.write(tell_ready, b".")

    watcher = os.fork()
    if watcher == 0:
        try:
            signal.alarm(120)
            watch()
            os._exit(0)
        except BaseException:
            os._exit(1)
    try:
        as_user(user, work, timeout=120)
    finally:
        status = os.waitpid(watcher, 0)[1]
        for descriptor in (ready, tell_ready, go, tell_go):
            os.close(descriptor)
    assert status == 0, "strace could not follow the daemon"
    counts = collections.Counter()
    for line in output.read_text().splitlines():
        found = re.search(r'"(?:\\x..){4}\\x(..)\\x(..)', line)
        if found:
            code = int(found[2] + found[1], 16)
            counts[OPCODES.get(code, f"op {code}")] += 1
    return counts


# ---

def run(bench, site, place):
    url, md5s = make_stack(bench, place)
    if bench.wants("P1", "P3", "P4", "P8"):
        agnes = place.agnes("root")
        agnes.run("sync", url, timeout=900)
        with mounted(agnes, url) as mount:
            if bench.wants("P1", "P3", "P4"):
                read_as_root(bench, site, mount, blob_of(agnes, md5s["big"]))
            if bench.wants("P8"):
                query(bench, site, mount, blob_of(agnes, md5s["table"]), None, "root")
    if bench.wants("P2", "P8"):
        agnes = place.agnes("user", user=site.user)
        agnes.run("sync", url, timeout=900)
        if bench.wants("P2"):
            read_as_user(bench, site, agnes, url, blob_of(agnes, md5s["big"]))
        if bench.wants("P8"):
            with mounted(agnes, url) as mount:
                query(bench, site, mount, blob_of(agnes, md5s["table"]), site.user, "user")
