"""What a risky file that is wanted in pieces is asked for: whole, once; from then on the pieces.

```
all of what may be risky ───► whole, at once: who wants pieces waits for what comes of it
Range of what may be risky ─┬─ judged before ──► judged again by its digests ──► the blocks around the piece
                            ├─ nobody asks ────► whole: judged, the piece is cut from it (the others wait)
                            └─ somebody asks ──► wait for what comes of it, then as above; a piece that
                                      waits for long comes ahead (`ahead.py`)
```
"""

import asyncio
import logging
from collections.abc import Awaitable
from contextlib import suppress
from dataclasses import dataclass, replace

from mitmproxy import http

from secondlook.agent.check.gatekeeper import Gatekeeper
from secondlook.core.verdict import Action, SubjectClass
from secondlook.download.body.body_type import declared
from secondlook.download.body.ranges import (
    EntityMemory,
    counts_from_end,
    may_hide_the_first,
    read_range,
    read_ranges,
)
from secondlook.download.body.response_facts import PARTIAL_STATUS, UNSATISFIABLE_STATUS, ResponseFacts
from secondlook.download.judged_files import JudgedFile, JudgedFiles, Lead, Proof
from secondlook.download.pieces import judge_again
from secondlook.download.unfinished import Unfinished
from secondlook.proxy.ahead import Ahead, has_a_place
from secondlook.proxy.flow_state import FlowState
from secondlook.proxy.response import make_partial

logger = logging.getLogger(__name__)

_KIND_BYTES = 1024  # from the beginning of a file, encoded ones too
_LOOK_FIRST_S = 0.02
_LOOK_LATER_S = 0.5
_WAIT_LONGEST_S = 600.0  # for somebody else's fetch


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a client waits for somebody else's fetch before a little goes on (0: as long as it takes)."""

    lasts_s: float
    kept: int  # bytes of a piece that never go on before the verdict


