"""Datagrams: where a DNS question goes is judged like any other; the mode's own resolver goes nowhere."""

import asyncio

import pytest
from mitmproxy.net.dns import response_codes
from mitmproxy.proxy.mode_specs import ProxyMode
from mitmproxy.test.tflow import tdnsflow

from proxykit.gatekeeper import FakeGatekeeper
from secondlook.core.verdict import Action
from secondlook.proxy.access.unopened import Unopened
from secondlook.resolver import Resolver

SERVER = ("192.0.2.53", 53)


def asked(gatekeeper: FakeGatekeeper, mode: str = "local", server=SERVER, *, leave: bool = True):
    """Give the answer that a question gets without its server being asked; None: it is asked."""
    flow = tdnsflow()
    flow.client_conn.proxy_mode = ProxyMode.parse(mode)
    flow.server_conn.address = server
    unopened = Unopened(gatekeeper, lambda *_: leave, Resolver())
    asyncio.run(unopened.dns_request(flow))
    return flow.response and flow.response.response_code


def test_a_question_goes_to_a_server_that_is_not_listed(gatekeeper):
    assert asked(gatekeeper) is None
    [(_, _, context, _)] = gatekeeper.seen
    assert context.tunnel == "DNS"


@pytest.mark.parametrize("why", ["listed", "no leave", "fault"])
def test_a_question_is_refused_where_a_tunnel_would_be(gatekeeper, why):
    if why == "listed":
        gatekeeper.bad.add("192.0.2.53/")
    if why == "fault":
        gatekeeper.faults.add("now")
    assert asked(gatekeeper, leave=why != "no leave") == response_codes.REFUSED
    if why != "fault":
        assert gatekeeper.seen[-1][3].action is Action.BLOCK


@pytest.mark.parametrize(
    ("mode", "server"), [("wireguard", ("10.0.0.53", 53)), ("dns", SERVER), ("dns", None)]
)
def test_the_modes_own_resolver_needs_no_leave(gatekeeper, mode, server):
    assert asked(gatekeeper, mode, server, leave=False) is None
    assert gatekeeper.seen == []
