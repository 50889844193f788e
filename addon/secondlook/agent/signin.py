"""Refused passwords as events: who tries them is seen in the log, at most once a minute of each client.

The first is reported at once and begins a minute; what comes within it is reported, counted, at its end.
Of an IPv6 client its /64 counts. An event names the client alone: what was typed as a name may be a password.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from secondlook.core.event import Event, EventKind
from secondlook.core.url.address import counted_address
from secondlook.ground.clock import Clock
from secondlook.ground.ulid import make_id

SIGN_IN: Final = "sign_in"  # the stage of the event
QUIET_S: Final = 60.0
MOST_CLIENTS: Final = 1024  # reported apart; what others try is reported together
_OTHERS: Final = ""


class RefusedPasswords:
    """Counts the refused passwords of one door, such as `the proxy`; used on the event loop."""

    def __init__(self, record: Callable[[Event], object], clock: Clock, door: str) -> None:
        self._record = record
        self._clock = clock
        self._door = door
        self._unrecorded: dict[str, tuple[str, int]] = {}  # by what is counted: a client, and how often since

    def note(self, client: str) -> None:
        """Count one of a client's."""
        key = counted_address(client)
        if key not in self._unrecorded and len(self._unrecorded) >= MOST_CLIENTS:
            key = client = _OTHERS
        first, count = self._unrecorded.get(key, (client, -1))
        self._unrecorded[key] = first, count + 1
        if count < 0:
            self._write(client, 1)
            asyncio.get_running_loop().call_later(QUIET_S, self._end_minute, key)

    def _end_minute(self, key: str) -> None:
        client, count = self._unrecorded.pop(key)
        if count:
            self._unrecorded[key] = client, 0
            self._write(client, count)
            asyncio.get_running_loop().call_later(QUIET_S, self._end_minute, key)

    def _write(self, client: str, count: int) -> None:
        now = self._clock.now()
        what = "a password was refused" if count == 1 else f"{count} passwords were refused in a minute"
        self._record(
            Event(
                id=make_id(now),
                kind=EventKind.ERROR,
                time=now,
                client=client or None,
                stage=SIGN_IN,
                attempts=count,
                detail=f"{what} at {self._door}{'' if client else ' from many other addresses'}",
            )
        )
