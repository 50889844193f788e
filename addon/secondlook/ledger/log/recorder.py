"""Events in: those that may be a moment late, and those that are committed with something else."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

import sqlalchemy as sa

from secondlook.core.event import Event, EventKind
from secondlook.core.verdict import Stage
from secondlook.ground.ulid import make_id
from secondlook.ledger.engine.store import Store
from secondlook.ledger.engine.writer import Amendment
from secondlook.ledger.log.append import Appender
from secondlook.ledger.log.counts import Counts
from secondlook.ledger.log.privacy import Discretion, Privacy


class Recorder:
    """Writes events (port `EventSink` of `agent`), at the privacy level of the settings."""

    def __init__(self, store: Store, discretion: Discretion, counts: Counts, appender: Appender) -> None:
        self._store = store
        self._writer = store.writer
        self._discretion = discretion
        self._counts = counts
        self._appender = appender
        self._log_allowed = store.options.log_allowed

    @property
    def dropped(self) -> int:
        """Events lost because memory for waiting ones was full."""
        return self._writer.dropped

    def record(self, event: Event) -> None:
        """Queue an event for writing; never blocks, never raises; drops are counted and reported."""
        counted_only = event.kind is EventKind.CHECK and not self._log_allowed
        kept = None if counted_only else self.kept(event)
        if event.rule is not None and event.stage == Stage.RULES:
            self._counts.count_hit(event.rule)
        if kept is None:
            self._counts.tally(
                event.kind,
                event.decision,
                event.stage,
                client=event.client,
                host=event.host,
                server=event.server,
                elapsed_ms=event.elapsed_ms,
                gateway=event.gateway,
                at=event.time,
            )
        else:
            self._writer.record(kept)

    def amend(self, event_id: str, *, detail: str | None, extra: Mapping[str, object] | None = None) -> None:
        """Fill in the detail of an event recorded earlier; never blocks, never raises."""
        if self._discretion.level >= Privacy.HOSTS:
            return
        self._writer.record(Amendment(event_id, detail, extra))

    def note(self, event: Event) -> None:
        """Commit an event that others wait for; blocks."""
        self._store.commit_now(lambda connection: self.write(connection, [event]))

    def kept(self, event: Event) -> Event | None:
        """Return what may be written of an event, with an id; None when nothing but its count may."""
        return self._discretion.event(event if event.id else replace(event, id=make_id(event.time)))

    def write(self, connection: sa.Connection, events: Iterable[Event]) -> None:
        """Write events inside a transaction of another part (hashes of the second look's always stay)."""
        kept = [found for event in events if (found := self.kept(event)) is not None]
        self._appender.write(connection, kept)
