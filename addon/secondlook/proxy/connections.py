"""Hooks of connections: who may use the proxy, where it may connect to, and traffic that is not HTTP.

Here too every hook that decides catches everything (see `addon.py`): what cannot be told is closed.
"""

import logging
from functools import partial
from typing import Any

from mitmproxy import http, tcp, udp
from mitmproxy.connection import Client
from mitmproxy.proxy import mode_specs

from secondlook.agent import metrics
from secondlook.core.subject import Use
from secondlook.core.verdict import Action, Decision, SubjectClass
from secondlook.proxy.access import Access, closed_reason
from secondlook.proxy.dialing import Dialer
from secondlook.proxy.login import USER
from secondlook.proxy.ports import Gatekeeper
from secondlook.proxy.refusal import FAULT, mark_headers, problem_document
from secondlook.proxy.request import peer_text, tunnel_use

logger = logging.getLogger(__name__)


class Connections:
    """Addon: decides about connections, tunnels and raw flows."""

    name = "secondlook-connections"

    def __init__(self, gatekeeper: Gatekeeper, access: Access, dialer: Dialer) -> None:
        self.gatekeeper = gatekeeper
        self.access = access
        self._dialer = dialer
        self._master: Any = None

    def load(self, loader: Any) -> None:
        """Note whose connections these are."""
        self._master = loader.master

    def client_connected(self, client: Client) -> None:
        """Turn away who may not use the proxy; whom it serves, it connects by its own way."""
        try:
            handler = self._master.addons.get("proxyserver").connections[client.id]
            handler.open_connection = partial(self._dialer.open, handler)
            admitted = isinstance(client.proxy_mode, mode_specs.LocalMode) or self.access.admits(
                client.peername[0]
            )
        except Exception:
            logger.exception("cannot tell whether a client may use the proxy")
            admitted = False
        if not admitted:
            client.error = "this client may not use the proxy (see `clients` in proxy.yaml)"

    async def http_connect(self, flow: http.HTTPFlow) -> None:
        """Look at the target of a tunnel; nothing is contacted yet (lazy strategy).

        A listed host is refused here only where its requests will not be seen (passed-through TLS): elsewhere
        the page inside the intercepted connection says more than a failed tunnel can.
        """
        if flow.response is not None:
            return
        try:
            host, port = flow.request.host, flow.request.port
            client = peer_text(flow.client_conn.peername)
            closed = self.access.closed(client, host, port)
            if closed is not None and not self.access.is_trusted(host, port):
                use = tunnel_use("https", host, client, port=port, user=flow.metadata.get(USER))
                subject = self.gatekeeper.subject("https", host, b"/")
                flow.response = _connect_refusal(await self.gatekeeper.refuse(subject, use, closed), use)
        except Exception:
            logger.exception("a tunnel could not be checked")
            flow.response = _connect_refusal(FAULT, Use(SubjectClass.PAGE))

    async def tcp_start(self, flow: tcp.TCPFlow) -> None:
        """Check the host of a connection that is neither TLS nor HTTP, before its origin hears of it."""
        await self._check_raw(flow)

    async def udp_start(self, flow: udp.UDPFlow) -> None:
        """Check the host of a datagram flow."""
        await self._check_raw(flow)

    async def _check_raw(self, flow: tcp.TCPFlow | udp.UDPFlow) -> None:
        address = flow.server_conn.address
        if address is None:
            return
        decision = await self.check_host("http", address[0], flow.client_conn)
        if decision.action is Action.BLOCK:
            flow.server_conn.error = "blocked"
            flow.kill()

    def tcp_message(self, flow: tcp.TCPFlow) -> None:
        """Forget messages, as for WebSocket."""
        flow.messages.clear()

    def udp_message(self, flow: udp.UDPFlow) -> None:
        """Forget messages, as for WebSocket."""
        flow.messages.clear()

    async def check_host(self, scheme: str, host: str, client: Client) -> Decision:
        """Check a host whose requests will not be seen; never raises."""
        try:
            address = peer_text(client.peername)
            use = tunnel_use(scheme, host, address)
            return await self.gatekeeper.check(self.gatekeeper.subject(scheme, host, b"/"), use)
        except Exception:
            logger.exception("a host could not be checked")
            metrics.INTERNAL_ERRORS.inc()
            return FAULT

    async def tcp_error(self, flow: tcp.TCPFlow) -> None:
        """Write down that a raw connection was refused by the address behind its name."""
        reason = closed_reason(flow.error.msg) if flow.error is not None else None
        if reason is None or flow.server_conn.address is None:
            return
        host = flow.server_conn.address[0]
        use = tunnel_use("http", host, peer_text(flow.client_conn.peername))
        await self.gatekeeper.refuse(self.gatekeeper.subject("http", host, b"/"), use, reason)


def _connect_refusal(decision: Decision, use: Use) -> http.Response:
    headers = mark_headers(decision, "application/problem+json")
    return http.Response.make(403, problem_document(decision, use.url or ""), http.Headers(headers))
