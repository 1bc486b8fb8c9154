"""A server that answers as an Agnes instance does, its traps included, and counts what it costs.

    with AgnesServer(token="a-token") as server:          faultd's Server: script(), count(), ...
        server.add_package("sales", requirement="available", subscribed=True)
        server.add_table("orders", raw(b"1"), packages=["sales"])         the name is the id
        server.add_table("leads", raw(b"2"), id="in_c-crm_leads", packages=["sales"])
        server.add_table("clicks", parts={"month=2026-06/data.parquet": raw(b"3")})
        server.add_table("late")                          registered, never synced; failed=True
        server.add_domain("finance", "Finance", None, ["an item", Item("i2", "Title", "text")])
        server.add_chunks("handbook", b"..."), server.add_digest("weekly", "# Weekly\\n")

        server.publish("orders", raw(b"new"))             hashed=False: the manifest lags behind
        server.unpublish("orders"), server.unregister("orders"), server.rehash("orders")
        server.grant(package), server.revoke(package), server.add_user("b-token", admin=True)

Switches, each an attribute that may change at any time:

    user.admin, user.surface ("all", "stack"), user.refused (the detail of a 401), user.co_session
    mode = "caddy"               files of some sources come from Caddy, the others from the app
    auto_membership = False      classic: what is not subscribed to is not there
    failing = {"data_packages"}  a section that fails is [] and a 200
    omitted = {"tables"}         keys that are not there at all
    shape = "v49", "pre-v49"     the manifest of an older server
    edit = function              of the manifest, to whatever is sent instead: object, text, bytes
    maintenance = 503            Caddy's page for everything; or 502
    moved = "https://new", moved_status = 301          every answer is a redirect
    registry_fails = True        nothing is known to be distributable: 503
    version, min_version

An object store, a second origin, signs the addresses of what was mirrored to it:

    server.open_store().mirror("orders")              now `tables` has a signed_url for it
    server.store.advance(901)                         and now what it signed has expired
    server.store.count(), server.store.sent()         a Server of its own

What it cost, since the last clear(): count(pattern) and sent(pattern) by path; by endpoint:

    server.tally() == {"manifest": Tally(requests=1, sent=312, effects={"last_pull_at": 1, ...})}
    server.tally(by="path"), server.effects("audit:data.download")
"""

import calendar
import collections
import dataclasses
import email.utils
import functools
import hashlib
import hmac
import json
import re
import time
import urllib.parse
import uuid

from tests.lib.agnes_instance import DISTRIBUTED, DOMAIN, PACKAGE, Instance, Item, md5
from tests.lib.faultd import Server
from tests.lib.ranges import file_response, object_store, serve_content
from tests.lib.sites import Answer, as_json, compress, refusal

__all__ = ["AgnesServer", "Item", "Tally"]

KEY = r"^[a-zA-Z0-9_][a-zA-Z0-9_.\-]{0,127}$"
PART_SEGMENT = r"^[A-Za-z0-9_][A-Za-z0-9_.=-]*$"
SELF_DESCRIBING = 8 << 20  # up to here a part comes with the md5 of its bytes
CADDY_SOURCES = ("bigquery", "keboola", "jira")
STORE_SECONDS = 900

ROUTES = [(method, re.compile(pattern), endpoint) for method, pattern, endpoint in (
    ("GET", "/api/sync/manifest", "manifest"),
    ("GET", "/api/sync/status", "sync_status"),
    ("POST", "/api/sync/pull-confirm", "pull_confirm"),
    ("GET", "/api/data/([^/]+)/download", "download"),
    ("GET", "/api/data/([^/]+)/check-access", "check_access"),
    ("GET", "/api/memory/bundle", "bundle"),
    ("GET", "/api/knowledge/artifacts/([^/]+)/download", "chunks"),
    ("GET", "/api/knowledge/digests/([^/]+)/content", "digest"),
    ("GET", "/api/stack", "stack"),
    ("GET", "/api/stack/browse", "browse"),
    ("POST", "/api/stack/subscribe", "subscribe"),
    ("DELETE", "/api/stack/subscription/([^/]+)/([^/]+)", "unsubscribe"),
    ("GET", "/api/health", "health"),
    ("GET", "/cli/latest", "latest"),
)]
PUBLIC = ("health", "latest", "sync_status")
RESOURCE_TYPES = (PACKAGE, DOMAIN, "table", "collection", "knowledge_digest", "memory_item",
                  "marketplace_plugin")


