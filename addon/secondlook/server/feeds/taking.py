"""Taking one feed: fetched, then taken in as entries, as hosts that no feed may block, or as YARA rules."""

import tempfile
from collections.abc import Collection
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Final

from secondlook.config.service import RULES, FeedSettings, PublishSettings
from secondlook.core.display import counted
from secondlook.core.verdict import Risk, Threat
from secondlook.server.feeds.child import take_feed_in_child, take_guard_in_child
from secondlook.server.feeds.feed_state import FeedState
from secondlook.server.feeds.fetch import FeedClient, fetch
from secondlook.server.feeds.rule_versions import current_rules, forget_shrunk, rules_folder
from secondlook.server.feeds.rules import take_rules
from secondlook.server.store.importing import Origin, choose_list
from secondlook.server.store.store import FEEDS_FOLDER, ServerStore

# The settings that determine where a feed comes from, and what is made of it.
_ASKED: Final[Collection[str]] = {
    "url", "path", "list", "threat", "risk", "format", "min_confidence", "insist", "guard", "rank",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class FeedNotice:
    """What became of one fetch: `outcome` is taken, unchanged, refused, failed or held back.

    Of a feed that the settings switched: switched on or switched off.
    """

    feed: str
    outcome: str
    detail: str
    entries: int = 0
    rejected: int = 0


class FeedTaker:
    """Takes the feeds of a store, one at a time."""

    def __init__(self, store: ServerStore, settings: PublishSettings, client: FeedClient) -> None:
        self._store = store
        self._settings = settings
        self._client = client
        self._folder = store.root / FEEDS_FOLDER

    async def take(self, feed: FeedSettings, state: FeedState, now: float) -> tuple[FeedNotice, FeedState]:
        """Fetch a feed and take in what came; return what became of it, and what is known of it then.

        Raises FetchFailed, ChildFailedError, OSError, and SecondLookError for what cannot be taken.
        """
        self._folder.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self._folder, prefix=".fetch-") as folder:
            path = Path(folder) / "feed"
            asked = sha256(feed.model_dump_json(include=set(_ASKED)).encode()).hexdigest()
            if state.asked not in {None, asked} or not self._has(feed):
                # what came was another, or is not there
                state = replace(state, etag=None, last_modified=None, most=0)
            state = replace(state, asked=asked)
            fetched = await fetch(self._client, feed, state, path)
            if fetched is None:
                if feed.format == RULES:  # it has again what is in force
                    forget_shrunk(rules_folder(self._folder, feed.name))
                detail = "not changed since the last fetch"
                return FeedNotice(feed.name, "unchanged", detail, state.entries), state
            came = feed.path or path
            if feed.guard:
                return await self._take_guard(feed, came, now, state, fetched)
            if feed.format == RULES:
                return await self._take_rules(feed, came, now, fetched)
            return await self._take_entries(feed, came, now, state, fetched)

    def _has(self, feed: FeedSettings) -> bool:
        """Return whether there is what a feed brought last."""
        if feed.format == RULES:
            return current_rules(rules_folder(self._folder, feed.name)) is not None
        if feed.guard:
            return any(path.stem == feed.name for path in self._store.kept_guard_files())
        return any(each.kind == "feed" and each.name == feed.name for each in self._store.sources())

    async def _take_guard(
        self, feed: FeedSettings, path: Path, now: float, before: FeedState, fetched: FeedState
    ) -> tuple[FeedNotice, FeedState]:
        most = before.most_lately(now) or (before.entries if before.most else 0)  # 0: another was asked for
        if before.may_shrink:
            most = 0
        report = await take_guard_in_child(self._store, path, feed, self._settings, most=most)
        if report.refused:
            return FeedNotice(feed.name, "refused", report.refused, before.entries), before
        detail = f"{report.distinct} hosts that no feed may block"
        notice = FeedNotice(feed.name, "taken", detail, report.distinct)
        return notice, fetched.brought(report.distinct, now)

    async def _take_rules(
        self, feed: FeedSettings, path: Path, now: float, fetched: FeedState
    ) -> tuple[FeedNotice, FeedState]:
        before = current_rules(rules_folder(self._folder, feed.name))
        most = fetched.most_lately(now)
        rules = await take_rules(feed.name, path, self._folder, now, self._settings, most=most)
        if rules is None:
            detail = "it still has the rules that were given up"
            return FeedNotice(feed.name, "unchanged", detail, fetched.entries), fetched
        outcome = "unchanged" if rules == before else "taken"
        notice = FeedNotice(feed.name, outcome, f"{rules.count} YARA rules", rules.count)
        return notice, fetched.brought(rules.count, now)

    async def _take_entries(
        self, feed: FeedSettings, path: Path, now: float, before: FeedState, fetched: FeedState
    ) -> tuple[FeedNotice, FeedState]:
        origin = Origin(
            name=feed.name,
            kind="feed",
            target=choose_list(feed.list, Threat(feed.threat), Risk(feed.risk)),
            who="feed",
            now=now,
            format=feed.format,
            insist=feed.insist,
            licence=feed.licence,
            url=feed.url,
            min_confidence=feed.min_confidence,
        )
        report = await take_feed_in_child(
            self._store,
            path,
            origin,
            self._settings,
            expires_s=feed.expires,
            most=before.most_lately(now),
            accept_shrink=before.may_shrink,
        )
        left_out = (
            f", {counted(len(report.skipped), 'file', 'files')} of the archive left out"
            if report.skipped
            else ""
        )
        if report.refused:
            return FeedNotice(feed.name, "refused", report.refused + left_out, before.entries), before
        rejected = sum(report.rejected.values())
        detail = (
            f"{counted(report.distinct, 'entry', 'entries')}, {counted(rejected, 'line', 'lines')} rejected "
            f"({report.format}){left_out}"
        )
        notice = FeedNotice(feed.name, "taken", detail, report.distinct, rejected)
        return notice, fetched.brought(report.distinct, now)
