"""The sides of a connection without sockets: events in, bytes and events out."""

import h2.config
import h2.connection
from mitmproxy.connection import ConnectionState, Server
from mitmproxy.http import Response
from mitmproxy.options import Options
from mitmproxy.proxy import commands, events
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers.http._base import ReceiveHttp
from mitmproxy.test.tflow import tclient_conn


class NoStreams:
    def is_pressed(self, _stream_id: int) -> bool:
        return False

    def is_full(self, _stream_id: int) -> bool:
        return False

    def fill(self, _stream_id: int, _origin: object) -> None:
        pass


def problem(*_: object) -> Response:
    return Response.make(400)


def around() -> Context:
    options = Options()
    for name, value in (("validate_inbound_headers", True), ("normalize_outbound_headers", True)):
        options.add_option(name, bool, value, "of mitmproxy's Proxyserver")
    options.add_option("http2_ping_keepalive", int, 0, "of mitmproxy's Proxyserver")
    context = Context(tclient_conn(), options)
    context.server = Server(address=("a.test", 443))
    context.server.state = ConnectionState.OPEN
    return context


def run(side, *happened: events.Event) -> tuple[bytes, list[object]]:
    """Give what a side sends, and the events that it makes of what happened."""
    sent = b""
    made: list[object] = []
    waiting = list(happened)
    while waiting:
        for command in side.handle_event(waiting.pop(0)):
            if isinstance(command, commands.SendData):
                sent += command.data
            elif isinstance(command, ReceiveHttp):
                made.append(command.event)
            elif isinstance(command, commands.CloseConnection):
                command.connection.state = ConnectionState.CLOSED
            elif isinstance(command, commands.RequestWakeup) and not command.delay:
                waiting.insert(0, events.Wakeup(command))  # it had its turn
    return sent, made


def as_http2(method: str, target: str, host: str, fields: list[tuple[str, str]]) -> bytes:
    state = h2.connection.H2Connection(
        h2.config.H2Configuration(validate_outbound_headers=False, normalize_outbound_headers=False)
    )
    state.initiate_connection()
    head = [(":method", method), (":scheme", "https"), (":authority", host), (":path", target)]
    state.send_headers(1, [*head, *fields], end_stream=True)
    return state.data_to_send()
