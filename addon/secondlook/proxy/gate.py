"""What becomes of one response body: sans-io, bytes in, bytes that may go on out.

```
            ┌─ live, or harmless and large or of unknown length ─► PASS   on at once, judged at the end
headers ─►  ├─ harmless, known length ≤ local_up_to ─────────────► SMALL  collected, judged, sent
first bytes ├─ risky, ≤ hold_up_to, or hold: full ───────────────► HOLD   spooled, judged, sent
            └─ risky, larger ────────────────────────────────────► TAIL   on but for its tail
```

A body whose headers say nothing risky is SNIFFED: its first bytes (of the decoded form) wait only while they
may still be the beginning of a dangerous signature, so the first piece nearly always decides. HOLD of
unknown length turns into TAIL once it is longer than may be held. Nothing here waits or decides.
"""

import hashlib
from collections import deque
from dataclasses import dataclass
from enum import StrEnum
from typing import assert_never

from secondlook.core.digest import file_subject
from secondlook.core.subject import FileSubject
from secondlook.proxy.bodytype import Declared, declared, may_begin, risky_signature
from secondlook.proxy.decoding import Decoder, DecodeState, encodings_of
from secondlook.proxy.ranges import read_first_part
from secondlook.proxy.spool import BACKLOG_MAX_BYTES, Spool, SpoolFullError, SpoolRoom

SNIFF_MAX_BYTES = 2048  # a tar tells itself at 257, a part of a multipart body after its head
_PART_ENOUGH_BYTES = 16
TAIL_MEMORY_BYTES = 16 << 20  # of a body without a length


class Fate(StrEnum):
    """What becomes of a body."""

    SNIFF = "sniff"
    PASS = "pass"  # noqa: S105 - no password
    SMALL = "small"
    HOLD = "hold"
    TAIL = "tail"
    ASK = "ask"  # a risky piece: settled before anything of it goes on


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


