r"""`Forwarded` and `X-Forwarded-For`: whom a load balancer that speaks HTTP passes a request on for.

Sources: RFC 7239, sections 4 and 6; `X-Forwarded-For` has no standard and is read as balancers write it.

```
Forwarded        for=192.0.2.7;proto=https, for="[2001:db8::7]:4711", for=unknown, for=_hidden
X-Forwarded-For  192.0.2.7, [2001:db8::7]:4711, 2001:db8::7, unknown
```

Each hop adds at the end, so both are read from the right. What a trusted balancer wrote names who connected
to it; that may be a trusted balancer again, whose word then counts too. The first other address is the
client, and nothing to its left is looked at: the client may have written it. Several lines are one list. A
quotation that does not end makes its line unreadable, as nobody knows where the last hop's words begin.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

FORWARDED: Final = b"forwarded"
X_FORWARDED_FOR: Final = b"x-forwarded-for"
NAMES: Final = frozenset({FORWARDED, X_FORWARDED_FOR})

type IP = IPv4Address | IPv6Address

_WORD: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_QUOTED: Final = r'"(?:[^"\\]|\\.)*+"'
_ELEMENT: Final = re.compile(rf'(?:[^",]++|{_QUOTED})++,?|,', re.DOTALL)
_PAIR: Final = re.compile(rf"({_WORD})=(?:({_WORD})|({_QUOTED}))", re.DOTALL)
_NEXT: Final = re.compile(r"[ \t]*;[ \t]*")
_PORT: Final = r"(?::(?:[0-9]{1,5}|_[0-9A-Za-z._-]+))?"
_NODE: Final = re.compile(rf"(?:([0-9.]+)|\[([0-9A-Fa-f:.]+)\]|(?i:unknown)|_[0-9A-Za-z._-]+){_PORT}")


class ForwardedError(ValueError):
    """A balancer's header names nobody that it could be taken for; the message is the reason."""


def forwarded_client(fields: Iterable[tuple[bytes, bytes]], is_balancer: Callable[[IP], bool]) -> str | None:
    """Return the address of the client that headers name; None where they name none but balancers.

    Raises ForwardedError where the nearest that is no balancer has no address that can be read, and where
    the two headers name different clients: one of them is then the client's own.
    """
    lines: dict[bytes, list[str]] = {}
    for raw_name, value in fields:
        name = raw_name.lower()
        if name in NAMES:
            lines.setdefault(name, []).append(value.decode("latin-1"))
    found: set[IP] = set()
    for name, values in lines.items():
        nearest = _standard(values) if name == FORWARDED else _customary(values)
        client = next((address for address in nearest if not is_balancer(address)), None)
        if client is not None:
            found.add(client)
    if len(found) > 1:
        raise ForwardedError("Forwarded and X-Forwarded-For name different clients")
    return str(found.pop()) if found else None


def _standard(lines: list[str]) -> Iterator[IP]:
    """Yield the nodes of `Forwarded`, nearest first; raise ForwardedError at one without an address."""
    for line in reversed(lines):
        for element in reversed(_elements(line)):
            given = _pairs(element).get("for")
            if given is None:
                raise ForwardedError("an element of Forwarded has no `for`")
            yield _address(given)


def _elements(line: str) -> list[str]:
    """Split at the commas outside of quotations; empty elements mean nothing (RFC 9110, 5.6.1)."""
    pieces, at = [], 0
    while at < len(line):
        piece = _ELEMENT.match(line, at)
        if piece is None:
            raise ForwardedError("a quotation in Forwarded does not end")
        pieces.append(piece[0].strip(" \t,"))
        at = piece.end()
    return [piece for piece in pieces if piece]


def _pairs(element: str) -> dict[str, str]:
    pairs: dict[str, str] = {}
    at = 0
    while True:
        pair = _PAIR.match(element, at)
        if pair is not None:
            name, token, quoted = pair[1].lower(), pair[2], pair[3]
            if name in pairs:
                raise ForwardedError(f"an element of Forwarded says `{name}` twice")
            pairs[name] = token if quoted is None else re.sub(r"\\(.)", r"\1", quoted[1:-1], flags=re.DOTALL)
            at = pair.end()
        if at == len(element):
            return pairs
        between = _NEXT.match(element, at)
        if between is None:
            raise ForwardedError("an element of Forwarded is no list of name=value")
        at = between.end()


def _customary(lines: list[str]) -> Iterator[IP]:
    """Yield the addresses of `X-Forwarded-For`, nearest first; raise ForwardedError at what is none."""
    for line in reversed(lines):
        for entry in reversed(line.split(",")):
            if text := entry.strip(" \t"):
                yield _plain(text) or _address(text)


def _plain(text: str) -> IP | None:
    """Read an address as it is written where no port follows: IPv6 without brackets too."""
    try:
        return _unmapped(ip_address(text)) if "%" not in text else None
    except ValueError:
        return None


def _address(node: str) -> IP:
    match = _NODE.fullmatch(node)
    try:
        if match is not None and match[1]:
            return IPv4Address(match[1])
        if match is not None and match[2]:
            return _unmapped(IPv6Address(match[2]))
    except ValueError:
        match = None
    if match is None:
        raise ForwardedError("it names something that is no address")
    raise ForwardedError("it does not name its client (`unknown`, or a name of the balancer's own)")


def _unmapped(address: IP) -> IP:
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address
