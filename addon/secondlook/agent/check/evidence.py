"""Evidence in the making: the find of each stage in one shape, with its explanation.

Pure functions: rule, confirmed entry, pattern hit or answers in, `Evidence` out.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from secondlook.core.answer import Attempt, ListedHash, PrefixAnswer, Tier
from secondlook.core.event import ConfirmedEntry
from secondlook.core.lists.pattern import ListInfo
from secondlook.core.rules.rule import Rule
from secondlook.core.scan import Detection, EngineReport
from secondlook.core.subject import Subject, UrlSubject
from secondlook.core.verdict import SEVERITY, Evidence, Risk, Stage, Step, SubjectClass, Threat, Verdict

_NAMES_SHOWN = 3  # of the signatures that one engine found
_MALICIOUS = frozenset({Risk.DANGEROUS, Risk.HIGHLY_SUSPICIOUS})
_LISTED = frozenset({Verdict.MALICIOUS, Verdict.SUSPICIOUS})


def verdict_of(risk: Risk) -> Verdict:
    """Return the verdict of something listed with this risk."""
    return Verdict.MALICIOUS if risk in _MALICIOUS else Verdict.SUSPICIOUS


def is_listed(evidence: Evidence) -> bool:
    """Return whether evidence is of something bad."""
    return evidence.verdict in _LISTED


def worse_of(known: Evidence | None, found: Evidence) -> Evidence:
    """Return the worse of what was known before and what was found; what was known where they are equal."""
    return found if known is None or SEVERITY[found.risk] < SEVERITY[known.risk] else known


def expression_of(subject: Subject | None, full_hash: bytes) -> str | None:
    """Name what a listed hash stands for: an expression of the URL, or the label of a file's digest."""
    if subject is None:
        return None
    names = subject.expressions if isinstance(subject, UrlSubject) else subject.labels
    for name, known in zip(names, subject.hashes, strict=False):
        if known == full_hash:
            return name
    return None


def from_rule(rule: Rule, steps: Sequence[Step]) -> Evidence:
    """An operator's rule decided."""
    allowed = rule.action == "allow"
    return Evidence(
        verdict=Verdict.CLEAN if allowed else Verdict.MALICIOUS,
        risk=Risk.SAFE if allowed else Risk.DANGEROUS,
        stage=Stage.RULES,
        rule=rule.id,
        allowed_by_rule=allowed,
        blocked_by_rule=not allowed,
        detail=rule.reason,
        steps=(*steps, Step(Stage.RULES, "hit", f"{rule.action} {rule.scope} {rule.subject}")),
    )


def from_entry(
    entry: ConfirmedEntry, now: float, *, expression: str | None = None, steps: Sequence[Step] = ()
) -> Evidence:
    """A recheck or an answer found this malicious before."""
    return Evidence(
        verdict=Verdict(entry.verdict),
        risk=Risk(entry.risk),
        stage=Stage.CONFIRMED,
        threat=Threat(entry.threat) if entry.threat else None,
        list=entry.list,
        server=entry.server,
        source=entry.source,
        tier=entry.tier,
        expires_at=entry.expires_at,
        list_age_s=max(0.0, now - entry.confirmed_at),
        hit=entry.hit,
        expression=expression or entry.expression,
        steps=(*steps, Step(Stage.CONFIRMED, "hit", entry.list or entry.server)),
    )


def from_pattern(
    info: ListInfo, full_hash: bytes, subject: Subject | None, steps: Sequence[Step], now: float
) -> Evidence:
    """A block list of the local pattern holds a hash of the subject (None: only its hashes are known)."""
    age_s = max(0.0, now - info.confirmed_at)
    return Evidence(
        verdict=verdict_of(info.risk),
        risk=info.risk,
        stage=Stage.PATTERN,
        threat=info.threat,
        list=info.name,
        server=info.server,
        source=info.source,
        tier=info.tier,
        list_age_s=age_s,
        hit=full_hash,
        expression=expression_of(subject, full_hash),
        steps=(*steps, Step(Stage.PATTERN, "hit", f"{info.name} of {info.server}, {age_s:.0f} s old")),
    )


def from_known_good(info: ListInfo, full_hash: bytes, steps: Sequence[Step], now: float) -> Evidence:
    """A known-good list that may be trusted holds the subject itself."""
    return Evidence(
        verdict=Verdict.CLEAN,
        risk=Risk.SAFE,
        stage=Stage.KNOWN_GOOD,
        list=info.name,
        server=info.server,
        source=info.source,
        tier=info.tier,
        list_age_s=max(0.0, now - info.confirmed_at),
        hit=full_hash,
        steps=(*steps, Step(Stage.KNOWN_GOOD, "hit", info.name)),
    )


@dataclass(frozen=True, slots=True)
class ListedFinding:
    """One listed hash of a subject, and the list that it is on."""

    listed: ListedHash
    answer: PrefixAnswer
    tier: Tier
    stale: bool = False


