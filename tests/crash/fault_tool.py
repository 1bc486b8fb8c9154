"""crash_fault, the tool that plays one life of a cache over and over with another fault each time.

    tool = FaultTool(tmp_path)
    result = tool.run("errno", 2000, seed)       result.points .hit .failed .calls; .text
    result = tool.only("sync", "pwrite", "ENOSPC", 3, "once")
"""

import json
import os
import random
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.lib.stack import Stack, raw

BUILD = Path(os.environ.get("AGNESFS_BUILD") or Path(__file__).resolve().parents[2] / "build/dev")
TOOL = BUILD / "tests/crash/crash_fault"


def write_stack(folder, second):
    """Two generations: between them one table changes, one comes, one goes, a part and a bundle
    change; one is shared, one has two blocks."""
    stack = Stack(folder)
    same = stack.add_table("same", raw(b"same"))
    big = stack.add_table("big", raw(random.Random(1).randbytes((1 << 20) + 5000)))
    changed = stack.add_table("changed", raw(b"two" if second else b"one"))
    stack.add_package("sales", same, changed, big)
    stack.add_package("marketing", same)
    stack.add_package("web", stack.add_table("clicks", {
        "month=2026-06/data.parquet": raw(b"june"),
        "month=2026-07/data.parquet": raw(b"july, corrected" if second else b"july"),
    }))
    stack.add_direct(stack.add_table("fresh" if second else "gone", raw(b"either")))
    stack.add_direct(stack.add_table("late" if second else "early", raw(b"or" * (1 + second))))
    stack.add_domain("finance", "# Finance\n" + ("changed\n" if second else ""))
    return stack.write()


class Result:
    def __init__(self, text, code):
        self.text, self.code = text, code
        summary = json.loads(text.splitlines()[-1]) if text.strip() else {}
        self.points = summary.get("points", 0)
        self.hit = summary.get("hit", 0)
        self.failed = summary.get("failed", -1)
        self.calls = summary.get("calls", {})

    def __repr__(self):
        return f"exit {self.code}\n{self.text}"


class FaultTool:
    """In memory where there is memory to write to: it is the calls that count, not the disk."""

    def __init__(self, tmp_path):
        shared = Path("/dev/shm")
        roomy = shared.is_dir() and shutil.disk_usage(shared).free > 512 << 20
        self.folder = Path(tempfile.mkdtemp(prefix="agnesfs-fault-", dir=shared if roomy else tmp_path))
        self.first = write_stack(self.folder / "first", False)
        self.second = write_stack(self.folder / "second", True)
        self.runs = 0

    def __enter__(self):
        return self

    def __exit__(self, *error):
        shutil.rmtree(self.folder)

    def run(self, *args, timeout=600):
        self.runs += 1
        work = self.folder / f"work{self.runs}"
        work.mkdir()
        command = [TOOL, work, self.first.url, self.second.url, *map(str, args)]
        print(" ".join(map(str, command)))
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              errors="replace", timeout=timeout)
        shutil.rmtree(work)
        return Result(done.stdout, done.returncode)

    def only(self, *args):
        return self.run("only", *args)
