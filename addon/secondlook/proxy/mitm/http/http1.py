"""HTTP/1: what both sides share, and the client's; mitmproxy's connections, with heads and bodies read by us.

Heads are read by `head.py`, chunks by `chunks.py`; here is what they mean for a connection.

- A head is bounded, with the interim answers before it and the trailers after it, whole in time.
- Interim answers (1xx but 101) go on to clients of HTTP/1.1 and HTTP/2 (RFC 9110, 15.2); mitmproxy takes the
  first for the answer.
- Each connection lasts as its own two ends say, not as those of the connection behind it do.
- Trailers raise NotImplementedError in mitmproxy and truncate clean files; they are read and dropped
  (RFC 9110, 6.5.1 allows it).
- A client of HTTP/1.0 gets no chunks: its connection ends the body, and a cut body resets it.
- A client that ends its side while it waits has gone, and its origin is stopped: browsers that cancel look
  so, and nobody can tell them from one that only has nothing more to say.
- A piece in the middle of a body of known length goes on as it came, without three copies through a buffer.

The origin's side is `http1_origin.py`.
"""

from collections.abc import Callable

from h11._readers import ContentLengthReader, Http10Reader
from mitmproxy.connection import ConnectionState
from mitmproxy.http import Request, Response
from mitmproxy.net.http import status_codes
from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers.http import HttpStream
from mitmproxy.proxy.layers.http._base import HttpEvent, ReceiveHttp
from mitmproxy.proxy.layers.http._events import (
    RequestHeaders,
    ResponseData,
    ResponseEndOfMessage,
    ResponseHeaders,
    ResponseProtocolError,
    ResponseTrailers,
)
from mitmproxy.proxy.layers.http._http1 import Http1Connection, Http1Server
from mitmproxy.utils import human

from secondlook.config.traffic import TrafficLimitsSettings
from secondlook.proxy.mitm.commands import Commands
from secondlook.proxy.mitm.http.chunks import ChunkReader
from secondlook.proxy.mitm.http.framing import REQUEST_TIMEOUT, SWITCHING_PROTOCOLS, HeadError
from secondlook.proxy.mitm.http.head import glance, read_request, write_response
from secondlook.proxy.mitm.http.head_buffer import HeadBuffer
from secondlook.proxy.mitm.streams.early_stream import LINGER_S
from secondlook.proxy.mitm.streams.stream_events import InterimResponse, StopUpload

type Explain = Callable[[Request, int, str], Response]
"""Makes the answer with the reason why there is no other one: to a request, with a status, in a sentence."""

AHEAD_MAX_BYTES = 1 << 20  # that a client may send of further requests while it waits for an answer
FINAL = 200  # statuses from here on are answers, those below interim ones


