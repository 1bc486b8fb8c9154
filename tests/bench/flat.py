"""Stacks of many tables, as quickly as files can be written.

The bytes of a table are PAR1, a number, noise, PAR1: different in every table.
"""

import hashlib
import json
import os
import random

UPDATED = "2026-08-22T10:00:00+00:00"


def name_of(number):
    return f"t{number:07}"


class Flat:
    """count tables of size bytes in as many packages; all in "flat" when there is one."""

    def __init__(self, folder, count, size=4096, packages=1):
        self.folder, self.count, self.size, self.packages = folder, count, size, packages
        self.tables = folder / "tables"
        self.tables.mkdir(parents=True, exist_ok=True)
        self.md5s = {}
        self.noise = random.Random(count).randbytes(size)

    @property
    def url(self):
        return (self.folder / "manifest.json").as_uri()

    def content(self, number):
        head = b"PAR1" + number.to_bytes(8, "little")
        return head + self.noise[len(head):-4] + b"PAR1"

    def package_of(self, number):
        return "flat" if self.packages == 1 else f"package{number % self.packages}"

    def write_tables(self, numbers=None):
        for number in numbers if numbers is not None else range(self.count):
            content = self.content(number)
            self.md5s[number] = hashlib.md5(content).hexdigest()
            with open(self.tables / f"{name_of(number)}.parquet", "wb") as file:
                file.write(content)

    def invent(self, seed):
        """All tables have other bytes, which nobody can fetch."""
        for number in range(self.count):
            self.md5s[number] = hashlib.md5(b"%d %d" % (number, seed)).hexdigest()

    def row(self, number):
        name = name_of(number)
        return row(name, self.md5s[number], self.size, f"tables/{name}.parquet")

    def write_manifest(self, numbers=None):
        packages = {}
        for number in numbers if numbers is not None else range(self.count):
            packages.setdefault(self.package_of(number), []).append(self.row(number))
        write_manifest(self.folder, packages)

    def write(self):
        self.write_tables()
        self.write_manifest()
        return self

    def write_names(self, path):
        """A list for the readers, in no order."""
        numbers = list(range(self.count))
        random.Random(1).shuffle(numbers)
        path.write_text("".join(f"{name_of(number)}.parquet\n" for number in numbers))
        return path


def row(name, md5, size, url):
    return {"id": name, "name": name, "hash": md5, "md5": md5, "size_bytes": size, "rows": 10,
            "query_mode": "local", "updated": UPDATED, "parquet_url": url}


def write_manifest(folder, packages):
    manifest = {
        "tables": {},
        "data_packages": [{"id": f"dp_{slug}", "slug": slug, "name": slug, "tables": rows}
                          for slug, rows in packages.items()],
        "memory_domains": [],
        "direct_tables": [],
    }
    temporary = folder / "manifest.json.new"
    temporary.write_text(json.dumps(manifest))
    os.replace(temporary, folder / "manifest.json")


def row_of_file(folder, name, path):
    digest = hashlib.md5()
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return row(name, digest.hexdigest(), path.stat().st_size, str(path.relative_to(folder)))
