"""Hooks of connections by themselves: what cannot be told is closed."""

import asyncio
import json
from collections.abc import Awaitable
from types import SimpleNamespace

import pytest
from mitmproxy.http import HTTPFlow
from mitmproxy.proxy.mode_specs import ProxyMode
from mitmproxy.test.tflow import tclient_conn, tflow

from proxykit.gatekeeper import FakeGatekeeper
from secondlook.proxy.access.access import CLOSED, Access
from secondlook.proxy.connections import Connections

NO_DIALER = SimpleNamespace(open=lambda *_: None)


class Handlers(dict):
    """The connections of mitmproxy, with one handler for any."""

    def __missing__(self, _: str) -> SimpleNamespace:
        return SimpleNamespace(open_connection=None)


def _connections(access: Access, handlers: dict | None = None, gatekeeper: object = None) -> Connections:
    connections = Connections(gatekeeper or FakeGatekeeper(), access, NO_DIALER)  # type: ignore[arg-type]
    proxyserver = SimpleNamespace(connections=Handlers() if handlers is None else handlers)
    connections.load(SimpleNamespace(master=SimpleNamespace(addons={"proxyserver": proxyserver})))
    return connections


def _error(connections: Connections, peer: str, mode: str = "regular") -> str | None:
    client = tclient_conn()
    client.peername, client.proxy_mode, client.error = (peer, 4711), ProxyMode.parse(mode), None
    connections.client_connected(client)
    return client.error


def test_only_whom_the_proxy_serves_is_admitted(caplog):
    connections = _connections(Access(["192.0.2.0/24"], lambda: (), balancers=["198.51.100.7/32"]))
    assert _error(connections, "127.0.0.1") is None
    assert _error(connections, "192.0.2.9") is None
    assert _error(connections, "198.51.100.7") is None, "each request of a balancer is looked at"
    assert caplog.messages == []
    assert "may not use the proxy" in _error(connections, "198.51.100.8")
    assert "may not use the proxy" in _error(connections, "198.51.100.8")
    (line,) = caplog.messages  # once a minute
    assert line.startswith(
        "a connection of 198.51.100.8 is closed: this client may not use the proxy (see `clients`"
    )


def test_programs_of_this_machine_are_served_wherever_their_packets_seem_to_come_from():
    assert _error(_connections(Access([], lambda: ())), "10.0.0.1", mode="local") is None


def test_a_client_of_whom_nothing_can_be_told_is_turned_away():
    connections = _connections(Access(["0.0.0.0/0"], lambda: ()), handlers={})
    assert "may not use the proxy" in _error(connections, "127.0.0.1")


def test_the_connections_of_a_client_are_made_by_our_way():
    handler = SimpleNamespace(open_connection=None)
    opened = []
    connections = Connections(
        FakeGatekeeper(), Access([], lambda: ()), SimpleNamespace(open=lambda *given: opened.append(given))
    )  # type: ignore[arg-type]
    client = tclient_conn()
    client.peername = ("127.0.0.1", 4711)
    proxyserver = SimpleNamespace(connections={client.id: handler})
    connections.load(SimpleNamespace(master=SimpleNamespace(addons={"proxyserver": proxyserver})))
    connections.client_connected(client)
    handler.open_connection("command")
    assert opened == [(handler, "command")]


def _tunnel(host: str, port: int = 443, client: str = "192.0.2.9") -> HTTPFlow:
    flow = tflow()
    flow.client_conn.peername = (client, 4711)
    flow.request.method, flow.request.host, flow.request.port = "CONNECT", host, port
    return flow


async def _done(waiting: Awaitable[None]) -> None:
    await waiting


def _connect(connections: Connections, flow: HTTPFlow) -> int | None:
    refusing = connections.http_connect(flow)
    if refusing is not None:
        asyncio.run(_done(refusing))
    return None if flow.response is None else flow.response.status_code


def test_a_tunnel_to_a_closed_address_is_refused_and_recorded():
    gatekeeper = FakeGatekeeper()
    connections = _connections(Access(["192.0.2.0/24"], lambda: ()), gatekeeper=gatekeeper)
    flow = _tunnel("127.0.0.1", 22)
    assert _connect(connections, flow) == 403
    ((how, subject, context, decision),) = gatekeeper.seen
    assert (how, subject.host, context.client, decision.reason) == (
        "refuse",
        "127.0.0.1",
        "192.0.2.9",
        CLOSED,
    )
    assert f"event={decision.event_id}" in flow.response.headers["x-second-look"]
    assert json.loads(flow.response.content)["status"] == 403


def test_a_tunnel_to_elsewhere_is_nothing_to_refuse():
    connections = _connections(Access(["192.0.2.0/24"], lambda: ()))
    assert _connect(connections, _tunnel("example.org")) is None
    assert _connect(connections, _tunnel("127.0.0.1", client="127.0.0.1")) is None


def test_where_the_operator_leads_a_tunnel_may_go():
    connections = _connections(Access(["192.0.2.0/24"], lambda: (), [("127.0.0.1", 3128)]))
    assert _connect(connections, _tunnel("127.0.0.1", 3128)) is None
    assert _connect(connections, _tunnel("127.0.0.1", 3129)) == 403


@pytest.mark.parametrize("fault", ["subject", "closed"])
def test_a_tunnel_of_which_nothing_can_be_told_is_refused(fault):
    gatekeeper, access = FakeGatekeeper(), Access(["192.0.2.0/24"], lambda: ())
    if fault == "subject":
        gatekeeper.faults.add("subject")
    else:
        access.closed = lambda *_: 1 / 0  # type: ignore[method-assign]
    assert _connect(_connections(access, gatekeeper=gatekeeper), _tunnel("127.0.0.1")) == 403


def test_a_tunnel_that_is_answered_stays_answered():
    flow = tflow(resp=True)
    assert _connect(_connections(Access([], lambda: ())), flow) == 200
