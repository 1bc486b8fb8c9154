"""P9 to P11: what a refresh costs, and the first fill."""

import os
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

from tests.bench import flat
from tests.bench.flat import Flat, name_of
from tests.bench.rows_read import MIB, write_big
from tests.bench.site import DEADLINE, cpu_clock, daemon_of, mounted, timed
from tests.lib import agnesfs
from tests.lib.agnesfs import wait_for

OLD_LOOP = Path(__file__).with_name("old_loop.py")


def old_pull(url, root):
    return timed([sys.executable, OLD_LOOP, url, root])


def run_verb(agnes, verb, operand):
    return timed([agnesfs.BINARY, verb, operand, "--quiet"], env=agnes.env)


def refresh(agnes, mount):
    """The CPU is that of the command and of the daemon."""
    pid = daemon_of(agnes)
    before = cpu_clock(pid)
    found = run_verb(agnes, "refresh", mount.path)
    found["cpu"] += cpu_clock(pid) - before
    return found


# --- P9 ---

def fill_in_steps(stack, agnes, url, step):
    """The cache gets all tables, while the disk holds those of one step twice."""
    for start in range(0, stack.count, step):
        end = min(start + step, stack.count)
        stack.write_tables(range(start, end))
        stack.write_manifest(range(end))
        agnes.run("sync", url, timeout=DEADLINE)
        for number in range(start, end):
            (stack.tables / f"{name_of(number)}.parquet").unlink()


def lay_out_old(stack, agnes, root):
    """The old engine's folder over our cache's very bytes."""
    shared = root / "data/_shared"
    shared.mkdir(parents=True)
    cache = agnes.cache()
    for number in range(stack.count):
        md5 = stack.md5s[number]
        (shared / f"{name_of(number)}.parquet").symlink_to(
            cache.shared / md5[:2] / f"md5-{md5}-{stack.size}")


def without_change(bench, site, place):
    stack = Flat(place / "stack", bench.size(10_000, 200), size=MIB, packages=10)
    agnes = place.agnes("root")
    with site.nginx(stack.folder) as server:
        url = f"{server}/manifest.json"
        fill_in_steps(stack, agnes, url, 1000)
        lay_out_old(stack, agnes, place / "old")
        old_pull(url, place / "old")

        # the mount's lock keeps `sync` out of the cache, so the two take turns
        def ours():
            sync = {f"sync {part}": seconds
                    for part, seconds in run_verb(agnes, "sync", url).items()}
            with mounted(agnes, url) as mount:
                return sync | refresh(agnes, mount)

        found = bench.interleave({"old": lambda: old_pull(url, place / "old"), "ours": ours},
                                 base="old")
    size = f"{stack.count:,} tables, {stack.count * stack.size / 1e9:.3g} GB"
    for part, name, bar in (("wall", "wall", 100), ("cpu", "CPU", 200)):
        bench.compare("P9", f"refresh without change, {size}: old loop / ours, {name}",
                      found["ours"][part], found["old"][part], "old loop", at_least=bar)
        bench.compare("P9", f"`sync` without change, {size}: old loop / ours, {name}",
                      found["ours"][f"sync {part}"], found["old"][part], "old loop")


def ten_times_more(bench, site, place):
    stacks = [Flat(place / f"stack{count}", count).write()
              for count in bench.size((10_000, 100_000), (1_000, 5_000))]
    agnes = [place.agnes(f"root{stack.count}") for stack in stacks]
    for one, stack in zip(agnes, stacks):
        one.run("sync", stack.url, timeout=DEADLINE)
    with mounted(agnes[0], stacks[0].url) as few, mounted(agnes[1], stacks[1].url) as many:
        found = bench.interleave({"few": lambda: refresh(agnes[0], few)["wall"],
                                  "many": lambda: refresh(agnes[1], many)["wall"]}, base="few")
    bench.compare("P9", f"refresh without change, {stacks[1].count:,} / {stacks[0].count:,} tables",
                  found["many"], found["few"], f"ours, {stacks[0].count:,} tables", at_most=12)


# --- P10 ---

def fill_old(stack, root, url):
    shutil.rmtree(root, ignore_errors=True)
    (root / "data/_shared").mkdir(parents=True)
    for number in range(stack.count):
        shutil.copy(stack.tables / f"{name_of(number)}.parquet", root / "data/_shared")
    old_pull(url, root)


