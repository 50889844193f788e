"""RESPMOD: what becomes of a response's body, by the gate that every front has (`download/gate/gate.py`).

```
head, preview ──► gate ─┬─ harmless, whatever comes ─► 204: the gateway goes on by itself
                        ├─ must be settled first ────► settled, then as below
                        └─ else: 100 Continue, and the rest
data ──► gate.feed ──► on to the client, once the preview is over
end ───► judged ─┬─ allowed, nothing sent yet ─► 204 where it is understood
                 ├─ allowed ────────────────────► the rest
                 ├─ blocked, nothing sent yet ─► the refusal in its place
                 └─ blocked, bytes are out ────► the connection is aborted: the client sees it
```

This is the front's second boundary: a gate that breaks cuts what could hurt, and lets the rest go on,
recorded as unverifiable.

Before all that: where REQMOD asked for the blocks around a piece, `piece.py` has what comes; where nobody
knows whether it did, no piece of a judged file passes.
"""

import asyncio
from dataclasses import dataclass

from secondlook.core.subject import UrlSubject
from secondlook.core.verdict import Action, Decision
from secondlook.download.body.response_facts import PARTIAL_STATUS, WHOLE_STATUS, has_body, read_response
from secondlook.download.exchange import Body, Exchange
from secondlook.download.gate.gate_state import Fate
from secondlook.download.gate_maker import Message
from secondlook.download.judging import fail
from secondlook.download.pieces import look_at_kept
from secondlook.gateway.icap.answers import ask_again, refuse
from secondlook.gateway.icap.connection import GoneError, IcapConnection
from secondlook.gateway.icap.heads import HttpRequest, HttpResponse
from secondlook.gateway.icap.messages import Continue, Data, End, Finish, PreviewEnd
from secondlook.gateway.icap.outlet import (
    SQUID_BUFFER_BYTES,
    STUCK_S,
    Outlet,
    declared_length,
    without_length,
)
from secondlook.gateway.icap.piece import PiecePassage
from secondlook.gateway.icap.wanted import AskedRange, BlocksRange, UnknownRange, may_answer_another
from secondlook.gateway.parts import Gate
from secondlook.gateway.request import GatewayRequest


