"""Faults in what a held body waits for: what could hurt never goes on for them. Events in, commands out."""

import hashlib

import pytest

from proxykit.gatekeeper import FakeGatekeeper
from proxykit.playbook import Playbook
from proxykit.samples import program

GET = b"GET http://files.test/x HTTP/1.1\r\nHost: files.test\r\n\r\n"
FILE = program(60_000)
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-msdownload\r\nContent-Length: %d\r\n\r\n" % len(FILE)
TAIL = 20_000


@pytest.fixture
def gatekeeper():
    return FakeGatekeeper()


def opened(folder, gatekeeper, **downloads):
    return Playbook(folder, gatekeeper, tail_min=TAIL, archives={"enabled": False}, **downloads)


def test_a_bad_download_is_cut_even_where_nobody_knows_that_its_refusal_is_in_force(tmp_path, gatekeeper):
    gatekeeper.bad.add(hashlib.sha256(FILE).hexdigest())
    gatekeeper.faults.add("in_force")
    book = opened(tmp_path, gatekeeper, hold_up_to=30_000)
    book.from_client(GET)
    book.from_origin(HEAD + FILE)
    assert FILE[-TAIL:] not in book.to_client()
    assert "close client" in book.log
    book.close()


def test_a_held_body_that_cannot_be_read_back_is_cut(tmp_path, gatekeeper, monkeypatch):
    async def broken(_: object) -> bytes:
        raise OSError("injected")

    monkeypatch.setattr("secondlook.download.gate.spool.Spool.read", broken)
    monkeypatch.setattr("secondlook.download.gate.spool.Spool.read_now", lambda _: None)
    book = opened(tmp_path, gatekeeper, hold_up_to=1 << 20)
    book.from_client(GET)
    book.from_origin(HEAD + FILE)
    assert FILE[-TAIL:] not in book.to_client()
    assert "error" in book.log
    assert book.is_freed()
    book.close()


def test_a_judgement_that_fails_follows_the_policy_for_what_is_unverifiable(tmp_path, gatekeeper):
    book = opened(tmp_path, gatekeeper, hold_up_to=1 << 20)
    book.from_client(GET)
    gatekeeper.slow.add(hashlib.sha256(FILE).hexdigest())
    gatekeeper.faults |= {"check"}
    book.from_origin(HEAD + FILE)
    assert book.to_client().endswith(FILE)
    assert gatekeeper.seen[-1][0] == "unverifiable"
    book.close()
