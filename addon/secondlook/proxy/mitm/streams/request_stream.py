"""A request on its way to its origin, and once more where that did not take it up.

mitmproxy answers 502 where a connection that was kept open turns out to be closed. Whoever looks at the same
page without a proxy does not see that: browsers ask again, and so does this, where it does the same twice as
once (RFC 9110, 9.2.2), or the origin reported that it has not looked at the request.
"""

from typing import Protocol

from mitmproxy.connection import Connection, Server
from mitmproxy.proxy import events, layer
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers.http import GetHttpConnection, HttpStream, SendHttp
from mitmproxy.proxy.layers.http._events import (
    ErrorCode,
    RequestData,
    RequestEndOfMessage,
    RequestHeaders,
    RequestProtocolError,
    RequestTrailers,
    ResponseProtocolError,
)

from secondlook.proxy.mitm.commands import Commands
from secondlook.proxy.mitm.streams.stream_events import GOING_AWAY, Unanswered, Unprocessed
from secondlook.proxy.mitm.unreachable import FAILURES, ORIGIN_FAILED

_IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})  # RFC 9110, 9.2.2
REPEATS_MAX = 5  # of a request that origins report not to have looked at
KEPT_MAX_BYTES = 64 << 10  # of a request's body, for the case that it must be made again


class _Connect(GetHttpConnection):
    """Asks for a connection to an origin; one that goes away takes no new requests."""

    def connection_spec_matches(self, connection: Connection) -> bool:
        return not getattr(connection, GOING_AWAY, False) and super().connection_spec_matches(connection)


class Origins(Protocol):
    """The connections to origins that a client has."""

    def ready(self, wanted: GetHttpConnection) -> Server | None:
        """Return a connection that takes a request at once; None where it has to be asked for."""

    def tunnel(self, first: layer.Layer) -> None:
        """Note that a tunnel is open for a client of HTTP/1; `first` is what runs through it."""


class RequestStream(HttpStream):
    """A request that may be made again while it is all here."""

    def __init__(self, context: Context, stream_id: int, origins: Origins) -> None:
        super().__init__(context, stream_id)
        self.client_state = self.state_wait_for_request_headers  # all that mitmproxy does at a `Start`
        self._origins = origins
        self.whole_request = False  # no body follows the headers
        self.repeated = 0  # how often the origin did not take it up, and was asked once more
        self._kept: list[bytes] | None = []  # the body as far as it was sent; None where it is too long
        self._kept_bytes = 0

    def handle_protocol_error(self, event: RequestProtocolError | ResponseProtocolError) -> Commands:
        """Ask again where that may be done; else note for the `error` hook that the origin failed."""
        if isinstance(event, Unanswered) and self._may_repeat(event):
            self.repeated += 1
            yield from self.ask_origin()
            return
        if isinstance(event, ResponseProtocolError) and event.code in FAILURES:
            self.flow.metadata[ORIGIN_FAILED] = True
        yield from super().handle_protocol_error(event)

    def _may_repeat(self, event: Unanswered) -> bool:
        """Return whether a request does the same twice as once, and is all here to be made again."""
        if self._kept is None or self.server_state != self.state_wait_for_response_headers:
            return False
        if isinstance(event, Unprocessed):
            streams = (self.state_stream_request_body, self.state_done)
            return self.repeated < REPEATS_MAX and self.client_state in streams
        return (
            not self.repeated
            and self.whole_request
            and self.client_state == self.state_done
            and self.flow.request.method in _IDEMPOTENT
        )

    def ask_origin(self) -> Commands:
        """Make a request, over any connection to its origin that there is or can be."""
        if not (yield from self.make_server_connection()):
            return
        request, body = self.flow.request, self._kept or []
        done = self.client_state == self.state_done
        bare = done and not body and not request.trailers
        yield SendHttp(RequestHeaders(self.stream_id, request, end_stream=bare), self.context.server)
        for piece in body:
            yield SendHttp(RequestData(self.stream_id, piece), self.context.server)
        if done:
            if request.trailers:
                yield SendHttp(RequestTrailers(self.stream_id, request.trailers), self.context.server)
            yield SendHttp(RequestEndOfMessage(self.stream_id), self.context.server)

    def make_server_connection(self) -> layer.CommandGenerator[bool]:
        """Get a connection that takes requests; mitmproxy would also take one that goes away."""
        request, known = self.flow.request, self.flow.server_conn
        wanted = _Connect(
            (request.host, request.port), request.scheme == "https", known.via, known.transport_protocol
        )
        connection, error = self._origins.ready(wanted), None
        if connection is None:
            connection, error = yield wanted
        if error:
            failed = ResponseProtocolError(self.stream_id, error, ErrorCode.CONNECT_FAILED)
            yield from self.handle_protocol_error(failed)
            return False
        self.context.server = self.flow.server_conn = connection
        return True

    def state_stream_request_body(self, event: events.Event) -> Commands:
        """Pass a piece of the body on, and keep a small one for the case that it must be sent again."""
        if type(event) is RequestData and self._kept is not None:
            self._kept_bytes += len(event.data)
            if self._kept_bytes > KEPT_MAX_BYTES or self.server_state != self.state_wait_for_response_headers:
                self._kept = None
            else:
                self._kept.append(event.data)
        yield from super().state_stream_request_body(event)
