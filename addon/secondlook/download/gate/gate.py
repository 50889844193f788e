"""What becomes of one response body: a machine without I/O, bytes in, bytes that may go on out.

**Theory.** Headers say how a body is treated, its first bytes may correct that: a body whose headers say
nothing risky is sniffed until its bytes (of the decoded form) cannot begin like a dangerous format any more;
the first piece nearly always decides. What is harmless goes on at once and is judged afterwards.
What can hurt waits for its verdict: whole where that is possible, else its end does, and the client of a
refused download is left with a torn file. Nothing here waits or decides: its driver does.

Four rules hold whatever comes, in whatever pieces:

1. what went on and what is held make up what came, in order, each byte once;
2. a risky body never goes on whole before its verdict: of a held one nothing does; of a larger one the last
   `tail_min` bytes stay that came since it was too large, and of a declared length its end as well: a length
   may be a lie. What trickles, so that a client goes on waiting, is a part and never the end (`trickle.py`).
   Where the body breaks off, its end stays for good if it had to be looked into (`keeps_its_end`);
3. what must be held whole and cannot be does not go on at all before it is settled;
4. a body that is held longer than it is sniffed waits in the spool, but for its end; the spool is freed as
   soon as nothing of it is wanted, at the latest with `close`.

```
state   event                                          holds              next state
new     begin, harmless or nothing to look at          -                  pass
new     begin, harmless, length <= local_up_to         -                  small
new     begin, harmless so far                         -                  sniff
new     begin, risky piece of a file                   -                  ask
new     begin, risky, may be held whole                -                  hold
new     begin, risky, larger than may be held          -                  tail
new     begin, must be held whole, larger than all room -                 refuse
sniff   bytes, may still be dangerous                  memory             sniff
sniff   bytes, harmless                                -                  pass
sniff   bytes, harmless media, but saved as a file      end                tail
sniff   bytes, risky                                   as for `new`       ask|hold|tail|refuse
sniff   end, risky                                     spool              hold
small   bytes                                          memory             small
small   end, risky by its bytes                        spool              hold
hold    bytes, fit                                     spool              hold
hold    bytes, more than may be held                   end, maybe a copy  tail
hold    bytes, the spool takes none                    end                tail
hold    bytes, must be held, the spool takes none      spool, memory      refuse
tail    bytes                                          end, maybe a copy  tail
tail    end, risky, all of it is still here            spool              hold
ask     bytes                                          memory             ask
refuse  bytes                                          spool, memory      refuse
any     bytes of a part that hides (`byte_parts.py`)   spool, memory      refuse
any     drop                                           -                  pass
```

Where `hold` becomes `tail`, and where the disk stops taking the end of a `tail`, what is in the spool is
*released*: it goes on before anything that `feed` returned. Of an archive that goes on as `tail` the spool
keeps a copy, as far as there is room, to be looked into before its end goes.
"""

from collections import deque
from collections.abc import Callable
from typing import assert_never

from secondlook.download.body.body_type import Declared
from secondlook.download.body.byte_parts import parts_of
from secondlook.download.body.inspection import BodyLook
from secondlook.download.gate.gate_facts import GateFacts
from secondlook.download.gate.gate_state import (
    Ask,
    Collected,
    GateLimits,
    GateState,
    Hold,
    Pass,
    Refuse,
    Small,
    Sniff,
    Tail,
    Tap,
)
from secondlook.download.gate.spool import Spool, SpoolRoom
from secondlook.download.gate.trickle import Trickle

_PASS = Pass()
_UNHELD = "it cannot be held whole: "


