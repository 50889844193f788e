"""An event loop whose time is virtual: waiting costs nothing and is exact."""

import asyncio
import selectors
from collections.abc import Callable
from concurrent.futures import Executor

START = 1_900_000_000.0


class _Selector(selectors.SelectSelector):
    def __init__(self) -> None:
        super().__init__()
        self.virtual = 0.0

    def select(self, timeout=None):
        if timeout == 0:  # there are steps to take; whoever else wakes us can wait for them
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


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop that jumps to the next timer as soon as nothing is ready."""

    def __init__(self) -> None:
        self._virtual_selector = _Selector()
        super().__init__(self._virtual_selector)

    def time(self) -> float:
        return self._virtual_selector.virtual

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