def worst_finding(
    hashes: Sequence[bytes],
    cls: SubjectClass,
    answers: Iterable[tuple[Tier, PrefixAnswer, bool]],
) -> ListedFinding | None:
    """Find the worst hash of the subject among answers (tier, answer, stale); None when nothing is listed."""
    worst: ListedFinding | None = None
    for tier, answer, stale in answers:
        for listed in answer.listed:
            if listed.full_hash not in hashes or (listed.frames_only and cls is not SubjectClass.PAGE):
                continue
            if worst is None or SEVERITY[listed.risk] < SEVERITY[worst.listed.risk]:
                worst = ListedFinding(listed, answer, tier, stale)
    return worst


def from_finding(
    finding: ListedFinding,
    stage: Stage,
    subject: Subject | None,
    steps: Sequence[Step],
    attempts: int,
    now: float,
) -> Evidence:
    """A server listed a hash of the subject, now (`query`) or earlier (`cache`)."""
    listed, answer = finding.listed, finding.answer
    return Evidence(
        verdict=verdict_of(listed.risk),
        risk=listed.risk,
        stage=stage,
        threat=listed.threat,
        list=listed.list,
        server=answer.server,
        source=answer.source,
        tier=finding.tier,
        expires_at=answer.expires_at,
        list_age_s=max(0.0, now - answer.stored_at),
        stale=finding.stale,
        hit=listed.full_hash,
        expression=expression_of(subject, listed.full_hash),
        attempts=attempts,
        detail=describe(listed),
        steps=(*steps, listed_step(finding, stage)),
    )


def listed_step(finding: ListedFinding, stage: Stage) -> Step:
    """Return the step of an answer that lists something."""
    return Step(stage, "listed", finding.listed.list or finding.answer.server)


def from_scan(
    detection: Detection, report: EngineReport, subject: Subject, steps: Sequence[Step], now: float
) -> Evidence:
    """An engine that looks into files knows this one, or a member of it."""
    made_at = report.signatures_at
    return Evidence(
        verdict=verdict_of(detection.risk),
        risk=detection.risk,
        stage=Stage.SCAN,
        threat=detection.threat,
        list=detection.engine,
        rule=detection.signature,
        source=detection.engine,
        list_age_s=None if made_at is None else max(0.0, now - made_at),
        hit=subject.hashes[0],
        expression=None if detection.member is None else f"member:{detection.member}",
        detail=None if detection.family is None else f"family: {detection.family}",
        steps=tuple(steps),
    )


def scan_steps(reports: Iterable[EngineReport], now: float) -> list[Step]:
    """Return a step for each engine that was to look."""
    return [_scan_step(report, now) for report in reports]


def _scan_step(report: EngineReport, now: float) -> Step:
    shown = [report.engine]
    if report.fault is not None:
        return Step(Stage.SCAN, "unverifiable", f"{report.engine}: {report.fault}", report.elapsed_ms)
    if report.skipped is not None:
        return Step(Stage.SCAN, "skipped", f"{report.engine}: {report.skipped}", report.elapsed_ms)
    shown += [
        detection.signature if detection.member is None else f"{detection.signature} in {detection.member}"
        for detection in report.detections[:_NAMES_SHOWN]
    ]
    if report.signatures_at is not None:
        shown.append(f"signatures {max(0.0, now - report.signatures_at):.0f} s old")
    if report.remembered:
        shown.append("looked at before")
    return Step(Stage.SCAN, "hit" if report.detections else "miss", ", ".join(shown), report.elapsed_ms)


def describe(listed: ListedHash) -> str | None:
    """Return what a server knows behind a listed hash, as text: feeds, family, first seen."""
    parts = []
    if listed.feeds:
        parts.append("feeds: " + ", ".join(listed.feeds))
    if listed.family:
        parts.append(f"family: {listed.family}")
    if listed.first_seen is not None and (day := _day(listed.first_seen)) is not None:
        parts.append(f"first seen: {day}")
    return "; ".join(parts) or None


def _day(at: float) -> str | None:
    """Return the day of an instant that a server named; None for one that no calendar has."""
    try:
        return datetime.fromtimestamp(at, UTC).date().isoformat()
    except (OverflowError, ValueError, OSError):
        return None


def unknown(
    stage: Stage, steps: Sequence[Step], *, server: str | None = None, stale: bool = False, attempts: int = 0
) -> Evidence:
    """Nothing lists the subject: an answer, not a failure."""
    return Evidence(
        verdict=Verdict.UNKNOWN,
        risk=Risk.UNTESTED,
        stage=stage,
        server=server,
        stale=stale,
        attempts=attempts,
        steps=tuple(steps),
    )


def unverifiable(
    reason: str, steps: Sequence[Step], *, stage: Stage = Stage.UNVERIFIABLE, attempts: int = 0
) -> Evidence:
    """Nobody could answer; the policy decides by class."""
    return Evidence(
        verdict=Verdict.UNKNOWN,
        risk=Risk.UNTESTED,
        stage=stage,
        unverifiable=reason,
        attempts=attempts,
        detail=reason,
        steps=(*steps, Step(stage, "unverifiable", reason)),
    )


def attempt_steps(tier: Tier, attempts: Iterable[Attempt]) -> list[Step]:
    """Return a step for each request of a query."""
    return [
        Step(
            Stage.QUERY,
            "answered" if attempt.outcome == "answered" else "failed",
            f"{tier}: {attempt.server}: {attempt.outcome}",
            attempt.elapsed_ms,
        )
        for attempt in attempts
    ]
