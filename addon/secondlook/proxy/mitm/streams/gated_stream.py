"""Response bodies in mitmproxy's stream: held, streamed with a withheld tail, or judged on the way.

This is the second of the two boundaries that catch everything (the first: the hooks in `addon.py`). An
exception in a layer is no hook exception: mitmproxy would lose the chunk, pass later bytes and let the client
hang. Here every call of the gate is wrapped: a body that could hurt is cut, any other goes on unlooked at
and is recorded as unverifiable.

```
response headers ──► open at once (pass, tail) or wait (sniff, small, hold)
data ──► gate.feed ──► on to the client
                └────► release: what was held goes first, pumped as fast as the client reads
end ───► judged ─┬─ allowed ─► the rest, trailers, end
                 ├─ blocked, nothing sent yet ─► the refusal in its place
                 └─ blocked, bytes are out ────► cut: the connection or stream fails visibly
```
"""

from functools import partial

from mitmproxy.proxy import events, layer
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers.http._events import (
    RequestProtocolError,
    ResponseData,
    ResponseEndOfMessage,
    ResponseHeaders,
    ResponseProtocolError,
    ResponseTrailers,
)

from secondlook.core.verdict import Action, Decision
from secondlook.download.exchange import Body, release_lead
from secondlook.download.gate.gate_state import Fate
from secondlook.download.gate.spool import PIECE_BYTES
from secondlook.download.judging import fail
from secondlook.proxy.flow_state import state_of
from secondlook.proxy.mitm.addon_port import AddonPort
from secondlook.proxy.mitm.commands import Commands
from secondlook.proxy.mitm.streams.ahead_stream import AheadStream
from secondlook.proxy.mitm.streams.body_hooks import (
    SecondlookCutHook,
    SecondlookPumpHook,
    SecondlookSettleHook,
)
from secondlook.proxy.mitm.streams.response_stream import BackPressure


