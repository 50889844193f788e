"""Decisions as ledger records: what is written about a check, and what waits for the second look."""

from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256
from typing import Any
from urllib.parse import urlsplit

from secondlook.agent.check.view import REBLOCK
from secondlook.core.event import ConfirmedEntry, Event, EventKind, FlagEntry, QueueEntry
from secondlook.core.neutralize import inert
from secondlook.core.subject import FileSubject, RequestContext, Subject, SubjectKind, UrlSubject
from secondlook.core.url.canonical import MAX_HOST_CHARS
from secondlook.core.verdict import Decision, Evidence, Stage, Step, SubjectClass
from secondlook.ground.ulid import make_id

MEMBER = "member:"  # begins the label of a digest from inside an archive
PENDING = "pending"  # detail of a local hit until a server has answered what stands behind it
_DIGESTS_SHOWN = 100  # of a file in one event: an archive may have ten thousand members


def event_of(
    kind: EventKind,
    decision: Decision,
    subject: Subject,
    context: RequestContext,
    *,
    time: float,
    event_id: str,
) -> Event:
    """Write down a decision about a subject."""
    evidence = decision.evidence
    file = subject if isinstance(subject, FileSubject) else None
    return Event(
        kind=kind,
        time=time,
        id=event_id,
        decision=decision.action,
        cls=class_of(evidence, context),
        subject=subject.kind,
        url=url_of(subject, context),
        host=host_of(subject, context),
        method=context.method,
        client=context.client,
        user=context.user,
        referrer=context.referrer,
        sha256=file.hashes[0].hex() if file is not None else None,
        filename=file.filename if file is not None else None,
        content_type=context.content_type,
        size=file.size if file is not None else None,
        verdict=evidence.verdict,
        risk=evidence.risk,
        threat=evidence.threat,
        stage=evidence.stage,
        list=evidence.list,
        rule=evidence.rule,
        server=evidence.server,
        stale=evidence.stale,
        elapsed_ms=round(decision.elapsed_ms, 3),
        attempts=evidence.attempts,
        identity=subject.hashes[0],
        detail=evidence.detail or context.tunnel,
        extra=explanation(decision, subject),
        gateway=context.gateway,
    )


def class_of(evidence: Evidence, context: RequestContext) -> SubjectClass:
    """Return the class a subject is treated as; what cannot be read is a class of its own."""
    return SubjectClass.MALFORMED if evidence.stage is Stage.MALFORMED else context.cls


def url_of(subject: Subject, context: RequestContext) -> str | None:
    """Return the URL to show: as asked for, else the canonical one; for a file where it came from."""
    return context.url or (subject.canonical if isinstance(subject, UrlSubject) else None)


def host_of(subject: Subject, context: RequestContext) -> str | None:
    """Return the host of a URL subject, or the one a file came from."""
    if isinstance(subject, UrlSubject):
        return subject.host
    if not context.url:
        return None
    try:
        host = urlsplit(context.url).hostname
    except ValueError:
        return None
    return host and host[-MAX_HOST_CHARS:]  # one that a request gives beside an address may be any text


def explanation(decision: Decision, subject: Subject) -> dict[str, object]:
    """Return everything that explains a decision and has no field of its own, as JSON values."""
    evidence = decision.evidence
    fields: dict[str, object] = {"steps": [step_of(step) for step in evidence.steps]}
    if decision.reason is not None:
        fields["reason"] = decision.reason
    if evidence.source is not None:
        fields["source"] = evidence.source
    if evidence.tier is not None:
        fields["tier"] = str(evidence.tier)
    if evidence.list_age_s is not None:
        fields["age_s"] = round(evidence.list_age_s, 1)
    if evidence.expression is not None:
        fields["expression"] = inert(evidence.expression)
        if isinstance(subject, FileSubject) and evidence.expression.startswith(MEMBER):
            fields["member"] = inert(evidence.expression.removeprefix(MEMBER))
    if evidence.hit is not None:
        fields["hit"] = evidence.hit.hex()
    if isinstance(subject, FileSubject) and len(subject.hashes) > 1:
        known = {"md5": subject.md5, "sha1": subject.sha1}  # their full hashes mean nothing to a reader
        labelled = list(zip(subject.labels, subject.hashes, strict=False))
        fields["digests"] = {
            inert(label): known.get(label) or full_hash.hex()
            for at, (label, full_hash) in enumerate(labelled)
            if at < _DIGESTS_SHOWN or label == evidence.expression
        }
        if len(labelled) > _DIGESTS_SHOWN:
            fields["digests_in_all"] = len(labelled)
    return fields


