"""Heads of ICAP messages, and of the HTTP messages inside them: read strictly, written plainly.

A gateway writes heads by a program; what does not read as RFC 3507 and RFC 9112 say is an error with a place,
not something to be guessed at. `IcapError` has the status with which it is answered.
"""

import re
from functools import lru_cache
from typing import Final, NamedTuple

HEAD_MAX_BYTES: Final = 64 << 10  # of each head: the ICAP message's, the HTTP request's, the HTTP response's
HEAD_MAX_LINES: Final = 500
CHUNK_MAX_BYTES: Final = 16 << 20
REASONS: Final = {
    100: b"Continue",
    200: b"OK",
    204: b"No Content",
    206: b"Partial Content",
    400: b"Bad Request",
    403: b"Forbidden",
    404: b"ICAP Service Not Found",
    405: b"Method Not Allowed For Service",
    408: b"Request Timeout",
    500: b"Server Error",
    503: b"Service Overloaded",
    505: b"ICAP Version Not Supported",
}

_REQUEST_LINE = re.compile(
    rb"([A-Z]{1,32}) (?:(?i:icaps?)://[^\s/?]+)?(?:/([^\s?]*))?(?:\?(\S*))? ICAP/([0-9]{1,3})\.[0-9]{1,3}\r\n"
)
_FIELD = re.compile(rb"(?m)^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*+([^\x00-\x08\x0a-\x1f\x7f]*+)\r\n")
_HTTP_FIELD = re.compile(
    rb"(?m)^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*+([^\r\n\0]*+)\r\n"
)  # as origins send them
_HTTP_REQUEST_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+) ([^\s\0]+) HTTP/([0-9]\.[0-9])\r\n")
_HTTP_STATUS_LINE = re.compile(rb"HTTP/([0-9]\.[0-9]) ([1-9][0-9]{2})(?: ([^\r\n\0]*))?\r\n")
_SECTION = re.compile(rb"(req-hdr|res-hdr|req-body|res-body|opt-body|null-body)[ \t]*=[ \t]*([0-9]{1,9})")
_NUMBER = re.compile(rb"[0-9]{1,9}")
_SHOWN_BYTES = 60
_ORDER = {  # what may stand in a message, in this order, before its body (RFC 3507, 4.4.1)
    b"REQMOD": ((b"req-hdr",), (b"req-body", b"null-body")),
    b"RESPMOD": ((b"req-hdr", b"res-hdr"), (b"res-body", b"null-body")),
    b"OPTIONS": ((), (b"opt-body", b"null-body")),
}
_ANY_ORDER = ((b"req-hdr", b"res-hdr"), (b"req-body", b"res-body", b"opt-body", b"null-body"))
_ONCE = frozenset({b"encapsulated", b"preview", b"host"})
_REMEMBERED = 4_096  # values of a header, each read once

type Fields = tuple[tuple[bytes, bytes], ...]


class IcapError(Exception):
    """What came cannot be understood; `status` is that of the answer."""

    def __init__(self, why: str, status: int = 400) -> None:
        super().__init__(why)
        self.status = status


class Section(NamedTuple):
    """Where a head stands among the encapsulated ones."""

    start: int
    end: int


class Encapsulated(NamedTuple):
    """What an ICAP message carries: heads, and whether a body follows them."""

    request: Section | None = None
    response: Section | None = None
    body: bool = False

    @property
    def heads_bytes(self) -> int:
        """How many bytes of heads stand before the body."""
        return max(part.end for part in (self.request or Section(0, 0), self.response or Section(0, 0)))


class HttpRequest(NamedTuple):
    """The head of a request that a gateway got from its client."""

    method: str
    target: bytes
    version: str
    fields: Fields


class HttpResponse(NamedTuple):
    """The head of a response that a gateway got from an origin."""

    version: str
    status: int
    reason: bytes
    fields: Fields


class IcapHead(NamedTuple):
    """The head of an ICAP request."""

    method: str
    service: str
    arguments: str
    fields: dict[bytes, bytes]  # names in lower case; values that came in several lines are one list
    encapsulated: Encapsulated
    preview: int | None  # bytes that come before the answer is waited for; None: the whole body comes
    allow: frozenset[bytes]
    closing: bool


def read_icap(head: bytes) -> IcapHead:
    """Read the head of an ICAP request, with its empty line. Raise IcapError."""
    line = _REQUEST_LINE.match(head)
    if line is None:
        raise IcapError(f"expected `METHOD icap://HOST/SERVICE ICAP/1.0`, got {_shown(head)}")
    method, service, arguments, version = line.groups()
    if version != b"1":
        raise IcapError("expected version 1.0 of ICAP", 505)
    fields: dict[bytes, bytes] = {}
    for name, value in read_fields(head, line.end()):
        lower = name.lower()
        if lower not in fields:
            fields[lower] = value.rstrip(b" \t")
        elif lower in _ONCE:
            raise IcapError(f"{name.decode()} stands there twice")
        else:
            fields[lower] += b", " + value.rstrip(b" \t")
    encapsulated = _read_encapsulated(method, fields.get(b"encapsulated"))
    preview = fields.get(b"preview")
    if preview is not None and (_NUMBER.fullmatch(preview) is None or int(preview) > CHUNK_MAX_BYTES):
        raise IcapError(f"Preview: expected a number up to {CHUNK_MAX_BYTES}, got {_shown(preview)}")
    return IcapHead(
        method.decode(),
        (service or b"").decode("latin-1").strip("/"),
        (arguments or b"").decode("latin-1"),
        fields,
        encapsulated,
        int(preview) if preview is not None and encapsulated.body else None,
        _tokens(fields.get(b"allow")),
        b"close" in _tokens(fields.get(b"connection")),
    )


