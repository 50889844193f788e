"""Turns at something of which there is little: by client in turn, the smallest piece of work of each first.

One client never has the last place: who comes new waits for nobody else's queue.
"""

import asyncio
import contextlib
import heapq
import itertools
from collections import Counter
from collections.abc import AsyncIterator

type _Waiting = tuple[int, int, asyncio.Future[None]]


class Turns:
    """Places for `at_once` pieces of work."""

    def __init__(self, at_once: int) -> None:
        self._free = at_once
        self._each = max(1, at_once - 1)  # for one client
        self._held: Counter[str | None] = Counter()
        self._waiting: dict[str | None, list[_Waiting]] = {}  # the client whose turn is next first
        self._number = itertools.count()

    @contextlib.asynccontextmanager
    async def turn(self, client: str | None, size: int) -> AsyncIterator[None]:
        """Have a place for a piece of work of so many bytes."""
        await self._take(client, size)
        try:
            yield
        finally:
            self._give(client)

    async def _take(self, client: str | None, size: int) -> None:
        if self._may(client) and client not in self._waiting:
            self._begin(client)
            return
        future = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting.setdefault(client, []), (size, next(self._number), future))
        try:
            await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled():
                self._give(client)
            raise

    def _may(self, client: str | None) -> bool:
        return self._free > 0 and self._held[client] < self._each

    def _begin(self, client: str | None) -> None:
        self._free -= 1
        self._held[client] += 1

    def _give(self, client: str | None) -> None:
        self._free += 1
        self._held[client] -= 1
        if not self._held[client]:
            del self._held[client]
        for next_client in list(self._waiting):
            if self._may(next_client):
                self._wake(next_client)

    def _wake(self, client: str | None) -> None:
        """Give a client the turn of its smallest, and put it behind the others."""
        queue = self._waiting.pop(client)
        while queue:
            _, _, future = heapq.heappop(queue)
            if not future.done():
                self._begin(client)
                future.set_result(None)
                break
        if queue:
            self._waiting[client] = queue
