"""The updater: brings the lists of servers into the pattern folder, and never makes it worse.

```
poll generation ──same──► confirmed (so mirrored lists may go on answering)
      │ moved
      ▼
lists' metadata ──► fetch what changed ──► each list checked (agent.pattern.list_fetcher)
                          │ does not fit          │ refused: last good stays, event, alert
                          ▼                       ▼
                     fetched whole            new stamp, renamed into place
```

One source per tier is in use, and it is sticky: `agent.pattern.source_schedule` has who takes over when.
Whoever it is, its lists are held against those of the tier. The others of the tier are only compared, see
`agent.pattern.members`. The embedded server announces its generations, others are polled. Interrupted at any
byte, the folder holds the old stamp with its files or the new one with its files.
"""

import asyncio
import json
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from secondlook.agent.pattern.alerts import PatternAlerts
from secondlook.agent.pattern.change import (
    folder_lock,
    has_broken,
    of_tiers,
    put_stamp,
    set_damaged_stamp_aside,
    verify_folder,
)
from secondlook.agent.pattern.files import CONFIRMED, FOLDER, Stamp, read_confirmed, read_stamp
from secondlook.agent.pattern.list_fetcher import ListFetcher
from secondlook.agent.pattern.members import Members
from secondlook.agent.pattern.next_stamp import next_stamp
from secondlook.agent.pattern.source import RETRY, UpdateOutcome, UpdateSource
from secondlook.agent.pattern.source_schedule import SourceSchedule
from secondlook.agent.ports import EventSink
from secondlook.config.query import PatternSettings, ServersSettings
from secondlook.core.answer import Tier
from secondlook.core.event import EventKind
from secondlook.core.rules.rule import SET_BACK_S
from secondlook.ground.clock import Clock
from secondlook.ground.errors import PatternError, ServiceError
from secondlook.ground.files import write_whole
from secondlook.ground.lanes import LISTS
from secondlook.ground.tasks import woken

log = logging.getLogger(__name__)
SECOND_LOOK_S = 5.0  # at a member that differs, before an alert is raised


