"""How much an event loop takes up in one turn, and whose.

asyncio asks which sockets have something and handles all of it before it asks again. Four hundred handshakes
that came at once are then one turn of half a second, in which nobody else is served. Here a turn that would
take long takes up a part, and the rest waits in the kernel, where it is found again:

```
sockets that are ready ─┬─ nobody's (listening, wakeups, our own queries) ──► all of them
                        ├─ client A's, new       ─┐
                        ├─ client A's, settled   ─┼─ one of each in turn, those served
                        └─ client B's, new …     ─┘  longest ago first ──► as many as there is time for
```

A client is an address (of IPv6: its /64); a connection to an origin counts as its client's. Who comes new
waits for nobody else's queue, and a connection that has been served for a while does not wait behind the same
client's new ones. While one client has the loop alone, turns may be longer: each costs something.

A full run of the garbage collector is a step too, of a tenth of a second where hundreds of connections have
come and gone. Where one is due soon, the first moment in which nobody wants anything is taken for it.
"""

import asyncio
import collections
import gc
import selectors
import socket
import time
from asyncio.trsock import TransportSocket
from collections.abc import Callable
from functools import partial
from itertools import chain, islice, zip_longest
from typing import Final, NamedTuple

from secondlook.core.url.address import counted_address


class TurnLimit(NamedTuple):
    """Seconds of processor time: a turn that is too long, and how much is taken up instead."""

    too_long_s: float
    part_s: float


ALONE: Final = TurnLimit(0.025, 0.010)  # one client has the loop
TOGETHER: Final = TurnLimit(0.010, 0.003)
LEAST: Final = 2  # sockets in a turn
_SETTLED: Final = 4  # turns of a socket in which others waited, until it is no longer new
_QUIET_S: Final = 0.05  # without anything to do, until the garbage is looked through
_GARBAGE: Final = 4  # collections of the middle generation; with ten Python does a full one wherever it is
_SMOOTHING: Final = 0.3  # weight of the last turn in what a socket costs

type _Ready = tuple[selectors.SelectorKey, int]
type _Queue = tuple[str, bool]  # a client, and whether these sockets of it are settled


class _Owned:
    """A socket that serves a client: whose, how often it had its turn while others waited, and when last."""

    __slots__ = ("address", "descriptor", "last", "turns")

    def __init__(self, descriptor: int, address: str, last: int) -> None:
        self.descriptor = descriptor
        self.address = address
        self.last = last
        self.turns = 0


class FairSelector(selectors.DefaultSelector):
    """A selector that gives what one turn has time for; `processor_s` is the time of the loop's thread."""

    def __init__(self, processor_s: Callable[[], float] = time.thread_time) -> None:
        super().__init__()
        self._processor_s = processor_s
        self._owned: dict[int, _Owned] = {}
        self._clients: collections.Counter[str] = collections.Counter()  # how many sockets each has
        self._served_last: dict[_Queue, int] = {}  # turn in which each that had to wait was served
        self._turn = 0
        self._begun = processor_s()
        self._given = 0
        self._cost_s = 0.0  # of a socket and all that follows from it

    def assign(self, descriptor: int, client: str) -> Callable[[], None]:
        """Count a socket as a client's; return what ends that, when the socket is closed."""
        self._forget(self._owned.get(descriptor))
        owned = self._owned[descriptor] = _Owned(descriptor, counted_address(client), self._turn)
        self._clients[owned.address] += 1
        return partial(self._forget, owned)

    def _forget(self, owned: _Owned | None) -> None:
        if owned is None or self._owned.get(owned.descriptor) is not owned:  # its number is another's already
            return
        del self._owned[owned.descriptor]
        self._clients[owned.address] -= 1
        if not self._clients[owned.address]:
            del self._clients[owned.address]

    def select(self, timeout: float | None = None) -> list[_Ready]:
        """Return the sockets of the next turn."""
        now = self._processor_s()
        if self._given:
            self._cost_s += _SMOOTHING * ((now - self._begun) / self._given - self._cost_s)
        self._begun = now
        ready = self._waited_for(timeout)
        if len(ready) > LEAST:
            too_long_s, part_s = ALONE if len(self._clients) < 2 else TOGETHER  # noqa: PLR2004
            if len(ready) * self._cost_s > too_long_s:
                ready = self._chosen(ready, max(int(part_s / self._cost_s), LEAST))
        self._given = len(ready)
        return ready

    def _waited_for(self, timeout: float | None) -> list[_Ready]:
        """Wait for sockets that are ready; nothing where the garbage was looked through instead."""
        if (timeout is not None and timeout <= _QUIET_S) or gc.get_count()[2] < _GARBAGE:
            return super().select(timeout)
        ready = super().select(_QUIET_S)
        if not ready:
            gc.collect()
            self._begun = self._processor_s()
        return ready

    def _chosen(self, ready: list[_Ready], most: int) -> list[_Ready]:
        """Choose nobody's sockets, and of the clients' so many as there is time for."""
        self._turn += 1
        chosen: list[_Ready] = []
        waiting: dict[_Queue, list[tuple[_Owned, _Ready]]] = {}
        for one in ready:
            owned = self._owned.get(one[0].fd)
            if owned is None:
                chosen.append(one)
            else:
                waiting.setdefault((owned.address, owned.turns >= _SETTLED), []).append((owned, one))
        order = sorted(waiting, key=lambda each: self._served_last.get(each, 0))
        queues = (sorted(waiting[each], key=_last)[:most] for each in order)
        rounds = chain.from_iterable(zip_longest(*queues))
        for owned, one in islice(filter(None, rounds), most):
            owned.turns += 1
            owned.last = self._turn
            chosen.append(one)
        served = order[:most]
        waited = {each: self._served_last.get(each, 0) for each in order}
        self._served_last = waited | dict.fromkeys(served, self._turn)
        return chosen


def _last(pair: tuple[_Owned, _Ready]) -> int:
    return pair[0].last


class FairLoop(asyncio.SelectorEventLoop):
    """An event loop that is fair to clients."""

    def __init__(self) -> None:
        self.fair = FairSelector()
        super().__init__(self.fair)


def assign(sock: socket.socket | TransportSocket | None, client: str | None) -> Callable[[], None]:
    """Count a socket as a client's, where the running loop is fair; return what ends that."""
    loop = asyncio.get_running_loop()
    if sock is None or client is None or not isinstance(loop, FairLoop):
        return _nothing
    return loop.fair.assign(sock.fileno(), client)


def _nothing() -> None:
    pass
