"""The states of a body gate: what each of them holds of the body, and where."""

from collections import deque
from dataclasses import dataclass, field
from enum import StrEnum
from typing import ClassVar, Final, Protocol

from secondlook.download.body.inspection import BodyLook
from secondlook.download.body.signatures import READ_ARCHIVES
from secondlook.download.gate.spool import PIECE_BYTES, Spool, SpoolRoom

TAIL_MEMORY_BYTES: Final = 16 << 20  # of a tail that waits in memory: without a length, or without a disk
LAST_MEMORY_BYTES: Final = 1 << 20  # of the last bytes received, which always wait in memory
_TOO_LARGE_TO_LOOK = "larger than downloads.archives.max_bytes"
_TOO_LARGE_TO_SCAN = "larger than scan.yara.max_bytes"


class Fate(StrEnum):
    """What becomes of a body: the names of the gate's states."""

    SNIFF = "sniff"
    PASS = "pass"  # noqa: S105 - no password
    SMALL = "small"
    HOLD = "hold"
    TAIL = "tail"
    ASK = "ask"  # a risky piece: settled before anything of it goes on
    REFUSE = "refuse"  # must be held whole and cannot be: settled before anything of it goes on


@dataclass(frozen=True, slots=True)
class GateLimits:
    """The numbers of `downloads` that a gate needs."""

    hold_up_to: int
    hold_full: bool
    tail_min: int
    tail_part: float
    local_up_to: int
    sniff: int
    ratio: int
    layers: int
    look_up_to: int  # archives beyond it are not kept to be looked into
    copy_up_to: int = 0  # nor other files beyond this


class Tap(Protocol):
    """What looks into a risky body as it comes, such as an engine; `feed` neither waits nor is waited for."""

    @property
    def congested(self) -> bool:
        """Return whether it is behind."""

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""

    async def settle(self) -> None:
        """Wait until it is not far behind."""

    def close(self) -> None:
        """Forget the body."""


class State:
    """What all states have, for those that hold nothing of the kind."""

    __slots__ = ()
    fate: ClassVar[Fate]
    spool: Spool | None = None  # what is in it goes on before what is in memory
    uncopied: str | None = None  # why there is no copy of an archive to be looked into
    releasing: bool = False  # what is in the spool goes on now, before anything that `feed` gave

    @property
    def memory(self) -> tuple[deque[bytes], ...]:
        """What is held in memory, in the order in which it goes on."""
        return ()


class Pass(State):
    """Nothing is held."""

    __slots__ = ()
    fate = Fate.PASS


@dataclass(slots=True, kw_only=True)
class Collected(State):
    """All that came waits in memory."""

    chunks: deque[bytes] = field(default_factory=deque)

    @property
    def memory(self) -> tuple[deque[bytes], ...]:
        """What is held in memory."""
        return (self.chunks,)


class Sniff(Collected):
    """The first bytes wait for what they begin like."""

    __slots__ = ()
    fate = Fate.SNIFF


class Small(Collected):
    """A small harmless body is collected."""

    __slots__ = ()
    fate = Fate.SMALL


class Ask(Collected):
    """A risky piece waits to be settled."""

    __slots__ = ()
    fate = Fate.ASK


@dataclass(slots=True, kw_only=True)
class Refuse(Collected):
    """A body that must be held whole and cannot be waits to be settled."""

    fate: ClassVar[Fate] = Fate.REFUSE
    why: str
    spool: Spool | None = None


@dataclass(slots=True, kw_only=True)
class Hold(Collected):
    """All that came waits in the spool; in memory where the disk took nothing of a small body."""

    fate: ClassVar[Fate] = Fate.HOLD
    spool: Spool | None
    uncopied: str | None = None


