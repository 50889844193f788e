"""What may go on before its record is there: nothing that nobody verified."""

import asyncio
from dataclasses import replace

import pytest

from agentkit.house import House, make_pattern
from agentkit.servers import FakeServer
from ledgerkit.samples import make_rule
from secondlook.agent.check.gatekeeper import Gatekeeper
from secondlook.core.answer import Tier
from secondlook.core.asking.cache import AnswerCache
from secondlook.core.event import EventKind
from secondlook.core.rules.policy import Level, Mode, Policy
from secondlook.core.rules.rule import Scope
from secondlook.core.subject import FileSubject, RequestContext
from secondlook.core.verdict import Action, Risk, Stage, SubjectClass

URL = "http://let-through.test/x"
PAGE = RequestContext(SubjectClass.PAGE, client="127.0.0.1", url=URL, method="GET")


class Broken(AnswerCache):
    """A part that fails: what a check cannot know then is flagged at once, without a question."""

    def __getattribute__(self, name):
        raise RuntimeError("planted")


@pytest.fixture
def house():
    house = House(FakeServer(Tier.INTRANET))
    house.checker.cache = object.__new__(Broken)
    yield house
    house.close()


@pytest.mark.parametrize("way", ["now", "local"])
def test_a_flag_is_never_settled_without_waiting(house, way):
    subject = house.subject(URL)
    decided = house.checker.check_now if way == "now" else house.checker.check_local
    assert decided(subject, PAGE).action is Action.FLAG
    assert getattr(house.gatekeeper, way)(subject, PAGE) is None
    assert not house.ledger.waiting
    waited = house.gatekeeper.check if way == "now" else house.gatekeeper.check_local
    assert house.run(waited(subject, PAGE)).action is Action.FLAG
    assert len(house.ledger.waiting) == 1


def test_a_flag_that_nothing_stores_is_a_refusal_either_way(house):
    house.ledger.full = house.ledger.journal_full = True
    subject = house.subject(URL)
    for check in (house.gatekeeper.check, house.gatekeeper.check_local):
        decision = house.run(check(subject, PAGE))
        assert (decision.action, decision.evidence.stage) == (Action.BLOCK, Stage.LEDGER)


def flagged(house):
    return [event for event in house.ledger.recorded if event.kind is EventKind.FLAGGED]


def test_what_settling_a_flag_breaks_on_is_refused(house, monkeypatch, caplog):
    async def broken(event, entry):
        raise RuntimeError("planted")

    monkeypatch.setattr(house.ledger.flags, "flag", broken)
    decision = house.run(house.gatekeeper.check(house.subject(URL), PAGE))
    assert (decision.action, decision.evidence.stage) == (Action.BLOCK, Stage.LEDGER)
    assert "settling a flag failed" in caplog.text


def test_a_flag_is_committed_before_anybody_may_go_on(house, monkeypatch):
    committed = asyncio.Event()
    store = house.ledger.flags.flag

    async def slowly(event, entry):
        await committed.wait()
        await store(event, entry)

    monkeypatch.setattr(house.ledger.flags, "flag", slowly)

    async def main():
        going = asyncio.create_task(house.gatekeeper.check(house.subject(URL), PAGE))
        await asyncio.sleep(10)
        assert not going.done()
        committed.set()
        decision = await going
        assert decision.action is Action.FLAG
        assert [event.id for event in flagged(house)] == [decision.event_id]

    house.run(main())


def test_the_refusal_of_a_flag_leaves_an_event(house):
    house.ledger.full = house.ledger.journal_full = True
    decision = house.run(house.gatekeeper.check(house.subject(URL), PAGE))
    house.ledger.full = False
    [event] = house.ledger.recorded
    assert (event.id, event.kind, event.stage) == (decision.event_id, EventKind.BLOCKED, Stage.LEDGER)


class Answering:
    """A house whose server answers."""

    def __init__(self, **options):
        self.house = House(FakeServer(Tier.INTRANET), policy=options.pop("policy", None))
        house = self.house
        house.gatekeeper = Gatekeeper(house.checker, house.ledger, house.clock, **options)

    def __enter__(self):
        return self.house

    def __exit__(self, *_):
        self.house.close()


def at_once(house, function, *arguments, **options):
    """Call what does not wait, on the loop as the hooks do."""

    async def main():
        return function(*arguments, **options)

    return house.run(main())


