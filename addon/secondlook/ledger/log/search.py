"""The search index of events on SQLite: FTS5 trigrams, deleted with the events they came from.

Events are added a moment after they were written, by housekeeping: indexing costs as much as
writing, and a merge of the index far more than a flag may wait.

Chosen by measurement: plain scanning finds a rare word among 1 M events in 0.14 s and among 10 M in 1.4 s
(from memory); trigrams without positions find it in 1 ms for a third more disk, and 20,000 events/s can
still be written. The text of an event is computed from columns that change by `replace` alone, for a
row of a contentless index can only be deleted by giving its text again.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import sqlalchemy as sa

from secondlook.ledger.engine.statements import raw
from secondlook.ledger.engine.tables import events

SHORTEST: Final = 3
"""A trigram index knows nothing of shorter words: they are looked for by scanning."""

MERGE_PAGES: Final = 8
"""Pages rewritten in one step of a merge: about two milliseconds that others wait."""

TEXT_COLUMNS: Final = (
    events.c.url,
    events.c.host,
    events.c.client,
    events.c.user,
    events.c.filename,
    events.c.sha256,
    events.c.referrer,
    events.c.threat,
    events.c.list,
    events.c.rule,
    events.c.server,
)
"""What a search looks into."""

_NAMES: Final = tuple(column.name for column in TEXT_COLUMNS)


_NEXT: Final = (
    f"SELECT seq, {', '.join(f'"{name}"' for name in _NAMES)} FROM events "  # noqa: S608  (names of ours)
    "WHERE seq > (SELECT seq FROM words_upto) ORDER BY seq LIMIT ?"
)


def text_of(row: Mapping[str, Any] | sa.RowMapping) -> str:
    """Join the searched columns of one event."""
    return "\n".join([row[name] for name in _NAMES if row[name]])


def add_next(connection: sa.Connection, most: int) -> int:
    """Index the next events that are not yet, at most so many; return how many there were."""
    rows = raw(connection).execute(_NEXT, (most,)).fetchall()
    if rows:
        texts = [(row[0], "\n".join([text for text in row[1:] if text])) for row in rows]
        raw(connection).executemany("INSERT INTO words(rowid, text) VALUES (?, ?)", texts)
        raw(connection).execute("UPDATE words_upto SET seq = ?", (rows[-1][0],))
    return len(rows)


def indexed_upto(connection: sa.Connection) -> int:
    """Return the `seq` up to which events are indexed; what is newer is looked for by scanning."""
    return int(connection.exec_driver_sql("SELECT seq FROM words_upto").scalar_one())


def remove(connection: sa.Connection, rows: Sequence[tuple[int, str]]) -> None:
    """Take events out of the index: what was added, given again."""
    if rows:
        connection.exec_driver_sql(
            "INSERT INTO words(words, rowid, text) VALUES ('delete', ?, ?)", list(rows)
        )


def replace(connection: sa.Connection, rows: Sequence[tuple[int, str, str]]) -> None:
    """Give events another text: `seq`, the text so far, and the one from now on; nothing to do elsewhere."""
    if connection.dialect.name != "sqlite":
        return
    upto = indexed_upto(connection)
    indexed = [row for row in rows if row[0] <= upto]
    remove(connection, [(seq, before) for seq, before, _ in indexed])
    texts = [(seq, after) for seq, _, after in indexed]
    raw(connection).executemany("INSERT INTO words(rowid, text) VALUES (?, ?)", texts)


def merge(connection: sa.Connection, pages: int = MERGE_PAGES) -> bool:
    """Rewrite some pages of the index without what was removed; False when nothing is left to do."""
    before: int = connection.exec_driver_sql("SELECT total_changes()").scalar_one()
    connection.exec_driver_sql("INSERT INTO words(words, rank) VALUES ('merge', ?)", (pages,))
    after: int = connection.exec_driver_sql("SELECT total_changes()").scalar_one()
    return after - before > 1


def begin_merge(connection: sa.Connection, pages: int = MERGE_PAGES) -> None:
    """Start to merge the whole index into one, which drops what was removed; go on with `merge`."""
    connection.exec_driver_sql("INSERT INTO words(words, rank) VALUES ('merge', ?)", (-pages,))


def match_of(*spellings: str) -> str:
    """Write the query for one word (at least `SHORTEST` characters): all trigrams of any of its spellings."""
    return " OR ".join(map(_all_of, spellings))


def _all_of(word: str) -> str:
    trigrams = dict.fromkeys(word[at : at + SHORTEST] for at in range(len(word) - SHORTEST + 1))
    return " AND ".join('"' + trigram.replace('"', '""') + '"' for trigram in trigrams)
