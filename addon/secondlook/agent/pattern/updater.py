"""The updater: brings the lists of servers into the pattern folder, and never makes it worse.

```
poll generation ──same──► confirmed (so mirrored lists may go on answering)
      │ moved
      ▼
lists' metadata ──► fetch what changed ──► each list checked (agent.pattern.list_update)
                          │ does not fit          │ refused: last good stays, event, alert
                          ▼                       ▼
                     fetched whole            new stamp, renamed into place
```

One source per tier is in use, and it is sticky; another one of the tier is tried when it fails three
times running, and takes over: with what of its lists is good where the one in use is away, only with
lists that are all good where that one answers and is refused. Whoever it is, its lists are held against
those of the tier. The others of the tier are only compared, see `agent.pattern.members`. The
embedded server announces its generations, others are polled. Interrupted at any byte, the folder holds
the old stamp with its files or the new one with its files.
"""

import asyncio
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from random import random

from secondlook.agent.pattern.alerts import PatternAlerts
from secondlook.agent.pattern.change import (
    folder_lock,
    put_stamp,
    set_damaged_stamp_aside,
    verify_folder,
)
from secondlook.agent.pattern.files import (
    CONFIRMED,
    FOLDER,
    Stamp,
    StampedList,
    StampedServer,
    open_list,
    read_confirmed,
    read_stamp,
)
from secondlook.agent.pattern.list_update import Offer, TakenList, left_out, take_list
from secondlook.agent.pattern.members import Members
from secondlook.agent.pattern.source import (
    GOOGLE_START_S,
    RETRY,
    UpdateOutcome,
    UpdateSchedule,
    UpdateSource,
    Wanted,
    wanted_lists,
)
from secondlook.agent.ports import EventSink
from secondlook.config import PatternSettings
from secondlook.core.answer import Tier
from secondlook.core.event import EventKind
from secondlook.core.lists.hashlist import HashList
from secondlook.ground.clock import Clock
from secondlook.ground.errors import PatternError, ServiceError
from secondlook.ground.files import write_whole
from secondlook.ground.lanes import LISTS
from secondlook.known_good import shipped_roots
from secondlook.suffix import load_suffixes
from secondlook.wire import safebrowsing_pb2 as pb
from secondlook.wire.fault import BadUpdate

