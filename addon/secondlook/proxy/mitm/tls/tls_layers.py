"""TLS with both sides: bounded in time, ended by an alert whenever it comes, and one record for one step.

mitmproxy waits for a handshake as long as the peer likes, and only logs an alert that comes after it: in TLS
1.3 that is how an origin says that it wants a client certificate, and the request would wait for good. See
docs/upstream.md.

What a child sends in answer to one event is encrypted together: a head, its body and its end were three
records, each with its own way through OpenSSL and all layers above.
"""

import logging
import re
from functools import cached_property
from typing import Any

from mitmproxy.connection import ConnectionState
from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers.tls import ClientTLSLayer, ServerTLSLayer, TlsFailedServerHook, TLSLayer
from mitmproxy.proxy.tunnel import TunnelState
from mitmproxy.tls import TlsData
from OpenSSL import SSL

from secondlook.proxy.mitm.commands import Commands
from secondlook.proxy.mitm.tls.client_hello import HELLO_MAX_BYTES, HelloBuffer
from secondlook.proxy.mitm.tls.tls_sessions import keep_session
from secondlook.proxy.mitm.tls.tunnel import Opening

HANDSHAKE_S = 20.0
NO_HANDSHAKE = "no TLS handshake within the time for it"
ALERT = "TLS ended: "
_READ_BYTES = 65_535  # at a time
_lib, _ffi = SSL._lib, SSL._ffi  # type: ignore[attr-defined]  # noqa: SLF001
_LAST_REASON = re.compile(r"'([^']*)'\)\]$")


def _holds(bio: Any) -> bool:
    """Return whether there is anything in a buffer of OpenSSL's."""
    return bool(_lib.BIO_get_mem_data(bio, _ffi.NULL) > 0)


class _Bounded(TLSLayer):
    """TLS whose handshake has to be over in time."""

    _timer: commands.RequestWakeup | None = None
    _broken: str | None = None  # how TLS ended, where it did not as it should

    @cached_property
    def _unsent(self) -> list[bytes]:  # layers of mitmproxy's become ours by their class alone
        return []

    def _handle_event(self, event: events.Event) -> Commands:
        if type(event) is events.DataReceived:
            if event.connection.id != self.tunnel_connection.id:
                yield from self.event_to_child(event)
                return
            if self.tunnel_state is TunnelState.OPEN:
                yield from self.receive_data(event.data)
                return
        if isinstance(event, events.Wakeup) and event.command is self._timer:
            self._timer = None
            if self.tunnel_state is TunnelState.ESTABLISHING:
                yield from self.on_handshake_error(NO_HANDSHAKE)
                yield from self._handshake_finished(NO_HANDSHAKE)
            return
        yield from super()._handle_event(event)

    def event_to_child(self, event: events.Event) -> Commands:
        """Pass an event on; what is sent in answer to it goes in one go.

        An event may lead to another one here before all that it leads to is done: they share what is unsent.
        """
        conn, unsent = self.conn, self._unsent
        if self.tunnel_state is TunnelState.INACTIVE:  # an origin that nobody has connected to
            for command in self.child_layer.handle_event(event):
                if isinstance(command, commands.ConnectionCommand) and command.connection.id == conn.id:
                    yield from self._handle_command(command)
                else:
                    yield command
            return
        if self.tunnel_state is not TunnelState.OPEN:
            yield from super().event_to_child(event)
            return
        for command in self.child_layer.handle_event(event):
            if type(command) is commands.SendData:  # a kind of it is sent apart (`http2.py`)
                if command.connection.id == conn.id:
                    unsent.append(command.data)
                else:
                    yield command
            elif isinstance(command, commands.ConnectionCommand):
                yield from self._send_all()
                yield from self._handle_command(command)
            else:
                yield command
        yield from self._send_all()

    def _send_all(self) -> Commands:
        unsent = self._unsent
        if unsent:
            data = unsent[0] if len(unsent) == 1 else b"".join(unsent)
            unsent.clear()
            yield from self.send_data(data)

    def tls_interact(self) -> Commands:
        """Send what OpenSSL has for the other side; mitmproxy asks for more until that raises."""
        while _holds(self.tls._from_ssl):  # noqa: SLF001
            yield commands.SendData(self.conn, self.tls.bio_read(_READ_BYTES))

    def receive_data(self, data: bytes) -> Commands:
        """Take data, as mitmproxy does, which reads on after the last record until that raises."""
        tls, self._broken = self.tls, None
        if data:
            tls.bio_write(data)
        pieces: list[bytes] = []
        closed = False
        try:
            pieces.append(tls.recv(_READ_BYTES))
            while _holds(tls._into_ssl):  # noqa: SLF001
                pieces.append(tls.recv(_READ_BYTES))
        except SSL.WantReadError:
            pass
        except SSL.ZeroReturnError:
            closed = True
        except SSL.Error as error:
            self._broken = str(error)
            yield commands.Log(f"TLS Error: {error}", logging.WARNING)
        yield from self.tls_interact()
        if pieces:
            plain = pieces[0] if len(pieces) == 1 else b"".join(pieces)
            yield from self.event_to_child(events.DataReceived(self.conn, plain))
        if closed:
            self.conn.state &= ~ConnectionState.CAN_READ
            yield from self.event_to_child(events.ConnectionClosed(self.conn))

    def start_handshake(self) -> Commands:
        """Begin, and note when it has to be over."""
        self._timer = commands.RequestWakeup(HANDSHAKE_S)
        yield self._timer
        yield from super().start_handshake()


class OriginTls(_Bounded, ServerTLSLayer):
    """TLS towards an origin."""

    _session_kept = False

    def receive_data(self, data: bytes) -> Commands:
        """Take data; what breaks TLS, an alert above all, ends the connection."""
        yield from super().receive_data(data)
        broken = self._broken
        if not self._session_kept and data and broken is None:
            self._session_kept = True
            keep_session(self.tls)
        if broken is None or self.tunnel_state is not TunnelState.OPEN:
            return
        reason = _LAST_REASON.search(broken)
        self.conn.error = ALERT + (reason[1] if reason is not None else broken)
        self.tunnel_state = TunnelState.CLOSED
        yield TlsFailedServerHook(TlsData(self.conn, self.context, self.tls))
        yield commands.CloseConnection(self.conn)
        yield from self.event_to_child(events.ConnectionClosed(self.conn))


class BoundedClientTls(_Bounded, ClientTLSLayer):
    """TLS towards a client that speaks it with the proxy itself, or of a mode that begins with it."""

    _hello_read = False

    @cached_property
    def _hello(self) -> HelloBuffer:
        return HelloBuffer()

    def receive_handshake_data(self, data: bytes) -> layer.CommandGenerator[tuple[bool, str | None]]:
        """Take data; a ClientHello is read when it is whole, not again for each piece of it."""
        if not (self._hello_read or self.is_dtls):
            self._hello_read = self._hello.add(data)
            if self._hello.is_too_large:
                return False, f"its ClientHello is larger than {HELLO_MAX_BYTES} bytes"
            if not self._hello_read:
                return False, None
            data = bytes(self._hello.data)
            del self._hello
        return (yield from super().receive_handshake_data(data))


class ClientTls(BoundedClientTls):
    """TLS towards a client, inside a tunnel."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.child_layer = Opening(self.context)

    def start_tls(self) -> Commands:
        """Open the origin's TLS first where its connection stands already, as its client was silent."""
        server = self.context.server
        if server.connected and not server.tls_established and self.server_tls_available:
            yield from self.start_server_tls()
        yield from super().start_tls()