class BodyGate:
    """One body on its way through.

    `length` is what the headers declare, None when they do not. `open` tells that bytes may have gone on, so
    the headers must have; `release` that what is held goes on next, before anything `feed` gave.
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
        partial: bool = False,
        from_start: bool = True,
    ) -> None:
        self.declared = said
        self.length = length
        self.risky = said.risky
        self.signature: str | None = None
        self.partial = partial
        self.size = 0
        self.problem: str | None = None  # why the body could not be looked into
        self.spool: Spool | None = None
        self.release = False
        self._limits = limits
        self._room = room
        self._from_start = from_start
        self._multipart = partial and said.content_type == "multipart/byteranges"
        self._hold_whole = hold_whole or limits.hold_full
        self._sha256 = hashlib.sha256()
        self._others = {kind: hashlib.new(kind, usedforsecurity=False) for kind in sorted(kinds)}
        self._first = bytearray()
        self._part_seen = False
        self._waiting: list[bytes] = []
        self._tail: deque[bytes] = deque()
        self._tail_bytes = 0
        self._decoder, self._decoded = self._make_decoder(encoding)
        self.fate = self._first_fate()

    @property
    def open(self) -> bool:
        """Whether bytes of the body may go on before its end."""
        return self.fate in {Fate.PASS, Fate.TAIL}

    @property
    def congested(self) -> bool:
        """Whether the origin should pause: the disk is behind."""
        return self.spool is not None and self.spool.backlog > BACKLOG_MAX_BYTES

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes; give those that may go on now."""
        self.size += len(data)
        self._look(data)
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
            case Fate.ASK:
                self._waiting.append(data)
                return b""
            case other:
                assert_never(other)

    def end(self) -> None:
        """Note that the body is whole."""
        if self._decoder is not None:
            for piece in self._decoder.finish():
                self._look_decoded(piece)
            if self._decoder.state is not DecodeState.DONE:
                self.problem = f"content encoding is {self._decoder.state.value}"
        if self.signature is None and not self.partial and self.fate is not Fate.PASS:
            self._judge_first()
        if self.risky and self.spool is None and self.fate in {Fate.SNIFF, Fate.SMALL}:
            self.fate = Fate.HOLD  # harmless by its headers, dangerous by its bytes
            waiting, self._waiting = self._waiting, []
            self.spool = Spool(self._room)
            for chunk in waiting:
                self.spool.put(chunk)

    def rest(self) -> bytes:
        """Give what memory holds back, after a verdict that lets it go."""
        chunks = [*self._waiting, *self._tail]
        self._waiting, self._tail = [], deque()
        return b"".join(chunks)

    def subject(self, members: tuple[tuple[str, bytes], ...] = ()) -> FileSubject:
        """Make the subject of the whole body; `members` are labelled digests from inside an archive."""
        further: list[tuple[str, bytes]] = []
        if (
            self._decoded is not None
            and self._decoder is not None
            and self._decoder.state is DecodeState.DONE
        ):
            further.append(("decoded", self._decoded.digest()))
        others = {kind: machine.hexdigest() for kind, machine in self._others.items()}
        return file_subject(
            self._sha256.digest(),
            md5=others.get("md5"),
            sha1=others.get("sha1"),
            further=(*further, *members),
            size=self.size,
            filename=self.declared.filename,
        )

    def drop(self) -> None:
        """Give up looking: what comes goes on."""
        self.fate = Fate.PASS

    def close(self) -> None:
        """Free what is held."""
        if self.spool is not None:
            self.spool.close()
        self._waiting, self._tail = [], deque()

    def _make_decoder(self, encoding: str | None) -> "tuple[Decoder | None, hashlib._Hash | None]":
        chain = encodings_of(encoding, self._limits.layers)
        if chain is None:
            self.problem = f"content encoding {encoding!r} is not known"
            return None, None
        if not chain:
            return None, None
        return Decoder(chain, ratio=self._limits.ratio), hashlib.sha256()

    def _first_fate(self) -> Fate:
        if self.risky:
            return self._risky_fate()
        if self.declared.live or (self.partial and not (self._from_start or self._multipart)):
            return Fate.PASS
        if self.partial:
            return Fate.SNIFF
        if self.length is not None and self.length <= self._limits.local_up_to:
            return Fate.SMALL
        return Fate.SNIFF

    def _risky_fate(self) -> Fate:
        if self.partial:
            return Fate.ASK
        if not self._hold_whole and self.length is not None and self.length > self._limits.hold_up_to:
            return Fate.TAIL
        return Fate.HOLD

    def _look(self, data: bytes) -> None:
        self._sha256.update(data)
        for machine in self._others.values():
            machine.update(data)
        if self._decoder is None:
            if len(self._first) < SNIFF_MAX_BYTES:
                self._first += data[: SNIFF_MAX_BYTES - len(self._first)]
            return
        for piece in self._decoder.feed(data):
            self._look_decoded(piece)

    def _look_decoded(self, piece: bytes) -> None:
        assert self._decoded is not None
        self._decoded.update(piece)
        if len(self._first) < SNIFF_MAX_BYTES:
            self._first += piece[: SNIFF_MAX_BYTES - len(self._first)]

    def _judge_first(self) -> None:
        if self._multipart:
            self._judge_part()
            return
        self.signature = risky_signature(bytes(self._first))
        self.risky = self.risky or self.signature is not None

    def _judge_part(self) -> None:
        """Judge a multipart/byteranges body by the head and the first bytes of its first part."""
        part = read_first_part(self.declared.full_type, bytes(self._first))
        if part is None:
            return
        if part.content_type is not None and declared(part.content_type, None, "").risky:
            self.risky = True
        elif part.piece is not None and part.piece.first == 0:
            self.signature = risky_signature(part.first)
            self.risky = self.signature is not None
        self._part_seen = len(part.first) >= _PART_ENOUGH_BYTES or part.piece is None or part.piece.first > 0

    def _undecided(self) -> bool:
        if self._multipart:
            return not self._part_seen
        stuck = self._decoder is not None and self._decoder.state is not DecodeState.WORKING
        return not stuck and may_begin(bytes(self._first))

    def _sniff(self, data: bytes) -> bytes:
        self._waiting.append(data)
        self._judge_first()
        most = self._limits.sniff if self._decoder is None or self._first else self._limits.local_up_to
        if not self.risky and self.size < most and self._undecided():
            return b""
        waiting, self._waiting = self._waiting, []
        if not self.risky:
            self.fate = Fate.PASS
            return b"".join(waiting)
        self.fate = self._risky_fate()
        if self.fate is Fate.ASK:
            self._waiting = waiting
            return b""
        take = self._pass_but_tail if self.fate is Fate.TAIL else self._hold
        return b"".join([take(chunk) for chunk in waiting])

    def _hold(self, data: bytes) -> bytes:
        if self.spool is None:
            self.spool = Spool(self._room)
        if not self._hold_whole and self.spool.size + len(data) > self._limits.hold_up_to:
            return self._start_tail(data)
        try:
            self.spool.put(data)
        except (SpoolFullError, OSError) as error:
            if self._hold_whole:
                raise
            self.problem = f"held no longer: {error}"
            return self._start_tail(data)
        return b""

    def _start_tail(self, data: bytes) -> bytes:
        """Let what is held go on, and withhold a tail from here on."""
        self.fate = Fate.TAIL
        self.release = True
        return self._pass_but_tail(data)

    def _pass_but_tail(self, data: bytes) -> bytes:
        if self.length is not None:
            return self._pass_up_to(self.length - self._tail_size(self.length), data)
        self._tail.append(data)
        self._tail_bytes += len(data)
        spare = self._tail_bytes - min(self._tail_size(self.size), TAIL_MEMORY_BYTES)
        out: list[bytes] = []
        while spare > 0:
            chunk = self._tail.popleft()
            if len(chunk) > spare:
                self._tail.appendleft(chunk[spare:])
                chunk = chunk[:spare]
            out.append(chunk)
            spare -= len(chunk)
            self._tail_bytes -= len(chunk)
        return b"".join(out)

    def _pass_up_to(self, cut: int, data: bytes) -> bytes:
        """Pass what lies before `cut`, withhold the rest: with a known length only the true tail waits."""
        before = max(0, min(len(data), cut - (self.size - len(data))))
        rest = data[before:]
        if rest:
            if self.spool is None:
                self.spool = Spool(self._room)
            self.spool.put(rest)
        return data[:before]

    def _tail_size(self, length: int) -> int:
        return max(self._limits.tail_min, int(length * self._limits.tail_part))
