"""P5 to P7 and P12 to P14: names, attributes, memory, and how soon all of it is there."""

import os
import statistics
import subprocess
import time
from pathlib import Path

from tests.bench.flat import Flat, name_of
from tests.bench.rows_read import reading_mode
from tests.bench.site import DEADLINE, daemon_of, end, memory_of, mounted, settle, unmount
from tests.lib.agnesfs import Mount, wait_for

FIRST = f"data/flat/{name_of(0)}.parquet"


def command_seconds(*command):
    start = time.monotonic()
    subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True,
                   timeout=DEADLINE, env={**os.environ, "LC_ALL": "C"})
    return time.monotonic() - start


def filesystem_of(path):
    done = subprocess.run(["findmnt", "-n", "-o", "FSTYPE", "-T", path], capture_output=True,
                          text=True, timeout=10, check=False)
    return done.stdout.strip() or "unknown"


def per_call(found, count):
    return ", ".join(f"{name} {1e6 * statistics.median(times) / count:.3g} µs"
                     for name, times in found.items())


# --- P5, P6 ---

def open_and_stat(bench, site, place, agnes, stack):
    """The native file is as deep as the mounted one: a path costs by its length."""
    native = place / "root/plain" / FIRST
    native.parent.mkdir(parents=True)
    native.write_bytes(stack.content(0))
    with mounted(agnes, stack.url) as mount:
        how = reading_mode(site, mount, mount / FIRST)
        with place.null(stack.count, native, *([how] if how == "passthrough" else [])) as null:
            paths = {"native": native, "null": null.path / FIRST, "mount": mount / FIRST}

            def sides(what, count):
                return {name: lambda path=path: site.loops(what, path, count)
                        for name, path in paths.items()}

            if bench.wants("P5"):
                count = bench.size(30_000, 5_000)
                found = bench.interleave(sides("opens", count), base="null")
                bench.compare("P5", "open + read + close / null server", found["mount"],
                              found["null"], "null server", per_call(found, count), at_most=1.15)
            if bench.wants("P6"):
                count = bench.size(1_000_000, 100_000)
                found = bench.interleave(sides("stat", count), base="native")
                bench.compare("P6", "stat of a known path / native", found["mount"],
                              found["native"], "native", per_call(found, count), at_least=0.92)


def look_up_cold(bench, site, place, agnes, stack):
    names = stack.write_names(place / "names")

    def ours():
        with mounted(agnes, stack.url) as mount:
            return site.loops("names", mount / "data/flat", names)

    def floor():
        with place.null(stack.count, stack.tables / f"{name_of(0)}.parquet") as null:
            return site.loops("names", null.flat, names)

    found = bench.interleave({"null": floor, "mount": ours}, base="null")
    bench.compare("P6", f"{stack.count:,} cold lookups / null server", found["mount"],
                  found["null"], "null server", per_call(found, stack.count), at_least=0.90)


# --- P7 ---

def list_folder(bench, site, place, agnes, stack):
    """Cold is a fresh mount; the native folder is warm all the time. The null server is there
    twice: as agnesfs does it, and leaving it to the kernel when to ask for attributes."""
    file = stack.tables / f"{name_of(0)}.parquet"

    def look(folder):
        return {"cold": site.loops("list", folder), "warm": site.loops("list", folder)}

    def native():
        return look(stack.tables) | {"ls": command_seconds("ls", "-l", stack.tables)}

    def ours():
        with mounted(agnes, stack.url) as mount:
            found = look(mount / "data/flat")
        with mounted(agnes, stack.url) as mount:
            return found | {"ls": command_seconds("ls", "-l", mount / "data/flat")}

    def floor(*words):
        with place.null(stack.count, file, *words) as null:
            found = look(null.flat)
        with place.null(stack.count, file, *words) as null:
            return found | {"ls": command_seconds("ls", "-l", null.flat)}

    native()
    found = bench.interleave({"native": native, "mount": ours, "null": floor,
                              "null, plus": lambda: floor("plus")}, base="native")
    kind = filesystem_of(stack.tables)
    for part, what, bar in (("warm", "warm listing", 0.5), ("cold", "cold listing", 2.5),
                            ("ls", "cold ls -l", 3.2)):
        floors = ", ".join(f"{side} {statistics.median(found[side][part]):.3g} s"
                           for side in ("null", "null, plus"))
        bench.compare("P7", f"folder of {stack.count:,}: {what} / {kind}", found["mount"][part],
                      found["native"][part], f"native ({kind}, warm)", floors, at_most=bar)


