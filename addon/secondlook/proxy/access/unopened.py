"""Tunnels that are not opened: TLS that is passed through, and what is neither TLS nor HTTP.

Nobody sees what runs through them, so where they lead is all there is to judge: the name, and every address
it stands for. What is neither TLS nor HTTP also needs the operator's leave (`passthrough.unknown`). Here too
every hook catches everything: what cannot be judged is closed.
"""

import logging
from collections.abc import Callable

from mitmproxy import dns, tcp, udp
from mitmproxy.connection import Client, Server
from mitmproxy.net.dns import response_codes
from mitmproxy.proxy import mode_specs

from secondlook.agent import metrics
from secondlook.agent.check.gatekeeper import Gatekeeper
from secondlook.core.verdict import Action, Decision
from secondlook.proxy.access.access import closed_reason
from secondlook.proxy.mitm.tls.recognizer import is_virtual_resolver
from secondlook.proxy.mitm.tls.tunnel import REFUSED, TUNNEL, Opening, Silence
from secondlook.proxy.request import peer_text, tunnel_context
from secondlook.refusal.refusal import FAULT
from secondlook.resolver import Resolver

logger = logging.getLogger(__name__)

type Leave = Callable[[str | None, str | None, int], bool]
"""Whether a client (address) and user may speak what is neither TLS nor HTTP with a port."""

WAITING = "its client waits for the server to speak first"
UNKNOWN = "not let through: {what} (passthrough.unknown)"
SPEAKS_FIRST = frozenset({21, 22, 23, 25, 110, 119, 143, 587, 3306, 5900, 6667})  # servers that always do
PATIENCE = 30  # silences (s) that a client of another port may take before it is refused


