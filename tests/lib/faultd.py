"""A web server that misbehaves on request, and remembers what it was asked.

    with Server(Folder(path)) as server:              what it serves: see sites.py
        server.url
        server.script("/tables/orders.parquet", Fault(status=503), Fault(cut=100))
        server.always("/api/sync/manifest", Fault(html=True))
        server.forget()                               no more faults
        server.count("/api/data/*"), server.sent("/api/data/*"), server.requests
    server.hits("/api/data/*")                    of those, the ones that met a fault
        server.clear()                                no more memories
        server.bandwidth = 1_000_000                  bytes a second, all connections together

A pattern is a path with or without its query, as sent or decoded, and may hold *, which also
matches a slash. The faults of a script come one a request, then the server behaves. A fault changes
the honest answer, so that Fault(flip=10) still answers a Range, and several can be combined.

Below HTTP, for whole connections: server.tls, a context of certificates.py, and server.greet, what
happens to each connection before it is spoken on (silence, hang_up, slam, babble). Both may change at
any time; server.connected counts connections, whatever became of them.

Everything is on 127.0.0.1 and ends, stalled answers included, when the server is closed.
"""

import dataclasses
import fnmatch
import gzip
import itertools
import json
import secrets
import socket
import struct
import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.lib.ranges import file_response, tag_of

CHUNK = 16384


@dataclasses.dataclass
class Fault:
    status: int = 0  # instead of the honest one; the body is then a short text
    headers: dict = dataclasses.field(default_factory=dict)  # added; None takes one away
    body: bytes = None  # instead of the honest one
    html: bool = False  # 200 and a login page
    gzip: bool = False  # compressed, whether that was asked for or not
    redirect: str = None  # 302 to there
    flip: int = None  # offset in the whole file of one damaged byte
    length: int = 0  # added to Content-Length; the connection then closes after the body
    delay: float = 0  # seconds before the answer
    cut: float = None  # bytes of body (negative: before its end, 0.5: half), then it closes
    reset: bool = False  # the connection is reset: after cut bytes, or before any answer
    stall: float = None  # as cut: then nothing more until the server ends
    drip: int = 0  # bytes a second
    code: int = 0  # the honest answer under another status
    raw: bytes = None  # these bytes instead of an answer, then the connection closes
    interim: int = 0  # so many 1xx answers first
    trickle: float = 0  # a header line each so many seconds, without end
    endless: bool = False  # the body goes on and on, of a length that is not said
    chunked: bool = False  # in chunks; where it is cut, the last one is missing
    whole: bool = False  # ranges are not known
    new_tag: bool = False  # another ETag each time
    echo: str = None  # a header (or "detail", of a 401) that repeats the token which came


@dataclasses.dataclass
class Request:
    method: str
    target: str  # path and query, as sent
    headers: dict  # names in lower case
    time: float
    body: bytes = b""
    status: int = 0
    sent: int = 0  # bytes of body
    endpoint: str = ""  # what the site says it was for
    effects: list = dataclasses.field(default_factory=list)  # what it says that left behind
    faulty: bool = False  # it met a fault

    @property
    def path(self):
        return self.target.partition("?")[0]

    @property
    def query(self):
        text = self.target.partition("?")[2]
        return dict(urllib.parse.parse_qsl(text, keep_blank_values=True))

    @property
    def range(self):
        return self.headers.get("range")

    def matches(self, pattern):
        literal = pattern.replace("[", "[[]").replace("?", "[?]")
        texts = (self.target, self.path, urllib.parse.unquote(self.target))
        return any(fnmatch.fnmatchcase(text, literal) for text in texts)


def position(stop, size):
    return int(stop * size) if isinstance(stop, float) else stop if stop >= 0 else size + stop


def apply_fault(fault, answer):
    """What can be changed before ranges are cut out of it."""
    if fault.status:
        answer.status, answer.ranges = fault.status, False
        answer.body, answer.type = f"status {fault.status}\n".encode(), "text/plain"
    if fault.whole:
        answer.ranges = False
    if fault.new_tag:
        answer.headers["ETag"] = f'"{secrets.token_hex(8)}"'
    if fault.html:
        answer.status, answer.type, answer.ranges = 200, "text/html; charset=utf-8", False
        answer.body = b"<!doctype html><title>Sign in</title>\n"
    if fault.redirect:
        answer.status, answer.body, answer.ranges = 302, b"", False
        answer.headers["Location"] = fault.redirect
    if fault.body is not None:
        answer.body = fault.body
    if fault.flip is not None:
        tag_of(answer)
        damaged = bytearray(answer.body)
        damaged[fault.flip] ^= 1
        answer.body = bytes(damaged)
    if fault.gzip:
        answer.body, answer.ranges = gzip.compress(answer.body), False
        answer.headers["Content-Encoding"] = "gzip"


