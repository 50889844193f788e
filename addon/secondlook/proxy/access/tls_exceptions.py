"""Whose TLS is passed through for a while: every worker reads of it in the log (`core/tls_exception.py`)."""

from lru import LRU
from mitmproxy import ctx
from mitmproxy.connection import Client

from secondlook.core.event import Event, EventKind
from secondlook.core.tls_exception import LOOK_EVERY_S, Lasting, passage_of
from secondlook.ground.clock import Clock
from secondlook.proxy.event_follower import Follower, Tail

REMEMBERED = 4096


class Passages:
    """Follows the log, and knows whether a client's TLS to a host is passed through now."""

    def __init__(self, lasting: Lasting, tail: Tail | None, clock: Clock) -> None:
        self._lasting = lasting
        self._clock = clock
        self._until: LRU[tuple[str, str | None, str], float] = LRU(REMEMBERED)
        self._opened: LRU[str, tuple[str, str, str]] = LRU(REMEMBERED)  # by connection, for whom it was
        self._follower: Follower | None = None
        if tail is not None and lasting.longest_s:
            since = lambda: clock.now() - lasting.longest_s  # noqa: E731
            self._follower = Follower(tail, since, self.take, every_s=LOOK_EVERY_S)

    def start(self) -> None:
        """Begin to follow what other workers learn, and take up what was learned before."""
        if self._follower is not None:
            self._follower.start()

    async def aclose(self) -> None:
        """Stop following."""
        if self._follower is not None:
            await self._follower.aclose()

    def take(self, event: Event) -> None:
        """Hold what an event records, until its end."""
        passage = passage_of(event, self._lasting)
        if passage is None or passage.until <= self._clock.now():
            return
        excepted = passage.kind is EventKind.OVERRIDDEN
        whose = passage.client, (passage.user or "") if excepted else None, passage.host
        self._until[whose] = passage.until
        if excepted:  # a browser keeps what is opened, and would meet our page on it again
            for connection in [each for each, opened in self._opened.items() if opened == whose]:
                del self._opened[connection]
                _end(connection)

    def passes(self, client: str, user: str | None, host: str) -> bool:
        """Return whether this client's TLS to this host is passed through now."""
        if not self._until:
            return False
        now = self._clock.now()
        return any(now < self._until.get((client, who, host), 0.0) for who in (None, user or ""))

    def opened(self, connection: Client, client: str, user: str | None, host: str) -> None:
        """Note which connection is opened for whom: a passage that begins ends it."""
        if self._lasting.excepted_s:
            self._opened[connection.id] = client, user or "", host


def _end(connection: str) -> None:
    handler = ctx.master.addons.get("proxyserver").connections.get(connection)
    io = handler.transports.get(handler.client) if handler is not None else None
    if io is not None and io.handler is not None:
        io.handler.cancel("its TLS is passed through from now on")
