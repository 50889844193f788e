"""Heads of HTTP/2 messages: what RFC 9113, 8.2 and 8.3 call malformed is refused, the rest read tolerantly.

Pure functions over lists of fields, as HPACK gives them. What two readers could take differently ends the
stream (`MalformedHeadError`); what browsers take too is put right: space around a value is cut off, and an
*answer* may have names in capitals and fields of HTTP/1 connections, which mean nothing here.
A request must be as the RFC wants it: a `:method` with a space in it would be another request line to an
HTTP/1 origin than the one that was checked.
"""

import re
from functools import lru_cache

from hpack.struct import HeaderTuple
from mitmproxy.net.http.url import parse_authority

from secondlook.proxy.mitm.http.head import AUTHORITY_MAX_BYTES, SPACED, escape
from secondlook.proxy.mitm.http.header_coding import Field

_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+").fullmatch
_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+").fullmatch
_CONTROL = re.compile(rb"[\0-\x08\x0a-\x1f\x7f]").search
_UNSAFE = re.compile(rb"[\0\r\n]").search
_TARGET = re.compile(rb"/[^\0-\x20\x7f#]*").fullmatch  # bytes beyond ASCII are escaped
_AUTHORITY = re.compile(rb"[^\0-\x20\x7f#/?@\\]{1,%d}" % AUTHORITY_MAX_BYTES).fullmatch
_STATUS = re.compile(rb"[1-9][0-9]{2}").fullmatch
_LENGTH = re.compile(rb"[0-9]{1,18}").fullmatch
_SPACE = b" \t"
_CONNECTION = frozenset({b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade"})
# RFC 9110, 6.5.1: where a message goes, who asks and what it is; and what is ours to say
_NOT_IN_TRAILERS = frozenset(
    b"""
    age alt-svc authorization cache-control content-disposition content-encoding content-length
    content-location content-range content-type cookie date expect expires forwarded host location
    max-forwards pragma proxy-authenticate proxy-authentication-info proxy-authorization range refresh
    retry-after set-cookie te trailer use-as-dictionary vary via warning www-authenticate x-forwarded-for
    x-forwarded-host x-forwarded-proto x-second-look
    """.split()
)
_REQUEST = frozenset({b":method", b":scheme", b":authority", b":path"})
_ONCE = frozenset({b"host", b"content-length"})
_PORTS = {b"http": b":80", b"https": b":443"}
SWITCHING_PROTOCOLS = b"101"


class MalformedHeadError(ValueError):
    """A head that may be taken differently by different readers: its stream ends."""


def read_request(fields: list[Field]) -> tuple[dict[bytes, bytes], list[Field]]:
    """Split the head of a request into its four pseudo-fields and the others.

    `host` is taken into `:authority`, which it must not differ from (RFC 9113, 8.3.1).
    """
    pseudo, rest = _split(fields, _REQUEST)
    _check_line(pseudo)
    kept: list[Field] = []
    once: dict[bytes, bytes] = {}
    for given in rest:
        name, _ = given
        if not _NAME(name):
            raise _malformed("name of a header", name, "a token in small letters")
        field = _trimmed(given)
        value = field[1]
        if name in _CONNECTION or (name == b"te" and value.lower() != b"trailers"):
            raise _malformed(f"header {name.decode()}", value, "none: it is of HTTP/1 connections")
        if name in _ONCE:
            if name in once or (name == b"content-length" and not _LENGTH(value)):
                raise _malformed(f"header {name.decode()}", value, "one")
            once[name] = value
        if name != b"host":
            kept.append(field)
    pseudo[b":authority"] = _authority(pseudo.get(b":authority"), once.get(b"host"), pseudo[b":scheme"])
    return pseudo, kept


def _check_line(pseudo: dict[bytes, bytes]) -> None:
    method, scheme, path = (pseudo.get(name) for name in (b":method", b":scheme", b":path"))
    if method is None or not _TOKEN(method):
        raise _malformed(":method", method, "a token")
    if method.upper() == b"CONNECT":
        raise MalformedHeadError("CONNECT is not offered over HTTP/2")
    if scheme not in _PORTS:
        raise _malformed(":scheme", scheme, "http or https")
    if path is None or not (_TARGET(path) or (path == b"*" and method == b"OPTIONS")):
        raise _malformed(":path", path, "a path, with a query or without")
    if not path.isascii():
        pseudo[b":path"] = escape(path)


def _authority(given: bytes | None, host: bytes | None, scheme: bytes) -> bytes:
    authority = given or host
    if authority is None or not _AUTHORITY(authority):
        raise _malformed(":authority", authority, "a host, with a port or without")
    try:
        split_authority(authority)
    except ValueError as error:
        raise _malformed(":authority", authority, "a host, with a port or without") from error
    if host is not None and _bare(host, scheme) != _bare(authority, scheme):
        raise _malformed("header host", host, "the same as in :authority")
    return authority


@lru_cache(maxsize=4096)
def split_authority(authority: bytes) -> tuple[str, int | None]:
    """Return host and port; ValueError where it names none."""
    return parse_authority(authority, check=True)


def read_answer(fields: list[Field]) -> list[Field]:
    """Return the head of an answer as it may go on: `:status` first, then the other fields."""
    pseudo, rest = _split(fields, frozenset({b":status"}))
    status = pseudo.get(b":status")
    if status is None or not _STATUS(status) or status == SWITCHING_PROTOCOLS:
        raise _malformed(":status", status, "a number from 100 to 999, not 101")
    return [(b":status", status), *_tolerated(rest)]


def read_trailers(fields: list[Field]) -> list[Field]:
    """Return trailers as they may go on; what somebody behind us could read as a header is dropped."""
    rest = _split(fields, frozenset())[1]
    return _tolerated([field for field in rest if field[0].lower() not in _NOT_IN_TRAILERS])


def _split(fields: list[Field], known: frozenset[bytes]) -> tuple[dict[bytes, bytes], list[Field]]:
    pseudo: dict[bytes, bytes] = {}
    for index, (name, value) in enumerate(fields):
        if name[:1] != b":":
            return pseudo, fields[index:]
        if name not in known or name in pseudo:
            raise _malformed("pseudo-header", name, "a known one, once")
        pseudo[name] = value
    return pseudo, []


def _tolerated(fields: list[Field]) -> list[Field]:
    kept: list[Field] = []
    length: bytes | None = None
    for field in fields:
        name, value = field
        if not _NAME(name):
            name = name.lower()
            if not _NAME(name):
                raise _malformed("name of a header", field[0], "a token")
            field = _with(field, name, value)  # noqa: PLW2901
        field = _trimmed(field)  # noqa: PLW2901
        if name in _CONNECTION:
            continue
        if name == b"content-length":
            if not _LENGTH(field[1]) or (length is not None and length != field[1]):
                raise _malformed("header content-length", value, "one number")
            if length is not None:
                continue
            length = field[1]
        kept.append(field)
    return kept


def _trimmed(field: Field) -> Field:
    """Cut space off around a value, as curl and Chromium do; never what could end a line elsewhere.

    Other control characters become spaces, as in HTTP/1 (`head.py`): its readers refuse them (RFC 9110, 5.5).
    """
    name, value = field
    if _CONTROL(value):
        if _UNSAFE(value):
            raise _malformed(f"header {name.decode()}", value, "no line break and no NUL")
        return _with(field, name, value.translate(SPACED).strip(_SPACE))
    if value and (value[0] in _SPACE or value[-1] in _SPACE):
        return _with(field, name, value.strip(_SPACE))
    return field


def _with(field: Field, name: bytes, value: bytes) -> Field:
    return type(field)(name, value) if isinstance(field, HeaderTuple) else (name, value)


def _bare(authority: bytes, scheme: bytes) -> bytes:
    return authority.lower().removesuffix(_PORTS[scheme])


def _malformed(what: str, found: bytes | None, expected: str) -> MalformedHeadError:
    shown = "nothing" if found is None else repr(found[:80])[1:]
    return MalformedHeadError(f"{what} is {shown}, expected {expected}")
