"""HTTP/1 towards the client and the origin: mitmproxy's connections, which look once and drop trailers.

- HTTP/1.1 trailers raise NotImplementedError in mitmproxy and truncate clean files; they are read and
  dropped (RFC 9110, 6.5.1 allows it).
- An HTTP/2 body without a length goes to an HTTP/1 origin in chunks; mitmproxy would send none.
- Interim responses (1xx but 101) are read and dropped; mitmproxy takes the first for the answer.
- A body that ends with its connection is cut, not whole, when its origin broke the connection off.
- A client of HTTP/1.0 gets no chunks: its connection ends the body, and a cut body resets it.
- A response may say its one length twice (RFC 9110, 8.6); in a request that stays refused.
- What the headers of a message say about its framing is looked up once, not for every piece; a piece in the
  middle of a body of known length goes on as it came, without three copies through a buffer; and after a
  common exchange the connection is simply ready for the next. What is not common takes mitmproxy's way.
"""

import re
from collections.abc import Iterable
from typing import Any

import h11
from h11._readers import ChunkedReader, ContentLengthReader, Http10Reader
from h11._receivebuffer import ReceiveBuffer
from mitmproxy.http import Message
from mitmproxy.net.http.http1 import expected_http_body_size
from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers.http._base import HttpEvent, ReceiveHttp
from mitmproxy.proxy.layers.http._events import (
    ErrorCode,
    RequestEndOfMessage,
    RequestHeaders,
    RequestTrailers,
    ResponseData,
    ResponseEndOfMessage,
    ResponseHeaders,
    ResponseProtocolError,
    ResponseTrailers,
)
from mitmproxy.proxy.layers.http._http1 import Http1Client, Http1Connection, Http1Server

from secondlook.proxy.stream import StopUpload, Unanswered, Withdrawn

type Commands = layer.CommandGenerator[None]

_FRAMING = frozenset({b"connection", b"content-length", b"transfer-encoding"})
_FRAMING_LENGTHS = frozenset(map(len, _FRAMING))
_SWITCHING_PROTOCOLS = 101
_INTERIM = re.compile(rb"HTTP/1\.[0-9] 1(?!01)[0-9]{2}(?: |$)")
BROKEN = "secondlook_broken"  # attribute of a server connection that did not end but broke


class _TrailerlessReader(ChunkedReader):
    """h11's reader of chunked bodies, forgetting the trailers."""

    def __call__(self, buf: Any) -> Any:
        event = super().__call__(buf)
        return h11.EndOfMessage() if isinstance(event, h11.EndOfMessage) and event.headers else event


class _HeadBuffer(ReceiveBuffer):
    """A buffer whose next head has been taken out and looked at."""

    head: list[bytearray] | None = None

    def maybe_extract_lines(self) -> list[bytearray] | None:
        head, self.head = self.head, None
        return head if head is not None else super().maybe_extract_lines()


class _Side(Http1Connection):
    """What both sides share."""

    def _handle_event(self, event: events.Event) -> Commands:
        if (
            type(event) is events.DataReceived
            and not self.buf
            and self.state == self.read_body
            and type(self.body_reader) is ContentLengthReader
            and len(event.data) < self.body_reader._remaining  # noqa: SLF001
        ):
            return self._pass_piece(event.data, self.body_reader)
        return super()._handle_event(event)

    def _pass_piece(self, data: bytes, reader: ContentLengthReader) -> Commands:
        assert self.stream_id is not None
        reader._remaining -= len(data)  # noqa: SLF001
        if data:
            yield ReceiveHttp(self.ReceiveData(self.stream_id, data))

    def read_body(self, event: events.Event) -> Commands:
        if type(self.body_reader) is ChunkedReader:
            self.body_reader = _TrailerlessReader()
        return super().read_body(event)

    def mark_done(self, *, request: bool = False, response: bool = False) -> Commands:
        """Note which message is whole; after a common exchange wait for the next."""
        self.request_done |= request
        self.response_done |= response
        if not (self.request_done and self.response_done and self._lasts()):
            yield from super().mark_done()
            return
        self.request_done = self.response_done = False
        self.request = self.response = None
        self._next_stream()
        self.state = self.read_headers
        if self.buf:
            yield from self.state(events.DataReceived(self.conn, b""))

    def _lasts(self) -> bool:
        """Tell whether an exchange was common enough to say at a glance that its connection lives on."""
        request, response = self.request, self.response
        assert request is not None
        assert response is not None
        return (
            request.data.http_version == response.data.http_version == b"HTTP/1.1"
            and response.data.status_code != _SWITCHING_PROTOCOLS
            and request.data.method.upper() != b"CONNECT"
            and not any(name != b"content-length" for name in _framing(request, closing=True))
            and _framing(response, closing=True) == [b"content-length"]
        )

    def _next_stream(self) -> None:
        raise NotImplementedError


class Http1ClientSide(_Side, Http1Server):
    """HTTP/1 towards the client."""

    _chunked = False  # the response that is being sent

    def send(self, event: HttpEvent) -> Commands:
        """Send a part of a response."""
        match event:
            case ResponseHeaders():
                if self.request is not None and self.request.data.http_version == b"HTTP/1.0":
                    event = _without_chunks(event)
                yield from super().send(event)
                coding = event.response.headers.get("transfer-encoding", "")
                self._chunked = "chunked" in coding.lower()
            case ResponseData(data=data):
                assert event.stream_id == self.stream_id
                if data:  # an empty chunk would end a chunked body
                    yield commands.SendData(
                        self.conn, b"%x\r\n%s\r\n" % (len(data), data) if self._chunked else data
                    )
            case ResponseEndOfMessage() if not self._chunked:
                assert event.stream_id == self.stream_id
                yield from self.mark_done(response=True)
            case ResponseTrailers() | StopUpload():
                return
            case ResponseProtocolError():
                if self._ends_with_connection():
                    reset = getattr(self.conn, "reset", None)  # a plain end would make the body look whole
                    if reset is not None:
                        reset()
                yield from super().send(event)
            case _:
                yield from super().send(event)

    def _ends_with_connection(self) -> bool:
        """Tell whether the end of the connection is the end of the body that is being sent."""
        request, response = self.request, self.response
        return (
            request is not None
            and response is not None
            and not _framing(response, closing=False)
            and expected_http_body_size(request, response) == -1
        )

    def _next_stream(self) -> None:
        self.stream_id += 2


