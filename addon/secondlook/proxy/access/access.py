"""Who may use the proxy, and which addresses are closed through it.

Three rules, whatever list or rule says otherwise:

1. Only this machine and the networks of `clients` may connect (users on top where there are any).
2. The proxy's own review page and server are reached by nobody through the proxy; the proxy's own listening
   address is answered by the internal site, and by no name that merely resolves to it.
3. A client on another machine reaches no loopback, link-local, unspecified or metadata address. A load
   balancer on this machine is no client on it: who is behind it may be anywhere.

An address is judged in whatever notation it is written (`127.1`, `0x7f000001`, `[::ffff:127.0.0.1]`), and a
name by each address that it resolves to: only those that are open are connected to (`dialing.py`), and
nothing is resolved a second time. Through an upstream proxy the text alone is judged: names are resolved
there.
"""

import ipaddress
import socket
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

from secondlook.core.url.address import AddressClass, classify, parse_address
from secondlook.resolver import Place, is_localhost

type IP = ipaddress.IPv4Address | ipaddress.IPv6Address
type Listening = tuple[str, int] | None

_HERE = frozenset({AddressClass.LOOPBACK, AddressClass.UNSPECIFIED})
_CLOSED_TO_OTHERS = _HERE | {AddressClass.LINK_LOCAL, AddressClass.METADATA}
_REMEMBERED_S = 30.0  # interfaces come and go

OWN = "the proxy does not lead to its own pages and servers"
CLOSED = "this address is not open through the proxy from another machine"


class _Place(NamedTuple):
    """An address and what it is good for."""

    address: IP
    kind: AddressClass
    text: str


def closed_reason(error: str) -> str | None:
    """Return why a destination was closed from what mitmproxy reports of a connection that was not made."""
    return next((reason for reason in (OWN, CLOSED) if error.endswith(reason)), None)


class Access:
    """The closed doors of one worker.

    `own_ports` gives the ports of our own services, read each time as the embedded server may move;
    `trusted` are destinations the operator set (an upstream proxy, a reverse target): open to everybody.
    """

    def __init__(
        self,
        networks: Iterable[str],
        own_ports: Callable[[], Collection[int]],
        trusted: Collection[tuple[str, int]] = (),
        *,
        users: bool = False,
        balancers: Iterable[str] = (),
    ) -> None:
        self._users = users
        self._networks = tuple(map(ipaddress.ip_network, networks))
        self._balancers = tuple(map(ipaddress.ip_network, balancers))
        self._own_ports = own_ports
        self._trusted = frozenset(trusted)

    def admits(self, client: str) -> bool:
        """Return whether a client may connect; where there are users, each may try to log in."""
        return self._users or self.is_open(client)

    def is_open(self, client: str) -> bool:
        """Return whether a client needs no password: this machine, and the networks that were named."""
        place = _place(client)
        return place is not None and (
            self._is_client_here(place) or any(place.address in network for network in self._networks)
        )

    def is_balancer(self, address: str | IP) -> bool:
        """Return whether a load balancer of ours connects from an address."""
        if not self._balancers:
            return False
        place = _place(address) if isinstance(address, str) else None
        found = place.address if place is not None else address
        return any(found in network for network in self._balancers)

    def closed(self, client: str | None, host: str, port: int) -> str | None:
        """Return why a destination is closed, as far as its text shows; None for open or not known yet."""
        place = _place(host)
        if place is not None:
            return self._closed_place(client, place, port)
        if is_localhost(host):
            return self._closed_place(client, _place("127.0.0.1"), port)
        return None

    def judged(
        self,
        client: str | None,
        destination: tuple[str, int],
        places: Sequence[Place],
        listening: Listening = None,
    ) -> tuple[Sequence[Place], str]:
        """Return those addresses of a destination that are open to a client; where none is, the reason.

        `listening` is the address by which this client reached the proxy, where the proxy is asked itself.
        """
        if destination in self._trusted:
            return places, ""
        port = destination[1]
        reasons = [self._closed_peer(client, place.text, port, listening) for place in places]
        left = [place for place, reason in zip(places, reasons, strict=True) if reason is None]
        return left, next((reason for reason in reasons if reason is not None), "")

    def _closed_peer(self, client: str | None, ip: str, port: int, listening: Listening) -> str | None:
        place = _place(ip)
        # Another machine that came to this proxy through the proxy itself would pass for this machine.
        if (
            listening is not None
            and place is not None
            and port == listening[1]
            and (place == _place(listening[0]) or (_is_here(place) and not self._client_is_here(client)))
        ):
            return OWN
        return self._closed_place(client, place, port)

    def is_trusted(self, host: str, port: int) -> bool:
        """Return whether the operator set this destination."""
        return (host, port) in self._trusted

    def _closed_place(self, client: str | None, place: _Place | None, port: int) -> str | None:
        if place is None:
            return None
        if port in self._own_ports() and _is_here(place):
            return OWN
        if place.kind in _CLOSED_TO_OTHERS and not self._client_is_here(client):
            return CLOSED
        return None

    def _client_is_here(self, client: str | None) -> bool:
        place = _place(client) if client is not None else None
        return place is not None and self._is_client_here(place)

    def _is_client_here(self, place: _Place) -> bool:
        return _is_here(place) and not self.is_balancer(place.address)


def _is_here(place: _Place) -> bool:
    """Return whether an address is this machine's: loopback, or one that a socket can be bound to."""
    return place.kind in _HERE or _is_bindable(place.text, int(time.monotonic() // _REMEMBERED_S))


@lru_cache(maxsize=4096)
def _place(text: str) -> _Place | None:
    """Read an address; the same few hosts and clients stand in every request."""
    address = parse_address(text)
    return _Place(address, classify(address), str(address)) if address is not None else None


@lru_cache(maxsize=256)
def _is_bindable(text: str, _period: int) -> bool:
    family = socket.AF_INET6 if ":" in text else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((text, 0))
    except OSError:
        return False
    return True
