"""What an Agnes instance knows, and the manifest it makes of that for one user.

The registry keys tables by id, the disk and the sync state by name, packages and grants by id
again: the traps of the contract come from there, so the model has the same keys. Nothing here
knows HTTP; agnes_server.py serves it and lists what tests call.
"""

import dataclasses
import datetime
import hashlib
import threading
import time

SECTIONS = ("data_packages", "memory_domains", "direct_tables", "knowledge_artifacts")
DISTRIBUTED = ("local", "materialized")
DOMAIN, PACKAGE = "memory_domain", "data_package"
V49_ENTRY = ("id", "name", "hash", "md5", "size_bytes", "rows", "query_mode", "source_type",
             "updated")


def md5(content):
    return hashlib.md5(content).hexdigest()


def rollup(parts):
    """The hash of a partitioned table: of its parts' paths and hashes, of no file's bytes."""
    return md5("\n".join(f"{part['path']}:{part['hash']}" for part in parts).encode())


@dataclasses.dataclass
class File:
    content: bytes
    mtime_ns: int


@dataclasses.dataclass
class User:
    token: str
    email: str = "a@example.com"
    admin: bool = False
    surface: str = "all"  # of the token: what `agnes auth login` makes has "stack"
    co_session: bool = False
    refused: str = None  # the detail of its 401
    grants: dict = dataclasses.field(default_factory=dict)  # resource id -> requirement
    subscriptions: set = dataclasses.field(default_factory=set)
    last_pull_at: str = None

    @property
    def sees_all(self):
        return self.admin and self.surface == "all"


@dataclasses.dataclass
class Table:
    id: str
    name: str
    query_mode: str = "local"
    server_only: bool = False
    source_type: str = "local"
    access_policy: bool = False
    stored_as: str = None  # what its file is named by: the name, but for old uploads the id
    file: File = None
    parts: dict = dataclasses.field(default_factory=dict)  # path -> File
    state: dict = None  # the row of sync_state: None before the first sync


@dataclasses.dataclass
class Package:
    id: str
    slug: str
    name: str
    icon: str = None
    color: str = None
    description: str = None
    tables: list = dataclasses.field(default_factory=list)  # ids


@dataclasses.dataclass
class Item:
    id: str
    title: str
    content: str
    status: str = "approved"
    is_required: bool = False

    @property
    def shown(self):
        return self.is_required or self.status == "approved"


@dataclasses.dataclass
class Domain:
    id: str
    slug: str
    name: str
    icon: str = None
    color: str = None
    description: str = None
    items: list = dataclasses.field(default_factory=list)

    @property
    def token(self):
        """The manifest's md5: of the items, not of the bundle, and blind to the domain's name."""
        shown = sorted((item for item in self.items if item.shown), key=lambda item: item.id)
        return md5("".join(f"{item.id}|{item.title}|{item.status}|{item.is_required}|"
                           f"{item.content}|" for item in shown).encode())

    def bundle(self):
        if not self.items:
            return f"# {self.name}\n\n_No items in this domain yet._\n"
        lines = [f"# {self.name}", ""]
        if self.description:
            lines += [self.description, ""]
        items = sorted((item for item in self.items if item.shown), key=lambda item: item.id)
        for heading, required in (("Required", True), ("Approved", False)):
            chosen = [item for item in items if item.is_required == required]
            lines += [f"## {heading}", ""] if chosen else []
            for item in chosen:
                lines += [f"### {item.title}", "", item.content or "", ""]
        return "\n".join(lines).rstrip() + "\n"


@dataclasses.dataclass
class Chunks:
    id: str
    name: str
    file: File
    chunks: int
    built_at: str


@dataclasses.dataclass
class Digest:
    id: str
    slug: str
    title: str
    output_md: str
    status: str = "fresh"
    status_reason: str = None
    generated_at: str = None

    @property
    def token(self):
        return md5("|".join((self.slug, self.status, self.status_reason or "",
                             self.generated_at or "", self.output_md)).encode())


