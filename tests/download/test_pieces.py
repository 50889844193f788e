"""A judged file that is wanted in pieces: judged again for each, by its digests and for who asks."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest

from proxykit.gatekeeper import FakeGatekeeper
from secondlook.core.event import EventKind
from secondlook.core.subject import FileSubject, RequestContext
from secondlook.core.verdict import Action, SubjectClass
from secondlook.download.body.ranges import EntityMemory
from secondlook.download.exchange import Exchange
from secondlook.download.judged_files import JudgedFile, JudgedFiles
from secondlook.download.pieces import judge_again, look_at_kept, misfit
from secondlook.download.request_facts import RequestFacts

DIGEST = b"d" * 32
USE = RequestContext(SubjectClass.PAGE, client="10.0.0.9", method="GET", gateway="squid")


def judged(gatekeeper, problem=None):
    file = JudgedFile(9, 9, b"t" * 16, FileSubject((DIGEST,), size=9), problem)
    return asyncio.run(judge_again(gatekeeper, file, USE))


@pytest.mark.parametrize("slow", [False, True])
def test_what_is_listed_by_now_is_refused_as_a_download(slow):
    gatekeeper = FakeGatekeeper(slow={DIGEST.hex()} if slow else set())
    assert judged(gatekeeper).action is Action.ALLOW
    gatekeeper.bad.add(DIGEST.hex())
    assert judged(gatekeeper).action is Action.BLOCK
    assert {context.cls for _, _, context, _ in gatekeeper.files()} == {SubjectClass.DOWNLOAD}


def test_what_could_not_be_looked_into_follows_the_policy():
    gatekeeper = FakeGatekeeper(unverifiable_blocks=True)
    assert judged(gatekeeper).action is Action.ALLOW
    assert judged(gatekeeper, "encrypted").action is Action.BLOCK


def test_only_what_may_be_risky_and_was_kept_is_looked_at_again(tmp_path):
    gatekeeper, memory = FakeGatekeeper(), EntityMemory()
    subject = gatekeeper.subject("http", "site.test", "/a")
    state = Exchange(subject, USE, RequestFacts())
    with ThreadPoolExecutor(1) as thread:
        judged = JudgedFiles(tmp_path, b"k" * 32, thread)
        assert look_at_kept(304, state, gatekeeper, memory, judged) is None
        memory.note_risky(subject.identity)
        assert look_at_kept(204, state, gatekeeper, memory, judged) is None
        looking = look_at_kept(304, state, gatekeeper, memory, judged)
        assert looking is not None
        asyncio.run(looking)
        assert state.refusal is None, "nothing was judged there"


def test_a_piece_that_does_not_fit_is_an_event():
    subject = FakeGatekeeper().subject("http", "site.test", "/a.exe")
    event = misfit(Exchange(subject, USE, RequestFacts()), 7.0, "E1")
    assert (event.id, event.kind, event.time, event.stage) == ("E1", EventKind.ERROR, 7.0, "pieces")
    assert (event.client, event.method, event.cls) == ("10.0.0.9", "GET", SubjectClass.DOWNLOAD)
    assert (event.url, event.gateway) == ("http://site.test/a.exe", "squid")