log = logging.getLogger(__name__)
FAILURES_TO_SWITCH = 3
SHORTEST_S = 1.0  # between two looks at what is due
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
        on_change: Callable[[], None] | None = None,
    ) -> None:
        self.folder = state_dir / FOLDER
        self._sources = list(sources)
        self._clock = clock
        self._settings = settings
        self._poll_s = poll_s
        self._reachable = reachable
        self._on_change = on_change
        self._paces: dict[str, UpdateSchedule] = {}
        self._wake = asyncio.Event()
        self._guarded: Mapping[bytes, str] | None = None
        self.folder.mkdir(parents=True, exist_ok=True)
        self.alerts = PatternAlerts(self.folder, events, clock)
        self._members = Members(self.alerts)

    def use(self, sources: Sequence[UpdateSource]) -> None:
        """Take other sources from now on (the embedded server's port is known, settings were reloaded)."""
        self._sources = list(sources)
        self.announce()

    def announce(self) -> None:
        """Look at announcing servers now: one of them has a new generation."""
        for source in self._sources:
            if source.announced:
                self._paces.pop(source.name, None)
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
                await self.update_now(only_due=True)
            except Exception:
                log.exception("the pattern is not updated")
                await asyncio.sleep(RETRY.first_s)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), self.rest_s())

    def rest_s(self) -> float:
        """Return for how long nothing is due; what is out of reach is not looked at, however long it was."""
        now = self._clock.monotonic()
        dues = [
            self._paces[each.name].due_at
            for each in self._sources
            if each.name in self._paces and self._reachable(each.tier)
        ]
        return min(self._poll_s, max(SHORTEST_S, min([due - now for due in dues], default=self._poll_s)))

    async def update_now(self, *, only_due: bool = False, accept_shrink: bool = False) -> list[UpdateOutcome]:
        """Look at one server of each tier. Never raise for what a server does."""
        outcomes = []
        for tier in Tier:
            source = self._choose(tier)
            if source is None:
                continue
            pace = self._paces.get(source.name)
            if pace is None:
                pace = self._paces[source.name] = UpdateSchedule()
                if source.google and only_due:
                    pace.due_at = self._clock.monotonic() + GOOGLE_START_S * random()  # noqa: S311 - jitter
            if (only_due or source.google) and self._clock.monotonic() < pace.due_at:
                continue
            outcome = await self._look(source, accept_shrink=accept_shrink)
            pace.refused = bool(outcome.refused)
            self._plan(source, pace, failed=bool(outcome.error or outcome.refused))
            if not outcome.error and not outcome.refused:
                self._forget_refusals_of_others(source)
            outcomes.append(outcome)
        await self._compare_members(only_due=only_due)
        self.alerts.check_age(self._settings.stale_after)
        return outcomes

    def read_stamp(self) -> Stamp | None:
        """Read what is in force; a damaged stamp is set aside, and all that it named fetched again."""
        if (wrong := set_damaged_stamp_aside(self.folder)) is not None:
            self.alerts.alert("pattern", f"{wrong}; it is set aside and the lists are fetched again")
            self._paces.clear()
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

    def _choose(self, tier: Tier) -> UpdateSource | None:
        """Return the tier's source: the one in use; where it failed too often, whichever is due first."""
        members = [source for source in self._sources if source.tier is tier]
        if not members or not self._reachable(tier):
            return None
        with suppress(PatternError):
            stamp = read_stamp(self.folder) or Stamp()
            in_use = {each.server for each in stamp.servers}
            members.sort(key=lambda source: source.name not in in_use)
        paces = [self._paces.get(source.name, UpdateSchedule()) for source in members]
        if paces[0].failures < FAILURES_TO_SWITCH:
            return members[0]
        return members[min(range(len(members)), key=lambda at: paces[at].due_at)]

    async def _compare_members(self, *, only_due: bool) -> None:
        """Compare the servers whose lists are not used with the one of their tier whose lists are."""
        self._members.keep({source.name for source in self._sources})
        try:
            stamp = self._stamp()
        except PatternError:
            return  # reported where the lists are looked at
        used = {each.tier: each.server for each in stamp.servers}
        for source in self._sources:
            name = used.get(source.tier.value)
            if name == source.name:
                self._members.forget(source.name)
            if name in {None, source.name} or source.google or not self._reachable(source.tier):
                continue
            pace = self._paces.setdefault(source.name, UpdateSchedule())
            if pace.refused or (only_due and self._clock.monotonic() < pace.due_at):
                continue  # that it differs is in the alert about what was refused
            try:
                await self._members.compare(source.name, source.client, stamp, name)
                self._plan(source, pace, failed=False)
            except (ServiceError, PatternError):
                self._plan(source, pace, failed=True)
            if self._members.is_suspected(source.name):
                pace.due_at = min(pace.due_at, self._clock.monotonic() + SECOND_LOOK_S)

    def _forget_refusals_of_others(self, used: UpdateSource) -> None:
        """Forget that other members of the tier were refused: the lists of the one in use are good."""
        others = [each for each in self._sources if each.tier is used.tier and each is not used]
        for each in others:
            if each.name in self._paces:
                self._paces[each.name].refused = False
        self.alerts.keep_refusals({each.name for each in self._sources if each not in others})

    def _plan(self, source: UpdateSource, pace: UpdateSchedule, *, failed: bool) -> None:
        now = self._clock.monotonic()
        pace.plan(source, now, self._poll_s, random(), failed=failed)  # noqa: S311 - jitter

    async def _look(self, source: UpdateSource, *, accept_shrink: bool) -> UpdateOutcome:
        """Look at one server, and take what it has."""
        try:
            generation = "" if source.google else await source.client.generation()
            if generation is None:
                return UpdateOutcome(source.name, error="it has nothing to serve yet")
            stamp = self._stamp()
            known = next((each for each in stamp.servers if each.server == source.name), None)
            if known is not None and known.generation == generation and not source.google:
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
        if outcome.changed and self._on_change:
            self._on_change()
        return outcome

    async def _fetch(
        self, source: UpdateSource, stamp: Stamp, generation: str, *, accept_shrink: bool
    ) -> UpdateOutcome:
        about = await wanted_lists(source)
        held = {each.name: each for each in stamp.lists if each.tier == source.tier.value}
        own = {name: each for name, each in held.items() if each.server == source.name}
        names = list(about)
        versions = [bytes.fromhex(own[name].version) for name in names if name in own]
        offered = await source.client.batch_get(names, versions) if names else []
        messages = {each.name: each for each in offered}
        self._paces.setdefault(source.name, UpdateSchedule()).wait_s = max(
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
                if name not in messages:
                    raise BadUpdate("the server left it out of its answer")
                offer = Offer(
                    message=messages[name],
                    meaning=wanted.meaning,
                    canary=wanted.canary,
                    key=source.key,
                    is_own=source.tier is Tier.LOCAL,
                    updates_held=name in own,
                )
                taken[name] = await self._take(source, offer, held.get(name), accept_shrink=accept_shrink)
            except PatternError as error:
                refused[name] = str(error)
        if refused and self._another_answers(source, stamp):
            return UpdateOutcome(source.name, generation, refused=refused)
        with folder_lock(self.folder):
            for name in [name for name, each in taken.items() if not (self.folder / each.file).exists()]:
                del taken[name]  # a command changed the pattern meanwhile, and swept away what no stamp named
                refused[name] = "its file was removed before it was in force; it is fetched again"
            self._commit(source, generation, taken, refused, about)
        return UpdateOutcome(
            source.name,
            generation,
            {name: each.count for name, each in taken.items() if each.changed or name not in own},
            refused,
        )

    def _another_answers(self, source: UpdateSource, stamp: Stamp) -> bool:
        """Return whether the tier's lists are those of another server, which was refused but is not away."""
        used = {each.server for each in stamp.servers if each.tier == source.tier.value} - {source.name}
        return any(
            each.name in used and self._paces.get(each.name, UpdateSchedule()).refused
            for each in self._sources
        )

    async def _take(
        self, source: UpdateSource, offer: Offer, stamped: StampedList | None, *, accept_shrink: bool
    ) -> TakenList:
        """Take one list; a partial update that does not fit is asked for again as a full one."""
        held: HashList | None = None
        if stamped is not None:
            with suppress(PatternError):
                held = open_list(self.folder, stamped)
        guarded = self._known_good()
        arguments = (held, self.folder, self._settings, guarded)
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

    def _known_good(self) -> Mapping[bytes, str]:
        if self._guarded is None:
            self._guarded = shipped_roots(load_suffixes())
            if meant := tuple(f".{host.removeprefix('*.')}" for host in self._settings.may_block):
                self._guarded = {
                    full_hash: text
                    for full_hash, text in self._guarded.items()
                    if not f".{text[:-1]}".endswith(meant)
                }
        return self._guarded

    def _commit(
        self,
        source: UpdateSource,
        generation: str,
        taken: Mapping[str, TakenList],
        refused: Mapping[str, str],
        about: Mapping[str, Wanted],
    ) -> None:
        """Write the new stamp, and an event for each list that changed."""
        now = self._clock.now()
        stamp = self._stamp()
        before = {each.name: each for each in stamp.lists if each.tier == source.tier.value}
        lists = [each for each in stamp.lists if each.tier != source.tier.value]
        for name in before.keys() - about.keys():
            if name in refused:
                lists.append(before[name])
                continue
            self.alerts.record(
                EventKind.UPDATE,
                f"given up, as the server has it no more (-{before[name].count})",
                name=name,
                server=source.name,
            )
        for name, wanted in about.items():
            found = taken.get(name)
            if found is None:
                lists += [before[name]] if name in before else []
                continue
            lists.append(
                StampedList(
                    name=name,
                    file=found.file,
                    width=wanted.meaning.width,
                    count=found.count,
                    sha256=found.sha256,
                    tier=source.tier.value,
                    server=source.name,
                    source=source.source or source.name,
                    version=found.version.hex(),
                    generation=generation,
                    confirmed_at=now,
                    verified_at=now,
                    complete=not source.google,
                    trusted_allow=source.trusted_allow,
                    canary=wanted.canary.hex() if wanted.canary else None,
                    digests=wanted.digests,
                )
            )
            if found.changed:
                entries = "1 entry" if found.count == 1 else f"{found.count} entries"
                self.alerts.record(
                    EventKind.UPDATE,
                    f"{entries} (+{found.added} -{found.removed})",
                    name=name,
                    server=source.name,
                )
        whole = not refused and taken.keys() == about.keys() and not source.google
        server = StampedServer(
            server=source.name,
            tier=source.tier.value,
            # With a list missing the generation stays unsaid, so that the next look tries again.
            generation=generation if not refused else "",
            whole=whole,
            announced=source.announced,
            fresh_for_s=source.fresh_for_s,
            confirmed_at=now,
        )
        others = tuple(each for each in stamp.servers if each.tier != source.tier.value)
        # What a rollback gave up is over with once another version is in force.
        given_up = {f"{source.name}/{name}" for name in taken}
        held = {key: version for key, version in stamp.held.items() if key not in given_up}
        self._put(replace(stamp, lists=tuple(lists), servers=(*others, server), held=held))

    def _put(self, stamp: Stamp) -> None:
        """Make a stamp the one in force; the caller holds the lock."""
        put_stamp(self.folder, stamp, now=self._clock.now(), keep=self._settings.keep)

    def _stamp(self) -> Stamp:
        return read_stamp(self.folder) or Stamp()

    def _confirm(self, server: str) -> None:
        confirmed = read_confirmed(self.folder)
        confirmed[server] = self._clock.now()
        write_whole(self.folder / CONFIRMED, json.dumps(confirmed).encode())
