"""One request and its response: mitmproxy's `HttpStream`, answering at once and gating bodies.

```
request headers ─► hook ─► answered (blocked, own site) ─► response out, upload stopped (`early_stream.py`)
                     └───► allowed ─► origin ─► response headers ─► hook ─► gated body (`gated_stream.py`)
```
"""

from collections.abc import Callable
from typing import cast

from mitmproxy import http
from mitmproxy.net.http import url as mitm_url
from mitmproxy.net.http.validate import validate_headers
from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers.http import DropStream, HTTPMode, SendHttp
from mitmproxy.proxy.layers.http._events import (
    ErrorCode,
    RequestData,
    RequestEndOfMessage,
    RequestHeaders,
    RequestProtocolError,
    RequestTrailers,
    ResponseData,
    ResponseEndOfMessage,
    ResponseHeaders,
    ResponseProtocolError,
    ResponseTrailers,
)
from mitmproxy.proxy.layers.http._hooks import (
    HttpRequestHeadersHook,
    HttpRequestHook,
    HttpResponseHeadersHook,
    HttpResponseHook,
)

from secondlook.core.neutralize import inert
from secondlook.download.body.response_facts import has_body
from secondlook.proxy.mitm.addon_port import AddonPort
from secondlook.proxy.mitm.commands import Commands
from secondlook.proxy.mitm.streams.early_stream import SWITCHING_PROTOCOLS, EarlyStream
from secondlook.proxy.mitm.streams.request_stream import Origins
from secondlook.proxy.mitm.streams.stream_events import InterimResponse, StopUpload
from secondlook.proxy.mitm.streams.websocket import WebSocketRelay
from secondlook.proxy.mitm.teardown import part_with
from secondlook.proxy.mitm.tls.tunnel import RawTunnel, own_tunnel
from secondlook.proxy.mitm.unreachable import UNREADABLE
from secondlook.refusal.refusal import INTERNAL_HOST, passed_fields

HEALTH_PATH = "/healthz"
HTTP_PORT = 80
ORIGIN_FORM = "secondlook.origin_form"  # key of a flow's metadata
_HOOKS = (HttpRequestHeadersHook, HttpRequestHook, HttpResponseHeadersHook, HttpResponseHook)
_OF_REQUEST = frozenset({RequestHeaders, RequestData, RequestTrailers, RequestEndOfMessage})
_OF_RESPONSE = frozenset({ResponseHeaders, ResponseData, ResponseTrailers, ResponseEndOfMessage})
_BAD_REQUEST = 400
_PROXY_AUTHENTICATION = 407


