"""What follows when something let through turns out bad: block, notify, put the file away.

```
flagged  in force everywhere (ledger) ─► file action ─► event, queue entry closed ─► notice
late     leased ─► event, in force everywhere ─► file action ─► notice ─► forgotten
```

The queue entry of a file is closed only after its action, and what the history remembers is forgotten only
after action and notice, so that a crash in between repeats them (the action finds nothing left to do) and
never skips them. A notice never holds anything up.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from secondlook.agent import metrics
from secondlook.agent.actions.notice import confirmed_notice
from secondlook.agent.actions.notifier import Notifier
from secondlook.agent.check.record import closing_event, confirmed_from_entry, let_through, reblock_entry
from secondlook.agent.check.view import LocalView
from secondlook.agent.ports import ConfirmedSet, EventSink, Visits
from secondlook.core.event import ConfirmedEntry, Event, EventKind, FlagEntry, QueueEntry
from secondlook.core.subject import FileSubject, SubjectKind, UrlSubject
from secondlook.core.url.address import is_loopback
from secondlook.core.verdict import Evidence
from secondlook.ground.clock import Clock
from secondlook.ground.errors import LedgerError

logger = logging.getLogger(__name__)

_MOST_VISITS = 200  # subjects of one batch whose visits are looked up one by one


@dataclass(frozen=True, slots=True)
class FileOutcome:
    """What became of one file on disk: `action` taken (or tried), `done`, and the story in words."""

    action: str
    done: bool
    detail: str
    record_id: str | None = None


class Late(NamedTuple):
    """What became of remembered subjects: `found` were late verdicts, and whether something is `left`."""

    found: int
    left: bool


class FileAction(Protocol):
    """What is done to the file itself."""

    async def act(self, entry: ConfirmedEntry) -> list[FileOutcome]:
        """Do it wherever the file is found. Never raise for what a file system does."""


class Enforcement:
    """Confirms findings of the second look and of late verdicts.

    `files` is the configured `actions.file` (None: pass). `is_here` decides whether a client is this machine.
    """

    def __init__(
        self,
        view: LocalView,
        confirmed: ConfirmedSet,
        visits: Visits,
        recorder: EventSink,
        clock: Clock,
        *,
        notifier: Notifier | None = None,
        files: FileAction | None = None,
        url_subject: Callable[[str], UrlSubject],
        reblock_s: float = 600.0,
        is_here: Callable[[str], bool] | None = None,
        lease_s: float = 120.0,
    ) -> None:
        self._view = view
        self._confirmed = confirmed
        self._visits = visits
        self._recorder = recorder
        self._clock = clock
        self._notifier = notifier
        self._files = files
        self._url_subject = url_subject
        self._reblock_s = reblock_s
        self._is_here = is_here or is_loopback
        self._lease_s = lease_s

    async def late(self, found: Mapping[bytes, Evidence]) -> Late:
        """Report what is remembered of subjects that are bad by now, and act. Raise LedgerError.

        What the policy of its client does not block stays remembered, as risk or level may rise; so does what
        another service deals with, and files that half the lease does not suffice for.
        """
        found = await self._kept_from(found)
        if not found:
            return Late(0, left=False)
        began = self._clock.now()
        taken = await self._visits.take(list(found), began, lease_s=self._lease_s)
        reported = await self._visits.reported([source for source, _ in taken])
        ended: list[FlagEntry] = []
        findings: list[tuple[ConfirmedEntry, Event | None]] = []
        files: list[tuple[FlagEntry, ConfirmedEntry, list[Event]]] = []
        notices: list[tuple[FlagEntry, ConfirmedEntry, list[Event]]] = []
        for number, (source, again) in enumerate(taken):
            if source.identity in reported and not again:  # by the queue, or as it went through
                ended.append(source)
                continue
            evidence = found[source.identity]
            entry = confirmed_from_entry(source, evidence, now=began)
            self._view.learn(entry)
            visits = await self._visits.visits(entry.identity) if number < _MOST_VISITS else []
            event = self._event(source, evidence, visits, (), late=True)
            findings.append((entry, None if source.identity in reported else event))
            if self._is_allowed(source):
                ended.append(source)
            elif entry.kind is SubjectKind.FILE:
                files.append((source, entry, visits))
            else:
                notices.append((source, entry, visits))
        await self._confirmed.add_late(findings)
        for entry, _ in findings:
            self._view.stored(entry.hit)
        metrics.LATE_VERDICTS.inc(sum(event is not None for _, event in findings))
        for source, entry, visits in notices:
            self._notify(source, entry, visits, ())
            ended.append(source)
        await self._forget(ended)
        over = len(ended)
        for source, entry, visits in files:
            if self._clock.now() - began > self._lease_s / 2:
                break
            over += await self._put_away(source, entry, visits)
        return Late(len(findings), over < len(found))

    async def _forget(self, ended: Sequence[FlagEntry]) -> None:
        """Forget what was dealt with, its notices being sent or on the disk."""
        if self._notifier is not None:
            await self._notifier.keep()
        await self._visits.forget(ended)

    async def _kept_from(self, found: Mapping[bytes, Evidence]) -> Mapping[bytes, Evidence]:
        """Return what those are kept from who had it; a client without a name may be anybody."""
        policies = self._view.current.policies
        found = {name: evidence for name, evidence in found.items() if policies.anybody_blocks(evidence.risk)}
        if not found or not policies.grouped:
            return found
        return {
            source.identity: found[source.identity]
            for source in await self._visits.recall(list(found))
            if policies.may_block(found[source.identity].risk, source.client)
        }

    async def _put_away(self, source: FlagEntry, entry: ConfirmedEntry, visits: Sequence[Event]) -> bool:
        """Act on a remembered file; one that makes trouble stays remembered and is in nobody's way."""
        try:
            if origins := self._origins([entry]):
                await self._confirmed.add_many([(origin, None, None) for origin in origins])
            self._notify(source, entry, visits, await self._act(source, entry, visits))
            await self._forget([source])
        except LedgerError:
            raise
        except Exception:
            metrics.INTERNAL_ERRORS.inc()
            logger.exception("a file of a late verdict could not be dealt with")
            return False
        return True

    async def confirm(
        self, findings: Sequence[tuple[QueueEntry | FlagEntry, Evidence]], *, late: bool = False
    ) -> None:
        """Put findings in force, act, and close their queue entries. Raise LedgerError."""
        now = self._clock.now()
        entries = [confirmed_from_entry(entry, evidence, now=now) for entry, evidence in findings]
        for entry in entries:
            self._view.learn(entry)
        if not late:
            await self._put_in_force(entries)
        finished: list[tuple[ConfirmedEntry, Event | None, str | None]] = []
        acted_on: list[tuple[QueueEntry | FlagEntry, ConfirmedEntry, list[Event], list[FileOutcome]]] = []
        for number, ((source, evidence), entry) in enumerate(zip(findings, entries, strict=True)):
            visits = await self._visits.visits(entry.identity) if number < _MOST_VISITS else []
            wanted = self._acts_on(source, evidence)
            outcomes: list[FileOutcome] = []
            if wanted and entry.kind is SubjectKind.FILE and not late:
                outcomes = await self._act(source, entry, visits)
            event = self._event(source, evidence, visits, outcomes, late=late)
            finished.append((entry, event, source.id if isinstance(source, QueueEntry) else None))
            if wanted:
                acted_on.append((source, entry, visits, outcomes))
        await self._confirmed.add_many(finished)
        for entry in entries:
            self._view.stored(entry.hit)
        if late:
            await self._after_late(acted_on)
        for source, entry, visits, outcomes in acted_on:
            self._notify(source, entry, visits, outcomes)

    def _notify(
        self,
        source: QueueEntry | FlagEntry,
        entry: ConfirmedEntry,
        visits: Sequence[Event],
        outcomes: Sequence[FileOutcome],
    ) -> None:
        if self._notifier is not None:
            self._notifier.notify(confirmed_notice(entry, clients_of(source, visits), visits, outcomes))

    async def _after_late(
        self,
        acted_on: Sequence[tuple[QueueEntry | FlagEntry, ConfirmedEntry, list[Event], list[FileOutcome]]],
    ) -> None:
        """Act on findings that no record remembers: their event is written first."""
        metrics.LATE_VERDICTS.inc(len(acted_on))
        for source, entry, visits, outcomes in acted_on:
            if entry.kind is SubjectKind.FILE:
                await self._put_in_force([entry])
                outcomes.extend(await self._act(source, entry, visits))

    async def _put_in_force(self, entries: Sequence[ConfirmedEntry]) -> None:
        """Block at once where an action comes first; and the URL that a bad file came from."""
        files = [entry for entry in entries if entry.kind is SubjectKind.FILE]
        if files:
            await self._confirmed.add_many([(each, None, None) for each in (*files, *self._origins(files))])

    def _origins(self, files: Sequence[ConfirmedEntry]) -> list[ConfirmedEntry]:
        """Make the entries that refuse for a while where bad files came from."""
        until = self._clock.now() + self._reblock_s
        return [
            reblock_entry(entry, self._url_subject(entry.url), until=until)
            for entry in files
            if entry.url and self._reblock_s > 0
        ]

    def blocks(self, evidence: Evidence) -> bool:
        """Return whether the policy for everybody blocks what was found."""
        return self._view.current.policies.common.blocks(evidence.risk)

    def _acts_on(self, entry: QueueEntry | FlagEntry, evidence: Evidence) -> bool:
        """Return whether the policy blocks it and no rule of the operator allows it."""
        return self.blocks(evidence) and not self._is_allowed(entry)

    def _is_allowed(self, entry: QueueEntry | FlagEntry) -> bool:
        """Return whether a rule of the operator allows it."""
        snapshot = self._view.current
        now = self._clock.now()
        subject = (
            FileSubject(entry.hashes, labels=entry.labels or ("sha256",) * len(entry.hashes))
            if entry.kind is SubjectKind.FILE
            else (self._url_subject(entry.url) if entry.url else None)
        )
        rule = snapshot.rulebook.match(subject, None, None, now) if subject is not None else None
        return rule is not None and rule.action == "allow"

    async def _act(
        self, source: QueueEntry | FlagEntry, entry: ConfirmedEntry, visits: Sequence[Event]
    ) -> list[FileOutcome]:
        clients = clients_of(source, visits)
        away = [client for client in clients if not self._is_here(client)]
        outcomes: list[FileOutcome] = []
        if away:
            names = ", ".join(away)
            outcomes.append(
                FileOutcome("none", False, f"the file is out of reach on other machines: {names}")
            )
        if self._files is not None and len(away) < max(1, len(clients)):
            outcomes += await self._files.act(entry)
        for outcome in outcomes:
            metrics.ACTIONS.labels(outcome.action, "done" if outcome.done else "failed").inc()
            now = self._clock.now()
            self._recorder.record(
                closing_event(
                    EventKind.ACTION,
                    entry,
                    time=now,
                    detail=outcome.detail,
                    extra={"action": outcome.action, "done": outcome.done, "record": outcome.record_id},
                )
            )
        return outcomes

    def _event(
        self,
        source: QueueEntry | FlagEntry,
        evidence: Evidence,
        visits: Sequence[Event],
        outcomes: Sequence[FileOutcome],
        *,
        late: bool,
    ) -> Event:
        now = self._clock.now()
        extra: dict[str, object] = {
            "clients": clients_of(source, visits),
            "count": source.count if isinstance(source, QueueEntry) else 1,
            "let_through": let_through(visits),
            "actions": [
                {"action": outcome.action, "done": outcome.done, "detail": outcome.detail}
                for outcome in outcomes
            ],
        }
        return closing_event(
            EventKind.LATE_VERDICT if late else EventKind.CONFIRMED,
            source,
            time=now,
            evidence=evidence,
            extra=extra,
        )


def clients_of(entry: QueueEntry | FlagEntry, visits: Sequence[Event] = ()) -> list[str]:
    """Name the clients that got through, as far as they were written down; `visits` are those of the log."""
    named = entry.clients if isinstance(entry, QueueEntry) else (entry.client,)
    return list(dict.fromkeys(client for client in (*named, *(visit.client for visit in visits)) if client))
