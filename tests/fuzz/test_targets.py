"""libFuzzer, with ASan and UBSan, on everything that reads what others wrote.

    scripts/test -k fuzz/targets                     a million runs a target
    cmake --preset fuzz && cmake --build --preset fuzz
    build/venv/bin/python3 tests/fuzz/test_targets.py             the same by hand
    ... test_targets.py --keep manifest              take what is new into the kept corpus
    build/fuzz/tests/fuzz/fuzz_manifest FILE         one input again, in an empty folder

corpus/<target>/ are inputs that together reach all that was ever reached; each run begins with them,
so that they are regression tests as well. What is found lies in build/fuzz/found/ afterwards, and
belongs into the corpus once it is mended.
"""

import argparse
import concurrent.futures
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.lib.effort import LONG, amount, seed  # noqa: E402

HERE = ROOT / "tests/fuzz"
PROGRAMS = ROOT / "build/fuzz/tests/fuzz"
FOUND = ROOT / "build/fuzz/found"
RUNS = amount(standard=1_000_000, long=100_000_000)
JOBS = 2
CONTROL_RUNS = 1_000_000
WORD = re.compile(r'"((?:[^"\\\n]|\\["\\])+)"')


class Target:
    """max_len: longer inputs find nothing that these do not. edges: how much of the program the kept
    corpus has to reach at least, so that a target that has come loose is noticed. words: files whose
    strings are worth trying."""

    def __init__(self, name, max_len, edges, *words):
        self.name, self.max_len, self.edges, self.words = name, max_len, edges, words
        self.corpus = HERE / "corpus" / name

    def __repr__(self):
        return self.name


TARGETS = [
    Target("manifest", 1200, 1150, "sync/manifest*.c"),
    Target("config", 120, 150, "fs/cli/option_table.c", "fs/cli/option_files.c",
           "fs/cli/agnes_config.c"),
    Target("state", 1500, 520, "sync/state*.c", "sync/state_text.h"),
    Target("names", 300, 160, "sync/names.c"),
    Target("image", 41, 270),
    Target("map", 700, 55),
    Target("secret", 200, 190, "fs/cli/token.c", "fs/cli/token_expiry.c"),
    Target("url", 120, 210, "sync/source*.c", "sync/address.c"),
    Target("trust", 300, 85, "cache/trust_file.c"),
    Target("answers", 600, 280, "sync/stack.c", "sync/digest_page.c", "sync/transfer_answer.c"),
    Target("control", 200, 185, "fs/cli/control.c", "fs/cli/borrower.c"),
    Target("head", 300, 310, "sync/fetch_head.c", "sync/transfer_answer.c"),
    Target("json", 100, 180, "sync/json_text.c"),
]


def write_words(target, path):
    words = set()
    for pattern in target.words:
        files = list(ROOT.glob(pattern))
        assert files, f"{target}: no {pattern}"
        for file in files:
            words |= {word for word in WORD.findall(file.read_text()) if len(word) <= 40}
    path.write_text("".join(f'"{word}"\n' for word in sorted(words) if word.isascii()))


def program(name):
    path = PROGRAMS / f"fuzz_{name}"
    assert path.is_file(), f"{path} is not built: cmake --preset fuzz && cmake --build --preset fuzz"
    return path