class BodyGate(GateFacts):
    """One body on its way through (see the table above).

    `length` is what the headers declare, None when they do not. `must_hold`: nothing risky goes on before it
    is whole; `hold_if_room`: that would be better. `window` is the first byte and the count of a range that
    is wanted of it. `partial`: it is a piece of a file, `from_start`: its first; `multipart`: it is several.
    `tap` makes what looks into a risky body as it comes; `look` is what is known of the body itself.
    """

    __slots__ = ("_prefers_hold", "_room", "_tapping", "length")

    def __init__(
        self,
        stated: Declared,
        length: int | None,
        encoding: str | None,
        limits: GateLimits,
        room: SpoolRoom,
        *,
        kinds: frozenset[str],
        must_hold: bool,
        hold_if_room: bool = False,
        partial: bool = False,
        from_start: bool = True,
        multipart: bool = False,
        window: tuple[int, int] | None = None,
        tap: Callable[[], Tap | None] = lambda: None,
    ) -> None:
        self.length = length
        self.tap = None
        self._tapping = tap
        self.partial = partial
        self.whole = True
        self._limits = limits
        self._room = room
        self._must_hold = must_hold or limits.hold_full
        self._prefers_hold = self._must_hold or hold_if_room
        self.trickles = Trickle(limits.tail_min, window)
        self.look = BodyLook(
            stated,
            encoding,
            kinds=kinds,
            ratio=limits.ratio,
            layers=limits.layers,
            multipart=multipart,
            piece=partial,
            from_start=from_start,
        )
        self._parts = parts_of(stated, encoding, partial=partial, multipart=multipart, from_start=from_start)
        self._state = self._first_state(begins=from_start or multipart)

    async def settle(self) -> None:
        """Wait for the disk, and for what looks into the body as it comes."""
        if self.tap is not None:
            await self.tap.settle()
        if self.spool is not None:
            await self.spool.settle()

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes; return those that may go on now."""
        self.look.feed(data)
        if self.tap is not None:
            self.tap.feed(data)
        if self._parts is not None and self._parts.feed(data):
            why, self._parts = self._parts.why, None
            self._state = Refuse(why=why, spool=self.spool, chunks=sum(self._state.memory, deque[bytes]()))
        match state := self._state:
            case Pass():
                return data
            case Tail():
                return state.feed(data, self.look)
            case Hold():
                return self._hold(state, data)
            case Sniff():
                return self._sniff(state, data)
            case Small() | Ask() | Refuse():
                state.chunks.append(data)
                return b""
            case other:
                assert_never(other)

    def end(self, *, whole: bool = True) -> None:
        """Note that nothing more comes; `whole`: because that was all."""
        self.whole = whole
        self.look.end()
        state = self._state
        if self.look.signature is None and not self.partial and not isinstance(state, Pass):
            self.look.conclude()
            self.look.risky |= self.look.holds_archive
        if self.look.risky and (
            isinstance(state, Sniff | Small) or (isinstance(state, Tail) and state.has_all(self.look.size))
        ):
            data = b"".join(chunk for held in state.memory for chunk in held)
            self._state = self._hold_at_end(data)  # harmless by its headers, dangerous by its bytes

    def released(self) -> None:
        """Note that what was held in the spool has gone on."""
        if isinstance(self._state, Tail):
            self._state.released(self.look)

    async def trickle(self) -> bytes:
        """Take as many bytes as are to spare; raise OSError when the disk fails."""
        return b"" if self._must_hold else await self.trickles.take(self._state)

    def rest(self) -> bytes:
        """Take what memory holds back, after a verdict that lets it go."""
        rest = b"".join(chunk for held in self._state.memory for chunk in held)
        if isinstance(self._state, Collected) and rest:
            rest = rest[self.trickles.given :]
        self._forget()
        return rest

    def rest_piece(self) -> bytes:
        """Take the next piece of the end in memory: a client that is slow must not make a copy of all."""
        return self._state.take_piece() if isinstance(self._state, Tail) else b""

    def drop(self) -> bytes:
        """Hold nothing any more, what comes goes on; return what memory held back, which is next."""
        rest = self.rest()
        self.close()
        self._pass()
        return rest

    def close(self) -> None:
        """Free what is held."""
        if self.spool is not None:
            self.spool.close()
        if self.tap is not None:
            self.tap.close()
        self._forget()

    def _forget(self) -> None:
        for held in self._state.memory:
            held.clear()

    def _pass(self) -> None:
        self._state = _PASS
        self.look.let_go()

    def _first_state(self, *, begins: bool) -> GateState:
        """Choose by the headers; `begins`: the first bytes that come are those of the file."""
        small = self.length is not None and self.length <= self._limits.local_up_to
        if self.look.risky:
            return self._risky_state()
        if self.partial and not begins:
            self.look.let_go()
            return _PASS
        if small and not self.partial and not self.look.declared.live:
            return Small()
        return Sniff()

    def _risky_state(self) -> GateState:
        """Choose for what is known to be risky and of which nothing is out."""
        if self.partial:
            return Ask()
        if self.length is None or self.length > self._limits.hold_up_to:
            self.tap = self._tapping()
        length = self.length or 0
        if length > self._room.largest and self._must_hold:
            return Refuse(why=f"{_UNHELD}larger than downloads.spool_max allows")
        if length > (self._room.largest if self._prefers_hold else self._limits.hold_up_to):
            tail = Tail(self.length, self._limits, self._room)
            tail.choose_copy(max(length, self.look.size))
            return tail
        return Hold(spool=Spool(self._room))

    def _sniff(self, state: Sniff, data: bytes) -> bytes:
        state.chunks.append(data)
        look = self.look
        look.judge()
        most = self._limits.local_up_to if look.blind else self._limits.sniff
        if not look.risky and look.size < most and look.undecided():
            return b""
        look.conclude()
        if not look.risky and look.declared.saved and not self.partial:
            self._state = tail = Tail(self.length, self._limits, self._room)
            tail.uncopied = "there is no copy of it"  # what is saved as a file may have an archive behind it
            return tail.feed(b"".join(state.chunks), look)
        if not look.risky:
            self._pass()
            return b"".join(state.chunks)
        following = self._state = self._risky_state()
        if isinstance(following, Ask | Refuse):
            following.chunks = state.chunks
            return b""
        data = b"".join(state.chunks)
        if self.tap is not None:
            self.tap.feed(data)
        if isinstance(following, Hold):
            return self._hold(following, data)
        assert isinstance(following, Tail)
        return following.feed(data, look)

    def _hold(self, state: Hold, data: bytes) -> bytes:
        assert state.spool is not None
        if not self._prefers_hold and state.spool.size + len(data) > self._limits.hold_up_to:
            return self._let_begin_go(state.spool, data, None)
        why = state.spool.offer(data)
        if why is None:
            return b""
        if not self._must_hold:
            return self._let_begin_go(state.spool, data, why)
        self._state = Refuse(why=_UNHELD + why, spool=state.spool, chunks=deque((data,)))
        return b""

    def _hold_at_end(self, data: bytes) -> Hold:
        """Hold all of a body that did not seem to be worth it before it was whole."""
        spool = Spool(self._room)
        why = spool.offer(data)
        if why is not None:
            return Hold(chunks=deque((data,)), spool=None, uncopied=why)
        spool.skip(self.trickles.given)
        return Hold(spool=spool)

    def _let_begin_go(self, spool: Spool, data: bytes, why: str | None) -> bytes:
        """Let what is held go on, and withhold an end from here on; `why` the spool takes no more."""
        lied = self.length is not None and self.look.size > self.length
        self._state = tail = Tail(None if lied else self.length, self._limits, self._room)
        tail.in_memory = True  # what is still to be read stands before it in the spool
        if why is None:
            tail.choose_copy(max(self.length or 0, self.look.size))
        else:
            tail.uncopied = why
        return tail.take_over(spool, data, self.look)
