"""Records to rows and back: the only place that knows how a value lies in a column.

Text that came from outside is made storable here (no NUL, no lone surrogate, bounded length);
hostile characters stay as they are, for they are the evidence: making them harmless is the task of
whatever shows them.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

import sqlalchemy as sa

from secondlook.core.event import (
    ConfirmedEntry,
    Event,
    EventKind,
    FlagEntry,
    QuarantineRecord,
    QueueEntry,
)
from secondlook.core.rules.rule import Pause, Rule, Scope
from secondlook.core.subject import SubjectKind
from secondlook.core.verdict import SubjectClass

TEXT_LIMIT: Final = 8192  # characters kept of any text
EXTRA_LIMIT: Final = 65_536  # characters of JSON kept beside an event
HASH_BYTES: Final = 32

type Row = Mapping[str, Any] | sa.RowMapping

EVENT_COLUMNS: Final = (
    "id", "time", "kind", "decision", "class", "subject", "url", "host", "method", "client", "user",
    "referrer", "sha256", "filename", "content_type", "size", "verdict", "risk", "threat", "stage", "list",
    "rule", "server", "stale", "elapsed_ms", "attempts", "identity", "detail", "extra",
)  # fmt: skip


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
    """Serialise a mapping for a text column; one that is too long is replaced by a note that says so."""
    if not value:
        return None
    text = json.dumps(value, ensure_ascii=True, separators=(",", ":"), default=str)
    if len(text) > EXTRA_LIMIT:
        return json.dumps({"cut": f"{len(text)} characters were too many to keep"})
    return text.replace("\\u0000", "\\ufffd")


def event_row(event: Event) -> dict[str, Any]:
    """Turn an event into the values of a row of `events` (without `seq`)."""
    return {
        "id": event.id,
        "time": event.time,
        "kind": str(event.kind),
        "decision": event.decision,
        "class": None if event.cls is None else str(event.cls),
        "subject": None if event.subject is None else str(event.subject),
        "url": clean(event.url),
        "host": clean(event.host),
        "method": clean(event.method),
        "client": clean(event.client),
        "user": clean(event.user),
        "referrer": clean(event.referrer),
        "sha256": event.sha256,
        "filename": clean(event.filename),
        "content_type": clean(event.content_type),
        "size": event.size,
        "verdict": event.verdict,
        "risk": event.risk,
        "threat": event.threat,
        "stage": event.stage,
        "list": clean(event.list),
        "rule": clean(event.rule),
        "server": clean(event.server),
        "stale": event.stale,
        "elapsed_ms": event.elapsed_ms,
        "attempts": event.attempts,
        "identity": event.identity,
        "detail": clean(event.detail),
        "extra": json_text(event.extra),
    }


def row_event(row: Row) -> Event:
    """Make an event of a row of `events`."""
    return Event(
        id=row["id"],
        time=row["time"],
        kind=EventKind(row["kind"]),
        decision=row["decision"],
        cls=None if row["class"] is None else SubjectClass(row["class"]),
        subject=None if row["subject"] is None else SubjectKind(row["subject"]),
        url=row["url"],
        host=row["host"],
        method=row["method"],
        client=row["client"],
        user=row["user"],
        referrer=row["referrer"],
        sha256=row["sha256"],
        filename=row["filename"],
        content_type=row["content_type"],
        size=row["size"],
        verdict=row["verdict"],
        risk=row["risk"],
        threat=row["threat"],
        stage=row["stage"],
        list=row["list"],
        rule=row["rule"],
        server=row["server"],
        stale=None if row["stale"] is None else bool(row["stale"]),
        elapsed_ms=row["elapsed_ms"],
        attempts=row["attempts"],
        identity=None if row["identity"] is None else bytes(row["identity"]),
        detail=row["detail"],
        extra=None if row["extra"] is None else json.loads(row["extra"]),
    )


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
