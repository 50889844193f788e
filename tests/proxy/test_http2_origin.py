"""HTTP/2 towards the origin: ends of streams and connections, and answers of any form."""

import contextlib
import threading
import time

import h2.errors
import h2.events
import h2.exceptions
import pytest
from h2.settings import SettingCodes
from hyperframe.frame import GoAwayFrame, SettingsFrame
from mitmproxy.proxy.events import DataReceived, Start

from proxykit.http2 import TIMEOUT_S, Peer, holding, reply
from proxykit.sides import NoStreams, around, run
from secondlook.config.traffic import TrafficLimitsSettings
from secondlook.proxy.mitm.http import http2
from secondlook.proxy.mitm.http.http2_origin import Http2OriginSide
from secondlook.proxy.mitm.transport.connection import Pressure

CANCEL, REFUSED_STREAM = 8, 7
NO_ERROR = 0


def goaway(last: int, code: int = NO_ERROR) -> bytes:
    return GoAwayFrame(0, last_stream_id=last, error_code=code).serialize()


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("code", [NO_ERROR, h2.errors.ErrorCodes.INTERNAL_ERROR])
def test_a_goaway_lets_what_was_begun_finish_and_the_rest_is_asked_elsewhere(
    make_http2_origin, connect_http2, method, code
):
    def handle(peer: Peer, event: h2.events.Event) -> None:
        if not isinstance(event, h2.events.StreamEnded):
            return
        if peer.number == 0 and event.stream_id < 9:
            return
        if peer.number == 0:  # the fifth request: two of the five are done
            peer.send(goaway(3, code))
            for stream_id in (1, 3):
                reply(peer, stream_id, b"old")
            return
        reply(peer, event.stream_id, b"new")

    origin = make_http2_origin(handle)
    client = connect_http2(origin)
    end = method == "GET"
    streams = [client.ask(client.head(method, f"/{number}"), end=end) for number in range(5)]
    if not end:
        for stream_id in streams:
            client.state.send_data(stream_id, b"body", end_stream=True)
    client.finish(*streams)
    assert [client.got[one].body for one in streams] == [b"old"] * 2 + [b"new"] * 3
    assert client.get("/later").body == b"new"
    assert {number for number, _, _ in origin.requests} == {0, 1}
    assert origin.peers[0].receive() == []  # closed, once its last stream was done


def test_a_refused_stream_is_asked_again_with_its_body(make_http2_origin, connect_http2):
    bodies: dict[int, bytes] = {}

    def handle(peer: Peer, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.DataReceived):
            bodies[event.stream_id] = bodies.get(event.stream_id, b"") + event.data
        elif isinstance(event, h2.events.StreamEnded) and event.stream_id == 1:
            peer.state.reset_stream(1, REFUSED_STREAM)
        elif isinstance(event, h2.events.StreamEnded):
            reply(peer, event.stream_id, bodies[event.stream_id])

    origin = make_http2_origin(handle)
    client = connect_http2(origin)
    stream_id = client.ask(client.head("POST"), end=False)
    client.state.send_data(stream_id, b"all of it", end_stream=True)
    assert client.finish(stream_id).body == b"all of it"
    assert len(origin.requests) == 2


def test_an_origin_that_refuses_for_ever_is_not_asked_for_ever(make_http2_origin, connect_http2):
    def handle(peer: Peer, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.RequestReceived):
            peer.state.reset_stream(event.stream_id, REFUSED_STREAM)

    origin = make_http2_origin(handle)
    assert connect_http2(origin).get().status == 502
    assert 1 < len(origin.requests) < 10


@pytest.mark.parametrize(("method", "asked"), [("GET", 2), ("POST", 1)])
def test_a_connection_that_ends_before_the_answer(make_http2_origin, connect_http2, method, asked):
    """Nobody knows whether the request was looked at: it is made again where twice does the same as once."""

    def handle(peer: Peer, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.StreamEnded) and peer.number == 0:
            peer.sock.close()
            peer.over = True
        elif isinstance(event, h2.events.StreamEnded):
            reply(peer, event.stream_id)

    origin = make_http2_origin(handle)
    client = connect_http2(origin)
    assert client.finish(client.ask(client.head(method))).status == (200 if method == "GET" else 502)
    assert len(origin.requests) == asked


def test_a_connection_that_ends_in_the_answer_cuts_it(make_http2_origin, connect_http2):
    def handle(peer: Peer, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.StreamEnded):
            peer.state.send_headers(event.stream_id, [(":status", "200"), ("content-type", "video/mp4")])
            peer.state.send_data(event.stream_id, b"x" * 10_000)
            peer.send()
            peer.sock.close()
            peer.over = True

    got = connect_http2(make_http2_origin(handle)).get()
    assert not got.whole
    assert got.error is not None or got.status == 502


@pytest.mark.parametrize("whole_at_headers", [False, True])
def test_a_whole_answer_stays_whole_when_the_upload_is_stopped(
    make_http2_origin, connect_http2, whole_at_headers
):
    def handle(peer: Peer, event: h2.events.Event) -> None:
        if not isinstance(event, h2.events.RequestReceived):
            return
        if whole_at_headers:
            peer.state.send_headers(event.stream_id, [(":status", "413")], end_stream=True)
        else:
            reply(peer, event.stream_id, b"too much", status="413")
        peer.state.reset_stream(event.stream_id, NO_ERROR)

    client = connect_http2(make_http2_origin(handle))
    stream_id = client.ask(client.head("POST"), end=False)
    client.state.send_data(stream_id, b"some")
    got = client.finish(stream_id)
    assert (got.status, got.whole) == (413, True)
    while got.error is None:
        client.read()
    assert got.error == NO_ERROR  # its upload is stopped too


