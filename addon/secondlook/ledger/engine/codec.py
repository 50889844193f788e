"""Records to rows and back: the only place that knows how a value lies in a column.

Text that came from outside is made storable here (no NUL, no lone surrogate, bounded length);
hostile characters stay as they are, for they are the evidence: making them harmless is the task of
whatever shows them.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter, itemgetter
from typing import Any, Final

import sqlalchemy as sa

from secondlook.core.event import (
    EVENT_FIELDS,
    ConfirmedEntry,
    Event,
    FlagEntry,
    QuarantineRecord,
    QueueEntry,
)
from secondlook.core.event_field import Form
from secondlook.core.rules.rule import Pause, Rule, Scope
from secondlook.core.subject import SubjectKind
from secondlook.core.verdict import SubjectClass

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


EVENT_COLUMNS: Final = tuple(field.name for field in EVENT_FIELDS)
_ATTRIBUTES: Final = tuple(field.attribute for field in EVENT_FIELDS)
_attributes: Final = attrgetter(*_ATTRIBUTES)
_columns: Final = itemgetter(*EVENT_COLUMNS)

_STORE: Final[Mapping[Form, Callable[[Any], object]]] = {
    Form.WORD: str,
    Form.TEXT: clean,
    Form.URL: clean,
    Form.JSON: json_text,
}
"""What a value of an event becomes in its column; of other forms it stays as it is, and None always does."""

_LOAD: Final[Mapping[Form, Callable[[Any], object]]] = {
    Form.FLAG: bool,  # SQLite gives a number
    Form.DIGEST: bytes,  # PostgreSQL gives a view
    Form.JSON: json.loads,
}
"""What a value of a column becomes in an event, beside a word that has an enumeration."""

_STORED: Final = tuple((at, _STORE[each.form]) for at, each in enumerate(EVENT_FIELDS) if each.form in _STORE)
_LOADED: Final = tuple(
    (at, each.enum or _LOAD[each.form])
    for at, each in enumerate(EVENT_FIELDS)
    if each.enum is not None or each.form in _LOAD
)


_PROXY: Final = EVENT_COLUMNS.index("proxy")


def event_values(event: Event, proxy: str | None = None) -> list[Any]:
    """Turn an event into the values of a row of `events` (without `seq`), in the order of `EVENT_COLUMNS`.

    `proxy` is the name of the one that writes it: an event that does not say otherwise is its own. Every
    event passes here: one call reads all attributes, and only what is there is converted.
    """
    values = list(_attributes(event))
    for at, store in _STORED:
        if values[at] is not None:
            values[at] = store(values[at])
    if values[_PROXY] is None:
        values[_PROXY] = proxy
    return values


def event_row(event: Event, proxy: str | None = None) -> dict[str, Any]:
    """Turn an event into a row of `events` (without `seq`)."""
    return dict(zip(EVENT_COLUMNS, event_values(event, proxy), strict=True))


def row_event(row: Row) -> Event:
    """Make an event of a row of `events`."""
    values = list(_columns(row))
    for at, load in _LOADED:
        if values[at] is not None:
            values[at] = load(values[at])
    return Event(**dict(zip(_ATTRIBUTES, values, strict=True)))


def join_hashes(hashes: Sequence[bytes]) -> bytes:
    """Pack full hashes into one value."""
    return b"".join(hashes)


def split_hashes(packed: bytes) -> tuple[bytes, ...]:
    """Unpack full hashes (32 bytes each)."""
    return tuple(bytes(packed[at : at + HASH_BYTES]) for at in range(0, len(packed), HASH_BYTES))


def flag_row(entry: FlagEntry) -> dict[str, Any]:
    """Turn a flag into the values of a new row of `flagged` (without id and schedule)."""
    return {
        "identity": entry.identity,
        "kind": str(entry.kind),
        "class": str(entry.cls),
        "hashes": join_hashes(entry.hashes),
        "labels": json.dumps(entry.labels) if entry.labels else None,
        "url": clean(entry.url),
        "host": clean(entry.host),
        "sha256": entry.sha256,
        "filename": clean(entry.filename),
        "size": entry.size,
        "reason": clean(entry.reason) or "",
    }


def row_queue(row: Row, clients: Sequence[str]) -> QueueEntry:
    """Make a queue entry of a row of `flagged` and its clients."""
    return QueueEntry(
        id=row["id"],
        identity=bytes(row["identity"]),
        kind=SubjectKind(row["kind"]),
        cls=SubjectClass(row["class"]),
        hashes=split_hashes(row["hashes"]),
        url=row["url"],
        host=row["host"],
        sha256=row["sha256"],
        filename=row["filename"],
        size=row["size"],
        clients=tuple(clients),
        count=row["count"],
        first_seen=row["first_seen"],
        last_seen=row["last_seen"],
        attempts=row["attempts"],
        next_attempt=row["next_attempt"],
        reason=row["reason"],
        labels=tuple(json.loads(row["labels"])) if row["labels"] else (),
    )


def confirmed_row(entry: ConfirmedEntry) -> dict[str, Any]:
    """Turn a confirmed subject into the values of a row of `confirmed` (without its change number)."""
    return {
        "identity": entry.identity,
        "hit": entry.hit,
        "kind": str(entry.kind),
        "verdict": entry.verdict,
        "risk": entry.risk,
        "threat": entry.threat,
        "list": clean(entry.list),
        "server": clean(entry.server),
        "source": clean(entry.source),
        "confirmed_at": entry.confirmed_at,
        "expires_at": entry.expires_at,
        "url": clean(entry.url),
        "host": clean(entry.host),
        "sha256": entry.sha256,
        "filename": clean(entry.filename),
        "size": entry.size,
        "expression": clean(entry.expression),
        "tier": entry.tier,
        "class": None if entry.cls is None else str(entry.cls),
        "withdrawn_at": None,
    }


def row_confirmed(row: Row) -> ConfirmedEntry:
    """Make a confirmed subject of a row of `confirmed`."""
    return ConfirmedEntry(
        identity=bytes(row["identity"]),
        hit=bytes(row["hit"]),
        kind=SubjectKind(row["kind"]),
        verdict=row["verdict"],
        risk=row["risk"],
        threat=row["threat"],
        list=row["list"],
        server=row["server"],
        source=row["source"],
        confirmed_at=row["confirmed_at"],
        expires_at=row["expires_at"],
        url=row["url"],
        host=row["host"],
        sha256=row["sha256"],
        filename=row["filename"],
        size=row["size"],
        expression=row["expression"],
        tier=row["tier"],
        cls=None if row["class"] is None else SubjectClass(row["class"]),
    )


def rule_row(rule: Rule) -> dict[str, Any]:
    """Turn a rule into the values of a row of `rules`."""
    return {
        "id": rule.id,
        "action": rule.action,
        "scope": str(rule.scope),
        "subject": clean(rule.subject),
        "client": clean(rule.client),
        "reason": clean(rule.reason),
        "created": rule.created,
        "expires": rule.expires,
        "hits": rule.hits,
        "source": rule.source,
    }


def row_rule(row: Row) -> Rule:
    """Make a rule of a row of `rules`."""
    return Rule(
        id=row["id"],
        action=row["action"],
        scope=Scope(row["scope"]),
        subject=row["subject"],
        client=row["client"],
        reason=row["reason"],
        created=row["created"],
        expires=row["expires"],
        hits=row["hits"],
        source=row["source"],
    )


def row_pause(row: Row) -> Pause:
    """Make a pause of a row of `pauses`."""
    return Pause(id=row["id"], client=row["client"], created=row["created"], until=row["until"])


def quarantine_row(record: QuarantineRecord) -> dict[str, Any]:
    """Turn a quarantine record into the values of a row; paths keep undecodable bytes as escapes."""
    return {
        "id": record.id,
        "state": record.state,
        "sha256": record.sha256,
        "size": record.size,
        "path": _path_text(record.path),
        "stored_as": record.stored_as,
        "mode": record.mode,
        "modified_at": record.modified_at,
        "moved_at": record.moved_at,
        "threat": record.threat,
        "list": clean(record.list),
        "url": clean(record.url),
        "client": clean(record.client),
        "identity": record.identity,
        "detail": clean(record.detail),
        "proxy": clean(record.proxy),
    }


def row_quarantine(row: Row) -> QuarantineRecord:
    """Make a quarantine record of a row."""
    return QuarantineRecord(
        id=row["id"],
        state=row["state"],
        sha256=row["sha256"],
        size=row["size"],
        path=json.loads(row["path"]),
        stored_as=row["stored_as"],
        mode=row["mode"],
        modified_at=row["modified_at"],
        moved_at=row["moved_at"],
        threat=row["threat"],
        list=row["list"],
        url=row["url"],
        client=row["client"],
        identity=None if row["identity"] is None else bytes(row["identity"]),
        detail=row["detail"],
        proxy=row["proxy"],
    )


def _path_text(path: str) -> str:
    """Keep a path exactly (a restore needs it), surrogates of undecodable bytes included."""
    return json.dumps(path, ensure_ascii=True)


def history_row(identity: bytes, hashes: Sequence[bytes], kind: SubjectKind, event: Event) -> dict[str, Any]:
    """Turn an allowed subject into the values of a row of `history`."""
    return {
        "identity": identity,
        "kind": str(kind),
        "class": str(event.cls or SubjectClass.PAGE),
        "hashes": join_hashes(hashes),
        "time": event.time,
        "url": clean(event.url),
        "host": clean(event.host),
        "client": clean(event.client),
        "sha256": event.sha256,
        "filename": clean(event.filename),
        "size": event.size,
    }


def row_history(row: Row) -> FlagEntry:
    """Make of a remembered subject what the rechecker asks about."""
    return FlagEntry(
        identity=bytes(row["identity"]),
        kind=SubjectKind(row["kind"]),
        cls=SubjectClass(row["class"]),
        hashes=split_hashes(row["hashes"]),
        url=row["url"],
        host=row["host"],
        client=row["client"],
        time=row["time"],
        reason="allowed earlier",
        sha256=row["sha256"],
        filename=row["filename"],
        size=row["size"],
    )
