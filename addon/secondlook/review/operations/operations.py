"""What the review can show and do: one set of operations under both the pages and the API.

They read and write the ledger; what needs the running program alone, pages and API ask of `program` itself,
but for what it reads from files.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from secondlook.core.event import EventKind
from secondlook.core.rules.client import network_of, recorded_client
from secondlook.core.rules.rule import LONGEST_PAUSE_S, SHORTEST_S
from secondlook.ground.clock import Clock
from secondlook.ground.lanes import STATE
from secondlook.ledger.ledger import EventFilter, Ledger
from secondlook.ledger.log.shape import passage_json, quarantine_json, queue_json
from secondlook.review import words
from secondlook.review.operations import clients, first_steps, overview, statistics
from secondlook.review.operations.acknowledged import Acknowledged
from secondlook.review.operations.late_verdicts import LateVerdicts
from secondlook.review.operations.log_operations import LogOperations
from secondlook.review.operations.refused import Missing, Refused, named_client
from secondlook.review.operations.rule_operations import RuleOperations
from secondlook.review.program import Json, RunningProgram
from secondlook.site.qr import address_code

LATEST = 8
QUEUE_CURSOR = r"^-?[0-9]{1,12}\.[0-9]{1,17}-[0-9A-HJKMNP-TV-Z]{26}$"  # first_seen and id: outlive the entry
REMARKABLE = ("blocked", "flagged", "would_block", "confirmed", "late_verdict")


class Operations:
    """The operations of the review."""

    def __init__(
        self, ledger: Ledger, program: RunningProgram, acknowledged: Acknowledged, clock: Clock
    ) -> None:
        self.ledger = ledger
        self.program = program
        self.log = LogOperations(ledger)
        self.rules = RuleOperations(ledger, program, self.log, clock)
        self.late = LateVerdicts(ledger, acknowledged, clock)
        self._clock = clock

    # -- overview -------------------------------------------------------------------------------

    async def overview(self, client: str | None = None) -> Json:
        """Return whether protection is on and what needs attention; `client`: whose latest blocks."""
        now = self._clock.now()
        hours = await self.ledger.run(self.ledger.statistics.hourly, now - 23 * 3600, now)
        waiting, oldest, _ = await self.ledger.run(self.ledger.queue.count)
        latest = await self.log.page(
            EventFilter(kind=REMARKABLE, client=None if client is None else named_client(client)),
            limit=LATEST,
        )
        paused: dict[str | None, float] = {}
        for pause in self.ledger.snapshots.pauses():
            if pause.created <= now < pause.until:
                paused[pause.client] = max(pause.until, paused.get(pause.client, 0.0))
        return overview.compose(
            program=self.program,
            alerts=await STATE.run(self.program.alerts),
            lists=await self.lists(),
            hours=hours,
            waiting=waiting,
            oldest=oldest,
            latest=latest.events,
            paused=paused,
            trouble=self.ledger.trouble,
            dropped=self.ledger.recorder.dropped,
        )

    async def lists(self) -> Sequence[Json]:
        """Return the lists of the pattern."""
        return await STATE.run(self.program.lists)

    async def feeds(self) -> Sequence[Json]:
        """Return the feeds of the embedded server."""
        return await STATE.run(self.program.feeds)

    async def rolled_back(self) -> str | None:
        """Return which lists and rules a rollback keeps as they were; None: none."""
        return await STATE.run(self.program.rolled_back)

    async def titles(self) -> dict[str, str]:
        """Return people's words for the lists of the pattern: by name, and by name and server."""
        found: dict[str, list[str]] = {}
        for each in await self.lists():
            for name in (each["name"], words.list_of(each["name"], each["server"])):
                found.setdefault(name, []).append(each["title"])
        return {name: ", ".join(dict.fromkeys(titles)) for name, titles in found.items()}

    def names(self) -> Mapping[str, str]:
        """Return what people call clients, by address or user."""
        return self.program.names()

    async def statistics(self, chosen: str, client: str | None = None) -> Json:
        """Return the statistics of a range of time (`statistics.RANGES`), of everybody or of one client."""
        if chosen not in statistics.RANGES:
            raise Refused(f"range: expected one of {', '.join(statistics.RANGES)}, got {chosen[:80]!r}")
        name = None if client is None else named_client(client)
        now, titles = self._clock.now(), await self.titles()
        found = await self.ledger.run(statistics.gather, self.ledger.statistics, chosen, name, now, titles)
        by_address = name is None or ("/" not in name and network_of(name) is not None)
        return {**found, "assessing": self.program.assessing, "counted": by_address}

    async def clients(self, chosen: str) -> list[Json]:
        """Return the clients of a range of time, the one seen last first."""
        if chosen not in statistics.RANGES:
            raise Refused(f"range: expected one of {', '.join(statistics.RANGES)}, got {chosen[:80]!r}")
        found = await self.ledger.run(clients.listing, self.ledger.statistics, chosen, self._clock.now())
        return [{**each, "group": self.program.client(each["client"])["group"]} for each in found]

    async def client(self, name: str) -> Json:
        """Return one client: group and policy, what was made for it, its latest blocks and flags."""
        client = named_client(name)
        found = await self.ledger.run(clients.facts, self.ledger, client, self._clock.now())
        wanted = EventFilter(kind=REMARKABLE, client=client)
        latest = (await self.log.page(wanted, limit=LATEST)).events
        return {**found, **self.program.client(client), "latest": latest}

    async def pause(self, minutes: float, client: str | None) -> None:
        """Switch protection off for a while."""
        if not SHORTEST_S <= minutes * 60 <= LONGEST_PAUSE_S:
            raise Refused(
                f"pause: expected minutes, from a second to a week (10080), got {minutes:g}", "minutes"
            )
        await self.ledger.run(
            self.ledger.pauses.add, minutes, client=None if client is None else named_client(client)
        )

    async def resume(self, client: str | None = None) -> None:
        """End every pause, or those of one client."""
        name = None if client is None else named_client(client)
        await self.ledger.run(self.ledger.pauses.end, client=name, everybody=name is None)

    # -- queue ----------------------------------------------------------------------------------

    async def waiting(self) -> int:
        """Count what waits for a second look."""
        count, _, _ = await self.ledger.run(self.ledger.queue.count)
        return count

    async def queue(self, after: str | None, limit: int) -> tuple[list[Json], str | None]:
        """Return a page of the queue, oldest first, and the cursor to go on from (`QUEUE_CURSOR`)."""
        if after and not re.fullmatch(QUEUE_CURSOR, after):
            raise Refused(f"after: expected a place in the queue as its links give it, got {after[:80]!r}")
        at, _, entry_id = (after or "").rpartition("-")
        last = (float(at), entry_id) if at else None
        found = await self.ledger.run(self.ledger.queue.page, after=last, limit=limit)
        cursor = f"{found[-1].first_seen!r}-{found[-1].id}" if len(found) == limit else None
        return [queue_json(entry) for entry in found], cursor

    async def waiting_entry(self, entry_id: str) -> Json:
        """Return one subject of the queue."""
        entry = await self.ledger.run(self.ledger.queue.find, entry_id)
        if entry is None:
            raise Missing("nothing with this id waits: it may have been looked at meanwhile")
        return queue_json(entry)

    async def closings(self, limit: int) -> list[Json]:
        """Return how the latest flagged subjects ended."""
        kinds = (EventKind.CONFIRMED.value, EventKind.CLEARED.value, EventKind.EXPIRED.value)
        return (await self.log.page(EventFilter(kind=kinds), limit=limit)).events

    # -- privacy --------------------------------------------------------------------------------

    async def erase_client(self, client: str) -> int:
        """Delete for good what was kept of one client (address or user); return how many events went."""
        return await self.ledger.run(self.ledger.upkeep.erase_client, named_client(client, recorded_client))

    # -- the rest -------------------------------------------------------------------------------

    async def check(self, subject: str, client: str | None = None) -> Json:
        """Check a URL or a digest, as a client sees it."""
        name = None if client is None else named_client(client)
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
        """Return what is needed to use the proxy."""
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
