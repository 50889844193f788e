"""Records to rows and back: the only place that knows how a value lies in a column.

Text that came from outside is made storable here (no NUL, no lone surrogate, bounded length);
hostile characters stay as they are, for they are the evidence: making them harmless is the task of
whatever shows them.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from operator import attrgetter, itemgetter
from typing import Any, Final

import sqlalchemy as sa

from secondlook.core.event import EVENT_FIELDS, ConfirmedEntry, Event, FlagEntry, QuarantineRecord, QueueEntry
from secondlook.core.event_field import Form
from secondlook.core.rules.rule import Pause, Rule, Scope
from secondlook.core.subject import SubjectKind
from secondlook.core.verdict import SubjectClass
from secondlook.ground.json_text import read_json

TEXT_LIMIT: Final = 8192  # characters kept of any text
EXTRA_LIMIT: Final = 65_536  # characters of JSON kept beside an event
HASH_BYTES: Final = 32

type Row = Mapping[str, Any] | sa.RowMapping


def clean(text: str | None) -> str | None:
    """Make text storable in both engines: valid UTF-8, no NUL, at most `TEXT_LIMIT` characters."""
    if text is None:
        return None
    if len(text) > TEXT_LIMIT:
        text = text[: TEXT_LIMIT - 1] + "…"
    if not text.isascii():
        text = text.encode("utf-8", "replace").decode("utf-8")
    return text.replace("\0", "\ufffd") if "\0" in text else text


def json_text(value: object) -> str | None:
    """Serialise a mapping for a text column; one that is too long is replaced by a note about that."""
    if not value:
        return None
    text = json.dumps(value, ensure_ascii=True, separators=(",", ":"), default=str)
    if len(text) > EXTRA_LIMIT:
        return json.dumps({"cut": f"{len(text)} characters were too many to keep"})
    return text.replace("\\u0000", "\\ufffd")


class _Rows[Record]:
    """Records of one kind as rows: `columns` by attribute, and what a value becomes on its way in and out.

    None always stays None. Every event passes here: one call reads all attributes, and only what has to be
    is converted.
    """

    def __init__(
        self,
        kind: Callable[..., Record],
        columns: Mapping[str, str],
        store: Mapping[str, Callable[[Any], object]],
        load: Mapping[str, Callable[[Any], object]],
    ) -> None:
        self.columns = tuple(columns.values())
        self._kind = kind
        self._attributes = tuple(columns)
        self._of_record = attrgetter(*columns)
        self._of_row = itemgetter(*self.columns)
        self._stored = tuple((at, store[name]) for at, name in enumerate(columns) if name in store)
        self._loaded = tuple((at, load[name]) for at, name in enumerate(columns) if name in load)

    def values(self, record: Record) -> list[Any]:
        """Return what goes into the columns, in their order."""
        values = list(self._of_record(record))
        for at, store in self._stored:
            if values[at] is not None:
                values[at] = store(values[at])
        return values

    def row(self, record: Record) -> dict[str, Any]:
        """Turn a record into the values of a row."""
        return dict(zip(self.columns, self.values(record), strict=True))

    def record(self, row: Row, **more: object) -> Record:
        """Make a record of a row, and of what stands elsewhere."""
        values = list(self._of_row(row))
        for at, load in self._loaded:
            if values[at] is not None:
                values[at] = load(values[at])
        made = dict(zip(self._attributes, values, strict=True))
        made.update(more)
        return self._kind(**made)


_STORE: Final[Mapping[Form, Callable[[Any], object]]] = {
    Form.WORD: str,
    Form.TEXT: clean,
    Form.URL: clean,
    Form.JSON: json_text,
}
_LOAD: Final[Mapping[Form, Callable[[Any], object]]] = {
    Form.FLAG: bool,  # SQLite gives a number
    Form.DIGEST: bytes,  # PostgreSQL gives a view
    Form.JSON: read_json,
}
_EVENTS: Final = _Rows(
    Event,
    {each.attribute: each.name for each in EVENT_FIELDS},
    {each.attribute: _STORE[each.form] for each in EVENT_FIELDS if each.form in _STORE},
    {
        each.attribute: each.enum or _LOAD[each.form]
        for each in EVENT_FIELDS
        if each.enum is not None or each.form in _LOAD
    },
)
EVENT_COLUMNS: Final = _EVENTS.columns
_PROXY: Final = EVENT_COLUMNS.index("proxy")


def event_values(event: Event, proxy: str | None = None) -> list[Any]:
    """Turn an event into the values of a row of `events` (without `seq`), in the order of `EVENT_COLUMNS`.

    `proxy` is the name of the one that writes it: an event that names no other is its own.
    """
    values = _EVENTS.values(event)
    if values[_PROXY] is None:
        values[_PROXY] = proxy
    return values


def event_row(event: Event, proxy: str | None = None) -> dict[str, Any]:
    """Turn an event into a row of `events` (without `seq`)."""
    return dict(zip(EVENT_COLUMNS, event_values(event, proxy), strict=True))


row_event: Final = _EVENTS.record


def join_hashes(hashes: Sequence[bytes]) -> bytes:
    """Pack full hashes into one value."""
    return b"".join(hashes)


def split_hashes(packed: bytes) -> tuple[bytes, ...]:
    """Unpack full hashes (32 bytes each)."""
    return tuple(bytes(packed[at : at + HASH_BYTES]) for at in range(0, len(packed), HASH_BYTES))


_FROM_OUTSIDE: Final = (
    *("url", "host", "filename", "list", "server", "source", "expression"),
    *("subject", "client", "reason", "detail", "proxy"),
)
_WAY_IN: Final[Mapping[str, Callable[[Any], object]]] = {
    "hashes": join_hashes,
    "kind": str,
    "cls": str,
    "scope": str,
    "path": json.dumps,  # exactly (a restore needs it), surrogates of undecodable bytes included
    **dict.fromkeys(_FROM_OUTSIDE, clean),
}
_WAY_OUT: Final[Mapping[str, Callable[[Any], object]]] = {
    "identity": bytes,
    "hit": bytes,
    "hashes": split_hashes,
    "kind": SubjectKind,
    "cls": SubjectClass,
    "scope": Scope,
    "path": read_json,
}


def _rows[Record](kind: type[Record], *elsewhere: str) -> _Rows[Record]:
    """Make the codec of a dataclass; what stands `elsewhere` than in its row is left out."""
    names = [each.name for each in fields(kind) if each.name not in elsewhere]  # type: ignore[arg-type]
    return _Rows(kind, {name: "class" if name == "cls" else name for name in names}, _WAY_IN, _WAY_OUT)


_FLAGS: Final = _rows(FlagEntry, "labels", "client", "time")
_QUEUE: Final = _rows(QueueEntry, "labels", "clients")
_CONFIRMED: Final = _rows(ConfirmedEntry)
_RULES: Final = _rows(Rule)
_QUARANTINE: Final = _rows(QuarantineRecord)
_HISTORY: Final = _rows(FlagEntry, "labels", "reason")

row_confirmed: Final = _CONFIRMED.record
rule_row: Final = _RULES.row
row_rule: Final = _RULES.record
row_pause: Final = _rows(Pause).record
quarantine_row: Final = _QUARANTINE.row
row_quarantine: Final = _QUARANTINE.record
history_row: Final = _HISTORY.row


def flag_row(entry: FlagEntry) -> dict[str, Any]:
    """Turn a flag into the values of a new row of `flagged` (without id and schedule)."""
    return {**_FLAGS.row(entry), "labels": json.dumps(entry.labels) if entry.labels else None}


def row_queue(row: Row, clients: Sequence[str]) -> QueueEntry:
    """Make a queue entry of a row of `flagged` and its clients."""
    return _QUEUE.record(row, clients=tuple(clients), labels=tuple(read_json(row["labels"] or "[]")))


def confirmed_row(entry: ConfirmedEntry) -> dict[str, Any]:
    """Turn a confirmed subject into the values of a row of `confirmed` (without its change number)."""
    return {**_CONFIRMED.row(entry), "withdrawn_at": None}


def row_history(row: Row) -> FlagEntry:
    """Make of a remembered subject what the rechecker asks about."""
    return _HISTORY.record(row, reason="allowed earlier")