class AnsweringStream(EarlyStream):
    """A request that may be answered at its headers."""

    def __init__(self, context: Context, stream_id: int, addon: AddonPort, origins: Origins) -> None:
        super().__init__(context, stream_id, origins)
        self.addon = addon
        # of our `Connection`; mitmproxy's own handler, in `mitmdump -s`, has none
        self._begin: Callable[[commands.StartHook], bool] | None = getattr(context.client, "begin", None)
        self._depth = 0  # of events within events
        self._dropped = False
        self._owed: commands.Command | None = None  # the end of an upload after which another protocol begins
        self.origin_form = False  # `GET /path`, as one asks a server, not a proxy

    def handle_event(self, event: events.Event) -> Commands:
        """Handle an event, running hooks on the spot.

        Nearly every hook is done at once. mitmproxy would send it up through all layers and its completion
        down again; here only those that must be waited for take that way.
        """
        begin = self._begin
        if begin is None or self._paused is not None:
            yield from super().handle_event(event)
            return
        generator = self._handle_event(event)
        self._depth += 1
        for command in generator:
            if command.blocking is True:
                if isinstance(command, _HOOKS) and begin(command):
                    continue
                # as mitmproxy's `Layer` does: what comes until the reply is queued by it
                command.blocking = self
                self._paused = layer.Paused(command, generator)
                self._depth -= 1
                yield command
                return
            if type(command) is DropStream:
                self._dropped = True
            yield command
        self._depth -= 1
        if self._dropped and not self._depth and self._paused is None:
            part_with(self)

    def state_wait_for_request_headers(self, event: RequestHeaders) -> Commands:
        """Take the request's headers; the hook decides."""
        self.whole_request = event.end_stream
        request = event.request
        self.origin_form = not request.data.authority and not request.is_http2
        if self._is_health_check(request):
            # a balancer names no host, or any: what a proxy itself is asked for is its own site's
            request.data.host, request.data.port, request.scheme = INTERNAL_HOST, HTTP_PORT, "http"
        if not request.data.host and self.mode is not HTTPMode.transparent and not _names_host(request):
            self.flow = http.HTTPFlow(self.context.client, self.context.server)
            self.flow.request = request
            yield from self._refuse_request("it does not say for which host it is")
            return
        yield from super().state_wait_for_request_headers(event)

    def _is_health_check(self, request: http.Request) -> bool:
        return (
            self.origin_form
            and self.mode is not HTTPMode.transparent
            and request.method in {"GET", "HEAD"}
            and request.path.partition("?")[0] == HEALTH_PATH
        )

    def _refuse_request(self, why: str) -> Commands:
        text = f"The proxy cannot read this request: {why}"
        yield from self.answer(self.addon.problem(self.flow.request, _BAD_REQUEST, text))

    def check_invalid(self, request: bool) -> layer.CommandGenerator[bool]:
        """Note the form of a request for the hook, and refuse what no other layer has read well.

        Heads of HTTP/1 were read and repaired by `head.py`, those of HTTP/2 by `http2_head.py`; mitmproxy
        would refuse some of them here, in its own words.
        """
        if not request:
            return (yield from self._check_answer())
        if self.origin_form:
            self.flow.metadata[ORIGIN_FORM] = True
        asked = self.flow.request
        why = None
        if asked.scheme not in {"http", "https", ""}:
            why = "its address is not one of http or https"
        elif asked.method == "CONNECT" and self.mode is HTTPMode.transparent:
            why = "CONNECT has no meaning here"
        elif asked.is_http3:
            why = self._fault_of(asked)
        if why is not None:
            yield from self._refuse_request(why)
        return why is not None

    def _fault_of(self, message: http.Message) -> str | None:
        if self.context.options.validate_inbound_headers:
            try:
                validate_headers(message)
            except ValueError as error:
                return str(error)
        return None

    def _check_answer(self) -> layer.CommandGenerator[bool]:
        response = self.flow.response
        assert response is not None
        why = self._fault_of(response) if response.is_http3 else None
        if why is None:
            return False
        self.flow.response = None
        yield from self._refuse_answer(why)
        return True

    def _refuse_answer(self, why: str) -> Commands:
        """Give an answer up whose headers cannot be taken."""
        message = f"{UNREADABLE}{why}"
        yield SendHttp(RequestProtocolError(self.stream_id, message, ErrorCode.CANCEL), self.context.server)
        yield from self.handle_protocol_error(
            ResponseProtocolError(self.stream_id, message, ErrorCode.GENERIC_SERVER_ERROR)
        )

    def handle_connect_finish(self) -> Commands:
        """Begin the tunnel with a layer that waits until its bytes show what it is."""
        if self.child_layer is not None:
            self.child_layer = own_tunnel(self.child_layer, self.context)
        yield from super().handle_connect_finish()
        response = self.flow.response
        if self.child_layer is not None and response is not None and _opens_tunnel(response.status_code):
            self._origins.tunnel(self.child_layer)

    def start_request_stream(self) -> Commands:
        """Go on to the origin; where it was closed only now, the `error` hook has answered."""
        yield from super().start_request_stream()
        if self.flow.response is not None and not self.flow.live:
            self.client_state = self._state_swallow

    def flow_done(self) -> Commands:
        """Go on with what follows the answer: a WebSocket, or another protocol that is not opened."""
        response = self.flow.response
        assert response is not None
        if self._end_sent:
            self.flow.live = False
            yield DropStream(self.stream_id)
            return
        if not self._switches:
            yield from super().flow_done()
            return
        if self.flow.websocket is not None:
            self.child_layer = WebSocketRelay(self.context, self.flow)
        else:
            self.flow.live = False
            text = inert(response.headers.get("upgrade", "?"), 40)
            self.child_layer = RawTunnel(self.context, f"upgraded to {text}")
        # from now on mitmproxy's `passthrough` translates between the connections' events and the child's
        self._handle_event = self.passthrough  # type: ignore[method-assign]
        yield from self.child_layer.handle_event(events.Start())
        if self._owed is not None:
            yield self._owed
        yield SendHttp(ResponseEndOfMessage(self.stream_id), self.context.client)

    def state_stream_request_body(self, event: events.Event) -> Commands:
        """Pass a piece of an upload on; its end may bring another protocol, for which all must be ready."""
        for command in super().state_stream_request_body(event):
            ended = type(command) is SendHttp and type(command.event) is RequestEndOfMessage
            if ended and self._owed is None and self._switches and self.server_state == self.state_done:
                self._owed = command  # it comes again from `flow_done`
            else:
                yield command

    def state_wait_for_response_headers(self, event: ResponseHeaders) -> Commands:
        """Take the answer's headers; another protocol is only gone over to where the request asked for it.

        A client that did not ask reads on past a 101 (RFC 9110, 15.2), in what we would take for the other
        protocol and pass on unread. One that knows that it asks a proxy takes a 407 for ours: it forgets the
        password that it has, and asks for another (RFC 9110, 15.5.8).
        """
        request = self.flow.request
        if event.response.status_code == _PROXY_AUTHENTICATION and self.mode is not HTTPMode.transparent:
            yield from self._refuse_answer("it asks for a password as only a proxy may, 407")
            return
        if event.response.status_code == SWITCHING_PROTOCOLS and (
            request.is_http2 or "upgrade" not in request.headers
        ):
            yield from self._refuse_answer("it switches to a protocol that nobody asked for")
            return
        yield from super().state_wait_for_response_headers(event)

    def start_response_stream(self) -> Commands:
        """Begin with the body; what follows the headers of an answer that has none goes nowhere."""
        yield from super().start_response_stream()
        response = self.flow.response
        assert response is not None
        if not has_body(self.flow.request.method, response.status_code):
            self.server_state = self._state_no_body

    def _state_no_body(self, event: events.Event) -> Commands:
        if isinstance(event, ResponseEndOfMessage):
            yield from self.send_response(already_streamed=True)

    def _handle_event(self, event: events.Event) -> Commands:
        kind = type(event)
        if kind is StopUpload:
            return self._end_upload()
        if kind in _OF_REQUEST:
            return self.client_state(event)  # type: ignore[no-any-return]
        if kind in _OF_RESPONSE:
            return self.server_state(event)  # type: ignore[no-any-return]
        if kind is events.Wakeup:
            return self._wake(cast("events.Wakeup", event))
        if kind is InterimResponse:
            return self._pass_interim(cast("InterimResponse", event).response)
        return cast("Commands", super()._handle_event(event))

    def _pass_interim(self, response: http.Response) -> Commands:
        """Pass an interim answer on where the answer is still awaited."""
        if self.server_state == self.state_wait_for_response_headers:
            response.data.headers.fields = passed_fields(response.data.headers.fields, response.status_code)
            yield SendHttp(InterimResponse(self.stream_id, response), self.context.client)


def _opens_tunnel(status: int) -> bool:
    return 200 <= status < 300  # noqa: PLR2004 - RFC 9110, 9.3.6


def _names_host(request: http.Request) -> bool:
    try:
        return bool(mitm_url.parse_authority(request.host_header or "", check=True)[0])
    except ValueError:
        return False
