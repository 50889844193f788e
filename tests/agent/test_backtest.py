import pytest

from agentkit.hash_lists import build
from secondlook.agent.backtest import LevelChange, ListChange, RuleChange, backtest
from secondlook.core.event import Event, EventKind
from secondlook.core.lists.hashlist import HashList
from secondlook.core.rules.policy import Level
from secondlook.core.rules.rule import Rule, Scope
from secondlook.core.rules.rulebook import RuleBook
from secondlook.core.subject import SubjectKind
from secondlook.core.url.canonical import url_subject as make_subject
from secondlook.core.verdict import Risk


@pytest.fixture
def url_subject(suffixes):
    return lambda url: make_subject(url, suffixes)


def visit(url, kind=EventKind.CHECK, number=0, **more) -> Event:
    values = {"decision": "allow", "verdict": "unknown", "risk": "untested", "client": "10.0.0.1"} | more
    host = url.split("/")[2] if url else None
    return Event(
        kind=kind, time=1000.0, id=str(number), url=url, host=host, subject=SubjectKind.URL, **values
    )


def rule(action, subject, scope=Scope.DOMAIN, **more) -> Rule:
    values = {"id": "r", "client": None, "reason": None, "created": 0.0, "expires": None} | more
    return Rule(action=action, scope=scope, subject=subject, **values)


def test_a_rule_shows_what_it_would_hurt(url_subject):
    events = [
        visit("http://shop.test/a"),
        visit("http://www.shop.test/b"),
        visit("http://shop.test/c"),
        visit("http://x.test/"),
    ]
    events.append(visit("http://shop.test/bad", EventKind.BLOCKED, verdict="malicious", risk="dangerous"))
    events.append(Event(kind=EventKind.SERVER, time=1.0, id="s"))
    report = backtest(events, [RuleChange(RuleBook([rule("block", "shop.test")]))], url_subject)
    assert (report.visits, report.matched, report.newly_blocked, report.newly_allowed) == (5, 4, 3, 0)
    assert report.hosts["shop.test"] == 2
    assert report.often_visited == []
    allow = backtest(events, [RuleChange(RuleBook([rule("allow", "shop.test")]))], url_subject)
    assert (allow.newly_blocked, allow.newly_allowed) == (0, 1)


def test_client_scoped_and_expired_rules_count_as_they_would(url_subject):
    events = [visit("http://a.test/"), visit("http://a.test/", client="10.0.0.2")]
    only = backtest(events, [RuleChange(RuleBook([rule("block", "a.test", client="10.0.0.2")]))], url_subject)
    assert only.newly_blocked == 1
    gone = backtest(events, [RuleChange(RuleBook([rule("block", "a.test", expires=999.0)]))], url_subject)
    assert gone.newly_blocked == 0


def test_a_list_blocks_what_it_holds_if_the_level_does(url_subject):
    table = HashList.open(build([url_subject("http://a.test/").hashes[0]], 8))
    events = [visit("http://a.test/page"), visit("http://b.test/")] * 3
    report = backtest(events, [ListChange(table, SubjectKind.URL, Risk.SUSPICIOUS, Level.HIGH)], url_subject)
    assert (report.newly_blocked, report.often_visited) == (3, ["a.test"])
    assert (
        backtest(events, [ListChange(table, SubjectKind.URL, Risk.SUSPICIOUS)], url_subject).newly_blocked
        == 0
    )


def test_a_level_moves_what_was_found(url_subject):
    events = [
        visit("http://a.test/", verdict="suspicious", risk="suspicious"),
        visit("http://b.test/", EventKind.BLOCKED, verdict="malicious", risk="highly_suspicious"),
        visit("http://c.test/"),
        visit("http://d.test/", EventKind.FLAGGED, decision="flag"),
        visit("http://e.test/", rule="r9", verdict="clean", risk="safe"),
    ]
    high = backtest(events, [LevelChange(Level.HIGH)], url_subject)
    assert (high.newly_blocked, high.newly_allowed) == (1, 0)
    low = backtest(events, [LevelChange(Level.LOW)], url_subject)
    assert (low.newly_blocked, low.newly_allowed) == (0, 1)
    assert backtest(events, [LevelChange(Level.MEDIUM, block_untested=True)], url_subject).newly_blocked == 1


def test_files_are_judged_by_their_hash_and_gaps_are_counted(url_subject):
    digest = (b"f" * 32).hex()
    events = [
        Event(kind=EventKind.CHECK, time=1.0, id="f", subject=SubjectKind.FILE, sha256=digest, host="h.test"),
        visit(None),
    ]
    report = backtest(events, [RuleChange(RuleBook([rule("block", digest, Scope.SHA256)]))], url_subject)
    assert (report.newly_blocked, report.unreadable) == (1, 1)
