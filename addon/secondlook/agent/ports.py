"""What the query process needs from the rooms beside it: asking servers, and the ledger.

`lookup` and `ledger` fit these protocols by shape; `run` puts them together. Nothing in
`agent` imports either.
"""

from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from typing import IO, Any, Protocol

from secondlook.core.answer import Tier, TierAnswer
from secondlook.core.event import (
    ConfirmedEntry,
    Event,
    EventKind,
    FlagEntry,
    QuarantineRecord,
    QueueEntry,
    Remembered,
)
from secondlook.core.rules.rule import Pause, Rule
from secondlook.core.scan import EngineReport
from secondlook.core.subject import SubjectKind
from secondlook.core.verdict import SubjectClass


class Lookup(Protocol):
    """Smart Protection Servers in tiers, with failover inside one budget."""

    def tiers(self, kind: SubjectKind, cls: SubjectClass) -> tuple[Tier, ...]:
        """Tiers that may be asked about such a subject where the machine is now; empty: nobody to ask."""

    def fallback(self, tier: Tier, kind: SubjectKind, cls: SubjectClass) -> Tier | None:
        """Tier to ask in the same check after `tier` gave no answer (intranet dead: the network tier)."""

    def awaited(self, kind: SubjectKind, cls: SubjectClass) -> bool:
        """Return whether a server that is away now could answer about such a subject later."""

    async def ask(
        self, tier: Tier, kind: SubjectKind, cls: SubjectClass, prefixes: Sequence[bytes], *, deadline: float
    ) -> TierAnswer:
        """Ask one tier about 4-byte prefixes until `deadline` (monotonic seconds). Never raise."""

    def on_recovery(self, callback: Callable[[str], None]) -> None:
        """Call back with the server's name each time a circuit closes again or the location changes."""


class Scan(Protocol):
    """The content of one file, for the engines that are to look into it."""

    @property
    def within_s(self) -> float:
        """Seconds after which every engine has answered or failed; beyond them nobody waits."""

    @property
    def engines(self) -> Sequence[str]:
        """Names of the engines, in the order of their looks."""

    def known(self) -> Sequence[EngineReport] | None:
        """Return what they reported about the same bytes before; None when one of them must look."""

    def looks(self) -> Sequence[Coroutine[Any, Any, EngineReport]]:
        """Return a look for each engine, to be run at the same time; a look that is cancelled stops."""


class FileScanner(Protocol):
    """Engines for files that lie on this machine, and what they reported about files before."""

    @property
    def wanted(self) -> Sequence[str]:
        """Names of the engines of which an answer is wanted, as somebody has set them."""

    async def versions(self) -> Mapping[str, str]:
        """Return what looks now, by engine; an engine that is away is missing."""

    async def recall(self, digest: bytes) -> Mapping[str, EngineReport]:
        """Return what engines last reported about a file, by engine, whatever their versions were."""

    async def scan(self, file: IO[bytes], digest: bytes) -> Sequence[EngineReport]:
        """Have all engines look into an open file. Never raise for what it holds."""


class EventSink(Protocol):
    """Where events go that may be late, but not lost silently."""

    def record(self, event: Event) -> None:
        """Queue an event for writing; never blocks, never raises; drops are counted and alerted."""

    def amend(self, event_id: str, *, detail: str | None, extra: Mapping[str, object] | None = None) -> None:
        """Fill in the detail of an event recorded earlier; never blocks, never raises."""


class Counts(Protocol):
    """Where checks and hits of rules go that leave no event."""

    def tally(
        self,
        kind: EventKind,
        decision: str | None,
        stage: str | None,
        *,
        client: str | None = None,
        host: str | None = None,
        server: str | None = None,
        elapsed_ms: float | None = None,
        gateway: str | None = None,
    ) -> None:
        """Count a check of which no event is kept; never blocks."""

    def count_hit(self, rule_id: str) -> None:
        """Count a hit of a rule whose check leaves no event; never blocks."""


class FlagStore(Protocol):
    """The queue as traffic sees it."""

    async def flag(self, event: Event, entry: FlagEntry) -> None:
        """Commit event and queue entry (ledger, else journal) before returning.

        Raise LedgerError when neither took them within `ledger.deadline`: the request is refused.
        """


