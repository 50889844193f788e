"""TLS that is not opened: whose, and what is checked of it all the same.

A host of `passthrough` keeps its own encryption end to end. Its name (SNI, and the tunnel's target where
the two differ) is checked at the ClientHello; a block cuts the client before any socket to the origin
exists. Where `learn` is on, a client whose handshakes with our certificate fail again and again for one host
is passed through for a while: per client and host, with an end, and told in the log.
"""

import logging
import time
from collections.abc import Callable, Iterable

from lru import LRU
from mitmproxy import tls
from mitmproxy.connection import Client

from secondlook.core.verdict import Action, Decision
from secondlook.proxy.addon import SecondLookAddon
from secondlook.proxy.request import peer_text

logger = logging.getLogger(__name__)

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
    """Counts failed handshakes by client and host; says when a host is better passed through."""

    def __init__(
        self, failures: int, within_s: float, duration_s: float, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._needed = failures
        self._within_s = within_s
        self._duration_s = duration_s
        self._now = now
        self._failures: LRU[tuple[str, str], tuple[float, ...]] = LRU(_REMEMBERED)
        self._passed: LRU[tuple[str, str], float] = LRU(_REMEMBERED)

    def failed(self, client: str, host: str) -> bool:
        """Note a failed handshake; True when it makes the host pass through from now on."""
        now = self._now()
        recent = (*(at for at in self._failures.get((client, host)) or () if now - at <= self._within_s), now)
        if len(recent) < self._needed:
            self._failures[client, host] = recent
            return False
        self._failures.pop((client, host), None)  # when it ends, it has to be learned anew
        self._passed[client, host] = now + self._duration_s
        return True

    def passes(self, client: str, host: str) -> bool:
        """Tell whether this client's TLS to this host is passed through now."""
        until = self._passed.get((client, host))
        return until is not None and self._now() < until


class Passthrough:
    """Addon: decides at the ClientHello whether TLS is opened."""

    name = "secondlook-passthrough"

    def __init__(self, edge: SecondLookAddon, hosts: Iterable[str], learner: Learner | None) -> None:
        self._edge = edge
        self._hosts = HostSet(hosts)
        self._learner = learner

    async def tls_clienthello(self, data: tls.ClientHelloData) -> None:
        """Pass a host through, or cut it when it is listed."""
        context = data.context
        target = context.server.address[0] if context.server.address else None
        sni = data.client_hello.sni
        names = [name for name in dict.fromkeys((sni, target)) if name]
        if not names:
            return
        client = peer_text(context.client.peername)
        learned = self._learner is not None and client is not None and self._learner.passes(client, names[0])
        if names[0] not in self._hosts and not learned:
            return
        data.ignore_connection = True
        for name in names:
            decision = await self._edge.check_host("https", name, context.client)
            if decision.action is Action.BLOCK:
                self._cut(data, decision)
                return

    def tls_failed_client(self, data: tls.TlsData) -> None:
        """Learn from a client that does not take our certificate."""
        conn = data.conn
        if self._learner is None or not isinstance(conn, Client) or not conn.sni:
            return
        error = (conn.error or "").lower()
        client = peer_text(conn.peername)
        if client is None or not any(word in error for word in _UNTRUSTED):
            return
        if self._learner.failed(client, conn.sni):
            logger.warning(
                "TLS of %s to %s is passed through for a while: it refuses our certificate", client, conn.sni
            )

    def passes(self, client: str | None, host: str) -> bool:
        """Tell whether TLS to a host would be passed through."""
        return host in self._hosts or (
            self._learner is not None and client is not None and self._learner.passes(client, host)
        )

    @staticmethod
    def _cut(data: tls.ClientHelloData, decision: Decision) -> None:
        data.context.server.error = f"blocked; event={decision.event_id or 'none'}"
