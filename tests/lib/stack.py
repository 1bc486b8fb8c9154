"""Build static stacks: parquet files, bundles, and the manifest that lists them.

    stack = Stack(tmp_path)
    orders = stack.add_table("orders", parquet(rows=100))
    stack.add_package("sales", orders)
    stack.add_package("marketing", orders)              # the same table again
    stack.add_table("clicks", {"month=2026-06/data.parquet": raw(b"june")})
    stack.add_direct(stack.add_table("prices", raw(b"prices")))
    stack.add_domain("finance", "# Finance\n")
    stack.write()

What add_... returns is the manifest's own dict, and every test may do to it what a server might:

    orders["query_mode"] = "remote"                     stack.add_table("t", raw(), md5="0" * 32)
    stack.add_table("t", raw(), md5=DROP)               only `hash`, as old servers do
    stack.add_package("odd", {**orders, "name": "x"})   another row for the same content
    stack.add_table("orders", new_bytes)                new content, in every package that has it
    stack.write(direct_tables=DROP, data_packages=None) any manifest at all

Files are written before the manifest, each under another name first: a reader sees the old stack or
the new one.
"""

import io
import json
import os
from pathlib import Path

import pyarrow
import pyarrow.parquet

from tests.lib.agnes_instance import md5, rollup

DROP = object()  # as the value of a field: leave the key out
UPDATED = "2026-08-22T10:00:00+00:00"


def raw(payload=b""):
    """The smallest thing that looks like a parquet file from outside."""
    return b"PAR1" + payload + b"PAR1"


def noise(size):
    """So many random bytes that look the same, and whose footer is longer than the file: nobody reads
    rows from them by chance."""
    return raw(os.urandom(size - 12) + b"\xff" * 4)


def parquet(rows=10, seed=0, columns=None):
    """Real parquet bytes; the same arguments give the same bytes."""
    if columns is None:
        columns = {
            "id": list(range(rows)),
            "label": [f"row {seed}-{i}" for i in range(rows)],
            "amount": [((i * 7919 + seed * 104729) % 100_000) / 100 for i in range(rows)],
        }
    buffer = io.BytesIO()
    table = columns if isinstance(columns, pyarrow.Table) else pyarrow.table(columns)
    pyarrow.parquet.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()


def without_dropped(fields):
    return {key: value for key, value in fields.items() if value is not DROP}


