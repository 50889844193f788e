"""HTTP/2 towards the client and the origin: mitmproxy's connections over ours (`http2_connection.py`).

- What arrives is handled frame by frame, a few milliseconds at a time; then others have their turn, and the
  peer is not read meanwhile.
- One bad message ends its stream, not the connection. A head beyond the limit is 431, or 502.
- A head, or another frame that is no body, has to be whole in time: the connection waits for it.
- After a GOAWAY of an origin, streams up to its last one finish, later ones are made again on a new
  connection, and so is what it refuses with REFUSED_STREAM (RFC 9113, 6.8 and 8.7).
- An answer that is whole stays whole when the origin stops its upload afterwards (RST_STREAM, NO_ERROR).
- An upload to a refused URL is ended with RST_STREAM(NO_ERROR) after the answer (RFC 9113, 8.1).
- What a peer may send of a stream unacknowledged is bounded while the other side does not take it: an answer
  whose client does not read, an upload whose origin does not.
"""

import time
from dataclasses import dataclass
from typing import Any, Protocol

import h2.errors
import h2.events
from h2.exceptions import DenialOfServiceError, ProtocolError
from mitmproxy import http
from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers.http._base import HttpEvent, ReceiveHttp
from mitmproxy.proxy.layers.http._events import (
    ErrorCode,
    RequestData,
    RequestHeaders,
    RequestProtocolError,
    ResponseData,
    ResponseEndOfMessage,
    ResponseProtocolError,
)
from mitmproxy.proxy.layers.http._http2 import Http2Client, Http2Server, StreamState
from mitmproxy.proxy.layers.http._http2 import Http2Connection as MitmHttp2Connection

from secondlook.config import TrafficLimitsSettings
from secondlook.proxy.mitm.http.http2_connection import HeadTooLarge, Http2Connection, StreamFailed
from secondlook.proxy.mitm.http.http2_head import split_authority
from secondlook.proxy.mitm.streams.stream import (
    GOING_AWAY,
    InterimResponse,
    StopUpload,
    Unanswered,
    Unprocessed,
    Withdrawn,
)

type Commands = layer.CommandGenerator[None]

WINDOW_BYTES = 2 << 20  # what a peer may send of a stream unacknowledged
UNSENT_MAX_BYTES = 1 << 20  # of an upload that waits for its origin, before its client is paused
STEP_S = 0.005  # of handling frames, before others have their turn
_LAST = (ResponseEndOfMessage, ResponseProtocolError, StopUpload)
_PORTS = {b"http": 80, b"https": 443}
_TOO_LARGE = b"Second Look did not pass this on: the head of the request is larger than it may be.\n"


class Streams(Protocol):
    """What a side asks its HTTP layer."""

    def is_pressed(self, stream_id: int) -> bool:
        """Return whether a stream's origin should not send more."""
        ...

    def is_full(self, stream_id: int) -> bool:
        """Return whether a stream's client should not send more."""
        ...

    def fill(self, stream_id: int, origin: "Http2OriginSide") -> None:
        """Note that more of an upload waits for its origin than should."""
        ...


@dataclass
class Acknowledge(HttpEvent):
    """A stream has room again: let the origin, or the client, send more of it."""


class _SendApart(commands.SendData):
    """Bytes in a TLS record of their own: curl forgets the answer that a reset comes with."""


class _Late(commands.RequestWakeup):
    """The end of the time for a head."""


