"""Coroutines that wait for a thread: many are answered with one wake-up of their event loop."""

import asyncio
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass


@dataclass(slots=True, eq=False)
class Slot[T]:
    """One value handed over, and who waits for it; `abandoned` when nobody does any more."""

    value: T
    loop: asyncio.AbstractEventLoop
    answer: asyncio.Future[None]
    abandoned: bool = False


class Waiting[T]:
    """A queue from event loops to one thread; the thread answers slots in groups."""

    def __init__(self) -> None:
        self._slots: deque[Slot[T]] = deque()

    def __len__(self) -> int:
        return len(self._slots)

    def put(self, value: T) -> Slot[T]:
        """Hand a value over; called on an event loop, whose task then awaits `answer`."""
        loop = asyncio.get_running_loop()
        slot = Slot(value, loop, loop.create_future())
        self._slots.append(slot)
        return slot

    def take(self, limit: int) -> list[Slot[T]]:
        """Take the slots that somebody still waits for, oldest first; called in the thread."""
        taken: list[Slot[T]] = []
        while self._slots and len(taken) < limit:
            slot = self._slots.popleft()
            if not slot.abandoned:
                taken.append(slot)
        return taken


def answer[T](slots: Iterable[Slot[T]], error: Exception | None = None) -> None:
    """Wake whoever waits, with an error or without; called in any thread."""
    by_loop: dict[asyncio.AbstractEventLoop, list[Slot[T]]] = {}
    for slot in slots:
        by_loop.setdefault(slot.loop, []).append(slot)
    for loop, group in by_loop.items():
        with suppress(RuntimeError):  # the loop is closed: nobody waits there any more
            loop.call_soon_threadsafe(_settle, group, error)


def _settle[T](slots: list[Slot[T]], error: Exception | None) -> None:
    for slot in slots:
        if slot.answer.done():
            continue
        if error is None:
            slot.answer.set_result(None)
        else:
            slot.answer.set_exception(error)