class Side(Http1Connection):
    """What both sides share."""

    buf: HeadBuffer
    body_reader: ContentLengthReader | Http10Reader | ChunkReader  # type: ignore[assignment]
    lasting = False  # as far as the other end of this connection is concerned
    chunked = False  # the message that is being sent
    _late: commands.RequestWakeup | None = None  # ends the time of the head that has begun to come

    def __init__(self, context: Context, limits: TrafficLimitsSettings) -> None:
        super().__init__(context)  # type: ignore[call-arg]  # of mitmproxy's side, which knows its connection
        self.limits = limits
        self.buf = HeadBuffer(limits.head, limits.head_lines)

    def handle_event(self, event: events.Event) -> Commands:
        """Handle an event at once: no command of ours is waited for."""
        if self.debug is not None:
            return super().handle_event(event)
        return self._handle_event(event)

    def _handle_event(self, event: events.Event) -> Commands:
        if isinstance(event, HttpEvent):
            return self.send(event)
        if isinstance(event, events.DataReceived):
            if (  # it is all body: no way through the buffer
                not self.buf
                and self.state == self.read_body
                and type(self.body_reader) is ContentLengthReader
                and len(event.data) < self.body_reader._remaining  # noqa: SLF001
            ):
                return self._pass_piece(event.data, self.body_reader)
            if self.state != self.passthrough:
                self.buf.add(event.data)
        elif isinstance(event, events.Wakeup):
            return self._wake(event)
        return self.state(event)

    def _wake(self, event: events.Wakeup) -> Commands:
        if event.command is self._late and self.conn.state & ConnectionState.CAN_READ:
            self._late = None
            text = f"its head was not whole within {self.limits.head_time:g} s"
            yield from self._too_late(HeadError(text, REQUEST_TIMEOUT))

    def _too_late(self, error: HeadError) -> Commands:
        raise NotImplementedError

    def _take_head(self) -> layer.CommandGenerator[bytes | None]:
        """Take a head that is whole; one of which a part is here has to be in time."""
        head = self.buf.take_head()
        if head is not None:
            self._late = None
        elif self.buf and self._late is None:
            self._late = commands.RequestWakeup(self.limits.head_time)
            yield self._late
        return head

    def _pass_piece(self, data: bytes, reader: ContentLengthReader) -> Commands:
        assert self.stream_id is not None
        reader._remaining -= len(data)  # noqa: SLF001
        if data:
            yield ReceiveHttp(self.ReceiveData(self.stream_id, data))

    def read_body(self, event: events.Event) -> Commands:
        """Read a piece of a body."""
        if type(self.body_reader) is ContentLengthReader and isinstance(event, events.DataReceived):
            return self._read_sized(self.body_reader)
        return self._read_open(event)

    def _read_sized(self, reader: ContentLengthReader) -> Commands:
        """Read a piece of a body whose size is known; mitmproxy has h11 make events of it."""
        assert self.stream_id is not None
        yield from self._pass_piece(self.buf.take(reader._remaining), reader)  # noqa: SLF001
        if not reader._remaining:  # noqa: SLF001
            yield from self._end_sized(ReceiveHttp(self.ReceiveEndOfMessage(self.stream_id)))

    def _end_sized(self, end: ReceiveHttp) -> Commands:
        raise NotImplementedError

    def _read_open(self, event: events.Event) -> Commands:
        """Read a piece of a body that ends by chunks or with its connection, or the end of a connection."""
        return super().read_body(event)

    def _begin_body(self, size: int | None, event: events.Event, *, strict: bool) -> Commands:
        if size is None:
            self.body_reader = ChunkReader(self.limits.head, strict=strict)
        elif size < 0:
            self.body_reader = Http10Reader()
        else:
            self.body_reader = ContentLengthReader(size)
        self.state = self.read_body
        yield from self.state(event)

    def mark_done(self, *, request: bool = False, response: bool = False) -> Commands:
        """Note which message is whole; after both wait for the next, or end with them."""
        self.request_done |= request
        self.response_done |= response
        if not (self.request_done and self.response_done):
            return
        assert self.request is not None
        assert self.response is not None
        if _is_pipe(self.request, self.response):
            yield from self.make_pipe()
            return
        if not self.lasting:
            yield commands.CloseConnection(self.conn)
            self.state = self.done
            return
        self.request_done = self.response_done = False
        self.request = self.response = None
        self.buf.begin()
        self._next_stream()
        self.state = self.read_headers
        if self.buf:
            yield from self.state(events.DataReceived(self.conn, b""))

    def _next_stream(self) -> None:
        raise NotImplementedError