class _Side(MitmHttp2Connection):
    """What both sides share."""

    h2_conn: Http2Connection
    _turn: commands.RequestWakeup | None = None  # what is left of the input waits for it
    _ended = False  # the peer closed the connection while input was left
    _late: "_Late | None" = None  # ends the time of the frame that has begun to come
    _late_after = -1  # so many whole ones

    def _begin(self, streams: Streams, limits: TrafficLimitsSettings) -> None:
        self._streams = streams
        self._unacknowledged: dict[int, int] = {}
        self._head_time_s = limits.head_time
        self.h2_conn = Http2Connection(
            client=self.h2_conf.client_side, head_max=limits.head, fields_max=limits.head_lines
        )
        settings = self.h2_conn.local_settings
        settings.initial_window_size = WINDOW_BYTES
        settings.acknowledge()

    def handle_event(self, event: events.Event) -> Commands:
        """Handle an event at once: no command of ours is waited for."""
        if self.debug is not None:
            return super().handle_event(event)
        return self._handle_event(event)

    def _receive(self, event: h2.events.DataReceived, stream_id: int, *, wait: bool) -> None:
        """Acknowledge a piece of a body, unless it has to wait for the other side."""
        count = event.flow_controlled_length or 0
        if wait:
            self._unacknowledged[stream_id] = self._unacknowledged.get(stream_id, 0) + count
        else:
            self.h2_conn.acknowledge_received_data(count, stream_id)

    def _acknowledge(self, stream_id: int) -> None:
        count = self._unacknowledged.pop(stream_id, 0)
        if count:
            self.h2_conn.acknowledge_received_data(count, stream_id)

    def _network(self, event: events.Event) -> Commands | None:
        """Handle what comes from the network; None where an event is of another kind."""
        if isinstance(event, events.DataReceived):
            try:
                self.h2_conn.add(event.data)
            except ProtocolError as error:
                return self._give_up(error)
            return self._read() if self._turn is None else _nothing()
        if isinstance(event, events.Wakeup) and event.command is self._turn:
            self._turn = None
            self._press(pressed=False)
            return self._read()
        if isinstance(event, events.Wakeup) and isinstance(event.command, _Late):
            return self._too_late() if event.command is self._late else _nothing()
        if isinstance(event, events.ConnectionClosed) and self._turn is not None:
            self._ended = True
            return _nothing()
        return None

    def _read(self) -> Commands:
        """Handle the frames that are here, for as long as a turn lasts."""
        began = time.perf_counter()
        connection = self.h2_conn
        while self._is_open():
            try:
                found = connection.next_events()
            except ProtocolError as error:
                yield from self._give_up(error)
                return
            except (ValueError, IndexError) as error:  # as mitmproxy does; h2 should never raise them
                yield from self._give_up(ProtocolError(f"unexpected: {error!r}"))
                return
            if found is None:
                break
            for one in found:
                if (yield from self.handle_h2_event(one)):
                    return
            if time.perf_counter() - began > STEP_S:
                self._turn = commands.RequestWakeup(0)
                self._press(pressed=True)
                yield self._turn
                break
        yield from self._send()
        if self._ended and self._turn is None:
            yield from self.close_connection("peer closed connection")
        elif (
            self._turn is None and connection.incoming_buffer.is_cut and self._late_after != connection.frames
        ):
            self._late, self._late_after = _Late(self._head_time_s), connection.frames
            yield self._late

    def _too_late(self) -> Commands:
        if (
            self._is_open()
            and self.h2_conn.incoming_buffer.is_cut
            and self._late_after == self.h2_conn.frames
        ):
            yield from self._give_up(
                DenialOfServiceError(f"a head was not whole within {self._head_time_s:g} s")
            )

    def _is_open(self) -> bool:
        return bool(self._handle_event != self.done)

    def _send(self) -> Commands:
        data = self.h2_conn.data_to_send()
        if data:
            yield commands.SendData(self.conn, data)

    def _press(self, *, pressed: bool) -> None:
        """Have the peer read no further, or again."""
        pressure = getattr(self.context.client, "pressure", None)
        if pressure is not None:
            (pressure.press if pressed else pressure.ease)(self.conn, 0)

    def _give_up(self, error: ProtocolError) -> Commands:
        calm = isinstance(error, DenialOfServiceError)
        message = f"HTTP/2 protocol error: {error}"
        yield from self.protocol_error(
            message[:200], h2.errors.ErrorCodes.ENHANCE_YOUR_CALM if calm else error.error_code
        )

    def close_connection(self, msg: str) -> Commands:
        """End the connection and every stream that is still open on it."""
        yield commands.CloseConnection(self.conn)
        self._handle_event = self.done  # type: ignore[method-assign]
        open_streams, self.streams = self.streams, {}
        for stream_id, state in open_streams.items():
            yield ReceiveHttp(self._lost(stream_id, state, msg))

    def _lost(self, stream_id: int, _state: StreamState, message: str) -> HttpEvent:
        return self.ReceiveProtocolError(stream_id, message, self.ReceiveProtocolError.code)

    def handle_h2_event(self, event: h2.events.Event) -> layer.CommandGenerator[bool]:
        """Handle what `h2` found; True where nothing more is to be handled."""
        if isinstance(event, StreamFailed):
            yield commands.Log(f"an HTTP/2 stream was ended: {event.reason}")
            if self.streams.pop(event.stream_id, None) is not None:
                yield ReceiveHttp(
                    self.ReceiveProtocolError(
                        event.stream_id, f"malformed: {event.reason}", self.ReceiveProtocolError.code
                    )
                )
            return False
        return (yield from super().handle_h2_event(event))


