"""HTTP/1 towards the origin: requests of any version written as HTTP/1.1, answers read to their true end.

- Interim answers (1xx but 101) go on before the answer; mitmproxy takes the first for the answer.
- An HTTP/2 body without a length goes to an HTTP/1 origin in chunks; mitmproxy would send none.
- An answer may be whole before its request is: what comes after it, or that nothing does, ends the upload.
  After a 101 the upload goes on, and what comes by the other protocol waits for its end.
- A body that ends with its connection is cut, not whole, when its origin broke the connection off.
"""

from h11._readers import Http10Reader
from mitmproxy.connection import ConnectionState
from mitmproxy.proxy import commands, events
from mitmproxy.proxy.layers.http._base import HttpEvent, ReceiveHttp
from mitmproxy.proxy.layers.http._events import (
    ErrorCode,
    RequestData,
    RequestEndOfMessage,
    RequestHeaders,
    RequestProtocolError,
    RequestTrailers,
    ResponseEndOfMessage,
    ResponseHeaders,
    ResponseProtocolError,
)
from mitmproxy.proxy.layers.http._http1 import Http1Client

from secondlook.proxy.mitm.commands import Commands
from secondlook.proxy.mitm.http.framing import SWITCHING_PROTOCOLS, HeadError
from secondlook.proxy.mitm.http.head import host_of, read_response, write_request
from secondlook.proxy.mitm.http.http1 import AHEAD_MAX_BYTES, FINAL, Side
from secondlook.proxy.mitm.streams.stream_events import InterimResponse, StopUpload, Unanswered, Withdrawn
from secondlook.proxy.mitm.unreachable import UNREADABLE

BROKEN = "secondlook_broken"  # attribute of a server connection that did not end but broke


