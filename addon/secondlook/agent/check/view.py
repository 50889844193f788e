"""What a check looks at without waiting: immutable snapshots, swapped whole.

```
ledger ──► watcher ──► LocalView.replace(rulebook=…, confirmed=…, pauses=…)
pattern files ──► watcher ──► LocalView.replace(pattern=…)
a positive answer ──► LocalView.learn(entry)   at once, before the ledger has it
```

A check reads `view.current` once and works on that snapshot to its end.
"""

import bisect
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from secondlook.agent.check.groups import Policies
from secondlook.core.answer import GOOGLE, GOOGLE_FRESH_S
from secondlook.core.event import ConfirmedEntry
from secondlook.core.lists.confirmed import ConfirmedSet, is_worse
from secondlook.core.lists.name import Role
from secondlook.core.lists.pattern import ListInfo, Pattern, PatternHit
from secondlook.core.rules.rule import SET_BACK_S, Pause
from secondlook.core.rules.rulebook import RuleBook
from secondlook.core.subject import SubjectKind

REBLOCK = "reblock"  # source of a confirmed entry that merely follows a bad file; ends by itself


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One state of everything local; `serial` differs in every snapshot of a process."""

    rulebook: RuleBook
    confirmed: ConfirmedSet
    passing: ConfirmedSet  # confirmed entries that stop blocking by time alone
    pauses: tuple[Pause, ...]
    pattern: Pattern
    policies: Policies
    learned: dict[bytes, ConfirmedEntry]  # by listed hash: found here, not yet read back from the ledger
    serial: int
    boundaries: tuple[float, ...]  # instants (Unix seconds, sorted) at which time alone changes an answer
    personal: bool  # whether clients can get different answers
    known_good: bool  # whether any list of known-good entries is there at all

    def next_boundary(self, now: float) -> float | None:
        """First instant after `now` at which time alone changes an answer; None: none is known."""
        index = bisect.bisect_right(self.boundaries, now)
        return self.boundaries[index] if index < len(self.boundaries) else None

    def known_bad(
        self,
        hashes: Sequence[bytes],
        now: float,
        *,
        counts: Callable[[ConfirmedEntry], bool] | None = None,
    ) -> ConfirmedEntry | None:
        """Find the worst confirmed entry about these hashes that may block now.

        `counts` returns whether an entry that is not a lasting one of the ledger's is looked at.
        """
        worst = self.confirmed.find(hashes)
        others = self.passing.about(hashes)
        if self.learned:
            others += [self.learned[full_hash] for full_hash in hashes if full_hash in self.learned]
        for entry in others:
            if is_worse(entry, worst) and in_force(entry, now) and (counts is None or counts(entry)):
                worst = entry
        return worst

    def listed(self, kind: SubjectKind, hashes: Sequence[bytes], now: float) -> PatternHit | None:
        """Find the worst hit in the lists that decide alone; Google's count only while they are fresh."""
        hit = self.pattern.block_hit(kind, hashes)
        if hit is None or _decides(hit.info, now):
            return hit
        return self.pattern.block_hit(kind, hashes, counts=lambda info: _decides(info, now))


def _decides(info: ListInfo, now: float) -> bool:
    # confirmed in the future, before the clock was set back: nobody knows when
    return info.source != GOOGLE or -SET_BACK_S <= now - info.confirmed_at <= GOOGLE_FRESH_S


def in_force(entry: ConfirmedEntry, now: float) -> bool:
    """Return whether a confirmed entry may block: a re-block ends by itself, Google's data must be fresh."""
    if entry.source == REBLOCK:
        # one from the future was made before the clock was set back: it would last too long
        return entry.confirmed_at - SET_BACK_S <= now and (entry.expires_at is None or now < entry.expires_at)
    if entry.source == GOOGLE:
        return now < max(entry.expires_at or 0.0, entry.confirmed_at + GOOGLE_FRESH_S)
    return True


