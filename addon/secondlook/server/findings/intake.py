"""Taking the findings of agents: what is listed at once, what waits, what is refused.

```
finding ──► known good, excepted or withdrawn? ──yes──► refused
   │ no
   ├─► listed or waiting already ──► known
   ├─► findings: auto, and few enough of them listed so far ──► own entry ──► next generation
   └─► waiting, until `secondlook server findings approve`
```

Agents cannot list what the known-good guard protects, nor flood the lists: bounds are those of a report
(`wire.finding`), of what is listed without approval in an hour and in all, and of what waits. One address (of
IPv6: one /64) has at most half of an hour and of what waits: who floods leaves room for the others.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from secondlook.config.service import PublishSettings
from secondlook.core.lists.name import ListName
from secondlook.core.subject import SubjectKind
from secondlook.core.url.address import counted_address
from secondlook.core.url.expression import Suffixes
from secondlook.core.verdict import Threat
from secondlook.server.findings.unlisted import (
    MOST_KEPT,
    FindingState,
    KeptFinding,
    next_finding_id,
    read_findings,
    write_findings,
)
from secondlook.server.publish.generation import Generation
from secondlook.server.publish.guard import Guard, guard_of, lines_of
from secondlook.server.store.manual_entries import (
    BY_AGENT,
    ManualEntry,
    ManualScope,
    manual_hash,
    next_id,
    parse_subject,
    read_manual,
    target_list,
    write_manual,
)
from secondlook.server.store.names import block_list, known_good_list
from secondlook.server.store.store import ServerStore
from secondlook.suffix import load_suffixes
from secondlook.wire.finding import Finding, Outcome, Report

AUTO_PER_HOUR = 200  # listed without approval; more of them wait
MOST_LISTED = 20_000  # by agents; more of them wait too
HOUR_S = 3600.0
HASH_BYTES = 32
type FindingsMode = Literal["auto", "ask", "off"]


@dataclass(frozen=True, slots=True)
class _Asked:
    """A finding as an entry would have it."""

    finding: Finding
    scope: ManualScope
    text: str
    list: ListName


class Intake:
    """The findings of one store; its methods block, and changes are made under the writer's lock."""

    def __init__(self, store: ServerStore, settings: PublishSettings) -> None:
        self._store = store
        self._settings = settings
        self._suffixes: Suffixes = load_suffixes()

    def take(
        self, report: Report, *, mode: FindingsMode, address: str, now: float
    ) -> list[tuple[Outcome, str | None]]:
        """Decide about each finding of a report, in order: what becomes of it, and why if it is refused."""
        guard = self._guard()
        with self._store.writing():
            books = _Books(read_manual(self._store), read_findings(self._store), self._generation())
            entries, kept = books.entries, books.kept
            outcomes = []
            for finding in report.findings:
                asked, problem = self._asked(finding)
                if asked is not None:
                    problem = books.why_not(asked, guard)
                if asked is None or problem is not None:
                    outcomes.append((Outcome.REFUSED, problem))
                    continue
                made = _kept(asked, next_finding_id(books.kept), report.agent, address, now)
                outcomes.append(books.place(asked, made, mode, now))
            if books.entries is not entries:
                write_manual(self._store, books.entries)
            if books.kept is not kept:
                write_findings(self._store, books.kept)
        return outcomes

    def approve(self, identity: str, *, now: float, mark: str | None = None) -> ManualEntry:
        """List a waiting or withdrawn finding with the next publication; LookupError when there is none.

        `mark` is that of the finding that is meant, where it was chosen a while ago.
        """
        with self._store.writing():
            kept = read_findings(self._store)
            chosen = _meant(_find(kept, identity), identity, mark)
            entries = read_manual(self._store)
            entry = _entry(chosen, next_id(entries), now)
            write_manual(self._store, [*entries, entry])
            write_findings(self._store, [each for each in kept if each is not chosen])
        return entry

    def withdraw(self, identity: str, *, now: float, mark: str | None = None) -> KeptFinding:
        """Take a finding back, listed (by the id of its entry) or waiting, and refuse it from now on.

        `mark` is as for `approve`. Raises LookupError when there is none.
        """
        with self._store.writing():
            entries, kept = read_manual(self._store), read_findings(self._store)
            entry = next((each for each in entries if each.id == identity and each.by_agent), None)
            if entry is None:
                chosen = replace(_meant(_find(kept, identity), identity, mark), state="withdrawn")
                kept = [chosen if each.id == chosen.id else each for each in kept]
            else:
                listed = _of_entry(entry, next_finding_id(kept), "withdrawn")
                chosen = replace(_meant(listed, identity, mark), at=now)
                write_manual(self._store, [each for each in entries if each is not entry])
                kept = [*kept, chosen]
            write_findings(self._store, kept)
        return chosen

    def findings(self) -> list[KeptFinding]:
        """Return every finding: those that wait or were withdrawn, then those that are listed."""
        listed = [_of_entry(each, each.id, "listed") for each in read_manual(self._store) if each.by_agent]
        return [*read_findings(self._store), *listed]

    def _guard(self) -> Guard:
        files = (*self._settings.known_good, *self._store.guard_files())
        return guard_of(self._suffixes, tuple(lines_of(files)))

    def _generation(self) -> Generation | None:
        number = self._store.current()
        return None if number is None else Generation(self._store.generation_folder(number))

    def _asked(self, finding: Finding) -> tuple[_Asked | None, str | None]:
        try:
            scope, text = parse_subject(finding.subject, self._suffixes)
            kind = SubjectKind.FILE if scope == "file" else SubjectKind.URL
            target = target_list(block_list(kind, Threat.MALWARE, finding.risk), scope, text)
        except ValueError as error:
            return None, str(error)
        return _Asked(finding, scope, text, target), None


