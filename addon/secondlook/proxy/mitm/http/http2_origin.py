"""HTTP/2 towards the origin: requests by streams, uploads that wait for their origin, ends that lose nothing.

- After a GOAWAY of an origin, streams up to its last one finish, later ones are made again on a new
  connection, and so is what it refuses with REFUSED_STREAM (RFC 9113, 6.8 and 8.7).
- An answer that is whole stays whole when the origin stops its upload afterwards (RST_STREAM, NO_ERROR).
- What an origin may send of a stream unacknowledged is bounded while its client does not read.
"""

import time

import h2.errors
import h2.events
from mitmproxy import http
from mitmproxy.proxy import events, layer
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers.http._base import HttpEvent, ReceiveHttp
from mitmproxy.proxy.layers.http._events import (
    ErrorCode,
    RequestData,
    RequestHeaders,
    RequestProtocolError,
    ResponseData,
)
from mitmproxy.proxy.layers.http._http2 import Http2Client, StreamState

from secondlook.config.traffic import TrafficLimitsSettings
from secondlook.proxy.mitm.commands import Commands
from secondlook.proxy.mitm.http.head import named
from secondlook.proxy.mitm.http.http2 import Acknowledge, Side, Streams
from secondlook.proxy.mitm.http.http2_connection import StreamFailed
from secondlook.proxy.mitm.http.http2_sending import JOINED_BYTES
from secondlook.proxy.mitm.streams.stream_events import (
    GOING_AWAY,
    InterimResponse,
    StopUpload,
    Unanswered,
    Unprocessed,
    Withdrawn,
)

UNSENT_MAX_BYTES = 1 << 20  # of an upload that waits for its origin, before its client is paused


