"""What a body waits for: its judgement, its next piece from the disk, room at its client.

The hooks are those of `mitm/streams/body_hooks.py`; mitmproxy calls a method by the name that it makes of a
hook's class. What fails in one of them is left in `body.failed`, or leaves the body without a decision: the
stream (`gated_stream.py`) then cuts what could hurt.
"""

import asyncio
import logging
from collections.abc import Awaitable

from mitmproxy import ctx, http

from secondlook.agent.check.gatekeeper import Gatekeeper
from secondlook.download.exchange import Body
from secondlook.download.gate.trickle import EVERY_S
from secondlook.proxy.bodies import Bodies
from secondlook.proxy.flow_state import FlowState, state_of

logger = logging.getLogger(__name__)

_STALL_POLL_S = 0.02


class HeldBodies:
    """Answers the hooks of bodies that are held, judged or cut."""

    def __init__(self, gatekeeper: Gatekeeper, bodies: Bodies) -> None:
        self.gatekeeper = gatekeeper
        self.bodies = bodies

    def done(self) -> Awaitable[None]:
        """End what was started for bodies."""
        return self.bodies.aclose()

    async def secondlook_body(self, flow: http.HTTPFlow) -> None:
        """Judge a whole body with waiting, returning now and then before that is done (`body.judging`)."""
        state, body = _held(flow)
        patience_s = self.bodies.patience_s
        if body.judging is None:
            if not patience_s:
                await self.bodies.judge(body, state)
                return
            body.judging = asyncio.create_task(self.bodies.judge(body, state))
        else:
            patience_s = min(EVERY_S, patience_s)
        if (await asyncio.wait({body.judging}, timeout=patience_s))[0]:
            body.judging = None

    async def secondlook_cut(self, _flow: http.HTTPFlow) -> None:
        """Let the refusal of a bad download be in force in every worker before its client can ask again."""
        await self.bodies.in_force()

    async def secondlook_pump(self, flow: http.HTTPFlow) -> None:
        """Read the next piece of a held body, once the client has taken the last."""
        _, body = _held(flow)
        try:
            await asyncio.sleep(0)  # the last piece is written at the end of this round
            await self._client_room(flow, body)
            spool = body.gate.spool
            body.pumped = await spool.read() if spool is not None else b""
            if not body.pumped and body.decision is not None:
                body.pumped = body.gate.rest_piece()
        except ConnectionError as error:
            body.failed = f"the client has gone: {error!r}"
        except Exception as error:
            logger.exception("a held body could not be read back")
            body.failed = f"spool: {error!r}"

    async def secondlook_trickle(self, flow: http.HTTPFlow) -> None:
        """Read a few bytes of a held body; where that fails, the pump will report it."""
        _, body = _held(flow)
        try:
            body.pumped = await body.gate.trickle()
        except Exception:
            logger.exception("a held body could not be read back")

    async def secondlook_settle(self, flow: http.HTTPFlow) -> None:
        """Wait for the disk, for the engines that look into it as it comes, and for what is decoded."""
        state = state_of(flow)
        body = state.body if state is not None else None
        if body is not None:
            await self.bodies.catch_up(body)

    @staticmethod
    async def _client_room(flow: http.HTTPFlow, body: Body) -> None:
        """Wait until the client has taken most of what was written to it. Raise ConnectionError."""
        # A layer only yields what is to be sent: the writers are in mitmproxy's table of open connections.
        handlers = ctx.master.addons.get("proxyserver").connections
        handler = handlers.get(flow.client_conn.id)
        io = handler.transports.get(flow.client_conn) if handler is not None else None
        if io is not None and io.writer is not None:
            await io.writer.drain()
        while body.stalled():  # rare, and the layers know no events
            if not flow.client_conn.connected:  # what it left unread stays unread
                raise ConnectionError("it closed its connection")
            await asyncio.sleep(_STALL_POLL_S)


def _held(flow: http.HTTPFlow) -> tuple[FlowState, Body]:
    """Return what a flow that waits for its body carries."""
    state = state_of(flow)
    assert state is not None
    assert state.body is not None
    return state, state.body
