"""A response on its way to the client: sent, paused, refused, cut, or asked for once more.

What comes of an answer is decided by the streams above this one (`patient_stream.py`, `proved_stream.py`,
`ahead_stream.py`, `gated_stream.py`); here is what each of them can have done about it.
"""

from typing import Protocol

from mitmproxy import flow as mitm_flow
from mitmproxy.proxy import commands, events
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers.http import DropStream, SendHttp
from mitmproxy.proxy.layers.http._events import (
    ErrorCode,
    RequestProtocolError,
    ResponseData,
    ResponseEndOfMessage,
    ResponseHeaders,
    ResponseProtocolError,
    ResponseTrailers,
)
from mitmproxy.proxy.layers.http._hooks import HttpErrorHook

from secondlook.core.verdict import Decision
from secondlook.download.body.ranges import Wanted
from secondlook.download.body.response_facts import WHOLE_STATUS
from secondlook.download.body.slicing import Slice
from secondlook.download.exchange import Body, release_lead
from secondlook.proxy.flow_state import FlowState, state_of
from secondlook.proxy.mitm.addon_port import AddonPort
from secondlook.proxy.mitm.commands import Commands
from secondlook.proxy.mitm.streams.body_hooks import SecondlookRangeHook, SecondlookSettleHook
from secondlook.proxy.mitm.streams.request_stream import Origins
from secondlook.proxy.mitm.streams.stream import AnsweringStream
from secondlook.proxy.mitm.streams.stream_events import Withdrawn
from secondlook.proxy.response import make_partial

_OF_AN_ANSWER = ResponseData | ResponseTrailers | ResponseEndOfMessage | ResponseProtocolError


class BackPressure(Origins, Protocol):
    """What pauses the origin of a stream whose client does not keep up."""

    def watch(self, stream: "ResponseStream") -> None:
        """Look how much a client has left unread of a stream, after more was sent."""

    def press(self, stream: "ResponseStream") -> None:
        """Pause the origin of a stream that waits."""

    def ease(self, stream: "ResponseStream") -> Commands:
        """Let the origin of a stream go on."""

    def is_stalled(self, stream_id: int) -> bool:
        """Return whether the client leaves too much of a stream unread."""


class ResponseStream(AnsweringStream):
    """What can be done about a response, whatever is decided about it."""

    body: Body | None = None
    addon: AddonPort
    _flow_state: FlowState  # from the first bytes of the response on

    def __init__(self, context: Context, stream_id: int, addon: AddonPort, pressure: BackPressure) -> None:
        super().__init__(context, stream_id, addon, pressure)
        self._pressure = pressure
        self._headers_out = False
        self._sent = 0  # bytes of the body that went on
        self._received = 0  # that the origin gave
        self._slice: Slice | None = None  # takes a range out of them
        self._origin_over = False  # its connection may serve another stream by now

    def _open(self) -> Commands:
        assert self.flow.response is not None
        self._headers_out = True
        yield SendHttp(
            ResponseHeaders(self.stream_id, self.flow.response, end_stream=False), self.context.client
        )

    def _send(self, data: bytes) -> Commands:
        if not self._headers_out:
            yield from self._open()
        if data:
            self._sent += len(data)
            if self._slice is not None:
                data = self._slice.feed(data)
                if not data:
                    return
            yield SendHttp(ResponseData(self.stream_id, data), self.context.client)
            self._pressure.watch(self)

    def _wait(self, hook: commands.StartHook) -> Commands:
        """Wait for a hook in the middle of a body, with the origin paused meanwhile."""
        self._pressure.press(self)
        yield hook
        yield from self._pressure.ease(self)

    def _refuse_at_headers(self, decision: Decision | None) -> Commands:
        """Refuse a response whose body has not begun, and let the origin stop."""
        yield from self._stop_origin()
        if self._headers_out:  # a stream of events that begins like a program
            yield from self._cut("blocked")
            return
        self.flow.response = self.addon.refusal_of(self.flow, decision)
        yield from self._refuse()

    def _refuse(self) -> Commands:
        assert self.flow.response is not None
        self._free()
        over = self.client_state == self.state_done
        yield from self.leave_upload()
        yield from self.answer(self.flow.response)
        if over:  # else it goes with the end of the upload, or of the time for that
            yield DropStream(self.stream_id)

    def _free(self) -> None:
        state = state_of(self.flow)
        if state is not None:
            release_lead(state)

    def _stop_origin(self) -> Commands:
        if not self._origin_over:
            yield SendHttp(
                RequestProtocolError(self.stream_id, "the rest is not wanted", ErrorCode.CANCEL),
                self.context.server,
            )

    def _cut(self, reason: str) -> Commands:
        """Let the client see that the body is not whole: close the connection or reset the stream."""
        self.flow.error = mitm_flow.Error(reason)
        yield HttpErrorHook(self.flow)
        self.flow.live = False
        yield from self.leave_upload()
        yield SendHttp(ResponseProtocolError(self.stream_id, reason, ErrorCode.KILL), self.context.client)
        self.client_state = self.server_state = self.state_errored
        yield DropStream(self.stream_id)

    def _can_ask_again(self) -> bool:
        return self.whole_request and self.client_state == self.state_done and not self._headers_out

    def _ask_again(self) -> Commands:
        """Make the request once more: it gave a risky piece, too little of one, or not what was judged."""
        pieces, state = self.addon.bodies.pieces, self._flow_state
        further = self.body is not None and self.body.gate.unclear
        if self.body is not None:
            self.body.gate.close()
        self.server_state = self._state_withdrawn
        yield from self._wait(SecondlookSettleHook(self.flow))  # what the origin has sent at once is here now
        if (yield from self.check_killed(True)):
            return
        if not self._origin_over:
            yield SendHttp(
                Withdrawn(self.stream_id, "the whole is wanted", ErrorCode.CANCEL), self.context.server
            )
        self._origin_over = False
        # mitmproxy queues what comes while a hook runs: of it, what is of the old answer goes
        kept = [event for event in self._paused_event_queue if not isinstance(event, _OF_AN_ANSWER)]
        self._paused_event_queue.clear()
        self._paused_event_queue.extend(kept)
        self.body = state.body = self.flow.response = None
        self._received, self._slice = 0, None
        if not (further and pieces.look_further(self.flow, state)):
            yield SecondlookRangeHook(self.flow)
        if state.refusal is not None:
            yield from self._refuse()
            return
        self.server_state = self.state_wait_for_response_headers
        yield from self.ask_origin()

    def _state_withdrawn(self, _: events.Event) -> Commands:
        """Forget what still comes of the answer to a request that is given up."""
        yield from ()

    def _slice_to(self, wanted: Wanted, size: int) -> None:
        """Answer a range with a piece of the file that was judged whole."""
        response = self.flow.response
        windows = wanted.windows(size)
        if response is None or response.status_code != WHOLE_STATUS or not windows:
            return
        self._slice = Slice(windows, size, response.headers.get("content-type"))
        make_partial(response, self._slice)

    def _slice_early(self, body: Body) -> None:
        assert body.wanted is not None
        assert body.gate.length is not None
        self._slice_to(body.wanted, body.gate.length)
        if self._slice is not None:
            self._slice.at = self._slice.first  # it trickles from its own first byte on
