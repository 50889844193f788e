"""HTTP/2: what both sides share, and the client's; mitmproxy's connections over ours (`http2_connection.py`).

- What arrives is handled frame by frame, a few milliseconds at a time; then others have their turn, and the
  peer is not read meanwhile.
- One bad message ends its stream, not the connection. A head beyond the limit is 431, or 502.
- A head, or another frame that is no body, has to be whole in time: the connection waits for it.
- An upload to a refused URL is ended with RST_STREAM(NO_ERROR) after the answer (RFC 9113, 8.1).
- What a client may send of a stream unacknowledged is bounded while its origin does not take it.

The origin's side is `http2_origin.py`.
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
    RequestData,
    RequestHeaders,
    ResponseData,
    ResponseEndOfMessage,
    ResponseProtocolError,
)
from mitmproxy.proxy.layers.http._http2 import Http2Connection as MitmHttp2Connection
from mitmproxy.proxy.layers.http._http2 import Http2Server, StreamState

from secondlook.config.traffic import TrafficLimitsSettings
from secondlook.proxy.mitm.commands import Commands
from secondlook.proxy.mitm.http.head import as_headers
from secondlook.proxy.mitm.http.http2_connection import HeadTooLarge, Http2Connection, StreamFailed
from secondlook.proxy.mitm.http.http2_head import split_authority
from secondlook.proxy.mitm.streams.stream_events import InterimResponse, StopUpload

WINDOW_BYTES = 2 << 20  # what a peer may send of a stream unacknowledged
STEP_S = 0.005  # of handling frames, before others have their turn
_LAST = (ResponseEndOfMessage, ResponseProtocolError, StopUpload)
_PORTS = {b"http": 80, b"https": 443}
_TOO_LARGE = b"Second Look did not pass this on: the head of the request is larger than it may be.\n"


class Upload(Protocol):
    """An origin's side, asked how much of an upload still waits there."""

    def unsent(self, theirs: int) -> int:
        """Return how many bytes of a stream's upload wait."""


class Streams(Protocol):
    """What a side asks its HTTP layer."""

    def is_pressed(self, stream_id: int) -> bool:
        """Return whether a stream's origin should not send more."""

    def is_full(self, stream_id: int) -> bool:
        """Return whether a stream's client should not send more."""

    def fill(self, stream_id: int, origin: "Upload") -> None:
        """Note that more of an upload waits for its origin than should."""


@dataclass
class Acknowledge(HttpEvent):
    """A stream has room again: let the origin, or the client, send more of it."""


class _SendApart(commands.SendData):
    """Bytes in a TLS record of their own: curl forgets the answer that a reset comes with."""


class _Late(commands.RequestWakeup):
    """The end of the time for a head."""


class Side(MitmHttp2Connection):
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
        if self._turn is not None:  # it will not come
            self._press(pressed=False)
        open_streams, self.streams = self.streams, {}
        for stream_id, state in open_streams.items():
            yield ReceiveHttp(self._lost(stream_id, state, msg))
        self.h2_conn.forget_all()

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


class Http2ClientSide(Side, Http2Server):
    """HTTP/2 towards the client."""

    def __init__(self, context: Context, streams: Streams, limits: TrafficLimitsSettings) -> None:
        super().__init__(context)
        self._begin(streams, limits)
        self._stopping: set[int] = set()  # uploads that end once their answers are out

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
            self._stopping.add(event.stream_id)
        else:
            yield from self._network(event) or super()._handle_event(event)
        if self._stopping:
            yield from self._stop_uploads()
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

    def _stop_uploads(self) -> Commands:
        """End uploads that are not wanted, each when its answer is out: a reset drops what waits."""
        for stream_id in list(self._stopping):
            if self.is_closed(stream_id):
                self._stopping.discard(stream_id)
            elif not self.h2_conn.stream_buffers.get(stream_id):
                self._stopping.discard(stream_id)
                self.h2_conn.reset_stream(stream_id, h2.errors.ErrorCodes.NO_ERROR)
                self.streams.pop(stream_id, None)
                yield _SendApart(self.conn, self.h2_conn.data_to_send())

    def _refuse_head(self, event: HeadTooLarge) -> None:
        head = [
            (b":status", b"431"),
            (b"content-type", b"text/plain"),
            (b"content-length", b"%d" % len(_TOO_LARGE)),
        ]
        self.h2_conn.send_headers(event.stream_id, head)
        self.h2_conn.send_data(event.stream_id, _TOO_LARGE, end_stream=True)
        if not event.stream_ended:
            self._stopping.add(event.stream_id)


def _nothing() -> Commands:
    yield from ()


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
        headers=as_headers(fields[4:]),
        content=None,
        trailers=None,
        timestamp_start=time.time(),
        timestamp_end=None,
    )
