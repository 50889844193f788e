"""The parts of a check, put together from settings: for a worker, the service, `mitmdump -s` and `check`.

```
Settings ─┬─► Ledger (events, queue, rules) ─┐
          ├─► LocalView ◄── watchers         ├─► Checker ─► Gatekeeper (what the proxy calls)
          ├─► TieredLookup ─► servers ───────┤
          └─► AnswerCache ───────────────────┘
```
"""

import asyncio
import hashlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

from secondlook.agent.check.checker import Checker
from secondlook.agent.check.gatekeeper import Gatekeeper
from secondlook.agent.check.view import LocalView
from secondlook.agent.check.watch import ELSEWHERE_S
from secondlook.config.agent import Settings
from secondlook.core.asking.cache import AnswerCache, SavedCacheError
from secondlook.core.event import Event, EventKind
from secondlook.core.rules.client import login_name
from secondlook.core.rules.rule import Rule, Scope
from secondlook.core.rules.rulebook import RuleBook
from secondlook.core.subject import UrlSubject
from secondlook.core.tls_exception import KINDS, LOOK_EVERY_S, PASSTHROUGH
from secondlook.core.url.canonical import url_subject
from secondlook.ground import keyfile
from secondlook.ground.clock import Clock, SystemClock
from secondlook.ground.errors import LedgerError
from secondlook.ground.files import write_whole
from secondlook.ground.instant import rfc3339
from secondlook.ground.ulid import make_id
from secondlook.ledger.ledger import EventFilter, Ledger
from secondlook.lookup.tiered import TieredLookup
from secondlook.run.assembly.check.policies import policies_of
from secondlook.run.supervisor.runfile import SITE_KEY_FILE
from secondlook.suffix import PublicSuffixes, load_suffixes

logger = logging.getLogger(__name__)

EVENT_TRIES = 10
EVENT_REST_S = 0.1
SHARED_KEY_S = 10.0  # a database that stops to answer now is found away by everything else too


@dataclass(slots=True)
class Parts:
    """What one process checks by."""

    settings: Settings
    clock: Clock
    suffixes: PublicSuffixes
    ledger: Ledger
    view: LocalView
    lookup: TieredLookup
    cache: AnswerCache
    checker: Checker
    gatekeeper: Gatekeeper
    titles: Mapping[str, str] = field(default_factory=dict)
    """What people call the lists of the pattern; found out with each by the watcher, off the event loop."""

    @classmethod
    def build(
        cls,
        settings: Settings,
        ledger: Ledger,
        *,
        heartbeat_s: float | None = None,
        worker: str | None = None,
    ) -> Self:
        """Put the parts together, inside the event loop that will use them; nothing is started yet.

        `heartbeat_s` is for processes without traffic of their own: they notice servers come and go. It
        and a `worker` with a name log that; a command does not.
        """
        clock = SystemClock()
        suffixes = load_suffixes()
        view = LocalView(policies_of(settings))
        lookup = TieredLookup(
            settings.servers,
            upstream_proxy=settings.upstream_proxy,
            record=None if heartbeat_s is None and worker is None else ledger.recorder.record,
            worker=worker,
            clock=clock,
            heartbeat_s=heartbeat_s,
            expiry_s=(settings.cache.expiry_min, settings.cache.expiry_max),
        )
        cache = AnswerCache(
            settings.cache.size, expiry_s=(settings.cache.expiry_min, settings.cache.expiry_max)
        )
        checker = Checker(
            view,
            lookup,
            cache,
            suffixes,
            clock,
            budget_s=settings.servers.budget,
            stale_for_s=settings.cache.stale_for,
            stale_after_s=settings.pattern.stale_after,
        )
        gatekeeper = Gatekeeper(
            checker,
            ledger,
            clock,
            reblock_s=settings.downloads.reblock,
            log_all=settings.log.all,
            history=settings.recheck.history > 0,
            elsewhere_s=elsewhere_s(settings),
        )
        return cls(settings, clock, suffixes, ledger, view, lookup, cache, checker, gatekeeper)

    def override_s(self, client: str | None, user: str | None) -> float | None:
        """Return how long an exception lasts that this client makes for itself; None: it may make none."""
        return self.view.current.policies.of(client, user).override_s

    def rulebook(self) -> RuleBook:
        """Return the rules in force."""
        return self.view.current.rulebook

    def list_title(self, name: str) -> str:
        """Return what people call a list; its name where it stands in no pattern of ours."""
        return self.titles.get(name, name)

    def unopened_s(self, client: str | None, user: str | None) -> float | None:
        """Return how long TLS is passed through that this client lets pass; None: it may let none pass."""
        return self.view.current.policies.of(client, user).unopened_s


