"""Other people's programs on the mount, cold, warm and while it switches: as on an ordinary folder.

A table in parts may have any files for parts, so a table here is a folder with a git repository, an
SQLite database, texts, a file that fio has written to verify it, and parquet. The same files lie in an
ordinary folder; what a program says of the one it must say of the other.
"""

import hashlib
import os
import random
import sqlite3
import subprocess
import threading

import duckdb
import pyarrow.dataset
import pyarrow.parquet
import pytest

from tests.lib.effort import seed
from tests.lib.stack import Stack, parquet, raw

FILES = "data/things/files"
FIO = ["fio", "--name=verify", "--bs=4k", "--size=4M", "--verify=crc32c", "--verify_fatal=1",
       "--minimal", "--thread", "--randseed=7", "--verify_state_save=0"]
GIT = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@example.com", "GIT_COMMITTER_NAME": "a",
       "GIT_COMMITTER_EMAIL": "a@example.com", "GIT_CONFIG_GLOBAL": "/dev/null",
       "GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "*",
       "GIT_OPTIONAL_LOCKS": "0", "PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}


def run(*command, **more):
    done = subprocess.run(list(map(str, command)), capture_output=True, timeout=60, check=False,
                          env=GIT, **more)
    assert done.returncode == 0, (command, done.returncode, done.stdout[-500:], done.stderr[-500:])
    return done.stdout


def made(folder):
    """The ordinary folder."""
    numbers = random.Random(7)
    folder.mkdir()
    work = folder.parent / "work"
    run("git", "init", "-q", "-b", "main", work)
    for number in range(20):
        text = "\n".join(f"line {i} of {number}: {numbers.random()}" for i in range(200))
        (work / f"text{number}.txt").write_text(text + "\n")
        run("git", "-C", work, "add", ".")
        run("git", "-C", work, "commit", "-q", "-m", f"text {number}")
    run("git", "clone", "-q", "--bare", "--no-local", work, folder / "repository")
    for litter in (*folder.glob("repository/hooks/*"), folder / "repository/packed-refs"):
        litter.unlink()
    head = run("git", "-C", work, "rev-parse", "HEAD")
    (folder / "repository/refs/heads/main").write_bytes(head)
    (folder / "texts").mkdir()
    for path in work.glob("*.txt"):
        (folder / "texts" / path.name).write_bytes(path.read_bytes())
    with sqlite3.connect(folder / "numbers.sqlite") as database:
        database.execute("CREATE TABLE numbers (id INTEGER PRIMARY KEY, value REAL, name TEXT)")
        database.executemany("INSERT INTO numbers VALUES (?, ?, ?)",
                             ((i, numbers.random(), f"name {i}") for i in range(20_000)))
        database.execute("CREATE INDEX by_name ON numbers (name)")
    run(*FIO, "--rw=write", "--do_verify=0", f"--filename={folder}/verified.fio")
    for month in range(6):
        (folder / f"month={month}").mkdir()
        (folder / f"month={month}/data.parquet").write_bytes(parquet(rows=5000, seed=month))
    for empty in sorted(folder.rglob("*"), reverse=True):
        if empty.is_dir() and not any(empty.iterdir()):
            empty.rmdir()
    return folder


@pytest.fixture(scope="module")
def golden(tmp_path_factory):
    return made(tmp_path_factory.mktemp("golden") / "files")


@pytest.fixture
def things(tmp_path, golden):
    stack = Stack(tmp_path / "stack")
    files = {str(path.relative_to(golden)): path.read_bytes()
             for path in golden.rglob("*") if path.is_file()}
    stack.add_package("things", stack.add_table("files", files))
    return stack.write()


# --- the programs: each says what it found below a folder, or that all is well ---


def tar(root, place):
    return hashlib.sha256(run("tar", "--sort=name", "--mtime=@0", "--owner=0", "--group=0",
                              "--mode=u=rX", "-C", root, "-cf", "-", ".")).hexdigest()


def ripgrep(root, place):
    return run("rg", "--sort=path", "--line-number", "line 1[0-9]* of", "texts", cwd=root)


def git_fsck(root, place):
    repository = f"--git-dir={root}/repository"
    run("git", repository, "fsck", "--full", "--strict", "--no-dangling")
    return run("git", repository, "log", "--stat", "main")


def git_clone(root, place):
    run("git", "clone", "-q", "--no-local", f"{root}/repository", place / "clone")
    return run("git", "-C", place / "clone", "ls-tree", "-r", "HEAD")


def sqlite(root, place):
    query = "PRAGMA integrity_check; SELECT count(*), sum(value), max(name) FROM numbers;"
    return run("sqlite3", f"file:{root}/numbers.sqlite?immutable=1", query)


def fio_of(engine):
    def fio(root, place):
        run(*FIO, "--readonly", "--rw=randread", f"--ioengine={engine}", "--iodepth=4",
            f"--filename={root}/verified.fio")
        return "verified"
    return fio


