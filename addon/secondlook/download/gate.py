"""What becomes of one response body: sans-io, bytes in, bytes that may go on out.

```
            ┌─ harmless and live, large or of unknown length ────► PASS   on at once, judged at the end
headers ─►  ├─ harmless, known length ≤ local_up_to ─────────────► SMALL  collected, judged, sent
first bytes ├─ risky, ≤ hold_up_to, or hold: full ───────────────► HOLD   spooled, judged, sent
            └─ risky, larger; saved as a file, but media ────────► TAIL   on but for its tail
```

A body whose headers say nothing risky is SNIFFED: its first bytes (of the decoded form) wait only while they
may still be the beginning of a dangerous signature, so the first piece nearly always decides. HOLD of
unknown length turns into TAIL once it is longer than may be held, or REFUSE where it must be held. Of an
archive that goes out as TAIL the spool keeps all of it, to be looked into before its tail goes.
What waits as the tail are the last bytes received, and of a declared length its end: a length may be a lie.
Nothing here waits or decides.
"""

from collections import deque
from dataclasses import dataclass
from enum import StrEnum
from typing import assert_never

from secondlook.core.subject import FileSubject
from secondlook.download.body_type import Declared
from secondlook.download.inspection import BodyLook
from secondlook.download.signatures import READ_ARCHIVES, UNREAD_ARCHIVES
from secondlook.download.spool import BACKLOG_MAX_BYTES, PIECE_BYTES, Spool, SpoolFullError, SpoolRoom
from secondlook.download.trickle import spare

TAIL_MEMORY_BYTES = 16 << 20  # of a tail that waits in memory: without a length, or without a disk
LAST_MEMORY_BYTES = 1 << 20  # of the last bytes received, which wait in memory whatever length is declared


class Fate(StrEnum):
    """What becomes of a body."""

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


