"""What goes on of a body that waits for its verdict, so that its client does not give up meanwhile.

A client that gets not a byte for 15 s (pip) or 30 s (apt) takes the origin for dead, whatever of the file is
here. So once nothing went on for `downloads.patience`, the headers and a few bytes a second do, from the
front of what is held: never more than a quarter of what came, never the end. Where it is blocked then, it is
cut as a streamed one is. What must be held whole (`hold: full`, HTTP/1.0 without a length) gives nothing.
"""

from secondlook.download.gate.gate_state import GateState, Hold, Small, Tail

EVERY_S = 1.0
STEP_BYTES = 4 << 10  # enough for clients that give up below 1000 bytes a second (dnf, git)
PART = 4  # one of so many bytes may go


def spare(held: int, given: int, kept: int) -> int:
    """Return how many of the bytes held may go on now, when so many have; the last `kept` never do."""
    return max(0, min(STEP_BYTES, (held + given) // PART - given, held - kept))


class Trickle:
    """What goes on of one body before its verdict.

    The last `kept` bytes never do. Of a held file of which a range is wanted (`window`: its first byte, and
    how many) only bytes of that range do.
    """

    __slots__ = ("_kept", "given", "window")

    def __init__(self, kept: int, window: tuple[int, int] | None) -> None:
        self.given = 0
        self.window = window
        self._kept = kept

    def spare(self, state: GateState) -> int:
        """Return how many bytes of what is held may go on now."""
        match state:
            case Small():
                return spare(_size(state) - self.given, self.given, 0)
            case Tail(spool=None) | Tail(copying=True):
                return spare(state.end_bytes, self.given, self._kept)
            case Hold(spool=None):
                return spare(_size(state) - self.given, self.given, self._kept)
            case Hold() | Tail():
                return spare(self._unread(state), self.given, self._kept)
            case _:
                return 0

    async def take(self, state: GateState) -> bytes:
        """Take as many bytes as are to spare; raise OSError when the disk fails."""
        count = self.spare(state)
        if not count:
            return b""
        if isinstance(state, Tail) and (state.spool is None or state.copying):
            data = state.take(count)
        elif state.spool is not None:
            if isinstance(state, Hold) and self.window is not None and not self.given:
                state.spool.skip(self.window[0])
            data = await state.spool.read(count)
        else:
            data = b"".join(chunk for held in state.memory for chunk in held)
            data = data[self.given : self.given + count]
        self.given += len(data)
        return data

    def _unread(self, state: Hold | Tail) -> int:
        """Return how much of the spool has not gone on, of what is wanted."""
        spool = state.spool
        if spool is None:
            return 0
        if self.window is None or isinstance(state, Tail):
            return spool.unread
        first, count = self.window
        return max(0, min(spool.size, first + count) - max(first, spool.size - spool.unread))


def _size(state: Small | Hold) -> int:
    return sum(map(len, state.chunks))
