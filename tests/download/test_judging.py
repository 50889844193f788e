"""What is decided about a body at its end, whichever front it comes by."""

import asyncio
import hashlib

import pytest

from proxykit.gatekeeper import FakeGatekeeper
from proxykit.samples import program
from secondlook.config.traffic import DownloadsSettings
from secondlook.core.subject import RequestContext
from secondlook.core.verdict import Action, SubjectClass
from secondlook.download.body.response_facts import ResponseFacts
from secondlook.download.exchange import Exchange
from secondlook.download.gate.gate_state import Fate
from secondlook.download.gate.spool import SpoolRoom
from secondlook.download.gate_maker import Message
from secondlook.download.judged_files import JudgedFiles
from secondlook.download.judging import PARTIAL, BodyJudge
from secondlook.download.request_facts import RequestFacts

FILE = program(3000)
PROGRAM = ResponseFacts(content_type="application/x-msdownload", etag='"1"')
WHOLE = Message("/setup.exe", 200)


@pytest.fixture
def judge(tmp_path):
    room = SpoolRoom(tmp_path / "spool", 1 << 20, 1 << 16)
    judged = JudgedFiles(tmp_path / "judged", bytes(32), room.thread)
    gatekeeper = FakeGatekeeper(bad={hashlib.sha256(FILE).hexdigest()})
    yield BodyJudge(gatekeeper, DownloadsSettings(hold_up_to=4000), room, None, judged)
    room.close()


def exchange(judge, **asked):
    subject = judge.gatekeeper.subject("http", "site.test", "/setup.exe")
    return Exchange(subject, RequestContext(SubjectClass.PAGE), RequestFacts(**asked))


def test_a_listed_file_is_held_and_blocked_and_its_pieces_are_known(judge):
    state = exchange(judge)

    async def whole():
        body = judge.gates.body(state, PROGRAM, len(FILE), WHOLE)
        assert body.gate.fate is Fate.HOLD
        assert body.gate.feed(FILE) == b""
        body.gate.end()
        return judge.judge_now(body, state)

    assert asyncio.run(whole()).action is Action.BLOCK
    piece = ResponseFacts(etag='"1"', content_range=f"bytes 5-9/{len(FILE)}")
    assert judge.gates.piece(state, piece, 5, asked=True).bad.action is Action.BLOCK


def test_a_risky_piece_is_settled_by_the_url(judge):
    state = exchange(judge, range="bytes=0-9")
    facts = ResponseFacts(content_type="application/x-msdownload", content_range="bytes 0-9/3000")
    said = judge.gates.piece(state, facts, 10, asked=True)
    assert (said.answers, said.claims, said.bad) == (True, False, None)
    assert judge.gates.piece(state, facts, 10, asked=False).claims
    body = judge.gates.body(state, facts, 10, Message("/", 206), piece=said.piece, partial=True)
    assert body.gate.unsettled
    asyncio.run(judge.judge(body, state))
    assert (body.decision.action, body.decision.evidence.unverifiable) == (Action.FLAG, PARTIAL)
