"""DuckDB, pandas and pyarrow give through the mount what they give on the plain files."""

import shutil
from pathlib import Path

import duckdb
import pandas
import pyarrow
import pyarrow.dataset
import pyarrow.parquet
import pytest

from tests.lib.stack import Stack, parquet

SAMPLE = Path(__file__).resolve().parents[1] / "data/sample"
PLACES = {
    "data/sales/orders.parquet": "orders.parquet",
    "data/sales/customers.parquet": "customers.parquet",
    "data/marketing/orders.parquet": "orders.parquet",
    "data/marketing/campaigns.parquet": "campaigns.parquet",
    "data/_direct/prices.parquet": "prices.parquet",
}
MONTHS = ("month=2026-05", "month=2026-06", "month=2026-07")
PLACES |= {f"data/events/clicks/{month}/data.parquet": f"clicks/{month}/data.parquet"
           for month in MONTHS}
TABLES = [place for place in PLACES if "/clicks/" not in place]
CLICKS = "data/events/clicks"


@pytest.fixture
def plain(tmp_path):
    """The source files, laid out by hand where the mount must show them."""
    root = tmp_path / "plain"
    for place, source in PLACES.items():
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(SAMPLE / "tables" / source, root / place)
    return root


@pytest.fixture(params=["cold", "warm"])
def mounted(agnes, request):
    """The sample; cold: nothing of it has been read, and only reading fetches."""
    with agnes.mount(SAMPLE, "prefetch=none") as mount:
        if request.param == "warm":
            assert mount.files()
        states = {mount.xattr(place, "state") for place in PLACES}
        assert states == {"cold" if request.param == "cold" else "resident"}
        yield mount.path


def query(sql, root):
    """The result with paths as below root, so that two roots compare."""
    with duckdb.connect() as connection:
        found = connection.sql(sql.format(root=root))
        return found.columns, [tuple(str(value).replace(str(root), "") if isinstance(value, str)
                                     else value for value in row) for row in found.fetchall()]


def assert_same(sql, mounted, plain):
    columns, rows = query(sql, mounted)
    assert (columns, rows) == query(sql, plain)
    assert rows
    return rows


# --- DuckDB ---

def test_duckdb_reads_all_tables_by_a_glob(mounted, plain):
    assert_same("SELECT * FROM read_parquet('{root}/data/*/*.parquet', union_by_name=true,"
                " filename=true) ORDER BY ALL", mounted, plain)


def test_duckdb_counts_the_rows_of_each_file(mounted, plain):
    rows = assert_same("SELECT filename, count(*) FROM read_parquet('{root}/data/*/*.parquet',"
                       " union_by_name=true, filename=true) GROUP BY ALL ORDER BY ALL",
                       mounted, plain)
    assert [name for name, _ in rows] == sorted(f"/{place}" for place in TABLES)
    assert dict(rows)["/data/sales/orders.parquet"] == 5000


def test_duckdb_takes_the_partitions_as_a_column(mounted, plain):
    rows = assert_same("SELECT month, count(*), min(clicked_at), sum(milliseconds) FROM"
                       " read_parquet('{root}/data/events/clicks/**/*.parquet',"
                       " hive_partitioning=true) GROUP BY month ORDER BY month", mounted, plain)
    assert [str(month) for month, *_ in rows] == [month.partition("=")[2] for month in MONTHS]


def test_duckdb_prunes_partitions_and_fetches_only_what_it_needs(agnes, plain):
    sql = ("SELECT count(*) FROM read_parquet('{root}/data/events/clicks/*/*.parquet',"
           " hive_partitioning=true, hive_types_autocast=false) WHERE month = '2026-06'")
    with agnes.mount(SAMPLE, "prefetch=none") as mount:
        assert query(sql, mount.path) == query(sql, plain)
        states = [mount.xattr(f"{CLICKS}/{month}/data.parquet", "state") for month in MONTHS]
        assert states[1] == "resident" and states[2] == "cold"


def test_duckdb_joins_and_sums_over_packages(mounted, plain):
    assert_same("SELECT country, channel, sum(total), count(DISTINCT campaign_id) FROM"
                " '{root}/data/marketing/orders.parquet' JOIN"
                " '{root}/data/sales/customers.parquet' USING (customer_id)"
                " GROUP BY ALL ORDER BY ALL", mounted, plain)


