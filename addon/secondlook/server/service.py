"""A Smart Protection Server as its settings describe it: store, feeds or upstream, tokens, TLS, access log.

```
feeds ──► FeedKeeper ──► generations in the folder ──► FileReader ──► ServerApp ──► sockets
upstream ──► Replica ──►          │
                                  └──► Valkey (store: valkey://…) ──► ValkeyReader ──► ServerApp
```
"""

import asyncio
import logging
import socket
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from starlette.types import ASGIApp

from secondlook.config.own_hosts import own_hosts
from secondlook.config.service import ServerSettings
from secondlook.ground.clock import SystemClock
from secondlook.ground.errors import SecondLookError
from secondlook.ground.instant import rfc3339
from secondlook.ground.lanes import LISTS
from secondlook.ground.tasks import Tasks
from secondlook.server.admin.page import AdminPage
from secondlook.server.admin.sign_in import SignIn
from secondlook.server.feeds.keeper import FeedKeeper
from secondlook.server.feeds.known_good import keep_own_hosts
from secondlook.server.feeds.taking import FeedNotice
from secondlook.server.findings.intake import Intake
from secondlook.server.findings.receiver import FindingReceiver
from secondlook.server.http.access import Balancers
from secondlook.server.http.app import AppSettings, ServerApp
from secondlook.server.http.serving import JsonAccessLog, Serving
from secondlook.server.meter import Meter
from secondlook.server.publish.generation import Generation, mend_current
from secondlook.server.publish.signing import check_publisher_key
from secondlook.server.reader import FileReader, Reader
from secondlook.server.replica.forwarding import ForwardedFindings
from secondlook.server.replica.replica import Replica
from secondlook.server.staleness import stale_since
from secondlook.server.store.store import ServerStore

if TYPE_CHECKING:
    from secondlook.server.valkey.publisher import ValkeyPublisher

log = logging.getLogger(__name__)
FILES = "files"
PUSH_EVERY_S = 1.0
AGE_EVERY_S = 30.0
WHOLE_EVERY_S = 60.0  # between two looks through a whole Valkey store


