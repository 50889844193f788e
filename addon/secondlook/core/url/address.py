"""IP addresses in every notation that resolvers accept, and the classes that matter to a proxy."""

import re
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

MAPPED = IPv6Network("::ffff:0:0/96")
NAT64 = IPv6Network("64:ff9b::/96")
_TRANSLATED = IPv6Network("::ffff:0:0:0/96")  # RFC 7915's predecessor wrote IPv4 so
_COMPATIBLE = IPv6Network("::/96")  # RFC 4291, 2.5.5.1; `::` and `::1` are no IPv4

METADATA_ADDRESSES = frozenset(
    map(
        ip_address,
        (
            "169.254.169.254",  # AWS, Azure, Google, DigitalOcean, OpenStack …
            "169.254.170.2",  # AWS ECS task credentials
            "169.254.170.23",  # AWS EKS pod identity
            "169.254.0.23",  # Tencent
            "168.63.129.16",  # Azure wire server
            "100.100.100.200",  # Alibaba
            "192.0.0.192",  # Oracle
            "fd00:ec2::254",
            "fd00:ec2::23",
            "fd20:ce::254",  # Google, IPv6-only machines
        ),
    )
)

# an address and a length or a mask (`/8`, `/255.0.0.0`, `/0.255.255.255`); the letters of `f00d.de:80/5` are
# hexadecimal too: digits and dots, or two colons, make an address
_NETWORK = re.compile(
    r"([0-9.]++|(?=[0-9A-Fa-f.]*+:[0-9A-Fa-f.]*+:)[0-9A-Fa-f:.]++)"
    r"/([0-9]{1,3}|(?:255|254|252|248|240|224|192|128|0)(?:\.[0-9]{1,3}){3})",
    re.ASCII,
)
_BRACKETS = re.compile(r"\A\[([^\]]*)\]")
_NETWORK_GROUPS = 4  # of an IPv6 address: whoever has one address has its /64
_PART = re.compile(r"0[xX][0-9a-fA-F]*|0[0-7]*|[1-9][0-9]*", re.ASCII)
_ENDS_IN_NUMBER = re.compile(r"(?:.*\.)?(?:[0-9]+|0[xX][0-9a-fA-F]*)", re.ASCII | re.DOTALL)
_MAX_PART_CHARS = 64  # leading zeros are allowed, endless ones are not


class AddressClass(StrEnum):
    """What an address is good for, as far as a proxy must care."""

    PUBLIC = "public"
    PRIVATE = "private"
    LOOPBACK = "loopback"
    LINK_LOCAL = "link_local"
    METADATA = "metadata"
    UNSPECIFIED = "unspecified"
    MULTICAST = "multicast"
    RESERVED = "reserved"


def network_in(text: str) -> str | None:
    """Return a text that is a network, with its length or mask, out of brackets; None where it is none."""
    plain = _BRACKETS.sub(r"\1", text) if text[:1] == "[" else text
    return plain if _NETWORK.fullmatch(plain) else None


def parse_ipv4(text: str) -> IPv4Address | None:
    """Read an IPv4 address as `inet_aton` does: 1 to 4 parts, each decimal, octal or hexadecimal.

    The last part fills the bytes that are left. A part too large for its place is no address:
    resolvers and browsers refuse it, and masking it would name a machine that nobody meant.
    """
    parts = text.split(".")
    if len(parts) > 4:  # noqa: PLR2004
        return None
    values: list[int] = []
    for part in parts:
        if len(part) > _MAX_PART_CHARS or not _PART.fullmatch(part):
            return None
        if part[:2] in {"0x", "0X"}:
            values.append(int(part[2:] or "0", 16))
        elif part[0] == "0":
            values.append(int(part, 8))
        else:
            values.append(int(part))
    *heads, last = values
    if any(value > 0xFF for value in heads) or last >= 1 << (8 * (4 - len(heads))):  # noqa: PLR2004
        return None
    number = last
    for place, value in enumerate(heads):
        number |= value << (8 * (3 - place))
    return IPv4Address(number)


