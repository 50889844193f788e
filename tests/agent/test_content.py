"""Engines beside the servers: the worse finding counts, and silence is never taken for a clean file."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentkit.engines import FakeEngine, FakeScan
from agentkit.house import House, make_pattern
from agentkit.servers import FakeServer
from ledgerkit.samples import make_rule
from secondlook.agent.check.content import SLOW
from secondlook.core.answer import Tier
from secondlook.core.event import EventKind
from secondlook.core.lists.name import Role
from secondlook.core.rules.policy import BLOCKED, Level, Policy
from secondlook.core.rules.rule import Scope
from secondlook.core.subject import FileSubject, RequestContext, SubjectKind
from secondlook.core.verdict import SEVERITY, Action, Risk, Stage, SubjectClass

FILE = FileSubject((b"z" * 32,), size=1000, filename="setup.exe")
URL = "http://files.test/setup.exe"
USE = RequestContext(SubjectClass.DOWNLOAD, client="127.0.0.1", url=URL, method="GET")


def check(house, *engines, **scan):
    return house.run(house.gatekeeper.check(FILE, USE, scan=FakeScan(list(engines), **scan)))


def test_a_detection_blocks_and_is_explained(house):
    decision = check(house, FakeEngine("yara"), FakeEngine("clamd", Risk.DANGEROUS))
    evidence = decision.evidence
    assert (decision.action, evidence.stage, evidence.list) == (Action.BLOCK, Stage.SCAN, "clamd")
    assert (evidence.rule, evidence.detail) == ("Some.Thing", "family: Some")
    assert decision.reason == "found dangerous by clamd"
    told = {(step.stage, step.outcome) for step in evidence.steps}
    assert {(Stage.SCAN, "hit"), (Stage.SCAN, "miss"), (Stage.RULES, "miss")} <= told
    (event,) = [event for event in house.ledger.recorded if event.kind is EventKind.BLOCKED]
    assert (event.stage, event.list, event.rule) == ("scan", "clamd", "Some.Thing")


def test_engines_and_servers_are_asked_at_the_same_time(house):
    house.servers[0].delay_s = 0.3
    started = house.clock.monotonic()
    decision = check(house, FakeEngine("yara", delay_s=0.3), FakeEngine("clamd", delay_s=0.3))
    assert decision.action is Action.ALLOW
    assert house.clock.monotonic() - started == pytest.approx(0.3, abs=0.01)
    assert [step.outcome for step in decision.evidence.steps if step.stage is Stage.SCAN] == ["miss", "miss"]


def test_nothing_waits_for_servers_once_an_engine_has_found_something(house):
    house.servers[0].mode = "hang"
    started = house.clock.monotonic()
    slow = FakeEngine("yara", delay_s=4.0)
    decision = check(house, slow, FakeEngine("clamd", Risk.DANGEROUS))
    assert decision.evidence.stage is Stage.SCAN
    assert house.clock.monotonic() - started < 0.1
    house.sleep(0)
    assert slow.stopped == 1


def test_nothing_waits_for_engines_once_a_server_lists_the_file(house):
    house.servers[0].listed[FILE.identity] = Risk.DANGEROUS
    slow = FakeEngine(delay_s=4.0)
    decision = check(house, slow)
    assert decision.evidence.stage is Stage.QUERY
    assert house.clock.monotonic() < 0.1
    house.sleep(0)
    assert slow.stopped == 1


@pytest.mark.parametrize("action", ["allow", "block"])
def test_no_engine_looks_at_what_a_rule_decides(house, action):
    rule = make_rule(
        id="r", action=action, scope=Scope.SHA256, subject=FILE.identity.hex(), created=house.clock.now()
    )
    house.ledger.rules.add(rule)
    house.reload()
    engine = FakeEngine(risk=Risk.DANGEROUS)
    assert check(house, engine).action == action
    assert not engine.asked


def test_no_engine_looks_at_what_a_list_blocks(house):
    house.publish(
        make_pattern([FILE.identity], now=house.clock.now(), name="x-file-mw-8b", kind=SubjectKind.FILE)
    )
    engine = FakeEngine(risk=Risk.DANGEROUS)
    assert check(house, engine).evidence.stage is Stage.PATTERN
    assert not engine.asked


def test_no_engine_looks_at_what_is_known_to_be_good(house):
    house.publish(
        make_pattern(
            [FILE.identity], now=house.clock.now(), name="x-file-gc-32b", role=Role.KNOWN_GOOD, width=32,
            risk=Risk.SAFE, kind=SubjectKind.FILE,
        )
    )  # fmt: skip
    engine = FakeEngine(risk=Risk.DANGEROUS)
    assert check(house, engine).evidence.stage is Stage.KNOWN_GOOD
    assert not engine.asked


def test_a_list_that_the_level_lets_through_does_not_keep_engines_from_looking(house):
    house.servers[0].listed[FILE.identity] = Risk.SUSPICIOUS
    decision = check(house, FakeEngine(risk=Risk.DANGEROUS, delay_s=0.5))
    assert (decision.action, decision.evidence.stage) == (Action.BLOCK, Stage.SCAN)


@pytest.mark.parametrize(
    ("mode", "why"),
    [("fault", "no connection"), ("hang", SLOW), ("broken", "internal error: RuntimeError")],
)
def test_an_engine_that_gives_no_answer_leaves_the_file_unverifiable(house, mode, why):
    decision = check(house, FakeEngine("yara"), FakeEngine("clamd", mode=mode))
    assert (decision.action, decision.evidence.unverifiable) == (Action.FLAG, f"scan: clamd: {why}")
    assert house.ledger.waiting[FILE.identity].reason == f"scan: clamd: {why}"


def test_an_engine_that_is_silent_and_servers_that_are(house):
    house.servers[0].mode = "down"
    decision = check(house, FakeEngine("clamd", mode="fault"))
    assert decision.action is Action.FLAG
    assert "refused" in decision.evidence.unverifiable
    assert "scan: clamd: no connection" in decision.evidence.unverifiable


def test_an_engine_that_looks_at_no_such_file_leaves_nothing_open(house):
    assert check(house, FakeEngine("yara", mode="skips")).action is Action.ALLOW


def test_what_was_looked_at_before_is_decided_at_once(house):
    def now(*engines, remembered=True):
        async def decide():
            return house.gatekeeper.now(FILE, USE, scan=FakeScan(list(engines), remembered=remembered))

        return house.run(decide())

    house.run(house.gatekeeper.check(FILE, USE))  # the servers' answer is in the cache
    assert now(FakeEngine(), remembered=False) is None
    assert now(FakeEngine(mode="fault")) is None  # a flag is waited for
    assert now(FakeEngine()).action is Action.ALLOW
    decision = now(FakeEngine(risk=Risk.DANGEROUS))
    assert (decision.action, decision.evidence.stage) == (Action.BLOCK, Stage.SCAN)


def test_a_check_that_is_given_up_stops_the_engines(house):
    engine = FakeEngine(delay_s=4.0)

    async def give_up():
        task = asyncio.ensure_future(house.gatekeeper.check(FILE, USE, scan=FakeScan([engine])))
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    house.run(give_up())
    assert engine.stopped == 1


ENGINES = st.lists(
    st.builds(
        FakeEngine,
        name=st.sampled_from(["clamd", "yara"]),
        risk=st.sampled_from([None, Risk.DANGEROUS, Risk.HIGHLY_SUSPICIOUS, Risk.SUSPICIOUS]),
        mode=st.sampled_from(["up", "up", "fault", "hang", "broken", "skips"]),
        delay_s=st.sampled_from([0.0, 0.001, 0.4, 1.4, 1.6, 3.0, 4.9, 6.0]),
    ),
    max_size=3,
)


@settings(max_examples=300)
@given(
    engines=ENGINES,
    server=st.sampled_from(["up", "down", "hang", "slow", "bad_protobuf", "partial"]),
    listed=st.sampled_from([None, Risk.DANGEROUS, Risk.HIGHLY_SUSPICIOUS, Risk.SUSPICIOUS]),
    level=st.sampled_from(list(Level)),
    unverifiable=st.sampled_from([Action.FLAG, Action.BLOCK]),
    problem=st.booleans(),
)
def test_whatever_engines_and_servers_answer(engines, server, listed, level, unverifiable, problem):
    """Nothing unsafe passes where the unverifiable is blocked, nothing is lost where it is flagged.

    What is allowed was answered for by everybody; what anybody heard in time found bad is blocked.
    """
    policy = Policy(level=level, unverifiable={SubjectClass.DOWNLOAD: unverifiable})
    house = House(FakeServer(Tier.INTRANET, mode=server), policy=policy)
    try:
        if listed is not None:
            house.servers[0].listed[FILE.identity] = listed
        scan = FakeScan(engines)
        asked = (
            house.gatekeeper.unsure(FILE, USE, "locked", scan=scan)
            if problem
            else (house.gatekeeper.check(FILE, USE, scan=scan))
        )
        decision = house.run(asked)
        bad = BLOCKED[level]
        heard = [
            engine for engine in engines if engine.mode in {"up", "skips"} and engine.delay_s < scan.within_s
        ]
        found = [engine.risk for engine in heard if engine.mode == "up" and engine.risk in bad]
        answered = server in {"up", "slow"}
        assert house.clock.monotonic() <= scan.within_s + 0.1
        if found or (answered and listed in bad):
            assert decision.action is Action.BLOCK
            assert decision.evidence.unverifiable is None
            if found and not (answered and listed in bad):
                assert decision.evidence.stage is Stage.SCAN
                assert SEVERITY[decision.evidence.risk] <= max(SEVERITY[risk] for risk in found)
        elif len(heard) < len(engines) or not answered or problem:
            assert decision.action is unverifiable
            assert decision.evidence.unverifiable is not None
        elif all(engine.delay_s < scan.within_s for engine in engines):
            assert decision.action is Action.ALLOW
        waiting = FILE.identity in house.ledger.waiting
        assert waiting == (decision.action is Action.FLAG)
        if decision.action is Action.BLOCK:
            assert any(event.kind is EventKind.BLOCKED for event in house.ledger.recorded)
    finally:
        house.close()
