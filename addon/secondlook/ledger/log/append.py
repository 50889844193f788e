"""Writing events: rows, hour marks, counts, hits of rules — in one transaction."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import sqlalchemy as sa

from secondlook.core.event import Event
from secondlook.ground.json_text import read_json
from secondlook.ledger.engine.codec import EVENT_COLUMNS, clean, event_row, event_values, json_text
from secondlook.ledger.engine.statements import Insert, Prepared, raw, upsert
from secondlook.ledger.engine.tables import events, marks, rules
from secondlook.ledger.engine.writer import Amendment
from secondlook.ledger.log.counting import HOUR_S, Admission, Counted, add_counts, counted

_SQLITE_INSERT: Final = (
    f"INSERT INTO events ({', '.join(f'"{name}"' for name in EVENT_COLUMNS)}) "  # noqa: S608  (names of ours)
    f"VALUES ({', '.join('?' * len(EVENT_COLUMNS))}) ON CONFLICT (id) DO NOTHING"
)


def insert_events(connection: sa.Connection, batch: Sequence[Event], proxy: str | None = None) -> set[str]:
    """Insert events that are not there yet, of the proxy of this name; return the ids of those inserted."""
    if not batch:
        return set()
    if connection.dialect.name == "sqlite":
        return _insert_sqlite(connection, batch, proxy)
    return _insert_postgres(connection, [event_row(event, proxy) for event in batch])


def _insert_sqlite(connection: sa.Connection, batch: Sequence[Event], proxy: str | None) -> set[str]:
    database = raw(connection)
    top = database.execute("SELECT seq FROM sqlite_sequence WHERE name = 'events'").fetchone()
    last = 0 if top is None else top[0]
    database.executemany(_SQLITE_INSERT, [event_values(event, proxy) for event in batch])
    seqs = {
        row_id: seq for seq, row_id in database.execute("SELECT seq, id FROM events WHERE seq > ?", (last,))
    }
    _mark(connection, [(event.time, seqs[event.id]) for event in batch if event.id in seqs])
    return set(seqs)


def _insert_postgres(connection: sa.Connection, rows: list[dict[str, Any]]) -> set[str]:
    fresh = upsert(connection, events).on_conflict_do_nothing(index_elements=[events.c.id])
    statement = fresh.returning(events.c.seq, events.c.id, events.c.time)
    found = connection.execute(statement, rows).all()
    _mark(connection, [(time, seq) for seq, _, time in found])
    return {row_id for _, row_id, _ in found}


def _keep_widest(statement: Insert) -> sa.Executable:
    # max()/min() of two values have a different name in each engine: least/greatest in PostgreSQL.
    new, old = statement.excluded, marks.c
    return statement.on_conflict_do_update(
        index_elements=[marks.c.hour],
        set_={
            "first_seq": sa.case((new.first_seq < old.first_seq, new.first_seq), else_=old.first_seq),
            "last_seq": sa.case((new.last_seq > old.last_seq, new.last_seq), else_=old.last_seq),
        },
    )


_PUT_MARKS: Final = Prepared(marks, ("hour", "first_seq", "last_seq"), _keep_widest)


def _mark(connection: sa.Connection, times: Iterable[tuple[float, int]]) -> None:
    """Note which hours the new rows belong to."""
    hours: dict[int, tuple[int, int]] = {}
    for time, seq in times:
        hour = int(time // HOUR_S)
        low, high = hours.get(hour, (seq, seq))
        hours[hour] = (min(low, seq), max(high, seq))
    _PUT_MARKS.run(
        connection,
        [{"hour": hour, "first_seq": low, "last_seq": high} for hour, (low, high) in sorted(hours.items())],
    )


def add_hits(connection: sa.Connection, hits: Counter[str]) -> None:
    """Add to the hit counters of rules; a rule that is gone is passed over."""
    for rule_id, count in sorted(hits.items()):
        connection.execute(sa.update(rules).where(rules.c.id == rule_id).values(hits=rules.c.hits + count))


def amend(
    connection: sa.Connection, event_id: str, detail: str | None, extra: Mapping[str, object] | None
) -> None:
    """Fill in detail and further explanation of an event; one that is gone is passed over."""
    present = connection.execute(sa.select(events.c.extra).where(events.c.id == event_id)).one_or_none()
    if present is None:
        return
    values: dict[str, Any] = {"detail": clean(detail)}
    if extra:
        before = {} if present.extra is None else read_json(present.extra)
        values["extra"] = json_text(before | dict(extra))
    connection.execute(sa.update(events).where(events.c.id == event_id).values(values))


class Appender:
    """Writes events and what they count towards, for one writer thread.

    `report_counted` hears how many events of a kind were written, once that is certain; `proxy` is the name
    of the one whose events they are. What flags count towards goes to `count_later`, once it is certain.
    """

    def __init__(self, report_counted: Callable[[str, int], None] | None, proxy: str | None = None) -> None:
        self._report_counted = report_counted
        self._proxy = proxy
        self.admission = Admission()
        self.count_later: Callable[[Counter[Counted]], None] = lambda _: None
        # of the present transaction
        self._counted: Counter[Counted] = Counter()
        self._uncounted: Counter[Counted] = Counter()

    def write(self, connection: sa.Connection, batch: Sequence[Event | Amendment]) -> None:
        """Write events and what is to be added to some, inside a transaction."""
        once = {one.id: one for one in batch if isinstance(one, Event)}
        counts, _ = self._insert(connection, once)
        add_counts(connection, counts, self.admission)
        self._counted.update(counts)
        for one in batch:
            if isinstance(one, Amendment):
                amend(connection, one.event_id, one.detail, one.extra)

    def insert(self, connection: sa.Connection, once: Mapping[str, Event]) -> set[str]:
        """Insert the events of flags, by id; return the ids of those that are new.

        Somebody waits for them: a quarter of the pages that a flag changes are counts, which can be late.
        """
        counts, fresh = self._insert(connection, once)
        self._uncounted.update(counts)
        return fresh

    def _insert(
        self, connection: sa.Connection, once: Mapping[str, Event]
    ) -> tuple[Counter[Counted], set[str]]:
        fresh = insert_events(connection, list(once.values()), self._proxy)
        return Counter(counted(once[event_id]) for event_id in fresh), fresh

    def ended(self, committed: bool) -> None:
        """Report what a transaction wrote, once it is certain: one that failed is tried again in parts."""
        counts, self._counted = self._counted, Counter()
        later, self._uncounted = self._uncounted, Counter()
        if not committed:
            return
        if later:
            self.count_later(later)
        if self._report_counted is not None:
            for one, count in (counts + later).items():
                self._report_counted(one.kind, count)
