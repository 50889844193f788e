"""What the review can show and do: one set of operations under both the pages and the API.

They read and write the ledger; what needs the running program alone, pages and API ask of `program` itself.
"""

import time
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from secondlook.core.event import Event, EventKind
from secondlook.core.rules.client import ClientNameError, client_name
from secondlook.core.rules.overruling import overruling
from secondlook.core.rules.rule import LONGEST_PAUSE_S, LONGEST_RULE_S, SHORTEST_S, Rule
from secondlook.core.rules.rulebook import RuleBook
from secondlook.core.rules.subject import parse_subject
from secondlook.ground.clock import Clock
from secondlook.ledger.ledger import EventFilter, Ledger
from secondlook.ledger.log.shape import (
    event_json,
    passage_json,
    quarantine_json,
    queue_json,
    rule_json,
)
from secondlook.review import words
from secondlook.review.operations import clients, first_steps, overview, statistics
from secondlook.review.operations.acknowledged import Acknowledged
from secondlook.review.operations.late import LateVerdicts
from secondlook.review.program import Json, RunningProgram
from secondlook.site.qr import address_code
from secondlook.suffix import load_suffixes

FOLLOW_BATCH = 200
FOLLOW_QUIET_S = 15.0
MOST_CHOSEN = 200
MOST_RULES_IMPORTED = 100_000
CONFIG_SOURCE = "config"
RULE_SOURCES = ("operator", "override", "quarantine", CONFIG_SOURCE)
LATEST = 8
REMARKABLE = ("blocked", "flagged", "would_block", "confirmed", "late_verdict")


