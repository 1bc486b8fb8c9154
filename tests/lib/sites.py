"""What a web server serves when nothing goes wrong. faultd.py carries it, and makes it go wrong.

    Folder(path)                  any folder, as any web server would serve it
    Agnes(stack, token="t")       a stack, as an Agnes server would serve it

A site is anything with answer(request) -> Answer. faultd.py then damages the answer as it was told
to, takes the range out of it that was asked for, and lets the site finish what is left.
"""

import dataclasses
import gzip
import json
import mimetypes
import mmap
import re
import urllib.parse
from pathlib import Path


@dataclasses.dataclass
class Answer:
    status: int = 200
    body: bytes = b""
    type: str = "application/octet-stream"
    headers: dict = dataclasses.field(default_factory=dict)
    ranges: object = False  # conditions and ranges: True, or one of the dialects in ranges.py
    finish: object = None  # called with request and answer, last of all


def as_json(document, status=200):
    return Answer(status, json.dumps(document).encode(), "application/json")


def refusal(status, detail):
    return as_json({"detail": detail}, status)


def compress(request, answer):
    """As Starlette's middleware does it: with no regard to what it is or which part of it."""
    asked = "gzip" in request.headers.get("accept-encoding", "")
    if asked and len(answer.body) >= 1024 and "Content-Encoding" not in answer.headers:
        answer.body = gzip.compress(answer.body)
        answer.headers |= {"Content-Encoding": "gzip", "Vary": "Accept-Encoding"}


BIG = 4 << 20  # such files are neither read nor hashed for each request


class Folder:
    """Any folder behind any web server."""

    def __init__(self, folder, ranges=True):
        self.folder = Path(folder).resolve()
        self.ranges = ranges

    def answer(self, request):
        path = (self.folder / urllib.parse.unquote(request.path).lstrip("/")).resolve()
        if not path.is_relative_to(self.folder) or not path.is_file():
            return Answer(404, b"no such file\n", "text/plain")
        if request.method not in ("GET", "HEAD"):
            return Answer(405, b"GET only\n", "text/plain")
        types = {".md": "text/markdown", ".json": "application/json"}
        type = types.get(path.suffix) or mimetypes.guess_type(path)[0] or Answer.type
        if (stat := path.stat()).st_size < BIG:
            return Answer(body=path.read_bytes(), type=type, ranges=self.ranges)
        with open(path, "rb") as file:
            body = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        tag = f'"{stat.st_ino:x}-{stat.st_mtime_ns:x}-{stat.st_size:x}"'
        return Answer(body=body, type=type, headers={"ETag": tag}, ranges=self.ranges)


class Agnes:
    """An Agnes server as the contract describes it, its traps included.

    It serves the stack as it is at the moment of the request; nothing need be written. Hooks:
    edit(manifest) returns what to send instead; listed(type, items) the same for /api/stack.
    admin: may download by name; else only by id, and files are named by name.
    """

    def __init__(self, stack, token=None, admin=False):
        self.stack = stack
        self.token = token
        self.admin = admin
        self.edit = lambda manifest: manifest
        self.listed = lambda type, items: items
        self.clock = 0

    def answer(self, request):
        if self.token and request.headers.get("authorization") != f"Bearer {self.token}":
            return refusal(401, "Missing or invalid Authorization header")
        if request.method != "GET":
            return refusal(405, "Method Not Allowed")
        answer = self.route(request.path, request.query)
        if not request.path.startswith("/api/data/"):
            answer.finish = compress
        return answer

    def route(self, path, query):
        if path == "/api/sync/manifest":
            return as_json(self.edit(self.manifest()))
        if path == "/api/memory/bundle":
            return self.bundle(query.get("domain"))
        if path == "/api/stack":
            return self.listing(query.get("type"))
        chunks = re.fullmatch("/api/knowledge/artifacts/([^/]*)/download", path)
        if chunks:
            return Answer(body=self.stack.files[f"knowledge/{urllib.parse.unquote(chunks[1])}.duckdb"],
                          ranges=True)
        download = re.fullmatch("/api/data/([^/]*)/download", path)
        if download:
            return self.download(urllib.parse.unquote(download[1]), query.get("part"))
        return refusal(404, "Not Found")

    def manifest(self):
        """The stack's own, without the addresses of files that only a static stack has."""
        self.clock += 1
        manifest = json.loads(json.dumps(self.stack.manifest()))
        rows = [row for package in manifest["data_packages"] for row in package.get("tables") or []]
        for row in rows + manifest["direct_tables"]:
            if isinstance(row, dict):
                row.pop("parquet_url", None)
        for domain in manifest["memory_domains"]:
            domain["bundle_url"] = f"/api/memory/bundle?domain={domain['slug']}"
        for row in manifest["knowledge_artifacts"]:
            row["url"] = f"/api/knowledge/artifacts/{row['corpus_id']}/download"
        manifest["server_time"] = f"2026-08-22T14:41:14.{self.clock:06}+00:00"
        return manifest

    def bundle(self, slug):
        domain = self.stack.domains.get(slug)
        if not domain:
            return refusal(404, "memory_domain_not_found")
        return Answer(body=self.stack.files[f"memory/{slug}.md"],
                      type="text/markdown; charset=utf-8")

    def listing(self, type):
        entries = {"data_package": self.stack.packages, "memory_domain": self.stack.domains}
        if type not in entries:
            return refusal(400, f"unknown_resource_type:{type}")
        keys = ("id", "name", "description", "icon", "color", "requirement")
        items = [{key: entry[key] for key in keys} | {"in_stack": True, "materialized": True}
                 for entry in entries[type].values()]
        return as_json({"items": self.listed(type, items)})

    def download(self, key, part):
        rows = self.stack.rows
        if not re.fullmatch(r"[a-zA-Z0-9_][a-zA-Z0-9_.\-]{0,127}", key):
            return refusal(404, "Table not found")
        named = next((row for row in rows.values() if row.get("name") == key), None)
        if key not in rows and not (self.admin and named):
            return refusal(403, f"Table '{key}' is not in your stack.")
        row = rows.get(key, named)
        if row.get("server_only") or row.get("query_mode") not in ("local", "materialized"):
            return refusal(403, f"Table '{key}' never leaves the server.")
        path = f"tables/{named['id']}" if named else ""
        content = self.stack.files.get(f"{path}/{part}" if part else f"{path}.parquet")
        if content is None:
            return refusal(404, "Part not found" if part else f"Table '{key}' not found")
        return Answer(body=content, ranges=True)