class BodyGate:
    """One body on its way through.

    `length` is what the headers declare, None when they do not. `open` tells that bytes may have gone on, so
    the headers must have; `release` that what is held goes on next, before anything `feed` gave; `released`
    wants to be told when it has. `hold_whole`: nothing risky goes on before it is whole; `hold_if_room`: that
    would be better.
    """

    def __init__(
        self,
        said: Declared,
        length: int | None,
        encoding: str | None,
        limits: GateLimits,
        room: SpoolRoom,
        *,
        kinds: frozenset[str],
        hold_whole: bool,
        hold_if_room: bool = False,
        partial: bool = False,
        from_start: bool = True,
        multipart: bool = False,
    ) -> None:
        self.length = length
        self.whole = True
        self.partial = partial
        self.spool: Spool | None = None
        self.release = False
        self.window: tuple[int, int] | None = None  # first byte and count of a range that is wanted of it
        self.uncopied: str | None = None  # why there is no copy of an archive to be looked into
        self._unheld: str | None = None
        self._limits = limits
        self._room = room
        self._from_start = from_start
        self._multipart = multipart
        self._must_hold = hold_whole or limits.hold_full
        self._hold_whole = self._must_hold or hold_if_room
        self._waiting: list[bytes] = []
        self._tail: deque[bytes] = deque()  # the end of a declared length, where it is not in the spool
        self._last: deque[bytes] = deque()  # the last bytes received
        self._last_bytes = 0
        self._diskless = False  # the tail waits in memory
        self._copying = False  # the spool keeps all, to be looked into
        self._trickled = 0  # of what is held, to keep its client waiting
        self._late = b""  # what goes into the copy once the spool is read empty
        self._look = BodyLook(
            said,
            encoding,
            kinds=kinds,
            ratio=limits.ratio,
            layers=limits.layers,
            multipart=self._multipart,
            piece=partial,
        )
        self.fate = self._first_fate()
        if self.fate is Fate.PASS:
            self._look.let_go()

    @property
    def size(self) -> int:
        """Bytes so far."""
        return self._look.size

    @property
    def risky(self) -> bool:
        """Whether it can hurt, by what is known so far."""
        return self._look.risky

    @property
    def unshown(self) -> bool:
        """Whether it is risky for no more than being nothing that a browser shows; its pieces are not."""
        return self._look.unshown

    @property
    def signature(self) -> str | None:
        """The dangerous format that it begins like."""
        return self._look.signature

    @property
    def encodings(self) -> tuple[str, ...]:
        """How the bytes are encoded, outermost first."""
        return self._look.encodings

    @property
    def problem(self) -> str | None:
        """Why it could not be held or looked into."""
        if self._unheld is not None or not self.whole:
            return self._unheld
        if self.signature in UNREAD_ARCHIVES and self._limits.look_up_to:
            return f"archive: {self.signature} is a kind that is not looked into"
        return self._look.problem

    @property
    def open(self) -> bool:
        """Whether bytes of the body may go on before its end, so that its headers go at once."""
        live = self._look.declared.live and not self.partial
        return self.fate in {Fate.PASS, Fate.TAIL} or (live and self.fate is Fate.SNIFF)

    @property
    def unsettled(self) -> bool:
        """Whether it must be settled before anything goes on, whole or not."""
        return self.fate in {Fate.ASK, Fate.REFUSE}

    @property
    def unclear(self) -> bool:
        """Whether all of a piece is too little to tell what the whole begins like."""
        return self.partial and self.fate is Fate.SNIFF and self._look.undecided()

    @property
    def is_archive(self) -> bool:
        """Whether a body (known whole) is an archive of a kind that can be looked into."""
        if not self.whole or self.fate not in {Fate.HOLD, Fate.TAIL}:
            return False
        return self.signature in READ_ARCHIVES or self._look.holds_archive

    @property
    def harmless(self) -> bool:
        """Whether nothing in a body (known whole) can hurt, whatever its headers or its URL say."""
        known = self.whole and self.problem is None and not self._look.blind
        unknown = self.signature is not None or self._look.unshown or self._look.holds_archive
        return known and not unknown

    @property
    def congested(self) -> bool:
        """Whether the origin should pause: the disk is behind."""
        return self.spool is not None and self.spool.backlog > BACKLOG_MAX_BYTES

    @property
    def behind(self) -> bool:
        """Whether more can be decoded of what came, which `work` does."""
        return self._look.behind

    def work(self) -> None:
        """Decode more of it, in a thread; nothing may be fed meanwhile."""
        self._look.work()

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes; give those that may go on now."""
        self._look.feed(data)
        match self.fate:
            case Fate.PASS:
                return data
            case Fate.SNIFF:
                return self._sniff(data)
            case Fate.TAIL:
                return self._pass_but_tail(data)
            case Fate.SMALL:
                self._waiting.append(data)
                return b""
            case Fate.HOLD:
                return self._hold(data)
            case Fate.ASK | Fate.REFUSE:
                self._waiting.append(data)
                return b""
            case other:
                assert_never(other)

    def end(self, *, whole: bool = True) -> None:
        """Note that nothing more comes; `whole`: because that was all."""
        self.whole = whole
        self._look.end()
        if self.signature is None and not self.partial and self.fate is not Fate.PASS:
            self._look.conclude()
            self._look.risky |= whole and self._look.holds_archive
        all_here = self.fate in {Fate.SNIFF, Fate.SMALL} or (
            self.fate is Fate.TAIL and self._last_bytes == self.size and self.spool is None
        )
        if self.risky and all_here:
            self.fate = Fate.HOLD  # harmless by its headers, dangerous by its bytes
            data = b"".join([*self._waiting, *self._last])
            self._last.clear()
            self.uncopied = self._store(data)
            self._waiting = [data] if self.uncopied is not None else []
            if self.spool is not None and not self._waiting:
                self.spool.skip(self._trickled)

    def released(self) -> None:
        """Note that what was held has gone on."""
        late, self._late = self._late, b""
        if self._copying:
            self._copy(late)
        elif self.spool is not None:
            self.spool.close()
            self.spool = None

    @property
    def rest_bytes(self) -> int:
        """How much memory holds back."""
        return sum(len(chunk) for held in (self._waiting, self._tail, self._last) for chunk in held)

    @property
    def spare(self) -> int:
        """How many bytes of what is held may go on before the verdict, as its client waits for long."""
        if self._must_hold or self.fate not in {Fate.SMALL, Fate.HOLD, Fate.TAIL}:
            return 0
        kept = 0 if self.fate is Fate.SMALL else self._limits.tail_min
        if self._waiting:
            return spare(self.size - self._trickled, self._trickled, kept)
        if self.spool is None or self._copying:
            return spare(sum(map(len, self._tail)), self._trickled, kept)
        held, passed = self.spool.unread, self.spool.size - self.spool.unread
        if self.fate is Fate.HOLD and self.window is not None:
            first, count = self.window
            held = max(0, min(self.spool.size, first + count) - max(first, passed))
        return spare(held, self._trickled, kept)

    async def trickle(self) -> bytes:
        """Take a few bytes of what is held, as many as are to spare; raises OSError when the disk fails."""
        count = self.spare
        if not count:
            return b""
        if self._waiting:
            data = b"".join(self._waiting)[self._trickled : self._trickled + count]
        elif self.spool is None or self._copying:
            data = self._tail.popleft()
            if len(data) > count:
                self._tail.appendleft(data[count:])
                data = data[:count]
        else:
            if self.fate is Fate.HOLD and self.window is not None and not self._trickled:
                self.spool.skip(self.window[0])
            data = await self.spool.read(count)
        self._trickled += len(data)
        return data

    def rest(self) -> bytes:
        """Give what memory holds back, after a verdict that lets it go."""
        rest = b"".join([*self._waiting, *self._tail, *self._last])
        if self._waiting:
            rest = rest[self._trickled :]
        self._forget()
        return rest

    def rest_piece(self) -> bytes:
        """Give the next piece of it: a client that is slow must not make a copy of all."""
        chunks: list[bytes] = []
        taken = 0
        for held in (self._tail, self._last):
            while held and taken < PIECE_BYTES:
                chunks.append(held.popleft())
                taken += len(chunks[-1])
        return b"".join(chunks)

    def subject(self, members: tuple[tuple[str, bytes], ...] = ()) -> FileSubject:
        """Make the subject of the whole body; `members` are labelled digests from inside an archive."""
        return self._look.subject(members)

    def drop(self) -> None:
        """Hold nothing any more: what comes goes on."""
        self.fate = Fate.PASS
        self._unheld = None
        self._look.let_go()

    def close(self) -> None:
        """Free what is held."""
        if self.spool is not None:
            self.spool.close()
        self._forget()

    def _forget(self) -> None:
        self._waiting, self._tail, self._last = [], deque(), deque()

    def _first_fate(self) -> Fate:
        if self.risky:
            return self._risky_fate()
        if self.partial and not (self._from_start or self._multipart):
            return Fate.PASS
        if self.partial or self._look.declared.live:
            return Fate.SNIFF
        if self.length is not None and self.length <= self._limits.local_up_to:
            return Fate.SMALL
        return Fate.SNIFF

    def _risky_fate(self) -> Fate:
        if self.partial:
            return Fate.ASK
        if self.length is None:
            return Fate.HOLD
        if self.length > self._room.largest and self._must_hold:
            return self._refuse("larger than downloads.spool_max allows")
        if self.length > (self._room.largest if self._hold_whole else self._limits.hold_up_to):
            self._begin_copy()
            return Fate.TAIL
        return Fate.HOLD

    def _refuse(self, why: str) -> Fate:
        self._unheld = f"it cannot be held whole: {why}"
        return Fate.REFUSE

    def _sniff(self, data: bytes) -> bytes:
        self._waiting.append(data)
        self._look.judge()
        most = self._limits.local_up_to if self._look.blind else self._limits.sniff
        if not self.risky and self.size < most and self._look.undecided():
            return b""
        self._look.conclude()
        waiting, self._waiting = self._waiting, []
        if not self.risky and self._look.declared.saved and not self.partial:
            self.fate = Fate.TAIL  # a picture that is saved as a file may have an archive behind it
            return self._pass_but_tail(b"".join(waiting))
        if not self.risky:
            self.fate = Fate.PASS
            self._look.let_go()
            return b"".join(waiting)
        self.fate = self._risky_fate()
        if self.fate is Fate.ASK:
            self._waiting = waiting
            return b""
        if self.fate is Fate.REFUSE:
            self._waiting = waiting
            return b""
        data = b"".join(waiting)
        return self._pass_but_tail(data) if self.fate is Fate.TAIL else self._hold(data)

    def _hold(self, data: bytes) -> bytes:
        held = self.spool.size if self.spool is not None else 0
        if not self._hold_whole and held + len(data) > self._limits.hold_up_to:
            self._begin_copy()
            return self._start_tail(data)
        why = self._store(data)
        if why is None:
            return b""
        if self._must_hold:
            self.fate = self._refuse(why)
            self._waiting.append(data)
            return b""
        self.uncopied, self._diskless = why, True
        return self._start_tail(data)

    def _store(self, data: bytes) -> str | None:
        """Put bytes into the spool; say why where it takes none."""
        if self.spool is None:
            self.spool = Spool(self._room)
        try:
            self.spool.put(data)
        except SpoolFullError as error:
            return str(error)
        except OSError as error:
            return f"the disk of the spool failed ({error.strerror or error})"
        return None

    def _begin_copy(self) -> None:
        if self._limits.look_up_to < max(self.length or 0, self.size):
            self.uncopied = "larger than downloads.archives.max_bytes"
        else:
            self._copying = self._diskless = True  # the spool holds the copy, the tail waits in memory

    def _copy(self, data: bytes) -> None:
        """Keep a copy of what may be an archive, as long as it may be one and there is room."""
        if self.signature is None:
            self._look.judge()
        if self._look.settled and self.signature not in READ_ARCHIVES:
            self._diskless = bool(self._tail)
            self._stop_copying(None)
        elif self.size > self._limits.look_up_to:
            self._stop_copying("larger than downloads.archives.max_bytes")
        elif (why := self._store(data)) is not None:
            self._stop_copying(why)
        elif self.spool is not None:
            self.spool.skip(len(data))

    def _stop_copying(self, why: str | None) -> None:
        self._copying, self.uncopied = False, why
        if self.spool is not None and not self.spool.unread:
            self.spool.close()
            self.spool = None

    def _start_tail(self, data: bytes) -> bytes:
        """Let what is held go on, and withhold a tail from here on."""
        self.fate = Fate.TAIL
        self.release = self.spool is not None
        if self.release and self.length is None:
            self._late = data  # its place in the spool is behind what is still to be read
        return self._pass_but_tail(data)

    def _pass_but_tail(self, data: bytes) -> bytes:
        if self._copying and not self._late:
            self._copy(data)
        self._last.append(data)
        self._last_bytes += len(data)
        spare = self._last_bytes - self._last_size()
        out: list[bytes] = []
        while spare > 0:
            chunk = self._last.popleft()
            if len(chunk) > spare:
                self._last.appendleft(chunk[spare:])
                chunk = chunk[:spare]
            out.append(chunk)
            spare -= len(chunk)
            self._last_bytes -= len(chunk)
        data = b"".join(out)
        return data if self.length is None else self._pass_known(self.length, data)

    def _pass_known(self, length: int, data: bytes) -> bytes:
        """Withhold the end of a known length, on disk; in memory where there is no room on it, or a copy."""
        start = self.size - self._last_bytes - len(data)
        passing = max(0, min(len(data), length - self._tail_size(length) - start))
        rest = data[passing:]
        if not rest or (not self._diskless and self._store(rest) is None):
            return data[:passing]
        if not self._diskless:
            self._diskless = True
            if length - self._tail_size(length) > start:  # less fits into memory: what is on disk goes on
                self.release = self.spool is not None
                passing = max(0, min(len(data), length - self._tail_size(length) - start))
        self._tail.append(data[passing:])
        return data[:passing]

    def _last_size(self) -> int:
        if not self.risky:
            return self._limits.tail_min
        most = TAIL_MEMORY_BYTES if self.length is None else LAST_MEMORY_BYTES
        return min(most, max(self._limits.tail_min, int(self.size * self._limits.tail_part)))

    def _tail_size(self, length: int) -> int:
        most = TAIL_MEMORY_BYTES if self._diskless else length
        return min(most, max(self._limits.tail_min, int(length * self._limits.tail_part)))
