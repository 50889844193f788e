"""Our HTTP layer: which side speaks to whom, who is held back, and how it gets into a stack. No socket."""

import h2.config
import h2.connection
import pytest
from mitmproxy.proxy.layers.http import HttpLayer, HTTPMode
from mitmproxy.proxy.layers.modes import HttpProxy

from proxykit.gatekeeper import FakeGatekeeper
from proxykit.playbook import Playbook
from proxykit.sides import around
from secondlook.proxy.mitm.http.http1 import Http1ClientSide
from secondlook.proxy.mitm.http.http1_origin import Http1OriginSide
from secondlook.proxy.mitm.http.http2 import Http2ClientSide
from secondlook.proxy.mitm.http.http2_origin import Http2OriginSide
from secondlook.proxy.mitm.layers import HELD_MAX_BYTES, GatedHttpLayer, GatedLayers

BODY = bytes(HELD_MAX_BYTES + 300_000)
VIDEO = b"HTTP/1.1 200 OK\r\nContent-Type: video/mp4\r\nContent-Length: %d\r\n\r\n\0\0\0\x18ftypmp42" % (
    len(BODY) + 12
)


@pytest.fixture
def make_book(tmp_path):
    made: list[Playbook] = []

    def make(alpn: bytes | None) -> Playbook:
        made.append(Playbook(tmp_path, FakeGatekeeper(), alpn=alpn))
        return made[-1]

    yield make
    for book in made:
        book.close()


@pytest.mark.parametrize(
    ("alpn", "client", "origin"),
    [
        (None, Http1ClientSide, Http1OriginSide),
        (b"http/1.1", Http1ClientSide, Http1OriginSide),
        (b"h2", Http2ClientSide, Http2OriginSide),
    ],
)
def test_each_side_is_ours_and_of_the_version_that_was_agreed_on(make_book, alpn, client, origin):
    book = make_book(alpn)
    assert type(book.layer.connections[book.client]) is client
    context = around()
    context.server.alpn = alpn
    assert type(book.layer.origin_side(context)) is origin


def http2_client(book: Playbook) -> h2.connection.H2Connection:
    client = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
    client.initiate_connection()
    client.send_headers(
        1,
        [(":method", "GET"), (":scheme", "http"), (":authority", "files.test"), (":path", "/v.mp4")],
        end_stream=True,
    )
    book.from_client(client.data_to_send())
    return client


def test_an_origin_pauses_while_its_client_does_not_read_and_goes_on_after_that(make_book):
    book = make_book(b"h2")
    client = http2_client(book)
    book.from_origin(VIDEO + BODY[:-1])  # a stream of which all is here needs no origin any more
    assert book.layer.is_stalled(1)
    assert book.layer.is_pressed(1)
    assert book.pressure[-1] == "press"
    client.receive_data(book.to_client())
    client.increment_flow_control_window(len(BODY))
    client.increment_flow_control_window(len(BODY), stream_id=1)
    book.from_client(client.data_to_send())
    assert not book.layer.is_stalled(1)
    assert not book.layer.is_pressed(1)
    assert book.pressure[-1] == "ease"


def test_a_client_that_reads_holds_nobody_back(make_book):
    book = make_book(None)
    book.from_client(b"GET http://files.test/v.mp4 HTTP/1.1\r\nHost: files.test\r\n\r\n")
    book.from_origin(VIDEO + BODY)
    assert len(book.to_client()) > len(BODY)
    assert book.pressure == []


def test_our_layer_takes_the_place_of_mitmproxys_wherever_it_stands(make_book):
    context = around()
    outer = HttpProxy(context)
    outer.child_layer = HttpLayer(context, HTTPMode.regular)
    found = GatedLayers(make_book(None).edge)._swap(outer)
    assert found is outer
    assert type(outer.child_layer) is GatedHttpLayer
    assert context.layers == [outer, outer.child_layer]
