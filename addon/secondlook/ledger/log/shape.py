"""Records in the contract's shape: the exact keys of `--json`, the API and exports, times in RFC 3339 (UTC).

Unknown values are null, never missing. Text is as it came: whoever prints it makes it harmless
(`core.neutralize`); in a CSV cell that is done here.
"""

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator
from operator import attrgetter
from typing import Any, Final

from secondlook.core.event import EVENT_FIELDS, Event, EventKind, QuarantineRecord, QueueEntry
from secondlook.core.event_field import Form
from secondlook.core.neutralize import inert_cell
from secondlook.core.rules.rule import Pause, Rule, Scope
from secondlook.core.tls_exception import Passage
from secondlook.ground.instant import rfc3339

EVENT_KEYS: Final = (
    "id", "time", "kind", "decision", "class", "subject", "url", "host", "method", "client", "sha256",
    "filename", "size", "verdict", "risk", "threat", "stage", "list", "rule", "server", "stale",
    "elapsed_ms", "attempts", "detail",
)  # fmt: skip
"""Keys that the contract names, in its order."""


def _dated(extra: dict[str, Any]) -> dict[str, Any]:
    """Write the instants of `extra`, which are kept as Unix seconds."""
    seen = extra.get("first_seen")
    return {**extra, "first_seen": rfc3339(seen)} if isinstance(seen, (int, float)) else extra


def passage_json(passage: Passage) -> dict[str, Any]:
    """A passage of TLS as `status --json` gives it."""
    return {
        "client": passage.client,
        "user": passage.user,
        "host": passage.host,
        "why": "learned" if passage.kind is EventKind.ACTION else "exception",
        "since": rfc3339(passage.since),
        "until": rfc3339(passage.until),
    }


_EVENT_FIELDS: Final = tuple(
    sorted(
        EVENT_FIELDS,
        key=lambda field: EVENT_KEYS.index(field.name) if field.name in EVENT_KEYS else len(EVENT_KEYS),
    )
)
ALL_EVENT_KEYS: Final = tuple(field.name for field in _EVENT_FIELDS)
"""The contract's keys, and after them what was added since."""

_SHAPES: Final[dict[Form, Callable[[Any], object]]] = {
    Form.MOMENT: rfc3339,
    Form.DIGEST: bytes.hex,
    Form.JSON: _dated,
}
_SHAPED: Final = tuple(
    (each.name, str if each.enum is not None else _SHAPES[each.form])
    for each in _EVENT_FIELDS
    if each.enum is not None or each.form in _SHAPES
)
_attributes: Final = attrgetter(*[each.attribute for each in _EVENT_FIELDS])


def event_json(event: Event) -> dict[str, Any]:
    """An event as `log --json` gives it."""
    values = dict(zip(ALL_EVENT_KEYS, _attributes(event), strict=True))
    for key, shape in _SHAPED:
        if values[key] is not None:
            values[key] = shape(values[key])
    return values


def queue_json(entry: QueueEntry) -> dict[str, Any]:
    """A queue entry as `queue list --json` gives it."""
    return {
        "id": entry.id,
        "subject": str(entry.kind),
        "class": str(entry.cls),
        "url": entry.url,
        "host": entry.host,
        "sha256": entry.sha256,
        "filename": entry.filename,
        "size": entry.size,
        "clients": list(entry.clients),
        "count": entry.count,
        "first_seen": rfc3339(entry.first_seen),
        "last_seen": rfc3339(entry.last_seen),
        "attempts": entry.attempts,
        "next_attempt": rfc3339(entry.next_attempt),
        "reason": entry.reason,
    }


def rule_subject(rule: Rule) -> str:
    """Write a rule's subject as `allow` and `block` take it."""
    match rule.scope:
        case Scope.HOST:
            return f"={rule.subject}"
        case Scope.REGEX:
            return f"/{rule.subject}/"
        case _:
            return rule.subject


def rule_json(rule: Rule) -> dict[str, Any]:
    """A rule as `rules list --json` gives it."""
    return {
        "id": rule.id,
        "action": rule.action,
        "subject": rule_subject(rule),
        "scope": str(rule.scope),
        "client": rule.client,
        "reason": rule.reason,
        "created": rfc3339(rule.created),
        "expires": rfc3339(rule.expires),
        "hits": rule.hits,
        "source": rule.source,
    }


def quarantine_json(record: QuarantineRecord) -> dict[str, Any]:
    """A quarantined file as `quarantine list --json` gives it."""
    return {
        "id": record.id,
        "state": record.state,
        "sha256": record.sha256,
        "size": record.size,
        "path": record.path.encode("utf-8", "backslashreplace").decode(),
        "threat": record.threat,
        "list": record.list,
        "url": record.url,
        "client": record.client,
        "moved_at": rfc3339(record.moved_at),
        "detail": record.detail,
        "proxy": record.proxy,
    }


def pause_json(pause: Pause) -> dict[str, Any]:
    """A pause of protection."""
    return {
        "id": pause.id,
        "client": pause.client,
        "created": rfc3339(pause.created),
        "until": rfc3339(pause.until),
    }


def json_lines(events: Iterable[Event]) -> Iterator[str]:
    """Events as JSON Lines, one string with its line end each."""
    for event in events:
        yield json.dumps(event_json(event), ensure_ascii=True, separators=(",", ":")) + "\n"


def csv_lines(events: Iterable[Event]) -> Iterator[str]:
    """Events as CSV (RFC 4180) with a heading; no cell can be taken for a formula."""
    yield _csv_line(ALL_EVENT_KEYS)
    for event in events:
        yield _csv_line([_cell(value) for value in event_json(event).values()])


def _cell(value: object) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case int() | float():
            return str(value)
        case dict():
            return inert_cell(json.dumps(value, ensure_ascii=True))
        case _:
            return inert_cell(str(value))


def _csv_line(cells: Iterable[str]) -> str:
    out = io.StringIO()
    csv.writer(out).writerow(cells)
    return out.getvalue()
