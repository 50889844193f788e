"""An event loop whose time is virtual: waiting costs nothing and is exact."""

import asyncio
import math
import selectors
from collections.abc import Callable
from concurrent.futures import Executor
from contextvars import Context
from typing import Self, override

START = 1_900_000_000.0


class Poll(float):
    """Seconds that a loop sleeps between two looks at something; `idle` says that a look would find nothing new.

    In virtual time such looks are left out: the sleep ends when the first look is due that would find something.
    """

    idle: Callable[[], bool]

    def __new__(cls, seconds: float, idle: Callable[[], bool]) -> Self:
        poll = super().__new__(cls, seconds)
        poll.idle = idle
        return poll

    @override
    def __mul__(self, factor: float) -> "Poll":
        """Return a poll after as many times the seconds: what spreads its looks still looks for the same."""
        return Poll(float(self) * factor, self.idle)


class _Selector(selectors.SelectSelector):
    def __init__(self, rouse: Callable[[], bool]) -> None:
        super().__init__()
        self.virtual = 0.0
        self._rouse = rouse

    def select(self, timeout=None):
        if timeout == 0:  # there are steps to take; whoever else wakes us can wait for them
            return []
        if self._rouse():  # there is a timer more, which may be the next
            return []
        ready = super().select(0)
        if ready:
            return ready
        if timeout is None:
            # only a thread can still wake us; a test that waits for nothing fails here
            ready = super().select(10.0)
            if not ready:
                raise RuntimeError("the loop waits for nothing")
            return ready
        self.virtual += max(0.0, timeout)
        return []


def _end(asleep: asyncio.TimerHandle) -> None:
    if not asleep.cancelled():
        asleep._run()


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop that jumps to the next timer as soon as nothing is ready."""

    def __init__(self) -> None:
        self._virtual_selector = _Selector(self._rouse)
        self._sleeping: list[tuple[Poll, float, asyncio.TimerHandle]] = []  # since when, and how it ends
        super().__init__(self._virtual_selector)

    def time(self) -> float:
        return self._virtual_selector.virtual

    @override
    def call_later[*Ts](
        self, delay: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        if not isinstance(delay, Poll) or not delay.idle():
            return super().call_later(delay, callback, *args, context=context)
        asleep = asyncio.TimerHandle(math.inf, callback, args, self, context)
        self._sleeping.append((delay, self.time(), asleep))
        return asleep

    def _rouse(self) -> bool:
        """Whether somebody who sleeps would find something new now, and has the time of the next look as a timer."""
        roused, asleep = [], []
        for each in self._sleeping:
            (asleep if each[0].idle() else roused).append(each)
        for poll, since, timer in roused:
            looks = math.floor((self.time() - since) / poll) + 1
            self.call_at(since + looks * poll, _end, timer)
        if roused:
            self._sleeping = [each for each in asleep if not each[2].cancelled()]
        return bool(roused)

    def run_in_executor[*Ts, T](
        self, executor: Executor | None, func: Callable[[*Ts], T], *args: *Ts
    ) -> asyncio.Future[T]:
        """Threads take no time here: what would run in one runs at once."""
        future: asyncio.Future[T] = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - handed on to whoever awaits it
            future.set_exception(error)
        return future


class StillClock:
    """A clock at which it is always the same moment."""

    def monotonic(self) -> float:
        return START

    def elapsed(self) -> float:
        return START

    def now(self) -> float:
        return START


class FakeClock:
    """Wall and monotonic time of a virtual loop; `jump` moves the wall clock alone."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.offset = START

    def monotonic(self) -> float:
        return self._loop.time()

    def elapsed(self) -> float:
        return self._loop.time()

    def now(self) -> float:
        return self._loop.time() + self.offset

    def jump(self, seconds: float) -> None:
        self.offset += seconds
