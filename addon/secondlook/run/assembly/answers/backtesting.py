"""Back-testing as people ask for it: a rule, the name of a list, or a level, against the log."""

import re
from collections import Counter
from collections.abc import Sequence
from difflib import get_close_matches

from secondlook.agent.backtest import (
    BacktestReport,
    LevelChange,
    ListChange,
    ProposedChange,
    RuleChange,
    backtest,
)
from secondlook.core.event import EventKind
from secondlook.core.lists.pattern import Pattern
from secondlook.core.rules.policy import Level
from secondlook.core.rules.rule import Rule
from secondlook.core.rules.rulebook import RuleBook
from secondlook.core.rules.subject import parse_subject
from secondlook.core.url.canonical import url_subject
from secondlook.core.url.expression import Suffixes
from secondlook.ledger.log.event_log import EventLog
from secondlook.ledger.log.filter import EventFilter
from secondlook.suffix import load_suffixes

DAY_S = 86_400.0
_WORD = re.compile(r"[A-Za-z0-9-]{1,63}")
HOSTS_SHOWN = 20
VISITS = tuple(
    str(kind) for kind in (EventKind.CHECK, EventKind.BLOCKED, EventKind.FLAGGED, EventKind.WOULD_BLOCK)
)


def change_from(
    text: str, pattern: Pattern, level: Level, now: float, *, action: str = "block"
) -> ProposedChange:
    """Understand what shall be tried. Raises ValueError for what is neither level, list nor rule.

    A word without a dot is a level or a list, and no host: `mw-zz` is mistyped more often than it is visited.
    """
    lists = {info.name: (info, table) for info, table in pattern.lists}
    if (text in tuple(Level) or text in lists) and action == "allow":
        raise ValueError(f"only a rule can allow: {text} is a {'list' if text in lists else 'level'}")
    if text in tuple(Level):
        return LevelChange(Level(text))
    if text in lists:
        info, table = lists[text]
        return ListChange(table, info.kind, info.risk, level)
    if _WORD.fullmatch(text):
        raise ValueError(_unknown(text, sorted(lists)))
    scope, subject = parse_subject(text, load_suffixes())
    rule = Rule(
        id="tried",
        action="allow" if action == "allow" else "block",
        scope=scope,
        subject=subject,
        client=None,
        reason=None,
        created=now,
        expires=None,
    )
    return RuleChange(RuleBook([rule]))


def _unknown(text: str, lists: Sequence[str]) -> str:
    near = get_close_matches(text, (*lists, *Level), n=1)
    meant = f" (did you mean {near[0]}?)" if near else ""
    return (
        f"there is no list or level {text}{meant}; lists in force: {', '.join(lists) or 'none'}; "
        f"levels: {', '.join(Level)}; for the host write ={text}"
    )


def run_backtest(
    log: EventLog, change: ProposedChange, suffixes: Suffixes, *, since: float
) -> BacktestReport:
    """Judge the logged visits since then; blocks."""
    visits = log.export(EventFilter(kind=VISITS, since=since))
    return backtest(visits, [change], lambda text: url_subject(text, suffixes))


def report_json(report: BacktestReport) -> dict[str, object]:
    """Write a report as `rules backtest --json` does."""
    return {
        "examined": report.visits,
        "newly_blocked": report.newly_blocked,
        "newly_allowed": report.newly_allowed,
        "unreadable": report.unreadable,
        "hosts": _hosts(report.hosts),
        "allowed_hosts": _hosts(report.allowed_hosts),
        "clients": [
            {"client": client, "count": count} for client, count in report.clients.most_common(HOSTS_SHOWN)
        ],
        "often_visited": report.often_visited[:HOSTS_SHOWN],
    }


def _hosts(counts: Counter[str]) -> list[dict[str, object]]:
    return [{"host": host, "count": count} for host, count in counts.most_common(HOSTS_SHOWN)]
