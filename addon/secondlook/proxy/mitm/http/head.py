"""HTTP/1 heads: read tolerantly what is unambiguous, refused where two readers could take it differently.

What goes on is written anew from what was understood, so nobody behind us reads another message than we did:

| on the wire | in a request | in an answer |
|---|---|---|
| empty lines before it, bare LF at line ends | taken | taken |
| space before a colon; a line that is no field, or is folded into none | 400 | space cut; line dropped |
| a folded field (RFC 9112, 5.2) | made one line | made one line |
| NUL or bare CR in a value (RFC 9110, 5.5) | 400 | made spaces |
| other control characters in a value | made spaces | made spaces |
| bytes above 127 in the target | escaped, as browsers do | |
| another Host than that of an absolute target | kept: either is checked | |
| more than one Host, or one of more than 1024 bytes | 400 | |

`framing.py` reads where a message ends; it and this file are the whole of what is repaired or refused.
"""

import re
import time
from collections.abc import Iterable
from functools import lru_cache

from mitmproxy.http import Headers, Request, Response
from mitmproxy.net.http import url as mitm_url

from secondlook.proxy.mitm.http.framing import (
    VERSION_NOT_SUPPORTED,
    Field,
    Framing,
    HeadError,
    frame_request,
    frame_response,
    sort_fields,
)

AUTHORITY_MAX_BYTES = 1024  # a host has 253, beyond ASCII some times that; encoding of one takes its time
ROUNDS = 3  # of a request that came by one proxy so often: it goes in a circle
_PROXIES = 100  # that a `Via` is read for: a client may write tens of thousands before them
_SHOWN_BYTES = 40

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"
_NAME = re.compile(_TOKEN)
_REQUEST_LINE = re.compile(rb"(" + _TOKEN + rb") ++([\x21-\x7e\x80-\xff]++) ++HTTP/([0-9])\.([0-9]) *+\r?\n")
_STATUS_LINE = re.compile(rb"(?i:HTTP)/([0-9])\.([0-9])[ \t]++([1-9][0-9]{2})(?:[ \t]([^\n]*+))?+\r?\n")
_FIELD = re.compile(rb"^(" + _TOKEN + rb"):[ \t]*+([^\x00-\x08\x0a-\x1f\x7f]*+)\r?\n", re.MULTILINE)
_ABSOLUTE = re.compile(rb"([A-Za-z][A-Za-z0-9+.\-]*+)://([^/?#]*+)(.*+)")
_ASCII = 128
_ESCAPED = [bytes([byte]) if byte < _ASCII else b"%%%02X" % byte for byte in range(256)]
_CONTROLS = bytes((*range(9), *range(10, 32), 127))
SPACED = bytes.maketrans(_CONTROLS, b" " * len(_CONTROLS))


def read_request(head: bytes) -> tuple[Request, Framing]:
    """Read the head of a request. HeadError where it cannot be understood, or in two ways."""
    line = _REQUEST_LINE.match(head)
    if line is None:
        raise HeadError(f"its request line is not of HTTP/1: {_shown(head)}")
    method, target, major, minor = line.groups()
    if major != b"1":
        raise HeadError("it is of another version of HTTP than 1", VERSION_NOT_SUPPORTED)
    fields = _read_fields(head, line.end(), repair=False)[0]
    scheme = authority = b""
    host, port, path = "", 0, target
    if method.upper() == b"CONNECT":
        if method != b"CONNECT":
            raise HeadError("its method is CONNECT in another case")
        authority, path = _bounded(target, "its target"), b""
        host, port = _destination(b"", target)
    elif target[:1] != b"/" and target != b"*":
        scheme, authority, host, port, path = _absolute(target)
    if not path.isascii():
        path = escape(path)
    if b"#" in path:
        path = path.partition(b"#")[0]  # never sent by anybody who knows what it is
    new = minor != b"0"
    ordered = sort_fields(fields, new=new, switching=True)
    if len(ordered.hosts) > 1:
        raise HeadError("it names its host more than once")
    if ordered.hosts:
        _bounded(ordered.hosts[0], "its Host")
    fields, framing = frame_request(ordered, new=new)
    now = time.time()
    version = b"HTTP/1.1" if new else b"HTTP/1.0"
    request = Request(
        host, port, method, scheme, authority, path, version, as_headers(fields), None, None, now, None
    )
    return request, framing


def read_response(head: bytes, request: Request) -> tuple[Response, Framing]:
    """Read the head of an answer to `request`. HeadError where its end is not certain."""
    line = _STATUS_LINE.match(head)
    if line is None:
        raise HeadError(f"its status line is not of HTTP/1: {_shown(head)}")
    major, minor, status_text, reason = line.groups()
    status = int(status_text)
    fields, repaired = _read_fields(head, line.end(), repair=True)
    new = major > b"1" or (major == b"1" and minor != b"0")
    fields, framing = frame_response(fields, status, head=request.data.method == b"HEAD", new=new)
    if repaired:
        framing = Framing(framing.size, lasting=False)
    reason = (reason or b"").translate(SPACED).strip()
    version = b"HTTP/1.1" if new else b"HTTP/1.0"
    return Response(version, status, reason, as_headers(fields), None, None, time.time(), None), framing


def as_headers(fields: Iterable[Field]) -> Headers:
    """Make headers of fields that are known to be bytes; mitmproxy looks at each of them first."""
    headers = Headers.__new__(Headers)
    headers.fields = tuple(fields)
    return headers