@dataclasses.dataclass
class Tally:
    requests: int = 0
    sent: int = 0  # bytes of bodies
    effects: collections.Counter = dataclasses.field(default_factory=collections.Counter)


class Refusal(Exception):
    def __init__(self, status, detail, headers=None):
        super().__init__(status, detail)
        self.status, self.detail, self.headers = status, detail, headers or {}


def invalid(where, field, kind="missing", message="Field required"):
    return Refusal(422, [{"type": kind, "loc": [where, field], "msg": message, "input": None}])


def http_date(mtime_ns):
    return email.utils.formatdate(mtime_ns // 10**9, usegmt=True)


def base36(number):
    digits = ""
    while number:
        number, digit = divmod(number, 36)
        digits = "0123456789abcdefghijklmnopqrstuvwxyz"[digit] + digits
    return digits or "0"


class AgnesServer(Instance, Server):
    def __init__(self, token="a-token", **user):
        Instance.__init__(self, token, **user)
        self.mode = "app"
        self.maintenance = 0
        self.moved = None
        self.moved_status = 308
        self.registry_fails = False
        self.version, self.min_version = "0.84.8", "0.0.0"
        self.confirmed = []  # the bodies of pull-confirm
        self.store = None
        Server.__init__(self, self)

    def close(self):
        Server.close(self)
        if self.store:
            self.store.close()

    def open_store(self):
        self.store = Store(self)
        self.signed_url = self.store.signed_url
        return self.store

    # --- counting ---

    def tally(self, by="endpoint"):
        found = {}
        for request in self.matching():
            one = found.setdefault(getattr(request, by), Tally())
            one.requests += 1
            one.sent += request.sent
            one.effects.update(request.effects)
        return found

    def effects(self, name):
        return sum(request.effects.count(name) for request in self.matching())

    # --- answering ---

    def answer(self, request):
        if self.maintenance:
            return Answer(self.maintenance, b"<!doctype html><title>Agnes is restarting</title>\n",
                          "text/html; charset=utf-8", {"Server": "Caddy"})
        if self.moved:
            return Answer(self.moved_status, headers={"Location": self.moved + request.target})
        path = urllib.parse.unquote(request.path)
        with self.lock:
            if self.mode == "caddy" and "part" not in request.query:
                key = re.fullmatch("/api/data/([^/]+)/download", path)
                if key and (answer := self.from_caddy(request, key[1])):
                    return answer
            return self.from_app(request, path)

    def from_app(self, request, path):
        try:
            answer = self.dispatch(request, path)
        except Refusal as refused:
            answer = refusal(refused.status, refused.detail)
            answer.headers |= refused.headers
        answer.finish = functools.partial(self.middleware, path)
        return answer

    def middleware(self, path, request, answer):
        if path.startswith("/api/"):
            answer.headers |= {"X-Agnes-Latest-Version": self.version,
                               "X-Agnes-Min-Version": self.min_version,
                               "X-Agnes-Accepts": "session-gzip"}
        answer.headers |= {"X-Request-ID": str(uuid.uuid4()), "X-Frame-Options": "DENY",
                           "X-Content-Type-Options": "nosniff"}
        if not path.startswith("/api/data/"):
            compress(request, answer)

    def dispatch(self, request, path):
        """Routes come before the token: what does not exist says so to everybody."""
        found = [(method, match, endpoint) for method, pattern, endpoint in ROUTES
                 if (match := pattern.fullmatch(path))]
        if not found:
            raise Refusal(404, "Not Found")
        request.endpoint = found[0][2]
        for method, match, endpoint in found:
            if method == request.method:
                user = None if endpoint in PUBLIC else self.caller(request)
                return getattr(self, f"on_{endpoint}")(request, user, *match.groups())
        allowed = ", ".join(method for method, *_ in found)
        raise Refusal(405, "Method Not Allowed", {"Allow": allowed})

    def caller(self, request):
        """Whose request it is. "Bearer " is looked for as it is written here; else the cookie."""
        header = request.headers.get("authorization", "")
        cookie = re.search(r"\baccess_token=([^;]+)", request.headers.get("cookie", ""))
        token = header.removeprefix("Bearer ") if header.startswith("Bearer ") else ""
        token = token or (cookie[1] if cookie else "")
        if not token:
            raise Refusal(401, "Missing or invalid Authorization header")
        user = self.users.get(token)
        if not user or user.refused:
            raise Refusal(401, user.refused if user else "Invalid or expired token")
        request.effects.append("token.mark_used")
        return user

    # --- sync ---

    def on_manifest(self, request, user):
        user.last_pull_at = self._now(naive=False)
        request.effects += ["last_pull_at", "audit:manifest.fetch", "event:sync.pull_started"]
        manifest = self.manifest(user)
        if isinstance(manifest, str):
            manifest = manifest.encode()
        if isinstance(manifest, bytes):
            return Answer(body=manifest, type="application/json")
        return as_json(manifest)

    def on_pull_confirm(self, request, user):
        body = self.json_body(request)
        for section in ("direct_tables", "data_packages", "memory_domains"):
            counts = body.get(section)
            if counts is not None and not isinstance(counts, dict):
                raise invalid("body", section, "model_attributes_type", "Input should be an object")
            for count in ("added", "updated", "removed"):
                self.check_integer((counts or {}).get(count, 0), count)
        self.check_integer(body.get("errors", 0), "errors")
        self.check_integer(body.get("duration_ms") or 0, "duration_ms")
        self.confirmed.append(body)
        request.effects += ["event:sync.pull_completed", "audit:sync.pull_confirmed"]
        return as_json({"recorded": True})

    def on_sync_status(self, request, user):
        return as_json({"locked": False})

    def json_body(self, request):
        try:
            body = json.loads(request.body)
        except ValueError:
            raise invalid("body", 0, "json_invalid", "JSON decode error") from None
        if not isinstance(body, dict):
            raise invalid("body", 0, "model_attributes_type", "Input should be an object")
        return body

    def check_integer(self, value, field):
        if isinstance(value, bool) or not isinstance(value, int):
            raise invalid("body", field, "int_type", "Input should be a valid integer")

    # --- tables ---

    def check_access(self, user, key):
        """What download and check-access both ask, in this order."""
        if not re.match(KEY, key):
            raise Refusal(404, "Table not found")
        if not self.may_read(user, key):
            raise Refusal(403, f"Table '{key}' is not in your stack. Ask an admin to add it to a "
                               "Data Package you have access to.")
        if self.registry_fails:
            raise Refusal(503, {"code": "distribution_check_unavailable", "hint": "Try again."})
        table = self.registered(key)
        if table and table.server_only:
            raise Refusal(403, f"Table '{key}' is server_only and not distributed.")
        if table and table.query_mode not in DISTRIBUTED:
            raise Refusal(403, f"Table '{key}' has query_mode='{table.query_mode}' and is not "
                               "distributed.")

    def on_check_access(self, request, user, key):
        request.effects.append("audit:data.access_check")
        self.check_access(user, key)
        return Answer(204, type=None)

    def on_download(self, request, user, key):
        self.check_access(user, key)
        table = self.stored(key)
        part = request.query.get("part")
        file, name = (table and table.file), f"{key}.parquet"
        if part is not None:
            segments = part.split("/")
            safe = all(re.match(PART_SEGMENT, segment) for segment in segments)
            file, name = (table and safe and table.parts.get(part)), segments[-1]
        if not file:
            raise Refusal(404, f"Table '{key}' not found" if part is None else "Part not found")
        answer = self.file_answer(request, file, name, "audit:data.download")
        if part is not None and request.range is None and len(file.content) <= SELF_DESCRIBING:
            answer.headers["X-Agnes-Content-MD5"] = md5(file.content)
        return answer

    def file_answer(self, request, file, name, effect):
        tag = f'"{file.mtime_ns}"'
        if request.headers.get("if-none-match") != tag:
            request.effects.append(effect)
        return Answer(body=file.content, ranges=file_response, headers={
            "ETag": tag, "Last-Modified": http_date(file.mtime_ns),
            "Content-Disposition": f'attachment; filename="{name}"'})

    def from_caddy(self, request, key):
        """The file, after the app was asked whether; None where Caddy has to leave it to the app.

        Caddy asks the app with a request of its own. A refusal comes back as the app worded it.
        """
        request.endpoint = "download"
        asked = dataclasses.replace(request, method="GET", effects=request.effects)
        answer = self.from_app(asked, f"/api/data/{key}/check-access")
        if answer.status != 204:
            return answer
        table = self.stored(key)
        if not table or not table.file or table.source_type not in CADDY_SOURCES:
            return None
        if request.method not in ("GET", "HEAD"):
            return Answer(405, type=None, headers={"Allow": "GET, HEAD", "Server": "Caddy"})
        file = table.file
        return Answer(body=file.content, type=None, ranges=serve_content, headers={
            "ETag": f'"{base36(file.mtime_ns)}{base36(len(file.content))}"', "Server": "Caddy",
            "Last-Modified": http_date(file.mtime_ns),
            "Content-Disposition": f'attachment; filename="{key}.parquet"'})

    # --- memory and knowledge ---

    def on_bundle(self, request, user):
        slug = request.query.get("domain")
        if not slug:
            request.effects.append("audit:memory.bundle_download")
            return as_json({"mandatory": [], "approved": [], "token_estimate": 0,
                            "token_budget": 8000})
        domain = self.domains.get(slug)
        if not domain:
            raise Refusal(404, "memory_domain_not_found")
        if not self.may_use(user, domain.id):
            raise Refusal(403, "no_grant")
        request.effects.append("audit:memory.bundle_download")
        return Answer(body=domain.bundle().encode(), type="text/markdown; charset=utf-8")

    def on_chunks(self, request, user, id):
        if not self.may_use(user, id):
            raise Refusal(403, "Access denied")
        if id not in self.chunks:
            raise Refusal(404, "Artifact not built yet")
        return self.file_answer(request, self.chunks[id].file, f"{id}.duckdb",
                                "audit:knowledge.artifact_download")

    def on_digest(self, request, user, id):
        if not self.may_use(user, id):
            raise Refusal(403, "Access denied")
        digest = self.digests.get(id)
        if not digest or not digest.output_md.strip():
            raise Refusal(404, "Digest not found")
        request.effects.append("audit:knowledge.digest_download")
        return as_json(dataclasses.asdict(digest))

    # --- the stack ---

    def resource_type(self, user, type):
        if user.co_session:
            raise Refusal(403, "co_session cannot manage stack")
        if type not in RESOURCE_TYPES:
            raise Refusal(400, f"unknown_resource_type:{type}")
        if type not in (PACKAGE, DOMAIN):
            raise Refusal(400, f"unsupported_stack_type:{type}")
        return type

    def listing(self, request, user, entries):
        if "type" not in request.query:
            raise invalid("query", "type")
        type = self.resource_type(user, request.query["type"])
        keys = ("id", "name", "description", "icon", "color")
        return as_json({"items": [
            {key: getattr(resource, key) for key in keys}
            | {"requirement": requirement, "in_stack": in_stack, "materialized": materialized}
            for resource, requirement, in_stack, materialized in entries(user, type)]})

    def on_stack(self, request, user):
        return self.listing(request, user, self.members)

    def on_browse(self, request, user):
        return self.listing(request, user, self.granted)

    def on_subscribe(self, request, user):
        body = self.json_body(request)
        for field in ("resource_type", "resource_id"):
            if not isinstance(body.get(field), str):
                raise invalid("body", field)
        self.resource_type(user, body["resource_type"])
        if not self.may_use(user, body["resource_id"]):
            raise Refusal(403, "no_grant")
        if user.grants.get(body["resource_id"]) == "required":
            raise Refusal(400, "already_required")
        user.subscriptions.add(body["resource_id"])
        request.effects.append("event:stack.subscribe")
        return as_json({"subscribed": True})

    def on_unsubscribe(self, request, user, type, id):
        self.resource_type(user, type)
        if user.grants.get(id) == "required":
            raise Refusal(400, "cannot_remove_required")
        user.subscriptions.discard(id)
        request.effects.append("event:stack.unsubscribe")
        return Answer(204, type=None)

    # --- without a token ---

    def on_health(self, request, user):
        return as_json({"status": "ok", "vault_key_configured": True, "db_schema": "ok",
                        "current": 106, "expected": 106})

    def on_latest(self, request, user):
        wheel = f"agnes-{self.version}-py3-none-any.whl"
        return as_json({"version": self.version, "wheel_filename": wheel,
                        "download_url_path": f"/cli/wheel/{wheel}"})


class Store(Server):
    """The object store: presigned addresses, and nothing but those."""

    def __init__(self, instance):
        self.instance = instance
        self.objects = {}  # name -> (content, md5, mtime_ns)
        self.clock = 0  # seconds ahead
        self.secret = uuid.uuid4().bytes
        super().__init__(self)

    def advance(self, seconds):
        self.clock += seconds

    def mirror(self, *ids):
        """What the mirror job does; a file that is not what the sync state says is left out."""
        for id in ids or list(self.instance.tables):
            table = self.instance.tables[id]
            if table.file and table.state and md5(table.file.content) == table.state["hash"]:
                self.objects[table.name] = (table.file.content, table.state["hash"],
                                            table.file.mtime_ns)
        return self

    def signed_url(self, name, hash):
        """The manifest's two keys; none when what is mirrored is not what the manifest means."""
        if name not in self.objects or self.objects[name][1] != hash:
            return {}
        start = int(time.time() + self.clock)
        path = f"/agnes/parquet/{urllib.parse.quote(name)}.parquet"
        date = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(start))
        query = {"X-Amz-Algorithm": "AWS4-HMAC-SHA256", "X-Amz-Date": date,
                 "X-Amz-Expires": str(STORE_SECONDS), "X-Amz-SignedHeaders": "host"}
        query["X-Amz-Signature"] = self.signature(path, query)
        expires = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(start + STORE_SECONDS))
        return {"signed_url": f"{self.origin}{path}?{urllib.parse.urlencode(query)}",
                "signed_url_expires_at": expires}

    def signature(self, path, query):
        text = path + urllib.parse.urlencode(sorted(query.items()))
        return hmac.new(self.secret, text.encode(), hashlib.sha256).hexdigest()

    def answer(self, request):
        request.endpoint = "store"
        path, query = request.path, dict(request.query)
        if "authorization" in request.headers:
            return self.error(400, "InvalidArgument", "Only one auth mechanism allowed")
        signature = query.pop("X-Amz-Signature", None)
        if not signature:
            return self.error(403, "AccessDenied", "Access Denied")
        if request.method != "GET" or signature != self.signature(path, query):
            return self.error(403, "SignatureDoesNotMatch", "The signature does not match")
        start = calendar.timegm(time.strptime(query["X-Amz-Date"], "%Y%m%dT%H%M%SZ"))
        if time.time() + self.clock > start + int(query["X-Amz-Expires"]):
            return self.error(403, "AccessDenied", "Request has expired")
        name = urllib.parse.unquote(path).rpartition("/")[2].removesuffix(".parquet")
        if name not in self.objects:
            return self.error(404, "NoSuchKey", "The specified key does not exist.")
        content, hash, mtime_ns = self.objects[name]
        return Answer(body=content, type="binary/octet-stream", ranges=object_store, headers={
            "ETag": f'"{hash}"', "x-amz-meta-md5": hash, "Last-Modified": http_date(mtime_ns),
            "Server": "AmazonS3"})

    def error(self, status, code, message):
        body = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
        return Answer(status, body.encode(), "application/xml")
