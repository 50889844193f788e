"""Clients behind a load balancer that speaks HTTP: each request is its client's, as the balancer names it.

A balancer's connection carries requests of many clients in turn, so whose it is changes with each request:
`client.peername`, which is all that anybody asks, becomes the client's address before anything else looks at
the request (this addon stands first). HTTP/1 has one request at a time on a connection; connections with TLS
(HTTP/2) are not read so. Nobody stays signed in on such a connection, and no connection to an origin is used
for another client (`mitm/layers.py`). Once a tunnel is open, the connection is its client's to the end, and
headers within are the client's own words.

The headers are taken off: no origin learns who is behind the balancer. A request that names nobody is the
balancer's own. It is answered by the proxy's own site (health checks), and goes further only where `networks`
names the balancer too: what a client can bring about by a header of its own opens nothing.
"""

import logging
import weakref
from collections.abc import Callable

from mitmproxy import http
from mitmproxy.connection import Client
from mitmproxy.proxy import mode_specs

from secondlook.core.forwarded import NAMES, ForwardedError, forwarded_client
from secondlook.proxy.access.access import Access
from secondlook.proxy.mitm.transport.connection_limits import Complaint
from secondlook.proxy.response import plain_answer

logger = logging.getLogger(__name__)

_MODES = mode_specs.RegularMode | mode_specs.UpstreamMode | mode_specs.ReverseMode
_NOT_SAID = "it names no client"
_MAY_NOT = "this client may not use the proxy (see `clients` in proxy.yaml)"


class Forwarding:
    """Addon: names the clients of HTTP balancers; stands before all others."""

    name = "secondlook-forwarding"

    def __init__(
        self,
        access: Access,
        is_own_site: Callable[[http.HTTPFlow], bool],
        sign_out: Callable[[Client], None],
    ) -> None:
        self._access = access
        self._is_own_site = is_own_site
        self._sign_out = sign_out
        self._senders: weakref.WeakKeyDictionary[Client, tuple[str, int]] = weakref.WeakKeyDictionary()
        self._complain = Complaint(logger.warning)

    def client_connected(self, client: Client) -> None:
        """Note who may name clients; behind the PROXY protocol that is who it names, not who passes it on."""
        if isinstance(client.proxy_mode, _MODES) and self._access.is_balancer(client.peername[0]):
            self._senders[client] = client.peername

    def http_connect(self, flow: http.HTTPFlow) -> None:
        """Name the client of a tunnel."""
        self._name(flow)

    def http_connected(self, flow: http.HTTPFlow) -> None:
        """Believe nothing that comes through a tunnel."""
        self._senders.pop(flow.client_conn, None)

    def requestheaders(self, flow: http.HTTPFlow) -> None:
        """Name the client of a request."""
        self._name(flow)

    def _name(self, flow: http.HTTPFlow) -> None:
        client = flow.client_conn
        sender = self._senders.get(client)
        if sender is None or client.tls:
            return
        try:
            self._sign_out(client)
            client.peername = sender
            client.peername = (self._read(flow, sender[0]) or sender[0], sender[1])
            admitted = self._access.admits(client.peername[0]) or self._is_own_site(flow)
        except Exception:
            logger.exception("cannot determine whose request a load balancer passes on")
            admitted = False
        if not admitted:
            flow.response = plain_answer(403, _MAY_NOT)

    def _read(self, flow: http.HTTPFlow, sender: str) -> str | None:
        """Take the headers off a request, and return whom they name."""
        headers = flow.request.data.headers
        naming = [field for field in headers.fields if field[0].lower() in NAMES]
        headers.fields = tuple(field for field in headers.fields if field not in naming)
        try:
            named = forwarded_client(naming, self._access.is_balancer)
        except ForwardedError as error:
            self._note(sender, error)
            return None
        if named is None and not self._is_own_site(flow):
            self._note(sender, _NOT_SAID)
        return named

    def _note(self, sender: str, why: object) -> None:
        self._complain(
            f"a request of the load balancer {sender} counts as its own: {why} (see `clients.balancers`)"
        )