class PatternUpdater:
    """Keeps the pattern folder of a state folder up to date; one at a time has the folder's lock."""

    def __init__(
        self,
        sources: Sequence[UpdateSource],
        state_dir: Path,
        events: EventSink,
        clock: Clock,
        settings: PatternSettings,
        *,
        poll_s: float = 30.0,
        reachable: Callable[[Tier], bool] = lambda _: True,
        servers: ServersSettings | None = None,
    ) -> None:
        """`servers` are those of the settings, be they there or not; None: whatever is in force stays."""
        self.folder = state_dir / FOLDER
        self._schedule = SourceSchedule(sources, clock.monotonic, poll_s=poll_s, reachable=reachable)
        self._fetcher = ListFetcher(self.folder, self._schedule, clock, settings)
        self._clock = clock
        self._settings = settings
        self._servers = servers
        self._wake = asyncio.Event()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.alerts = PatternAlerts(self.folder, events, clock)
        self._members = Members(self.alerts)

    def use(self, sources: Sequence[UpdateSource]) -> None:
        """Take other sources from now on (the embedded server's port is known, settings were reloaded)."""
        self._schedule.sources = list(sources)
        self.announce()

    def announce(self) -> None:
        """Look at announcing servers now: one of them has a new generation."""
        self._schedule.announced()
        self._wake.set()

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        try:
            await self.verify()
        except Exception:
            log.exception("the lists in force could not be verified")
        while True:
            self._wake.clear()
            try:
                await self.verify_broken()
                await self.update_now(only_due=True)
            except Exception:
                log.exception("the pattern is not updated")
                await asyncio.sleep(RETRY.first_s)
            await woken(self._wake, self._schedule.rest_s())

    async def update_now(self, *, only_due: bool = False, accept_shrink: bool = False) -> list[UpdateOutcome]:
        """Look at one server of each tier. Never raise for what a server does."""
        outcomes = []
        self._give_up_tiers()
        in_use: set[str] = set()
        with suppress(PatternError):  # reported where the lists are looked at
            in_use = {each.server for each in self._stamp().servers}
        for tier in Tier:
            source = self._schedule.choose(tier, in_use)
            if source is None or not self._schedule.is_due(source, only_due=only_due):
                continue
            pace = self._schedule.pace(source)  # an announcement meanwhile makes another one, which is due
            outcome = await self._look(source, accept_shrink=accept_shrink)
            pace.refused = bool(outcome.refused)
            self._schedule.plan(source, pace, failed=bool(outcome.error or outcome.refused))
            if not outcome.error and not outcome.refused:
                self.alerts.keep_refusals(self._schedule.forget_refusals_of_others(source))
            outcomes.append(outcome)
        await self._compare_members(only_due=only_due)
        self.alerts.check_age(self._settings.stale_after)
        return outcomes

    def read_stamp(self) -> Stamp | None:
        """Read what is in force; a damaged stamp is set aside, and all that it named fetched again."""
        if (wrong := set_damaged_stamp_aside(self.folder)) is not None:
            self.alerts.alert("pattern", f"{wrong}; it is set aside and the lists are fetched again")
            self._schedule.paces.clear()
        return read_stamp(self.folder)

    async def verify(self) -> list[str]:
        """Read every list in force whole; one that is damaged leaves the stamp and is fetched again."""
        self.read_stamp()
        faults = await LISTS.run(verify_folder, self.folder)
        if not faults:
            return []
        with folder_lock(self.folder):
            stamp = read_stamp(self.folder) or Stamp()
            files = {each.file for each in faults}
            damaged = {each.tier for each in stamp.lists if each.file in files}
            kept = tuple(each for each in stamp.lists if each.file not in files)
            servers = tuple(
                replace(each, generation="", whole=False) if each.tier in damaged else each
                for each in stamp.servers
            )
            self._put(replace(stamp, lists=kept, servers=servers))
        for each, reason in faults.items():
            text = f"{each.name} is damaged and is fetched again: {reason}"
            self.alerts.alert(f"list {each.server}/{each.name}", text, name=each.name, server=each.server)
        return [each.name for each in faults]

    async def verify_broken(self) -> None:
        """Verify the lists in force where one is gone or cut: it is fetched again while the program runs."""
        try:
            if await LISTS.run(has_broken, self.folder):
                await self.verify()
        except (PatternError, OSError) as error:
            self.alerts.alert("pattern", str(error))

    def _give_up_tiers(self) -> None:
        """Take what came from servers out of force where the settings name none of their tier any more."""
        try:
            stamp = self.read_stamp() or Stamp()
            if self._named(stamp) == stamp:
                return
            with folder_lock(self.folder):
                stamp = self._stamp()
                after = self._named(stamp)
                self._put(after)
        except PatternError:
            return  # reported where the lists are looked at
        except OSError as error:
            self.alerts.alert("pattern", f"cannot write the pattern: {error}")
            return
        for each in set(stamp.lists) - set(after.lists):
            text = f"given up, as no server of the tier {each.tier} is in the settings (-{each.count})"
            self.alerts.record(EventKind.UPDATE, text, name=each.name, server=each.server)
        self.alerts.keep_refusals({source.name for source in self._schedule.sources})

    def _named(self, stamp: Stamp) -> Stamp:
        """Return a stamp without what is of no server of the settings, nor of a tier that has one."""
        if self._servers is None:
            return stamp
        after = of_tiers(stamp, self._servers.tiers)
        known = self._servers.names | {each.server for each in after.lists}
        held = {key: each for key, each in stamp.held.items() if key.rpartition("/")[0] in known}
        return replace(after, held=held)

    async def _compare_members(self, *, only_due: bool) -> None:
        """Compare the servers whose lists are not used with the one of their tier whose lists are."""
        self._members.keep({source.name for source in self._schedule.sources})
        try:
            stamp = self._stamp()
        except PatternError:
            return  # reported where the lists are looked at
        used = {each.tier: each.server for each in stamp.servers}
        for source in self._schedule.sources:
            name = used.get(source.tier.value)
            if name == source.name:
                self._members.forget(source.name)
            if name in {None, source.name} or source.google or not self._schedule.reachable(source.tier):
                continue
            pace = self._schedule.pace(source)
            if pace.refused or not self._schedule.is_due(source, only_due=only_due):
                continue  # that it differs is in the alert about what was refused
            try:
                await self._members.compare(source.name, source.client, stamp, name)
                self._schedule.plan(source, pace, failed=False)
            except (ServiceError, PatternError):
                self._schedule.plan(source, pace, failed=True)
            if self._members.is_suspected(source.name):
                self._schedule.look_soon(source, SECOND_LOOK_S)

    async def _look(self, source: UpdateSource, *, accept_shrink: bool) -> UpdateOutcome:
        """Look at one server, and take what it has."""
        try:
            generation = "" if source.google else await self._generation(source)
            if generation is None:
                return UpdateOutcome(source.name, error="it has nothing to serve yet")
            stamp = self._stamp()
            known = next((each for each in stamp.servers if each.server == source.name), None)
            if (
                known is not None
                and generation
                and known.generation == generation
                # one from the future, before the clock was set back, is written anew
                and known.confirmed_at <= self._clock.now() + SET_BACK_S
            ):
                self._confirm(source.name)
                self.alerts.settle(source.name, {})
                return UpdateOutcome(source.name, generation)
        except ServiceError as error:
            return UpdateOutcome(source.name, error=str(error))  # away: the circuit reports that
        except (PatternError, OSError) as error:
            self.alerts.alert("pattern", str(error))
            return UpdateOutcome(source.name, error=str(error))
        try:
            outcome = await self._fetch(source, stamp, generation, accept_shrink=accept_shrink)
        except ServiceError as error:
            text = f"an update from {source.name} was refused: {error}"
            self.alerts.alert(f"list {source.name}/", text, server=source.name)
            return UpdateOutcome(source.name, error=str(error))
        except PatternError as error:
            self.alerts.alert("pattern", str(error))
            return UpdateOutcome(source.name, error=str(error))
        except OSError as error:
            self.alerts.alert("pattern", f"cannot write the pattern: {error}")
            return UpdateOutcome(source.name, error=str(error))
        except Exception as error:  # of one server: the others are looked at all the same
            log.exception("an update from %s failed inside", source.name)
            text = f"an update from {source.name} failed inside: {type(error).__name__}: {error}"
            self.alerts.alert(f"list {source.name}/", text, server=source.name)
            return UpdateOutcome(source.name, error=text)
        self.alerts.settle(source.name, outcome.refused)
        return outcome

    async def _generation(self, source: UpdateSource) -> str | None:
        """Return the generation that a server serves; its trouble, if it has any, is an alert."""
        health = await source.client.health()
        self.alerts.note_trouble(source.name, health.trouble)
        return health.generation

    async def _fetch(
        self, source: UpdateSource, stamp: Stamp, generation: str, *, accept_shrink: bool
    ) -> UpdateOutcome:
        brought = await self._fetcher.fetch(source, stamp, generation, accept_shrink=accept_shrink)
        generation, taken, refused = brought.generation, brought.taken, brought.refused
        if refused and self._schedule.another_answers(source, {each.server for each in stamp.servers}):
            return UpdateOutcome(source.name, generation, refused=refused)
        with folder_lock(self.folder):
            for name in [name for name, each in taken.items() if not (self.folder / each.file).exists()]:
                del taken[name]  # a command changed the pattern meanwhile, and swept away what no stamp named
                refused[name] = "its file was removed before it was in force; it is fetched again"
            now = self._clock.now()
            after, news = next_stamp(
                self._stamp(), source, generation, now, about=brought.about, taken=taken, refused=refused
            )
            self._put(after)
        if source.tier is not Tier.LOCAL:  # that is rolled back by whoever sees it
            before = next((each.generation for each in stamp.servers if each.server == source.name), "")
            self.alerts.note_generation(source.name, before, generation)
        for name, text in news:
            self.alerts.record(EventKind.UPDATE, text, name=name, server=source.name)
        own = {each.name for each in stamp.lists if each.server == source.name}
        changed = {name: each.count for name, each in taken.items() if each.changed or name not in own}
        return UpdateOutcome(source.name, generation, changed, refused)

    def _put(self, stamp: Stamp) -> None:
        """Make a stamp the one in force; the caller holds the lock."""
        put_stamp(self.folder, stamp, now=self._clock.now(), keep=self._settings.keep)

    def _stamp(self) -> Stamp:
        return read_stamp(self.folder) or Stamp()

    def _confirm(self, server: str) -> None:
        confirmed = read_confirmed(self.folder)
        confirmed[server] = self._clock.now()
        write_whole(self.folder / CONFIRMED, json.dumps(confirmed).encode())