class Http2OriginSide(Side, Http2Client):
    """HTTP/2 towards the origin, with a window that closes while a stream's client does not read.

    mitmproxy opens windows of 2 GiB and acknowledges everything at once: a client that stops reading would
    have the whole file buffered. `our_stream_id` and `their_stream_id` hold the streams that are open.
    """

    def __init__(self, context: Context, streams: Streams, limits: TrafficLimitsSettings) -> None:
        super().__init__(context)
        self._begin(streams, limits)
        self._answered: set[int] = set()  # streams whose answer is whole, though their upload is not
        self._going_away = False
        settings = self.h2_conn.local_settings
        settings.enable_push = 0
        settings.acknowledge()

    def _handle_event(self, event: events.Event) -> Commands:
        asked, ours = 0, None
        if isinstance(event, HttpEvent):
            asked = event.stream_id
            ours = self._ours(event)
            if ours is None:
                self._watch_upload(event, asked)
                return
            event.stream_id = ours
        if isinstance(event, Acknowledge):
            self._acknowledge(event.stream_id)
            yield from self._send()
            return
        if isinstance(event, events.ConnectionEvent):
            self.last_activity = time.time()
        for command in self._network(event) or self._handle_event2(event):
            if isinstance(command, ReceiveHttp) and not isinstance(command.event, Unanswered):
                theirs = self.their_stream_id.get(command.event.stream_id)
                if theirs is None:
                    continue
                command.event.stream_id = theirs
            yield command
        if ours is not None:
            self._watch_upload(event, asked)
        if ours is not None and (isinstance(event, Withdrawn) or self.is_closed(ours)):
            self._forget(ours)
        yield from self._go_on()

    def _ours(self, event: HttpEvent) -> int | None:
        """Return the number that a stream has here; None where the event waits, or comes too late."""
        theirs = event.stream_id
        ours = self.our_stream_id.get(theirs)
        if ours is not None:
            return ours
        if theirs in self.stream_queue:
            if isinstance(event, RequestProtocolError):
                del self.stream_queue[theirs]
            else:
                self._queue(theirs, event)
            return None
        if not isinstance(event, RequestHeaders):
            return None
        if self._going_away or not self._has_room():
            self.stream_queue[theirs].append(event)
            return None
        event.request = named(event.request)
        ours = self.h2_conn.get_next_available_stream_id()
        self.our_stream_id[theirs], self.their_stream_id[ours] = ours, theirs
        return ours

    def _queue(self, theirs: int, event: HttpEvent) -> None:
        """Keep what comes of a request that waits for room."""
        queue = self.stream_queue[theirs]
        match queue[-1], event:
            case RequestData(data=before), RequestData(data=data) if len(before) + len(data) <= JOINED_BYTES:
                queue[-1] = RequestData(theirs, before + data)
            case _:
                queue.append(event)

    def _watch_upload(self, event: events.Event, theirs: int) -> None:
        if type(event) is RequestData and self.unsent(theirs) > UNSENT_MAX_BYTES:
            self._streams.fill(theirs, self)

    def unsent(self, theirs: int) -> int:
        """Return how many bytes of an upload wait for the origin's window, or for room for a request."""
        queued = self.stream_queue.get(theirs, ())
        buffered = self.h2_conn.stream_buffers.get(self.our_stream_id.get(theirs, 0), ())
        return sum(len(each.data) for each in queued if type(each) is RequestData) + sum(
            len(piece.data) for piece in buffered
        )

    def _has_room(self) -> bool:
        most = self.provisional_max_concurrency or self.h2_conn.remote_settings.max_concurrent_streams
        return self.h2_conn.open_outbound_streams < most

    def _go_on(self) -> Commands:
        """Begin what waited for room; after a GOAWAY give it back, and close when all is done."""
        while self.stream_queue and (self._going_away or self._has_room()):
            theirs = next(iter(self.stream_queue))
            waiting = self.stream_queue.pop(theirs)
            if self._going_away:
                yield ReceiveHttp(_unprocessed(theirs, "the connection ends"))
                continue
            for event in waiting:
                yield from self._handle_event(event)
        if self._going_away and not self.our_stream_id and self._is_open():
            yield from self.close_connection("the origin wants no more requests here")

    def _forget(self, ours: int) -> None:
        theirs = self.their_stream_id.pop(ours, None)
        if theirs is not None:
            self.our_stream_id.pop(theirs, None)
        self.streams.pop(ours, None)
        self._answered.discard(ours)
        self._acknowledge(ours)

    def _lost(self, stream_id: int, state: StreamState, message: str) -> HttpEvent:
        if state is StreamState.EXPECTING_HEADERS:
            theirs = self.their_stream_id[stream_id]
            return Unanswered(theirs, message, ErrorCode.GENERIC_SERVER_ERROR)
        return super()._lost(stream_id, state, message)

    def close_connection(self, msg: str) -> Commands:
        """End the connection and every stream that is still open on it; what is answered is whole."""
        for ours in self._answered:
            self.streams.pop(ours, None)
        setattr(self.conn, GOING_AWAY, True)
        self._going_away = True
        yield from super().close_connection(msg)
        for ours in tuple(self._answered):
            yield ReceiveHttp(StopUpload(ours))

    def handle_h2_event(self, event: h2.events.Event) -> layer.CommandGenerator[bool]:
        """Handle what `h2` found; True where nothing more is to be handled."""
        match event:
            case h2.events.DataReceived(stream_id=ours) if (
                self.streams.get(ours) is StreamState.HEADERS_RECEIVED
            ):
                yield from self._data(event, ours)
            case h2.events.InformationalResponseReceived():
                (_, status), *fields = event.headers
                interim = http.Response(b"HTTP/2.0", int(status), b"", http.Headers(fields), None, None, 0, 0)
                yield ReceiveHttp(InterimResponse(event.stream_id, interim))
            case h2.events.StreamEnded(stream_id=ours):
                if self.is_closed(ours):
                    yield from super().handle_h2_event(event)
                    self._forget(ours)
                else:
                    self._answered.add(ours)
                    yield from super().handle_h2_event(event)
            case h2.events.StreamReset(stream_id=ours):
                yield from self._reset(event, ours)
            case StreamFailed(stream_id=ours):
                if ours in self._answered:
                    yield ReceiveHttp(StopUpload(ours))
                else:
                    yield from super().handle_h2_event(event)
                self._forget(ours)
            case h2.events.ConnectionTerminated():
                yield from self._goaway(event)
            case _:
                return (yield from super().handle_h2_event(event))
        return False

    def _data(self, event: h2.events.DataReceived, ours: int) -> Commands:
        """Take a piece of a body; acknowledge it only while its client keeps up."""
        theirs = self.their_stream_id[ours]
        if event.data or not event.stream_ended:
            yield ReceiveHttp(ResponseData(ours, event.data))
        self._receive(event, ours, wait=self._streams.is_pressed(theirs))

    def _reset(self, event: h2.events.StreamReset, ours: int) -> Commands:
        state = self.streams.get(ours)
        if ours in self._answered:
            yield ReceiveHttp(StopUpload(ours))
        elif (
            event.error_code == h2.errors.ErrorCodes.REFUSED_STREAM and state is StreamState.EXPECTING_HEADERS
        ):
            yield from self._give_back(ours, "the origin refused the stream")
        else:
            yield from super().handle_h2_event(event)
        self._forget(ours)

    def _goaway(self, event: h2.events.ConnectionTerminated) -> Commands:
        """Let no new request begin here, and give back those that the origin has not looked at."""
        self._going_away = True
        setattr(self.conn, GOING_AWAY, True)
        last = event.last_stream_id or 0
        for ours in [ours for ours in self.streams if ours > last]:
            if not self.is_closed(ours):
                self.h2_conn.reset_stream(ours, h2.errors.ErrorCodes.CANCEL)
            yield from self._give_back(ours, f"the origin goes away: {event.error_code}")

    def _give_back(self, ours: int, message: str) -> Commands:
        """Have a request made again; it may come back to this connection at once, as a new stream."""
        theirs = self.their_stream_id[ours]
        self._forget(ours)
        yield ReceiveHttp(_unprocessed(theirs, message))


def _unprocessed(stream_id: int, message: str) -> Unprocessed:
    return Unprocessed(stream_id, message, ErrorCode.GENERIC_SERVER_ERROR)
