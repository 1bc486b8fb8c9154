"""What a query on a cold table of a gigabyte costs, over a line of 1 Gbit/s with 20 ms of delay."""

import os
import re
import subprocess
import sys
import time

import numpy
import pyarrow
import pyarrow.parquet
import pytest

from tests.lib.agnesfs import BINARY, Agnesfs
from tests.lib.faultd import Fault, Server
from tests.lib.sites import Folder
from tests.lib.stack import Stack

MIB = 1 << 20
GBIT = 125_000_000
ROWS = 27_000_000  # five columns of eight bytes
PATH = "data/sales/big.parquet"
URL = "/tables/big.parquet"
COUNT = "select count(*) from '{}'"
COLUMN = "select min(c), max(c) from '{}'"

QUERY = """
import sys, time
import duckdb
duckdb.sql("set threads=2; set enable_progress_bar=false")
begin = time.monotonic()
print(duckdb.sql(sys.argv[1]).fetchall(), time.monotonic() - begin)
"""


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """The stack and its server. Built once: it takes longer than the tests."""
    stack = Stack(tmp_path_factory.mktemp("stack") / "stack")
    stack.add_package("sales", stack.add_table("big", b"PAR1PAR1"))
    stack.write()
    path = stack.folder / "tables/big.parquet"
    numbers = numpy.random.default_rng(1)
    schema = pyarrow.schema([(name, pyarrow.float64()) for name in "abcde"])
    with pyarrow.parquet.ParquetWriter(path, schema, compression="none", use_dictionary=False,
                                       write_statistics=False) as writer:
        for _ in range(54):
            columns = {name: numbers.random(ROWS // 54) for name in "abcde"}
            writer.write_table(pyarrow.table(columns, schema=schema), row_group_size=500_000)
    row = stack.rows["big"]
    digest = subprocess.run(["md5sum", path], capture_output=True, text=True, check=True).stdout
    row |= {"md5": digest[:32], "hash": digest[:32], "size_bytes": path.stat().st_size}
    stack.files = {}
    stack.write()
    assert path.stat().st_size > 1000 * MIB
    with Server(Folder(stack.folder), "/manifest.json") as server:
        yield stack, server
    path.unlink()


@pytest.fixture
def mount(served, agnes):
    _, server = served
    server.forget()
    server.bandwidth = GBIT
    with agnes.mount(server.url, "prefetch=none", "cache-size=unlimited", "min-free=0") as mount:
        server.always(URL, Fault(delay=0.02))
        server.clear()
        yield mount


def query(text, path):
    done = subprocess.run([sys.executable, "-c", QUERY, text.format(path)], capture_output=True,
                          text=True, timeout=50, check=True)
    result, seconds = done.stdout.rsplit(" ", 1)
    return result, float(seconds)


def bytes_read_by_duckdb(text, path):
    """What the same query reads of the plain file, rounded to blocks, each counted once."""
    trace = path.parent / "trace"
    subprocess.run(["strace", "-f", "-e", "trace=pread64", "-P", path, "-o", trace,
                    sys.executable, "-c", QUERY, text.format(path)], check=True, timeout=100,
                   stdout=subprocess.DEVNULL)
    touched = set()
    # An unfinished call has its size and offset where it is resumed.
    for size, offset in re.findall(r", (\d+), (\d+)\)\s+= \d+", trace.read_text()):
        touched |= set(range(int(offset) // MIB, (int(offset) + int(size) - 1) // MIB + 1))
    trace.unlink()
    return len(touched) * MIB


def test_the_first_row_costs_two_blocks_and_two_percent_of_the_download(served, mount):
    stack, server = served
    size = (stack.folder / "tables/big.parquet").stat().st_size
    result, seconds = query(COUNT, mount / PATH)
    assert result == f"[({ROWS},)]"
    assert server.count(URL) <= 4
    assert server.sent(URL) <= 3 * MIB
    assert seconds <= 0.02 * (size / GBIT) + (1 if "asan" in str(BINARY) else 0), seconds


def test_one_column_of_five_costs_what_it_needs(served, mount):
    stack, server = served
    needed = bytes_read_by_duckdb(COLUMN, stack.folder / "tables/big.parquet")
    expected, _ = query(COLUMN, stack.folder / "tables/big.parquet")
    result, _ = query(COLUMN, mount / PATH)
    assert result == expected
    time.sleep(0.5)
    print(f"needed {needed / MIB:.0f} MiB, fetched {server.sent(URL) / MIB:.0f} MiB "
          f"in {server.count(URL)} requests")
    assert server.sent(URL) <= 1.3 * needed
    assert mount.xattr(PATH, "state") == "partial"
