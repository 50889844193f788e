"""Pauses of protection, each with its event."""

import sqlalchemy as sa

from secondlook.core.event import Event, EventKind
from secondlook.core.rules.rule import Pause
from secondlook.ground.ulid import make_id
from secondlook.ledger.engine.store import Store
from secondlook.ledger.log.recorder import Recorder
from secondlook.ledger.operator import rule_table


class Pauses:
    """Begins and ends pauses; each method blocks its thread for a commit."""

    def __init__(self, store: Store, recorder: Recorder) -> None:
        self._store = store
        self._recorder = recorder

    def add(self, minutes: float, *, client: str | None = None) -> Pause:
        """Switch protection off for a while, for everybody or one client."""
        now = self._store.clock.now()
        pause = Pause(id=make_id(now), client=client, created=now, until=now + minutes * 60)
        who = "everybody" if client is None else client
        length = f"{minutes:g} minute{'' if minutes == 1 else 's'}"

        def work(connection: sa.Connection) -> None:
            rule_table.put_pause(connection, pause)
            self._recorder.write(connection, [_event(now, client, f"protection off for {who} for {length}")])

        self._store.change_now(work)
        return pause

    def end(self, *, client: str | None = None, everybody: bool = False) -> int:
        """Switch protection on again (`everybody`: end every client's pause too); return how many ended."""
        now = self._store.clock.now()

        def work(connection: sa.Connection) -> int:
            ended = rule_table.end_pauses(connection, client, now, everybody=everybody)
            if ended:
                self._recorder.write(connection, [_event(now, client, "protection on again")])
            return ended

        return self._store.change_now(work)


def _event(now: float, client: str | None, detail: str) -> Event:
    return Event(id="", kind=EventKind.PAUSED, time=now, client=client, detail=detail)
