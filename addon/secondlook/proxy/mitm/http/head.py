"""HTTP/1 heads: read tolerantly what is unambiguous, refused where two readers could take it differently.

What goes on is written anew from what was understood, so nobody behind us reads another message than we did:

| on the wire | in a request | in an answer |
|---|---|---|
| empty lines before it, bare LF at line ends | taken | taken |
| space before a colon; a line that is no field, or is folded into none | 400 | space cut; line dropped |
| a folded field (RFC 9112, 5.2) | made one line | made one line |
| NUL or bare CR in a value (RFC 9110, 5.5) | 400 | made spaces |
| other control characters in a value | made spaces | made spaces |
| Transfer-Encoding and a length (RFC 9112, 6.3) | 400 | the coding counts, the length goes |
| a length given more than once | 400 | one, if they are equal |
| `identity` among the codings | 400 | dropped |
| codings beside `chunked` | as they are | 502: we asked for none |
| bytes above 127 in the target | escaped, as browsers do | |
| another Host than that of an absolute target | kept: either is checked | |
| more than one Host, or one of more than 1024 bytes | 400 | |

Fields that belong to one connection end here (RFC 9110, 7.6.1): `Connection` and what it names, `Keep-Alive`,
`Proxy-Connection`, `TE`, and `Upgrade` where no other protocol than HTTP is asked for or gone over to.
"""

import re
import time
from functools import lru_cache
from typing import NamedTuple

from h11._receivebuffer import ReceiveBuffer
from mitmproxy.http import Headers, Request, Response
from mitmproxy.net.http import url as mitm_url

type Field = tuple[bytes, bytes]

BAD_REQUEST, REQUEST_TIMEOUT, HEAD_TOO_LARGE, NOT_IMPLEMENTED, VERSION_NOT_SUPPORTED = 400, 408, 431, 501, 505
SWITCHING_PROTOCOLS = 101
_FINAL, _NO_CONTENT, _NOT_MODIFIED = 200, 204, 304
AUTHORITY_MAX_BYTES = 1024  # a host has 253, beyond ASCII some times that; encoding of one takes its time
_SHOWN_BYTES = 40

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"
_NAME = re.compile(_TOKEN)
_REQUEST_LINE = re.compile(rb"(" + _TOKEN + rb") ++([\x21-\x7e\x80-\xff]++) ++HTTP/([0-9])\.([0-9]) *+\r?\n")
_STATUS_LINE = re.compile(rb"(?i:HTTP)/([0-9])\.([0-9])[ \t]++([1-9][0-9]{2})(?:[ \t]([^\n]*+))?+\r?\n")
_FIELD = re.compile(rb"^(" + _TOKEN + rb"):[ \t]*+([^\x00-\x08\x0a-\x1f\x7f]*+)\r?\n", re.MULTILINE)
_BLANK_LINE = re.compile(rb"\n\r?\n")
_ABSOLUTE = re.compile(rb"([A-Za-z][A-Za-z0-9+.\-]*+)://([^/?#]*+)(.*+)")
_ASCII = 128
_ESCAPED = [bytes([byte]) if byte < _ASCII else b"%%%02X" % byte for byte in range(256)]
_LENGTH = re.compile(rb"[0-9]{1,100}")
_CONTROLS = bytes((*range(9), *range(10, 32), 127))
SPACED = bytes.maketrans(_CONTROLS, b" " * len(_CONTROLS))
_REQUEST_CODINGS = frozenset(
    {b"chunked", *(first + b",chunked" for first in (b"gzip", b"deflate", b"compress"))}
)
_OWN = frozenset(
    {b"keep-alive", b"proxy-connection", b"te"}
)  # of one connection, whether it names them or not
_LASTING = frozenset({b"host", b"content-length", b"transfer-encoding", b"close"})  # not taken off when named
_HTTP2_UPGRADE = frozenset({b"h2c", b"http2-settings"})