def test_duckdb_reads_footers_alone(mounted, plain):
    assert_same("SELECT file_name, num_rows, num_row_groups FROM"
                " parquet_file_metadata('{root}/data/*/*.parquet') ORDER BY ALL", mounted, plain)
    assert_same("DESCRIBE FROM read_parquet('{root}/data/*/*.parquet', union_by_name=true)",
                mounted, plain)


def test_duckdb_sees_new_content_after_a_refresh_within_one_connection(agnes, stack):
    stack.add_package("sales", stack.add_table("orders", parquet(rows=10, seed=1)))
    stack.write()
    with agnes.mount(stack.url) as mount, duckdb.connect() as connection:
        sql = f"SELECT count(*), min(label) FROM '{mount / 'data/sales/orders.parquet'}'"
        for seed, rows in ((1, 10), (2, 10), (3, 500)):
            stack.add_table("orders", parquet(rows=rows, seed=seed))
            stack.write()
            mount.refresh()
            for _ in range(2):
                assert connection.sql(sql).fetchall() == [(rows, f"row {seed}-0")]


def test_duckdb_can_not_write_into_the_mount(mounted):
    with duckdb.connect() as connection, pytest.raises(duckdb.IOException) as refused:
        connection.sql(f"COPY (SELECT 1) TO '{mounted}/data/new.parquet' (FORMAT parquet)")
    assert "read-only" in str(refused.value).lower()


# --- pandas and pyarrow ---

@pytest.mark.parametrize("place", TABLES, ids=lambda place: place.removeprefix("data/"))
def test_pandas_reads_a_table(mounted, plain, place):
    pandas.testing.assert_frame_equal(pandas.read_parquet(mounted / place),
                                      pandas.read_parquet(plain / place))


def test_pandas_reads_a_partitioned_table(mounted, plain):
    found = pandas.read_parquet(mounted / CLICKS)
    assert set(found["month"]) == {month.partition("=")[2] for month in MONTHS}
    pandas.testing.assert_frame_equal(found, pandas.read_parquet(plain / CLICKS))


@pytest.mark.parametrize("memory_map", [True, False], ids=["mapped", "read"])
def test_pyarrow_reads_a_table(mounted, plain, memory_map):
    for place in TABLES:
        found = pyarrow.parquet.read_table(mounted / place, memory_map=memory_map)
        assert found.equals(pyarrow.parquet.read_table(plain / place))
        assert found.num_rows


def test_pyarrow_reads_some_columns_without_buffering_ahead(mounted, plain):
    arguments = {"columns": ["order_id", "total"], "pre_buffer": False}
    place = "data/sales/orders.parquet"
    assert pyarrow.parquet.read_table(mounted / place, **arguments).equals(
        pyarrow.parquet.read_table(plain / place, **arguments))


def test_pyarrow_takes_a_partitioned_table_as_a_dataset(mounted, plain):
    def read(root):
        dataset = pyarrow.dataset.dataset(root / CLICKS, partitioning="hive")
        return (sorted(Path(file).relative_to(root) for file in dataset.files),
                dataset.to_table().sort_by("click_id"),
                dataset.count_rows(filter=pyarrow.dataset.field("month") == "2026-06"))

    found, expected = read(mounted), read(plain)
    assert found[0] == expected[0] and len(found[0]) == len(MONTHS)
    assert found[1].equals(expected[1]) and found[2] == expected[2] > 0


def test_a_large_table_of_many_row_groups_reads_the_same(agnes, tmp_path):
    """Some megabytes: many reads of the kernel, and DuckDB's threads side by side."""
    path = tmp_path / "big.parquet"
    numbers = pyarrow.array(range(400_000))
    table = pyarrow.table({"id": numbers, "text": numbers.cast(pyarrow.string()),
                           "value": [at * 7919 % 100_003 for at in range(400_000)]})
    pyarrow.parquet.write_table(table, path, row_group_size=20_000, compression="none")
    stack = Stack(tmp_path / "stack")
    stack.add_package("big", stack.add_table("big", path.read_bytes()))
    stack.write()
    sql = "SELECT count(*), sum(value), max(text), sum(id) FROM '{root}/big.parquet'"
    with agnes.mount(stack.url, "prefetch=none") as mount:
        expected = query(sql, tmp_path)
        for _ in range(2):
            assert query(sql, mount / "data/big") == expected
        assert pyarrow.parquet.read_table(mount / "data/big/big.parquet",
                                          memory_map=True).equals(table)