class Http1OriginSide(_Side, Http1Client):
    """HTTP/1 towards the origin."""

    _bodiless = False  # the request that is being sent
    _reused = False

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.buf: _HeadBuffer = _HeadBuffer()

    def send(self, event: HttpEvent) -> Commands:
        """Send a part of a request."""
        match event:
            case Withdrawn():
                self._handle_event = self._ignore  # type: ignore[assignment]
                yield from super().send(event)
            case RequestHeaders():
                framed = _framing(event.request, closing=False)
                self._bodiless = not framed
                if not framed and not event.end_stream and event.request.is_http2:
                    event.request.headers["transfer-encoding"] = "chunked"
                    self._bodiless = False
                yield from super().send(event)
            case RequestEndOfMessage() if self._bodiless and self.response is None:
                assert event.stream_id == self.stream_id
                yield from self.mark_done(request=True)
            case RequestTrailers():
                return
            case _:
                yield from super().send(event)

    def read_headers(self, event: events.ConnectionEvent) -> Commands:
        """Read the head of a response, past interim ones."""
        if isinstance(event, events.DataReceived) and self.request is not None:
            head = self.buf.maybe_extract_lines()
            while head and _INTERIM.match(head[0]):
                head = self.buf.maybe_extract_lines()
            if not head:
                return
            self.buf.head = _with_one_length(head)
        elif (
            isinstance(event, events.ConnectionClosed)
            and self._reused
            and self.stream_id is not None
            and not self.buf
        ):
            yield commands.CloseConnection(self.conn)
            yield ReceiveHttp(
                Unanswered(self.stream_id, "server closed connection", ErrorCode.GENERIC_SERVER_ERROR)
            )
            return
        yield from super().read_headers(event)

    def read_body(self, event: events.Event) -> Commands:
        """Read a piece of a response."""
        if (
            isinstance(event, events.ConnectionClosed)
            and type(self.body_reader) is Http10Reader
            and self._is_broken()
        ):
            assert self.stream_id is not None
            yield commands.CloseConnection(self.conn)
            yield ReceiveHttp(
                ResponseProtocolError(
                    self.stream_id,
                    "the server broke the connection off in the body",
                    ErrorCode.GENERIC_SERVER_ERROR,
                )
            )
            return
        upgraded = self.response is not None and self.response.status_code == _SWITCHING_PROTOCOLS
        end: commands.Command | None = None
        for command in super().read_body(event):
            if (
                not upgraded
                and isinstance(command, ReceiveHttp)
                and isinstance(command.event, ResponseEndOfMessage)
            ):
                end = command  # it may bring the next request at once, for which we must be ready
            else:
                yield command
        if end is not None:
            yield end
        if isinstance(event, events.ConnectionClosed) and self.state == self.read_headers:
            yield commands.CloseConnection(self.conn)  # a body that ended with its connection

    def _ignore(self, _: events.Event) -> Commands:
        yield from ()

    def _is_broken(self) -> bool:
        """Tell whether the connection broke, or the one to the next proxy that it goes through."""
        below = (getattr(layer, "tunnel_connection", None) for layer in self.context.layers)
        return any(getattr(conn, BROKEN, False) for conn in (self.conn, *below))

    def _next_stream(self) -> None:
        self.stream_id = None
        self._reused = True


def _with_one_length(head: list[bytearray]) -> list[bytearray]:
    """Leave one of several equal lengths of a head; any other head stays, for mitmproxy to refuse."""
    said = [number for number, line in enumerate(head) if line[:15].lower() == b"content-length:"]
    if len(said) < 2 or any(line[:1] in {b" ", b"\t"} for line in map(bytes, head)):  # noqa: PLR2004
        return head
    if len({bytes(head[number][15:]).strip() for number in said}) > 1:
        return head
    return [line for number, line in enumerate(head) if number not in said[1:]]


def _without_chunks(event: ResponseHeaders) -> ResponseHeaders:
    """Have the end of the connection end a body that came in chunks."""
    coding = event.response.headers.get("transfer-encoding", "")
    if "chunked" not in coding.lower():
        return event
    response = event.response.copy()
    del response.headers["transfer-encoding"]
    rest = coding.lower().replace(" ", "").removesuffix("chunked").rstrip(",")
    if rest:
        response.headers["transfer-encoding"] = rest
    response.headers["connection"] = "close"
    return ResponseHeaders(event.stream_id, response, event.end_stream)


def _framing(message: Message, *, closing: bool) -> list[bytes]:
    """List the headers that frame a message's body and, with `closing`, those that may end its connection."""
    found: list[bytes] = []
    fields: Iterable[tuple[bytes, bytes]] = message.data.headers.fields
    for name, value in fields:
        if len(name) not in _FRAMING_LENGTHS:
            continue
        lower = name.lower()
        if lower in _FRAMING and (lower != b"connection" or (closing and b"close" in value)):
            found.append(lower)
    return found