class Queue(Protocol):
    """The queue as the second look sees it."""

    async def take_due(
        self,
        now: float,
        *,
        limit: int,
        lease_s: float,
        everything: bool = False,
        older_than: float | None = None,
    ) -> list[QueueEntry]:
        """Lease due entries, oldest first; other recheckers skip leased ones.

        `everything`: due or not; `older_than`: those first seen before it (Unix seconds), due or not.
        """

    async def renew(self, entries: Sequence[str], until: float) -> None:
        """Make the leases of entries (by id) last until then, as work on them goes on."""

    async def close(self, closings: Sequence[tuple[QueueEntry, Event]]) -> None:
        """End entries (cleared, expired), each with its event, in one transaction."""

    async def postpone(
        self, entries: Sequence[QueueEntry], next_attempt: Sequence[float], reason: str
    ) -> None:
        """Count an attempt that decided nothing, and end the lease."""


class ConfirmedSet(Protocol):
    """Subjects that were found to be bad, and are blocked everywhere."""

    async def add_many(self, findings: Sequence[tuple[ConfirmedEntry, Event | None, str | None]]) -> None:
        """Put subjects into the set (or renew them) and close their queue entries, in one transaction.

        Each is (entry, event, queue id). Without an event no other queue entry than the named one ends.
        """

    async def add_late(self, findings: Sequence[tuple[ConfirmedEntry, Event | None]]) -> None:
        """Put subjects into the set that are not in it, and write the events, in one transaction."""

    async def withdraw(self, identity: bytes, event: Event) -> None:
        """Take a subject out of the set."""

    async def extend(self, identities: Sequence[bytes], expires_at: float) -> None:
        """Keep subjects until they are asked again at `expires_at`."""

    async def due(self, now: float, *, limit: int, everything: bool = False) -> list[ConfirmedEntry]:
        """Subjects whose expiry has come (`everything`: all, for a new generation)."""


class Visits(Protocol):
    """Who met a subject, and of which visits nothing has been reported."""

    async def visits(self, identity: bytes) -> list[Event]:
        """Every let-through of a subject that the log still holds: who, when, what."""

    async def recall(self, identities: Sequence[bytes]) -> list[FlagEntry]:
        """Return what is remembered of these subjects; of some it may be nothing any more."""

    async def take(
        self, identities: Sequence[bytes], now: float, *, lease_s: float
    ) -> list[tuple[FlagEntry, bool]]:
        """Lease what is remembered of subjects, but for what a rechecker holds.

        Each comes with whether a lease of it ended by itself before: somebody was interrupted.
        """

    async def reported(self, entries: Sequence[FlagEntry]) -> set[bytes]:
        """Return, by identity, whose visit an event has reported already."""

    async def forget(self, entries: Sequence[FlagEntry]) -> None:
        """Forget visits that were dealt with; a later one of the same subject stays."""


class Memory(Protocol):
    """Where allowed subjects are remembered, for late verdicts."""

    def remember(self, entry: FlagEntry, *, yields: bool = False) -> None:
        """Note an allowed subject in memory; written in batches, at most 5 s late.

        One visit of each subject is remembered, the last; one that `yields` leaves the client of an earlier
        one in place, who may be kept from more, and where it was.
        """


class History(Protocol):
    """What was remembered, hashes first."""

    def remembered(self, *, since: float, batch: int = 5_000) -> AsyncIterator[list[Remembered]]:
        """Yield all subjects remembered since then, by identity, a batch in memory at a time."""

    async def recall(self, identities: Sequence[bytes]) -> list[FlagEntry]:
        """Return what is remembered of these subjects; of some it may be nothing any more."""


class Snapshots(Protocol):
    """What every worker keeps in memory; called off the event loop."""

    def version(self) -> int:
        """Return a number that differs whenever rules, pauses or the confirmed set changed; cheap."""

    def confirmed(self) -> Sequence[ConfirmedEntry]:
        """Return the whole confirmed set."""

    def rules(self) -> Sequence[Rule]:
        """All rules, expired ones included."""

    def pauses(self) -> Sequence[Pause]:
        """Pauses in force or past."""


class RuleStore(Protocol):
    """Where a restore puts its rule."""

    async def add_async(self, rule: Rule) -> None:
        """Commit a rule."""


class QuarantineIndex(Protocol):
    """Records of files in quarantine."""

    async def keep(self, record: QuarantineRecord) -> None:
        """Insert or replace a record, committed before returning."""

    async def find(self, record_id: str) -> QuarantineRecord | None:
        """One record by its id."""

    async def find_all(self, *, states: Sequence[str] | None = None) -> list[QuarantineRecord]:
        """Records, oldest first; `states` keeps only those."""