class Unopened:
    """Addon: judges tunnels that are not opened."""

    name = "secondlook-unopened"

    def __init__(
        self,
        gatekeeper: Gatekeeper,
        leave: Leave,
        resolver: Resolver,
        user_of: Callable[[Client], str | None] = lambda _: None,
    ) -> None:
        self._gatekeeper = gatekeeper
        self._leave = leave
        self._resolver = resolver
        self._user_of = user_of

    async def secondlook_silence(self, opening: Opening) -> None:
        """Judge the host of a client that sends nothing, once.

        Where it may not go, nothing is contacted; what it begins after all may get a page, so it is given
        time, but for ports where only the server would begin.
        """
        client, server = opening.context.client, opening.context.server
        assert server.address is not None
        host, port = server.address[:2]
        known = self.may_pass(client, port)
        if opening.silence is None:
            opening.silence = Silence.WAIT
            if known:
                decision = await self.check(client, "http", (host,), port, WAITING)
                if decision.action is not Action.BLOCK:
                    opening.silence = Silence.CONNECT
        if opening.silence is Silence.WAIT and (port in SPEAKS_FIRST or opening.silences >= PATIENCE):
            opening.silence = Silence.REFUSE
            if not known:
                await self.judge(client, server, WAITING)

    async def tcp_start(self, flow: tcp.TCPFlow) -> None:
        """Judge a connection that is neither TLS nor HTTP, before its origin hears of it."""
        await self._judge_flow(flow)

    async def udp_start(self, flow: udp.UDPFlow) -> None:
        """Judge a datagram flow."""
        await self._judge_flow(flow)

    async def dns_request(self, flow: dns.DNSFlow) -> None:
        """Judge where a question goes that a datagram to port 53 or 5353 holds; mitmproxy relays no other.

        What the mode's own resolver answers goes nowhere.
        """
        mode, address = flow.client_conn.proxy_mode, flow.server_conn.address
        if address is None or isinstance(mode, mode_specs.DnsMode) or is_virtual_resolver(mode, address):
            return
        if (await self.judge(flow.client_conn, flow.server_conn, "DNS")).action is Action.BLOCK:
            flow.response = flow.request.fail(response_codes.REFUSED)

    async def _judge_flow(self, flow: tcp.TCPFlow | udp.UDPFlow) -> None:
        if flow.server_conn.address is None:
            return
        what = flow.metadata.get(TUNNEL, "UDP")
        refused = what if flow.metadata.get(REFUSED) else None
        decision = await self.judge(flow.client_conn, flow.server_conn, what, refused=refused)
        if decision.action is Action.BLOCK:
            flow.server_conn.error = "blocked"
            flow.kill()

    async def judge(
        self, client: Client, server: Server, what: str, *, refused: str | None = None
    ) -> Decision:
        """Judge where a tunnel leads; `refused`: it goes nowhere, and this is why. Never raises."""
        try:
            assert server.address is not None
            host, port = server.address[:2]
            if refused is None and not self.may_pass(client, port):
                refused = UNKNOWN.format(what=what)
            if refused is not None:
                context = tunnel_context("http", host, *self.who(client), port=port, tunnel=what)
                return await self._gatekeeper.refuse(
                    self._gatekeeper.subject("http", host, b"/"), context, refused
                )
            return await self.check(client, "http", (host,), port, what)
        except Exception:
            logger.exception("a tunnel could not be judged")
            metrics.INTERNAL_ERRORS.inc()
            return FAULT

    def may_pass(self, client: Client, port: int) -> bool:
        """Return whether this client may speak with this port what is neither TLS nor HTTP."""
        if isinstance(client.proxy_mode, mode_specs.ReverseMode):  # the operator set protocol and target
            return True
        return self._leave(*self.who(client), port)

    async def check(
        self, client: Client, scheme: str, names: tuple[str, ...], port: int, what: str
    ) -> Decision:
        """Check the host of a tunnel by its names and by every address of the last; never raises."""
        try:
            decision = FAULT
            for host in names:
                decision = await self._check_one(client, scheme, host, port, what)
                if decision.action is Action.BLOCK:
                    return decision
            if not isinstance(client.proxy_mode, mode_specs.UpstreamMode):  # there nothing is resolved here
                for address in await self._addresses(names[-1], client):
                    found = await self._check_one(client, scheme, address, port, what)
                    if found.action is Action.BLOCK:
                        return found
        except Exception:
            logger.exception("a host could not be checked")
            metrics.INTERNAL_ERRORS.inc()
            return FAULT
        else:
            return decision

    async def _check_one(self, client: Client, scheme: str, host: str, port: int, what: str) -> Decision:
        context = tunnel_context(scheme, host, *self.who(client), port=port, tunnel=what)
        subject = self._gatekeeper.subject(scheme, host, b"/")
        return self._gatekeeper.now(subject, context) or await self._gatekeeper.check(subject, context)

    async def _addresses(self, host: str, client: Client) -> list[str]:
        """List the addresses that a name stands for, of which one is connected to in a moment."""
        try:
            places = await self._resolver.places(host, asker=peer_text(client.peername) or "")
        except OSError:  # the connection fails by itself
            return []
        return [place.text for place in places if place.text != host]

    def who(self, client: Client) -> tuple[str | None, str | None]:
        """Return the address and the user of a client."""
        return peer_text(client.peername), self._user_of(client)

    def tcp_message(self, flow: tcp.TCPFlow) -> None:
        """Forget messages, as for WebSocket."""
        flow.messages.clear()

    def udp_message(self, flow: udp.UDPFlow) -> None:
        """Forget messages, as for WebSocket."""
        flow.messages.clear()

    async def tcp_error(self, flow: tcp.TCPFlow) -> None:
        """Write down that a raw connection was refused by the address behind its name."""
        reason = closed_reason(flow.error.msg) if flow.error is not None else None
        if reason is None or flow.server_conn.address is None:
            return
        host = flow.server_conn.address[0]
        context = tunnel_context("http", host, *self.who(flow.client_conn))
        await self._gatekeeper.refuse(self._gatekeeper.subject("http", host, b"/"), context, reason)
