"""A judged file that is wanted in pieces: judged again for each, by its digests and for who asks."""

import asyncio

import pytest

from proxykit.gatekeeper import FakeGatekeeper
from secondlook.core.event import EventKind
from secondlook.core.subject import FileSubject, RequestContext
from secondlook.core.verdict import Action, SubjectClass
from secondlook.download.asked import Asked
from secondlook.download.exchange import Exchange
from secondlook.download.judged_files import JudgedFile
from secondlook.download.pieces import judge_again, misfit

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
    assert {use.cls for _, _, use, _ in gatekeeper.files()} == {SubjectClass.DOWNLOAD}


def test_what_could_not_be_looked_into_follows_the_policy():
    gatekeeper = FakeGatekeeper(unverifiable_blocks=True)
    assert judged(gatekeeper).action is Action.ALLOW
    assert judged(gatekeeper, "encrypted").action is Action.BLOCK


def test_a_piece_that_does_not_fit_is_an_event():
    subject = FakeGatekeeper().subject("http", "site.test", "/a.exe")
    event = misfit(Exchange(subject, USE, Asked()), 7.0, "E1")
    assert (event.id, event.kind, event.time, event.stage) == ("E1", EventKind.ERROR, 7.0, "pieces")
    assert (event.client, event.method, event.cls) == ("10.0.0.9", "GET", SubjectClass.DOWNLOAD)
    assert (event.url, event.gateway) == ("http://site.test/a.exe", "squid")
