"""WebSocket without sockets: every byte goes on as it came, and both sides end together."""

import pytest
from mitmproxy.proxy import commands, events
from mitmproxy.proxy.layers.websocket import WebsocketEndHook, WebsocketStartHook
from mitmproxy.test.tflow import twebsocketflow

from proxykit.sides import around
from secondlook.proxy.mitm.streams.websocket import WebSocketRelay


@pytest.fixture
def relay() -> WebSocketRelay:
    relay = WebSocketRelay(around(), twebsocketflow())
    (begun,) = relay.handle_event(events.Start())
    assert isinstance(begun, WebsocketStartHook)
    assert list(relay.handle_event(events.HookCompleted(begun, None))) == []
    return relay


@pytest.mark.parametrize("data", [b"\x81\x05hello", b"\x81", bytes(100_000)])
def test_bytes_go_to_the_other_side_as_they_came(relay, data):
    client, origin = relay.context.client, relay.context.server
    for here, there in ((client, origin), (origin, client)):
        (sent,) = relay.handle_event(events.DataReceived(here, data))
        assert (sent.connection, sent.data) == (there, data)


@pytest.mark.parametrize("by_client", [True, False])
def test_when_one_side_ends_the_other_does_and_nothing_follows(relay, by_client):
    client, origin = relay.context.client, relay.context.server
    *closed, ended = relay.handle_event(events.ConnectionClosed(client if by_client else origin))
    assert [each.connection for each in closed if isinstance(each, commands.CloseConnection)] == [
        client,
        origin,
    ]
    assert isinstance(ended, WebsocketEndHook)
    assert relay.flow.websocket.closed_by_client is by_client
    assert list(relay.handle_event(events.HookCompleted(ended, None))) == []
    assert relay.flow.live is False
    assert list(relay.handle_event(events.DataReceived(client, b"late"))) == []
