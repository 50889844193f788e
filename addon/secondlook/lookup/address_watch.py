"""The machine's own addresses, and word of their changes.

On Linux the kernel reports them (rtnetlink(7)): a socket subscribed to link, address and route changes wakes
us, and a dump gives the addresses. What was merely refreshed (router advertisements come every few
seconds in some networks) changes nothing and is passed over; what was *removed* counts even if it is
there again a moment later, as two networks may well give a machine the same address. Elsewhere, or
where that is not allowed, the source addresses of the default routes are compared every few seconds
(connecting a UDP socket sends nothing).
"""

import asyncio
import contextlib
import ipaddress
import socket
import struct
from collections.abc import Callable, Iterator
from typing import Final

type IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
type Snapshot = tuple[frozenset[IpAddress], frozenset[IpAddress]]  # addresses, sources of default routes

SETTLE_S: Final = 0.2  # changes come in swarms
POLL_S: Final = 5.0

# Numbers of rtnetlink(7), from the kernel's headers rtnetlink.h and netlink.h.
_RTMGRP_LINK, _RTMGRP_IPV4_IFADDR, _RTMGRP_IPV4_ROUTE = 0x1, 0x10, 0x40
_RTMGRP_IPV6_IFADDR, _RTMGRP_IPV6_ROUTE = 0x100, 0x400
_GROUPS: Final = (
    _RTMGRP_LINK | _RTMGRP_IPV4_IFADDR | _RTMGRP_IPV4_ROUTE | _RTMGRP_IPV6_IFADDR | _RTMGRP_IPV6_ROUTE
)
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_RTM_NEWADDR, _RTM_GETADDR = 20, 22
_RTM_REMOVED: Final = frozenset({17, 21, 25})  # RTM_DELLINK, RTM_DELADDR, RTM_DELROUTE
_NLM_F_REQUEST_DUMP: Final = 0x301
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_HEADER: Final = struct.Struct("=IHHII")
_IFADDRMSG: Final = struct.Struct("=BBBBI")
_ATTRIBUTE: Final = struct.Struct("=HH")
_MAX_DATAGRAM: Final = 1 << 16

# Documentation addresses (RFC 5737, RFC 3849): never asked, only routed to.
_SOMEWHERE: Final = ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1"))


def local_addresses() -> frozenset[IpAddress]:
    """Addresses of all interfaces but loopback (without a dump: those of the default routes)."""
    try:
        found = frozenset(_dump_addresses())
    except (OSError, AttributeError):
        found = default_sources()
    return frozenset(address for address in found if not address.is_loopback)


def default_sources() -> frozenset[IpAddress]:
    """Source addresses of the default routes, one for IPv4 and IPv6 each, as far as there are any."""
    found: set[IpAddress] = set()
    for family, somewhere in _SOMEWHERE:
        with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((somewhere, 9))
            found.add(ipaddress.ip_address(probe.getsockname()[0]))
    return frozenset(found)


def _dump_addresses() -> Iterator[IpAddress]:
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as kernel:
        kernel.settimeout(1.0)
        kernel.bind((0, 0))
        body = _IFADDRMSG.pack(socket.AF_UNSPEC, 0, 0, 0, 0)
        kernel.send(_HEADER.pack(_HEADER.size + len(body), _RTM_GETADDR, _NLM_F_REQUEST_DUMP, 1, 0) + body)
        while True:
            for kind, message in _messages(kernel.recv(_MAX_DATAGRAM)):
                match kind:
                    case _ if kind == _NLMSG_DONE:
                        return
                    case _ if kind == _NLMSG_ERROR:
                        raise OSError("the kernel gives no address list")
                    case _ if kind == _RTM_NEWADDR:
                        yield from _address_of(message)
                    case _:
                        pass


def _messages(datagram: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + _HEADER.size <= len(datagram):
        length, kind, _, _, _ = _HEADER.unpack_from(datagram, at)
        if length < _HEADER.size:
            return
        yield kind, datagram[at + _HEADER.size : at + length]
        at += (length + 3) & ~3


def _address_of(message: bytes) -> Iterator[IpAddress]:
    """Return the interface's own address (IFA_LOCAL; on IPv6 there is only IFA_ADDRESS)."""
    attributes: dict[int, bytes] = {}
    at = _IFADDRMSG.size
    while at + _ATTRIBUTE.size <= len(message):
        length, kind = _ATTRIBUTE.unpack_from(message, at)
        if length < _ATTRIBUTE.size:
            break
        attributes[kind] = message[at + _ATTRIBUTE.size : at + length]
        at += (length + 3) & ~3
    raw = attributes.get(_IFA_LOCAL, attributes.get(_IFA_ADDRESS))
    if raw is not None and len(raw) in {4, 16}:
        yield ipaddress.ip_address(raw)


class AddressWatch:
    """Calls `on_change` (on the event loop) after addresses or default routes have changed."""

    def __init__(self, on_change: Callable[[], None], *, poll_s: float = POLL_S) -> None:
        self._on_change = on_change
        self._poll_s = poll_s
        self._kernel: socket.socket | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._last: Snapshot | None = None
        self._removed = False

    @property
    def notified(self) -> bool:
        """Return whether the kernel reports changes (otherwise they are polled for)."""
        return self._kernel is not None

    def start(self) -> None:
        """Begin to watch."""
        self._last = _snapshot()
        loop = asyncio.get_running_loop()
        try:
            self._kernel = _subscribe()
            loop.add_reader(self._kernel, self._heard)
        except (OSError, AttributeError, NotImplementedError):
            self._drop()
            self._timer = loop.call_later(self._poll_s, self._look)

    def close(self) -> None:
        """Stop watching."""
        if self._kernel is not None:
            asyncio.get_running_loop().remove_reader(self._kernel)
        self._drop()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _drop(self) -> None:
        if self._kernel is not None:
            self._kernel.close()
            self._kernel = None

    def _heard(self) -> None:
        assert self._kernel is not None
        try:
            while True:
                kinds = {kind for kind, _ in _messages(self._kernel.recv(_MAX_DATAGRAM))}
                self._removed = self._removed or not kinds.isdisjoint(_RTM_REMOVED)
        except BlockingIOError:
            pass
        except OSError:  # ENOBUFS: so much happened that some of it was lost
            self._removed = True
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(SETTLE_S, self._look)

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = None if self.notified else loop.call_later(self._poll_s, self._look)
        snapshot = _snapshot()
        if snapshot != self._last or self._removed:
            self._last = snapshot
            self._removed = False
            self._on_change()


def _snapshot() -> Snapshot:
    return local_addresses(), default_sources()


def _subscribe() -> socket.socket:
    kernel = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
    try:
        kernel.setblocking(False)
        kernel.bind((0, _GROUPS))
    except OSError:
        kernel.close()
        raise
    return kernel
