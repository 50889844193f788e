"""A piece that is asked for before its file is judged, as its client waits for somebody else's fetch.

It costs its origin nothing more: it is the very piece that would be asked for afterwards, on the bounds of
blocks. What comes is held; a little goes on as of any held body (`download/gate/trickle.py`), never the end.
Once the file is judged, what is held is proved by its blocks and goes on, or nothing more does.
"""

from collections.abc import Sequence

from secondlook.download.body.ranges import Piece, WantedRange
from secondlook.download.gate.trickle import spare
from secondlook.download.judged_files import BLOCK_BYTES, Proof

HELD_MAX_BYTES = 1 << 20  # of one piece, before its origin is paused: a minute of what trickles


class Ahead:
    """A piece as far as it came; `since` is when its client began to wait, `kept` how much never trickles."""

    def __init__(self, wanted: WantedRange, since: float, kept: int) -> None:
        assert wanted.first is not None
        self.first = wanted.first // BLOCK_BYTES * BLOCK_BYTES
        self.last = None if wanted.last is None else (wanted.last // BLOCK_BYTES + 1) * BLOCK_BYTES - 1
        self.since = since
        self.given = 0
        self.size: int | None = None  # of the whole, once the piece has begun
        self.begun = False  # its head came, and its body did not
        self.settled = False  # it is known what comes of it
        self._kept = kept
        self._held = bytearray()
        self._window = (0, 0)

    @property
    def header(self) -> str:
        """The Range to ask for."""
        return f"bytes={self.first}-{'' if self.last is None else self.last}"

    @property
    def full(self) -> bool:
        """Whether no more should come for now."""
        return len(self._held) >= HELD_MAX_BYTES

    def begin(self, piece: Piece | None, windows: Sequence[tuple[int, int]], length: int | None) -> bool:
        """Take the head of a 206; False where it is not the piece that was asked for."""
        if piece is None or piece.whole is None or not windows or piece.first != self.first:
            return False
        end = piece.whole if self.last is None else min(self.last + 1, piece.whole)
        if piece.last + 1 != end or length not in {None, end - self.first}:
            return False
        self.size, self._window, self.begun = piece.whole, windows[0], True
        return True

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        self._held += data

    def trickle(self) -> bytes:
        """Take what may go on now."""
        first, count = self._window
        start = first - self.first
        came = max(0, min(len(self._held) - start, count))
        more = spare(came - self.given, self.given, self._kept)
        start += self.given
        self.given += more
        return bytes(self._held[start : start + more])

    def fits(self, proof: Proof) -> bool:
        """Return whether all that a proof wants to see was asked for."""
        end = self.size if self.last is None else min(self.last + 1, self.size or 0)
        return (self.first, end) == (proof.first, proof.end)

    def drop(self) -> bytes:
        """Let go of what is held."""
        held = bytes(self._held)
        self._held.clear()
        return held