@dataclass(eq=False)
class Passage:
    """One body on its way from a gateway, through the gate, and back."""

    link: IcapConnection
    front: Gate
    request: GatewayRequest
    asked: HttpRequest
    response: HttpResponse
    asked_range: AskedRange

    def __post_init__(self) -> None:
        self._judging = self.front.bodies
        self.misfit = False  # it was a piece, and not of the file that was judged
        # where all of it comes with a length, Squid's `range_offset_limit` cuts the blocks out of it
        self._unsized = isinstance(self.asked_range, BlocksRange) and self.response.status == WHOLE_STATUS
        sent = without_length(self.response) if self._unsized else self.response
        self._out = Outlet(self.link, self.front, sent, self._judging.patience_s, changed=self._unsized)
        self._length = declared_length(self.response)
        self._received = 0
        self._over = False  # the body was judged, or will not be
        self._state: Exchange
        self._body: Body

    async def run(self, *, comes: bool) -> None:
        """Answer; `comes`: a body does."""
        subjects = self.request.subjects(self.front.gatekeeper.subject)
        self._state = Exchange(subjects[0], self.request.context, self.request.asked)
        known = self._refused_since(subjects)
        if known is not None:
            await self._refuse(known)
            return
        status, url = self.response.status, self._state.subject.identity
        if await may_answer_another(self.asked_range, status, self._judging.judged, url):
            await ask_again(self.link, self.front)
            return
        if not (comes and has_body(self.asked.method, status)):
            await self._without_body(status)
            return
        if isinstance(self.asked_range, BlocksRange) and status == PARTIAL_STATUS:
            piece = PiecePassage(self.link, self.front, self.request, self._state, self.response)
            await piece.run(self.asked_range.wanted)
            self.misfit = piece.misfit
            return
        body = self._choose(self._state)
        if isinstance(body, Decision):
            await self._judging.refuse_again(self._state, body)
            await self._refuse(self._state.refusal)
            return
        self._body = self._state.body = body
        try:
            await self._go()
        except GoneError:
            await self._leave()
        finally:
            body.gate.close()

    async def _without_body(self, status: int) -> None:
        judging = self._judging
        looking = look_at_kept(status, self._state, judging.gatekeeper, judging.memory, judging.judged)
        if looking is not None:
            await looking
        if self._state.refusal is not None:
            await self._refuse(self._state.refusal)
        else:
            self._out.pass_without_body()

    def _refused_since(self, subjects: tuple[UrlSubject, ...]) -> Decision | None:
        """Return whether a URL is refused by now, which its gateway may have let through by what it keeps."""
        gatekeeper, context = self.front.gatekeeper, self.request.context
        for subject in subjects:
            seen = gatekeeper.checker.check_now(subject, context)
            if seen is not None and seen.action is Action.BLOCK:
                return gatekeeper.now(subject, context)
        return None

    def _choose(self, state: Exchange) -> Body | Decision:
        """Choose the gate; for a piece of what was judged bad, return what was decided about that."""
        facts = read_response(self.response.fields)
        message = Message(
            self.request.path,
            self.response.status,
            http10=self.asked.version == "1.0",
        )
        if self.response.status != PARTIAL_STATUS:
            return self._judging.gates.body(state, facts, None if self._unsized else self._length, message)
        asked = self.asked.method == "GET" and state.asked.range is not None
        given = self._judging.gates.piece(state, facts, self._length, asked=asked)
        if given.bad is not None:
            return given.bad
        body = self._judging.gates.body(
            state, facts, self._length, message, piece=given.piece, partial=given.answers
        )
        body.claims = given.claims
        body.unproved |= isinstance(self.asked_range, UnknownRange)
        return body

    # ---- what comes

    async def _go(self) -> None:
        gate = self._body.gate
        if gate.unsettled and await self._settle():
            return
        while True:
            match await self._next():
                case Data(data):
                    if await self._feed(data):
                        return
                case PreviewEnd():
                    if self._may_go_unseen() and self._out.try_to_pass():
                        return
                    self.link.send(Continue())
                    await self._out.end_preview(begin=gate.open and gate.fate is not Fate.TAIL)
                case End():
                    await self._out.end_preview(begin=False)
                    await self._end()
                    return
                case other:
                    raise AssertionError(f"unexpected: {other!r}")

    def _may_go_unseen(self) -> bool:
        """Return whether a gateway may go on by itself: not with a piece that may be longer than it says."""
        body = self._body
        ends = body.left is None or self._length is not None
        return body.gate.fate is Fate.PASS and not body.gate.followed and ends

    async def _next(self) -> object:
        """Wait for more; whoever waits at the other end gets a few bytes now and then meanwhile."""
        loop = asyncio.get_running_loop()
        since = loop.time()
        while True:
            timeout_s = self._out.patience_left(self._body.gate)
            if timeout_s is not None and timeout_s <= 0:
                await self._out.trickle(self._body.gate)
                continue
            if self._may_be_stuck():
                left_s = since + STUCK_S - loop.time()
                if left_s <= 0:
                    since = loop.time()
                    await self._out.nudge(self._body.gate)
                    continue
                timeout_s = left_s if timeout_s is None else min(left_s, timeout_s)
            event = await self.link.next(timeout_s)
            if event is not None:
                return event

    def _may_be_stuck(self) -> bool:
        """Return whether the gateway may wait for an answer before it reads more from the origin.

        Where Squid's buffer of 64 KiB was full once, it stops until its client gets something (its bug 5352):
        so such a client does, and a bad file is cut in place of a page.
        """
        held = self._received >= SQUID_BUFFER_BYTES and self._body.gate.fate is not Fate.PASS
        return held and not self._out.preview

    async def _feed(self, data: bytes) -> bool:
        """Take the next bytes; return whether that was the end of it."""
        gate, data = self._body.gate, self._body.within(data)
        self._received += len(data)
        try:
            out = gate.feed(data)
        except Exception as error:  # noqa: BLE001 - the boundary
            return await self._gate_failed(error, data)
        self._judging.note(self._body, self._state, data)
        if gate.release:
            await self._out.send_held(gate)
            gate.released()
        if gate.unsettled and await self._settle():
            return True
        if self._may_go_unseen() and self._out.try_to_pass():
            return True
        if out:
            await self._out.send(out)
        if gate.congested or gate.look.behind:
            await self._judging.catch_up(self._body)
        return False

    async def _end(self) -> None:
        gate = self._body.gate
        whole = self._length is None or self._received >= self._length
        decision = await self._judge(whole=whole)
        if decision is None or (decision.action is Action.BLOCK and gate.fate is not Fate.PASS):
            await self._block(decision)
            return
        if not whole:  # the origin failed, and the client is to see that
            if not gate.keeps_its_end:
                await self._out.send_rest(gate)
            self.link.abort()
            return
        if self._out.try_to_pass():
            return
        await self._out.send_rest(gate)
        self.link.send(Finish())

    async def _leave(self) -> None:
        """Judge what arrived though the gateway has gone: its client may keep it."""
        if self._out.begun and not self._over:
            await self._judge(whole=False)

    # ---- what is decided

    async def _settle(self) -> bool:
        """Have a risky piece, or what cannot be held as it must be, settled before anything of it goes on."""
        gate = self._body.gate
        decision = await self._decide()
        if decision is None or decision.action is Action.BLOCK:
            await self._block(decision)
            return True
        if self._out.try_to_pass():
            return True
        await self._out.send_held(gate)
        await self._out.send(gate.drop())
        return False

    async def _judge(self, *, whole: bool) -> Decision | None:
        body = self._body
        self._over = True
        if body.gate.look.behind:
            await self._judging.catch_up(body)
        decision = self._judging.end(body, self._state, whole=whole)
        return decision if decision is not None else await self._decide()

    async def _decide(self) -> Decision | None:
        """Wait for the verdict, however long it takes."""
        body = self._body
        judging = asyncio.ensure_future(self._judging.judge(body, self._state))
        try:
            while not judging.done():
                timeout_s = self._out.patience_left(body.gate)
                if timeout_s is not None and timeout_s <= 0:
                    await self._out.trickle(body.gate)
                    continue
                await asyncio.wait({judging}, timeout=timeout_s)
        finally:
            await judging
        return body.decision

    async def _gate_failed(self, error: Exception, data: bytes) -> bool:
        """Treat a body whose gate broke: cut it when it could hurt, else let it go on and log it."""
        body = self._body
        fail(body, error, "the gate of a body failed")
        if body.gate.look.risky:
            await self._block(None)
            return True
        held = body.gate.drop()
        if self._out.taken + len(held) < self._received:
            held += data
        await self._out.send(held)
        return False

    async def _block(self, decision: Decision | None) -> None:
        """Refuse a body: in place of the response when nothing of it is out, else by cutting it."""
        self._over = True
        self._body.gate.close()
        if not self._out.begun:
            await self._refuse(decision)
            return
        await self._judging.in_force()
        self.link.abort()

    async def _refuse(self, decision: Decision | None) -> None:
        await refuse(self.link, self.front, self.request, decision)