class Tail(State):
    """The body goes on but for its end.

    What is withheld, in its order: the end of a declared length in the spool, as far as it is there; the rest
    of that end in memory; the last bytes received, always in memory. While `copying` the spool holds all that
    came, to be looked into, and nothing is withheld there.
    """

    __slots__ = ("_end", "_last", "_last_bytes", "_late", "_length", "_limits", "_room", "copying",
                 "in_memory", "releasing", "spool", "uncopied")  # fmt: skip
    fate = Fate.TAIL

    def __init__(self, length: int | None, limits: GateLimits, room: SpoolRoom) -> None:
        self.spool: Spool | None = None
        self.copying = False
        self.uncopied: str | None = None
        self.releasing = False
        self._late = b""  # what goes into the copy once the spool is read empty
        self.in_memory = False  # no more of the end goes into the spool
        self._length = length
        self._limits = limits
        self._room = room
        self._end: deque[bytes] = deque()
        self._last: deque[bytes] = deque()
        self._last_bytes = 0

    @property
    def memory(self) -> tuple[deque[bytes], ...]:
        """What is withheld in memory."""
        return self._end, self._last

    def has_all(self, size: int) -> bool:
        """Return whether nothing of a body of `size` bytes has gone on, and none of it is in the spool."""
        return self._last_bytes == size and self.spool is None

    @property
    def end_bytes(self) -> int:
        """How much of the end of a declared length waits in memory."""
        return sum(map(len, self._end))

    def take(self, count: int) -> bytes:
        """Take at most `count` bytes from the front of the end in memory, which must not be empty."""
        data = self._end.popleft()
        if len(data) > count:
            self._end.appendleft(data[count:])
            data = data[:count]
        return data

    def take_piece(self) -> bytes:
        """Take the next chunks of what is withheld in memory, `PIECE_BYTES` or little more."""
        chunks: list[bytes] = []
        taken = 0
        for held in self.memory:
            while held and taken < PIECE_BYTES:
                chunks.append(held.popleft())
                taken += len(chunks[-1])
        return b"".join(chunks)

    def choose_copy(self, size: int) -> None:
        """Begin a copy of a body of so many bytes, as far as is known, unless it is too large for one."""
        look, copy = self._limits.look_up_to, self._limits.copy_up_to
        if max(look, copy) < size:
            self.uncopied = _TOO_LARGE_TO_SCAN if copy > look else _TOO_LARGE_TO_LOOK
        else:
            self.copying = self.in_memory = True  # the spool holds the copy, the end waits in memory

    def take_over(self, spool: Spool, data: bytes, look: BodyLook) -> bytes:
        """Release what was held whole so far; return what goes on of `data` after it."""
        if not spool.size:
            self.spool = spool if self.copying else None
            return self.feed(data, look)
        self.spool, self.releasing, self._late = spool, True, data
        return self._withhold(data, look)

    def released(self, look: BodyLook) -> None:
        """Note that what was held in the spool has gone on."""
        self.releasing = False
        late, self._late = self._late, b""
        if self.copying:
            self._copy(late, look)
        else:
            self._free()

    def feed(self, data: bytes, look: BodyLook) -> bytes:
        """Take the next bytes, which `look` has seen; return what goes on in their place."""
        if self.copying:
            self._copy(data, look)
        return self._withhold(data, look)

    def _copy(self, data: bytes, look: BodyLook) -> None:
        """Keep a copy of what may be an archive, as long as it may be one and there is room."""
        if look.signature is None:
            look.judge()
        archive = not look.settled or look.signature in READ_ARCHIVES
        most = max(self._limits.look_up_to if archive else 0, self._limits.copy_up_to)
        if not most:
            self.in_memory = bool(self._end)  # more of the end on disk would overtake what is in memory
            self._stop_copying(None)
        elif look.size > most:
            self._stop_copying(_TOO_LARGE_TO_LOOK if archive else _TOO_LARGE_TO_SCAN)
        elif (why := self._store(data)) is not None:
            self._stop_copying(why)
        elif self.spool is not None:
            self.spool.skip(len(data))

    def _stop_copying(self, why: str | None) -> None:
        self.copying, self.uncopied = False, why
        self._free()

    def _store(self, data: bytes) -> str | None:
        """Put bytes into the spool; return why it took none of them."""
        if self.spool is None:
            self.spool = Spool(self._room)
        return self.spool.offer(data)

    def _free(self) -> None:
        if self.spool is not None:
            self.spool.close()
            self.spool = None

    def _withhold(self, data: bytes, look: BodyLook) -> bytes:
        """Withhold the end of what came, `data` last; return what goes on in its place."""
        last = self._last
        last.append(data)
        self._last_bytes += len(data)
        spare = self._last_bytes - self._last_size(look)
        out: list[bytes] = []
        while spare > 0:
            chunk = last.popleft()
            if len(chunk) > spare:
                last.appendleft(chunk[spare:])
                chunk = chunk[:spare]
            out.append(chunk)
            spare -= len(chunk)
            self._last_bytes -= len(chunk)
        data = b"".join(out)
        if self._length is None:
            return data
        return self._but_end(self._length, data, look.size - self._last_bytes - len(data))

    def _but_end(self, length: int, data: bytes, start: int) -> bytes:
        """Withhold what of the bytes from `start` on belongs to the end of a declared length."""
        passing = max(0, min(len(data), length - self._end_size(length) - start))
        rest = data[passing:]
        if not rest or (not self.in_memory and self._store(rest) is None):
            return data[:passing]
        if not self.in_memory:
            self.in_memory = True
            if length - self._end_size(length) > start:  # less fits into memory: what is on disk goes on
                self.releasing = self.spool is not None
                passing = max(0, min(len(data), length - self._end_size(length) - start))
        self._end.append(data[passing:])
        return data[:passing]

    def _last_size(self, look: BodyLook) -> int:
        if not look.risky:
            return self._limits.tail_min
        most = TAIL_MEMORY_BYTES if self._length is None else LAST_MEMORY_BYTES
        return min(most, max(self._limits.tail_min, int(look.size * self._limits.tail_part)))

    def _end_size(self, length: int) -> int:
        most = TAIL_MEMORY_BYTES if self.in_memory else length
        return min(most, max(self._limits.tail_min, int(length * self._limits.tail_part)))


type GateState = Pass | Sniff | Small | Ask | Refuse | Hold | Tail
