"""TLS that is not opened: whose, and what is checked of it all the same.

A host of `passthrough` keeps its own encryption end to end. Its name (SNI, and the tunnel's target where
the two differ) is checked at the ClientHello; a block cuts the client before any socket to the origin
exists. Where `learn` is on, a client whose handshakes with our certificate fail again and again for one host
is passed through for a while: per client and host, with an end. So is an origin whose TLS cannot be opened
here, where a person lets it pass (`exceptions.py`). Each is an event of the log, by which every worker knows
of it within a second, and again after a restart.
"""

import logging
from collections.abc import Awaitable, Callable, Iterable

from lru import LRU
from mitmproxy import http, tls
from mitmproxy.connection import Client, Server
from mitmproxy.utils import human

from secondlook.core.event import Event, EventKind
from secondlook.core.neutralize import inert
from secondlook.core.tls_exception import ORIGIN_TLS, PASSTHROUGH
from secondlook.core.url.address import parse_address
from secondlook.core.verdict import Action, Decision
from secondlook.ground.clock import Clock
from secondlook.ground.instant import rfc3339
from secondlook.proxy.access.tls_exceptions import REMEMBERED, Passages
from secondlook.proxy.access.unopened import Unopened
from secondlook.proxy.event_follower import Tail
from secondlook.proxy.mitm import unreachable
from secondlook.proxy.request import peer_text
from secondlook.refusal.keeping import Keeping
from secondlook.refusal.refusal import is_internal

logger = logging.getLogger(__name__)

LOGGED_AGAIN_S = 60.0
type Failure = tuple[str | None, str | None, tuple[str, int], str]
"""Of an origin's TLS: client and user that met it, host and port, and what OpenSSL reports."""

_UNTRUSTED = ("unknown ca", "bad certificate", "certificate unknown", "unknown_ca")


class HostSet:
    """Hosts by name; `*.example.org` stands for the subdomains of example.org."""

    def __init__(self, hosts: Iterable[str]) -> None:
        names = list(hosts)
        self._exact = frozenset(name for name in names if not name.startswith("*."))
        self._parents = frozenset(name[2:] for name in names if name.startswith("*."))

    def __contains__(self, host: object) -> bool:
        if not isinstance(host, str):
            return False
        name = host.rstrip(".").lower()
        if name in self._exact:
            return True
        while self._parents and "." in name:
            name = name.partition(".")[2]
            if name in self._parents:
                return True
        return False


class Learner:
    """Counts failed handshakes by client and host; decides when a host is better passed through.

    `now` gives Unix seconds.
    """

    def __init__(self, failures: int, within_s: float, duration_s: float, now: Callable[[], float]) -> None:
        self.needed = failures
        self.duration_s = duration_s
        self._within_s = within_s
        self._now = now
        self._failures: LRU[tuple[str, str], tuple[float, ...]] = LRU(REMEMBERED)

    def failed(self, client: str, host: str) -> float | None:
        """Note a failed handshake; return the moment when it was enough, if this one makes it."""
        now = self._now()
        recent = (*(at for at in self._failures.get((client, host)) or () if now - at <= self._within_s), now)
        if len(recent) < self.needed:
            self._failures[client, host] = recent
            return None
        self._failures.pop((client, host), None)  # when it ends, it has to be learned anew
        return now