def read_http_request(head: bytes) -> HttpRequest:
    """Read the head of an HTTP request, with its empty line. Raise IcapError."""
    line = _HTTP_REQUEST_LINE.match(head)
    if line is None:
        raise IcapError(f"req-hdr: expected a request line of HTTP, got {_shown(head)}")
    method, target, version = line.groups()
    return HttpRequest(
        method.decode(), target, version.decode(), read_fields(head, line.end(), "req-hdr: ", _HTTP_FIELD)
    )


def read_http_response(head: bytes) -> HttpResponse:
    """Read the head of an HTTP response, with its empty line. Raise IcapError."""
    line = _HTTP_STATUS_LINE.match(head)
    if line is None:
        raise IcapError(f"res-hdr: expected a status line of HTTP, got {_shown(head)}")
    version, status, reason = line.groups()
    fields = read_fields(head, line.end(), "res-hdr: ", _HTTP_FIELD)
    return HttpResponse(version.decode(), int(status), reason or b"", fields)


def read_fields(head: bytes, start: int, place: str = "", line: re.Pattern[bytes] = _FIELD) -> Fields:
    """Read the lines of a head from `start` on, its empty line last. Raise IcapError."""
    fields = line.findall(head, start)
    lines = head.count(b"\n", start) - 1
    if lines > HEAD_MAX_LINES:
        raise IcapError(f"{place}more than {HEAD_MAX_LINES} lines")
    if len(fields) != lines or not head.endswith(b"\r\n"):
        raise IcapError(f"{place}expected lines `Name: value`, got {_odd_line(head[start:], line)}")
    return tuple(fields)


def write_http_request(head: HttpRequest) -> bytes:
    """Write the head of an HTTP request."""
    line = b"%s %s HTTP/%s\r\n" % (head.method.encode(), head.target, head.version.encode())
    return line + _write_fields(head.fields)


def write_http_response(head: HttpResponse) -> bytes:
    """Write the head of an HTTP response."""
    line = b"HTTP/%s %d %s\r\n" % (head.version.encode(), head.status, head.reason)
    return line + _write_fields(head.fields)


def write_icap(status: int, fields: Fields, encapsulated: bytes, *, closing: bool) -> bytes:
    """Write the head of an ICAP answer; `encapsulated` is the value of that field."""
    end = b"Connection: close\r\n" if closing else b""
    line = b"ICAP/1.0 %d %b\r\n" % (status, REASONS.get(status, b"Unknown"))
    own = b"%bEncapsulated: %b\r\n\r\n" % (end, encapsulated)
    return line + b"".join([b"%b: %b\r\n" % field for field in fields]) + own


def _write_fields(fields: Fields) -> bytes:
    return b"".join([b"%s: %s\r\n" % field for field in fields]) + b"\r\n"


@lru_cache(maxsize=_REMEMBERED)
def _read_encapsulated(method: bytes, value: bytes | None) -> Encapsulated:
    if value is None:
        if method in {b"REQMOD", b"RESPMOD"}:
            raise IcapError(f"{method.decode()} without Encapsulated")
        return Encapsulated()
    heads, bodies = _ORDER.get(method, _ANY_ORDER)
    found: list[tuple[bytes, int]] = []
    for part in value.split(b","):
        section = _SECTION.fullmatch(part.strip())
        if section is None:
            raise IcapError(f"Encapsulated: expected `NAME=OFFSET`, got {_shown(part)}")
        found.append((section[1], int(section[2])))
    names = [name for name, _ in found]
    offsets = [offset for _, offset in found]
    if names[-1] not in bodies or names[:-1] != [name for name in heads if name in names[:-1]]:
        raise IcapError(f"Encapsulated: not what {method.decode()} carries, in this order: {_shown(value)}")
    sections = dict(zip(names, map(Section, offsets, offsets[1:]), strict=False))
    if offsets[0] or any(not 0 < end - start <= HEAD_MAX_BYTES for start, end in sections.values()):
        raise IcapError(f"Encapsulated: expected heads of 1 to {HEAD_MAX_BYTES} bytes, got {_shown(value)}")
    request, response = sections.get(b"req-hdr"), sections.get(b"res-hdr")
    if method == b"REQMOD" and request is None:
        raise IcapError("Encapsulated: REQMOD without req-hdr")
    return Encapsulated(request, response, names[-1] != b"null-body")


@lru_cache(maxsize=_REMEMBERED)
def _tokens(value: bytes | None) -> frozenset[bytes]:
    return frozenset() if value is None else frozenset(one.strip().lower() for one in value.split(b","))


def _odd_line(lines: bytes, form: re.Pattern[bytes]) -> str:
    for line in lines.split(b"\n"):
        if form.fullmatch(line + b"\n") is None and line != b"\r":
            return _shown(line)
    return "no empty line at its end"


def _shown(data: bytes) -> str:
    line = data.partition(b"\n")[0]
    return repr(line[:_SHOWN_BYTES])[1:] + ("…" if len(line) > _SHOWN_BYTES else "")
