"""A stream whose piece comes before its file is judged: it trickles meanwhile (`proxy/ahead.py`)."""

from mitmproxy.proxy import commands, events
from mitmproxy.proxy.layers.http._events import (
    RequestProtocolError,
    ResponseData,
    ResponseEndOfMessage,
    ResponseProtocolError,
)

from secondlook.download.exchange import release_lead
from secondlook.download.gate.trickle import EVERY_S
from secondlook.proxy.ahead import Ahead
from secondlook.proxy.mitm.commands import Commands
from secondlook.proxy.mitm.streams.body_hooks import SecondlookLookHook
from secondlook.proxy.mitm.streams.proved_stream import ProvedStream


class AheadStream(ProvedStream):
    """A response that is a piece of a file that another client fetches: its verdict decides.

    ```
    begun ──► held, trickling ─┬─ judged, allowed ──► what is held is proved; on as any proved piece
                               ├─ blocked ──────────► refused, or cut where some of it went on
                               └─ never judged ─────► the whole is asked for, or cut where some of it went on
    ```
    """

    _looking: commands.RequestWakeup | None = None  # when it is looked again
    _holding = False  # the origin pauses
    _proving: Ahead | None = None  # the piece that came ahead, once its file is judged

    def _begin_ahead(self) -> Commands:
        self.server_state = self._state_ahead
        yield from self._look_soon()

    def _look_soon(self) -> Commands:
        self._looking = commands.RequestWakeup(min(EVERY_S, self.addon.bodies.patience_s))
        yield self._looking

    def _state_ahead(self, event: events.Event) -> Commands:
        ahead = self._flow_state.ahead
        assert ahead is not None
        if isinstance(event, ResponseData):
            ahead.feed(event.data)
            if ahead.full and not self._holding:
                self._holding = True
                self._pressure.press(self)
        elif isinstance(event, ResponseEndOfMessage):
            self._origin_over = True
        yield from ()

    def _wake(self, event: events.Wakeup) -> Commands:
        if event.command is not self._looking:
            yield from super()._wake(event)
            return
        self._looking = None
        if self.server_state != self._state_ahead or self.client_state == self.state_errored:
            return
        yield SecondlookLookHook(self.flow)
        ahead = self._flow_state.ahead
        assert ahead is not None
        if ahead.settled:
            yield from self._settle(ahead)
            return
        piece = ahead.trickle()
        if piece:
            yield from self._send(piece)
        yield from self._look_soon()

    def _settle(self, ahead: Ahead) -> Commands:
        """Go on with what is known by now."""
        yield from self._release()
        state = self._flow_state
        if state.refusal is not None:
            yield from self._refuse_at_headers(state.refusal)
        elif state.proof is not None and not ahead.is_of(state.proof.file):
            yield from self._not_as_judged()
        elif state.proof is not None and ahead.fits(state.proof):
            self.server_state = self._state_proved
            self._proving, self._ahead_bytes = ahead, ahead.given
            assert ahead.slice is not None
            state.proof.slice = ahead.slice.again(state.proof.first)
            yield from super()._state_proved(ResponseData(self.stream_id, ahead.drop()))
            if self._origin_over and self.server_state == self._state_proved:
                yield from self._state_proved(ResponseEndOfMessage(self.stream_id))
        elif self._headers_out:
            release_lead(state)
            yield from self._stop_origin()
            yield from self._cut("the file of which this is a piece was not judged")
        elif self._can_ask_again():
            state.proof = None
            yield from self._ask_again()
        else:
            release_lead(state)
            yield from self._refuse_at_headers(None)

    def _state_proved(self, event: events.Event) -> Commands:
        if self._proving is not None and isinstance(event, ResponseData):
            event = ResponseData(self.stream_id, self._proving.past(event.data))
        yield from super()._state_proved(event)

    def _release(self) -> Commands:
        if self._holding:
            self._holding = False
            yield from self._pressure.ease(self)

    def handle_protocol_error(self, event: RequestProtocolError | ResponseProtocolError) -> Commands:
        """Hold nothing back of a stream that ends."""
        yield from self._release()
        yield from super().handle_protocol_error(event)
