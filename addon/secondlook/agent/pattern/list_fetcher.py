"""Fetching what a server's lists have become: each is checked and written beside those in force.

What is refused says why. What of it comes into force is the updater's decision (`agent.pattern.updater`).
"""

import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from secondlook.agent.pattern.files import Stamp, StampedList, open_list
from secondlook.agent.pattern.list_update import Offer, TakenList, left_out, take_list
from secondlook.agent.pattern.source import UpdateSource, Wanted, served_generation, wanted_lists
from secondlook.agent.pattern.source_schedule import SourceSchedule
from secondlook.config.query import PatternSettings
from secondlook.core.answer import Tier
from secondlook.core.lists.hashlist import HashList
from secondlook.ground.clock import Clock
from secondlook.ground.errors import PatternError
from secondlook.ground.lanes import LISTS
from secondlook.known_good import shipped_roots
from secondlook.suffix import load_suffixes
from secondlook.wire import safebrowsing_pb2 as pb
from secondlook.wire.fault import BadUpdate

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Brought:
    """What a server has, by the names of its lists: what is wanted, what was taken, and what refused, why."""

    generation: str
    about: Mapping[str, Wanted]
    taken: dict[str, TakenList]
    refused: dict[str, str]


class ListFetcher:
    """Fetches lists into the pattern's folder, and changes nothing that is in force."""

    def __init__(
        self, folder: Path, schedule: SourceSchedule, clock: Clock, settings: PatternSettings
    ) -> None:
        self._folder = folder
        self._schedule = schedule
        self._clock = clock
        self._settings = settings

    async def fetch(
        self, source: UpdateSource, stamp: Stamp, generation: str, *, accept_shrink: bool
    ) -> Brought:
        """Fetch what changed since `stamp`. Raises ServiceError, OSError, and PatternError for all of it."""
        about = await wanted_lists(source)
        held = {each.name: each for each in stamp.lists if each.tier == source.tier.value}
        versions = [
            bytes.fromhex(held[name].version)
            for name in about
            if name in held and held[name].server == source.name
        ]
        offered = await source.client.batch_get(list(about), versions) if about else []
        messages = {each.name: each for each in offered}
        self._schedule.pace(source).wait_s = max(
            (each.minimum_wait_duration.seconds for each in messages.values()), default=0
        )
        taken: dict[str, TakenList] = {}
        # Google's lists are known, what else is held is of the server that was there before.
        may_leave = accept_shrink or self._settings.accept_shrink or source.google
        refused = {} if may_leave else left_out(held, about)
        for name, wanted in about.items():
            if stamp.held.get(f"{source.name}/{name}") == messages.get(name, pb.HashList()).version.hex():
                continue  # rolled back by the operator: wait for another version
            try:
                offer = self._offer(source, wanted, messages.get(name), held.get(name))
                taken[name] = await self._take(source, offer, held.get(name), accept_shrink=accept_shrink)
            except PatternError as error:
                refused[name] = str(error)
        named = [each.generation for each in about.values()]
        named += [each.generation for each in taken.values()]
        return Brought(served_generation(generation, named), about, taken, refused)

    def _offer(
        self, source: UpdateSource, wanted: Wanted, message: pb.HashList | None, held: StampedList | None
    ) -> Offer:
        """Return a server's update of a list with what judges it. Raises BadUpdate where there is none."""
        if message is None:
            raise BadUpdate("the server left it out of its answer")
        return Offer(
            message=message,
            meaning=wanted.meaning,
            canary=wanted.canary,
            key=source.key,
            is_own=source.tier is Tier.LOCAL,
            updates_held=held is not None and held.server == source.name,
            held_version=self._version_for(source, held),
            reduction=wanted.reduction,
            most=0 if held is None else held.most_lately(self._clock.now()),
        )

    def _version_for(self, source: UpdateSource, stamped: StampedList | None) -> bytes:
        """Return the version of what is held, if the publisher of these lists made it; else nothing.

        Servers with one pinned key serve what one publisher made.
        """
        if stamped is None:
            return b""
        key = next((each.key for each in self._schedule.sources if each.name == stamped.server), None)
        is_its = stamped.server == source.name or (key is not None and key == source.key)
        return bytes.fromhex(stamped.version) if is_its else b""

    async def _take(
        self, source: UpdateSource, offer: Offer, stamped: StampedList | None, *, accept_shrink: bool
    ) -> TakenList:
        """Take one list; a partial update that does not fit is asked for again as a full one."""
        held: HashList | None = None
        if stamped is not None:
            with suppress(PatternError):
                held = open_list(self._folder, stamped)
        arguments = (held, self._folder, self._settings, self._known_good)
        try:
            return await LISTS.run(take_list, offer, *arguments, accept_shrink=accept_shrink)
        except BadUpdate as error:
            if not offer.message.partial_update:
                raise
            log.warning("the update of %s from %s does not fit (%s)", offer.meaning.name, source.name, error)
        whole = next(iter(await source.client.batch_get([offer.meaning.name])), pb.HashList())
        return await LISTS.run(
            take_list, replace(offer, message=whole), *arguments, accept_shrink=accept_shrink
        )

    @cached_property
    def _known_good(self) -> Mapping[bytes, str]:
        """The full hashes of sites that no list may name, but for those of `may_block`."""
        roots = shipped_roots(load_suffixes())
        meant = tuple(f".{host.removeprefix('*.')}" for host in self._settings.may_block)
        if not meant:
            return roots
        return {key: text for key, text in roots.items() if not f".{text[:-1]}".endswith(meant)}
