"""Backtest: what a rule, a list or another level would have blocked in the last days of the log.

A pure function over events. Each event is judged twice: as it was decided, and as the change would have
decided it; the report counts what would be blocked in addition and what no longer, with examples and
how often each host was visited, so that a change that hurts shows before it is made.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from secondlook.core.event import Event, EventKind
from secondlook.core.lists.hashlist import HashList
from secondlook.core.rules.policy import BLOCKED, Level
from secondlook.core.rules.rulebook import RuleBook
from secondlook.core.subject import FileSubject, Subject, SubjectKind, UrlSubject
from secondlook.core.verdict import Action, Risk, Verdict

_VISITS = frozenset({EventKind.CHECK, EventKind.BLOCKED, EventKind.FLAGGED, EventKind.WOULD_BLOCK})
_BAD = frozenset({Verdict.MALICIOUS, Verdict.SUSPICIOUS})
_MOST_EXAMPLES = 100
_OFTEN = 3  # visits that make a host often visited


@dataclass(frozen=True, slots=True)
class RuleChange:
    """A rule, or several, of the operator.

    `judge` of a change returns what it alone makes of a visit, None where it decides nothing.
    """

    book: RuleBook

    def judge(self, event: Event, subject: Subject) -> Action | None:
        """Apply the rules as they were written, at the time of the visit."""
        rule = self.book.match(subject, event.client, event.user, event.time)
        if rule is None:
            return None
        return Action.ALLOW if rule.action == "allow" else Action.BLOCK


@dataclass(frozen=True, slots=True)
class ListChange:
    """A hash list that would join the block lists, with the risk of its entries."""

    table: HashList
    kind: SubjectKind
    risk: Risk
    level: Level = Level.MEDIUM

    def judge(self, event: Event, subject: Subject) -> Action | None:  # noqa: ARG002 - fits Change
        """Block what the list holds, as far as the level blocks its risk."""
        if subject.kind is not self.kind or self.risk not in BLOCKED[self.level]:
            return None
        return Action.BLOCK if any(self.table.has(full_hash) for full_hash in subject.hashes) else None


@dataclass(frozen=True, slots=True)
class LevelChange:
    """Another level, and another answer about what is untested."""

    level: Level
    block_untested: bool = False

    def judge(self, event: Event, subject: Subject) -> Action | None:  # noqa: ARG002 - fits Change
        """Judge the risk that was found; what a rule decided stays as it was."""
        if event.rule is not None or event.verdict is None or event.risk is None:
            return None
        if event.verdict in _BAD:
            return Action.BLOCK if Risk(event.risk) in BLOCKED[self.level] else Action.ALLOW
        if event.verdict == Verdict.UNKNOWN and event.decision != Action.FLAG:
            return Action.BLOCK if self.block_untested else Action.ALLOW
        return None


type ProposedChange = RuleChange | ListChange | LevelChange


@dataclass(slots=True)
class BacktestReport:
    """What a change would have done to the visits of the log."""

    visits: int = 0
    matched: int = 0  # visits that the change decides
    newly_blocked: int = 0
    newly_allowed: int = 0
    unreadable: int = 0  # visits of which the log keeps too little (privacy level)
    hosts: Counter[str] = field(default_factory=Counter)  # of what would be blocked in addition
    allowed_hosts: Counter[str] = field(default_factory=Counter)  # of what would no longer be blocked
    clients: Counter[str] = field(default_factory=Counter)
    examples: list[Event] = field(default_factory=list)

    @property
    def often_visited(self) -> list[str]:
        """Hosts among the newly blocked that were visited often: the mistakes that would hurt."""
        return [host for host, count in self.hosts.most_common() if count >= _OFTEN]


def backtest(
    events: Iterable[Event], changes: Sequence[ProposedChange], url_subject: Callable[[str], UrlSubject]
) -> BacktestReport:
    """Judge every visit in `events` by the changes; the first that applies decides."""
    report = BacktestReport()
    for event in events:
        if event.kind not in _VISITS:
            continue
        report.visits += 1
        subject = subject_of(event, url_subject)
        if subject is None:
            report.unreadable += 1
            continue
        decided = next(
            (action for change in changes if (action := change.judge(event, subject)) is not None), None
        )
        if decided is None:
            continue
        report.matched += 1
        was_blocked = event.kind in (EventKind.BLOCKED, EventKind.WOULD_BLOCK)
        if decided is Action.BLOCK and not was_blocked:
            report.newly_blocked += 1
            report.hosts[event.host or "(not kept)"] += 1
            report.clients[event.client or "(not kept)"] += 1
            if len(report.examples) < _MOST_EXAMPLES:
                report.examples.append(event)
        elif decided is Action.ALLOW and was_blocked:
            report.newly_allowed += 1
            report.allowed_hosts[event.host or "(not kept)"] += 1
    return report


def subject_of(event: Event, url_subject: Callable[[str], UrlSubject]) -> Subject | None:
    """Make the subject of a logged visit again; None where the log keeps too little."""
    if event.subject is SubjectKind.FILE:
        return FileSubject((bytes.fromhex(event.sha256),)) if event.sha256 else None
    return url_subject(event.url) if event.url else None
