"""Ledger records as JSON objects, with the contract's keys for events, queue entries and rules."""

from typing import Any

from secondlook.cli.output import plain_value, rfc3339
from secondlook.core.event import Event, QuarantineRecord, QueueEntry
from secondlook.core.rule import Rule, Scope

EVENT_KEYS = (
    "id",
    "time",
    "kind",
    "decision",
    "class",
    "subject",
    "url",
    "host",
    "method",
    "client",
    "sha256",
    "filename",
    "size",
    "verdict",
    "risk",
    "threat",
    "stage",
    "list",
    "rule",
    "server",
    "stale",
    "elapsed_ms",
    "attempts",
    "detail",
)
FURTHER_EVENT_KEYS = ("user", "referrer", "content_type", "extra")


def event_record(event: Event) -> dict[str, Any]:
    """Give an event as one JSON object; unknown fields are None, never missing."""
    record: dict[str, Any] = {}
    for key in (*EVENT_KEYS, *FURTHER_EVENT_KEYS):
        record[key] = plain_value(getattr(event, "cls" if key == "class" else key))
    record["time"] = rfc3339(event.time)
    return record


def queue_record(entry: QueueEntry) -> dict[str, Any]:
    """Give a flagged subject as one JSON object."""
    return {
        "id": entry.id,
        "subject": entry.kind.value,
        "class": entry.cls.value,
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
    """Spell a rule's subject as one would write it for `allow` or `block`."""
    match rule.scope:
        case Scope.HOST:
            return f"={rule.subject}"
        case Scope.REGEX:
            return f"/{rule.subject}/"
        case _:
            return rule.subject


def rule_record(rule: Rule) -> dict[str, Any]:
    """Give an operator's rule as one JSON object."""
    return {
        "id": rule.id,
        "action": rule.action,
        "subject": rule_subject(rule),
        "scope": rule.scope.value,
        "client": rule.client,
        "reason": rule.reason,
        "created": rfc3339(rule.created),
        "expires": rfc3339(rule.expires),
        "hits": rule.hits,
        "source": rule.source,
    }


def quarantine_record(record: QuarantineRecord) -> dict[str, Any]:
    """Give a quarantined file as one JSON object."""
    told = plain_value(record)
    assert isinstance(told, dict)
    for key, value in told.items():
        if key.endswith("_at") and isinstance(value, float):
            told[key] = rfc3339(value)
    return told
