"""How many clients one worker serves, and who gives way where there are too many.

A descriptor is needed for each client, each origin, each held body and each write to the ledger; where they
run out, nothing works for anybody. So connections are counted, by address (of IPv6: its /64) and in all,
and a reserve stays for what is not a connection.

One too many takes the place of the oldest that keeps nobody waiting (no request in progress, no tunnel), of
the same address where that has its share, else of the address that has most. Refusing new ones instead would
let a client's own idle connections lock it out, and an idle one costs a browser nothing: it opens another.
Only where all are busy is the new one refused.
"""

import collections
import resource
import time
from collections.abc import Callable
from functools import partial
from typing import Final, Protocol

from secondlook.core.url.address import counted_address

RESERVE: Final = 256  # descriptors for ledger, lists, spool, queries to servers
_PER_CLIENT: Final = 3  # itself, and the origins that it has open at a time
_COMPLAIN_EVERY_S: Final = 60.0
_LOOKED_AT: Final = 64  # of one address, to find one that is idle


class Counted(Protocol):
    """A connection as it is counted."""

    def is_idle(self) -> bool:
        """Whether nobody waits for anything on it."""

    def end(self) -> None:
        """Close it now."""


def most_clients() -> int:
    """Return how many clients the process's descriptors suffice for."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max((soft - min(RESERVE, soft // 4)) // _PER_CLIENT, 1)


def most_origins(clients: int) -> int:
    """Return how many connections to origins are left beside the clients' and the reserve."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(soft - min(RESERVE, soft // 4) - clients, 1)


class Crowd:
    """The connections of one worker; `most` in all and `most_of_one` of one address.

    `changed` is called at every change with how many there are.
    """

    def __init__(self, most: int, most_of_one: int, changed: Callable[[int], None] | None = None) -> None:
        self._changed = changed
        self._most = most
        self._most_of_one = most_of_one
        self._of: dict[str, collections.OrderedDict[Counted, None]] = {}
        self._all = 0

    def __len__(self) -> int:
        return self._all

    def admits(self, host: str, *, for_many: bool = False) -> bool:
        """Return whether one more may come from here, at the cost of an idle one where there are too many.

        `for_many`: the host is a load balancer, and stands for its clients.
        """
        address = counted_address(host)
        if not for_many and len(self._of.get(address, ())) >= self._most_of_one:
            return self._one_gives_way(address)
        return self._all < self._most or self._one_gives_way(
            max(self._of, key=lambda each: len(self._of[each]))
        )

    def add(self, connection: Counted, host: str) -> Callable[[], None]:
        """Count one in; return what counts it out."""
        address = counted_address(host)
        self._of.setdefault(address, collections.OrderedDict())[connection] = None
        self._change(1)
        return partial(self._count_out, address, connection)

    def _count_out(self, address: str, connection: Counted) -> None:
        of_it = self._of.get(address)
        if of_it is None or connection not in of_it:  # it gave way, and has gone only now
            return
        del of_it[connection]
        if not of_it:
            del self._of[address]
        self._change(-1)

    def _change(self, by: int) -> None:
        self._all += by
        if self._changed is not None:
            self._changed(self._all)

    def _one_gives_way(self, address: str) -> bool:
        """End the oldest idle one; those found busy go to the end, so that looking costs little each time.

        It counts no more: it takes a moment to go, and would make room for all who come meanwhile.
        """
        among = self._of[address]
        for _ in range(min(_LOOKED_AT, len(among))):
            connection = next(iter(among))
            among.move_to_end(connection)
            if connection.is_idle():
                connection.end()
                self._count_out(address, connection)
                return True
        return False


class Complaint:
    """Logs something at most once a minute, with how often it happened since."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._written_at = -_COMPLAIN_EVERY_S
        self._since = 0

    def __call__(self, text: str, now: float | None = None) -> None:
        """Log it, or count it."""
        now = time.monotonic() if now is None else now
        self._since += 1
        if now - self._written_at >= _COMPLAIN_EVERY_S:
            self._write(f"{text} ({self._since} since the last such line)" if self._since > 1 else text)
            self._written_at, self._since = now, 0