# --- P12 ---

def switch(bench, site, place, agnes, stack):
    names = stack.write_names(place / "names")
    watched = place / "watched"
    seeds = iter(range(1_000_000))

    def change():
        stack.invent(next(seeds))
        stack.write_manifest()

    change()
    file = place / "file"
    file.write_bytes(stack.content(0))
    with mounted(agnes, stack.url, "prefetch=none") as mount, \
            place.null(stack.count, file) as null:
        watched.write_text("".join(f"{mount.path}/data/flat/{name_of(at)}.parquet\n"
                                   for at in range(0, stack.count, max(1, stack.count // 64))))

        def ours():
            site.loops("names", mount / "data/flat", names)
            change()
            watcher = subprocess.Popen([site.bin / "bench_loops", "switch", mount.path, watched],
                                       stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
            try:
                assert watcher.stdout.readline() == "ready\n", "nobody watches"
                agnes.run("refresh", mount.path, timeout=DEADLINE)
                seconds, old = watcher.communicate(timeout=60)[0].split()
                assert old == "0", f"{old} names were never new"
                return float(seconds)
            finally:
                end(watcher)

        def by(command):
            site.loops("names", null.flat, names)
            return null.tell(command)

        found = bench.interleave({"null": lambda: by("entries"), "mount": ours,
                                  "epoch": lambda: by("epoch")}, base="null")
        floor = statistics.median(found["epoch"])
        bench.compare("P12", f"switch of all of {stack.count:,} / per-entry invalidation",
                      found["mount"], found["null"], "null server, entry by entry",
                      f"one epoch there {floor * 1e6:.0f} µs", at_most=0.05)


# --- P13 ---

def slab_bytes():
    """Of the inodes of FUSE in the kernel; None where it does not tell."""
    try:
        lines = Path("/proc/slabinfo").read_text().splitlines()
    except OSError:
        return None
    sizes = {line.split()[0]: int(line.split()[1]) * int(line.split()[3]) for line in lines[2:]}
    return sizes.get("fuse_inode")


def remember(bench, site, place, count):
    agnes = place.agnes(f"memory{count}")
    what = f"{count:,} tables"
    small = Flat(place / f"small{count}", 1)
    small.invent(0)
    small.write_manifest()
    with mounted(agnes, small.url, "prefetch=none") as mount:
        empty = memory_of(daemon_of(agnes))
    tree = int(subprocess.run([site.bin / "bench_tree", str(count)], capture_output=True,
                              text=True, timeout=120, check=True).stdout) / count
    bench.absolute("P13", f"{what}: the tree, a row", [tree], "bytes", at_most=400)
    stack = Flat(place / f"stack{count}", count)
    stack.invent(0)
    stack.write_manifest()
    names = stack.write_names(place / "names")
    result = agnes.run("sync", stack.url, "--dry-run", expect=None, timeout=DEADLINE)
    if result.code:
        manifest = (stack.folder / "manifest.json").stat().st_size
        bench.fail("P13", f"{what}: the daemon, an inode above the tree",
                   f"a manifest of {manifest / 1e6:.0f} MB: {result.err.strip()}", "≤ 160 bytes")
        return
    with mounted(agnes, stack.url, "prefetch=none") as mount:
        pid = daemon_of(agnes)
        slab = slab_bytes()
        before = memory_of(pid)
        site.loops("names", mount / "data/flat", names)
        site.loops("list", mount / "data/flat")
        listed = memory_of(pid)
        kernel = f"; kernel {(slab_bytes() - slab) / count:.0f} bytes an inode" if slab else ""
        bench.absolute("P13", f"{what}: the daemon, an inode above the tree",
                       [(listed - empty) / count - tree], "bytes",
                       f"{listed / 1e6:.0f} MB in all, {(listed - before) / count:.0f} bytes an"
                       f" inode came by listing{kernel}", at_most=160)
        forget(bench, mount, pid, before, listed, what)


def forget(bench, mount, pid, before, listed, what):
    """The kernel is asked to drop names and inodes that nobody uses; pages stay."""
    drop = Path("/proc/sys/vm/drop_caches")
    if not os.access(drop, os.W_OK):
        bench.fail("P13", f"{what}: after the kernel forgets", "no drop_caches here", "≤ 0.05")
        return
    drop.write_text("2\n")
    wait_for(lambda: mount.status(expect=None)["mount"]["lookups"] < 1000, 60, "forgets")
    after = memory_of(pid)
    bench.absolute("P13", f"{what}: after the kernel forgets, off by", [abs(after / before - 1)],
                   "", f"{before / 1e6:.0f}, {listed / 1e6:.0f}, then {after / 1e6:.0f} MB",
                   at_most=0.05)


# --- P14 ---

def first_byte(bench, site, place, agnes, stack, starts=1):
    """Each sample is the median of so many starts: those of the floor are a few milliseconds."""
    path = agnes.folder / "agnes"
    path.mkdir(exist_ok=True)
    command = [site.bin / "agnesfs", "mount", stack.url, path, "-o", "refresh=off", "--quiet"]

    def ours():
        seconds = site.loops("first", path / FIRST, *command, env=agnes.env)
        mount = Mount(agnes, path)
        settle(mount)
        unmount(mount)
        return seconds

    def floor():
        folder = place / "floor"
        folder.mkdir(exist_ok=True)
        loops = subprocess.Popen(
            [site.bin / "bench_loops", "first", folder / FIRST, site.bin / "bench_null", folder,
             str(stack.count), stack.tables / f"{name_of(0)}.parquet"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        try:
            return float(loops.stdout.readline().split()[0])
        finally:
            loops.stdin.close()  # the null server unmounts
            end(loops)
            loops.stdout.close()
            wait_for(lambda: not os.path.ismount(folder), 10, "the null server's end")

    def several(side):
        return lambda: statistics.median(side() for _ in range(starts))

    ours()
    found = bench.interleave({"null": several(floor), "mount": several(ours)}, base="null")
    return found["mount"], found["null"]


# ---

def synced(bench, place, count):
    stack = Flat(place / "stack", count).write()
    agnes = place.agnes("root")
    agnes.run("sync", stack.url, timeout=DEADLINE)
    return agnes, stack


def run(bench, site, place):
    agnes, stack = synced(bench, place, bench.size(100_000, 3_000))
    if bench.wants("P5", "P6"):
        open_and_stat(bench, site, place, agnes, stack)
    if bench.wants("P6"):
        look_up_cold(bench, site, place, agnes, stack)
    if bench.wants("P7"):
        list_folder(bench, site, place, agnes, stack)
    if bench.wants("P14"):
        ours, _ = first_byte(bench, site, place, agnes, stack)
        bench.absolute("P14", f"exec to first byte, {stack.count:,} tables", ours, "s", at_most=1)


def run_start(bench, site, place):
    agnes, stack = synced(bench, place, bench.size(10_000, 1_000))
    ours, null = first_byte(bench, site, place, agnes, stack, bench.size(5, 1))
    bench.compare("P14", f"exec to first byte, {stack.count:,} tables / null server", ours, null,
                  "null server", at_most=3)


def run_switch(bench, site, place):
    switch(bench, site, place, place.agnes("root"),
           Flat(place / "stack", bench.size(100_000, 3_000)))


def run_memory(bench, site, place):
    for count in (bench.size(100_000, 10_000), bench.size(1_000_000, 20_000)):
        remember(bench, site, place, count)
