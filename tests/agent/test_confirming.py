"""A finding is in force here at once, and kept until the ledger has it."""

import asyncio
from dataclasses import replace

import pytest

from agentkit.house import House
from agentkit.servers import FakeServer
from secondlook.agent.check.confirming import Confirming
from secondlook.agent.check.evidence import unverifiable
from secondlook.core.answer import Tier
from secondlook.core.subject import FileSubject, RequestContext
from secondlook.core.verdict import Action, Risk, Stage, SubjectClass, Verdict

URL = "http://files.test/a.exe"
DOWNLOAD = RequestContext(SubjectClass.DOWNLOAD, client="127.0.0.1", url=URL, method="GET")
FILE = FileSubject((b"f" * 32,))


class Scene:
    """A house, and what puts its findings in force."""

    def __init__(self, *, reblock_s=600.0, elsewhere_s=0.0):
        self.house = House(FakeServer(Tier.INTRANET))
        house = self.house
        self.confirming = Confirming(
            house.checker,
            house.ledger.confirmed,
            house.clock,
            house.loop.create_task,
            reblock_s=reblock_s,
            elsewhere_s=elsewhere_s,
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.house.loop.run_until_complete(self._end())
        self.house.close()

    async def _end(self):
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    @property
    def stored(self):
        return {entry.hit: entry for entry in self.house.ledger.snapshots.confirmed()}

    def find(self, risk=Risk.DANGEROUS, subject=None):
        subject = subject or self.house.subject(URL)
        self.confirming.confirm(subject, DOWNLOAD, evidence(subject, risk))
        return subject.hashes[0]

    def now(self):
        return self.house.gatekeeper.now(self.house.subject(URL), DOWNLOAD)


def evidence(subject, risk=Risk.DANGEROUS, **more):
    listed = replace(unverifiable("", ()), verdict=Verdict.MALICIOUS, risk=risk, stage=Stage.QUERY)
    return replace(listed, hit=subject.hashes[0], **more)


def test_a_finding_that_the_ledger_cannot_take_is_in_force_here_and_stored_when_it_can():
    with Scene() as scene:
        scene.house.ledger.full = True
        hit = scene.find()
        assert (scene.now().action, scene.now().evidence.stage) == (Action.BLOCK, Stage.CONFIRMED)
        scene.house.sleep(3600)
        assert scene.now().action is Action.BLOCK
        assert not scene.stored
        scene.house.ledger.full = False
        scene.house.sleep(6)
        assert set(scene.stored) == {hit}


def test_what_is_found_anew_while_it_is_being_stored_is_stored_again(monkeypatch):
    with Scene() as scene:
        store, begun, go_on = scene.house.ledger.confirmed.add_many, asyncio.Event(), asyncio.Event()

        async def slowly(entries):
            begun.set()
            await go_on.wait()
            return await store(entries)

        monkeypatch.setattr(scene.house.ledger.confirmed, "add_many", slowly)

        async def main():
            hit = scene.find(Risk.SUSPICIOUS)
            await begun.wait()
            scene.find(Risk.DANGEROUS)
            go_on.set()
            await asyncio.sleep(1)
            return hit

        hit = scene.house.run(main())
        assert scene.stored[hit].risk == "dangerous"


def test_what_the_ledger_has_is_decided_by_its_next_snapshot():
    with Scene() as scene:
        hit = scene.find()
        scene.house.sleep(1)
        scene.house.ledger.confirmed_set.clear()  # withdrawn
        scene.house.reload()
        assert hit not in scene.house.view.current.learned


def test_a_second_finding_later_is_stored_too():
    with Scene() as scene:
        first = scene.find()
        scene.house.sleep(1)
        second = scene.find(subject=FILE)
        scene.house.sleep(1)
        assert set(scene.stored) == {first, second}


@pytest.mark.parametrize(
    ("reblock_s", "by_rule", "refused"), [(600.0, False, True), (0.0, False, False), (600.0, True, False)]
)
def test_the_url_of_a_bad_file_is_refused_for_a_while(reblock_s, by_rule, refused):
    with Scene(reblock_s=reblock_s) as scene:
        scene.confirming.reblock(URL, FILE, DOWNLOAD, evidence(FILE, blocked_by_rule=by_rule))
        scene.house.sleep(599)
        assert (scene.now() is not None) == bool(scene.stored) == refused
        scene.house.sleep(2)
        assert scene.now() is None


@pytest.mark.parametrize(
    ("elsewhere_s", "ledger", "waits_s"), [(0.0, "full", 0.0), (0.3, "up", 0.3), (0.3, "full", 1.3)]
)
def test_in_force_waits_for_the_ledger_and_then_for_the_other_workers(elsewhere_s, ledger, waits_s):
    with Scene(elsewhere_s=elsewhere_s) as scene:
        scene.house.ledger.full = ledger == "full"
        scene.find()
        before = scene.house.clock.monotonic()
        scene.house.run(scene.confirming.in_force())
        assert scene.house.clock.monotonic() - before == pytest.approx(waits_s, abs=0.05)
        assert bool(scene.stored) == (ledger == "up" and elsewhere_s > 0)


def test_where_nothing_was_found_nothing_is_waited_for_but_the_others():
    with Scene(elsewhere_s=0.3) as scene:
        scene.house.run(scene.confirming.in_force())
        assert scene.house.clock.monotonic() == pytest.approx(0.3)