def write_atomically(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.new")
    temporary.write_bytes(content)
    os.replace(temporary, path)


class Stack:
    def __init__(self, folder):
        self.folder = Path(folder)
        self.files = {}  # path below the folder -> bytes
        self.rows = {}  # table id -> row
        self.packages = {}  # slug -> package
        self.domains = {}  # slug -> domain
        self.direct_tables = []
        self.artifacts = []  # of knowledge: rows
        self.server_time = "2026-08-22T14:41:14.123456+00:00"

    @property
    def url(self):
        return (self.folder / "manifest.json").resolve().as_uri()

    def add_table(self, name, content=None, *, id=None, **fields):
        """A table's row. Content: bytes, or {part path: bytes}, or None for a row without a file.

        The row is in no package yet. A table of the same id is replaced wherever it is listed.
        """
        id = id or name
        row = {
            "id": id,
            "name": name,
            "hash": "",
            "md5": "",
            "size_bytes": 0,
            "rows": 0,
            "query_mode": "local",
            "server_only": False,
            "access_policy": False,
            "access_policy_fingerprint": None,
            "source_type": "local",
            "updated": UPDATED,
        }
        if isinstance(content, dict):
            row |= self._parts(id, content)
        elif content is not None:
            path = f"tables/{id}.parquet"
            self.files[path] = content
            row |= {"parquet_url": path, "size_bytes": len(content)}
            row["hash"] = row["md5"] = md5(content)
        row["rows"] = self._count_rows(content)
        known = self.rows.setdefault(id, {})
        known.clear()
        known.update(without_dropped(row | fields))
        return known

    def _parts(self, id, contents):
        parts = []
        for path, content in sorted(contents.items()):
            self.files[f"tables/{id}/{path}"] = content
            parts.append({"path": path, "hash": md5(content), "size_bytes": len(content)})
        total = sum(part["size_bytes"] for part in parts)
        hash = rollup(parts)
        return {"hash": hash, "md5": hash, "size_bytes": total, "parts": parts,
                "parquet_url": f"tables/{id}"}

    @staticmethod
    def _count_rows(content):
        try:
            files = content.values() if isinstance(content, dict) else [content or b""]
            return sum(pyarrow.parquet.read_metadata(io.BytesIO(file)).num_rows for file in files)
        except pyarrow.ArrowInvalid:
            return 0

    def add_package(self, slug, *rows, **fields):
        package = {
            "id": f"dp_{slug}",
            "slug": slug,
            "name": slug.capitalize(),
            "icon": None,
            "color": None,
            "description": None,
            "requirement": "required",
            "tables": list(rows),
        }
        self.packages[slug] = without_dropped(package | fields)
        return self.packages[slug]

    def add_direct(self, row):
        self.direct_tables.append(row)
        return row

    def add_domain(self, slug, text, **fields):
        """A memory domain. As on the server, its md5 is only a change token."""
        path = f"memory/{slug}.md"
        self.files[path] = text.encode()
        domain = {
            "id": f"md_{slug}",
            "slug": slug,
            "name": slug.capitalize(),
            "icon": None,
            "color": None,
            "description": None,
            "requirement": "required",
            "bundle_url": path,
            "md5": md5(b"change token of " + text.encode()),
            "items_count": text.count("\n### "),
            "required_count": text.count("\n### "),
        }
        self.domains[slug] = without_dropped(domain | fields)
        return self.domains[slug]

    def add_chunks(self, id, content):
        """A database of text chunks. One of the same id is replaced."""
        path = f"knowledge/{id}.duckdb"
        self.files[path] = content
        self.artifacts = [row for row in self.artifacts if row.get("corpus_id") != id]
        self.artifacts.append({"kind": "chunks", "corpus_id": id, "name": id.capitalize(),
                               "md5": md5(content), "size_bytes": len(content), "chunks": 1,
                               "built_at": UPDATED, "url": path})
        return self.artifacts[-1]

    def manifest(self):
        packages = []
        for package in self.packages.values():
            total = sum(row.get("size_bytes") or 0 for row in package.get("tables") or [])
            packages.append(package | {"total_size_bytes": total})
        return {
            "tables": self._flat_tables(),
            "assets": {},
            "server_time": self.server_time,
            "data_packages": packages,
            "memory_domains": list(self.domains.values()),
            "direct_tables": self.direct_tables,
            "knowledge_artifacts": self.artifacts,
        }

    def _flat_tables(self):
        """The legacy section: the same rows by name, without id, md5 and address."""
        keys = ("hash", "updated", "size_bytes", "rows", "query_mode", "server_only",
                "source_type", "parts")
        return {row["name"]: {key: row[key] for key in keys if key in row}
                for row in self.rows.values() if isinstance(row.get("name"), str)}

    def write(self, **top_level):
        """Write all files, then the manifest; the arguments replace its top-level keys."""
        for path, content in self.files.items():
            target = self.folder / path
            if not target.is_file() or target.read_bytes() != content:
                write_atomically(target, content)
        self.write_manifest(without_dropped(self.manifest() | top_level))
        return self

    def write_manifest(self, manifest):
        """Write any manifest: an object, or text that need not even be JSON."""
        if not isinstance(manifest, (str, bytes)):
            manifest = json.dumps(manifest, indent=1, ensure_ascii=False) + "\n"
        content = manifest.encode() if isinstance(manifest, str) else manifest
        write_atomically(self.folder / "manifest.json", content)