def withdraw(bench, site, place):
    """Each side starts from all tables; only the step to half of them is timed."""
    stack = Flat(place / "stack", bench.size(3_000, 200), packages=10).write()
    half = [number for number in range(stack.count) if number // 10 % 2]
    agnes = place.agnes("root")
    root = place / "old"
    with site.nginx(stack.folder) as server, mounted(agnes, f"{server}/manifest.json") as mount:
        url = f"{server}/manifest.json"

        def old():
            stack.write_manifest()
            fill_old(stack, root, url)
            stack.write_manifest(half)
            found = old_pull(url, root)["wall"]
            left = len(list((root / "data/_shared").iterdir()))
            assert left == len(half), f"the old loop left {left} tables"
            return found

        def ours():
            stack.write_manifest()
            agnes.run("refresh", mount.path, timeout=DEADLINE)
            # nobody looks names up: a blob that somebody might open would stay for two seconds
            wait_for(lambda: mount.status(expect=None)["resident_files"] >= stack.count, 120,
                     "all tables are here")
            stack.write_manifest(half)
            found = refresh(agnes, mount)["wall"]
            wait_for(lambda: sum(key.startswith("md5-") for key in agnes.cache().blobs()) ==
                     len(half), 60, "half of the tables are left")  # they go after the answer
            return found

        # the old loop takes minutes a round: no rounds beyond those asked for
        found = bench.interleave({"old": old, "ours": ours}, base="old", patient=False)
    bench.compare("P10", f"withdrawing half of {stack.count:,} tables in 10 packages: old loop /"
                  " ours", found["ours"], found["old"], "old loop", at_least=1000)


# --- P11 ---

def set_aside(folder, aside):
    """Gives the bytes back, but not the inodes. An ext4 without a journal passes over those that were
    freed in the last minutes, one by one: what fills a disk next would pay for it."""
    for path in folder.rglob("*"):
        if path.is_file():
            path.chmod(0o600)
            os.truncate(path, 0)
    aside.mkdir(exist_ok=True)
    folder.rename(aside / str(len(list(aside.iterdir()))))


def first_fill(bench, site, place, what, folder):
    """Ours downloads, hashes and makes durable; the baselines do one of these each."""
    tables = sorted((folder / "tables").iterdir())
    agnes = place.agnes(what.replace(" ", "-"))
    out = place / "out"
    aside = place / f"aside {what}"
    with site.nginx(folder) as server:
        config = place / "curl"
        config.write_text("".join(
            f'url = "{server}/tables/{table.name}"\noutput = "{out / table.name}"\n'
            for table in tables))

        def curl(durable=False):
            out.mkdir()
            try:
                seconds = timed(["curl", "--silent", "--fail", "--parallel", "--parallel-max", "8",
                                 "--config", config], stderr=subprocess.DEVNULL)["wall"]
                if durable:
                    seconds += timed(["sync", "--file-system", out])["wall"]
                return seconds
            finally:
                set_aside(out, aside)

        def md5():
            return timed(["openssl", "dgst", "-md5", *tables])["wall"]

        def ours():
            seconds = run_verb(agnes, "sync", f"{server}/manifest.json")["wall"]
            for cache in agnes.caches():
                assert len(cache.blobs()) == len(tables)
                set_aside(cache.root, aside)
            return seconds

        md5()
        found = bench.interleave({"curl": curl, "ours": ours, "md5": md5,
                                  "curl, then sync": lambda: curl(durable=True)}, base="md5",
                                 patient=False)
    medians = {name: statistics.median(times) for name, times in found.items()}
    slower = max("curl", "md5", key=medians.get)
    bench.compare("P11", f"first fill, {what}: ours / the slower of curl and md5", found["ours"],
                  found[slower], f"{slower} alone",
                  "; ".join(f"{name} {seconds:.2f} s" for name, seconds in medians.items()),
                  at_most=1.10)


def fill(bench, site, place):
    folder = place / "one"
    (folder / "tables").mkdir(parents=True)
    size = bench.size(4096, 64) * MIB
    file = folder / "tables/big.parquet"
    write_big(file, size)
    flat.write_manifest(folder, {"big": [flat.row_of_file(folder, "big", file)]})
    first_fill(bench, site, place, f"one file of {size // MIB} MiB", folder)
    shutil.rmtree(folder)
    count = bench.size(4_000, 100)
    stack = Flat(place / "many", count, size=MIB, packages=10).write()
    first_fill(bench, site, place, f"{count:,} files of 1 MiB", stack.folder)


# ---

def run_unchanged(bench, site, place):
    without_change(bench, site, place)
    shutil.rmtree(place / "root")
    ten_times_more(bench, site, place)
