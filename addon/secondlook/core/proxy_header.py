r"""The PROXY protocol: how a TCP load balancer names whose connection it passes on.

Source: HAProxy's "The PROXY protocol, versions 1 and 2" (doc/proxy-protocol.txt). The header comes before
anything else, once, and only who is known for a balancer is believed.

```
version 1   PROXY TCP4 192.0.2.7 198.51.100.1 56324 8080\r\n        107 bytes at most; PROXY UNKNOWN …\r\n
version 2   0D 0A 0D 0A 00 0D 0A 51 55 49 54 0A | version, command | family | length | addresses | extensions
```

`UNKNOWN`, the command LOCAL and families other than TCP say nothing of a client: the connection is the
balancer's own (a health check), and its address stands.
"""

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Final

LONGEST_BYTES: Final = 4096  # with the extensions of version 2
_LONGEST_V1: Final = 107
_SIGNATURE: Final = b"\r\n\r\n\x00\r\nQUIT\n"
_FIXED: Final = struct.Struct("!12sBBH")
_V1: Final = b"PROXY "
_ADDRESSES: Final = {
    0x11: (struct.Struct("!4s4sHH"), IPv4Address),
    0x21: (struct.Struct("!16s16sHH"), IPv6Address),
}
_KINDS: Final = {b"TCP4": IPv4Address, b"TCP6": IPv6Address}
_LOCAL, _PROXY = 0x20, 0x21
_LAST_PORT: Final = 0xFFFF

type Place = tuple[str, int]


class ProxyHeaderError(ValueError):
    """What came is no PROXY header; the message is the reason."""


@dataclass(frozen=True, slots=True)
class ProxyHeader:
    """A header of `size` bytes; who connected and to what, None where it is the balancer itself."""

    size: int
    source: Place | None = None
    destination: Place | None = None


def begins_request(data: bytes) -> bool:
    """Return whether a connection begins with a request of HTTP/1 instead; False while that is open."""
    return data[:1].isalpha() and data[: len(_V1)] != _V1[: len(data)]


def read_proxy_header(data: bytes) -> ProxyHeader | None:
    """Read the header that `data` begins with; None where more is needed. Raises ProxyHeaderError."""
    if data[: len(_SIGNATURE)] == _SIGNATURE[: len(data)]:
        return _read_binary(data)
    if data[: len(_V1)] == _V1[: len(data)]:
        return _read_text(data)
    raise ProxyHeaderError("the connection does not begin with a PROXY header")


def _read_text(data: bytes) -> ProxyHeader | None:
    line, end, _ = data[:_LONGEST_V1].partition(b"\r\n")
    if not end:
        if len(data) >= _LONGEST_V1:
            raise ProxyHeaderError(f"a PROXY header of version 1 is longer than {_LONGEST_V1} bytes")
        return None
    size = len(line) + len(end)
    words = line.split(b" ")
    if words[1:2] == [b"UNKNOWN"]:
        return ProxyHeader(size)
    if b"%" in line:  # means something on the balancer alone
        raise ProxyHeaderError("a PROXY header of version 1 has an address with a scope")
    try:
        _, kind, source, destination, source_port, destination_port = words
        address = _KINDS[kind]
        return ProxyHeader(
            size,
            (str(address(source.decode("ascii"))), _port(source_port)),
            (str(address(destination.decode("ascii"))), _port(destination_port)),
        )
    except (ValueError, KeyError) as error:
        raise ProxyHeaderError("a PROXY header of version 1 has no two addresses and ports") from error


def _port(text: bytes) -> int:
    if not text.isdigit() or not text.isascii() or int(text) > _LAST_PORT or text != b"%d" % int(text):
        raise ValueError(f"no port: {text!r}")
    return int(text)


def _read_binary(data: bytes) -> ProxyHeader | None:
    if len(data) < _FIXED.size:
        return None
    _, command, family, length = _FIXED.unpack_from(data)
    size = _FIXED.size + length
    if command not in (_LOCAL, _PROXY):
        raise ProxyHeaderError(f"version and command 0x{command:02x} of a PROXY header are not known")
    if size > LONGEST_BYTES:
        raise ProxyHeaderError(f"a PROXY header of {size} bytes is longer than {LONGEST_BYTES}")
    if len(data) < size:
        return None
    if command == _LOCAL or family not in _ADDRESSES:
        return ProxyHeader(size)
    layout, address = _ADDRESSES[family]
    if length < layout.size:
        raise ProxyHeaderError("a PROXY header of version 2 is too short for its addresses")
    source, destination, source_port, destination_port = layout.unpack_from(data, _FIXED.size)
    return ProxyHeader(
        size, (str(address(source)), source_port), (str(address(destination)), destination_port)
    )