class ServerService:
    """One server; `sockets` listen already. Signals and words on the terminal are the caller's matter."""

    _publisher: "ValkeyPublisher | None"

    def __init__(self, settings: ServerSettings, sockets: Sequence[socket.socket]) -> None:
        clock = SystemClock()
        self._settings = settings
        self._clock = clock
        self.store = ServerStore(settings.state)
        self._in_valkey = settings.store != FILES
        self.reader: Reader = FileReader(self.store)
        self._publisher = None
        if self._in_valkey:
            # an extra brings what they stand on
            from secondlook.server.valkey.publisher import ValkeyPublisher  # noqa: PLC0415
            from secondlook.server.valkey.reader import ValkeyReader  # noqa: PLC0415

            self.reader = ValkeyReader(settings.store)
            self._publisher = ValkeyPublisher(settings.store, keep_generations=settings.publish.keep)
        self._access_log = JsonAccessLog(settings.access_log) if settings.access_log else None
        meter = Meter()
        self.feeds = FeedKeeper(
            self.store,
            settings.feeds,
            clock,
            settings=settings.publish,
            meter=meter,
            on_notice=_log_notice,
            on_published=lambda _: self.serving.look_again(),
        )
        self._findings = FindingReceiver(
            Intake(self.store, settings.publish), settings.findings, clock, self.feeds.publish, meter=meter
        )
        self._forwarded = ForwardedFindings(settings.upstream) if settings.upstream else None
        app = ServerApp(
            self.reader,
            AppSettings(
                publish=settings.publish,
                limits=settings.limits,
                tokens=settings.tokens.values,
                store=self.store,
                hidden=frozenset(name for name, each in settings.lists.items() if not each.enabled),
                incomplete=frozenset(name for name, each in settings.lists.items() if not each.complete),
                findings=self._forwarded or self._findings,
                admin=self._admin(settings),
                trouble=self._replication_trouble,
                stale=lambda: self._stale_since() is not None,
                store_fault=lambda: self._store_fault,
            ),
            meter=meter,
            access_log=self._access_log,
        )
        self.serving = Serving(
            app,
            sockets,
            certificate=settings.tls.cert if settings.tls else None,
            key=settings.tls.key if settings.tls else None,
        )
        self._replica = (
            Replica(self.store, settings.upstream, settings.publish, meter) if settings.upstream else None
        )
        self._tasks = Tasks()
        self._eviction: str | None = None
        self._store_fault: str | None = None
        self._other_publisher: str | None = None

    def _admin(self, settings: ServerSettings) -> ASGIApp | None:
        if settings.admin is None:
            return None
        balancers = Balancers(settings.limits.balancers)
        return AdminPage(
            self.store,
            self._findings,
            SignIn(settings.admin.password, self._clock.monotonic),
            lambda scope: balancers.client((scope["client"] or ("", 0))[0], scope["headers"]),
            feeds=frozenset(feed.name for feed in settings.feeds if feed.enabled),
            publishes=settings.publish.auto,
        ).app

    def _replication_trouble(self) -> str | None:
        since = self._stale_since() if self._replica is not None else None
        return (
            None if since is None else f"nothing could be fetched from its publisher since {rfc3339(since)}"
        )

    def _stale_since(self) -> float | None:
        return stale_since(
            self._settings,
            self.store,
            self.reader.created_at,
            self._clock.now(),
            None if self._replica is None else self._replica.state,
        )

    async def start(self) -> None:
        """Begin to answer, to fetch and to replicate. Raises ConfigError for a damaged publisher's key."""
        if self._replica is not None:
            await LISTS.run(self._replica.verify)
        else:
            check_publisher_key(self.store.root, self._settings.publish.key)
            try:
                await LISTS.run(keep_own_hosts, self.store, own_hosts(self._settings))
            except OSError as error:
                log.warning("which hosts are our own cannot be written down: %s", error.strerror)
            if (mended := await LISTS.run(mend_current, self.store)) is not None:
                log.warning("%s", mended)
        await self.serving.start()
        self._tasks.keep("age of the lists", self._watch_age)
        if self._replica is not None:
            self._tasks.keep("replication", self._replica.run)
        elif self._settings.feeds:
            self._tasks.keep("feeds", self.feeds.run)
        if self._publisher is not None:
            self._tasks.keep("Valkey store", partial(self._push, self._publisher))
        if self._replica is None and self._settings.publish.auto:
            self._tasks.keep("findings", self._findings.run)

    async def _watch_age(self) -> None:
        """Log once that nothing comes in, and once that something does again."""
        stale_after_s = self._settings.publish.stale_after
        was_reported = False
        while True:
            is_stale = self._stale_since() is not None
            if is_stale and not was_reported:
                log.warning("nothing came in for longer than publish.stale_after")
            elif was_reported and not is_stale:
                log.warning("something came in again")
            was_reported = is_stale
            await asyncio.sleep(min(AGE_EVERY_S, stale_after_s / 2))

    async def _push(self, publisher: "ValkeyPublisher") -> None:
        """Carry each generation of our folder into the Valkey store; a folder without one only reads."""
        pushed: tuple[int, object] | None = None  # number and mark
        look_at = 0.0  # when to look through the whole store
        while True:
            number = self.store.current()
            try:
                ours = None if number is None else (number, self.store.mark_of(number))
                lost = ours is not None and ours == pushed and await publisher.lost(number)
                if lost:
                    log.warning("the Valkey store lost generation %s: it is loaded again", number)
                if number is not None and (lost or ours != pushed):
                    generation = Generation(self.store.generation_folder(number))
                    if lost or self.reader.number != number or not _same(generation, self.reader):
                        await publisher.push(generation, now=self._clock.now())
                        self.serving.look_again()
                    pushed, look_at = ours, 0.0
                if number is not None and (self.reader.trouble or self._clock.monotonic() >= look_at):
                    look_at = self._clock.monotonic() + WHOLE_EVERY_S
                    await self._look_through(publisher, number)
                self._store_fault = None
            except SecondLookError as error:
                if str(error) != self._store_fault:
                    log.warning("generation %s is not in the Valkey store: %s", number, error)
                self._store_fault = str(error)
            await asyncio.sleep(PUSH_EVERY_S)

    async def _look_through(self, publisher: "ValkeyPublisher", number: int) -> None:
        """Put back what the store lost of our generation; warn where it loses entries or is another's."""
        eviction = await publisher.eviction()
        if eviction != self._eviction and eviction is not None:
            log.warning("the Valkey store loses entries: %s", eviction)
        self._eviction = eviction
        own = Generation(self.store.generation_folder(number))
        other = await publisher.other_publisher(own)
        if other != self._other_publisher and other is not None:
            log.warning("the Valkey store: %s", other)
        self._other_publisher = other
        if self.reader.number == number and other is None:
            restored = await publisher.repair(own)
            if restored:
                log.warning("the Valkey store had lost %d parts of generation %d: put back", restored, number)

    async def stop(self) -> None:
        """Answer what is begun, then end everything."""
        await self._tasks.aclose()
        await self.serving.stop()
        await self.feeds.aclose()
        if self._replica is not None:
            await self._replica.aclose()
        if self._forwarded is not None:
            await self._forwarded.aclose()
        if self._publisher is not None:
            await self._publisher.aclose()
        if self._access_log is not None:
            self._access_log.close()


def _same(generation: Generation, reader: Reader) -> bool:
    return {name: entry.checksum for name, entry in generation.lists.items()} == {
        name: entry.checksum for name, entry in reader.lists.items()
    }


def _log_notice(notice: FeedNotice) -> None:
    log.info("feed %s %s: %s", notice.feed, notice.outcome, notice.detail)