def host_of(request: Request) -> str:
    """Return the authority of a request, or the host to which it goes where it has none."""
    if request.authority:
        return request.authority
    host = f"[{request.host}]" if ":" in request.host else request.host.encode("idna").decode()
    return mitm_url.hostport(request.scheme, host, request.port)


def named(request: Request) -> Request:
    """Return a request that names its host, which one of HTTP/1 may leave out (RFC 9113, 8.3.1)."""
    if request.authority or "host" in request.headers:
        return request
    request = request.copy()
    request.headers.insert(0, "Host", host_of(request))
    return request


def write_request(request: Request) -> bytes:
    """Write the head of a request, in the version that we speak (RFC 9112, 2.3)."""
    data = request.data
    method = data.method
    if method == b"CONNECT":
        target = data.authority
    elif data.authority:
        target = b"%s://%s%s" % (data.scheme, data.authority, data.path)
    else:
        target = data.path
    return b"%s %s HTTP/1.1\r\n%s\r\n" % (method, target, bytes(data.headers))


def write_response(response: Response, *, closing: bool = False) -> bytes:
    """Write the head of an answer; `closing` adds that its connection ends after it."""
    data = response.data
    end = b"Connection: close\r\n" if closing else b""
    return b"HTTP/1.1 %d %s\r\n%s%s\r\n" % (data.status_code, data.reason, bytes(data.headers), end)


def add_via(message: Request | Response, name: str) -> None:
    """Note that a message came by a proxy of this name (RFC 9110, 7.6.3)."""
    message.headers.add("Via", f"{message.http_version.removeprefix('HTTP/')} {name}")


def came_round(request: Request, name: str) -> bool:
    """Return whether a request came by a proxy of this name so often that it goes in a circle.

    Two proxies that follow each other may have one name.
    """
    via: str | None = request.headers.get("via")
    if via is None:
        return False
    return sum(each.split(maxsplit=2)[1:2] == [name] for each in via.rsplit(",", _PROXIES)) >= ROUNDS


def glance(head: bytes) -> Request:
    """Read what can be read of a request that is refused: how its client wants to be answered."""
    fields = _FIELD.findall(head[:65_536])
    return Request("", 0, b"GET", b"", b"", b"/", b"HTTP/1.1", Headers(fields), None, None, 0.0, 0.0)


def _read_fields(head: bytes, start: int, *, repair: bool) -> tuple[list[Field], bool]:
    """Read the lines after the first; return too whether they had to be repaired."""
    fields = _FIELD.findall(head, start)
    if len(fields) == head.count(b"\n", start) - 1:
        return [(name, value.rstrip(b" \t")) for name, value in fields], False
    return _read_odd_fields(head[start:], repair=repair), True


def _read_odd_fields(lines: bytes, *, repair: bool) -> list[Field]:
    found: list[tuple[bytes, list[bytes]]] = []
    dropped = True  # what a folded line would belong to
    for ended in lines.split(b"\n")[:-2]:
        line = ended.removesuffix(b"\r")
        if not repair and (b"\0" in line or b"\r" in line):
            raise HeadError(f"a header has a NUL or a bare CR in it: {_shown(line)}")
        if line[:1] in {b" ", b"\t"}:
            if not dropped:
                found[-1][1].append(line.strip(b" \t"))
            elif not repair:
                raise HeadError("a line that goes on with a header follows none")
            continue
        written, colon, value = line.partition(b":")
        name = written.rstrip(b" \t")
        dropped = not colon or _NAME.fullmatch(name) is None
        if not repair and (dropped or name != written):
            raise HeadError(f"a line of its head is no header: {_shown(line)}")
        if not dropped:
            found.append((name, [value.strip(b" \t")]))
    return [(name, b" ".join(parts).translate(SPACED).strip()) for name, parts in found]


def _absolute(target: bytes) -> tuple[bytes, bytes, str, int, bytes]:
    """Take an absolute target apart: scheme, authority, host, port, path."""
    parts = _ABSOLUTE.fullmatch(target)
    if parts is None:
        raise HeadError(f"its target is neither a path nor an address: {_shown(target)}")
    scheme, authority, path = parts[1].lower(), _bounded(parts[2], "its target's host"), parts[3]
    if not authority.isascii():
        try:
            name, colon, number = authority.decode().partition(":")
            authority = (name.encode("idna").decode() + colon + number).encode("ascii")
        except UnicodeError:
            raise HeadError(f"its target names no host: {_shown(authority)}") from None
    host, port = _destination(scheme, authority)
    return scheme, authority, host, port, path if path[:1] == b"/" else b"/" + path


def _bounded(authority: bytes, what: str) -> bytes:
    if len(authority) > AUTHORITY_MAX_BYTES:
        raise HeadError(f"{what} has more than {AUTHORITY_MAX_BYTES} bytes: {_shown(authority)}")
    return authority


@lru_cache(maxsize=4096)
def _destination(scheme: bytes, authority: bytes) -> tuple[str, int]:
    host, port = "", None
    try:
        host, port = mitm_url.parse_authority(authority, check=True)
        port = port or mitm_url.default_port(scheme)
    except ValueError:
        pass
    if not port:
        raise HeadError(f"its target names no host, or no port: {_shown(authority)}")
    return host, port


def escape(path: bytes) -> bytes:
    """Escape what is beyond ASCII (RFC 3986, 2.1), in one step: there may be 250,000 such bytes."""
    return b"".join([_ESCAPED[byte] for byte in path])


def _shown(data: bytes) -> str:
    line = data.partition(b"\n")[0]
    return repr(line[:_SHOWN_BYTES])[1:] + ("…" if len(line) > _SHOWN_BYTES else "")
