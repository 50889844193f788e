"""Records of files in quarantine; the files are `agent.actions.quarantine`'s."""

from collections.abc import Sequence

import sqlalchemy as sa

from secondlook.core.event import QuarantineRecord
from secondlook.ledger.engine.change import bump
from secondlook.ledger.engine.codec import quarantine_row, row_quarantine
from secondlook.ledger.engine.statements import upsert
from secondlook.ledger.engine.store import Store
from secondlook.ledger.engine.tables import quarantine


class QuarantineIndex:
    """Keeps and finds records (port `QuarantineIndex` of `agent`); `all` blocks its thread."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def keep(self, record: QuarantineRecord) -> None:
        """Insert or replace a record, committed before returning."""

        def work(connection: sa.Connection) -> None:
            values = quarantine_row(record)
            statement = upsert(connection, quarantine)
            connection.execute(
                statement.on_conflict_do_update(
                    index_elements=[quarantine.c.id],
                    set_={name: statement.excluded[name] for name in values if name != "id"},
                ),
                [values],
            )
            bump(connection, "quarantine")

        await self._store.commit(work)

    async def find(self, record_id: str) -> QuarantineRecord | None:
        """One record by its id."""

        def work(connection: sa.Connection) -> QuarantineRecord | None:
            query = sa.select(quarantine).where(quarantine.c.id == record_id)
            row = connection.execute(query).mappings().one_or_none()
            return None if row is None else row_quarantine(row)

        return await self._store.run(self._store.read, work)

    async def find_all(self, *, states: Sequence[str] | None = None) -> list[QuarantineRecord]:
        """Records, oldest first; `states` keeps only those."""
        return await self._store.run(self.all, states)

    def all(self, states: Sequence[str] | None = None) -> list[QuarantineRecord]:
        """As `find_all`, blocking."""

        def work(connection: sa.Connection) -> list[QuarantineRecord]:
            query = sa.select(quarantine).order_by(quarantine.c.moved_at, quarantine.c.id)
            if states is not None:
                query = query.where(quarantine.c.state.in_(states))
            return [row_quarantine(row) for row in connection.execute(query).mappings()]

        return self._store.read(work)