class Passthrough:
    """Addon: decides at the ClientHello whether TLS is opened."""

    name = "secondlook-passthrough"

    def __init__(
        self,
        unopened: Unopened,
        hosts: Iterable[str],
        learner: Learner | None,
        passages: Passages,
        *,
        tail: Tail | None,
        keeping: Keeping,
        clock: Clock,
        new_id: Callable[[float], str],
    ) -> None:
        self._unopened = unopened
        self._hosts = HostSet(hosts)
        self._learner = learner
        self._passages = passages
        self._tail = tail
        self._keeping = keeping
        self._new_id = new_id
        self._clock = clock
        self._recorded: LRU[Failure, tuple[float, str]] = LRU(REMEMBERED)

    def running(self) -> None:
        """Begin to follow what other workers learn, and take up what was learned before."""
        self._passages.start()

    async def done(self) -> None:
        """Stop following."""
        await self._passages.aclose()

    def tls_clienthello(self, data: tls.ClientHelloData) -> Awaitable[None] | None:
        """Pass a host through, or cut it when it is listed."""
        context = data.context
        target = context.server.address[0] if context.server.address else None
        sni = data.client_hello.sni
        names = [name for name in dict.fromkeys((sni and sni.lower(), target)) if name]
        if not names or is_internal(names[0]):  # our own pages stand behind no other TLS
            return None
        client, user = self._unopened.who(context.client)
        passes = names[0] in self._hosts
        if not passes and client is not None:
            passes = self._passages.passes(client, user, names[0])
            if not passes:
                self._passages.opened(context.client, client, user, names[0])
        if not passes:
            return None
        data.ignore_connection = True
        return self._check(data, tuple(names))

    async def _check(self, data: tls.ClientHelloData, names: tuple[str, ...]) -> None:
        context, what = data.context, "TLS, passed through"
        port = context.server.address[1] if context.server.address else 443
        decision = await self._unopened.check(context.client, "https", names, port, what)
        if decision.action is Action.BLOCK:
            self._cut(data, decision)

    def tls_failed_client(self, data: tls.TlsData) -> None:
        """Learn from a client that does not take our certificate."""
        conn = data.conn
        if self._learner is None or not isinstance(conn, Client) or not conn.sni or is_internal(conn.sni):
            return
        error = (conn.error or "").lower()
        client = peer_text(conn.peername)
        if client is None or not any(word in error for word in _UNTRUSTED):
            return
        host = conn.sni.lower()
        now = self._learner.failed(client, host)
        if now is None:
            return
        detail = (
            f"TLS of {client} to {inert(host)} is passed through unopened until "
            f"{rfc3339(now + self._learner.duration_s)}: "
            f"a program there refused our certificate {self._learner.needed} times"
        )
        logger.warning("%s", detail)
        event = Event(
            id=self._new_id(now),
            kind=EventKind.ACTION,
            time=now,
            client=client,
            host=host,
            stage=PASSTHROUGH,
            detail=detail,
        )
        self._passages.take(event)
        if self._tail is not None:
            self._tail.record(event)

    def tls_failed_server(self, data: tls.TlsData) -> None:
        """Write down that an origin's TLS failed; once a minute of the same kind for the same client."""
        conn = data.conn
        if not isinstance(conn, Server) or conn.address is None or self._tail is None:
            return
        now, reason = self._clock.now(), conn.error or ""
        failure = self._failure(data.context.client, conn.address[:2], reason)
        if abs(now - self._recorded.get(failure, (0.0, ""))[0]) < LOGGED_AGAIN_S:
            return
        client, user, (host, port), _ = failure
        if parse_address(host) is not None:  # a mode without names
            host = data.context.client.sni or host
        event = Event(
            id=self._new_id(now),
            kind=EventKind.ERROR,
            time=now,
            client=client,
            user=user,
            host=host.lower(),
            url=f"https://{human.format_address((host, port)).removesuffix(':443')}/",
            stage=ORIGIN_TLS if unreachable.advice(reason) else None,
            detail=f"TLS of {inert(host)} failed: {inert(reason or 'no reason given', 200)}",
        )
        self._recorded[failure] = now, event.id
        self._tail.record(event)

    def event_of_failure(self, flow: http.HTTPFlow, reason: str) -> str | None:
        """Return the event of a failure of TLS that passing it through would help, where it is kept."""
        request, client = flow.request, flow.client_conn
        if not client.tls_established or not unreachable.advice(reason):
            return None
        found = self._recorded.get(self._failure(client, (request.host, request.port), reason))
        return found[1] if found is not None and self._keeping.event(flow.request.url) else None

    def _failure(self, client: Client, address: tuple[str, int], reason: str) -> Failure:
        return (*self._unopened.who(client), address, reason)

    @staticmethod
    def _cut(data: tls.ClientHelloData, decision: Decision) -> None:
        data.context.server.error = f"blocked; event={decision.event_id or 'none'}"