def memory_folder():
    """The targets' files are written a million times each."""
    return tempfile.TemporaryDirectory(
        prefix="agnesfs-fuzz-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)


class Run:
    """One libFuzzer to its end, in a folder of its own: self.output, self.code, self.corpus."""

    def __init__(self, name, *arguments, corpus=None, words=None, folder):
        self.folder = Path(folder)
        self.corpus = self.folder / "corpus"
        self.corpus.mkdir()
        FOUND.mkdir(parents=True, exist_ok=True)
        command = [program(name), f"-artifact_prefix={FOUND}/{name}-", "-timeout=10",
                   "-rss_limit_mb=2048", "-print_final_stats=1", *arguments]
        if words:
            command.append(f"-dict={words}")
        command.append(self.corpus)
        if corpus:
            command.append(corpus)
        work = self.folder / "work"
        work.mkdir()
        self.command = " ".join(map(str, command))
        started = time.monotonic()
        done = subprocess.run(command, cwd=work, stdin=subprocess.DEVNULL, capture_output=True,
                              env={"PATH": os.environ["PATH"],
                                   "ASAN_OPTIONS": "quarantine_size_mb=8:malloc_context_size=8",
                                   "UBSAN_OPTIONS": "print_stacktrace=1"})
        self.seconds = time.monotonic() - started
        self.code = done.returncode
        self.output = done.stderr.decode(errors="replace")

    def number(self, pattern):
        found = re.findall(pattern, self.output)
        return int(found[-1]) if found else 0

    @property
    def runs(self):
        return self.number(r"stat::number_of_executed_units: (\d+)")

    @property
    def edges_of_corpus(self):
        return self.number(r"INITED cov: (\d+)")

    @property
    def edges(self):
        return self.number(r"DONE\s+cov: (\d+)")

    def finding(self):
        """What libFuzzer and the sanitizers say, without the inputs on the way to it."""
        return "\n".join(line for line in self.output.splitlines() if not line.startswith("#"))[-6000:]


def fuzz(target, runs, number, folder):
    folder = Path(folder) / target.name
    folder.mkdir()
    words = None
    if target.words:
        words = folder / "words"
        write_words(target, words)
    run = Run(target.name, f"-runs={runs}", f"-seed={number % (1 << 31) or 1}",
              f"-max_len={target.max_len}", corpus=target.corpus, words=words, folder=folder)
    print(f"{target}: {run.runs} runs in {run.seconds:.1f} s, {run.edges_of_corpus} edges at first,"
          f" {run.edges} in the end, corpus {len(list(target.corpus.iterdir()))}"
          f" + {len(list(run.corpus.iterdir()))}", flush=True)
    return run


def fuzz_all(targets, runs, number, folder):
    """Two at a time, the slow ones first."""
    with concurrent.futures.ThreadPoolExecutor(JOBS) as pool:
        futures = {target: pool.submit(fuzz, target, runs, number, folder) for target in targets}
        return {target: future.result() for target, future in futures.items()}


@pytest.fixture(scope="module")
def results():
    number = seed()
    with memory_folder() as folder:
        started = time.monotonic()
        results = fuzz_all(TARGETS, RUNS, number, folder)
        print(f"all: {sum(run.runs for run in results.values())} runs"
              f" in {time.monotonic() - started:.1f} s")
        yield results


@pytest.mark.timeout(0 if LONG else 800)
@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_nothing_is_found(results, target):
    run = results[target]
    assert run.code == 0, f"{run.command}\n{run.finding()}"
    assert run.runs >= RUNS
    assert run.edges_of_corpus >= target.edges, "the kept corpus does not reach what it did"


@pytest.mark.parametrize("mistake, name", [("AddressSanitizer: ", "planted_address"),
                                           ("signed integer overflow", "planted_undefined")])
def test_a_mistake_is_found(tmp_path, mistake, name):
    """The negative control."""
    run = Run(name, f"-runs={CONTROL_RUNS}", f"-seed={seed() % (1 << 31) or 1}", "-max_len=100",
              words=HERE / "planted.dict", folder=tmp_path)
    assert run.code != 0, f"nothing was found in {run.runs} runs\n{run.command}"
    assert re.search(mistake, run.output), run.finding()
    assert run.runs < CONTROL_RUNS
    for artifact in FOUND.glob(f"{name}-*"):
        artifact.unlink()


def test_every_target_is_run():
    """A new target_X.c, and a kept corpus, belong to a line of the table."""
    programs = {path.stem.removeprefix("target_") for path in HERE.glob("target_*.c")}
    assert programs == {target.name for target in TARGETS} | {"planted"}
    assert {path.name for path in (HERE / "corpus").iterdir()} == {
        target.name for target in TARGETS}


# --- by hand --------------------------------------------------------------------------------------

def keep(target, runs, number, extra):
    """Fuzzes, and makes the kept corpus the smallest that reaches all that old and new reach."""
    with memory_folder() as folder:
        target.corpus.mkdir(parents=True, exist_ok=True)
        new = Path(folder) / "new"
        new.mkdir()
        for source in extra:
            for path in Path(source).iterdir():
                shutil.copy(path, new)
        for path in target.corpus.iterdir():
            shutil.copy(path, new)
        grown = Target(target.name, target.max_len, 0, *target.words)
        grown.corpus = new
        run = fuzz(grown, runs, number, folder)
        if run.code != 0:
            sys.exit(f"{run.command}\n{run.finding()}")
        for path in run.corpus.iterdir():
            shutil.copy(path, new)
        merge = Path(folder) / "merge"
        merge.mkdir()
        merged = Run(target.name, "-set_cover_merge=1", "-use_counters=0", f"-max_len={target.max_len}",
                     corpus=new, folder=merge)
        if merged.code != 0:
            sys.exit(f"{merged.command}\n{merged.finding()}")
        shutil.rmtree(target.corpus)
        shutil.copytree(merged.corpus, target.corpus)
        print(f"{target}: {len(list(target.corpus.iterdir()))} inputs,"
              f" {sum(p.stat().st_size for p in target.corpus.iterdir())} bytes")


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", help="all, if none is named")
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--seeds", action="append", default=[], help="a folder with more inputs")
    arguments = parser.parse_args()
    chosen = [target for target in TARGETS
              if target.name in arguments.targets or not arguments.targets]
    number = seed()
    if arguments.keep:
        for target in chosen:
            keep(target, arguments.runs, number,
                 [f"{folder}/{target}" for folder in arguments.seeds])
        return 0
    with memory_folder() as folder:
        failed = [run for run in fuzz_all(chosen, arguments.runs, number, folder).values()
                  if run.code != 0]
        for run in failed:
            print(f"{run.command}\n{run.finding()}")
        return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
