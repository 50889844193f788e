"""Keeping feeds: each fetched on its schedule with jitter, taken in by a child process, then one publication.

A feed that fails keeps its last good entries; the failure is reported once, and again when it has ended.
Waits double from a minute up to the feed's own interval, and a server's Retry-After is obeyed, up to a day.
Whatever befalls one feed, the others are fetched.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import random

from secondlook.config.service import RULES, FeedSettings, PublishSettings
from secondlook.config.traffic import UpstreamProxySettings
from secondlook.ground.children import ChildFailedError
from secondlook.ground.clock import Clock, SettledTime
from secondlook.ground.errors import PatternError, SecondLookError
from secondlook.ground.lanes import LISTS
from secondlook.ground.program_name import typed
from secondlook.resolver import Resolver
from secondlook.server.feeds.child import publish_in_child
from secondlook.server.feeds.feed_state import FeedState, read_state, write_state
from secondlook.server.feeds.fetch import MAX_RETRY_AFTER_S, FeedClient, FetchFailed, look_at, terms_of
from secondlook.server.feeds.switching import Switched, follow, tidy
from secondlook.server.feeds.taking import FeedNotice, FeedTaker
from secondlook.server.meter import Meter
from secondlook.server.publish.held_back import read_held_back
from secondlook.server.store.feed_alerts import not_published_yet
from secondlook.server.store.feeds_off import KEPT_S
from secondlook.server.store.importing import DAY_S
from secondlook.server.store.store import FEEDS_FOLDER, HELD, OWED, ServerStore

log = logging.getLogger(__name__)
JITTER = 0.1  # of the interval
FIRST_RETRY_S = 60.0
MOST_DOUBLINGS = 20
IDLE_S = 3600.0
SWITCHING, PUBLISHING = "(switching)", "(publish)"  # among alerts: no feed has such a name


class FeedKeeper:
    """Fetches the enabled feeds of a store for as long as `run` runs."""

    def __init__(
        self,
        store: ServerStore,
        feeds: Sequence[FeedSettings],
        clock: Clock,
        *,
        settings: PublishSettings | None = None,
        proxy: UpstreamProxySettings | None = None,
        meter: Meter | None = None,
        resolver: Resolver | None = None,
        on_notice: Callable[[FeedNotice], None] | None = None,
        on_published: Callable[[int], None] | None = None,
    ) -> None:
        self._store = store
        self._named = tuple(feeds)
        self._feeds = [feed for feed in feeds if feed.enabled and feed.builtin is None]
        self._clock = clock
        self._settled = SettledTime(clock)  # by it entries are dropped that a feed no longer names
        self._settings = settings or PublishSettings()
        self._meter = meter
        self._on_notice = on_notice
        self._on_published = on_published
        self._client = FeedClient(proxy, resolver)
        self._taker = FeedTaker(store, self._settings, self._client)
        self._folder = store.root / FEEDS_FOLDER
        self.alerts: dict[str, str] = {}
        self._owed = self._settings.auto and (store.root / OWED).exists()
        self._again_at = 0.0  # when what is in force is published once more, if it lags behind (monotonic)
        self._unwritten: dict[str, FeedState] = {}  # what the disk did not take

    async def run(self) -> None:
        """Fetch whatever is due, again and again, until cancelled; before it, follow the settings."""
        while True:
            await self.follow_settings()
            await self.fetch_due()
            await asyncio.sleep(self.rest_s())

    def rest_s(self) -> float:
        """Return how long there is nothing to do."""
        dues = [self._state(feed).due_at for feed in self._feeds]
        wait_s = min([due - self._clock.now() for due in dues], default=IDLE_S)
        if self._owed or SWITCHING in self.alerts:
            wait_s = min(wait_s, FIRST_RETRY_S)
        return min(max(wait_s, 1.0), IDLE_S)

    async def follow_settings(self) -> None:
        """Put in or out of force what feeds brought that were switched on or off, and report each.

        A publication that was refused is tried again after a start, and hourly: its reason may have passed.
        """
        switched: Sequence[Switched] = ()
        try:
            now = self._settled.now()
            switched = await LISTS.run(follow, self._store, self._named, now)
            if self._settings.auto and await LISTS.run(self._lacks_publication):
                self._owe(owed=True)
                self._again_at = self._clock.monotonic() + IDLE_S
                await self._publish_what_came()
            await LISTS.run(tidy, self._store, self._named, now)
        except Exception as error:  # whatever it is, the feeds are fetched
            if not isinstance(error, (OSError, PatternError)):
                log.exception("which feeds are off cannot be written down")
            self._report(SWITCHING, "failed", _reason(error))
        else:
            self.alerts.pop(SWITCHING, None)
        waiting = await LISTS.run(not_published_yet, self._store) if switched else set()
        for each in switched:
            outcome, detail = f"switched {'on' if each.on else 'off'}", _what_became(each, waiting)
            notice = FeedNotice(each.name, outcome, detail, each.entries)
            log.warning("feed %s %s: %s", notice.feed, notice.outcome, notice.detail)
            if self._on_notice:
                self._on_notice(notice)

    async def fetch_due(self, *, everything: bool = False) -> list[FeedNotice]:
        """Fetch every due feed (`everything`: due or not), then publish once if anything changed.

        A file of this machine is due too when it has changed since.
        """
        notices = []
        for feed in self._feeds:
            state = self._state(feed)
            now = self._clock.now()
            set_back = state.checked_at > now  # then nobody knows how long ago that was
            longest_s = max(feed.every * (1 + JITTER), MAX_RETRY_AFTER_S)
            due = everything or set_back or not now < state.due_at <= now + longest_s
            if due or await _has_changed(feed, state.checked_at, now):
                notices.append(await self._one(feed, state))
        if self._owed:
            await self._publish_what_came()
        return notices

    def _lacks_publication(self) -> bool:
        if (self._store.root / OWED).exists():
            return True
        return self._clock.monotonic() >= self._again_at and bool(not_published_yet(self._store))

    def _owe(self, *, owed: bool) -> None:
        """Note whether what came in is still to be published, beyond a stop."""
        self._owed = owed
        with suppress(OSError):
            if owed:
                (self._store.root / OWED).touch()
            else:
                (self._store.root / OWED).unlink(missing_ok=True)

    async def _publish_what_came(self) -> None:
        """Publish; what fails for a reason that may pass is owed until it succeeds."""
        try:
            await self.publish()
        except Exception as error:
            if not isinstance(error, ChildFailedError | OSError):
                log.exception("what the feeds brought is not published")
            self._report(PUBLISHING, "failed", _reason(error))
        else:
            self._owe(owed=False)

    def _state(self, feed: FeedSettings) -> FeedState:
        return self._unwritten.get(feed.name) or read_state(self._folder, feed.name)

    def _keep_state(self, name: str, state: FeedState) -> None:
        try:
            write_state(self._folder, name, state)
        except OSError as error:
            log.warning("what is known of feed %s cannot be written: %s", name, _reason(error))
            self._unwritten[name] = state  # without it the feed would be due at once
        else:
            self._unwritten.pop(name, None)

    async def _one(self, feed: FeedSettings, state: FeedState) -> FeedNotice:
        """Fetch one feed and return what became of it."""
        now = self._clock.now()
        if not state.checked_at:  # it was enabled since the last time
            log.warning("feed %s is enabled: %s; %s", feed.name, feed.url or feed.path, terms_of(feed))
        due_at = now + feed.every * (1 + JITTER * (2 * random() - 1))  # noqa: S311 - jitter
        retry_s = min(feed.every, FIRST_RETRY_S * 2 ** min(state.failures, MOST_DOUBLINGS))
        retry_at = now + retry_s * (1 + JITTER * random())  # noqa: S311 - jitter
        try:
            notice, state = await self._taker.take(feed, state, self._settled.now())
        except FetchFailed as error:
            due_at = max(retry_at, now + error.wait_s)
            notice = FeedNotice(feed.name, "failed", str(error), state.entries)
        except (ChildFailedError, OSError) as error:  # a full disk, no room for another process
            due_at, notice = retry_at, FeedNotice(feed.name, "failed", _reason(error), state.entries)
        except SecondLookError as error:
            notice = FeedNotice(feed.name, "refused", str(error), state.entries)
        except Exception as error:
            log.exception("feed %s cannot be fetched", feed.name)
            due_at, notice = retry_at, FeedNotice(feed.name, "failed", _reason(error), state.entries)
        if notice.outcome == "taken" and feed.format != RULES and self._settings.auto:
            self._owe(owed=True)  # before it is written down that nothing newer is to be fetched
        good = notice.outcome in {"taken", "unchanged"}
        state = replace(
            state,
            checked_at=now,
            good_at=now if good else state.good_at,
            due_at=due_at,
            failures=0 if good else state.failures + 1,
            error=None if good else notice.detail,
        )
        self._keep_state(feed.name, state)
        self._report_feed(feed, state, notice)
        return notice

    async def publish(self) -> None:
        """Publish everything in the store, unless the operator rolled back; a refusal is reported.

        Raises ChildFailedError and OSError where it may succeed later.
        """
        if (self._store.root / HELD).exists():
            return  # the operator rolled back: the next publication is theirs
        now = self._clock.now()
        try:
            report = await publish_in_child(self._store, now=now, settings=self._settings)
        except ChildFailedError:
            raise
        except PatternError as error:
            self._report(PUBLISHING, "refused", str(error))
            return
        self.alerts.pop(PUBLISHING, None)
        self._print_held_back(now)
        if report.changed and self._on_published:
            self._on_published(report.generation)

    def _print_held_back(self, now: float) -> None:
        """Report feeds that have begun to name known-good sites: they may be poisoned."""
        names = {feed.name for feed in self._feeds}
        for held in read_held_back(self._store.root) or ():
            if held.source in names and held.new_at == now:
                self._report(held.source, "held back", held.summary())

    def _report_feed(self, feed: FeedSettings, state: FeedState, notice: FeedNotice) -> None:
        if self._meter:
            self._meter.feeds[feed.name, notice.outcome] += 1
        if notice.outcome in {"taken", "unchanged"}:
            ended = self.alerts.pop(feed.name, None)
            if ended is not None:
                notice = replace(notice, detail=f"{notice.detail}; works again after: {ended}")
            log.info("feed %s: %s", feed.name, notice.detail)
            if self._on_notice and (ended is not None or notice.outcome == "taken"):
                self._on_notice(notice)
            return
        self._report(feed.name, notice.outcome, notice.detail, state.entries)

    def _report(self, name: str, outcome: str, detail: str, entries: int = 0) -> None:
        """Log a failure, once for each reason."""
        key = f"{name} {outcome}" if outcome == "held back" else name
        if self.alerts.get(key) == detail:
            return
        self.alerts[key] = detail
        log.warning("feed %s %s: %s", name, outcome, detail)
        if self._on_notice:
            self._on_notice(FeedNotice(name, outcome, detail, entries))

    async def aclose(self) -> None:
        """Close the connections."""
        with suppress(Exception):
            await self._client.aclose()


def _what_became(switched: Switched, waiting: Collection[str]) -> str:
    """Return what became of what a feed brought; `waiting` are those that are not published yet."""
    state = "in force again" if switched.on else "out of force"
    if switched.name in waiting:
        return f"what it brought is {state} with the next publication (`{typed('server publish')}`)"
    how_much = f"what it brought ({switched.entries:,}) is {state}"
    if switched.on:
        return how_much
    kept = "for when it is switched on again" if switched.named else f"for {round(KEPT_S / DAY_S)} days"
    return f"{how_much}, and kept {kept}"


def _reason(error: Exception) -> str:
    """Return why, in words that stay the same from one attempt to the next."""
    match error:
        case SecondLookError():
            return str(error)
        case OSError(strerror=str(reason)):
            return reason
        case _:
            return type(error).__name__


async def _has_changed(feed: FeedSettings, since: float, now: float) -> bool:
    """Whether a feed's own file was written, or put in its place, after an instant."""
    if feed.path is None:
        return False
    with suppress(FetchFailed):
        return await look_at(feed.path, partial(_was_written, since=since, now=now), within_s=feed.timeout)
    return False


def _was_written(path: Path, since: float, now: float) -> bool:
    with suppress(OSError):
        return since < path.stat().st_ctime <= now
    return False
