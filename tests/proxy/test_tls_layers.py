"""TLS layers without sockets: what is sent in one step is one record, in its order."""

import contextlib
from collections.abc import Iterator

import pytest
from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.tunnel import TunnelState
from OpenSSL import SSL

from proxykit.sides import around
from secondlook.proxy.mitm.tls.tls_layers import BoundedClientTls, OriginTls

RECORD_HEAD_BYTES = 5
PIECES = (b"head", b"body" * 1000, b"end")


class Child(layer.Layer):
    """Answers an event with pieces, and says in between that it has begun."""

    def _handle_event(self, event: events.Event) -> layer.CommandGenerator[None]:
        first, *rest = event.args  # type: ignore[attr-defined]
        yield commands.SendData(self.conn, first)  # type: ignore[attr-defined]
        yield commands.Log("begun")
        for data in rest:
            yield commands.SendData(self.conn, data)  # type: ignore[attr-defined]
        if event.over:  # type: ignore[attr-defined]
            yield commands.CloseConnection(self.conn)  # type: ignore[attr-defined]


class Said(events.Event):
    """Has the child send pieces."""

    def __init__(self, *args: bytes, over: bool = False) -> None:
        self.args, self.over = args, over


def talking(certificate: str) -> tuple[SSL.Connection, SSL.Connection]:
    """Make both ends of TLS that is established, in memory."""
    accepting = SSL.Context(SSL.TLS_METHOD)
    accepting.use_certificate_file(certificate)
    accepting.use_privatekey_file(certificate)
    here, there = SSL.Connection(accepting), SSL.Connection(SSL.Context(SSL.TLS_METHOD))
    here.set_accept_state()
    there.set_connect_state()
    for end in (there, here, there, here, there):
        other = here if end is there else there
        with contextlib.suppress(SSL.WantReadError):
            end.do_handshake()
        while (data := waiting(end)) is not None:
            other.bio_write(data)
    return here, there


def waiting(end: SSL.Connection) -> bytes | None:
    try:
        return end.bio_read(1 << 16)
    except SSL.WantReadError:
        return None


def records(data: bytes) -> Iterator[int]:
    at = 0
    while at < len(data):
        size = int.from_bytes(data[at + 3 : at + RECORD_HEAD_BYTES])
        yield size
        at += RECORD_HEAD_BYTES + size
    assert at == len(data)


@pytest.fixture(params=[BoundedClientTls, OriginTls])
def ends(request, origin_certificate):
    """A layer whose TLS is open, and the other end."""
    context = around()
    context.layers.append(Child(context))  # one of TLS towards a client looks what stands above it
    tls = request.param(context)
    tls.tls, there = talking(str(origin_certificate))
    tls.child_layer = Child(context)
    tls.child_layer.conn = tls.conn
    tls.tunnel_state = TunnelState.OPEN
    return tls, there


def test_what_one_event_leads_to_is_one_record(ends):
    tls, there = ends
    *_, sent = tls.handle_event(Said(*PIECES))
    assert isinstance(sent, commands.SendData)
    assert len([*records(sent.data)]) == 1
    there.bio_write(sent.data)
    assert there.recv(1 << 16) == b"".join(PIECES)


def test_what_is_sent_goes_before_the_end(ends):
    tls, there = ends
    *_, sent, closed = tls.handle_event(Said(*PIECES, over=True))
    assert isinstance(closed, commands.CloseConnection)
    there.bio_write(sent.data)
    assert there.recv(1 << 16) == b"".join(PIECES)


def test_an_event_amid_another_keeps_the_order(ends):
    tls, there = ends
    for command in [*outer(tls)]:
        if isinstance(command, commands.SendData):
            there.bio_write(command.data)
    assert b"".join(there.recv(1) for _ in "abcd") == b"abcd"


def outer(tls) -> Iterator[commands.Command]:
    """As our HTTP layer does: what an event leads to may lead to another one at the same connection."""
    for command in tls.handle_event(Said(b"a", b"d")):
        if isinstance(command, commands.Log):
            yield from tls.handle_event(Said(b"b", b"c"))
        yield command


class Listener(layer.Layer):
    """Keeps what it gets."""

    def __init__(self, context) -> None:
        super().__init__(context)
        self.got: list[bytes | None] = []

    def _handle_event(self, event: events.Event) -> layer.CommandGenerator[None]:
        self.got.append(event.data if isinstance(event, events.DataReceived) else None)
        yield from ()


def test_records_are_read_however_they_come_and_the_end_after_them(ends):
    tls, there = ends
    tls.child_layer = listener = Listener(tls.context)
    texts = (b"one", b"two" * 10_000, b"three")
    for text in texts:
        there.sendall(text)
    there.shutdown()
    sent = b""
    while (more := waiting(there)) is not None:
        sent += more
    for piece in (sent[:7], sent[7:-9], sent[-9:]):
        assert not any(isinstance(each, commands.Log) for each in tls.receive_data(piece))
    *data, end = listener.got
    assert (b"".join(data), end) == (b"".join(texts), None)


def test_what_openssl_has_to_answer_goes_at_once(ends):
    tls, there = ends
    tls.child_layer = Listener(tls.context)
    there.sendall(b"nothing to answer")
    assert list(tls.receive_data(waiting(there))) == []
    tls.tls.shutdown()
    (sent,) = tls.receive_data(b"")
    assert isinstance(sent, commands.SendData)
    there.bio_write(sent.data)
    with pytest.raises(SSL.ZeroReturnError):
        there.recv(1)