class Refused(Exception):  # noqa: N818 (an answer, in words for the reader)
    """Something cannot be done; the message is for the reader, `field` names what was typed wrongly."""

    def __init__(self, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class Missing(Refused):
    """There is no such thing."""


@dataclass(frozen=True, slots=True)
class LogPage:
    """One page of the log, newest first, and the cursors of its neighbours."""

    events: list[Json]
    older: str | None
    newer: str | None


def _text(value: object) -> str | None:
    """Read an optional text of an import. Raises ValueError."""
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise ValueError(f"expected a text, got {str(value)[:80]}")  # noqa: TRY004 (reported as a bad value)
    return value


def _beside(cursor: str, step: int) -> str:
    """Return the place beside a cursor's: turning back from an empty page begins with that event itself."""
    return f"s{int(cursor[1:]) + step}" if cursor.startswith("s") else cursor


def _moment(value: object) -> float | None:
    """Read an optional instant of an import. Raises ValueError."""
    if value is None:
        return None
    moment = datetime.fromisoformat(str(value))
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _named(text: str) -> str:
    """Read whom something is for; a blank name is nobody, not everybody. Raises Refused."""
    try:
        return client_name(text)
    except ClientNameError as error:
        raise Refused(f"client: {error}", "client") from None


class Operations:
    """The operations of the review."""

    def __init__(
        self, ledger: Ledger, program: RunningProgram, acknowledged: Acknowledged, clock: Clock
    ) -> None:
        self.ledger = ledger
        self.program = program
        self.late = LateVerdicts(ledger, acknowledged, clock)
        self._clock = clock

    # -- overview -------------------------------------------------------------------------------

    async def overview(self, client: str | None = None) -> Json:
        """Return whether protection is on and what needs attention; `client`: whose latest blocks."""
        now = self._clock.now()
        hours = await self.ledger.run(self.ledger.statistics.hourly, now - 23 * 3600, now)
        waiting, oldest, _ = await self.ledger.run(self.ledger.queue.count)
        latest = await self.log(
            EventFilter(
                kind=REMARKABLE,
                client=None if client is None else _named(client),
            ),
            limit=LATEST,
        )
        paused: dict[str | None, float] = {}
        for pause in self.ledger.snapshots.pauses():
            if pause.created <= now < pause.until:
                paused[pause.client] = max(pause.until, paused.get(pause.client, 0.0))
        return overview.compose(
            program=self.program,
            hours=hours,
            waiting=waiting,
            oldest=oldest,
            latest=latest.events,
            paused=paused,
            trouble=self.ledger.trouble,
            dropped=self.ledger.recorder.dropped,
        )

    def titles(self) -> dict[str, str]:
        """Return people's words for the lists of the pattern, by name."""
        return {each["name"]: each["title"] for each in self.program.lists()}

    async def statistics(self, chosen: str, client: str | None = None) -> Json:
        """Return the statistics of a range of time (`statistics.RANGES`), of everybody or of one client."""
        if chosen not in statistics.RANGES:
            raise Refused(f"range: expected one of {', '.join(statistics.RANGES)}, got {chosen[:80]!r}")
        name = None if client is None else _named(client)
        now, titles = self._clock.now(), self.titles()
        found = await self.ledger.run(statistics.gather, self.ledger.statistics, chosen, name, now, titles)
        return {**found, "assessing": self.program.assessing}

    async def clients(self, chosen: str) -> list[Json]:
        """Return the clients of a range of time, the one seen last first."""
        if chosen not in statistics.RANGES:
            raise Refused(f"range: expected one of {', '.join(statistics.RANGES)}, got {chosen[:80]!r}")
        found = await self.ledger.run(clients.listing, self.ledger.statistics, chosen, self._clock.now())
        return [{**each, "group": self.program.client(each["client"])["group"]} for each in found]

    async def client(self, name: str) -> Json:
        """Return one client: group and policy, what was made for it, its latest blocks and flags."""
        client = _named(name)
        found = await self.ledger.run(clients.facts, self.ledger, client, self._clock.now())
        wanted = EventFilter(kind=REMARKABLE, client=client)
        latest = (await self.log(wanted, limit=LATEST)).events
        return {**found, **self.program.client(client), "latest": latest}

    async def pause(self, minutes: float, client: str | None) -> None:
        """Switch protection off for a while."""
        if not SHORTEST_S <= minutes * 60 <= LONGEST_PAUSE_S:
            raise Refused(
                f"pause: expected minutes, from a second to a week (10080), got {minutes:g}", "minutes"
            )
        await self.ledger.run(
            self.ledger.pauses.add, minutes, client=None if client is None else _named(client)
        )

    async def resume(self, client: str | None = None) -> None:
        """End every pause, or those of one client."""
        name = None if client is None else _named(client)
        await self.ledger.run(self.ledger.pauses.end, client=name, everybody=name is None)

    # -- log ------------------------------------------------------------------------------------

    async def log(
        self,
        wanted: EventFilter,
        *,
        after: str | None = None,
        before: str | None = None,
        limit: int,
        oldest_first: bool = False,
    ) -> LogPage:
        """Return one page, its newest event first.

        A reader goes back in time, or with `oldest_first` forward; `after` is the place to go on from,
        `before` the place to turn back from; with neither it is the first page.
        """
        forward = oldest_first if before is None else not oldest_first
        place = after if before is None else before
        found = await self.ledger.run(
            self.ledger.events.page, wanted, after=place, limit=limit, newest_first=not forward
        )
        events = list(reversed(found.events)) if forward else list(found.events)
        beyond = found.cursor if found.more else None
        if place is None:
            behind = None
        elif events:
            behind = events[0 if not forward else -1].id
        else:
            behind = place if before is not None else _beside(place, 1 if forward else -1)
        newer, older = (beyond, behind) if forward else (behind, beyond)
        return LogPage([event_json(event) for event in events], older, newer)

    async def event(self, event_id: str) -> Json | None:
        """Return one event; its explanation is under `extra`."""
        event = await self.ledger.run(self.ledger.events.find, event_id)
        return None if event is None else event_json(event)

    async def log_end(self) -> str:
        """Return the place in the log where what is written from now on begins."""
        return await self.ledger.run(self.ledger.events.end)

    async def follow(
        self, wanted: EventFilter, after: str | None = None
    ) -> AsyncIterator[tuple[list[Json], str]]:
        """Yield new events in batches as they are written, each with the place to go on from.

        Begins at `after`, or now; an empty batch now and then shows that the connection lives.
        """
        cursor = after if after is not None else await self.log_end()
        quiet_since = time.monotonic()
        while True:
            found, cursor = await self.ledger.run(
                self.ledger.events.tail, wanted, after=cursor, limit=FOLLOW_BATCH
            )
            if found or time.monotonic() - quiet_since > FOLLOW_QUIET_S:
                quiet_since = time.monotonic()
                yield [event_json(event) for event in found], cursor
            if not found:
                await overview.breathe()

    async def tail(self, wanted: EventFilter, after: str | None) -> tuple[list[Json], str]:
        """Return events written after a cursor (None: now), and where to go on."""
        if after is None:
            return [], await self.log_end()
        found, cursor = await self.ledger.run(
            self.ledger.events.tail, wanted, after=after, limit=FOLLOW_BATCH
        )
        return [event_json(event) for event in found], cursor

    def export(self, wanted: EventFilter) -> Iterator[Event]:
        """Yield all matching events, oldest first, in bounded memory; blocks."""
        return self.ledger.events.export(wanted)

    # -- queue ----------------------------------------------------------------------------------

    async def waiting(self) -> int:
        """Count what waits for a second look."""
        count, _, _ = await self.ledger.run(self.ledger.queue.count)
        return count

    async def queue(self, after: str | None, limit: int) -> tuple[list[Json], str | None]:
        """Return a page of the queue, oldest first, and the id to go on from."""
        last = await self.ledger.run(self.ledger.queue.find, after) if after else None
        found = await self.ledger.run(self.ledger.queue.page, after=last, limit=limit)
        return [queue_json(entry) for entry in found], found[-1].id if len(found) == limit else None

    async def waiting_entry(self, entry_id: str) -> Json:
        """Return one subject of the queue."""
        entry = await self.ledger.run(self.ledger.queue.find, entry_id)
        if entry is None:
            raise Missing("nothing with this id waits: it may have been looked at meanwhile")
        return queue_json(entry)

    async def closings(self, limit: int) -> list[Json]:
        """Return how the latest flagged subjects ended."""
        kinds = (EventKind.CONFIRMED.value, EventKind.CLEARED.value, EventKind.EXPIRED.value)
        return (await self.log(EventFilter(kind=kinds), limit=limit)).events

    # -- rules ----------------------------------------------------------------------------------

    async def rules(self) -> list[Json]:
        """Return all rules."""
        return [rule_json(rule) for rule in await self.ledger.run(self.ledger.rules.all)]

    async def add_rule(
        self, action: str, subject: str, *, for_s: float | None, client: str | None, reason: str | None
    ) -> Json:
        """Make a rule."""
        self._lasting(for_s)
        rule = self._rule(action, subject, for_s=for_s, client=client, reason=reason)
        return rule_json((await self.ledger.run(self.ledger.rules.add_many, [rule]))[0])

    async def decide(
        self, event_ids: Sequence[str], action: str, *, hosts: bool, for_s: float | None
    ) -> list[Json]:
        """Make a rule for each of some events, all of them or none: for what it is about, or its host."""
        if not event_ids:
            raise Refused("nothing was chosen: tick the entries that are meant")
        if len(event_ids) > MOST_CHOSEN:
            raise Refused(f"expected at most {MOST_CHOSEN} entries, got {len(event_ids)}")
        self._lasting(for_s)
        rules: dict[tuple[str, str], Rule] = {}
        for event_id in event_ids:
            event = await self.event(event_id)
            choices = () if event is None or event.get("stage") in words.UNLIFTED else words.choices(event)
            if not choices:
                raise Refused(f"no rule can be made from the entry {event_id[:80]!r}: nothing was changed")
            chosen = choices[-1 if hosts else 0]["subject"]
            rule = self._rule(action, chosen, for_s=for_s, client=None, reason=None)
            rules[rule.scope, rule.subject] = rule
        made = await self.ledger.run(self.ledger.rules.add_many, list(rules.values()))
        return [rule_json(rule) for rule in made]

    def _lasting(self, for_s: float | None) -> None:
        if for_s is not None and not SHORTEST_S <= for_s <= LONGEST_RULE_S:
            raise Refused(f"expected a time from 1 s to ten years, got {for_s:g} s", "for")

    def _rule(
        self, action: str, text: str, *, for_s: float | None, client: str | None, reason: str | None
    ) -> Rule:
        if action not in ("allow", "block"):
            raise Refused(f"rule: expected allow or block, got {action!r}")
        now = self._clock.now()
        try:
            scope, subject = parse_subject(text, load_suffixes())
        except ValueError as error:
            raise Refused(str(error), "subject") from None
        return Rule(
            id="",
            action="allow" if action == "allow" else "block",
            scope=scope,
            subject=subject,
            client=None if client is None else _named(client),
            reason=reason,
            created=now,
            expires=None if for_s is None else now + for_s,
        )

    async def made(self, rule_ids: Collection[str]) -> list[Json]:
        """Return those of some rules that are there, each with the one that decides in its place."""
        rules = await self.ledger.run(self.ledger.rules.all)
        return [
            {**rule_json(rule), "overruled_by": None if stronger is None else rule_json(stronger)}
            for rule in rules
            if rule.id in rule_ids
            for stronger in [overruling(rule, rules, self._clock.now(), load_suffixes())]
        ]

    async def remove_rule(self, rule_id: str) -> None:
        """Remove a rule."""
        if not await self.ledger.run(self.ledger.rules.remove, rule_id):
            raise Missing("no such rule: it may have been removed or have ended already")

    async def test_rules(self, url: str) -> list[Json]:
        """Return the rules that fire for a URL, the deciding one first."""
        book = RuleBook(self.ledger.snapshots.rules())
        fired = book.explain(self.program.url_subject(url), client=None, user=None, now=self._clock.now())
        return [rule_json(rule) for rule in fired]

    async def backtest(self, rule: str, days: int, action: str = "block") -> Json:
        """Return what a rule, list or level would have changed in the last days."""
        try:
            report: Json = await self.ledger.run(self.program.backtest, rule, days, action)
        except ValueError as error:
            raise Refused(str(error)) from None
        return report

    async def import_rules(self, records: object) -> None:
        """Add rules from an export, all of them or none, with their source and the time they were made.

        Those that have ended meanwhile are left out, and those of a configuration, which come with it.
        """
        if not isinstance(records, list) or len(records) > MOST_RULES_IMPORTED:
            raise Refused(f"import: expected a list of at most {MOST_RULES_IMPORTED:,} rules")
        rules = []
        for number, record in enumerate(records, 1):
            if not isinstance(record, Mapping):
                raise Refused(f"import: rule {number} is not an object")
            try:
                rules.append(self._exported(record))
            except (Refused, ValueError) as error:
                raise Refused(f"import: rule {number}: {error}") from None
        now = self._clock.now()
        lasting = [
            rule
            for rule in rules
            if rule.source != CONFIG_SOURCE and (rule.expires is None or rule.expires > now)
        ]
        await self.ledger.run(self.ledger.rules.add_many, lasting)

    def _exported(self, record: Mapping[str, object]) -> Rule:
        """Read one rule of an export. Raises Refused and ValueError."""
        source = _text(record.get("source")) or "operator"
        if source not in RULE_SOURCES:
            raise Refused(f"source: expected one of {', '.join(RULE_SOURCES)}, got {source[:80]!r}")
        rule = self._rule(
            str(record.get("action")),
            str(record.get("subject")),
            for_s=None,
            client=_text(record.get("client")),
            reason=_text(record.get("reason")),
        )
        made, ends = _moment(record.get("created")), _moment(record.get("expires"))
        return replace(
            rule,
            source=source,
            created=rule.created if made is None else min(made, rule.created),
            expires=ends,
        )

    # -- privacy --------------------------------------------------------------------------------

    async def erase_client(self, client: str) -> int:
        """Delete for good what was kept of one client (address or user); return how many events went."""
        return await self.ledger.run(self.ledger.upkeep.erase_client, _named(client))

    # -- the rest -------------------------------------------------------------------------------

    async def check(self, subject: str, client: str | None = None) -> Json:
        """Check a URL or a digest, as a client sees it."""
        name = None if client is None else _named(client)
        try:
            return await self.program.check(subject, name)
        except ValueError as error:
            raise Refused(str(error)) from None

    async def quarantine(self) -> list[Json]:
        """Return the quarantined files."""
        records = await self.ledger.quarantine.find_all(states=("moving", "held"))
        return [quarantine_json(record) for record in records]

    async def restore(self, record_id: str) -> None:
        """Put a file back where it was."""
        await self._on_quarantine(self.program.restore, record_id)

    async def delete_quarantined(self, record_id: str) -> None:
        """Delete a quarantined file."""
        await self._on_quarantine(self.program.delete_quarantined, record_id)

    async def _on_quarantine(self, act: Callable[[str], Any], record_id: str) -> None:
        if await self.ledger.quarantine.find(record_id) is None:
            raise Missing("no such file in the quarantine")
        try:
            await act(record_id)
        except (ValueError, OSError) as error:
            raise Refused(str(error)) from None

    async def passages(self) -> list[Json] | None:
        """Return whose TLS is passed through for a while; None where none ever is."""
        lasting = self.program.passages
        if not lasting.longest_s:
            return None
        return [passage_json(each) for each in await self.ledger.run(self.ledger.events.passages, lasting)]

    async def authority(self) -> str:
        """Return the certificate of the authority. Raises Refused where there is none to give."""
        _, fault = await self.ledger.run(overview.authority, self.program.authority)
        if fault is not None:
            raise Refused(fault)
        return self.program.authority.read_text(encoding="utf-8")

    async def setup(self) -> Json:
        """Return what the set-up page needs."""
        others = self.program.address_of_others
        proxy = others or self.program.proxy
        host, _, port = proxy.rpartition(":")
        ca, fault = await self.ledger.run(overview.authority, self.program.authority)
        steps = await self.ledger.run(
            first_steps.look,
            self.ledger,
            self.program.first_steps,
            self._clock.now(),
            with_proxy=bool(self.program.proxy),
        )
        return {
            "steps": steps,
            "finished": all(step["taken"] for step in steps),
            "site": f"http://{proxy}",
            "site_code": address_code(others),
            "proxy": proxy,
            "proxy_host": host.strip("[]"),
            "proxy_port": port,
            "ca": ca,
            "ca_fault": fault,
        }
