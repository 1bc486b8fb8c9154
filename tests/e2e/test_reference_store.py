"""References are counted: st_nlink of a file is the number of its names, after any history."""

import os
import random
from collections import Counter
from pathlib import Path

from tests.lib.agnesfs import wait_for
from tests.lib.stack import raw

SEED = 20260822
REFRESHES = 25
TABLES = [f"t{number}" for number in range(5)]
PACKAGES = ["sales", "marketing", "events", "support"]
CONTENTS = [raw(f"content {number}".encode()) for number in range(7)]


def random_stack(stack, dice):
    """A manifest as it may be at some moment. Two rows never leave: no section is ever empty."""
    stack.packages.clear()
    stack.direct_tables.clear()
    rows = []
    for name in TABLES:
        fields = {"server_only": True} if dice.random() < 0.15 else {}
        rows.append(stack.add_table(name, dice.choice(CONTENTS), **fields))
    anchor = stack.add_table("anchor", raw(b"anchor"))
    stack.add_package("always", anchor)
    stack.add_direct(anchor)
    for slug in PACKAGES:
        if dice.random() < 0.7:
            stack.add_package(slug, *dice.sample(rows, dice.randint(0, len(rows))))
    for row in dice.sample(rows, dice.randint(0, 2)):
        stack.add_direct(row)
    stack.write()


def expected_files(stack):
    listed = [("_direct", row) for row in stack.direct_tables]
    listed += [(slug, row) for slug, package in stack.packages.items() for row in package["tables"]]
    return {f"data/{folder}/{row['name']}.parquet": stack.files[row["parquet_url"]]
            for folder, row in listed if not row["server_only"]}


def recount(mount):
    """{path: st_nlink} by counting names with the same inode, and as stat says it."""
    stats = {}
    for where, _, names in os.walk(mount / "data"):
        for name in names:
            if name != "README.md":
                path = Path(where, name)
                stats[str(path.relative_to(mount.path))] = path.stat()
    names_of = Counter(stat.st_ino for stat in stats.values())
    counted = {path: names_of[stat.st_ino] for path, stat in stats.items()}
    return counted, {path: stat.st_nlink for path, stat in stats.items()}


def test_link_counts_equal_a_recount_after_random_histories(agnes, stack):
    dice = random.Random(SEED)
    random_stack(stack, dice)
    with agnes.mount(stack.url) as mount:
        for number in range(REFRESHES):
            where = f"seed {SEED}, refresh {number}"
            files = expected_files(stack)
            assert mount.files() == files, where
            counted, said = recount(mount)
            assert said == counted, where
            same_bytes = Counter(files.values())
            assert counted == {path: same_bytes[files[path]] for path in files}, where
            wait_for(lambda kept=sorted(same_bytes): agnes.cache().contents() == kept, what=where)
            random_stack(stack, dice)
            assert mount.refresh().violations == [], where


def test_names_with_equal_bytes_are_one_inode(agnes, stack):
    stack.add_package("sales", stack.add_table("orders", raw(b"same")))
    stack.add_package("archive", stack.add_table("orders_2025", raw(b"same")))
    stack.write()
    with agnes.mount(stack.url) as mount:
        one, other = "data/sales/orders.parquet", "data/archive/orders_2025.parquet"
        assert (mount / one).samefile(mount / other)
        assert mount.nlink(one) == 2
        assert mount.xattr(one, "references") == "2"
        stack.add_table("orders_2025", raw(b"other"))
        stack.write()
        mount.refresh()
        assert not (mount / one).samefile(mount / other)
        assert mount.nlink(one) == mount.nlink(other) == 1
