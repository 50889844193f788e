"""Engines that come and go, before a file and after it: nothing unsafe passes, and nothing that was flagged is lost (10 s)."""

import hashlib
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from agentkit.engines import FakeEngine, FakeScan
from agentkit.house import House
from agentkit.servers import FakeServer
from secondlook.agent.recheck.rechecker import Rechecker
from secondlook.agent.recheck.rescan import Rescan
from secondlook.config.query import RecheckSettings
from secondlook.core.answer import Tier
from secondlook.core.rules.policy import Policy
from secondlook.core.scan import Detection, EngineReport
from secondlook.core.subject import FileSubject, RequestContext
from secondlook.core.verdict import Action, Risk, SubjectClass

BODY = b"MZ the program that everybody wants"  # one alone: so the stories meet it again and again
DIGEST = hashlib.sha256(BODY).digest()
SUBJECT = FileSubject((DIGEST,), size=len(BODY), filename="setup.exe")
USE = RequestContext(
    SubjectClass.DOWNLOAD, client="127.0.0.1", url="http://files.test/setup.exe", method="GET"
)
# as an engine is met: away, too large or a broken answer, silent, its own fault, too late, in time
WAYS: dict[str, dict[str, Any]] = {
    "away": {"mode": "fault"},
    "silent": {"mode": "hang"},
    "broken": {"mode": "broken"},
    "late": {"delay_s": 6.0},
    "slow": {"delay_s": 4.9},
    "prompt": {"delay_s": 0.0},
}
ANSWERING = {"slow", "prompt"}


class Engine:
    """One engine as the second look has it: its signatures, what it said, and whether it answers."""

    wanted = ("clamd",)

    def __init__(self, house):
        self.house = house
        self.version = 1
        self.knows = False  # that the file is bad
        self.answers = True
        self.said = {}
        self.clean_looks = []  # (version, moment)

    def report(self):
        now = self.house.clock.now()
        found = (Detection("clamd", "Bad", Risk.DANGEROUS),) if self.knows else ()
        self.said = {"clamd": EngineReport("clamd", str(self.version), found, kept_at=now)}
        if not found:
            self.clean_looks.append((self.version, now))
        return self.said["clamd"]

    async def versions(self):
        return {"clamd": str(self.version)} if self.answers else {}

    async def recall(self, _):
        return self.said

    async def scan(self, *_):
        return [self.report() if self.answers else EngineReport("clamd", fault="no connection")]


class EnginesComeAndGo(RuleBasedStateMachine):
    """What is flagged ends confirmed, or cleared by a look; what is blocked for want of one does not pass."""

    @initialize(unverifiable=st.sampled_from([Action.FLAG, Action.BLOCK]))
    def begin(self, unverifiable):
        self.unverifiable = unverifiable
        self.house = House(
            FakeServer(Tier.INTRANET), policy=Policy(unverifiable={SubjectClass.DOWNLOAD: unverifiable})
        )
        self.place = tempfile.TemporaryDirectory()
        self.folder = Path(self.place.name)
        self.engine = Engine(self.house)
        house = self.house
        self.rescan = Rescan(
            self.engine, house.ledger.history, house.enforcement, house.clock,
            folders=(self.folder,), mark=self.folder / "mark" / "history.json", history_s=30 * 86_400.0,
        )  # fmt: skip
        batch_check = house.rechecker._batch_check
        self.rechecker = Rechecker(
            batch_check, house.ledger.queue, house.enforcement, house.rechecker._renewal, house.clock, RecheckSettings(),
            random=lambda: 0.5, complete=self.rescan.complete,
        )  # fmt: skip
        self.flagged_at = None

    def teardown(self):
        if hasattr(self, "house"):
            self.house.close()
            self.place.cleanup()

    @rule(way=st.sampled_from(sorted(WAYS)))
    def download(self, way):
        risk = Risk.DANGEROUS if self.engine.knows else None
        scan = FakeScan([FakeEngine(risk=risk, **WAYS[way])])
        confirmed = DIGEST in self.house.ledger.confirmed_set
        decision = self.house.run(self.house.gatekeeper.check(SUBJECT, USE, scan=scan))
        if confirmed or (way in ANSWERING and risk is not None):
            assert decision.action is Action.BLOCK
        elif way in ANSWERING:
            assert decision.action is Action.ALLOW
        else:
            assert decision.action is self.unverifiable
        if way in ANSWERING and not confirmed:
            self.engine.report()
        if decision.action is Action.FLAG:
            assert DIGEST in self.house.ledger.waiting
            self.flagged_at = self.house.clock.now()

    @rule(answers=st.booleans())
    def engine_comes_or_goes(self, answers):
        self.engine.answers = answers

    @rule(knows=st.booleans())
    def other_signatures(self, knows):
        self.engine.version += 1
        self.engine.knows = knows

    @rule(there=st.booleans())
    def save_or_remove(self, there):
        path = self.folder / "setup.exe"
        if there:
            path.write_bytes(BODY)
        else:
            path.unlink(missing_ok=True)

    @rule(seconds=st.sampled_from([1.0, 3600.0]))
    def wait(self, seconds):
        self.house.sleep(seconds)

    @rule()
    def second_look(self):
        self.house.run(self.rechecker.look(everything=True))

    @rule()
    def look_back(self):
        self.house.run(self.rescan.look_back())

    @invariant()
    def nothing_is_lost(self):
        if not hasattr(self, "house") or self.flagged_at is None or DIGEST in self.house.ledger.waiting:
            return
        looked = any(
            moment >= self.flagged_at or version == self.engine.version
            for version, moment in self.engine.clean_looks
        )
        self.flagged_at = None
        assert DIGEST in self.house.ledger.confirmed_set or looked


EnginesComeAndGo.TestCase.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
TestEnginesComeAndGo = EnginesComeAndGo.TestCase
