"""Builders of records for ledger tests."""

import hashlib
from dataclasses import replace
from typing import Any

from secondlook.core.event import ConfirmedEntry, Event, EventKind, FlagEntry
from secondlook.core.rules.rule import Rule, Scope
from secondlook.core.subject import SubjectKind
from secondlook.core.verdict import SubjectClass
from secondlook.ground.ulid import make_id

START = 1_700_000_000.0


def identity_of(name: object) -> bytes:
    return hashlib.sha256(str(name).encode()).digest()


def make_event(kind: EventKind = EventKind.BLOCKED, at: float = START, **fields) -> Event:
    event = Event(
        id=make_id(at),
        kind=kind,
        time=at,
        decision={EventKind.BLOCKED: "block", EventKind.FLAGGED: "flag"}.get(kind, "allow"),
        cls=SubjectClass.PAGE,
        subject=SubjectKind.URL,
    )
    return replace(event, **fields)


def make_flag(
    name: object, at: float = START, client: str | None = "10.0.0.1", **fields
) -> tuple[Event, FlagEntry]:
    """A flag of the URL of this name: event and queue entry."""
    url = f"https://{name}.example/path?secret={name}"
    identity = identity_of(name)
    event = make_event(
        EventKind.FLAGGED,
        at,
        url=url,
        host=f"{name}.example",
        client=client,
        identity=identity,
        stage="unverifiable",
        method="GET",
    )
    entry = FlagEntry(
        identity=identity,
        kind=SubjectKind.URL,
        cls=SubjectClass.PAGE,
        hashes=(identity, identity_of(f"{name}/")),
        url=url,
        host=f"{name}.example",
        client=client,
        time=at,
        reason="no server answered",
    )
    return event, replace(entry, **fields)


def make_visit(hashes: tuple[bytes, ...], event: Event, kind: SubjectKind = SubjectKind.URL) -> FlagEntry:
    """What is remembered of a subject that was allowed as the event says."""
    return FlagEntry(
        identity=hashes[0],
        kind=kind,
        cls=event.cls or SubjectClass.PAGE,
        hashes=hashes,
        url=event.url,
        host=event.host,
        client=event.client,
        time=event.time,
        reason="",
        sha256=event.sha256,
        filename=event.filename,
        size=event.size,
    )


def make_confirmed(name: object, at: float = START, **fields) -> ConfirmedEntry:
    entry = ConfirmedEntry(
        identity=identity_of(name),
        hit=identity_of(name),
        kind=SubjectKind.URL,
        verdict="malicious",
        risk="dangerous",
        threat="malware",
        list="mw-8b",
        server="s1",
        source="s1",
        confirmed_at=at,
        expires_at=at + 300,
        url=f"https://{name}.example/path?secret={name}",
        host=f"{name}.example",
        expression=f"{name}.example/path?secret={name}",
    )
    return replace(entry, **fields)


def make_rule(**fields: Any) -> Rule:
    """Make a rule that allows `bad.test` to everybody, but for what `fields` say."""
    values = {"id": "", "action": "allow", "scope": Scope.DOMAIN, "subject": "bad.test", "client": None}
    return Rule(**(values | {"reason": None, "created": 0.0, "expires": None} | fields))


RULE = make_rule(id="r1", action="block", subject="bad.example", created=START)
"""A rule of an operator, to be varied with `replace`."""