def listed(house, url=URL, risk=Risk.DANGEROUS):
    house.servers[0].listed[house.subject(url).hashes[0]] = risk


def blocking(scope, subject):
    return make_rule(action="block", scope=scope, subject=subject)


FILE = FileSubject((b"f" * 32,))
DOWNLOAD = RequestContext(
    SubjectClass.DOWNLOAD, client="127.0.0.1", url="http://files.test/a.exe", method="GET"
)


@pytest.mark.parametrize("late", [False, True])
def test_what_has_reached_the_client_already_is_a_late_verdict(late):
    with Answering() as house:
        house.publish(make_pattern([house.subject(URL).hashes[0]], now=house.clock.now()))
        decision = at_once(house, house.gatekeeper.local, house.subject(URL), PAGE, late=late)
        assert decision.action is Action.BLOCK
        [event] = house.ledger.recorded
        assert event.kind is (EventKind.LATE_VERDICT if late else EventKind.BLOCKED)


@pytest.mark.parametrize("log_all", [False, True])
def test_of_what_is_allowed_an_event_is_kept_only_where_all_are_wanted(log_all):
    with Answering(log_all=log_all) as house:
        decision = house.run(house.gatekeeper.check(house.subject(URL), PAGE))
        assert decision.action is Action.ALLOW
        assert [event.kind for event in house.ledger.recorded] == [EventKind.CHECK] * log_all
        assert (decision.event_id is not None) == log_all
        assert len(house.ledger.history.recent) == 1
        assert not house.ledger.snapshots.confirmed()
        assert sum(house.ledger.counts.tallies.values()) == (not log_all)


@pytest.mark.parametrize(("scope", "hits"), [("rules", 1), ("pattern", 0)])
def test_a_rule_that_allows_counts_its_hits(scope, hits):
    with Answering() as house:
        if scope == "rules":
            house.ledger.rules.add(
                replace(blocking(Scope.DOMAIN, "let-through.test"), id="mine", action="allow")
            )
            house.reload()
        house.run(house.gatekeeper.check(house.subject(URL), PAGE))
        assert house.ledger.counts.hits.total() == hits


def test_what_assessment_mode_lets_through_unknown_is_remembered():
    with Answering(policy=Policy(block_untested=True, mode=Mode.ASSESS)) as house:
        decision = house.run(house.gatekeeper.check(house.subject(URL), PAGE))
        assert (decision.action, decision.would_block) == (Action.ALLOW, True)
        assert len(house.ledger.history.recent) == 1


def test_what_a_list_alone_holds_is_not_confirmed():
    with Answering(policy=Policy(level=Level.LOW)) as house:
        pattern = make_pattern([house.subject(URL).hashes[0]], now=house.clock.now(), risk=Risk.SUSPICIOUS)
        house.publish(pattern)
        decision = house.run(house.gatekeeper.check(house.subject(URL), PAGE))
        assert (decision.action, decision.evidence.stage) == (Action.ALLOW, Stage.PATTERN)
        house.sleep(1)
        assert not house.ledger.snapshots.confirmed()


def test_a_mild_finding_of_another_check_takes_away_no_worse_answer():
    """Two pages of a host in one request; what is listed of the host is in force when the second concludes."""
    with Answering() as house:
        server = house.lookup.servers[Tier.INTRANET]
        server.listed[house.subject("http://host.test/").hashes[0]] = Risk.SUSPICIOUS
        server.listed[house.subject("http://host.test/x").hashes[0]] = Risk.DANGEROUS

        async def at_once():
            return await asyncio.gather(
                *(house.gatekeeper.check(house.subject(f"http://host.test/{path}"), PAGE) for path in "ax")
            )

        mild, bad = house.run(at_once())
        assert (mild.action, mild.evidence.risk) == (Action.ALLOW, Risk.SUSPICIOUS)
        assert (bad.action, bad.evidence.risk) == (Action.BLOCK, Risk.DANGEROUS)
        assert {entry.risk for entry in house.view.current.learned.values()} == {"suspicious", "dangerous"}


def test_without_a_history_nothing_is_remembered():
    with Answering(history=False) as house:
        house.run(house.gatekeeper.check(house.subject(URL), PAGE))
        assert not house.ledger.history.recent