def echo_token(fault, request, answer):
    """What careless servers do with a token that they do not like."""
    token = request.headers.get("authorization", "").removeprefix("Bearer ")
    if fault.echo == "detail":
        answer.status, answer.type, answer.ranges = 401, "application/json", False
        answer.body = json.dumps({"detail": f"bad token {token}, sorry"}).encode()
    elif fault.echo == "Location":
        answer.headers["Location"] = f"http://other.invalid/login/{token}?next=1"
    elif fault.echo:
        answer.headers[fault.echo] = {"ETag": f'"{token}"',
                                      "X-Agnes-Min-Version": f"99.{token}"}.get(fault.echo, token)
        if fault.echo == "Content-Type":
            answer.type = None


# --- connections ---

def silence(server, connection):
    server.stopping.wait(60)


def hang_up(server, connection):
    connection.recv(1)


def slam(server, connection):
    connection.recv(1)
    server.resets.add(connection)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def babble(server, connection):
    connection.sendall(b"SSH-2.0-OpenSSH_9.2p1\r\n")
    connection.recv(65536)


class Greeted(Exception):
    """Nothing more is to be said on that connection."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 60

    def log_message(self, *args):
        pass

    def setup(self):
        owner = self.server.owner
        if owner.greet:
            owner.greet(owner, self.request)
            raise Greeted
        if owner.tls:
            self.request.settimeout(self.timeout)
            self.request = owner.tls.wrap_socket(self.request, server_side=True)
            owner.connections.add(self.request)
        super().setup()

    def finish(self):
        super().finish()
        if self.server.owner.tls:
            self.server.owner.connections.discard(self.request)
            self.request.close()

    def do_GET(self):
        owner = self.server.owner
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = self.rfile.read(int(headers.get("content-length") or 0))
        request = Request(self.command, self.path, headers, time.monotonic(), body)
        fault = owner.note(request)
        if fault.delay and owner.stopping.wait(fault.delay):
            return self.close()
        if fault.reset and fault.cut is None:
            return self.close(reset=True)
        if fault.raw is not None:
            self.wfile.write(fault.raw)
            return self.close()
        answer = owner.site.answer(request)
        apply_fault(fault, answer)
        if answer.ranges and self.command in ("GET", "HEAD"):
            conditions = file_response if answer.ranges is True else answer.ranges
            conditions(request, answer)
        if answer.finish:
            answer.finish(request, answer)
        if fault.echo:
            echo_token(fault, request, answer)
        answer.status = fault.code or answer.status
        request.status = answer.status
        try:
            for _ in range(fault.interim):
                self.wfile.write(b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n")
            self.send_head(answer, fault)
            if self.command != "HEAD":
                self.send_body(request, answer.body, fault)
        except OSError:
            self.close()

    do_HEAD = do_POST = do_DELETE = do_GET

    def send_head(self, answer, fault):
        fields = {"Server": "faultd", "Date": self.date_time_string()}
        if answer.type:
            fields["Content-Type"] = answer.type
        if fault.chunked:
            fields["Transfer-Encoding"] = "chunked"
        elif answer.status not in (204, 304) and not fault.endless:
            fields["Content-Length"] = len(answer.body) + fault.length
        fields |= answer.headers
        for name, value in fault.headers.items():
            fields = {known: fields[known] for known in fields if known.lower() != name.lower()}
            if value is not None:
                fields[name] = value
        self.send_response_only(answer.status)
        for name, value in fields.items():
            self.send_header(name, str(value))
        if fault.trickle:
            self.flush_headers()
            for number in itertools.count():
                self.wfile.write(b"X-Slow: %d\r\n" % number)
                if self.server.owner.stopping.wait(fault.trickle):
                    break
        self.end_headers()

    def send_body(self, request, body, fault):
        stops = [position(stop, len(body)) for stop in (fault.cut, fault.stall)
                 if stop is not None]
        end = min([len(body)] + stops)
        # A fast line in small pieces would be as slow as Python takes turns between its threads.
        size = max(CHUNK, self.server.owner.bandwidth // 1000)
        while request.sent < end:
            chunk = body[request.sent:min(end, request.sent + size)]
            if fault.drip:
                chunk = chunk[:max(1, fault.drip // 20)]
                self.server.owner.stopping.wait(len(chunk) / fault.drip)
            self.server.owner.pace(len(chunk))
            request.sent += len(chunk)  # before: whoever reads it may look at the count at once
            self.wfile.write(b"%x\r\n%b\r\n" % (len(chunk), chunk) if fault.chunked else chunk)
            self.wfile.flush()
        if fault.chunked and not stops:
            self.wfile.write(b"0\r\n\r\n")
        while fault.endless and not self.server.owner.stopping.is_set():
            self.wfile.write(bytes(CHUNK))
            request.sent += CHUNK
        if fault.stall is not None:
            self.server.owner.stopping.wait(60)
        if stops or fault.length or fault.endless or "Content-Length" in fault.headers:
            self.close(fault.reset)

    def close(self, reset=False):
        self.close_connection = True
        if reset:
            self.server.owner.resets.add(self.connection)
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)


class Listener(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def shutdown_request(self, request):
        self.owner.connections.discard(request)
        if request in self.owner.resets:  # a shutdown would say goodbye first
            self.owner.resets.discard(request)
            return self.close_request(request)
        return super().shutdown_request(request)

    def process_request(self, request, client_address):
        self.owner.connections.add(request)
        self.owner.connected += 1
        super().process_request(request, client_address)

    def handle_error(self, request, client_address):
        pass  # a client that hangs up is no news


class Server:
    def __init__(self, site, entry="", tls=None):
        self.site = site
        self.requests = []
        self.bandwidth = 0
        self.tls = tls
        self.greet = None
        self.connected = 0
        self.stopping = threading.Event()
        self.connections = set()
        self.resets = set()
        self._lock = threading.Lock()
        self._scripts = []  # [pattern, faults left] or [pattern, the same fault for ever]
        self._free_at = 0.0
        self._listener = Listener(("127.0.0.1", 0), Handler)
        self._listener.owner = self
        self.origin = f"http{'s' if tls else ''}://127.0.0.1:{self._listener.server_port}"
        self.url = self.origin + entry
        self._thread = threading.Thread(target=self._listener.serve_forever, args=(0.02,))
        self._thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    def close(self):
        """May be called twice; from then on connections are refused."""
        if self.stopping.is_set():
            return
        self.stopping.set()
        self._listener.shutdown()
        self._listener.server_close()
        self.break_connections()
        self._thread.join(5)

    def break_connections(self):
        """Those that are open now."""
        for connection in list(self.connections):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def script(self, pattern, *faults):
        with self._lock:
            self._scripts.insert(0, [pattern, list(faults)])

    def always(self, pattern, fault):
        with self._lock:
            self._scripts.insert(0, [pattern, fault])

    def forget(self):
        with self._lock:
            self._scripts = []

    def clear(self):
        with self._lock:
            self.requests = []

    def note(self, request):
        with self._lock:
            self.requests.append(request)
            for pattern, faults in self._scripts:
                if request.matches(pattern):
                    if isinstance(faults, Fault) or faults:
                        request.faulty = True
                        return faults if isinstance(faults, Fault) else faults.pop(0)
        return Fault()

    def matching(self, pattern="*"):
        with self._lock:
            return [request for request in self.requests if request.matches(pattern)]

    def count(self, pattern="*"):
        return len(self.matching(pattern))

    def hits(self, pattern="*"):
        return sum(request.faulty for request in self.matching(pattern))

    def sent(self, pattern="*"):
        return sum(request.sent for request in self.matching(pattern))

    def pace(self, size):
        """Holds up whoever sends so that all together keep to the bandwidth."""
        if not self.bandwidth:
            return
        with self._lock:
            self._free_at = max(self._free_at, time.monotonic()) + size / self.bandwidth
            wait = self._free_at - time.monotonic()
        self.stopping.wait(max(0, wait))