def copy(root, place):
    run("cp", "-a", "--reflink=auto", root, place / "copy")
    return {str(path.relative_to(place)): hashlib.md5(path.read_bytes()).hexdigest()
            for path in sorted((place / "copy").rglob("*")) if path.is_file()}


def duck(root, place):
    with duckdb.connect() as connection:
        return connection.sql(
            "SELECT month, count(*), sum(id), sum(amount), max(label), bit_xor(hash(id, label)) "
            f"FROM read_parquet('{root}/month=*/*.parquet') GROUP BY month ORDER BY month"
        ).fetchall()


def arrow(root, place):
    paths = sorted(root.glob("month=*/data.parquet"))
    whole = pyarrow.dataset.dataset([str(path) for path in paths]).to_table()
    return [whole, *(pyarrow.parquet.read_table(path, memory_map=True) for path in paths)]


PROGRAMS = {"tar": tar, "ripgrep": ripgrep, "git fsck": git_fsck, "git clone": git_clone,
            "sqlite": sqlite, "fio psync": fio_of("psync"), "fio mmap": fio_of("mmap"),
            "fio libaio": fio_of("libaio"), "cp -a": copy, "DuckDB": duck, "pyarrow": arrow}


@pytest.fixture(scope="module")
def words(golden, tmp_path_factory):
    """{program: what it says of the ordinary folder}."""
    return {name: program(golden, tmp_path_factory.mktemp("place"))
            for name, program in PROGRAMS.items()}


def rsync_sees_no_difference(golden, root):
    changes = run("rsync", "-anc", "--no-times", "--no-perms", "--no-owner", "--no-group",
                  "--itemize-changes", "--delete", f"{golden}/", f"{root}/")
    assert changes == b""


def compare_all(golden, root, words, folder, where):
    for name, program in PROGRAMS.items():
        place = folder / f"{where} {name}"
        place.mkdir()
        assert program(root, place) == words[name], (where, name)
    rsync_sees_no_difference(golden, root)


class Switching(threading.Thread):
    """Publishes a generation after the other, in which the files stay and others come and go."""

    def __init__(self, stack, mount):
        super().__init__()
        self.stack, self.mount = stack, mount
        self.switches, self.error, self.ending = 0, None, threading.Event()

    def run(self):
        try:
            while not self.ending.is_set():
                name = f"other{self.switches % 3}"
                self.stack.direct_tables.clear()
                self.stack.add_direct(self.stack.add_table(name, raw(str(self.switches).encode())))
                self.stack.write_manifest(self.stack.manifest())
                self.switches += self.mount.agnes.run("refresh", self.mount.path, "--json",
                                                      expect=None).json()["changed"]
        except BaseException as error:
            self.error = error

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *exception):
        self.ending.set()
        self.join(60)
        assert self.error is None


@pytest.mark.timeout(300)
def test_programs_find_no_difference(agnes, things, golden, words, tmp_path):
    with agnes.mount(things.url, "prefetch=none") as mount:
        assert mount.status()["resident_files"] == 0
        rsync_sees_no_difference(golden, mount / FILES)  # the coldest of all
        compare_all(golden, mount / FILES, words, tmp_path, "warm")
        with Switching(things, mount) as switching:
            compare_all(golden, mount / FILES, words, tmp_path, "switching")
        assert switching.switches >= 5
        print(f"{switching.switches} switches")


@pytest.mark.timeout(300)
def test_each_program_as_the_first_to_read(agnes, things, golden, words, tmp_path):
    """Cold for each: their ways to read (in order, at random, mapped) fetch what they need."""
    order = list(PROGRAMS)
    random.Random(seed()).shuffle(order)
    for name in order:
        with agnes.mount(things.url, "prefetch=none") as mount:
            assert mount.status()["resident_files"] == 0
            place = tmp_path / name
            place.mkdir()
            assert PROGRAMS[name](mount / FILES, place) == words[name], name
        agnes.run("prune", things.url, "--cache-size=1")


def test_the_comparison_sees_one_changed_byte(golden, words, tmp_path):
    """The control: a copy with one byte changed in each file is noticed by all who read that file."""
    other = tmp_path / "files"
    run("cp", "-a", golden, other)
    for path in (p for p in other.rglob("*") if p.is_file() and "objects" not in str(p)):
        body = bytearray(path.read_bytes())
        body[len(body) // 2] ^= 1
        path.chmod(0o600)
        path.write_bytes(body)
    noticed = set()
    for name, program in PROGRAMS.items():
        place = tmp_path / name
        place.mkdir()
        try:
            if program(other, place) != words[name]:
                noticed.add(name)
        except (AssertionError, duckdb.Error, pyarrow.ArrowException, OSError):
            noticed.add(name)
    assert noticed >= set(PROGRAMS) - {"git clone", "git fsck", "ripgrep"}
    with pytest.raises(AssertionError):
        rsync_sees_no_difference(golden, other)
