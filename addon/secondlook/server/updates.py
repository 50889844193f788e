"""List updates: full, partial from any kept generation, cut to what the client can take.

What a client holds follows from its version (`wire.version`): a list as published, or, after a cut update,
the new list's entries below a bound and the old one's from there on. An update leads from there to a goal:

| client holds | goal | answer |
|---|---|---|
| the current list | none | "no change", with checksum |
| a list of a kept generation | current list | removals and additions |
| the middle of a cut update | the list it was cut from, then the current one | the rest of it |
| anything else | current list | full |

An answer cut by `maxUpdateEntries` names the bound in its version and has no waiting time, so that the
client asks on at once. `maxDatabaseEntries` cuts the goal itself.

numpy comes with the first answer, in the thread that makes it: `secondlook check` serves for a moment, and
only answers searches.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from secondlook.ground.errors import PatternError
from secondlook.server.publish.generation import Generation, PublishedList
from secondlook.wire import safebrowsing_pb2 as pb
from secondlook.wire.version import TAG_BYTES, ListVersion

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

ADDITIONS = {
    4: "additions_four_bytes",
    8: "additions_eight_bytes",
    16: "additions_sixteen_bytes",
    32: "additions_thirty_two_bytes",
}
type Column = npt.NDArray[Any]  # integers up to 8 bytes, byte strings above
type Kept = Mapping[str, Mapping[int, tuple[Generation, PublishedList]]]  # name -> since -> where


@dataclass(frozen=True, slots=True)
class Update:
    """A packed HashList message without its waiting time; with `more` the client should ask on at once."""

    packed: bytes
    kind: str  # full | partial | unchanged | empty
    more: bool = False


def keep(generations: list[Generation]) -> dict[str, dict[int, tuple[Generation, PublishedList]]]:
    """Index every distinct list of the kept generations by name and the generation it dates from."""
    kept: dict[str, dict[int, tuple[Generation, PublishedList]]] = {}
    for generation in generations:
        for name, entry in generation.lists.items():
            kept.setdefault(name, {})[entry.since] = (generation, entry)
    return kept


def empty_update(name: str) -> Update:
    """Return the answer for a public list that we do not fill: a full list of nothing, with a version."""
    nothing = hashlib.sha256().digest()
    version = ListVersion(name, 0, nothing[:TAG_BYTES]).encode()
    return Update(
        pb.HashList(name=name, version=version, sha256_checksum=nothing).SerializeToString(), "empty"
    )


def column(raw: memoryview | bytes, width: int) -> Column:
    """Return sorted entries as an array whose order and equality are theirs."""
    import numpy as np  # noqa: PLC0415

    if width <= 8:  # noqa: PLR2004 - what fits an integer
        return np.frombuffer(raw, dtype=f">u{width}").astype(f"u{width}")
    return np.frombuffer(raw, dtype=f"S{width}")


def raw_bytes(entries: Column, width: int) -> bytes:
    """Return an array of `column` as sorted entries again."""
    return entries.astype(f">u{width}" if width <= 8 else f"S{width}").tobytes()  # noqa: PLR2004


def difference(old: Column, new: Column) -> "tuple[npt.NDArray[np.int64], Column]":
    """Return the positions in `old` of what is gone, and what is new; both arrays ascend without repeats."""
    import numpy as np  # noqa: PLC0415

    both = np.concatenate([old, new])
    both.sort(kind="stable")  # merges two sorted runs in one pass
    alone = np.ones(len(both), dtype=np.bool_)
    same = both[1:] == both[:-1]
    alone[1:] &= ~same
    alone[:-1] &= ~same
    changed = both[alone]
    if not len(old):
        return np.empty(0, dtype=np.int64), changed
    at = np.searchsorted(old, changed)
    was = old[np.minimum(at, len(old) - 1)] == changed
    return at[was], changed[~was]


class Updater:
    """Answers about one list of the current generation, from the kept ones."""

    def __init__(self, kept: Kept, current: PublishedList) -> None:
        self._kept = kept.get(current.name, {})
        self._current = current
        self._width = current.facts.width

    def known(self, blob: bytes) -> bytes:
        """Return a version of what is kept here; of any other nothing: all such share one answer."""
        held = ListVersion.decode(blob)
        is_known = (
            held is not None
            and held.name == self._current.name
            and self._keeps(held.generation, held.tag)
            and (not held.base or self._keeps(held.base, held.base_tag))
            and len(held.bound) in {0, self._width}
        )
        return blob if is_known else b""

    def _keeps(self, since: int, tag: bytes) -> bool:
        found = self._kept.get(since)
        return found is not None and found[1].checksum[:TAG_BYTES] == tag

    def update(self, blob: bytes, max_update: int = 0, max_database: int = 0) -> Update:
        """Lead a client from the version it names to the current list; 0 means no limit."""
        held = ListVersion.decode(self.known(blob))
        if held is None:
            return self._full(max_update, max_database)
        if held.encode() == self._current.version and not 0 < max_database < self._current.count:
            return self._unchanged(blob, self._current.checksum)
        try:
            return self._lead(held, blob, max_update, max_database)
        except PatternError:  # publishing drops the oldest generation, of which a reader does not know yet
            return self._full(max_update, max_database)

    def _lead(self, held: ListVersion, blob: bytes, max_update: int, max_database: int) -> Update:
        entries = self._entries(held)
        if not held.whole:
            # Go on to the list that the update was cut from, as long as that one is kept.
            answer = self._towards(held, entries, held.generation, max_update, max_database)
            if answer is not None:
                return answer
        answer = self._towards(held, entries, self._current.since, max_update, max_database)
        if answer is not None:
            return answer
        checksum = hashlib.sha256(raw_bytes(entries, self._width)).digest()
        return self._unchanged(blob, checksum)

    def _load(self, since: int) -> Column:
        generation, _ = self._kept[since]
        try:
            return column(generation.raw(self._current.name), self._width)
        except OSError as error:
            raise PatternError(f"cannot read {self._current.name}: {error.strerror}") from error

    def _bound(self, blob: bytes) -> Any:
        return column(blob, self._width)[0]

    def _entries(self, held: ListVersion) -> Column:
        """Return what a client of a known version holds."""
        import numpy as np  # noqa: PLC0415

        new = self._load(held.generation)
        if held.whole:
            return new
        bound = self._bound(held.bound)
        below = new[: np.searchsorted(new, bound)]
        if not held.base:
            return below
        old = self._load(held.base)
        return np.concatenate([below, old[np.searchsorted(old, bound) :]])

    def _towards(
        self, held: ListVersion, entries: Column, goal: int, max_update: int, max_database: int
    ) -> Update | None:
        """Return the partial update to one goal; None when the client is there already."""
        import numpy as np  # noqa: PLC0415

        from secondlook.wire import rice  # noqa: PLC0415

        listed = self._kept[goal][1]
        new = self._load(goal)
        cap = b""
        if 0 < max_database < len(new):
            cap = raw_bytes(new[max_database : max_database + 1], self._width)
            new = new[:max_database]
        gone, added = difference(entries, new)
        changes = len(gone) + len(added)
        if not changes and goal != self._current.since:
            return None
        if not changes and held.bound == cap and held.generation == goal:
            return None
        if changes > len(new):
            return self._full(max_update, max_database)
        more = goal != self._current.since
        version = ListVersion(listed.name, goal, listed.checksum[:TAG_BYTES], bound=cap)
        if max_update and changes > max_update:
            going_on = held.generation == goal
            if not held.whole and not (going_on and (not held.base or not cap)):
                return self._full(max_update, max_database)  # a state that no version could name
            bound = np.sort(np.concatenate([entries[gone], added]))[max_update]
            gone, added = gone[entries[gone] < bound], added[added < bound]
            new = np.concatenate(
                [new[: np.searchsorted(new, bound)], entries[np.searchsorted(entries, bound) :]]
            )
            if 0 < max_database < len(new):  # as it is, too, where the bound lies beyond the goal's end
                return self._full(max_update, max_database)
            base, base_tag = (held.base, held.base_tag) if not held.whole else (held.generation, held.tag)
            version = ListVersion(
                listed.name,
                goal,
                listed.checksum[:TAG_BYTES],
                base,
                base_tag,
                raw_bytes(np.array([bound]), self._width),
            )
            more = True
        message = self._message(version.encode(), raw_bytes(new, self._width), partial=True)
        if len(added):
            self._add(message, raw_bytes(added, self._width))
        if len(gone):
            removals = rice.encode(gone.astype(">u4").tobytes(), 4)
            assert isinstance(removals, pb.RiceDeltaEncoded32Bit)
            message.compressed_removals.CopyFrom(removals)
        return Update(message.SerializeToString(), "partial", more)

    def _full(self, max_update: int, max_database: int) -> Update:
        new = self._load(self._current.since)
        limits = [limit for limit in (max_update, max_database) if 0 < limit < len(new)]
        bound = b""
        more = False
        if limits:
            bound = raw_bytes(new[min(limits) : min(limits) + 1], self._width)
            new = new[: min(limits)]
            more = min(limits) != max_database
        version = ListVersion(
            self._current.name, self._current.since, self._current.checksum[:TAG_BYTES], bound=bound
        )
        raw = raw_bytes(new, self._width)
        message = self._message(version.encode(), raw, partial=False)
        if raw:
            self._add(message, raw)
        return Update(message.SerializeToString(), "full", more)

    def _message(self, version: bytes, raw: bytes, *, partial: bool) -> pb.HashList:
        message = pb.HashList(
            name=self._current.name,
            version=version,
            partial_update=partial,
            sha256_checksum=hashlib.sha256(raw).digest(),
        )
        listed = next((entry for _, entry in self._kept.values() if entry.version == version), None)
        if listed is not None and listed.signature:
            message.signature = listed.signature
        return message

    def _add(self, message: pb.HashList, raw: bytes) -> None:
        from secondlook.wire import rice  # noqa: PLC0415

        getattr(message, ADDITIONS[self._width]).CopyFrom(rice.encode(raw, self._width))

    def _unchanged(self, version: bytes, checksum: bytes) -> Update:
        message = pb.HashList(
            name=self._current.name, version=version, partial_update=True, sha256_checksum=checksum
        )
        if version == self._current.version and self._current.signature:
            message.signature = self._current.signature
        return Update(message.SerializeToString(), "unchanged")
