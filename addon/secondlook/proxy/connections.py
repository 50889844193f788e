"""Hooks of connections: who may use the proxy, and where it may connect to.

Here too every hook that decides catches everything (see `addon.py`): what cannot be judged is closed.
"""

import logging
from collections.abc import Awaitable
from functools import partial
from typing import Any

from mitmproxy import http
from mitmproxy.connection import Client
from mitmproxy.proxy import mode_specs

from secondlook.agent.check.gatekeeper import Gatekeeper
from secondlook.core.subject import RequestContext
from secondlook.core.verdict import Decision, SubjectClass
from secondlook.proxy.access.access import Access
from secondlook.proxy.access.login import USER
from secondlook.proxy.mitm.transport.connection_limits import Complaint
from secondlook.proxy.mitm.transport.dialing import Dialer
from secondlook.proxy.request import peer_text, tunnel_context
from secondlook.refusal.refusal import FAULT, mark_headers, problem_document

logger = logging.getLogger(__name__)


class Connections:
    """Addon: decides about connections and tunnels."""

    name = "secondlook-connections"

    def __init__(self, gatekeeper: Gatekeeper, access: Access, dialer: Dialer) -> None:
        self.gatekeeper = gatekeeper
        self.access = access
        self._dialer = dialer
        self._master: Any = None
        self._complain = Complaint(logger.warning)

    def load(self, loader: Any) -> None:
        """Note whose connections these are."""
        self._master = loader.master

    def client_connected(self, client: Client) -> None:
        """Turn away who may not use the proxy; whom it serves, it connects by its own way."""
        try:
            handler = self._master.addons.get("proxyserver").connections[client.id]
            handler.open_connection = partial(self._dialer.open, handler)
            peer = client.peername[0]
            admitted = (
                isinstance(client.proxy_mode, mode_specs.LocalMode)
                or self.access.admits(peer)
                or self.access.is_balancer(peer)  # each of its requests is looked at (`access/forwarding.py`)
            )
        except Exception:
            logger.exception("cannot determine whether a client may use the proxy")
            admitted = False
        if not admitted:
            client.error = "this client may not use the proxy (see `clients` in proxy.yaml)"
            self._complain(f"a connection of {peer_text(client.peername)} is closed: {client.error}")

    def http_connect(self, flow: http.HTTPFlow) -> Awaitable[None] | None:
        """Look at the target of a tunnel; nothing is contacted yet (lazy strategy).

        A listed host is refused here only where its requests will not be seen (passed-through TLS): elsewhere
        the page inside the intercepted connection says more than a failed tunnel can.
        """
        if flow.response is not None:
            return None
        try:
            host, port = flow.request.host, flow.request.port
            closed = self.access.closed(peer_text(flow.client_conn.peername), host, port)
            if closed is None or self.access.is_trusted(host, port):
                return None
        except Exception:
            logger.exception("a tunnel could not be checked")
            flow.response = _connect_refusal(FAULT, RequestContext(SubjectClass.PAGE))
            return None
        return self._refuse(flow, closed)

    async def _refuse(self, flow: http.HTTPFlow, reason: str) -> None:
        try:
            host, port = flow.request.host, flow.request.port
            client = peer_text(flow.client_conn.peername)
            context = tunnel_context("https", host, client, flow.metadata.get(USER), port=port)
            subject = self.gatekeeper.subject("https", host, b"/")
            flow.response = _connect_refusal(await self.gatekeeper.refuse(subject, context, reason), context)
        except Exception:
            logger.exception("the refusal of a tunnel could not be recorded")
            flow.response = _connect_refusal(FAULT, RequestContext(SubjectClass.PAGE))


def _connect_refusal(decision: Decision, context: RequestContext) -> http.Response:
    headers = mark_headers(decision, "application/problem+json")
    return http.Response.make(403, problem_document(decision, context.url or ""), http.Headers(headers))