def ends_in_number(host: str) -> bool:
    """Return whether a host is one that resolvers take for an IPv4 address, well-formed or not."""
    return _ENDS_IN_NUMBER.fullmatch(host) is not None


def parse_ipv6(text: str) -> IPv4Address | IPv6Address | None:
    """Read an IPv6 address without brackets; IPv4-mapped and NAT64 ones become the IPv4 they stand for.

    A zone (`%eth0`) is dropped: it names an interface of one machine.
    """
    try:
        address = IPv6Address(text.partition("%")[0])
    except ValueError:
        return None
    if address in MAPPED or address in NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address


def host_text(address: IPv4Address | IPv6Address) -> str:
    """Write an address as the host of a URL: dotted quad, or the shortest IPv6 form in brackets."""
    if isinstance(address, IPv4Address):
        return str(address)
    groups = [f"{group:x}" for group in (int(address) >> shift & 0xFFFF for shift in range(112, -1, -16))]
    start, length = _longest_zeros(groups)
    if length < 2:  # noqa: PLR2004
        return f"[{':'.join(groups)}]"
    return f"[{':'.join(groups[:start])}::{':'.join(groups[start + length :])}]"


def bracketed(host: str) -> str:
    """Write a host the way URLs have it; an address of IPv6 stands in brackets."""
    return f"[{host}]" if ":" in host else host


def with_port(host: str, port: int) -> str:
    """Write a host with its port."""
    return f"{bracketed(host)}:{port}"


def parse_address(text: str) -> IPv4Address | IPv6Address | None:
    """Read an address in any notation, with or without brackets; None for a name."""
    if ":" in text:
        return parse_ipv6(text[1:-1] if text[:1] == "[" and text[-1:] == "]" else text)
    return parse_ipv4(text)


def classify(address: IPv4Address | IPv6Address) -> AddressClass:
    """Return the class of an address; 6to4 and Teredo are judged by the IPv4 inside."""
    address = _inner(address)
    if address in METADATA_ADDRESSES:
        return AddressClass.METADATA
    if isinstance(address, IPv4Address) and int(address) >> 24 == 0:
        return AddressClass.UNSPECIFIED  # all of 0.0.0.0/8 reaches this machine on Linux
    for cls, holds in (
        (AddressClass.UNSPECIFIED, address.is_unspecified),
        (AddressClass.LOOPBACK, address.is_loopback),
        (AddressClass.LINK_LOCAL, address.is_link_local),
        (AddressClass.MULTICAST, address.is_multicast),
        (AddressClass.RESERVED, address.is_reserved),
        (AddressClass.PRIVATE, address.is_private or not address.is_global),
    ):
        if holds:
            return cls
    return AddressClass.PUBLIC


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine itself: `localhost`, a name below it, or a loopback address."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def counted_address(host: str) -> str:
    """Return what connections are counted by: an IPv4 address, the /64 of an IPv6 one."""
    if ":" not in host or host.lower().startswith("::ffff:"):
        return host
    head, _, tail = host.partition("%")[0].partition("::")
    groups = head.split(":") if head else []
    if len(groups) < _NETWORK_GROUPS:
        rest = tail.split(":") if tail else []
        groups += ["0"] * (2 * _NETWORK_GROUPS - len(groups) - len(rest)) + rest
    return ":".join(groups[:_NETWORK_GROUPS])


def _inner(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """Return the IPv4 address that an IPv6 one stands for, if it does."""
    if isinstance(address, IPv4Address):
        return address
    if any(address in network for network in (MAPPED, NAT64, _TRANSLATED)) or (
        address in _COMPATIBLE and int(address) > 1
    ):
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    if address.sixtofour is not None:
        return address.sixtofour
    return address if address.teredo is None else address.teredo[1]


def _longest_zeros(groups: list[str]) -> tuple[int, int]:
    best = (0, 0)
    index = 0
    while index < len(groups):
        end = index
        while end < len(groups) and groups[end] == "0":
            end += 1
        if end - index > best[1]:
            best = (index, end - index)
        index = max(end, index + 1)
    return best