def step_of(step: Step) -> dict[str, object]:
    """Return one consulted stage as JSON values."""
    fields: dict[str, object] = {"stage": str(step.stage), "outcome": step.outcome}
    if step.detail is not None:
        fields["detail"] = step.detail
    if step.elapsed_ms is not None:
        fields["elapsed_ms"] = round(step.elapsed_ms, 3)
    return fields


def flag_entry(decision: Decision, subject: Subject, context: RequestContext, *, time: float) -> FlagEntry:
    """Make what is kept of a subject that was let through: unverified in the queue, else in the history."""
    evidence = decision.evidence
    reason = evidence.unverifiable or "unverified"
    return _entry(subject, context, class_of(evidence, context), time=time, reason=reason)


def confirmed_entry(
    evidence: Evidence, subject: Subject, context: RequestContext, *, now: float
) -> ConfirmedEntry:
    """Make the entry by which a positive answer is in force everywhere."""
    return confirmed_from_entry(_entry(subject, context, context.cls, time=now), evidence, now=now)


def _entry(
    subject: Subject, context: RequestContext, cls: SubjectClass, *, time: float, reason: str = ""
) -> FlagEntry:
    """Make what is kept of a subject until servers have answered."""
    file = subject if isinstance(subject, FileSubject) else None
    return FlagEntry(
        identity=subject.hashes[0],
        kind=subject.kind,
        cls=cls,
        hashes=subject.hashes,
        url=url_of(subject, context),
        host=host_of(subject, context),
        client=context.client,
        time=time,
        reason=reason,
        sha256=file.hashes[0].hex() if file is not None else None,
        filename=file.filename if file is not None else None,
        size=file.size if file is not None else None,
        labels=file.labels if file is not None else (),
    )


def finding_of(evidence: Evidence) -> dict[str, Any]:
    """Return what an entry of the confirmed set keeps of what was found, by the names of its fields."""
    return {
        "verdict": evidence.verdict,
        "risk": evidence.risk,
        "threat": evidence.threat,
        "list": evidence.list,
        "server": evidence.server,
        "source": evidence.source,
        "tier": evidence.tier,
    }


def confirmed_from_entry(entry: QueueEntry | FlagEntry, evidence: Evidence, *, now: float) -> ConfirmedEntry:
    """Make the confirmed entry of a flagged or remembered subject that turned out listed."""
    return ConfirmedEntry(
        identity=entry.identity,
        hit=evidence.hit or entry.identity,
        kind=entry.kind,
        **finding_of(evidence),
        confirmed_at=now,
        expires_at=evidence.expires_at,
        url=entry.url,
        host=entry.host,
        sha256=entry.sha256,
        filename=entry.filename,
        size=entry.size,
        expression=evidence.expression,
        cls=entry.cls,
    )


def closing_event(
    kind: EventKind,
    entry: QueueEntry | FlagEntry | ConfirmedEntry,
    *,
    time: float,
    evidence: Evidence | None = None,
    detail: str | None = None,
    extra: dict[str, object],
) -> Event:
    """Write down how a flagged, remembered or confirmed subject ended."""
    return Event(
        kind=kind,
        time=time,
        id=make_id(time),
        decision=None,
        cls=entry.cls,
        subject=entry.kind,
        url=entry.url,
        host=entry.host,
        sha256=entry.sha256,
        filename=entry.filename,
        size=entry.size,
        verdict=evidence.verdict if evidence else None,
        risk=evidence.risk if evidence else None,
        threat=evidence.threat if evidence else None,
        stage=evidence.stage if evidence else None,
        list=evidence.list if evidence else None,
        rule=evidence.rule if evidence else None,
        server=evidence.server if evidence else None,
        stale=evidence.stale if evidence else None,
        attempts=entry.attempts if isinstance(entry, QueueEntry) else None,
        identity=entry.identity,
        detail=detail or (evidence.detail if evidence else None),
        extra=extra,
    )


def let_through(visits: Sequence[Event]) -> list[dict[str, object]]:
    """Return which clients got through and when, for the event and the notice of a confirmation."""
    return [{"client": visit.client, "user": visit.user, "time": visit.time} for visit in visits]


def reblock_entry(file: ConfirmedEntry, origin: UrlSubject, *, until: float) -> ConfirmedEntry:
    """Make the entry that refuses the URL of a confirmed file until an instant (Unix seconds).

    The file is judged by content again then: a shared URL must not stay blocked for ever. Such an entry ends
    by its time alone, asks nobody, and has an identity of its own, so that it never replaces a finding about
    the URL itself.
    """
    return replace(
        file,
        identity=sha256(b"reblock\0" + origin.hashes[0]).digest(),
        hit=origin.hashes[0],
        kind=SubjectKind.URL,
        source=REBLOCK,
        tier=None,
        expires_at=until,
        expression=origin.expressions[0],
        host=origin.host,
        cls=SubjectClass.DOWNLOAD,
    )