@dataclass(slots=True)
class _Books:
    """What is listed, what is kept, and what is published; the lists are replaced, never changed."""

    entries: list[ManualEntry]
    kept: list[KeptFinding]
    generation: Generation | None

    def why_not(self, asked: _Asked, guard: Guard) -> str | None:
        """Return why an entry for this may not be made; None when it may."""
        full_hash = manual_hash(asked.scope, asked.text)
        good = known_good_list(asked.list.kind).name
        if any(_same(each, asked) and each.state == "withdrawn" for each in self.kept):
            return "it was withdrawn here"
        if any(each.action == "except" and _same(each, asked) for each in self.entries):
            return "the operator excepted it"
        if (
            any(
                each.list == good and manual_hash(each.scope, each.text) == full_hash for each in self.entries
            )
            or (self.generation is not None and _holds(self.generation, good, full_hash))
            or full_hash in guard.roots
            or (asked.scope != "file" and len(guard.offsets(f"{asked.text}\n".encode())))
        ):
            return "it is known to be good"
        return None

    def place(
        self, asked: _Asked, made: KeptFinding, mode: FindingsMode, now: float
    ) -> tuple[Outcome, str | None]:
        """List a finding, let it wait, or count it once more."""
        listed = any(each.action == "list" and _same(each, asked) for each in self.entries)
        if listed or (self.generation and self.generation.table.has(manual_hash(asked.scope, asked.text))):
            return Outcome.KNOWN, None
        waiting = next((each for each in self.kept if _same(each, asked)), None)
        if mode == "auto" and self._may_list(made.address, now):
            self.entries = [*self.entries, _entry(made, next_id(self.entries), now)]
            if waiting is not None:
                self.kept = [each for each in self.kept if each is not waiting]
            return Outcome.LISTED, None
        if waiting is not None:
            again = replace(waiting, count=waiting.count + 1)
            self.kept = [again if each is waiting else each for each in self.kept]
            return Outcome.KNOWN, None
        if len(self.kept) >= MOST_KEPT:
            return Outcome.REFUSED, f"{MOST_KEPT} findings wait here already"
        counted = counted_address(made.address)
        if 2 * sum(counted_address(each.address) == counted for each in self.kept) >= MOST_KEPT:
            return Outcome.REFUSED, f"{MOST_KEPT // 2} findings of {made.address} wait here already"
        self.kept = [*self.kept, made]
        return Outcome.WAITING, None

    def _may_list(self, address: str, now: float) -> bool:
        """Return whether an agent at this address may have something listed without approval."""
        by_agents = [each for each in self.entries if each.by_agent]
        lately = [each for each in by_agents if now - HOUR_S < each.at <= now]
        counted = counted_address(address)
        of_address = sum(counted_address(_address_of(each)) == counted for each in lately)
        return len(by_agents) < MOST_LISTED and len(lately) < AUTO_PER_HOUR and 2 * of_address < AUTO_PER_HOUR


def _holds(generation: Generation, name: str, full_hash: bytes) -> bool:
    if name not in generation.lists:
        return False
    raw = generation.raw(name)
    rows = range(len(raw) // HASH_BYTES)
    at = bisect_left(rows, full_hash, key=lambda row: bytes(raw[row * HASH_BYTES : (row + 1) * HASH_BYTES]))
    return at < len(rows) and bytes(raw[at * HASH_BYTES : (at + 1) * HASH_BYTES]) == full_hash


def _same(known: KeptFinding | ManualEntry, asked: _Asked) -> bool:
    return (known.scope, known.text) == (asked.scope, asked.text)


def _kept(asked: _Asked, identity: str, agent: str, address: str, now: float) -> KeptFinding:
    return KeptFinding(
        id=identity,
        state="waiting",
        scope=asked.scope,
        text=asked.text,
        list=asked.list.name,
        name=asked.finding.name,
        engine=asked.finding.engine,
        agent=agent,
        address=address,
        at=now,
    )


def _entry(finding: KeptFinding, identity: str, now: float) -> ManualEntry:
    return ManualEntry(
        id=identity,
        action="list",
        scope=finding.scope,
        text=finding.text,
        list=finding.list,
        who=finding.who,
        at=now,
        reason=finding.reason,
    )


def _address_of(entry: ManualEntry) -> str:
    return entry.who.rpartition(" (")[2].rstrip(")")


def _of_entry(entry: ManualEntry, identity: str, state: FindingState) -> KeptFinding:
    engine, _, name = (entry.reason or "").partition(": ")
    agent = entry.who.removeprefix(BY_AGENT).rpartition(" (")[0]
    assert entry.list is not None
    return KeptFinding(
        id=identity,
        state=state,
        scope=entry.scope,
        text=entry.text,
        list=entry.list,
        name=name,
        engine=engine,
        agent=agent,
        address=_address_of(entry),
        at=entry.at,
    )


def _find(kept: Sequence[KeptFinding], identity: str) -> KeptFinding:
    for each in kept:
        if each.id == identity:
            return each
    raise LookupError(f"no finding is called {identity}")


def _meant(found: KeptFinding, identity: str, mark: str | None) -> KeptFinding:
    if mark not in (None, found.mark):
        raise LookupError(f"{identity} is another finding now")
    return found
