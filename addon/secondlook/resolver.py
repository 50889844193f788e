"""Names to addresses by the system's own resolver, without one name's silence stopping another's answer.

Theory. Only `getaddrinfo` gives what every other program on the machine gets (hosts file, mDNS, search
domains, a VPN's own servers), and it blocks: where DNS never answers, a thread is held for as long as the
system tries, 10 to 30 s. So:

1. Each lookup has a thread of its own, which is started for it and keeps nothing from ending.
2. Who asks for a name that is being looked up waits for that lookup.
3. Nobody may hold more lookups than are left free: one asker gets half of them, the next half of the rest,
   and whoever comes still finds one. What is above that waits its turn, asker by asker.
4. An answer is remembered for some seconds; a failure for as long as it took to find out.

Nobody waits longer than `ANSWER_S`, whatever the system does.
"""

import asyncio
import collections
import contextlib
import ipaddress
import socket
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from lru import LRU

from secondlook.core.url.address import parse_address

ANSWER_S: Final = 20.0  # browsers give up about then
LOOKUPS: Final = 256  # at once; a thread that waits takes some 30 kB
REMEMBERED_S: Final = 10.0
_REMEMBERED: Final = 4096  # names
_LOCAL_NAMES: Final = frozenset({"localhost", "ip6-localhost", "ip6-loopback"})


class Place(NamedTuple):
    """One address of a host: its family, and its text as a socket takes it (with the zone, if any)."""

    family: int
    text: str
    scope: int = 0

    def socket_address(self, port: int) -> tuple[str, int] | tuple[str, int, int, int]:
        """Return what `connect` takes."""
        if self.family == socket.AF_INET6:
            return self.text.partition("%")[0], port, 0, self.scope
        return self.text, port


type Found = tuple[Place, ...] | OSError


def look_up(host: str) -> Found:
    """Ask the system for every address of a host; blocks."""
    no_name = socket.gaierror(socket.EAI_NONAME, f"{host[:100]!r} is no name")
    if "\0" in host:  # the system reads no further: it would not be the name that was judged
        return no_name
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except UnicodeError:
        return no_name
    except OSError as error:
        return error
    return tuple(dict.fromkeys(_place(family, address) for family, *_, address in found))


class Resolver:
    """Looks names up; `system` and `monotonic` are for tests. For one event loop."""

    def __init__(
        self,
        *,
        answer_s: float = ANSWER_S,
        lookups: int = LOOKUPS,
        system: Callable[[str], Found] = look_up,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._answer_s = answer_s
        self._system = system
        self._free = lookups
        self._monotonic = monotonic
        self._held: collections.Counter[str] = collections.Counter()
        self._running: dict[str, asyncio.Future[Found]] = {}
        self._queues: dict[str, collections.deque[str]] = {}  # names, by who asks; the longest unserved first
        self._known: LRU[str, tuple[float, Found]] = LRU(_REMEMBERED)

    async def places(self, host: str, *, asker: str = "") -> tuple[Place, ...]:
        """Return every address of a host, best first; raises OSError (gaierror) where there is none."""
        literal = _literal(host)
        if literal is not None:
            return (literal,)
        name = host.lower()
        known = self._known.get(name)
        if known is not None and self._monotonic() < known[0]:
            return _given(known[1])
        lookup = self._running.get(name)
        if lookup is None:
            lookup = self._running[name] = asyncio.get_running_loop().create_future()
            self._queues.setdefault(asker, collections.deque()).append(name)
            self._go_on()
        done, _ = await asyncio.wait((lookup,), timeout=self._answer_s)
        if not done:
            raise socket.gaierror(socket.EAI_AGAIN, f"no answer within {self._answer_s:g} s")
        return _given(lookup.result())

    def _go_on(self) -> None:
        """Start what may start, asker by asker."""
        waiting = True
        while waiting:
            waiting = False
            for asker in list(self._queues):
                if self._held[asker] >= self._free:
                    continue
                queue = self._queues.pop(asker)
                name = queue.popleft()
                if queue:
                    self._queues[asker] = queue  # behind the others
                    waiting = True
                self._start(asker, name)

    def _start(self, asker: str, name: str) -> None:
        self._free -= 1
        self._held[asker] += 1
        loop, begun = asyncio.get_running_loop(), self._monotonic()

        def finish(found: Found) -> None:
            self._free += 1
            self._held[asker] -= 1
            if not self._held[asker]:
                del self._held[asker]
            now = self._monotonic()
            held_s = REMEMBERED_S if isinstance(found, tuple) else min(now - begun, REMEMBERED_S)
            self._known[name] = now + held_s, found
            self._running.pop(name).set_result(found)
            self._go_on()

        def work() -> None:
            found = self._system(name)
            with contextlib.suppress(RuntimeError):  # the loop has ended: nobody waits
                loop.call_soon_threadsafe(finish, found)

        try:
            threading.Thread(target=work, name="name lookup", daemon=True).start()
        except RuntimeError as error:  # no more threads
            loop.call_soon(finish, socket.gaierror(socket.EAI_AGAIN, str(error)))


def is_localhost(host: str) -> bool:
    """Return whether a name means this machine everywhere (RFC 6761)."""
    name = host.rstrip(".").lower()
    return name in _LOCAL_NAMES or name.endswith(".localhost")


def is_own_name(host: str) -> bool:
    """Return whether a host names this machine for certain: an address, or a name no stranger can own."""
    own = socket.gethostname().lower()
    return (
        is_localhost(host)
        or host.rstrip(".").lower() in {own, f"{own}.local"}
        or parse_address(host) is not None
    )


def _given(found: Found) -> tuple[Place, ...]:
    if isinstance(found, tuple):
        return found
    raise type(found)(*found.args)  # each its own: a traceback is written into what is raised


def _place(family: int, address: Sequence[object]) -> Place:
    scope = address[3] if family == socket.AF_INET6 else 0
    assert isinstance(scope, int)
    return Place(family, str(address[0]), scope)


def _literal(host: str) -> Place | None:
    """Read an address in its usual notation; every other is the system's to read."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    if address.version == 4:  # noqa: PLR2004
        return Place(socket.AF_INET, str(address))
    return Place(socket.AF_INET6, str(address)) if address.scope_id is None else None