class HeadError(Exception):
    """A head that is refused; `status` is that of the answer to a client whose head it is."""

    def __init__(self, why: str, status: int = BAD_REQUEST) -> None:
        super().__init__(why)
        self.status = status


class Framing(NamedTuple):
    """Where a message ends, and whether its connection goes on after it."""

    size: int | None  # of the body in bytes; None: in chunks, -1: it ends with the connection
    lasting: bool


class HeadBuffer(ReceiveBuffer):
    """Bytes received, from which whole heads are taken; no byte is looked at twice for it."""

    def __init__(self, limit: int, lines: int) -> None:
        super().__init__()
        self._limit = limit
        self._lines = lines
        self.begin()

    def take_head(self) -> bytes | None:
        """Take the next head with its empty line, once it is whole. HeadError where it is too large."""
        data = self._data
        if data.startswith((b"\r", b"\n")):
            self._taken += len(self._extract(len(data) - len(data.lstrip(b"\r\n"))))
        found = _BLANK_LINE.search(data, self._multiple_lines_search)
        size = len(data) if found is None else found.end()
        if self._taken + size > self._limit:
            raise HeadError(f"its head is larger than {self._limit} bytes", HEAD_TOO_LARGE)
        if found is None:
            self._multiple_lines_search = max(0, size - 2)
            return None
        if self._lines_taken + data.count(b"\n", 0, size) > self._lines + 2:
            raise HeadError(f"its head has more than {self._lines} lines", HEAD_TOO_LARGE)
        return bytes(self._extract(size))

    def count_interim(self, head: bytes) -> None:
        """Count the head of an interim answer with the one that follows."""
        self._taken += len(head)
        self._lines_taken += head.count(b"\n")

    def begin(self) -> None:
        """Wait for the head of another message."""
        self._taken = self._lines_taken = 0


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
    fields, framing = _frame_request(fields, new=new)
    now = time.time()
    version = b"HTTP/1.1" if new else b"HTTP/1.0"
    request = Request(
        host, port, method, scheme, authority, path, version, Headers(fields), None, None, now, None
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
    fields, framing = _frame_response(fields, status, head=request.data.method == b"HEAD", new=new)
    if repaired:
        framing = Framing(framing.size, lasting=False)
    reason = (reason or b"").translate(SPACED).strip()
    version = b"HTTP/1.1" if new else b"HTTP/1.0"
    return Response(version, status, reason, Headers(fields), None, None, time.time(), None), framing


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


def _frame_request(fields: list[Field], *, new: bool) -> tuple[list[Field], Framing]:
    kept, lasting, codings, lengths, hosts = _without_own(fields, new=new, switching=True)
    if len(hosts) > 1:
        raise HeadError("it names its host more than once")
    if hosts:
        _bounded(hosts[0], "its Host")
    if codings:
        if lengths or not new or len(codings) > 1:
            raise HeadError("it says in two ways how long it is")
        coding = b",".join(one.strip(b" \t") for one in codings[0].lower().split(b","))
        if coding not in _REQUEST_CODINGS:
            known = coding.endswith(b"chunked")
            raise HeadError("its transfer coding is not known", NOT_IMPLEMENTED if known else BAD_REQUEST)
        return kept, Framing(None, lasting)
    if not lengths:
        return kept, Framing(0, lasting)
    if len(lengths) > 1 or _LENGTH.fullmatch(lengths[0]) is None:
        raise HeadError("its length is no number, or given more than once")
    return _with_length(kept, lengths[0]), Framing(int(lengths[0]), lasting)


def _frame_response(
    fields: list[Field], status: int, *, head: bool, new: bool
) -> tuple[list[Field], Framing]:
    kept, lasting, codings, lengths, _ = _without_own(
        fields, new=new, switching=status == SWITCHING_PROTOCOLS
    )
    empty = status < _FINAL or status in {_NO_CONTENT, _NOT_MODIFIED}
    if status < _FINAL or status == _NO_CONTENT:  # neither length nor coding (RFC 9110, 8.6; RFC 9112, 6.1)
        contradicts = bool(codings) or any(length != b"0" for length in lengths)
        return _without_framing(kept), Framing(0, lasting and not contradicts)
    if codings:
        kept, sure, chunked = _coded(kept, codings, lengths, empty=head or empty)
        lasting = lasting and sure and new
        if chunked:
            return kept, Framing(0 if head or empty else None, lasting)
    if not lengths:
        return kept, Framing(0, lasting) if head or empty else Framing(-1, lasting=False)
    length, *others = dict.fromkeys(one.strip() for value in lengths for one in value.split(b","))
    if others or _LENGTH.fullmatch(length) is None:
        if not (head or empty):
            raise HeadError("it has two lengths, or one that is no number")
        return _without_framing(kept), Framing(0, lasting)
    if lengths != [length]:
        kept = [*_without_framing(kept), (b"Content-Length", length)]
    return _with_length(kept, length), Framing(0 if head or empty else int(length), lasting)


def _coded(
    fields: list[Field], codings: list[bytes], lengths: list[bytes], *, empty: bool
) -> tuple[list[Field], bool, bool]:
    """Leave what goes on of the codings of an answer: fields, whether all was plain, whether in chunks."""
    written = [one.strip(b" \t") for value in codings for one in value.lower().split(b",")]
    if written == [b"chunked"] and not lengths:
        return fields, True, True
    left = [one for one in written if one not in {b"", b"identity"}]
    if left == [b"chunked"]:
        return [*_without_framing(fields), (b"Transfer-Encoding", b"chunked")], False, True
    if left and not empty:
        raise HeadError("it has a transfer coding that was not asked for")
    return _without_framing(fields, lengths=False), False, False


def _without_own(  # noqa: C901, PLR0912 - one branch for each length of a name
    fields: list[Field], *, new: bool, switching: bool
) -> tuple[list[Field], bool, list[bytes], list[bytes], list[bytes]]:
    """Take off what belongs to one connection: what is kept, whether it lasts, codings, lengths, hosts."""
    codings: list[bytes] = []
    lengths: list[bytes] = []
    named: list[bytes] = []
    upgrade = b""
    hosts: list[bytes] = []
    own = False
    for name, value in fields:
        match len(name):
            case 2 | 10 | 16 | 7:
                lower = name.lower()
                if lower == b"connection":
                    named += [one.strip() for one in value.lower().split(b",")]
                elif lower == b"upgrade":
                    upgrade, own = value, True
                elif lower in _OWN:
                    own = True
            case 4:
                if name.lower() == b"host":
                    hosts.append(value)
            case 14:
                if name.lower() == b"content-length":
                    lengths.append(value)
            case 17:
                if name.lower() == b"transfer-encoding":
                    codings.append(value)
            case _:
                pass
    lasting = (b"close" not in named) if new else (b"keep-alive" in named)
    if not named and not own:
        return fields, lasting, codings, lengths, hosts
    gone = {b"connection", b"upgrade", *_OWN, *named} - _LASTING
    protocols = {one.strip() for one in upgrade.lower().split(b",")}
    kept = [field for field in fields if field[0].lower() not in gone]
    if new and switching and upgrade and b"upgrade" in named and not protocols & _HTTP2_UPGRADE:
        kept += [(b"Connection", b"Upgrade"), (b"Upgrade", upgrade)]
    return kept, lasting, codings, lengths, hosts


def _with_length(fields: list[Field], length: bytes) -> list[Field]:
    """Write a length without zeros before it."""
    if length[:1] != b"0" or length == b"0":
        return fields
    return [*_without_framing(fields), (b"Content-Length", b"%d" % int(length))]


def _without_framing(fields: list[Field], *, lengths: bool = True) -> list[Field]:
    gone = {b"transfer-encoding", *((b"content-length",) if lengths else ())}
    return [field for field in fields if field[0].lower() not in gone]


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
