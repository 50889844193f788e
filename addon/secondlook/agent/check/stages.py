"""Stages 1 to 5: what a snapshot alone holds about a subject.

Functions of values: no waiting, no clock. Each adds to `steps` what it looked at.
"""

from collections.abc import Callable

from secondlook.agent.check.evidence import (
    expression_of,
    from_entry,
    from_known_good,
    from_pattern,
    from_rule,
)
from secondlook.agent.check.view import REBLOCK, Snapshot
from secondlook.core.event import ConfirmedEntry
from secondlook.core.rules.rule import Rule
from secondlook.core.subject import FileSubject, RequestContext, Subject, SubjectKind, UrlSubject
from secondlook.core.url.expression import Suffixes
from secondlook.core.verdict import SEVERITY, Evidence, Risk, Stage, Step, SubjectClass

OVERRIDE = "override"  # source of a rule made by a user on the block page: never for downloads

_RULES_MISS = Step(Stage.RULES, "miss")
_CONFIRMED_MISS = Step(Stage.CONFIRMED, "miss")
_PATTERN_MISS = Step(Stage.PATTERN, "miss")
_SHORT_HIT = Step(Stage.PATTERN, "hit", "in a list of short prefixes: a reason to ask")
_KNOWN_GOOD_MISS = Step(Stage.KNOWN_GOOD, "miss")
_KNOWN_GOOD_SHARED = Step(Stage.KNOWN_GOOD, "skipped", "malformed, or anybody can publish on this host")


def local_evidence(
    snapshot: Snapshot,
    subject: Subject,
    context: RequestContext,
    now: float,
    steps: list[Step],
    *,
    suffixes: Suffixes,
    url_subject: Callable[[str], UrlSubject],
) -> Evidence | None:
    """Run stages 1 to 5; None when none of them knows anything. What is listed may be worse elsewhere."""
    rule = rule_for(snapshot, subject, context, now, url_subject)
    if rule is not None:
        return from_rule(rule, steps)
    steps.append(_RULES_MISS)
    hashes = subject.hashes
    weaker: Evidence | None = None
    entry = snapshot.known_bad(hashes, now)
    if entry is not None and _is_allowed_by_now(snapshot, entry, context, now):
        entry = snapshot.known_bad(
            hashes, now, counts=lambda other: not _is_allowed_by_now(snapshot, other, context, now)
        )
    if entry is not None:
        evidence = from_entry(entry, now, expression=expression_of(subject, entry.hit), steps=steps)
        if evidence.risk is Risk.DANGEROUS:
            return evidence
        weaker = evidence  # a list may know worse by now
        steps.append(evidence.steps[-1])
    else:
        steps.append(_CONFIRMED_MISS)
    hit = snapshot.listed(subject.kind, hashes, now)
    if hit is not None and (weaker is None or SEVERITY[hit.info.risk] < SEVERITY[weaker.risk]):
        evidence = from_pattern(hit.info, hit.full_hash, subject, steps, now)
        steps.append(evidence.steps[-1])
        return evidence
    if weaker is not None:
        return weaker
    steps.append(_PATTERN_MISS)
    if snapshot.pattern.query_hits(subject.kind, hashes):
        steps.append(_SHORT_HIT)
        return None
    return known_good(snapshot, subject, now, steps, suffixes)


def rule_for(
    snapshot: Snapshot,
    subject: Subject,
    context: RequestContext,
    now: float,
    url_subject: Callable[[str], UrlSubject],
) -> Rule | None:
    """Stage 1: the operator's rule that decides; for a file one about its digest before one about its URL."""
    book = snapshot.rulebook
    if not book.rules:
        return None
    rule = book.match(subject, context.client, context.user, now)
    origin = subject
    if rule is None and isinstance(subject, FileSubject) and context.url:
        origin = url_subject(context.url)
        rule = book.match(origin, context.client, context.user, now)
    if rule is None or rule.source != OVERRIDE:
        return rule
    if context.cls is not SubjectClass.DOWNLOAD and subject.kind is not SubjectKind.FILE:
        return rule
    firing = book.explain(origin, context.client, context.user, now)
    return next((other for other in firing if other.source != OVERRIDE), None)


def _is_allowed_by_now(
    snapshot: Snapshot, entry: ConfirmedEntry, context: RequestContext, now: float
) -> bool:
    """Return whether a URL is refused for a bad file that a rule allows by now: its content decides then."""
    book = snapshot.rulebook
    if entry.source != REBLOCK or entry.sha256 is None or not book.rules:
        return False
    rule = book.match(FileSubject((bytes.fromhex(entry.sha256),)), context.client, context.user, now)
    return rule is not None and rule.action == "allow"


def known_good(
    snapshot: Snapshot, subject: Subject, now: float, steps: list[Step], suffixes: Suffixes
) -> Evidence | None:
    """Stage 5: the subject itself, by its whole hash and exact host, on a list that may be trusted."""
    if not snapshot.known_good:
        steps.append(_KNOWN_GOOD_MISS)
        return None
    hashes = subject.hashes[:1]
    if isinstance(subject, UrlSubject):
        if subject.problem is not None or suffixes.is_shared_platform(subject.host):
            steps.append(_KNOWN_GOOD_SHARED)
            return None
        own = subject.host + "/"
        hashes = tuple(
            full_hash
            for expression, full_hash in zip(subject.expressions, subject.hashes, strict=True)
            if expression.startswith(own)
        )
    hit = snapshot.pattern.known_good_hit(subject.kind, hashes)
    if hit is None:
        steps.append(_KNOWN_GOOD_MISS)
        return None
    return from_known_good(hit.info, hit.full_hash, steps, now)
