"""Workers follow the end of the log: each event once, however often it cannot be read."""

import asyncio
from dataclasses import dataclass, field

import pytest

from secondlook.core.event import Event, EventKind
from secondlook.ground.errors import LedgerError
from secondlook.proxy.event_follower import Follower


def _event(number: int) -> Event:
    return Event(kind=EventKind.ACTION, time=float(number), id=f"E{number}")


@dataclass
class Tail:
    """A log of which some looks fail."""

    events: list[Event] = field(default_factory=list)
    faults: list[Exception] = field(default_factory=list)
    begun: list[float] = field(default_factory=list)

    async def recent(self, since: float) -> tuple[list[Event], str]:
        self.begun.append(since)
        return [each for each in await self._read(0) if each.time >= since], str(len(self.events))

    async def after(self, cursor: str) -> tuple[list[Event], str]:
        return await self._read(int(cursor)), str(len(self.events))

    async def _read(self, start: int) -> list[Event]:
        if self.faults:
            raise self.faults.pop(0)
        await asyncio.sleep(0)
        return self.events[start:]

    def record(self, event: Event) -> None:
        self.events.append(event)


@pytest.fixture
def tail() -> Tail:
    return Tail([_event(1), _event(2)])


def _follow(tail: Tail, taken: list[str], every_s: float = 60.0) -> Follower:
    return Follower(tail, lambda: 2.0, lambda event: taken.append(event.id), every_s=every_s)


def test_each_event_is_handed_on_once(tail):
    taken: list[str] = []

    async def test() -> None:
        follower = _follow(tail, taken)
        await follower.look()
        await follower.look()
        tail.record(_event(3))
        await asyncio.gather(follower.look(), follower.look())

    asyncio.run(test())
    assert taken == ["E2", "E3"]
    assert tail.begun == [2.0]


def test_what_came_while_the_log_was_away_is_not_missed(tail, caplog):
    taken: list[str] = []
    tail.faults = [LedgerError("away"), LedgerError("away"), LedgerError("away")]

    async def test() -> None:
        follower = _follow(tail, taken)
        for _ in range(3):
            await follower.look()
        assert taken == []
        await follower.look()
        tail.faults = [LedgerError("away again")]
        tail.record(_event(3))
        await follower.look()
        await follower.look()

    asyncio.run(test())
    assert taken == ["E2", "E3"]
    assert [each.getMessage() for each in caplog.records] == [
        "the log cannot be read just now: away",
        "the log cannot be read just now: away again",
    ]


def test_a_fault_ends_nothing(tail):
    taken: list[str] = []
    tail.faults = [ZeroDivisionError()]

    async def test() -> None:
        follower = _follow(tail, taken, every_s=0.0)
        follower.start()
        while not taken:
            await asyncio.sleep(0)
        await follower.aclose()
        tail.record(_event(3))
        for _ in range(5):
            await asyncio.sleep(0)

    asyncio.run(test())
    assert taken == ["E2"]
