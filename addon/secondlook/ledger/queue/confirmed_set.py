"""The confirmed set: put in force with the end of the queue entries it decides, renewed, withdrawn."""

from collections.abc import Sequence

import sqlalchemy as sa

from secondlook.core.event import ConfirmedEntry, Event
from secondlook.ledger.engine.store import Store
from secondlook.ledger.log.privacy import Discretion
from secondlook.ledger.log.recorder import Recorder
from secondlook.ledger.queue import confirmed, flagged


class ConfirmedSet:
    """Changes the confirmed set (port `ConfirmedSet` of `agent`); `Ledger.snapshots` holds it."""

    def __init__(self, store: Store, discretion: Discretion, recorder: Recorder) -> None:
        self._store = store
        self._discretion = discretion
        self._recorder = recorder

    async def add_many(self, findings: Sequence[tuple[ConfirmedEntry, Event | None, str | None]]) -> None:
        """Put subjects into the set and close their queue entries, in one transaction.

        Each is (entry, event, queue id). The event is written when the subject was not confirmed yet or an
        open queue entry ended. Without an event the subject is only put or renewed, and no other queue entry
        than the named one ends.
        """

        def work(connection: sa.Connection) -> None:
            fresh = confirmed.put(connection, [self._discretion.confirmed(entry) for entry, _, _ in findings])
            by_id = [queue_id for _, _, queue_id in findings if queue_id is not None]
            ended = flagged.remove(connection, by_id)
            closed = flagged.remove_identities(
                connection, [entry.identity for entry, event, _ in findings if event is not None]
            )
            fresh_events = [
                event
                for entry, event, queue_id in findings
                if event is not None
                and (entry.identity in fresh or entry.identity in closed or queue_id in ended)
            ]
            self._recorder.write(connection, fresh_events)

        await self._store.change(work)

    async def add_late(self, findings: Sequence[tuple[ConfirmedEntry, Event | None]]) -> None:
        """Put subjects into the set that are not in it, and write the events, in one transaction.

        Whether a subject was known already is no matter: that its visit was not reported is known otherwise
        (`AllowedHistory.reported`). What is queued of these subjects is closed with their events.
        """

        def work(connection: sa.Connection) -> None:
            confirmed.put_missing(connection, [self._discretion.confirmed(entry) for entry, _ in findings])
            _ = flagged.remove_identities(
                connection, [entry.identity for entry, event in findings if event is not None]
            )
            self._recorder.write(connection, [event for _, event in findings if event is not None])

        await self._store.change(work)

    async def withdraw(self, identity: bytes, event: Event) -> None:
        """Take a subject out of the confirmed set; without effect (and event) when it is not in it."""

        def work(connection: sa.Connection) -> None:
            if confirmed.withdraw(connection, identity, event.time):
                self._recorder.write(connection, [event])

        await self._store.change(work)

    async def extend(self, identities: Sequence[bytes], expires_at: float) -> None:
        """Keep confirmed subjects until they are asked again at `expires_at`."""
        await self._store.change(lambda connection: confirmed.extend(connection, identities, expires_at))

    async def due(self, now: float, *, limit: int, everything: bool = False) -> list[ConfirmedEntry]:
        """Confirmed subjects whose expiry has come (`everything`: all, for a new generation)."""
        return await self._store.run(
            self._store.read,
            lambda connection: confirmed.due(connection, now, limit=limit, everything=everything),
        )
