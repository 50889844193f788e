"""The pattern: the local signature data, a named set of hash lists, and what a hit in it means.

Stages 3, 4 and 5 of the query process. An instance is immutable: a new generation is a new instance.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import Final

from secondlook.core.answer import Tier
from secondlook.core.digest import FULL_HASH_BYTES, PREFIX_BYTES
from secondlook.core.lists.hashlist import HashList, hash_keys
from secondlook.core.lists.name import Role
from secondlook.core.subject import SubjectKind
from secondlook.core.verdict import SEVERITY, Risk, Threat

MIRROR_WIDTH: Final = 8  # bytes: a shorter entry cannot decide alone


@dataclass(frozen=True, slots=True, kw_only=True)
class ListInfo:
    """What is known about one list of the pattern.

    `complete`: the list holds all that its server knows of that kind, threat and risk. `source` is to
    be credited ("google" or the server's name). `confirmed_at` (Unix seconds) is when the server last
    confirmed that this generation is the one it serves.
    """

    name: str
    width: int
    role: Role
    kind: SubjectKind
    threat: Threat | None
    risk: Risk
    tier: Tier
    server: str
    source: str
    complete: bool = False
    trusted_allow: bool = False
    generation: str = ""
    confirmed_at: float = 0.0
    digest_kinds: tuple[str, ...] = ("sha256",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mirror:
    """How far the pattern stands in for a server (query process, "Mirrored lists need no query").

    `whole`: the pattern holds every list that the server serves. `announced`: the server reports it at
    once when it publishes (the embedded one), so that the generation in place is the one it serves.
    A remote one may stand in for `fresh_for_s` after `confirmed_at` (Unix seconds).
    """

    server: str
    tier: Tier
    whole: bool
    confirmed_at: float
    announced: bool = False
    fresh_for_s: float = 0.0

    def fresh(self, now: float, stale_after_s: float) -> bool:
        """Return whether the generation in place may be taken for the one that the server serves now."""
        age = now - self.confirmed_at
        if age > stale_after_s:
            return False
        # A clock that was set back makes the age negative: then nothing is known about freshness.
        return self.announced or 0 <= age < self.fresh_for_s


@dataclass(frozen=True, slots=True)
class PatternHit:
    """A full hash of a subject found in a list; `position` is its place among the subject's hashes."""

    info: ListInfo
    full_hash: bytes
    position: int


@dataclass(frozen=True, slots=True)
class _Shelf:
    """The lists for one kind of subject, block lists worst first, empty ones left out."""

    block: tuple[tuple[ListInfo, HashList], ...]
    query: tuple[tuple[ListInfo, HashList], ...]
    known_good: tuple[tuple[ListInfo, HashList], ...]


class Pattern:
    """A named set of hash lists and the servers that it mirrors."""

    def __init__(
        self,
        lists: Sequence[tuple[ListInfo, HashList]] = (),
        mirrors: Iterable[Mirror] = (),
        generation: str = "",
    ) -> None:
        self.lists = tuple(lists)
        self.mirrors = tuple(mirrors)
        self.generation = generation
        self._shelves = {kind: _shelf(kind, self.lists) for kind in SubjectKind}
        self._mirrored = {
            (mirror.tier, kind): mirror
            for mirror in self.mirrors
            for kind in SubjectKind
            if mirror.whole and self._holds_all(mirror, kind)
        }
        self.digest_kinds = frozenset(
            digest
            for info, table in self.lists
            if info.kind is SubjectKind.FILE and table.count
            for digest in info.digest_kinds
        )

    def _holds_all(self, mirror: Mirror, kind: SubjectKind) -> bool:
        """Return whether all threats of this kind on that server are here, in entries that decide alone."""
        own = [
            info
            for info, _ in self.lists
            if info.server == mirror.server
            and info.tier is mirror.tier
            and info.kind is kind
            and info.role is not Role.KNOWN_GOOD
        ]
        return all(info.complete and info.width >= MIRROR_WIDTH for info in own)

    def block_hit(
        self,
        kind: SubjectKind,
        hashes: Sequence[bytes],
        *,
        counts: Callable[[ListInfo], bool] | None = None,
    ) -> PatternHit | None:
        """The worst hit in the lists that decide alone (stage 3), the exact expression before wider ones.

        `counts` returns whether a list with a hit may decide now.
        """
        shelf = self._shelves[kind].block
        if not shelf:
            return None
        keys = hash_keys(hashes)
        for info, table in shelf:
            position = table.find(keys, hashes)
            if position >= 0 and (counts is None or counts(info)):
                return PatternHit(info, hashes[position], position)
        return None

    def query_hits(self, kind: SubjectKind, hashes: Sequence[bytes]) -> tuple[PatternHit, ...]:
        """Every hit in a list that is only a reason to ask (stage 4)."""
        shelf = self._shelves[kind].query
        if not shelf:
            return ()
        keys = hash_keys(hashes)
        return tuple(
            PatternHit(info, hashes[position], position)
            for info, table in shelf
            if table.find(keys, hashes) >= 0
            for position, full_hash in enumerate(hashes)
            if table.has(full_hash)
        )

    def known_good_hit(self, kind: SubjectKind, hashes: Sequence[bytes]) -> PatternHit | None:
        """A hit in the known-good lists of servers with `trusted_allow` (stage 5).

        `hashes` are those of the exact host only, and none for a host where anybody can publish; of a
        file only its SHA-256.
        """
        shelf = self._shelves[kind].known_good
        if not shelf or not hashes:
            return None
        keys = hash_keys(hashes)
        for info, table in shelf:
            position = table.find(keys, hashes)
            if position >= 0:
                return PatternHit(info, hashes[position], position)
        return None

    def covers(self, tier: Tier, kind: SubjectKind, now: float, *, stale_after_s: float = inf) -> bool:
        """Return whether the local answer is that tier's answer now, so that nobody needs to be asked.

        Never for longer than `stale_after_s` since the server last confirmed its generation.
        """
        mirror = self._mirrored.get((tier, kind))
        return mirror is not None and mirror.fresh(now, stale_after_s)

    def changed_tables(self, since: "Pattern | None") -> dict[tuple[Tier, SubjectKind], list[HashList]]:
        """The lists of what is bad, short ones too, that `since` had not, by tier and kind of subject."""
        before = set() if since is None else {id(table) for _, table in since.lists}
        found: dict[tuple[Tier, SubjectKind], list[HashList]] = {}
        for info, table in self.lists:
            if info.role is not Role.KNOWN_GOOD and table.count and id(table) not in before:
                found.setdefault((info.tier, info.kind), []).append(table)
        return found

    def answers_as(self, other: "Pattern", now: float) -> bool:
        """Return whether it answers as another does now, though it may be confirmed later than that."""

        def described(pattern: Pattern) -> list[tuple[int, ListInfo]]:
            return [(id(table), replace(info, confirmed_at=0.0)) for info, table in pattern.lists]

        return (
            self.generation == other.generation
            and described(self) == described(other)
            and all(
                self.covers(tier, kind, now) == other.covers(tier, kind, now)
                for tier in Tier
                for kind in SubjectKind
            )
        )

    def lists_hash(self, tier: Tier, kind: SubjectKind, full_hash: bytes) -> bool:
        """Return whether a deciding list of that tier holds a full hash."""
        return any(info.tier is tier and table.has(full_hash) for info, table in self._shelves[kind].block)


def _shelf(kind: SubjectKind, lists: Sequence[tuple[ListInfo, HashList]]) -> _Shelf:
    filled = [(info, table) for info, table in lists if info.kind is kind and table.count]
    return _Shelf(
        block=tuple(
            sorted(
                (pair for pair in filled if pair[0].role is Role.BLOCK and pair[0].width > PREFIX_BYTES),
                key=lambda pair: SEVERITY[pair[0].risk],
            )
        ),
        query=tuple(
            pair
            for pair in filled
            if pair[0].role is Role.QUERY or (pair[0].role is Role.BLOCK and pair[0].width == PREFIX_BYTES)
        ),
        known_good=tuple(
            pair
            for pair in filled
            if pair[0].role is Role.KNOWN_GOOD and pair[0].width == FULL_HASH_BYTES and pair[0].trusted_allow
        ),
    )
