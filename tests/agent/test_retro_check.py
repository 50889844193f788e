import asyncio
import contextlib

import pytest

from agentkit.house import House, confirmed_about, make_pattern
from agentkit.servers import FakeServer
from secondlook.agent.check.groups import Policies
from secondlook.agent.recheck.retro_check import RetroCheck
from secondlook.core.answer import Tier
from secondlook.core.event import EventKind
from secondlook.core.rules.policy import Level, Mode, Policy
from secondlook.core.rules.rule import Rule, Scope
from secondlook.core.subject import RequestContext
from secondlook.core.verdict import Action, Risk, SubjectClass


def visit(house, url, client="127.0.0.1"):
    use = RequestContext(SubjectClass.PAGE, client=client, url=url, method="GET")
    return house.run(house.gatekeeper.check(house.subject(url), use))


class Looking(House):
    late: RetroCheck


@pytest.fixture
def house():
    house = Looking(FakeServer(Tier.INTRANET))
    house.late = RetroCheck(house.view, house.ledger.history, house.enforcement, house.clock)
    yield house
    house.close()


def test_what_was_allowed_and_is_listed_now_is_a_late_verdict(house):
    visit(house, "http://later-bad.test/x")
    visit(house, "http://fine.test/x")
    house.publish(make_pattern([house.subject("http://later-bad.test/x").hashes[0]], now=house.clock.now()))
    assert house.run(house.late.look()) == 1
    event = house.ledger.recorded[-1]
    assert (event.kind, event.url, event.list) == (EventKind.LATE_VERDICT, "http://later-bad.test/x", "mw-8b")
    assert event.extra["clients"] == ["127.0.0.1"]
    assert len(house.told) == 1
    house.reload()
    assert visit(house, "http://later-bad.test/x").action is Action.BLOCK
    assert house.run(house.late.look()) == 0


def test_a_finding_about_a_host_reaches_every_page_of_it_that_was_visited(house):
    visit(house, "http://h.test/a")
    visit(house, "http://www.h.test/b")
    entry = confirmed_about(house, "http://h.test/")
    house.ledger.confirmed_set[entry.identity] = entry
    house.reload()
    assert house.run(house.late.look()) == 2


def test_what_is_written_down_late_is_not_missed(house):
    """Another worker still lets it through as the pattern changes, and its history is written 5 s later."""
    memory, written = house.ledger.history.recent, {}
    visit(house, "http://later-bad.test/x")
    written.update(memory)
    memory.clear()
    house.publish(make_pattern([house.subject("http://later-bad.test/x").hashes[0]], now=house.clock.now()))

    async def work():
        house.late.trigger()
        running = asyncio.ensure_future(house.late.run())
        await asyncio.sleep(5)
        memory.update(written)
        await asyncio.sleep(5)
        running.cancel()

    house.run(work())
    assert house.ledger.recorded[-1].kind is EventKind.LATE_VERDICT


def test_too_long_ago_is_forgotten(house):
    visit(house, "http://later-bad.test/x")
    house.sleep(8 * 86_400)
    house.publish(make_pattern([house.subject("http://later-bad.test/x").hashes[0]], now=house.clock.now()))
    assert house.run(house.late.look()) == 0


BAD = "http://bad.test/x"
LET_THROUGH_KNOWINGLY = {
    "a rule": lambda house: house.ledger.rules.add(allowed(house)),
    "an exception": lambda house: house.ledger.rules.add(
        allowed(house, source="override", client="127.0.0.1")
    ),
    "a pause": lambda house: house.ledger.pauses.add(5),
    "assessment": lambda house: house.view.replace(policies=Policies(Policy(mode=Mode.ASSESS))),
    "the level": lambda house: house.view.replace(policies=Policies(Policy(level=Level.LOW))),
}


def allowed(house, source="operator", client=None):
    return Rule(
        id="", action="allow", scope=Scope.DOMAIN, subject="bad.test", client=client, reason=None,
        created=house.clock.now(), expires=house.clock.now() + 3600, source=source,
    )  # fmt: skip


@pytest.mark.parametrize("known", ["pattern", "confirmed"])
@pytest.mark.parametrize("how", LET_THROUGH_KNOWINGLY)
def test_what_was_let_through_knowing_that_it_is_listed_is_no_late_verdict(house, how, known):
    hit, now = house.subject(BAD).hashes[0], house.clock.now()
    risk = Risk.SUSPICIOUS if how == "the level" else Risk.DANGEROUS
    if known == "pattern":
        house.publish(make_pattern([hit], now=now, risk=risk))
    else:  # the finding is about the host, the visit to a page of it
        entry = confirmed_about(house, "http://bad.test/", risk=risk)
        house.ledger.confirmed_set[entry.identity] = entry
    LET_THROUGH_KNOWINGLY[how](house)
    house.reload()
    assert visit(house, BAD).action is Action.ALLOW
    assert house.run(house.late.look()) == 0
    assert not house.ledger.history.recent


def test_what_a_server_had_answered_is_known_to_a_rule_too(house):
    house.servers[0].listed[house.subject(BAD).hashes[0]] = Risk.DANGEROUS
    assert visit(house, BAD).action is Action.BLOCK
    house.ledger.confirmed_set.clear()
    house.ledger.rules.add(allowed(house))
    house.reload()
    assert visit(house, BAD).action is Action.ALLOW
    assert not house.ledger.history.recent


def test_what_a_rule_let_through_while_nothing_was_known_is_a_late_verdict(house):
    house.ledger.rules.add(allowed(house))
    house.reload()
    visit(house, BAD)
    house.publish(make_pattern([house.subject(BAD).hashes[0]], now=house.clock.now()))
    assert house.run(house.late.look()) == 1


def test_a_ledger_that_fails_is_tried_again(house, caplog):
    visit(house, "http://later-bad.test/x")
    house.publish(make_pattern([house.subject("http://later-bad.test/x").hashes[0]], now=house.clock.now()))
    house.ledger.full = True
    assert house.run(house.late.look()) == 0
    house.ledger.full = False
    assert house.run(house.late.look()) == 1


def test_a_long_history_is_not_walked_all_the_time(house):
    walks = []

    async def slowly(*, since, batch=1):
        walks.append(house.clock.monotonic())
        await asyncio.sleep(20)
        house.late.trigger()
        for part in ():
            yield part

    house.ledger.history.remembered = slowly

    async def for_an_hour():
        house.late.trigger()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(house.late.run(), 3600)

    house.run(for_an_hour())
    assert len(walks) == 18, "a tenth of the time"
