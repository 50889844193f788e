"""What the internal site reads and writes: events that come in a moment, exceptions for exactly one URL."""

import asyncio
from dataclasses import replace

import pytest

from secondlook.core.event import Event, EventKind
from secondlook.core.rules.rule import Rule, Scope
from secondlook.core.rules.rulebook import RuleBook
from secondlook.core.tls_exception import Lasting
from secondlook.core.url.canonical import url_subject
from secondlook.ground.clock import SystemClock
from secondlook.ground.ulid import make_id
from secondlook.ledger.ledger import EventFilter, Ledger, LedgerOptions
from secondlook.ledger.log.shape import event_json
from secondlook.review import words
from secondlook.run.assembly.check.parts import LedgerRecords
from secondlook.suffix import load_suffixes

pytestmark = pytest.mark.anyio
URL = "http://blocked.example/page?id=7"


@pytest.fixture
def open_ledger(tmp_path):
    opened = []

    def make(privacy):
        opened.append(Ledger.open(tmp_path / "ledger.sqlite3", LedgerOptions(privacy=privacy)))
        return opened[-1]

    yield make
    for ledger in opened:
        ledger.close()


def blocked(user=None):
    now = SystemClock.now()
    subject = url_subject(URL, load_suffixes())
    return Event(
        id=make_id(now), kind=EventKind.BLOCKED, time=now, url=URL, host="blocked.example", client="10.0.0.7", user=user,
        identity=subject.identity, decision="block",
    )  # fmt: skip


async def written(ledger, records, user=None):
    event = blocked(user)
    ledger.recorder.record(event)
    found = await records.event(event.id)  # it may still be on its way
    assert found is not None
    return found


async def test_an_exception_is_for_the_whole_url(open_ledger):
    ledger = open_ledger(0)
    records = LedgerRecords(ledger, load_suffixes(), SystemClock(), RuleBook)
    event = await written(ledger, records)
    assert records.whole(event)
    await records.make_exception(event, 600)
    (rule,) = ledger.rules.all()
    assert (rule.subject, rule.client, rule.source) == (URL, "10.0.0.7", "override")
    # one block, and no second one: neither in the log nor in the counts
    (block,) = ledger.events.page(EventFilter(decision="block")).events
    assert block.id == event.id
    (hour,) = ledger.statistics.hourly(event.time, event.time)
    assert (hour.checked, hour.blocked) == (1, 1)
    (made,) = ledger.events.page(EventFilter(kind="overridden")).events
    assert words.headline(event_json(made)).startswith("Overridden: ")
    assert words.sentence(event_json(made)) == f"Allowed for 10 min from the block page of event {event.id}."


async def test_an_exception_is_for_the_user_and_the_address_that_were_blocked(open_ledger):
    ledger = open_ledger(0)
    records = LedgerRecords(ledger, load_suffixes(), SystemClock(), RuleBook)
    await records.make_exception(await written(ledger, records, "anna"), 600)
    book, subject = RuleBook(ledger.rules.all()), url_subject(URL, load_suffixes())
    assert book.match(subject, "10.0.0.7", "anna", SystemClock.now()) is not None
    for client, user in (("10.0.0.7", "bob"), ("10.0.0.7", None), ("10.0.0.8", "anna")):
        assert book.match(subject, client, user, SystemClock.now()) is None


async def test_an_exception_is_in_force_in_other_workers_when_it_is_made(open_ledger, monkeypatch):
    ledger = open_ledger(0)
    records = LedgerRecords(ledger, load_suffixes(), SystemClock(), RuleBook, elsewhere_s=0.05)
    event = await written(ledger, records)
    rules_then = []
    slept = asyncio.sleep

    async def sleep(seconds):
        rules_then.append((seconds, len(ledger.rules.all())))
        await slept(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    await records.make_exception(event, 600)
    assert rules_then == [(0.05, 1)]  # it was stored, and the others had the time to look


async def test_an_exception_that_holds_is_not_made_again(open_ledger):
    ledger = open_ledger(0)
    records = LedgerRecords(ledger, load_suffixes(), SystemClock(), RuleBook)
    event = await written(ledger, records)
    for _ in range(3):
        await records.make_exception(event, 600)
    (rule,) = ledger.rules.all()
    assert len(ledger.events.page(EventFilter(kind=("overridden",)), limit=9).events) == 1
    ledger.rules.add(replace(rule, expires=rule.created))  # it has ended: now another may be made
    await records.make_exception(event, 600)
    (again,) = ledger.rules.all()
    assert again.expires > rule.created + 1


@pytest.mark.parametrize("privacy", [1, 2])
async def test_none_is_made_of_what_privacy_left_of_a_url(open_ledger, privacy):
    ledger = open_ledger(privacy)
    records = LedgerRecords(ledger, load_suffixes(), SystemClock(), RuleBook)
    event = await written(ledger, records)
    assert not records.whole(event)
    with pytest.raises(ValueError, match="privacy"):
        await records.make_exception(event, 600)
    assert not ledger.rules.all()


@pytest.mark.parametrize(
    ("action", "subject", "expires", "closed"),
    [
        ("block", "blocked.example", None, True),
        ("block", "elsewhere.example", None, False),
        ("block", "blocked.example", 1.0, False),
        ("allow", "blocked.example", None, False),
    ],
)
async def test_what_a_rule_blocks_since_is_closed(open_ledger, action, subject, expires, closed):
    ledger = open_ledger(0)
    rule = Rule(id="1", action=action, scope=Scope.DOMAIN, subject=subject, client=None, reason=None, created=0.0, expires=expires)  # fmt: skip
    records = LedgerRecords(ledger, load_suffixes(), SystemClock(), lambda: RuleBook([rule]))
    assert records.closed(await written(ledger, records)) is closed


async def test_an_event_that_comes_a_moment_later_is_found(open_ledger):
    ledger = open_ledger(0)
    records = LedgerRecords(ledger, load_suffixes(), SystemClock(), RuleBook)
    event = blocked()
    asking = asyncio.ensure_future(records.event(event.id))
    await asyncio.sleep(0)
    ledger.recorder.record(event)
    assert (await asking).id == event.id


@pytest.mark.parametrize("privacy", [0, 2])
async def test_a_passage_is_in_the_log_when_it_is_made_and_in_force(open_ledger, privacy):
    ledger = open_ledger(privacy)
    records = LedgerRecords(ledger, load_suffixes(), SystemClock(), RuleBook)
    failed = Event(
        id="E1", kind=EventKind.ERROR, time=1.0, client="10.0.0.7", user="anna", host="nas.test", stage="tls"
    )
    await records.pass_through(failed, 600)
    (passage,) = ledger.events.passages(Lasting(excepted_s=600))
    assert (passage.client, passage.user, passage.host) == ("10.0.0.7", "anna", "nas.test")
    (told,) = ledger.events.page(EventFilter(kind=("overridden",)), limit=9).events
    assert "TLS of anna at 10.0.0.7 to nas.test is passed through unopened until" in (told.detail or "")