@pytest.mark.parametrize(
    ("policy", "kind"),
    [
        (Policy(), EventKind.BLOCKED),
        (Policy(mode=Mode.ASSESS), EventKind.WOULD_BLOCK),
        (Policy(level=Level.LOW), None),
    ],
)
def test_what_a_server_lists_is_confirmed_whatever_is_done_about_it(policy, kind):
    with Answering(policy=policy) as house:
        listed(house, risk=Risk.SUSPICIOUS if kind is None else Risk.DANGEROUS)
        house.run(house.gatekeeper.check(house.subject(URL), PAGE))
        house.sleep(1)
        assert [event.kind for event in house.ledger.recorded] == ([] if kind is None else [kind])
        assert [entry.hit for entry in house.ledger.snapshots.confirmed()] == [house.subject(URL).hashes[0]]


def test_what_a_rule_blocks_is_no_finding():
    with Answering() as house:
        house.ledger.rules.add(blocking(Scope.DOMAIN, "let-through.test"))
        house.ledger.rules.add(blocking(Scope.SHA256, FILE.identity.hex()))
        house.reload()
        assert house.run(house.gatekeeper.check(house.subject(URL), PAGE)).action is Action.BLOCK
        assert house.run(house.gatekeeper.check(FILE, DOWNLOAD)).action is Action.BLOCK
        house.sleep(1)
        assert not house.ledger.snapshots.confirmed()
        assert house.gatekeeper.checker.check_now(house.subject(DOWNLOAD.url), DOWNLOAD) is None


@pytest.mark.parametrize(
    ("reblock_s", "url", "policy", "refused"),
    [
        (600.0, DOWNLOAD.url, Policy(), True),
        (0.0, DOWNLOAD.url, Policy(), False),
        (600.0, None, Policy(), False),
        (600.0, DOWNLOAD.url, Policy(mode=Mode.ASSESS), False),
    ],
)
def test_the_url_of_a_bad_file_is_refused_for_a_while(reblock_s, url, policy, refused):
    with Answering(reblock_s=reblock_s, policy=policy) as house:
        house.servers[0].listed[FILE.identity] = Risk.DANGEROUS
        context = replace(DOWNLOAD, url=url)
        house.run(house.gatekeeper.check(FILE, context))
        again = house.gatekeeper.now(house.subject(DOWNLOAD.url), DOWNLOAD)
        assert (again is not None and again.action is Action.BLOCK) == refused
        house.sleep(601)
        assert house.gatekeeper.now(house.subject(DOWNLOAD.url), DOWNLOAD) is None


def test_closing_leaves_nothing_running():
    with Answering() as house:
        house.servers[0].delay_s = 5.0
        listed(house)
        house.publish(make_pattern([house.subject(URL).hashes[0]], now=house.clock.now(), tier=Tier.INTRANET))
        at_once(house, house.gatekeeper.now, house.subject(URL), PAGE)
        assert asyncio.all_tasks(house.loop)
        house.run(house.gatekeeper.aclose())
        assert not asyncio.all_tasks(house.loop)
        assert house.ledger.recorded[0].detail is None, "nobody waits for it any more"


def test_a_record_that_fails_does_not_change_the_decision(monkeypatch, caplog):
    def broken(event):
        raise RuntimeError("planted")

    with Answering() as house:
        house.publish(make_pattern([house.subject(URL).hashes[0]], now=house.clock.now()))
        monkeypatch.setattr(house.ledger.recorder, "record", broken)
        assert at_once(house, house.gatekeeper.now, house.subject(URL), PAGE).action is Action.BLOCK
        assert "recording a decision failed" in caplog.text


def test_many_hits_at_once_ask_for_the_details_of_some():
    with Answering() as house:
        urls = [f"http://bad{number}.test/" for number in range(300)]
        house.servers[0].delay_s = 1.0
        house.publish(
            make_pattern(
                [house.subject(url).hashes[0] for url in urls], now=house.clock.now(), tier=Tier.INTRANET
            )
        )

        async def main():
            for url in urls:
                assert house.gatekeeper.now(house.subject(url), replace(PAGE, url=url)).action is Action.BLOCK

        house.run(main())
        details = [event.detail for event in house.ledger.recorded]
        assert (details.count("pending"), details.count(None)) == (256, 44)
