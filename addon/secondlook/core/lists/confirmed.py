"""The confirmed set: subjects that a recheck or an answer found malicious (stage 2)."""

from collections.abc import Iterable, Iterator, Sequence

from secondlook.core.event import ConfirmedEntry
from secondlook.core.verdict import SEVERITY, Risk


class ConfirmedSet:
    """Confirmed entries, found by the full hash that is listed.

    A listed expression stands for every URL under it, so one entry blocks them all. An entry past its
    expiry stays in force: it is asked about again then, and only a withdrawal ends it.
    """

    __slots__ = ("_by_hit", "_by_identity", "_milder")

    def __init__(self, entries: Iterable[ConfirmedEntry] = ()) -> None:
        self._by_identity = {entry.identity: entry for entry in entries}
        self._by_hit: dict[bytes, ConfirmedEntry] = {}  # the worst of each hit
        self._milder: dict[bytes, list[ConfirmedEntry]] = {}  # and the others, mostly none
        for entry in self._by_identity.values():
            other = self._by_hit.setdefault(entry.hit, entry)
            if other is not entry:
                worse, milder = (entry, other) if is_worse(entry, other) else (other, entry)
                self._by_hit[entry.hit] = worse
                self._milder.setdefault(entry.hit, []).append(milder)

    def __len__(self) -> int:
        return len(self._by_identity)

    def __iter__(self) -> Iterator[ConfirmedEntry]:
        return iter(self._by_identity.values())

    def find(self, hashes: Sequence[bytes]) -> ConfirmedEntry | None:
        """The worst entry whose listed hash is among a subject's hashes, or None."""
        by_hit = self._by_hit
        if not by_hit:
            return None
        found: ConfirmedEntry | None = None
        for full_hash in hashes:
            entry = by_hit.get(full_hash)
            if entry is not None and is_worse(entry, found):
                found = entry
        return found

    def about(self, hashes: Sequence[bytes]) -> list[ConfirmedEntry]:
        """Every entry whose listed hash is among a subject's hashes."""
        by_hit = self._by_hit
        if not by_hit:
            return []
        return [
            entry
            for full_hash in hashes
            if full_hash in by_hit
            for entry in (by_hit[full_hash], *self._milder.get(full_hash, ()))
        ]


def is_worse(entry: ConfirmedEntry, other: ConfirmedEntry | None) -> bool:
    """Return whether an entry is worse than another; anything is worse than none."""
    return other is None or _severity(entry) < _severity(other)


def _severity(entry: ConfirmedEntry) -> int:
    """Worst first; a risk that a later version wrote counts as the worst."""
    try:
        return SEVERITY[Risk(entry.risk)]
    except ValueError:
        return 0
