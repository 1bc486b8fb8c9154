"""Conditional and partial answers, each in the dialect of the server that gives them.

    file_response    Starlette's FileResponse, behind a handler that compares If-None-Match
    serve_content    Go's http.ServeContent, which is Caddy's file_server
    object_store     S3

They differ where clients break: what a malformed Range is, whether several ranges are several
parts, and what is left of the headers of an answer without content. Each takes a request and the
honest, whole answer, which has its ETag, and changes the answer.
"""

import hashlib
import re
import secrets


def etag(body):
    return f'"{hashlib.md5(body).hexdigest()[:16]}"'


def tag_of(answer):
    """The answer's ETag; of its bytes, unless the site has said another."""
    if "ETag" not in answer.headers:
        answer.headers["ETag"] = etag(answer.body)
    return answer.headers["ETag"]


def become(answer, status, body=b"", type="text/plain; charset=utf-8", **headers):
    """Another answer altogether: nothing of the honest one's headers stays."""
    answer.status, answer.body, answer.type = status, body, type
    answer.headers = {name.replace("_", "-"): value for name, value in headers.items()}


def send_ranges(answer, ranges, head, tail):
    """206 with one range, or with several as parts: head(start, end) comes before each of them."""
    size = len(answer.body)
    if len(ranges) == 1:
        start, end = ranges[0]
        answer.headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
        answer.status, answer.body = 206, answer.body[start:end]
        return
    parts = [head(start, end) + answer.body[start:end] for start, end in ranges]
    answer.status, answer.body = 206, b"".join(parts) + tail


# --- Starlette ---


def file_response(request, answer):
    """The comparison with If-None-Match is the handler's own, exact, and before all else."""
    tag = tag_of(answer)
    if request.headers.get("if-none-match") == tag:
        return become(answer, 304, type=None)
    answer.headers["Accept-Ranges"] = "bytes"
    validators = (None, tag, answer.headers.get("Last-Modified"))
    if request.range is None or request.headers.get("if-range") not in validators:
        return None
    size = len(answer.body)
    unit, equals, text = request.range.partition("=")
    ranges = list(_starlette_ranges(text, size))
    if not equals:
        return become(answer, 400, b"Malformed range header.")
    if unit.strip().lower() != "bytes":
        return become(answer, 400, b"Only support bytes range")
    if not ranges:
        return become(answer, 400, b"Range header: range must be requested")
    if any(not 0 <= start < size for start, _ in ranges):
        return become(answer, 416, Content_Range=f"bytes */{size}")
    if any(start > end for start, end in ranges):
        return become(answer, 400, b"Range header: start must be less than end")
    if len(ranges) > 1:
        ranges = list(_merged(ranges))
    boundary, inner = secrets.token_hex(13), answer.type
    if len(ranges) > 1:
        answer.type = f"multipart/byteranges; boundary={boundary}"

    def head(start, end):
        return (("" if start == ranges[0][0] else "\r\n") + f"--{boundary}\r\n"
                f"Content-Type: {inner}\r\n"
                f"Content-Range: bytes {start}-{end - 1}/{size}\r\n\r\n").encode()

    return send_ranges(answer, ranges, head, f"\r\n--{boundary}--".encode())


def _starlette_ranges(text, size):
    """What can not be read is passed over, not refused."""
    for part in text.split(","):
        first, dash, last = (piece.strip() for piece in part.partition("-"))
        if not dash or not first + last:
            continue
        try:
            start = int(first) if first else max(size - int(last), 0)
            end = int(last) + 1 if first and last and int(last) < size else size
        except ValueError:
            continue
        yield start, end


def _merged(ranges):
    ranges = sorted(ranges)
    start, end = ranges[0]
    for next_start, next_end in ranges[1:]:
        if next_start > end:
            yield start, end
            start, end = next_start, next_end
        else:
            end = max(end, next_end)
    yield start, end


# --- Go ---


def serve_content(request, answer):
    """Without a Content-Type when the answer has none: Caddy does not guess one."""
    headers, size = answer.headers, len(answer.body)
    tag = headers.setdefault("ETag", etag(answer.body))
    headers["Accept-Ranges"] = "bytes"
    known = [text.strip().removeprefix("W/")
             for text in request.headers.get("if-none-match", "").split(",")]
    since = request.headers.get("if-modified-since")
    if tag in known or "*" in known or (known == [""] and since and
                                        since == headers.get("Last-Modified")):
        return become(answer, 304, type=None, ETag=tag)
    if request.headers.get("if-range", tag) not in (tag, headers.get("Last-Modified")):
        return None
    if not request.range:
        return None
    try:
        ranges, beyond = _go_ranges(request.range, size)
    except ValueError:
        return become(answer, 416, b"invalid range\n")
    if beyond and not ranges:
        if size:
            become(answer, 416, b"invalid range: failed to overlap\n",
                   Content_Range=f"bytes */{size}")
        return None
    if not ranges or sum(end - start for start, end in ranges) > size:
        return None
    boundary, inner = secrets.token_hex(30), answer.type or ""
    if len(ranges) > 1:
        answer.type = f"multipart/byteranges; boundary={boundary}"

    def head(start, end):
        return (("" if (start, end) == ranges[0] else "\r\n") + f"--{boundary}\r\n"
                f"Content-Range: bytes {start}-{end - 1}/{size}\r\n"
                f"Content-Type: {inner}\r\n\r\n").encode()

    return send_ranges(answer, ranges, head, f"\r\n--{boundary}--\r\n".encode())


def _go_ranges(text, size):
    """The ranges, and whether some begin behind the end. Raises ValueError for any bad one."""
    if not text.startswith("bytes="):
        raise ValueError(text)
    ranges, beyond = [], False
    for part in filter(None, map(str.strip, text[6:].split(","))):
        match = re.fullmatch(r"(\d*)\s*-\s*(\d*)", part)
        if not match or not match[1] + match[2]:
            raise ValueError(part)
        if not match[1]:
            ranges.append((size - min(int(match[2]), size), size))
        elif int(match[1]) >= size:
            beyond = True
        elif match[2] and int(match[2]) < int(match[1]):
            raise ValueError(part)
        else:
            ranges.append((int(match[1]), min(int(match[2] or size) + 1, size)))
    return ranges, beyond


# --- S3 ---


def object_store(request, answer):
    """One range or none: what S3 does not understand it answers in full."""
    tag, size = answer.headers.setdefault("ETag", etag(answer.body)), len(answer.body)
    answer.headers["Accept-Ranges"] = "bytes"
    if request.headers.get("if-none-match") == tag:
        return become(answer, 304, type=None, ETag=tag)
    asked = re.fullmatch(r"bytes=(\d*)-(\d*)", request.range or "")
    if not asked or not asked[1] + asked[2] or request.headers.get("if-range", tag) != tag:
        return None
    start = int(asked[1]) if asked[1] else max(0, size - int(asked[2]))
    end = min(int(asked[2]) + 1, size) if asked[1] and asked[2] else size
    if start >= size:
        body = b"<?xml version=\"1.0\"?><Error><Code>InvalidRange</Code></Error>"
        return become(answer, 416, body, "application/xml", Content_Range=f"bytes */{size}")
    if end <= start:
        return None
    return send_ranges(answer, [(start, end)], None, b"")
