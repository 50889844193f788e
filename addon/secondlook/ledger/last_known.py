"""The rules, pauses and confirmed set that were last read from the ledger, kept in the state folder.

A ledger in PostgreSQL may be away when a process starts: it begins with this copy, and turns to the ledger
itself as soon as that answers. One process of a family writes the copy (the keeper), as it reads; all may
begin with it. It is a SQLite file with the same tables; beside each topic stands of which database it is.
"""

import logging
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from itertools import batched
from pathlib import Path
from typing import Final

import sqlalchemy as sa

from secondlook.core.event import ConfirmedEntry
from secondlook.core.rules.rule import Pause, Rule
from secondlook.ledger.engine.codec import confirmed_row, rule_row
from secondlook.ledger.engine.database import Place, is_damage, make_engine
from secondlook.ledger.engine.tables import confirmed as confirmed_table
from secondlook.ledger.engine.tables import pauses as pause_table
from secondlook.ledger.engine.tables import rules as rule_table
from secondlook.ledger.operator.rule_table import read_pauses, read_rules
from secondlook.ledger.queue import confirmed

_LOG = logging.getLogger(__name__)
AGAIN_S: Final = 10.0  # after a write that failed
_CHUNK: Final = 500
_COPIED: Final = {"rules": rule_table, "pauses": pause_table, "confirmed": confirmed_table}

_copy: Final = sa.MetaData()
_kept: Final = sa.Table(
    "kept",
    _copy,
    sa.Column("topic", sa.Text, primary_key=True),
    sa.Column("ledger", sa.Text, nullable=False),
    sa.Column("columns", sa.Text, nullable=False),
)
for _table in _COPIED.values():
    _table.to_metadata(_copy)


@dataclass(frozen=True, slots=True)
class Known:
    """What was known of each topic."""

    rules: tuple[Rule, ...]
    pauses: tuple[Pause, ...]
    confirmed: tuple[ConfirmedEntry, ...]


class LastKnown:
    """The copy of one ledger; every method may be called from any thread, one at a time."""

    def __init__(self, path: Path, place: Place) -> None:
        self._path = path
        self._place = Place(sa.URL.create("sqlite+pysqlite", database=str(path)), path)
        url = place.url
        nobodys = sa.URL.create(
            "postgresql", host=url.host, port=url.port, database=url.database, query=url.query
        )
        self._ledger = nobodys.difference_update_query(["password"]).render_as_string()
        self._whole: set[str] = set()  # topics of which the file has all that this process read
        self._complained = False
        self._tried_at = -AGAIN_S

    def owed(self) -> list[str]:
        """Topics of which the file lacks what this process read, where it is time to try again."""
        if len(self._whole) == len(_COPIED) or time.monotonic() - self._tried_at < AGAIN_S:
            return []
        return [topic for topic in _COPIED if topic not in self._whole]

    def read(self) -> Known | None:
        """Return what was kept of this ledger; None where that is nothing, or cannot be read."""
        if not self._path.exists():
            return None
        engine = make_engine(self._place, readers=1)
        try:
            with engine.connect() as connection:
                known = {row.topic: row for row in connection.execute(sa.select(_kept))}
                if any(
                    topic not in known
                    or known[topic].ledger != self._ledger
                    or known[topic].columns != _columns(topic)
                    for topic in _COPIED
                ):
                    return None
                return Known(
                    read_rules(connection), read_pauses(connection), tuple(confirmed.everything(connection))
                )
        except (sa.exc.DBAPIError, ValueError) as error:
            _LOG.warning("what was last known of the ledger cannot be read from %s: %s", self._path, error)
            return None
        finally:
            engine.dispose()

    def keep_rules(self, rules: Collection[Rule]) -> None:
        """Keep all rules."""
        self._replace("rules", [rule_row(rule) for rule in rules])

    def keep_pauses(self, pauses: Collection[Pause]) -> None:
        """Keep all pauses."""
        self._replace(
            "pauses",
            [
                {"id": one.id, "client": one.client, "created": one.created, "until": one.until}
                for one in pauses
            ],
        )

    def keep_confirmed(
        self, everything: Mapping[bytes, ConfirmedEntry], changed: Iterable[bytes] | None
    ) -> None:
        """Keep the confirmed set, of which only `changed` identities are new or gone (None: any may be)."""
        if changed is None or "confirmed" not in self._whole:
            self._replace("confirmed", [_row(entry) for entry in everything.values()])
            return
        identities = list(changed)
        rows = [_row(everything[identity]) for identity in identities if identity in everything]

        def work(connection: sa.Connection) -> None:
            for part in batched(identities, _CHUNK):
                connection.execute(sa.delete(confirmed_table).where(confirmed_table.c.identity.in_(part)))
            if rows:
                connection.execute(sa.insert(confirmed_table), rows)

        self._write("confirmed", work)

    def _replace(self, topic: str, rows: list[dict[str, object]]) -> None:
        table = _COPIED[topic]

        def work(connection: sa.Connection) -> None:
            connection.execute(sa.delete(table))
            if rows:
                connection.execute(sa.insert(table), rows)

        self._write(topic, work)

    def _write(self, topic: str, work: Callable[[sa.Connection], None]) -> None:
        """Write in one transaction. Where it fails, what is there stays, and all is written the next time."""
        try:
            self._commit(topic, work)
        except (sa.exc.DBAPIError, OSError) as error:
            self._whole.discard(topic)
            if is_damage(error):
                self._path.unlink(missing_ok=True)
                self._whole.clear()
            self._tried_at = time.monotonic()
            if not self._complained:
                _LOG.warning("what is known of the ledger cannot be kept in %s: %s", self._path, error)
            self._complained = True
        else:
            self._whole.add(topic)
            self._complained = False

    def _commit(self, topic: str, work: Callable[[sa.Connection], None]) -> None:
        self._path.touch(mode=0o600)
        engine = make_engine(self._place, checkpoint=True)
        try:
            with engine.begin() as connection:
                self._prepare(connection)
                work(connection)
                connection.execute(sa.delete(_kept).where(_kept.c.topic == topic))
                connection.execute(
                    sa.insert(_kept).values(topic=topic, ledger=self._ledger, columns=_columns(topic))
                )
        finally:
            engine.dispose()

    def _prepare(self, connection: sa.Connection) -> None:
        """Make the tables; those of another database or another program give way."""
        _kept.create(connection, checkfirst=True)
        others = [
            row.topic
            for row in connection.execute(sa.select(_kept))
            if row.ledger != self._ledger or row.columns != _columns(row.topic)
        ]
        if others:
            for table in (*_COPIED.values(), _kept):
                connection.execute(sa.text(f"DROP TABLE IF EXISTS {table.name}"))
            self._whole.clear()
        _copy.create_all(connection)


def _row(entry: ConfirmedEntry) -> dict[str, object]:
    return {**confirmed_row(entry), "change": 0}


def _columns(topic: str) -> str:
    return ",".join(column.name for column in _COPIED[topic].columns) if topic in _COPIED else ""