class Pieces:
    """Decides what a request with a Range asks its origin for."""

    def __init__(
        self,
        gatekeeper: Gatekeeper,
        memory: EntityMemory,
        judged: JudgedFiles,
        unfinished: Unfinished,
        patience: Patience,
        *,
        enabled: bool,
    ) -> None:
        self.judged = judged
        self._unfinished = unfinished
        self._gatekeeper = gatekeeper
        self._memory = memory
        self._patience = patience
        self._enabled = enabled

    def ask(self, flow: http.HTTPFlow, state: FlowState) -> Awaitable[None] | None:
        """Choose for a request that was let through; the result is awaited where its file may be risky."""
        header = state.asked.range
        if not self._enabled or flow.request.method != "GET":
            return None
        if header is None:
            return self._lead(state) if state.context.cls is SubjectClass.DOWNLOAD else None
        path = flow.request.data.path.decode("latin-1")
        if declared(None, None, path).risky or self._memory.is_risky(state.subject.identity):
            return self.settle(flow, state)
        return self._look_further_round(flow, state, header)

    async def _look_further_round(self, flow: http.HTTPFlow, state: FlowState, header: str) -> None:
        """Choose for a piece of what nothing is known of in this worker."""
        if await self._unfinished.concerns(state.subject.identity, state.context, state.asked):
            await self.settle(flow, state)
        elif may_hide_the_first(header):
            _drop_range(flow)

    def look_further(self, flow: http.HTTPFlow, state: FlowState) -> bool:
        """Ask for more than a first piece that shows nothing; False where more was not enough."""
        wanted = read_range(state.asked.range, state.asked.if_range)
        enough = wanted is None or wanted.last is None or wanted.last + 1 >= _KIND_BYTES
        if wanted is None or enough or state.wider is not None:
            return False
        state.wanted = wanted
        state.wider = replace(wanted, last=_KIND_BYTES - 1)
        flow.request.headers["range"] = f"bytes=0-{_KIND_BYTES - 1}"
        return True

    async def _lead(self, state: FlowState) -> None:
        """Let those who want pieces wait for what comes of a fetch of the whole, unless they wait already."""
        with suppress(OSError):
            found = await self.judged.find(state.subject.identity)
            state.lead = found if isinstance(found, Lead) else None

    async def settle(self, flow: http.HTTPFlow, state: FlowState) -> None:
        """Choose for a risky file, once nobody else is fetching it whole."""
        url = state.subject.identity
        self._memory.note_risky(url)
        state.wanted = read_ranges(state.asked.range, state.asked.if_range)
        if state.unproved or state.lead is not None:
            _drop_range(flow)
            return
        loop = asyncio.get_running_loop()
        since, pause_s = loop.time(), _LOOK_FIRST_S
        while loop.time() - since < _WAIT_LONGEST_S and flow.client_conn.connected:
            if await self._is_settled(flow, state, waited=pause_s > _LOOK_FIRST_S):
                return
            if self._may_go_ahead(state) and loop.time() - since >= self._patience.lasts_s:
                await self._go_ahead(flow, state, since)
                return
            await asyncio.sleep(pause_s)
            pause_s = min(_LOOK_LATER_S, pause_s * 1.5)
        _drop_range(flow)

    async def look(self, flow: http.HTTPFlow, state: FlowState) -> None:
        """Look whether a file was judged of which a piece waits; what comes of it is in the state."""
        ahead = state.ahead
        assert ahead is not None
        if await self._is_settled(flow, state, waited=True):
            ahead.settled = True
        elif asyncio.get_running_loop().time() - ahead.since >= _WAIT_LONGEST_S:
            state.unproved = ahead.settled = True

    async def _is_settled(self, flow: http.HTTPFlow, state: FlowState, *, waited: bool) -> bool:
        """Choose, unless somebody else is fetching the whole still."""
        try:
            found = await self.judged.find(state.subject.identity)
        except OSError as error:
            logger.warning("what was judged cannot be shared, so the whole is asked for: %r", error)
            _drop_range(flow)
            return True
        if isinstance(found, JudgedFile):
            await self._take_piece(flow, state, found)
        elif isinstance(found, Lead):
            if waited and not await self._may_ask(state):
                found.release()
            else:
                state.lead = found
                _drop_range(flow)
        return found is not None

    def _may_go_ahead(self, state: FlowState) -> bool:
        """Return whether a piece may be asked for ahead: once, where its place is known."""
        return has_a_place(state.wanted) and state.ahead is None and self._patience.lasts_s > 0

    async def _go_ahead(self, flow: http.HTTPFlow, state: FlowState, since: float) -> None:
        if await self._may_ask(state):
            assert state.wanted is not None
            state.ahead = Ahead(state.wanted, since, self._patience.kept)
            flow.request.headers["range"] = state.ahead.header

    def receive(
        self, response: http.Response, state: FlowState, facts: ResponseFacts, length: int | None
    ) -> bool:
        """Take the piece of a judged file that was asked for; False where it is any other response."""
        if state.proof is None and state.ahead is not None and state.ahead.size is None:
            return self._receive_ahead(response, state, facts, length)
        proof = state.proof
        # the end of a file is asked for by the place that it had in what was judged
        shorter = response.status_code == UNSATISFIABLE_STATUS and counts_from_end(state.wanted)
        if proof is None or not (response.status_code == PARTIAL_STATUS or shorter):
            state.proof = None
            return False
        if shorter or not proof.begin(facts, length):
            state.proof, state.misfit = None, True
            return True
        make_partial(response, proof.slice)
        return True

    def _receive_ahead(
        self, response: http.Response, state: FlowState, facts: ResponseFacts, length: int | None
    ) -> bool:
        """Take the piece that was asked for ahead; what is another one is judged as any response."""
        ahead, wanted = state.ahead, state.wanted
        assert ahead is not None
        assert wanted is not None
        if response.status_code != PARTIAL_STATUS:
            return False
        if not ahead.begin(facts, wanted, length):
            return False
        assert ahead.slice is not None
        make_partial(response, ahead.slice)
        return True

    async def _may_ask(self, state: FlowState) -> bool:
        """Return whether a URL may still be asked, after somebody else did; the refusal is in the state."""
        decision = self._gatekeeper.now(state.subject, state.context)
        decision = decision or await self._gatekeeper.check(state.subject, state.context)
        state.refusal = decision if decision.action is Action.BLOCK else None
        return state.refusal is None

    async def _take_piece(self, flow: http.HTTPFlow, state: FlowState, file: JudgedFile) -> None:
        decision = await judge_again(self._gatekeeper, file, state.context)
        if decision.action is Action.BLOCK:
            state.refusal = decision
            return
        windows = state.wanted.windows(file.size) if state.wanted is not None else []
        if not windows:
            _drop_range(flow)
            return
        state.proof = Proof(file, windows, self.judged.key)
        flow.request.headers["range"] = state.proof.header


def _drop_range(flow: http.HTTPFlow) -> None:
    for name in ("range", "if-range"):
        flow.request.headers.pop(name, None)