class Http1ClientSide(Side, Http1Server):
    """HTTP/1 towards the client."""

    def __init__(self, context: Context, limits: TrafficLimitsSettings, explain: Explain) -> None:
        super().__init__(context, limits)
        self._explain = explain
        self._lingering: commands.RequestWakeup | None = None
        self._open_ended = False  # the end of the connection ends the body that is being sent

    def read_headers(self, event: events.ConnectionEvent) -> Commands:
        """Read the head of a request."""
        if not isinstance(event, events.DataReceived):
            yield commands.CloseConnection(self.conn)
            return
        try:
            head = yield from self._take_head()
        except HeadError as error:
            yield from self._refuse(bytes(self.buf), error)
            return
        if head is None:
            return
        try:
            self.request, framing = read_request(head)
        except HeadError as error:
            yield from self._refuse(head, error)
            return
        self.lasting = framing.lasting and self.request.data.http_version == b"HTTP/1.1"  # RFC 9112, 9.3
        yield ReceiveHttp(RequestHeaders(self.stream_id, self.request, framing.size == 0))
        yield from self._begin_body(framing.size, event, strict=True)

    def _end_sized(self, end: ReceiveHttp) -> Commands:
        assert self.request is not None
        if self.request.data.method != b"CONNECT":
            yield end
        yield from self.mark_done(request=True)

    def _refuse(self, head: bytes, error: HeadError) -> Commands:
        """Report why a request is not understood; there is no stream for it."""
        yield commands.Log(f"{human.format_address(self.conn.peername)}: a request was refused: {error}")
        sentence = f"The proxy cannot read this request: {error}"
        yield from self._answer(self._explain(glance(head), error.status, sentence))
        self.buf = HeadBuffer(self.limits.head, self.limits.head_lines)
        self.state = self._linger
        self._late, self._lingering = None, commands.RequestWakeup(LINGER_S)
        yield self._lingering

    def _answer(self, response: Response) -> Commands:
        head = write_response(response, closing=True)
        bare = self.request is not None and self.request.data.method == b"HEAD"
        yield commands.SendData(self.conn, head + (b"" if bare else response.raw_content or b""))

    def _linger(self, event: events.Event) -> Commands:
        """Let the client read its answer before the end; what it still sends is forgotten."""
        if not isinstance(event, events.DataReceived):
            yield commands.CloseConnection(self.conn)
            self.state = self.done

    def _handle_event(self, event: events.Event) -> Commands:
        if self._lingering is not None and isinstance(event, events.DataReceived):
            return self._linger(event)
        return super()._handle_event(event)

    def _wake(self, event: events.Wakeup) -> Commands:
        if event.command is self._lingering:
            return self._linger(event)
        return super()._wake(event)

    def _too_late(self, error: HeadError) -> Commands:
        return self._refuse(bytes(self.buf), error)

    def wait(self, event: events.Event) -> Commands:
        """Wait for the answer; further requests wait too, but not without end."""
        if len(self.buf) <= self.limits.head + AHEAD_MAX_BYTES:
            yield from super().wait(event)
            return
        self.buf = HeadBuffer(self.limits.head, self.limits.head_lines)
        yield from super().wait(events.ConnectionClosed(self.conn))

    def mark_done(self, *, request: bool = False, response: bool = False) -> Commands:
        """Note which message is whole."""
        yield from super().mark_done(request=request, response=response)
        if self.request_done and not self.response_done:
            self.state = self.wait

    def send(self, event: HttpEvent) -> Commands:
        """Send a part of a response."""
        assert event.stream_id == self.stream_id
        match event:
            case ResponseHeaders(response=response) if (
                response.data.status_code >= FINAL or response.data.status_code == SWITCHING_PROTOCOLS
            ):
                yield from self._send_head(response)
            case ResponseHeaders(response=response) | InterimResponse(response=response):
                if self.request is not None and self.request.data.http_version == b"HTTP/1.1":
                    yield commands.SendData(self.conn, write_response(response))
            case ResponseData(data=data):
                if data:  # an empty chunk would end a chunked body
                    yield commands.SendData(
                        self.conn, b"%x\r\n%s\r\n" % (len(data), data) if self.chunked else data
                    )
            case ResponseEndOfMessage():
                yield from self._send_end()
            case ResponseProtocolError():
                yield from self._fail(event)
            case ResponseTrailers() | StopUpload():
                return
            case _:
                raise AssertionError(f"Unexpected event: {event}")

    def _send_head(self, response: Response) -> Commands:
        """Send the head of the answer, with what it means for this connection."""
        request = self.request
        assert request is not None
        self.response = response
        if response.is_http2 or response.is_http3:
            response = response.copy()
            response.reason = status_codes.RESPONSES.get(response.status_code, "")
        if _is_pipe(request, response):
            yield commands.SendData(self.conn, write_response(response))
            return
        chunked = sized = closing = False
        for name, value in response.data.headers.fields:
            match len(name):
                case 10:
                    closing |= name.lower() == b"connection" and b"close" in value.lower()
                case 14:
                    sized |= name.lower() == b"content-length"
                case 17:
                    chunked |= name.lower() == b"transfer-encoding"
                case _:
                    pass
        if chunked and request.data.http_version == b"HTTP/1.0":
            chunked = False
            response = response.copy()
            del response.headers["transfer-encoding"]
        bare = request.data.method == b"HEAD" or response.data.status_code in {204, 304}
        self.chunked = chunked and not bare
        self._open_ended = not (chunked or sized or bare)
        self.lasting &= not closing and not self._open_ended
        yield commands.SendData(self.conn, write_response(response, closing=not self.lasting and not closing))

    def _send_end(self) -> Commands:
        """Send the end of a response; where that is the connection's it waits for no upload."""
        if self.chunked:
            yield commands.SendData(self.conn, b"0\r\n\r\n")
            self.chunked = False  # another protocol may follow
        if self._open_ended and not self.request_done and not self._is_in_tunnel():
            yield commands.CloseTcpConnection(self.conn, half_close=True)
        yield from self.mark_done(response=True)

    def _is_in_tunnel(self) -> bool:
        """Return whether both sides can only end at once: an unread upload would take the answer back."""
        return any(isinstance(each, HttpStream) for each in self.context.layers)

    def _fail(self, event: ResponseProtocolError) -> Commands:
        """End an exchange without, or in the middle of, its answer."""
        if not self.conn.state & ConnectionState.CAN_WRITE:
            return
        status = event.code.http_status_code()
        if self.response is None and self.request is not None and status is not None:
            yield from self._answer(self._explain(self.request, status, event.message))
        elif self._open_ended:
            reset = getattr(self.conn, "reset", None)  # a plain end would make the body look whole
            if reset is not None:
                reset()
        yield commands.CloseConnection(self.conn)

    def _next_stream(self) -> None:
        self.stream_id += 2


def _is_pipe(request: Request, response: Response) -> bool:
    """Return whether what follows is no HTTP any more."""
    status = response.data.status_code
    return status == SWITCHING_PROTOCOLS or (request.data.method == b"CONNECT" and 200 <= status < 300)  # noqa: PLR2004
