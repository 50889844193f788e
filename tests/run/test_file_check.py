"""A file of this machine, checked as a client would get it: lists first, then engines, and what cannot be opened."""

import hashlib
from types import SimpleNamespace

import pytest

from agentkit.house import House, make_pattern
from agentkit.servers import FakeServer
from proxykit.samples import EICAR, zipped
from secondlook.core.answer import Tier
from secondlook.core.scan import Detection, EngineReport
from secondlook.core.subject import SubjectKind
from secondlook.core.verdict import Action, Risk, Stage
from secondlook.download.examination.inspector import Inside
from secondlook.run.assembly.answers.file_check import FileCheck

MEMBER = hashlib.sha256(EICAR).digest()
BODY = zipped({"a/b": EICAR})


class FakeScanner:
    def __init__(self):
        self.reports = [EngineReport("yara", "1")]
        self.inside = Inside((("member:a/b", MEMBER),))
        self.asked = 0

    async def look_into(self, file, digest):
        self.asked += 1
        assert hashlib.sha256(file.read()).digest() == digest
        return self.reports, self.inside


@pytest.fixture
def house():
    house = House(FakeServer(Tier.INTRANET))
    yield house
    house.close()


def check(house, scanner, tmp_path):
    path = tmp_path / "packed.zip"
    path.write_bytes(BODY)
    files = FileCheck(SimpleNamespace(checker=house.checker, clock=house.clock), scanner)
    return house.run(files.check(path, None))


def test_a_clean_file(house, tmp_path):
    found = check(house, FakeScanner(), tmp_path)
    assert found.decision.action is Action.ALLOW
    assert found.subject.labels[-1] == "member:a/b"


def test_what_engines_find(house, tmp_path):
    scanner = FakeScanner()
    scanner.reports = [EngineReport("yara", "1", (Detection("yara", "Bad", Risk.DANGEROUS),))]
    found = check(house, scanner, tmp_path)
    assert (found.decision.action, found.decision.evidence.stage) == (Action.BLOCK, Stage.SCAN)


def test_a_member_that_is_listed(house, tmp_path):
    house.servers[0].listed[MEMBER] = Risk.DANGEROUS
    found = check(house, FakeScanner(), tmp_path)
    assert (found.decision.evidence.stage, found.decision.evidence.expression) == (Stage.QUERY, "member:a/b")


def test_a_listed_file_is_not_looked_into(house, tmp_path):
    digest = hashlib.sha256(BODY).digest()
    house.publish(make_pattern([digest], now=house.clock.now(), name="x-file-mw-8b", kind=SubjectKind.FILE))
    scanner = FakeScanner()
    assert check(house, scanner, tmp_path).decision.evidence.stage is Stage.PATTERN
    assert not scanner.asked


def test_an_archive_that_cannot_be_opened_and_an_engine_that_did_not_look(house, tmp_path):
    scanner = FakeScanner()
    scanner.inside = Inside(problem="archive cannot be read: it is encrypted")
    decision = check(house, scanner, tmp_path).decision
    assert (decision.action, decision.evidence.unverifiable) == (Action.FLAG, scanner.inside.problem)
    scanner.inside = Inside()
    scanner.reports = [EngineReport("clamd", fault="no connection")]
    decision = check(house, scanner, tmp_path).decision
    assert decision.evidence.unverifiable == "scan: clamd: no connection"


def test_a_file_that_cannot_be_read(house, tmp_path):
    files = FileCheck(SimpleNamespace(checker=house.checker, clock=house.clock), FakeScanner())
    with pytest.raises(OSError, match="No such file"):
        house.run(files.check(tmp_path / "none", None))