class GatedStream(AheadStream):
    """A request that may be answered at its headers, and a response body that goes through a gate."""

    def __init__(self, context: Context, stream_id: int, addon: AddonPort, pressure: BackPressure) -> None:
        super().__init__(context, stream_id, addon, pressure)
        self._whole = False  # the origin has sent all
        self._over = False  # the body was judged, or will not be

    def state_wait_for_response_headers(self, event: ResponseHeaders) -> Commands:
        """Take the answer's headers; where that was all, mitmproxy begins with no body."""
        yield from super().state_wait_for_response_headers(event)
        state = state_of(self.flow)
        consuming = self.server_state == self.state_consume_response_body
        decided = state is not None and (state.misfit or state.refusal is not None)
        if event.end_stream and consuming and decided:
            yield from self.start_response_stream()

    def start_response_stream(self) -> Commands:
        """Begin with the body, by way of its gate."""
        state = state_of(self.flow)
        if state is not None and state.refusal is not None:
            yield from self._refuse_at_headers(state.refusal)
            return
        if state is None:
            yield from super().start_response_stream()
            return
        self._flow_state = state
        if state.proof is not None:
            self.server_state = self._state_proved
            return
        if state.ahead is not None and state.ahead.begun:
            state.ahead.begun = False
            yield from self._begin_ahead()
            return
        if state.misfit:
            state.misfit = False
            yield from self._not_as_judged()
            return
        if state.body is None:
            release_lead(state)
            yield from super().start_response_stream()
            return
        self.body = state.body
        self._slice = self.body.slice
        self.server_state = self._state_gated
        if self.body.gate.unsettled:
            yield from self._ask()
        elif self.body.gate.open:
            yield from self._open()

    def handle_protocol_error(self, event: RequestProtocolError | ResponseProtocolError) -> Commands:
        """Judge what came of a body that will not be whole, and free what is held."""
        lost = not self._over and self.server_state == self._state_gated
        if isinstance(event, RequestProtocolError):
            yield from super().handle_protocol_error(event)  # the origin stops first
            if lost and self._headers_out:
                yield from self._end_early(goes_on=False)
        else:
            if lost and (self._headers_out or self._shows_cut()):
                yield from self._end_early(goes_on=True)
            yield from super().handle_protocol_error(event)
        if self.body is not None:
            self.body.gate.close()
        self._free()

    def _end_early(self, *, goes_on: bool) -> Commands:
        """Judge what arrived of a body, which may be taken for all; `goes_on`: what may go on of it does."""
        assert self.body is not None
        gate = self.body.gate
        decision = yield from self._judge(whole=False)
        if not goes_on or gate.keeps_its_end:
            return
        if decision is None or decision.action is Action.BLOCK:
            return
        if gate.spool is not None and not (yield from self._pump()):
            return
        yield from self._send(gate.rest())

    def _shows_cut(self) -> bool:
        """Return whether what came of a harmless body can go on and be seen not to be all of it."""
        body = self.body
        return body is not None and body.gate.fate is Fate.SMALL and body.wanted is None

    def _check_killed(self, emit_error_hook: bool) -> layer.CommandGenerator[bool]:
        """Stop the origin too when a client has gone while its body waited: mitmproxy would let it go on."""
        running = self.is_uploading or (self.body is not None and not self._whole)
        if not (yield from super()._check_killed(emit_error_hook)):
            return False
        if running:
            yield from self._stop_origin()
        self._free()
        return True

    def _state_gated(self, event: events.Event) -> Commands:
        if isinstance(event, ResponseData):
            yield from self._data(event.data)
        elif isinstance(event, ResponseTrailers):
            assert self.flow.response is not None
            self.flow.response.trailers = event.trailers
        elif isinstance(event, ResponseEndOfMessage):
            yield from self._end()
        else:
            raise TypeError(f"unexpected event: {event!r}")

    def _data(self, data: bytes) -> Commands:
        assert self.body is not None
        gate, data = self.body.gate, self.body.within(data)
        try:
            out = gate.feed(data)
        except Exception as error:  # noqa: BLE001 - the boundary
            yield from self._gate_failed(error, data)
            return
        finally:
            self._received += len(data)
        self.addon.bodies.note(self.body, self._flow_state, data)
        if gate.release:
            if not (yield from self._pump()):
                return
            gate.released()
        if gate.unsettled:
            yield from self._ask()
        elif out or (gate.open and not self._headers_out):
            yield from self._send(out)
        if gate.congested or gate.look.behind:
            yield from self._wait(SecondlookSettleHook(self.flow))
        if gate.fate is not Fate.PASS and self._received != gate.length:
            yield from self.watch_patience()

    def _judge(self, *, whole: bool) -> layer.CommandGenerator[Decision | None]:
        body = self.body
        assert body is not None
        self._whole, self._over = whole, True
        if body.gate.look.behind:
            yield from self._wait(SecondlookSettleHook(self.flow))
        decision = self.addon.bodies.end(body, self._flow_state, whole=whole)
        if decision is None:
            yield from self._judged()
            decision = body.decision
        release_lead(self._flow_state)
        return decision

    def _end(self) -> Commands:
        body = self.body
        assert body is not None
        if body.gate.unclear and self._may_ask_again(body):
            yield from self._ask_again()
            return
        decision = yield from self._judge(whole=True)
        if (yield from self.check_killed(True)):
            body.gate.close()
            return
        if decision is None or (decision.action is Action.BLOCK and body.gate.fate is not Fate.PASS):
            yield from self._block()
            return
        if body.wanted is not None and not self._headers_out:
            self._slice_to(body.wanted, body.gate.look.size)
        in_pieces = body.gate.spool is not None or body.gate.rest_bytes > PIECE_BYTES
        if in_pieces and not (yield from self._pump()):
            return
        yield from self._send(body.gate.rest())
        body.gate.close()
        yield from self.send_response(already_streamed=True)

    def _block(self) -> Commands:
        """Refuse a body: in place of the response when nothing of it is out, else by cutting it."""
        assert self.body is not None
        self.body.gate.close()
        if self._headers_out:
            yield SecondlookCutHook(self.flow)
            yield from self._cut("blocked")
            return
        self.flow.response = self.addon.refusal_of(self.flow, self.body.decision)
        yield from self._refuse()

    def _ask(self) -> Commands:
        """Have a risky piece, or what cannot be held as it must be, settled before anything of it goes on."""
        body = self.body
        assert body is not None
        if self._may_ask_again(body):
            yield from self._ask_again()
            return
        self._pressure.press(self)
        yield from self._judged()
        yield from self._pressure.ease(self)
        if (yield from self.check_killed(True)):
            body.gate.close()
            return
        if body.decision is None or body.decision.action is Action.BLOCK:
            body.gate.close()
            yield from self._refuse_at_headers(body.decision)
            return
        if body.gate.spool is not None and not (yield from self._pump()):
            return
        rest = body.gate.drop()
        self._free()
        yield from self._send(rest)

    def _may_ask_again(self, body: Body) -> bool:
        return body.again and self._can_ask_again()

    def _held(self) -> bool:
        gated = self.server_state == self._state_gated
        return gated and not self._over and self.client_state != self.state_errored

    def _gate_failed(self, error: Exception, data: bytes) -> Commands:
        """Treat a body whose gate broke: cut it when it could hurt, else let it go on and record that."""
        body = self.body
        assert body is not None
        fail(body, error, "the gate of a body failed")
        self._over = body.gate.look.risky
        self._free()
        if body.gate.look.risky:
            body.gate.close()
            if self._headers_out:
                yield from self._stop_origin()
                yield from self._cut("the body could not be checked")
            else:
                yield from self._refuse_at_headers(None)
            return
        held = body.gate.drop()
        if self._sent + len(held) <= self._received:
            held += data
        yield from self._send(held)

    def _pump(self) -> layer.CommandGenerator[bool]:
        """Send what is held, as fast as the client takes it; False when the client has gone.

        The origin pauses until all is sent: what it gave between two pieces would only be queued.
        """
        assert self.body is not None
        spool = self.body.gate.spool
        at_once = spool.read_now() if spool is not None else None
        if at_once is not None:
            yield from self._send(at_once)
            if self.body.decision is None or self.body.gate.rest_bytes <= PIECE_BYTES:
                return True
        self.body.stalled = partial(self._pressure.is_stalled, self.stream_id)
        self._pressure.press(self)
        sent = yield from self._pump_pieces()
        yield from self._pressure.ease(self)
        return sent

    def _pump_pieces(self) -> layer.CommandGenerator[bool]:
        assert self.body is not None
        while True:
            yield SecondlookPumpHook(self.flow)
            if (yield from self.check_killed(True)):
                self.body.gate.close()
                return False
            if self.body.failed is not None:
                self.body.gate.close()
                yield from self._cut("the held body could not be read")
                return False
            piece, self.body.pumped = self.body.pumped, b""
            if not piece:
                return True
            yield from self._send(piece)