class LocalView:
    """Holds the current snapshot; every change builds a new one and swaps it in."""

    def __init__(self, policies: Policies) -> None:
        self._stored: dict[bytes, int] = {}
        self._commits = 0
        lasting, passing = _split(())
        self.current = _complete(
            Snapshot(
                rulebook=RuleBook(()),
                confirmed=lasting,
                passing=passing,
                pauses=(),
                pattern=Pattern(()),
                policies=policies,
                learned={},
                serial=0,
                boundaries=(),
                personal=False,
                known_good=False,
            )
        )

    def replace(
        self,
        *,
        rulebook: RuleBook | None = None,
        confirmed: Iterable[ConfirmedEntry] | None = None,
        pauses: Iterable[Pause] | None = None,
        pattern: Pattern | None = None,
        policies: Policies | None = None,
        read_mark: int | None = None,
    ) -> Snapshot:
        """Swap in what is given and keep the rest.

        `read_mark` is what `reading` returned before `confirmed` was read.
        """
        old = self.current
        learned = old.learned
        if confirmed is not None and learned and read_mark is not None:
            # about what it had stored when it was read, the ledger knows better: present or withdrawn
            settled = {hit for hit, number in self._stored.items() if number <= read_mark}
            learned = {hit: entry for hit, entry in learned.items() if hit not in settled}
            self._stored = {hit: number for hit, number in self._stored.items() if hit not in settled}
        lasting, passing = (old.confirmed, old.passing) if confirmed is None else _split(confirmed)
        self.current = _complete(
            replace(
                old,
                rulebook=rulebook if rulebook is not None else old.rulebook,
                confirmed=lasting,
                passing=passing,
                pauses=tuple(pauses) if pauses is not None else old.pauses,
                pattern=pattern if pattern is not None else old.pattern,
                policies=policies if policies is not None else old.policies,
                learned=learned,
            )
        )
        return self.current

    def reading(self) -> int:
        """Note that the confirmed set is about to be read from the ledger."""
        return self._commits

    def learn(self, entry: ConfirmedEntry) -> None:
        """Put a finding of this process in force at once."""
        self._stored.pop(entry.hit, None)
        self._swap_learned({**self.current.learned, entry.hit: entry})

    def stored(self, hit: bytes) -> None:
        """Note that the ledger has committed a finding: its next snapshot decides about it."""
        if hit in self.current.learned:
            self._commits += 1
            self._stored[hit] = self._commits

    def forget(self, hits: Iterable[bytes]) -> None:
        """Drop findings that no longer hold (withdrawn, or expired and never stored)."""
        gone = set(hits)
        kept = {hit: entry for hit, entry in self.current.learned.items() if hit not in gone}
        if len(kept) != len(self.current.learned):
            self._swap_learned(kept)

    def _swap_learned(self, learned: dict[bytes, ConfirmedEntry]) -> None:
        self.current = _complete(replace(self.current, learned=learned))


def _split(entries: Iterable[ConfirmedEntry]) -> tuple[ConfirmedSet, ConfirmedSet]:
    lasting: list[ConfirmedEntry] = []
    passing: list[ConfirmedEntry] = []
    for entry in entries:
        (passing if entry.source in (REBLOCK, GOOGLE) else lasting).append(entry)
    return ConfirmedSet(lasting), ConfirmedSet(passing)


def _complete(snapshot: Snapshot) -> Snapshot:
    boundaries: set[float] = set()
    for rule in snapshot.rulebook.rules:
        if rule.expires is not None:
            boundaries.update((rule.created - SET_BACK_S, rule.expires))
    for pause in snapshot.pauses:
        boundaries.update((pause.created, pause.until))
    for entry in (*snapshot.passing, *snapshot.learned.values()):
        if entry.source in (REBLOCK, GOOGLE):
            boundaries.update(
                (
                    entry.confirmed_at - SET_BACK_S,
                    entry.expires_at or 0.0,
                    entry.confirmed_at + GOOGLE_FRESH_S,
                )
            )
    for info, _ in snapshot.pattern.lists:
        if info.source == GOOGLE:
            boundaries.update((info.confirmed_at - SET_BACK_S, info.confirmed_at + GOOGLE_FRESH_S))
    for mirror in snapshot.pattern.mirrors:
        boundaries.add(mirror.confirmed_at + mirror.fresh_for_s)
    personal = (
        snapshot.policies.grouped
        or any(rule.client is not None for rule in snapshot.rulebook.rules)
        or any(pause.client is not None for pause in snapshot.pauses)
    )
    return replace(
        snapshot,
        serial=snapshot.serial + 1,
        boundaries=tuple(sorted(boundaries)),
        personal=personal,
        known_good=any(
            info.role is Role.KNOWN_GOOD and table.count > 0 for info, table in snapshot.pattern.lists
        ),
    )
