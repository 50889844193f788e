"""A piece that is asked for before its file is judged, as its client waits for somebody else's fetch.

It costs its origin nothing more: it is the very piece that would be asked for afterwards, on the bounds of
blocks; of several ranges the piece that covers them all. What comes is held; a little goes on as of any held
body (`download/gate/trickle.py`), never the end. Once the file is judged, what is held is proved by its
blocks and goes on, or nothing more does.

Where the end of a file is wanted, whoever asks does not know on which block it begins: so much more is asked
for that a whole block is in it, and what comes before that block is dropped.
"""

from secondlook.download.body.ranges import SeveralRanges, Wanted, WantedRange, read_content_range
from secondlook.download.body.response_facts import ResponseFacts, coding_of, is_multipart
from secondlook.download.body.slicing import Slice
from secondlook.download.gate.trickle import spare
from secondlook.download.judged_files import BLOCK_BYTES, JudgedFile, Proof

HELD_MAX_BYTES = 1 << 20  # of one piece, before its origin is paused: a minute of what trickles


def has_a_place(wanted: Wanted | None) -> bool:
    """Return whether one piece can be asked for that has all that is wanted, whatever the size of the whole.

    The end and something that is counted from the beginning may lie anywhere to each other.
    """
    return wanted is not None and len({each.first is None for each in _ranges(wanted)}) == 1


class Ahead:
    """A piece as far as it came; `since` is when its client began to wait, `kept` how much never trickles."""

    def __init__(self, wanted: Wanted, since: float, kept: int) -> None:
        ranges = _ranges(wanted)
        lasts = [each.last for each in ranges if each.last is not None]
        firsts = [each.first for each in ranges if each.first is not None]
        open_end = len(lasts) < len(ranges)
        self._from_end = None if firsts else max(lasts) + BLOCK_BYTES - 1
        self.first = min(firsts) // BLOCK_BYTES * BLOCK_BYTES if firsts else 0
        self.last = None if open_end or not firsts else (max(lasts) // BLOCK_BYTES + 1) * BLOCK_BYTES - 1
        self.since = since
        self.given = 0  # bytes that went on, the heads of parts among them
        self.size: int | None = None  # of the whole, once the piece has begun
        self.begun = False  # its head came, and its body did not
        self.settled = False  # it is known what comes of it
        self.slice: Slice | None = None  # what is wanted of the piece
        self._kept = kept
        self._coding = ""
        self._held = bytearray()
        self._spent = 0  # bytes of the file that went on
        self._skip = 0  # bytes that come before the first block

    @property
    def header(self) -> str:
        """The Range to ask for."""
        if self._from_end is not None:
            return f"bytes=-{self._from_end}"
        return f"bytes={self.first}-{'' if self.last is None else self.last}"

    @property
    def full(self) -> bool:
        """Whether no more should come for now."""
        return len(self._held) >= HELD_MAX_BYTES

    def begin(self, facts: ResponseFacts, wanted: Wanted, length: int | None) -> bool:
        """Take the head of a 206; False where it is not the piece that was asked for."""
        piece = read_content_range(facts.content_range)
        if piece is None or piece.whole is None or is_multipart(facts):
            return False
        windows = wanted.windows(piece.whole)
        first = self.first if self._from_end is None else max(0, piece.whole - self._from_end)
        end = piece.whole if self.last is None else min(self.last + 1, piece.whole)
        if not windows or (piece.first, piece.last + 1) != (first, end) or length not in {None, end - first}:
            return False
        self.first = windows[0][0] // BLOCK_BYTES * BLOCK_BYTES
        self.size, self._skip, self.begun = piece.whole, self.first - first, True
        self.slice, self._coding = Slice(windows, piece.whole, facts.content_type), coding_of(facts)
        self.slice.at = self.first
        return True

    def past(self, data: bytes) -> bytes:
        """Return what of the next bytes does not come before the first block."""
        skipped, self._skip = self._skip, max(0, self._skip - len(data))
        return data[skipped:]

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        self._held += self.past(data)

    def trickle(self) -> bytes:
        """Take what may go on now."""
        part = self.slice
        assert part is not None
        end = self.first + len(self._held)
        came = sum(max(0, min(end - first, count)) for first, count in part.windows)
        more = spare(came - self._spent, self._spent, self._kept)
        if not more:
            return b""
        self._spent += more
        start, place = part.at - self.first, self._place(part, self._spent) - self.first
        data = part.feed(bytes(self._held[start:place]))
        self.given += len(data)
        return data

    @staticmethod
    def _place(part: Slice, wanted: int) -> int:
        """Return where in the file so many of the bytes that are wanted end."""
        for first, count in part.windows:
            if wanted <= count:
                return first + wanted
            wanted -= count
        return part.end

    def is_of(self, file: JudgedFile) -> bool:
        """Return whether its head is that of a piece of a file."""
        return (self.size, self._coding) == (file.size, file.coding)

    def fits(self, proof: Proof) -> bool:
        """Return whether all that a proof wants to see was asked for."""
        end = self.size if self.last is None else min(self.last + 1, self.size or 0)
        return (self.first, end) == (proof.first, proof.end)

    def drop(self) -> bytes:
        """Let go of what is held."""
        held = bytes(self._held)
        self._held.clear()
        return held


def _ranges(wanted: Wanted) -> tuple[WantedRange, ...]:
    return wanted.ranges if isinstance(wanted, SeveralRanges) else (wanted,)
