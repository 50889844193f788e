"""Faults in what a held body waits for: what could hurt never goes on for them. Events in, commands out."""

import hashlib

import h2.config
import h2.connection
import pytest
from mitmproxy.connection import ConnectionState

from proxykit.gatekeeper import FakeGatekeeper
from proxykit.playbook import Playbook
from proxykit.samples import program
from secondlook.proxy.mitm.layers import HELD_MAX_BYTES

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


def test_a_client_that_leaves_with_much_unread_leaves_no_body_that_waits_for_it(tmp_path, gatekeeper):
    """Its connection is closed while the body is pumped: nobody reads any more, and no event tells of it."""
    file = program(HELD_MAX_BYTES + 300_000)
    book = Playbook(tmp_path, gatekeeper, alpn=b"h2", archives={"enabled": False}, hold_up_to=4 << 20)
    client = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
    client.initiate_connection()
    ask = [(":method", "GET"), (":scheme", "http"), (":authority", "files.test"), (":path", "/x")]
    client.send_headers(1, ask, end_stream=True)
    book.from_client(client.data_to_send())
    head = HEAD.replace(b"%d" % len(FILE), b"%d" % len(file))
    book.from_origin(head + file[:-1])
    book.client.state = ConnectionState.CLOSED
    book.from_origin(file[-1:])
    assert book.is_freed()
    book.close()
