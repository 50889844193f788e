"""Secrets that all proxies of one ledger have alike, so that what one has signed the others accept.

A key is made once: whoever comes first brings its own, all others take that.
"""

import sqlalchemy as sa

from secondlook.ledger.engine.statements import upsert
from secondlook.ledger.engine.store import Store
from secondlook.ledger.engine.tables import shared_keys


class SharedKeys:
    """The keys in the ledger."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def get(self, name: str, own: bytes) -> bytes:
        """Return the key of this name, which is `own` where there was none yet; blocks. LedgerError."""
        now = self._store.clock.now()

        def work(connection: sa.Connection) -> bytes:
            fresh = upsert(connection, shared_keys).on_conflict_do_nothing(
                index_elements=[shared_keys.c.name]
            )
            connection.execute(fresh, [{"name": name, "value": own, "made": now}])
            query = sa.select(shared_keys.c.value).where(shared_keys.c.name == name)
            return bytes(connection.execute(query).scalar_one())

        return self._store.commit_now(work)
