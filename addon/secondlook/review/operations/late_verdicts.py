"""Late verdicts: what was let through and turned out bad, who got it, and whether the reader knows."""

from collections.abc import Mapping, Sequence
from typing import Final

from secondlook.core.event import Event, EventKind
from secondlook.core.url.address import is_loopback
from secondlook.ground.clock import Clock
from secondlook.ground.instant import rfc3339
from secondlook.ledger.ledger import EventFilter, Ledger
from secondlook.ledger.log.shape import event_json
from secondlook.review.operations.acknowledged import MOST_ACKNOWLEDGED, Acknowledged
from secondlook.review.program import Json

FOR_S: Final = 7 * 86_400
MOST: Final = 500
NAMED: Final = 2  # clients that the strip on top of every page names
HERE: Final = "this computer"
NO_NAMES: Final[Mapping[str, str]] = {}
_KINDS: Final = (EventKind.CONFIRMED.value, EventKind.LATE_VERDICT.value)


class LateVerdicts:
    """Reads and notes late verdicts of the last days."""

    def __init__(self, ledger: Ledger, acknowledged: Acknowledged, clock: Clock) -> None:
        self._ledger = ledger
        self._acknowledged = acknowledged
        self._clock = clock

    async def fresh(self) -> list[Json]:
        """Return what the reader has not noted: the newest of it, behind as much as can be noted.

        Each has `let_through` (who, when), `visited_at` and `seen`.
        """
        return await self._newest(noted=False)

    async def noted(self) -> list[Json]:
        """Return the newest of what the reader has noted."""
        return await self._newest(noted=True)

    async def _newest(self, *, noted: bool) -> list[Json]:
        wanted = EventFilter(kind=_KINDS, since=self._clock.now() - FOR_S)
        found: list[Json] = []
        after, more, looked_at = None, True, 0
        while more and len(found) < MOST and looked_at < MOST_ACKNOWLEDGED:
            page = await self._ledger.run(self._ledger.events.page, wanted, after=after, limit=MOST)
            events = [event for event in page.events if (event.id in self._acknowledged) is noted]
            shown = [await self._described(event) for event in events if event.identity]
            found += [each for each in shown if each["let_through"]]
            after, more, looked_at = page.cursor, page.more, looked_at + len(page.events)
        return found[:MOST]

    async def note(self, *event_ids: str) -> None:
        """Take note that the reader knows of some."""
        await self._ledger.run(self._acknowledged.add, *event_ids)

    async def note_all(self, newest: str) -> bool:
        """Take note of one and of all before it; False where there is no such one (any more)."""
        ids = [each["id"] for each in await self.fresh()]
        if newest not in ids:
            return False
        await self.note(*ids[ids.index(newest) :])
        return True

    async def _described(self, event: Event) -> Json:
        got: list[Json]
        kept = event.extra.get("let_through") if event.extra else None
        if isinstance(kept, list) and kept:
            got = [
                {"client": visit.get("client"), "user": visit.get("user"), "time": rfc3339(visit["time"])}
                for visit in kept
            ]
            unchecked = event.kind is EventKind.CONFIRMED
        else:
            visits = await self._ledger.history.visits(event.identity or b"")
            got = [{"client": each.client, "user": each.user, "time": rfc3339(each.time)} for each in visits]
            unchecked = bool(visits) and visits[0].kind == EventKind.FLAGGED
        return {
            **event_json(event),
            "let_through": got,
            "visited_at": got[0]["time"] if got else None,
            "unchecked": unchecked,
            "seen": event.id in self._acknowledged,
        }


def strip(fresh: Sequence[Json], names: Mapping[str, str] = NO_NAMES) -> Json | None:
    """Put in one line what the reader has not noted: how many, who got it, since when; None: nothing."""
    if not fresh:
        return None
    people = list(dict.fromkeys(named(got, names) for each in fresh for got in each["let_through"]))
    return {
        "count": len(fresh),
        "more": len(fresh) == MOST,
        "people": people[:NAMED],
        "further": max(len(people) - NAMED, 0),
        "since": min(each["visited_at"] for each in fresh),
        "newest": fresh[0]["id"],
        "only": fresh[0] if len(fresh) == 1 else None,
    }


def named(got: Json, names: Mapping[str, str] = NO_NAMES) -> str:
    """Name who was let through, as an operator knows them; `names` is what they call clients and users."""
    who = str(got.get("user") or got.get("client") or "somebody")
    return names.get(who) or (HERE if is_loopback(who) else who)