class Http1OriginSide(Side, Http1Client):
    """HTTP/1 towards the origin."""

    _reused = False

    def _too_late(self, error: HeadError) -> Commands:
        yield commands.CloseConnection(self.conn)
        yield self._failure(f"{UNREADABLE}{error}")

    def send(self, event: HttpEvent) -> Commands:
        """Send a part of a request."""
        match event:
            case RequestProtocolError():
                if isinstance(event, Withdrawn):
                    self._handle_event = self._ignore  # type: ignore[assignment]
                yield commands.CloseConnection(self.conn)
            case RequestHeaders(request=request):
                if self.stream_id is None:
                    self.stream_id, self.request = event.stream_id, request
                assert event.stream_id == self.stream_id
                yield commands.SendData(self.conn, self._head_of(event))
            case RequestData(data=data):
                assert event.stream_id == self.stream_id
                if data:
                    yield commands.SendData(
                        self.conn, b"%x\r\n%s\r\n" % (len(data), data) if self.chunked else data
                    )
            case RequestEndOfMessage():
                assert event.stream_id == self.stream_id
                if self.chunked:
                    yield commands.SendData(self.conn, b"0\r\n\r\n")
                    self.chunked = False  # another protocol may follow
                yield from self.mark_done(request=True)
            case RequestTrailers():
                return
            case _:
                raise AssertionError(f"Unexpected event: {event}")

    def _head_of(self, event: RequestHeaders) -> bytes:
        """Write the head of a request that may have come by another version of HTTP."""
        request = event.request
        fields = request.data.headers
        self.chunked = "transfer-encoding" in fields
        if request.is_http2 or request.is_http3:
            request = request.copy()
            request.authority = ""
            fields = request.headers
            fields.pop("te", None)
            cookies = fields.get_all("cookie")
            if len(cookies) > 1:  # RFC 9113, 8.2.3
                fields["Cookie"] = "; ".join(cookies)
            if not event.end_stream and "content-length" not in fields:
                fields["transfer-encoding"] = "chunked"
                self.chunked = True
        if "host" not in fields:
            request = request.copy()
            request.headers.insert(0, "Host", host_of(event.request))
        return write_request(request)

    def read_headers(self, event: events.ConnectionEvent) -> Commands:
        """Read the head of a response, and of interim ones before it."""
        if not isinstance(event, events.DataReceived):
            yield from self._ended_before_answer()
            return
        request = self.request
        if request is None:
            yield commands.Log(f"{len(self.buf)} bytes came from an origin without a request")
            yield commands.CloseConnection(self.conn)
            return
        assert self.stream_id is not None
        try:
            while True:
                head = yield from self._take_head()
                if head is None:
                    return
                response, framing = read_response(head, request)
                if response.data.status_code >= FINAL or response.data.status_code == SWITCHING_PROTOCOLS:
                    break
                self.buf.count_interim(head)
                yield ReceiveHttp(InterimResponse(self.stream_id, response))
        except HeadError as error:
            yield commands.CloseConnection(self.conn)
            yield self._failure(f"{UNREADABLE}{error}")
            return
        self.response = response
        self.lasting = framing.lasting and not (request.is_http2 or request.is_http3)
        yield ReceiveHttp(ResponseHeaders(self.stream_id, response, framing.size == 0))
        yield from self._begin_body(framing.size, event, strict=False)

    def _ended_before_answer(self) -> Commands:
        if self.conn.state & ConnectionState.CAN_WRITE:
            yield commands.CloseConnection(self.conn)
        if self.stream_id is None:
            return
        if self.buf:
            yield self._failure("unexpected server response: the connection ended in its head")
        elif self._reused:
            yield ReceiveHttp(
                Unanswered(self.stream_id, "server closed connection", ErrorCode.GENERIC_SERVER_ERROR)
            )
        else:
            yield self._failure("server closed connection")

    def _failure(self, message: str) -> ReceiveHttp:
        assert self.stream_id is not None
        return ReceiveHttp(ResponseProtocolError(self.stream_id, message, ErrorCode.GENERIC_SERVER_ERROR))

    def _end_sized(self, end: ReceiveHttp) -> Commands:
        assert self.response is not None
        if self.response.data.status_code == SWITCHING_PROTOCOLS:  # the other protocol begins after it
            yield end
            yield from self.mark_done(response=True)
        else:
            yield from self.mark_done(response=True)
            yield end  # it may bring the next request at once, for which we must be ready

    def _read_open(self, event: events.Event) -> Commands:
        if (
            isinstance(event, events.ConnectionClosed)
            and type(self.body_reader) is Http10Reader
            and self._is_broken()
        ):
            yield commands.CloseConnection(self.conn)
            yield self._failure("the server broke the connection off in the body")
            return
        upgraded = self.response is not None and self.response.status_code == SWITCHING_PROTOCOLS
        end: commands.Command | None = None
        for command in super()._read_open(event):
            if (
                not upgraded
                and isinstance(command, ReceiveHttp)
                and isinstance(command.event, ResponseEndOfMessage)
            ):
                end = command  # as in `_end_sized`
            else:
                yield command
        if end is not None:
            yield end
        if not isinstance(event, events.ConnectionClosed):
            return
        if self.state == self._answered:
            yield from self._answered(event)
        elif self.state == self.read_headers:
            yield commands.CloseConnection(self.conn)  # a body that ended with its connection

    def mark_done(self, *, request: bool = False, response: bool = False) -> Commands:
        """Note which message is whole; an answer may be before its request is."""
        yield from super().mark_done(request=request, response=response)
        if self.response_done and not self.request_done:
            assert self.response is not None
            switched = self.response.status_code == SWITCHING_PROTOCOLS
            self.state = self._switched if switched else self._answered

    def _switched(self, event: events.Event) -> Commands:
        """Keep what comes by another protocol until the upload before it ends, but not without end."""
        if isinstance(event, events.DataReceived) and len(self.buf) <= AHEAD_MAX_BYTES:
            return
        yield commands.CloseConnection(self.conn)
        self.state = self.done
        yield self._failure("the origin did not wait for the end of an upload")

    def make_pipe(self) -> Commands:
        """Go over to what is no HTTP; an origin that begins with an empty line means it."""
        self.state = self.passthrough
        if self.buf:
            waiting = bytes(self.buf.maybe_extract_at_most(len(self.buf)) or b"")
            yield from self.state(events.DataReceived(self.conn, waiting))

    def _answered(self, _: events.Event) -> Commands:
        """End an upload whose answer is whole: its origin has gone, or sends what nobody asked for."""
        assert self.stream_id is not None
        yield commands.CloseConnection(self.conn)
        self.state = self.done
        yield ReceiveHttp(StopUpload(self.stream_id))

    def _ignore(self, _: events.Event) -> Commands:
        yield from ()

    def _is_broken(self) -> bool:
        """Return whether the connection broke, or the one to the next proxy that it goes through."""
        # mitmproxy gives each layer of a tunnel its own connection; the socket that broke is the lowest one's
        below = (getattr(layer, "tunnel_connection", None) for layer in self.context.layers)
        return any(getattr(conn, BROKEN, False) for conn in (self.conn, *below))

    def _next_stream(self) -> None:
        self.stream_id = None
        self._reused = True
