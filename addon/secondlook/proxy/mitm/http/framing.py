"""Where an HTTP/1 message ends, and whether its connection goes on after it (RFC 9112, 6.3 and 9.3).

Two readers that take this differently are two messages for one (request smuggling), so what is not certain is
refused in a request, and in an answer wherever its end would be a guess:

| on the wire | in a request | in an answer |
|---|---|---|
| Transfer-Encoding and a length (RFC 9112, 6.3) | 400 | the coding counts, the length goes |
| a length given more than once | 400 | one, if they are equal |
| `identity` among the codings | 400 | dropped |
| codings beside `chunked` | as they are | 502: we asked for none |

Fields that belong to one connection end here (RFC 9110, 7.6.1): `Connection` and what it names, `Keep-Alive`,
`Proxy-Connection`, `TE`, and `Upgrade` where no other protocol than HTTP is asked for or gone over to.
"""

import re
from typing import NamedTuple

type Field = tuple[bytes, bytes]

BAD_REQUEST, REQUEST_TIMEOUT, HEAD_TOO_LARGE, NOT_IMPLEMENTED, VERSION_NOT_SUPPORTED = 400, 408, 431, 501, 505
SWITCHING_PROTOCOLS = 101
_FINAL, _NO_CONTENT, _NOT_MODIFIED = 200, 204, 304
_LENGTH = re.compile(rb"[0-9]{1,100}")
_REQUEST_CODINGS = frozenset(
    {b"chunked", *(first + b",chunked" for first in (b"gzip", b"deflate", b"compress"))}
)
_OWN = frozenset({b"keep-alive", b"proxy-connection", b"te"})  # of one connection, be they named or not
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


class SortedFields(NamedTuple):
    """The fields of a head: those that go on, and what they say of its end and its connection."""

    kept: list[Field]
    lasting: bool
    codings: list[bytes]
    lengths: list[bytes]
    hosts: list[bytes]


def sort_fields(  # noqa: C901, PLR0912 - one branch for each length of a name
    fields: list[Field], *, new: bool, switching: bool
) -> SortedFields:
    """Sort the fields of a head.

    `new`: it is of HTTP/1.1, whose connections last unless they say otherwise; `switching`: another protocol
    may follow it.
    """
    codings: list[bytes] = []
    lengths: list[bytes] = []
    named: list[bytes] = []
    upgrade = b""
    hosts: list[bytes] = []
    own = False
    for name, value in fields:
        match len(name):
            case 2 | 7 | 10 | 16:  # TE, Upgrade, Connection and Keep-Alive, Proxy-Connection
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
        return SortedFields(fields, lasting, codings, lengths, hosts)
    gone = {b"connection", b"upgrade", *_OWN, *named} - _LASTING
    protocols = {one.strip() for one in upgrade.lower().split(b",")}
    kept = [field for field in fields if field[0].lower() not in gone]
    if new and switching and upgrade and b"upgrade" in named and not protocols & _HTTP2_UPGRADE:
        kept += [(b"Connection", b"Upgrade"), (b"Upgrade", upgrade)]
    return SortedFields(kept, lasting, codings, lengths, hosts)


def frame_request(fields: SortedFields, *, new: bool) -> tuple[list[Field], Framing]:
    """Return what goes on of a request's fields, and where it ends. Raises HeadError where that is uncertain.

    `new`: it is of HTTP/1.1.
    """
    kept, lasting, codings, lengths, _ = fields
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


def frame_response(fields: list[Field], status: int, *, head: bool, new: bool) -> tuple[list[Field], Framing]:
    """Return what goes on of an answer's fields, and where it ends. Raises HeadError where that is uncertain.

    `head`: it answers a HEAD; `new`: it is of HTTP/1.1.
    """
    kept, lasting, codings, lengths, _ = sort_fields(fields, new=new, switching=status == SWITCHING_PROTOCOLS)
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


def _with_length(fields: list[Field], length: bytes) -> list[Field]:
    """Write a length without zeros before it."""
    if length[:1] != b"0" or length == b"0":
        return fields
    return [*_without_framing(fields), (b"Content-Length", b"%d" % int(length))]


def _without_framing(fields: list[Field], *, lengths: bool = True) -> list[Field]:
    gone = {b"transfer-encoding", *((b"content-length",) if lengths else ())}
    return [field for field in fields if field[0].lower() not in gone]
