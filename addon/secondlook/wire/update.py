"""A list update applied to what is held: removals first, then additions, then the checksum.

Nothing is taken on trust: whatever does not fit together is refused as a whole, and the caller keeps
the last good list (and asks for a full one, with no version, where a partial update was refused).

Refused are: an update for another list; removals in a full update; a partial update where nothing is
held; a removal beyond the end; an addition that is there already; entries of another width; a change
without a checksum; a checksum of another length or of other entries; malformed Rice data.
"""

from collections.abc import Buffer
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from secondlook.wire import rice
from secondlook.wire import safebrowsing_pb2 as pb
from secondlook.wire.fault import BadUpdate

ADDITIONS: Final = {
    4: "additions_four_bytes",
    8: "additions_eight_bytes",
    16: "additions_sixteen_bytes",
    32: "additions_thirty_two_bytes",
}
CHECKSUM_BYTES: Final = 32

type Column = NDArray[Any]  # machine integers up to 8 bytes of width, byte strings above


@dataclass(frozen=True, slots=True)
class AppliedUpdate:
    """The list after an update: sorted entries one after the other, and their SHA-256.

    `entries` is None when nothing changed. `removed` and `added` are counted against what was held, for a
    full list too.
    """

    entries: bytes | None
    checksum: bytes
    removed: int = 0
    added: int = 0


def apply_update(message: pb.HashList, name: str, width: int, held: Buffer | None) -> AppliedUpdate:
    """Apply an update of the list `name`; `held` is what we have, sorted entries of `width` bytes, or None.

    Raise BadUpdate.
    """
    if message.name != name:
        raise BadUpdate(f"an update for list {message.name[:80]!r} came for {name!r}")
    if len(message.sha256_checksum) not in (0, CHECKSUM_BYTES):
        raise BadUpdate(f"checksum of {len(message.sha256_checksum)} bytes in an update of {name}")
    additions = _additions(message, width)
    removals = _removals(message)
    if not message.partial_update:
        if removals is not None:
            raise BadUpdate(f"a full update of {name} has removals")
        return _full(message, width, held or b"", additions or b"")
    if held is None:
        raise BadUpdate(f"a partial update of {name} came where nothing is held")
    if additions is None and removals is None:
        return _unchanged(message, held)
    return _partial(message, width, held, removals, additions)


def _full(message: pb.HashList, width: int, held: Buffer, entries: bytes) -> AppliedUpdate:
    checked = _checked(message, entries)
    before, after = _column(held, width), _column(entries, width)
    places = np.searchsorted(before, after)
    inside = places < len(before)
    kept = int(np.count_nonzero(before[places[inside]] == after[inside]))
    return replace(checked, removed=len(before) - kept, added=len(after) - kept)


def _partial(
    message: pb.HashList, width: int, held: Buffer, removals: Column | None, additions: bytes | None
) -> AppliedUpdate:
    entries = _column(held, width)
    if removals is not None:
        if removals[-1] >= len(entries):
            raise BadUpdate(f"an update of {message.name} removes entry {removals[-1]} of {len(entries)}")
        entries = np.delete(entries, removals)
    added = 0
    if additions is not None:
        new = _column(additions, width)
        added = len(new)
        places = np.searchsorted(entries, new)
        inside = places < len(entries)
        if np.any(entries[places[inside]] == new[inside]):
            raise BadUpdate(f"an update of {message.name} adds an entry that is there already")
        entries = np.insert(entries, places, new)
    removed = 0 if removals is None else len(removals)
    return _checked(message, _bytes(entries, width), removed=removed, added=added)


def _additions(message: pb.HashList, width: int) -> bytes | None:
    field = message.WhichOneof("compressed_additions")
    if field is None:
        return None
    if field != ADDITIONS.get(width):
        raise BadUpdate(f"{field} in an update of {message.name}, whose entries have {width} bytes")
    return rice.decode(getattr(message, field))


def _removals(message: pb.HashList) -> Column | None:
    if not message.HasField("compressed_removals"):
        return None
    return np.frombuffer(rice.decode(message.compressed_removals), dtype=">u4").astype(np.int64)


def _unchanged(message: pb.HashList, held: Buffer) -> AppliedUpdate:
    checksum = sha256(held).digest()
    if message.sha256_checksum not in (b"", checksum):
        raise BadUpdate(f"the server's {message.name} is not the one held, though it reports no change")
    return AppliedUpdate(None, checksum)


def _checked(message: pb.HashList, entries: bytes, *, removed: int = 0, added: int = 0) -> AppliedUpdate:
    if not message.sha256_checksum:
        raise BadUpdate(f"an update of {message.name} has no checksum")
    checksum = sha256(entries).digest()
    if checksum != message.sha256_checksum:
        raise BadUpdate(f"{message.name} does not match its checksum after the update")
    return AppliedUpdate(entries, checksum, removed, added)


def _column(entries: Buffer, width: int) -> Column:
    if width <= 8:  # noqa: PLR2004 (bytes of a machine integer)
        return np.frombuffer(entries, dtype=f">u{width}").astype(f"<u{width}")
    return np.frombuffer(entries, dtype=f"S{width}")


def _bytes(entries: Column, width: int) -> bytes:
    return (entries.astype(f">u{width}") if width <= 8 else entries).tobytes()  # noqa: PLR2004 (as above)