class Instance:
    def __init__(self, token="a-token", admin=False, surface="all"):
        self.user = User(token, admin=admin, surface=surface)
        self.users = {token: self.user}
        self.tables, self.packages, self.domains = {}, {}, {}  # by id, by slug, by slug
        self.chunks, self.digests, self.assets = {}, {}, {}  # by id, by id, by name
        self.auto_membership = True
        self.naive_times = True  # as DuckDB has them
        self.failing = set()  # sections that fail and say so to nobody
        self.omitted = set()  # keys the manifest lacks
        self.shape = "now"  # or "v49", or "pre-v49"
        self.edit = lambda manifest: manifest  # returns what is sent instead: object, text, bytes
        self.signed_url = lambda name, hash: {}
        self.lock = threading.RLock()  # held while a request is answered
        self._clock = 0

    # --- building ---

    def add_user(self, token, **fields):
        self.users[token] = User(token, **fields)
        return self.users[token]

    def add_package(self, slug, *, requirement="required", subscribed=False, user=None, **fields):
        """Granted as required or available; None does not grant it."""
        package = Package(**{"id": f"dp_{slug}", "slug": slug, "name": slug.capitalize()} | fields)
        self.packages[slug] = package
        return self._with_grant(package, requirement, subscribed, user)

    def add_domain(self, slug, name=None, description=None, items=(), *, requirement="required",
                   subscribed=False, user=None, **fields):
        """Items: Item, or the text of an approved one, whose id and title are then made up."""
        items = [item if isinstance(item, Item) else Item(f"{slug}-{index}", f"Item {index}", item)
                 for index, item in enumerate(items, 1)]
        self.domains[slug] = Domain(**{"id": f"md_{slug}", "slug": slug, "items": items,
                                       "name": name or slug.capitalize(),
                                       "description": description} | fields)
        return self._with_grant(self.domains[slug], requirement, subscribed, user)

    def add_table(self, name, content=None, *, id=None, parts=None, packages=(), rows=0,
                  failed=False, stored_by="name", **fields):
        """Content, or parts as {path: content}, or neither: registered but never synced.

        With both, the flat file wins. failed: its sync never succeeded, which leaves a row of
        nulls. stored_by: "id" for what old uploads left.
        """
        table = Table(id or name, name, **fields)
        table.stored_as = table.id if stored_by == "id" else name
        self.tables[table.id] = table
        for slug in packages:
            self.packages[slug].tables.append(table.id)
        if failed:
            table.state = {"hash": None, "size_bytes": None, "rows": None, "updated": None}
        elif content is not None or parts is not None:
            self.publish(table.id, content, parts=parts, rows=rows)
        return table

    def publish(self, id, content=None, *, parts=None, rows=0, hashed=True, touch=True):
        """New content. Not hashed: the manifest still has the old hash. touch: a new mtime."""
        with self.lock:
            table = self.tables[id]
            if content is not None:
                table.file = self._file(content, table.file if not touch else None)
            if parts is not None:
                table.parts = {path: self._file(part, table.parts.get(path) if not touch else None)
                               for path, part in parts.items()}
                table.file = None if content is None else table.file
            if hashed:
                self.rehash(id, rows)

    def rehash(self, id, rows=0):
        """What the orchestrator does after a while: sync_state again says what is on disk."""
        table = self.tables[id]
        table.state = {"updated": self._now(), "rows": rows}
        if table.file:
            content = table.file.content
            table.state |= {"hash": md5(content), "size_bytes": len(content)}
        else:
            parts = [{"path": path, "hash": md5(part.content), "size_bytes": len(part.content)}
                     for path, part in sorted(table.parts.items())]
            table.state |= {"hash": rollup(parts), "parts": parts,
                            "size_bytes": sum(part["size_bytes"] for part in parts)}

    def unpublish(self, id):
        """The files are gone, while the table is listed as before."""
        self.tables[id].file, self.tables[id].parts = None, {}

    def unregister(self, id):
        with self.lock:
            del self.tables[id]
            for package in self.packages.values():
                package.tables = [table for table in package.tables if table != id]

    def add_chunks(self, id, content, *, name=None, chunks=1, granted=True, user=None):
        self.chunks[id] = Chunks(id, name, self._file(content), chunks, self._now())
        return self._with_grant(self.chunks[id], "available" if granted else None, False, user)

    def add_digest(self, slug, output_md, *, granted=True, user=None, **fields):
        self.digests[f"kd_{slug}"] = digest = Digest(**{
            "id": f"kd_{slug}", "slug": slug, "title": slug.capitalize(), "output_md": output_md,
            "generated_at": self._now()} | fields)
        return self._with_grant(digest, "available" if granted else None, False, user)

    def grant(self, resource, requirement="available", user=None):
        (user or self.user).grants[resource.id] = requirement

    def revoke(self, resource, user=None):
        (user or self.user).grants.pop(resource.id, None)

    def _with_grant(self, resource, requirement, subscribed, user):
        if requirement:
            self.grant(resource, requirement, user)
        if subscribed:
            (user or self.user).subscriptions.add(resource.id)
        return resource

    def _file(self, content, like=None):
        return File(content, like.mtime_ns if like else self._tick())

    def _tick(self):
        """Nanoseconds, never the same twice."""
        self._clock = max(self._clock + 1000, time.time_ns())
        return self._clock

    def _now(self, naive=None):
        moment = datetime.datetime.fromtimestamp(self._tick() / 1e9, datetime.UTC)
        if self.naive_times if naive is None else naive:
            moment = moment.replace(tzinfo=None)
        return moment.isoformat(timespec="microseconds")

    # --- who sees what ---

    def granted(self, user, type):
        """[(resource, requirement, in_stack, materialized)] of all that is granted."""
        found = []
        for resource in (self.packages if type == PACKAGE else self.domains).values():
            if requirement := user.grants.get(resource.id):
                copied = requirement == "required" or resource.id in user.subscriptions
                found.append((resource, requirement, self.auto_membership or copied, copied))
        return found

    def members(self, user, type):
        return [entry for entry in self.granted(user, type) if entry[2]]

    def may_read(self, user, key):
        """By id: a name passes only where it is the id, or for whom nothing is checked."""
        return user.sees_all or any(key in package.tables
                                    for package, *_ in self.members(user, PACKAGE))

    def may_use(self, user, resource_id):
        return user.admin or resource_id in user.grants

    def registered(self, key):
        """The registry's row, by id or by name."""
        named = (table for table in self.tables.values() if table.name == key)
        return self.tables.get(key) or next(named, None)

    def stored(self, key):
        """The table whose files are named by this key."""
        return next((table for table in self.tables.values() if table.stored_as == key), None)

    # --- the manifest ---

    def manifest(self, user):
        sections = {section: [] if section in self.failing else getattr(self, f"_{section}")(user)
                    for section in SECTIONS}
        manifest = {"tables": self._tables(user), "assets": self.assets,
                    "server_time": self._now(naive=False)} | sections
        if self.shape == "pre-v49":
            manifest = {key: manifest[key] for key in ("tables", "assets", "server_time")}
        elif self.shape == "v49":
            del manifest["knowledge_artifacts"]
            for package in manifest["data_packages"]:
                package["tables"] = [{key: row[key] for key in V49_ENTRY}
                                     for row in package["tables"]]
        if self.shape != "now":
            for row in manifest["tables"].values():
                for key in ("server_only", "parts", "signed_url", "signed_url_expires_at"):
                    row.pop(key, None)
        return self.edit({key: value for key, value in manifest.items()
                          if key not in self.omitted})

    def _state(self, table):
        """Of a table that was never synced: no hash, and no time either."""
        state = table.state or {}
        return {"hash": state.get("hash", ""), "size_bytes": state.get("size_bytes", 0),
                "rows": state.get("rows", 0), "updated": state.get("updated"),
                "query_mode": table.query_mode, "server_only": table.server_only,
                "source_type": table.source_type}

    def _tables(self, user):
        """By name. A name that is withheld in one package is withheld here altogether."""
        withheld, rows = set(), {}
        if "data_packages" not in self.failing:
            for package, _, _, materialized in self.members(user, PACKAGE):
                if not materialized:
                    withheld |= {self.tables[id].name for id in package.tables}
        for table in self.tables.values():
            if table.state is None or not self.may_read(user, table.id):
                continue
            row = self._state(table)
            row["server_only"] |= table.name in withheld
            if "parts" in table.state:
                row["parts"] = table.state["parts"]
            elif table.query_mode in DISTRIBUTED and not row["server_only"]:
                row |= self.signed_url(table.name, row["hash"])
            rows[table.name] = row
        return rows

    def _data_packages(self, user):
        packages = []
        for package, requirement, _, materialized in self.members(user, PACKAGE):
            rows = [self._entry(user, self.tables[id], materialized) for id in package.tables]
            packages.append(dataclasses.asdict(package) | {
                "requirement": requirement, "tables": rows,
                "total_size_bytes": sum(row["size_bytes"] or 0 for row in rows)})
        return packages

    def _entry(self, user, table, materialized):
        row = {"id": table.id, "name": table.name} | self._state(table)
        row["md5"] = row["hash"]
        row["server_only"] |= not materialized
        row["access_policy"] = table.access_policy
        row["access_policy_fingerprint"] = (
            md5(f"{table.id}|{user.email}".encode())[:16] if table.access_policy else None)
        if "parts" in (table.state or {}):
            row["parts"] = table.state["parts"]
        return row

    def _memory_domains(self, user):
        domains = []
        for domain, requirement, *_ in self.members(user, DOMAIN):
            row = dataclasses.asdict(domain)
            items = row.pop("items")
            domains.append(row | {
                "requirement": requirement,
                "bundle_url": f"/api/memory/bundle?domain={domain.slug}",
                "md5": domain.token,
                "items_count": len(items),
                "required_count": sum(item["is_required"] and item["status"] == "approved"
                                      for item in items)})
        return domains

    def _direct_tables(self, user):
        return []

    def _knowledge_artifacts(self, user):
        rows = [{"kind": "chunks", "corpus_id": chunks.id, "name": chunks.name,
                 "md5": md5(chunks.file.content), "size_bytes": len(chunks.file.content),
                 "chunks": chunks.chunks, "built_at": chunks.built_at,
                 "url": f"/api/knowledge/artifacts/{chunks.id}/download"}
                for _, chunks in sorted(self.chunks.items()) if self.may_use(user, chunks.id)]
        for digest in sorted(self.digests.values(), key=lambda digest: digest.slug):
            if digest.output_md.strip() and self.may_use(user, digest.id):
                row = dataclasses.asdict(digest)
                del row["output_md"]
                rows.append({"kind": "digest"} | row | {
                    "md5": digest.token, "url": f"/api/knowledge/digests/{digest.id}/content"})
        return rows
