"""Reading the event log: filtered pages, and everything in bounded memory.

A page walks the log in the order of writing, newest or oldest first, in windows of `seq`, so that no
single statement runs long. What narrows the walk is chosen by counting a little: each filter
that an index serves, and each searched word, is asked how many rows it has (up to a bound), and the
rarest leads; the others are conditions on the rows it finds. A page that is not full after
`budget_s` is returned as it is, with the cursor where the walk stopped: a reader asks on.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import sqlalchemy as sa

from secondlook.core.event import Event
from secondlook.ledger.engine.codec import row_event
from secondlook.ledger.engine.tables import events, marks
from secondlook.ledger.log import search
from secondlook.ledger.log.counting import HOUR_S
from secondlook.ledger.log.filter import (
    EventFilter,
    column_in,
    excluded,
    indexed,
    led_by,
    names_of,
    spellings,
    unindexed,
    word_condition,
    words,
)
from secondlook.ledger.log.tail import LogTail, position

PAGE_BUDGET_S: Final = 0.6
PAGE_LIMIT: Final = 5_000
_WINDOW: Final = 100_000
_INDEX_WINDOW: Final = 400_000
_COUNTED: Final = 4_000
_FIRST_CANDIDATES: Final = 256
_MOST_CANDIDATES: Final = 8_192


@dataclass(frozen=True, slots=True)
class Page:
    """Some events, and the cursor to go on from; `more` is False at the end of the log."""

    events: tuple[Event, ...]
    cursor: str
    more: bool


@dataclass(frozen=True, slots=True)
class _Plan:
    """A filter made ready: conditions on rows, the one that leads, bounds of `seq`."""

    leading: sa.ColumnElement[bool] | None
    conditions: tuple[sa.ColumnElement[bool], ...]
    word: str | None
    low: int
    high: int


class LogReader:
    """Reads pages with connections of an engine; every method may be called from any thread."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._sqlite = engine.dialect.name == "sqlite"
        self._tail = LogTail(engine)

    def page(
        self,
        wanted: EventFilter,
        *,
        after: str | None,
        limit: int,
        newest_first: bool,
        budget_s: float = PAGE_BUDGET_S,
        upto: str | None = None,
    ) -> Page:
        """One page; `after` is a cursor or the id of the last event seen, `upto` a cursor of the tail."""
        limit = max(1, min(limit, PAGE_LIMIT))
        give_up_at = time.monotonic() + budget_s
        with self._engine.connect() as connection:
            plan = self._plan(connection, wanted, after, newest_first=newest_first)
            if upto is not None:
                not_after = self._tail.not_after(connection, upto)
                plan = replace(plan, conditions=(*plan.conditions, not_after))
            found: list[Any] = []
            at, more = (plan.high, False) if newest_first else (plan.low, False)
            stretches = self._stretches(connection, plan, newest_first=newest_first)
            while stretches and not more and len(found) < limit:
                rows, at, more = self._walk(
                    connection, stretches.pop(0), limit - len(found), give_up_at, newest_first=newest_first
                )
                found.extend(rows)
        more = more or bool(stretches)
        if len(found) >= limit:
            found = found[:limit]
            last = found[-1]["seq"]
            more = last > plan.low if newest_first else last < plan.high
            at = last - 1 if newest_first else last + 1
        # The cursor names the last row that was looked at.
        cursor = f"s{at + 1 if newest_first else at - 1}"
        return Page(tuple(row_event(row) for row in found), cursor, more)

    def _stretches(self, connection: sa.Connection, plan: _Plan, *, newest_first: bool) -> list[_Plan]:
        """Part a walk that a word leads: the newest events are not in the search index yet."""
        if plan.word is None:
            parts = [plan]
        else:
            upto = search.indexed_upto(connection)
            parts = [
                replace(plan, high=min(plan.high, upto)),
                replace(plan, low=max(plan.low, upto + 1), word=None),
            ]
        kept = [part for part in parts if part.low <= part.high]
        return kept[::-1] if newest_first else kept

    def _walk(
        self, connection: sa.Connection, plan: _Plan, limit: int, give_up_at: float, *, newest_first: bool
    ) -> tuple[list[Any], int, bool]:
        """Matching rows of one stretch; where to go on; whether there is more of it."""
        found: list[Any] = []
        at, more = plan.high if newest_first else plan.low, True
        window = _INDEX_WINDOW if plan.leading is not None else _WINDOW
        candidates = _FIRST_CANDIDATES
        while more and len(found) < limit:
            if plan.word is not None:
                rows, at, more = self._by_word(connection, plan, at, candidates, newest_first=newest_first)
                candidates = min(candidates * 2, _MOST_CANDIDATES)
            else:
                rows, at, more = self._by_window(
                    connection, plan, at, window, limit - len(found), newest_first=newest_first
                )
            found.extend(rows)
            if time.monotonic() > give_up_at:
                break
        return found, at, more

    def _by_window(
        self, connection: sa.Connection, plan: _Plan, at: int, window: int, limit: int, *, newest_first: bool
    ) -> tuple[list[Any], int, bool]:
        """Matching rows of the next window; where to go on; whether there is more."""
        if newest_first:
            low, high = max(plan.low, at - window + 1), at
            order = events.c.seq.desc()
        else:
            low, high = at, min(plan.high, at + window - 1)
            order = events.c.seq.asc()
        query = sa.select(events).where(events.c.seq.between(low, high), *plan.conditions)
        if plan.leading is not None:
            query = query.where(plan.leading)
        rows = list(connection.execute(query.order_by(order).limit(limit)).mappings())
        if len(rows) == limit:
            last = rows[-1]["seq"]
            if newest_first:
                return rows, last - 1, last > plan.low
            return rows, last + 1, last < plan.high
        if newest_first:
            return rows, low - 1, low > plan.low
        return rows, high + 1, high < plan.high

    def _by_word(
        self, connection: sa.Connection, plan: _Plan, at: int, count: int, *, newest_first: bool
    ) -> tuple[list[Any], int, bool]:
        """As `_by_window`, over the rows that the search index gives for the leading word."""
        assert plan.word is not None
        bounds = "rowid <= ? AND rowid >= ?" if newest_first else "rowid >= ? AND rowid <= ?"
        order = "DESC" if newest_first else "ASC"
        seqs = list(
            connection.exec_driver_sql(
                f"SELECT rowid FROM words WHERE words MATCH ? AND {bounds} ORDER BY rowid {order} LIMIT ?",  # noqa: S608
                (search.match_of(*spellings(plan.word)), at, plan.low if newest_first else plan.high, count),
            ).scalars()
        )
        rows: list[Any] = []
        for start in range(0, len(seqs), 500):
            part = seqs[start : start + 500]
            query = sa.select(events).where(events.c.seq.in_(part), *plan.conditions)
            query = query.order_by(events.c.seq.desc() if newest_first else events.c.seq.asc())
            rows.extend(connection.execute(query).mappings())
        if len(seqs) < count:
            return rows, (plan.low - 1 if newest_first else plan.high + 1), False
        return rows, (seqs[-1] - 1 if newest_first else seqs[-1] + 1), True

    def _plan(
        self, connection: sa.Connection, wanted: EventFilter, after: str | None, *, newest_first: bool
    ) -> _Plan:
        low, high = self._bounds(connection, wanted)
        if after is not None:
            at = position(connection, after, newest_first=newest_first)
            if newest_first:
                high = min(high, at - 1)
            else:
                low = max(low, at + 1)
        by_index = indexed(wanted)
        conditions = list(unindexed(wanted))
        searched = words(wanted)
        conditions.extend(word_condition(word, sqlite=self._sqlite) for word in searched)
        conditions.extend(excluded(wanted, sqlite=self._sqlite))
        if not self._sqlite:
            return _Plan(None, (*conditions, *[led_by(c, v) for c, v in by_index]), None, low, high)
        leader = self._leader(connection, by_index, [*searched, *names_of(wanted)], low, high)
        # A unary plus keeps SQLite from choosing the index of a condition that shall not lead.
        conditions.extend(
            column_in(sa.literal_column(f"+events.{column.name}", column.type), values)
            for column, values in by_index
            if leader != column.name
        )
        leading = next((led_by(c, v) for c, v in by_index if leader == c.name), None)
        word = leader.removeprefix("word:") if leader is not None and leader.startswith("word:") else None
        return _Plan(leading, tuple(conditions), word, low, high)

    def _leader(
        self,
        connection: sa.Connection,
        indexed: Sequence[tuple[sa.Column[Any], tuple[Any, ...]]],
        words: Sequence[str],
        low: int,
        high: int,
    ) -> str | None:
        """Name the filter with the fewest rows: a column's name, or `word:` and the word."""
        long_words = [word for word in words if len(word) >= search.SHORTEST]
        if len(indexed) + len(long_words) <= 1:
            if long_words:
                return f"word:{long_words[0]}"
            return indexed[0][0].name if indexed else None
        counted: list[tuple[int, str]] = []
        for column, values in indexed:
            inner = (
                sa.select(sa.literal(1))
                .select_from(events)
                .where(led_by(column, values), events.c.seq.between(low, high))
                .limit(_COUNTED)
                .subquery()
            )
            counted.append(
                (connection.execute(sa.select(sa.func.count()).select_from(inner)).scalar_one(), column.name)
            )
        for word in long_words:
            number = connection.exec_driver_sql(
                "SELECT count(*) FROM "
                "(SELECT 1 FROM words WHERE words MATCH ? AND rowid BETWEEN ? AND ? LIMIT ?)",
                (search.match_of(*spellings(word)), low, high, _COUNTED),
            ).scalar_one()
            counted.append((number, f"word:{word}"))
        return min(counted, key=lambda pair: pair[0])[1]

    def _bounds(self, connection: sa.Connection, wanted: EventFilter) -> tuple[int, int]:
        """Between which `seq` the wanted times lie, from the marks of hours."""
        low, high = connection.execute(
            sa.select(sa.func.min(events.c.seq), sa.func.max(events.c.seq))
            if not self._sqlite
            else sa.text("SELECT (SELECT min(seq) FROM events), (SELECT max(seq) FROM events)")
        ).one()
        if low is None:
            return 1, 0
        if wanted.since is not None:
            first = connection.execute(
                sa.select(sa.func.min(marks.c.first_seq)).where(marks.c.hour >= wanted.since // HOUR_S)
            ).scalar()
            low = high + 1 if first is None else max(low, first)
        if wanted.until is not None:
            last = connection.execute(
                sa.select(sa.func.max(marks.c.last_seq)).where(marks.c.hour <= wanted.until // HOUR_S)
            ).scalar()
            high = low - 1 if last is None else min(high, last)
        return low, high
