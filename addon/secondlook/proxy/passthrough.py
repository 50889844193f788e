"""TLS that is not opened: whose, and what is checked of it all the same.

A host of `passthrough` keeps its own encryption end to end. Its name (SNI, and the tunnel's target where
the two differ) is checked at the ClientHello; a block cuts the client before any socket to the origin
exists. Where `learn` is on, a client whose handshakes with our certificate fail again and again for one host
is passed through for a while: per client and host, with an end. It is an event of the log, by which every
worker knows of it within a second, and again after a restart.
"""

import logging
from collections.abc import Callable, Iterable

from lru import LRU
from mitmproxy import tls
from mitmproxy.connection import Client, Server

from secondlook.clock import Clock
from secondlook.core.event import Event, EventKind
from secondlook.core.inert import inert
from secondlook.core.passage import PASSTHROUGH
from secondlook.core.verdict import Action, Decision
from secondlook.ledger.shape import rfc3339
from secondlook.proxy.internal_site import is_internal
from secondlook.proxy.request import peer_text
from secondlook.proxy.tail import Follower, Tail
from secondlook.proxy.unopened import Unopened

logger = logging.getLogger(__name__)

LOOK_EVERY_S = 0.5
TOLD_AGAIN_S = 60.0
_REMEMBERED = 4096
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
    """Counts failed handshakes by client and host; says when a host is better passed through.

    `now` gives Unix seconds.
    """

    def __init__(self, failures: int, within_s: float, duration_s: float, now: Callable[[], float]) -> None:
        self.needed = failures
        self.duration_s = duration_s
        self._within_s = within_s
        self._now = now
        self._failures: LRU[tuple[str, str], tuple[float, ...]] = LRU(_REMEMBERED)
        self._passed: LRU[tuple[str, str], float] = LRU(_REMEMBERED)

    def failed(self, client: str, host: str) -> float | None:
        """Note a failed handshake; gives until when the host passes through, if this one makes it."""
        now = self._now()
        recent = (*(at for at in self._failures.get((client, host)) or () if now - at <= self._within_s), now)
        if len(recent) < self.needed:
            self._failures[client, host] = recent
            return None
        return self.learned(client, host, now)

    def learned(self, client: str, host: str, since: float) -> float:
        """Pass a host through from then on; gives the end."""
        self._failures.pop((client, host), None)  # when it ends, it has to be learned anew
        until = self._passed[client, host] = since + self.duration_s
        return until

    def passes(self, client: str, host: str) -> bool:
        """Tell whether this client's TLS to this host is passed through now."""
        until = self._passed.get((client, host))
        return until is not None and self._now() < until


class Passthrough:
    """Addon: decides at the ClientHello whether TLS is opened."""

    name = "secondlook-passthrough"

    def __init__(
        self,
        unopened: Unopened,
        hosts: Iterable[str],
        learner: Learner | None,
        *,
        tail: Tail | None,
        clock: Clock,
        new_id: Callable[[float], str],
    ) -> None:
        self._unopened = unopened
        self._hosts = HostSet(hosts)
        self._learner = learner
        self._tail = tail
        self._new_id = new_id
        self._clock = clock
        self._told: LRU[tuple[str | None, str, str | None], float] = LRU(_REMEMBERED)
        self._others: Follower | None = None
        if learner is not None and tail is not None:
            self._others = Follower(
                tail, lambda: clock.now() - learner.duration_s, self._take, every_s=LOOK_EVERY_S
            )

    def running(self) -> None:
        """Begin to follow what other workers learn, and take up what was learned before."""
        if self._others is not None:
            self._others.start()

    async def done(self) -> None:
        """Stop following."""
        if self._others is not None:
            await self._others.aclose()

    def _take(self, event: Event) -> None:
        if self._learner is not None and event.client and event.host:
            self._learner.learned(event.client, event.host, event.time)

    async def tls_clienthello(self, data: tls.ClientHelloData) -> None:
        """Pass a host through, or cut it when it is listed."""
        context = data.context
        target = context.server.address[0] if context.server.address else None
        sni = data.client_hello.sni
        names = [name for name in dict.fromkeys((sni and sni.lower(), target)) if name]
        if not names or is_internal(names[0]):  # our own pages stand behind no other TLS
            return
        client = peer_text(context.client.peername)
        learned = self._learner is not None and client is not None and self._learner.passes(client, names[0])
        if names[0] not in self._hosts and not learned:
            return
        data.ignore_connection = True
        what = "TLS, passed through"
        port = context.server.address[1] if context.server.address else 443
        decision = await self._unopened.check(context.client, "https", tuple(names), port, what)
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
        until = self._learner.failed(client, host)
        if until is None:
            return
        detail = (
            f"TLS of {client} to {inert(host)} is passed through unopened until {rfc3339(until)}: "
            f"a program there refused our certificate {self._learner.needed} times"
        )
        logger.warning("%s", detail)
        if self._tail is not None:
            now = until - self._learner.duration_s
            event = Event(
                id=self._new_id(now),
                kind=EventKind.ACTION,
                time=now,
                client=client,
                host=host,
                stage=PASSTHROUGH,
                detail=detail,
            )
            self._tail.record(event)

    def tls_failed_server(self, data: tls.TlsData) -> None:
        """Write down that an origin's TLS failed; once a minute of the same kind for the same client."""
        conn, client = data.conn, peer_text(data.context.client.peername)
        host = conn.sni or (conn.address[0] if isinstance(conn, Server) and conn.address else None)
        if host is None or self._tail is None:
            return
        now, failure = self._clock.now(), (client, host, conn.error)
        if abs(now - self._told.get(failure, 0.0)) < TOLD_AGAIN_S:
            return
        self._told[failure] = now
        self._tail.record(
            Event(
                id=self._new_id(now),
                kind=EventKind.ERROR,
                time=now,
                client=client,
                host=host,
                detail=f"TLS of {inert(host)} failed: {inert(conn.error or 'no reason given', 200)}",
            )
        )

    @staticmethod
    def _cut(data: tls.ClientHelloData, decision: Decision) -> None:
        data.context.server.error = f"blocked; event={decision.event_id or 'none'}"
