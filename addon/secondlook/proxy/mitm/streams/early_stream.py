"""An answer that is whole before its request: of ours, or an origin's that wants no more of an upload.

HTTP/2 can end an upload. HTTP/1 knows no other end of one than that of its connection: what still comes is
swallowed for a while, as a client that goes on uploading would else not read the answer.
"""

import time
from typing import cast

from mitmproxy import http
from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers.http import DropStream, SendHttp
from mitmproxy.proxy.layers.http._events import (
    ErrorCode,
    RequestEndOfMessage,
    RequestProtocolError,
    ResponseData,
    ResponseEndOfMessage,
    ResponseHeaders,
    ResponseProtocolError,
)

from secondlook.proxy.mitm.commands import Commands
from secondlook.proxy.mitm.streams.request_stream import Origins, RequestStream
from secondlook.proxy.mitm.streams.stream_events import StopUpload

SWITCHING_PROTOCOLS = 101
_GOES_ON = cast("layer.CommandGenerator[bool]", ())  # what an empty one returns is false
LINGER_S = 2.0  # a client that goes on uploading to a refused URL may read the answer for so long


class EarlyStream(RequestStream):
    """A request whose answer may end before it."""

    def __init__(self, context: Context, stream_id: int, origins: Origins) -> None:
        super().__init__(context, stream_id, origins)
        self._end_sent = False  # of an answer that was whole before its request

    def check_killed(self, emit_error_hook: bool) -> layer.CommandGenerator[bool]:
        """Look whether a hook, or the client, has ended this; it is asked after each hook."""
        if (
            self.flow.error is None
            and not self._paused_event_queue
            and not self._is_answered(emit_error_hook)
        ):
            return _GOES_ON
        return self._check_killed(emit_error_hook)

    def _is_answered(self, emit_error_hook: bool) -> bool:
        """Return whether a hook has set a response that no origin gave."""
        if self.flow.response is None:
            return False
        # only an error asks without wanting its hook: here that hook has answered, in place of the origin
        closed = not emit_error_hook and self.server_state == self.state_wait_for_response_headers
        return bool(closed or self.client_state == self.state_wait_for_request_headers)

    def _check_killed(self, emit_error_hook: bool) -> layer.CommandGenerator[bool]:
        """Answer at once when a hook has set a response before the body of the request was read.

        mitmproxy asks this right after each hook; it would otherwise buffer the whole request first, or
        refuse to stream it (`docs/decisions/2026-11-23-leaning-on-mitmproxy.md`, 3).
        """
        if self._is_answered(emit_error_hook):
            assert self.flow.response is not None
            over = self.client_state == self.state_done
            yield from self.answer(self.flow.response)
            if over:
                yield DropStream(self.stream_id)
            return True
        return (yield from super().check_killed(emit_error_hook))

    def answer(self, response: http.Response) -> Commands:
        """Send a whole response of our own; nothing more of the request is read."""
        self.flow.live = False
        content = b"" if self.flow.request.method == "HEAD" else response.raw_content or b""
        done = self.whole_request or self.client_state == self.state_done
        if not done and not self.flow.request.is_http2:
            response.headers["connection"] = "close"
        response.timestamp_start = response.timestamp_end = time.time()
        self.server_state = self.state_errored
        self.client_state = self._state_swallow
        yield SendHttp(ResponseHeaders(self.stream_id, response, not content), self.context.client)
        if content:
            yield SendHttp(ResponseData(self.stream_id, content), self.context.client)
        yield SendHttp(ResponseEndOfMessage(self.stream_id), self.context.client)
        if done:
            return
        if self.flow.request.is_http2:
            yield SendHttp(StopUpload(self.stream_id), self.context.client)
            yield DropStream(self.stream_id)
        else:
            yield commands.RequestWakeup(LINGER_S)

    @property
    def _switches(self) -> bool:
        response = self.flow.response
        return response is not None and response.status_code == SWITCHING_PROTOCOLS

    def send_response(self, already_streamed: bool = False) -> Commands:
        """Send the end of an answer, even before that of its request: its client may wait for it."""
        yield from super().send_response(already_streamed)
        if self.is_uploading and self.server_state == self.state_done and not self._switches:
            self._end_sent = True
            yield SendHttp(ResponseEndOfMessage(self.stream_id), self.context.client)

    @property
    def is_uploading(self) -> bool:
        """Whether the origin has a part of the request, and waits for its rest."""
        return bool(self.client_state == self.state_stream_request_body)

    def leave_upload(self) -> Commands:
        """Let go of an origin that waits for the rest of an upload, which will not come."""
        if self.is_uploading:
            gone = RequestProtocolError(self.stream_id, "the upload ends here", ErrorCode.CANCEL)
            yield SendHttp(gone, self.context.server)

    def handle_protocol_error(self, event: RequestProtocolError | ResponseProtocolError) -> Commands:
        """End a stream; where its answer is whole, mitmproxy leaves the origin waiting for an upload."""
        if isinstance(event, RequestProtocolError) and self.server_state == self.state_done:
            yield from self.leave_upload()
        yield from super().handle_protocol_error(event)

    def _end_upload(self) -> Commands:
        """End a request whose answer is whole already, and whose rest its origin does not want."""
        if not self._end_sent or not self.is_uploading:
            return
        self.flow.live = False
        self.server_state = self.state_errored
        if self.flow.request.is_http2:
            self.client_state = self.state_errored
            yield SendHttp(StopUpload(self.stream_id), self.context.client)
            yield DropStream(self.stream_id)
        else:  # HTTP/1 knows no other end of an upload than that of its connection
            self.client_state = self._state_swallow
            yield commands.RequestWakeup(LINGER_S)

    def _state_swallow(self, event: events.Event) -> Commands:
        """Forget what still comes of a request that is answered."""
        if isinstance(event, RequestEndOfMessage):
            self.client_state = self.state_errored
            yield DropStream(self.stream_id)

    def _wake(self, _: events.Wakeup) -> Commands:
        """End the connection of a client that lingered for its answer."""
        if self.client_state != self._state_swallow:
            return
        yield DropStream(self.stream_id)
        yield commands.CloseConnection(self.context.client)