LATE = EventFilter(kind=(EventKind.CONFIRMED.value, EventKind.LATE_VERDICT.value, EventKind.ACTION.value))
PASSAGES = EventFilter(kind=tuple(KINDS), stage=PASSTHROUGH)


class LedgerTail:
    """Events of some kinds as they are written (`proxy.event_follower.Tail`)."""

    _MOST = 1_000

    def __init__(self, ledger: Ledger, wanted: EventFilter) -> None:
        self._ledger = ledger
        self._wanted = wanted

    async def recent(self, since: float) -> tuple[list[Event], str]:
        """Return those since then, oldest first, and where the log goes on."""
        end = await self._ledger.run(self._ledger.events.end)
        wanted = replace(self._wanted, since=since)
        page = await self._ledger.run(self._ledger.events.page, wanted, limit=self._MOST)
        return list(reversed(page.events)), end

    async def after(self, cursor: str) -> tuple[list[Event], str]:
        """Return those written after a cursor, and the next cursor."""
        return await self._ledger.run(self._ledger.events.tail, self._wanted, after=cursor)

    def record(self, event: Event) -> None:
        """Write an event, some time soon."""
        self._ledger.recorder.record(event)


class LedgerRecords:
    """The events and exceptions that the internal site shows and makes (`site.ports.Records`)."""

    def __init__(
        self,
        ledger: Ledger,
        suffixes: PublicSuffixes,
        clock: Clock,
        rulebook: Callable[[], RuleBook],
        *,
        elsewhere_s: float = 0.0,
    ) -> None:
        self._rulebook = rulebook
        self._elsewhere_s = elsewhere_s
        self._ledger = ledger
        self._suffixes = suffixes
        self._clock = clock

    async def event(self, event_id: str) -> Event | None:
        """Find an event by its id; one recorded a moment ago may still be on its way to the ledger."""
        for _ in range(EVENT_TRIES):
            event = await self._ledger.run(self._ledger.events.find, event_id)
            if event is not None:
                return event
            await asyncio.sleep(EVENT_REST_S)
        return None

    def whole(self, event: Event) -> bool:
        """Whether the log kept the event's whole URL, not what a privacy level left of it."""
        return self._subject(event) is not None

    def closed(self, event: Event) -> bool:
        """Whether a rule blocks now what an event is about: a client's exception would outrank it."""
        subject = self._subject(event)
        if subject is None:
            return False
        rule = self._rulebook().match(subject, event.client, event.user, self._clock.now())
        return rule is not None and rule.action == "block"

    def _subject(self, event: Event) -> UrlSubject | None:
        subject = None if event.url is None else url_subject(event.url, self._suffixes)
        return subject if subject is not None and subject.identity == event.identity else None

    async def make_exception(self, event: Event, duration_s: float) -> None:
        """Allow the URL of a blocked event for a while to whom it was blocked for, with an event.

        The rule is named after what it allows, and made once: asked for again while it holds, nothing
        changes. When this returns it is in force in the other workers too. Raises LedgerError; ValueError
        when the log does not hold the whole URL (`log.privacy`): a rule for what is left of it would let
        through something else, or nothing.
        """
        subject = self._subject(event)
        if subject is None:
            raise ValueError("the log does not keep whole addresses here (log.privacy)")
        now, client = self._clock.now(), login_name(event.client, event.user)
        rule_id = "override-" + hashlib.sha256(f"{subject.canonical} {client}".encode()).hexdigest()[:20]
        for known in await self._ledger.run(self._ledger.rules.all):
            if known.id == rule_id and known.expires is not None and now < known.expires:
                return
        rule = Rule(
            id=rule_id,
            action="allow",
            scope=Scope.URL,
            subject=subject.canonical,
            client=client,
            reason=f"let through from the block page (event {event.id})",
            created=now,
            expires=now + duration_s,
            source="override",
        )
        made = replace(
            event,
            id=make_id(now),
            kind=EventKind.OVERRIDDEN,
            decision=None,  # this is no check
            time=now,
            detail=f"allowed for {duration_s / 60:g} min from the block page of event {event.id}",
        )
        await self._ledger.run(self._ledger.rules.add, rule, made)
        await asyncio.sleep(self._elsewhere_s)

    async def pass_through(self, event: Event, duration_s: float) -> None:
        """Write down that a failure's host is passed through for whom it failed; workers follow the log.

        When this returns they have heard of it. Raises LedgerError.
        """
        now = self._clock.now()
        whom = event.client if event.user is None else f"{event.user} at {event.client}"
        passed = Event(
            id="",
            kind=EventKind.OVERRIDDEN,
            time=now,
            client=event.client,
            user=event.user,
            host=event.host,
            url=event.url,
            stage=PASSTHROUGH,
            detail=(
                f"TLS of {whom} to {event.host} is passed through unopened until "
                f"{rfc3339(now + duration_s)}: let pass after event {event.id} "
                f"({event.detail or 'its TLS failed'})"
            ),
        )
        await self._ledger.run(self._ledger.recorder.note, passed)
        await asyncio.sleep(LOOK_EVERY_S + ELSEWHERE_S)