def test_a_stream_that_the_client_ends_is_ended_at_the_origin(make_http2_origin, connect_http2):
    handle, held = holding(2)
    origin = make_http2_origin(handle)
    client = connect_http2(origin)
    first, second = client.ask(client.head()), client.ask(client.head())
    client.send()
    while len(held.get(0, ())) < 2:
        time.sleep(0.01)
    client.state.reset_stream(first, CANCEL)
    client.send()
    while not origin.resets:
        time.sleep(0.01)
    assert origin.resets == [(1, CANCEL)]
    reply(origin.peers[0], 3)
    origin.peers[0].send()
    assert client.finish(second).body == b"ok"


@pytest.mark.parametrize(
    "fields",
    [
        [(":status", "200"), ("x", "a\r\nb: c")],
        [(":status", "200"), ("x y", "a")],
        [(":status", "20")],
        [(":status", "101")],
        [("x", "a")],
        [(":status", "200"), ("content-length", "3"), ("content-length", "4")],
        [(":status", "200"), ("content-length", "5")],
    ],
    ids=repr,
)
def test_a_malformed_answer_is_an_error_of_its_own(make_http2_origin, connect_http2, fields):
    def handle(peer: Peer, event: h2.events.Event) -> None:
        if not isinstance(event, h2.events.StreamEnded):
            return
        if event.stream_id == 1:
            peer.state.send_headers(1, fields)
            peer.state.send_data(1, b"ok", end_stream=True)
        else:
            reply(peer, event.stream_id)

    origin = make_http2_origin(handle)
    client = connect_http2(origin)
    bad, good = client.ask(client.head()), client.ask(client.head())
    client.finish(bad, good)
    assert client.got[bad].status == 502 or client.got[bad].error is not None
    assert client.got[good].body == b"ok"
    assert len(origin.peers) == 1
    assert len(origin.requests) == 2


def test_an_answer_with_small_faults_is_put_right(make_http2_origin, connect_http2):
    odd = [
        ("x-pad", " 1.mxp _dca\t"),
        ("X-Capital", "y"),
        ("connection", "keep-alive"),
        ("transfer-encoding", "chunked"),
        ("content-length", "2"),
        ("content-length", "2"),
    ]

    def handle(peer: Peer, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.StreamEnded):
            reply(peer, event.stream_id, b"ok", *odd)

    got = connect_http2(make_http2_origin(handle)).get()
    assert got.body == b"ok"
    assert ("x-pad", "1.mxp _dca") in got.headers
    assert ("x-capital", "y") in got.headers
    assert not {"connection", "transfer-encoding"} & {name for name, _ in got.headers}
    assert [value for name, value in got.headers if name == "content-length"] == ["2"]


def test_an_origin_may_narrow_its_window_in_the_middle_of_an_upload(make_http2_origin, connect_http2):
    """What is sent before its settings are here makes the window less than nothing (RFC 9113, 6.9.2)."""
    received, narrow = 0, threading.Event()

    def handle(peer: Peer, event: h2.events.Event) -> None:
        nonlocal received
        match event:
            case h2.events.SettingsAcknowledged(changed_settings=changed) if (
                SettingCodes.INITIAL_WINDOW_SIZE in changed
            ):
                narrow.set()
            case h2.events.DataReceived():
                if not received:
                    peer.state.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 1000})
                received += len(event.data)
            case h2.events.StreamEnded(stream_id=1):
                reply(peer, 1)
                with contextlib.suppress(h2.exceptions.ProtocolError):  # it may be over
                    peer.state.increment_flow_control_window(200_000, 3)
            case h2.events.StreamEnded(stream_id=stream_id):
                reply(peer, stream_id, b"%d" % received)

    client = connect_http2(make_http2_origin(handle))
    while client.state.remote_settings.initial_window_size < 120_000:
        client.read()  # what the proxy takes
    other = client.ask(client.head("POST", "/other"), end=False)
    upload = client.ask(client.head("POST"), end=False)
    for piece in range(12):
        if piece == 6:
            assert narrow.wait(TIMEOUT_S)
        client.state.send_data(upload, b"x" * 10_000)
        client.send()
    client.state.end_stream(upload)
    client.state.end_stream(other)
    assert client.finish(other, upload).body == b"120000"


def test_a_connection_that_ends_amid_its_input_holds_nobody_up(monkeypatch):
    """What is left of the input waits for its turn, and its connection is not read; none comes after the end."""
    monkeypatch.setattr(http2, "STEP_S", -1.0)
    context = around()
    context.client.pressure = pressure = Pressure()
    side = Http2OriginSide(context, NoStreams(), TrafficLimitsSettings())
    run(side, Start(), DataReceived(side.conn, SettingsFrame(0).serialize() + goaway(0) + goaway(0)))
    assert not side.conn.connected
    assert not pressure