class Http2ClientSide(_Side, Http2Server):
    """HTTP/2 towards the client."""

    def __init__(self, context: Context, streams: Streams, limits: TrafficLimitsSettings) -> None:
        super().__init__(context)
        self._begin(streams, limits)

    def _handle_event(self, event: events.Event) -> Commands:
        if type(event) is ResponseData:
            if self.is_open_for_us(event.stream_id):
                self.h2_conn.send_data(event.stream_id, event.data)
                yield from self._send()
        elif isinstance(event, InterimResponse):
            if self.is_open_for_us(event.stream_id):
                fields = [(name.lower(), value) for name, value in event.response.data.headers.fields]
                status = b"%d" % event.response.data.status_code
                self.h2_conn.send_headers(event.stream_id, [(b":status", status), *fields])
                yield from self._send()
        elif isinstance(event, Acknowledge):
            self._acknowledge(event.stream_id)
            yield from self._send()
        elif isinstance(event, StopUpload):
            if not self.is_closed(event.stream_id):
                self.h2_conn.reset_stream(event.stream_id, h2.errors.ErrorCodes.NO_ERROR)
                yield _SendApart(self.conn, self.h2_conn.data_to_send())
        else:
            yield from self._network(event) or super()._handle_event(event)
        if isinstance(event, _LAST) and self.is_closed(event.stream_id):
            self.streams.pop(event.stream_id, None)

    def handle_h2_event(self, event: h2.events.Event) -> layer.CommandGenerator[bool]:
        """Handle what `h2` found; True where nothing more is to be handled."""
        match event:
            case h2.events.RequestReceived():
                assert event.stream_id is not None
                self.streams[event.stream_id] = StreamState.HEADERS_RECEIVED
                yield ReceiveHttp(
                    RequestHeaders(event.stream_id, _request(event.headers), bool(event.stream_ended))
                )
            case h2.events.DataReceived(stream_id=stream_id) if (
                self.streams.get(stream_id) is StreamState.HEADERS_RECEIVED
            ):
                yield ReceiveHttp(RequestData(stream_id, event.data))
                self._receive(event, stream_id, wait=self._streams.is_full(stream_id))
            case HeadTooLarge():
                self._refuse_head(event)
            case h2.events.ConnectionTerminated() if (
                not event.error_code and self.h2_conn.open_inbound_streams
            ):
                pass  # it wants no more, but waits for what it asked for
            case _:
                return (yield from super().handle_h2_event(event))
        return False

    def _refuse_head(self, event: HeadTooLarge) -> None:
        head = [
            (b":status", b"431"),
            (b"content-type", b"text/plain"),
            (b"content-length", b"%d" % len(_TOO_LARGE)),
        ]
        self.h2_conn.send_headers(event.stream_id, head)
        self.h2_conn.send_data(event.stream_id, _TOO_LARGE, end_stream=True)
        if not event.stream_ended:
            self.h2_conn.reset_stream(event.stream_id, h2.errors.ErrorCodes.NO_ERROR)


class Http2OriginSide(_Side, Http2Client):
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
        ours: int | None = None
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
                self.stream_queue[theirs].append(event)
            return None
        if not isinstance(event, RequestHeaders):
            return None
        if self._going_away or not self._has_room():
            self.stream_queue[theirs].append(event)
            return None
        ours = self.h2_conn.get_next_available_stream_id()
        self.our_stream_id[theirs], self.their_stream_id[ours] = ours, theirs
        return ours

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
        """End the connection and every stream that is still open on it."""
        for ours in self._answered:
            self.streams.pop(ours, None)
        setattr(self.conn, GOING_AWAY, True)
        self._going_away = True
        yield from super().close_connection(msg)

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
        """Let no new request begin here, and give back those that the origin says it has not looked at."""
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


def _nothing() -> Commands:
    yield from ()


def _unprocessed(stream_id: int, message: str) -> Unprocessed:
    return Unprocessed(stream_id, message, ErrorCode.GENERIC_SERVER_ERROR)


def _request(fields: Any) -> http.Request:
    """Make a request of a head that `read_request` has read."""
    pseudo = dict(fields[:4])
    scheme, authority = pseudo[b":scheme"], pseudo[b":authority"]
    host, port = split_authority(authority)
    return http.Request(
        host=host,
        port=_PORTS[scheme] if port is None else port,
        method=pseudo[b":method"],
        scheme=scheme,
        authority=authority,
        path=pseudo[b":path"],
        http_version=b"HTTP/2.0",
        headers=http.Headers(fields[4:]),
        content=None,
        trailers=None,
        timestamp_start=time.time(),
        timestamp_end=None,
    )