def elsewhere_s(settings: Settings) -> float:
    """Return how long (s) it takes until all know what the ledger has; 0 where one process alone judges."""
    return ELSEWHERE_S if settings.shares_ledger or settings.judging_count > 1 else 0.0


def own_site_key(state: Path) -> bytes:
    """Read the installation's secret for the internal site's forms, making it where there is none."""
    return keyfile.read_or_make(
        state / SITE_KEY_FILE, meaning="forms of block pages that are open now have to be loaded again"
    )


async def site_key(state: Path, ledger: Ledger) -> bytes:
    """Return the secret for the internal site's forms, the same at all proxies that share a ledger.

    It is kept in the state folder too, for when the ledger is away.
    """
    own = own_site_key(state)
    if ledger.store.place.sqlite:
        return own
    try:
        async with asyncio.timeout(SHARED_KEY_S):
            shared = await ledger.run(ledger.shared_keys.get, SITE_KEY_FILE, own)
    except (LedgerError, TimeoutError) as error:
        logger.warning("the key that the proxies share cannot be read, the last one is used: %s", error)
        return own
    if shared != own:
        keyfile.write(state / SITE_KEY_FILE, shared)
    return shared


def cache_file(settings: Settings, worker: int | str) -> Path:
    """Name the file in which a worker's answers survive a restart."""
    return settings.state / "cache" / f"answers-{worker}"


def load_cache(cache: AnswerCache, path: Path, *, now: float, stale_for_s: float) -> None:
    """Fill a cache from its file; one that cannot be used is left aside."""
    try:
        saved = path.read_bytes()
    except OSError:
        return
    try:
        cache.load(saved, now=now, stale_for_s=stale_for_s)
    except SavedCacheError as error:
        logger.warning("cannot use the saved answers in %s: %s", path, error)


def save_cache(saved: bytes, path: Path) -> None:
    """Put a saved cache in its place; a failure is logged and does no harm."""
    try:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        write_whole(path, saved, synced=False)
    except OSError as error:
        logger.warning("cannot save answers to %s: %s", path, error)
