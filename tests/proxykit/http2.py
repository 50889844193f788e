"""HTTP/2 on raw sockets: a client and an origin that may say anything, malformed things too."""

import contextlib
import functools
import socket
import ssl
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings

from secondlook.proxy.mitm.http.http2_connection import Http2Connection

TIMEOUT_S = 30

type Fields = Iterable[tuple[str, str]]


def _state(*, client: bool) -> h2.connection.H2Connection:
    state = h2.connection.H2Connection(
        h2.config.H2Configuration(
            client_side=client,
            validate_inbound_headers=False,
            validate_outbound_headers=False,
            normalize_outbound_headers=False,
        )
    )
    state.decoder.max_header_list_size = 1 << 24
    state.encoder.encode = functools.partial(state.encoder.encode, huffman=False)  # quadratic in its length
    return state


def shut_client(ours: Http2Connection) -> h2.connection.H2Connection:
    """Make a client that has asked `ours` for a page, and whose window is shut; its head has come."""
    client = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
    client.initiate_connection()
    client.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 0})
    ask = [(":method", "GET"), (":scheme", "https"), (":authority", "files.test"), (":path", "/")]
    client.send_headers(1, ask, end_stream=True)
    ours.receive_data(client.data_to_send())
    ours.send_headers(1, [(b":status", b"200")])
    client.receive_data(ours.data_to_send())
    return client


def text(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[str, str]]:
    """Decode the headers of an event."""
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers]


@dataclass
class Peer:
    """One end of a connection."""

    sock: ssl.SSLSocket
    state: h2.connection.H2Connection
    number: int = 0
    over: bool = False  # the other side closed the connection

    def send(self, raw: bytes = b"") -> None:
        """Send what waits, then some bytes."""
        with contextlib.suppress(OSError):
            self.sock.sendall(self.state.data_to_send() + raw)

    def receive(self) -> list[h2.events.Event]:
        """Wait for something, and answer what must be answered; nothing at the end."""
        try:
            data = self.sock.recv(1 << 16)
        except TimeoutError:
            raise
        except OSError:
            data = b""
        if not data:
            self.over = True
            return []
        found = self.state.receive_data(data)
        for event in found:
            if isinstance(event, h2.events.DataReceived):
                with contextlib.suppress(h2.exceptions.ProtocolError):
                    self.state.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        self.send()
        return found


@dataclass
class Got:
    """What came back on one stream; `error` is the code of its end where it was reset."""

    status: int = 0
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""
    whole: bool = False
    error: int | None = None


class Client(Peer):
    """A client of the proxy, in a tunnel to an origin; `meanwhile` is done before it says anything there."""

    def __init__(
        self, proxy: int, origin: int, ca: Path, meanwhile: Callable[[], object] | None = None
    ) -> None:
        raw = socket.create_connection(("127.0.0.1", proxy), TIMEOUT_S)
        raw.sendall(f"CONNECT 127.0.0.1:{origin} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        assert b" 200 " in raw.recv(1000)
        if meanwhile is not None:
            meanwhile()
        context = ssl.create_default_context(cafile=ca)
        context.set_alpn_protocols(["h2"])
        sock = context.wrap_socket(raw, server_hostname="127.0.0.1")
        assert sock.selected_alpn_protocol() == "h2"
        super().__init__(sock, _state(client=True))
        self.origin = origin
        self.got: dict[int, Got] = {}
        self.goaway: int | None = None
        self.state.initiate_connection()
        self.send()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def head(self, method: str = "GET", path: str = "/", **more: str) -> list[tuple[str, str]]:
        return [
            (":method", method),
            (":scheme", "https"),
            (":authority", f"127.0.0.1:{self.origin}"),
            (":path", path),
            *((name.replace("_", "-"), value) for name, value in more.items()),
        ]

    def ask(self, fields: Fields, *, end: bool = True) -> int:
        stream_id = self.state.get_next_available_stream_id()
        self.got[stream_id] = Got()
        self.state.send_headers(stream_id, list(fields), end_stream=end)
        return stream_id

    def get(self, path: str = "/", **more: str) -> Got:
        return self.finish(self.ask(self.head(path=path, **more)))

    def finish(self, *streams: int) -> Got:
        """Read until streams, or the connection, are at their end; gives the last one's."""
        self.send()
        while not self.over and not all(self._is_over(stream_id) for stream_id in streams):
            self.read()
        return self.got[streams[-1]]

    def _is_over(self, stream_id: int) -> bool:
        got = self.got[stream_id]
        return got.whole or got.error is not None

    def read(self) -> None:
        for event in self.receive():
            got = self.got.get(getattr(event, "stream_id", 0), Got())
            match event:
                case h2.events.ResponseReceived():
                    (_, status), *got.headers = text(event.headers)
                    got.status = int(status)
                case h2.events.DataReceived():
                    got.body += event.data
                case h2.events.StreamEnded():
                    got.whole = True
                case h2.events.StreamReset():
                    got.error = event.error_code
                case h2.events.ConnectionTerminated():
                    self.goaway = event.error_code
                    self.over = True


@dataclass
class Origin:
    """An HTTP/2 origin; `handle` is called for every event of every connection, in a thread of it."""

    certificate: Path
    handle: Callable[[Peer, h2.events.Event], None]
    peers: list[Peer] = field(default_factory=list)
    requests: list[tuple[int, int, dict[str, str]]] = field(default_factory=list)  # connection, stream, head
    resets: list[tuple[int, int]] = field(default_factory=list)
    listen_on: int = 0  # a port; 0: any

    def __enter__(self) -> Self:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(self.certificate)
        self._context.set_alpn_protocols(["h2"])
        self._listener = socket.create_server(("127.0.0.1", self.listen_on))
        self.port = self._listener.getsockname()[1]
        self._threads: list[threading.Thread] = []
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        """End each thread before what it reads is closed: the number of that is another file's at once."""
        self._listener.shutdown(socket.SHUT_RDWR)  # ends what waits for a client
        self._threads[0].join(TIMEOUT_S)
        for peer in self.peers:
            with contextlib.suppress(OSError):  # it is over
                socket.socket.shutdown(peer.sock, socket.SHUT_RDWR)  # that of TLS would forget the keys
        for thread in self._threads:
            thread.join(TIMEOUT_S)
        for peer in self.peers:
            peer.sock.close()
        self._listener.close()

    def _start(self, work: Callable[..., None], *given: object) -> None:
        self._threads.append(threading.Thread(target=work, args=given, daemon=True))
        self._threads[-1].start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                raw, _ = self._listener.accept()
                self._start(self._serve, raw)

    def _serve(self, raw: socket.socket) -> None:
        with contextlib.suppress(OSError, h2.exceptions.ProtocolError):
            raw.settimeout(TIMEOUT_S)
            sock = self._context.wrap_socket(raw, server_side=True)
            sock.settimeout(None)
            peer = Peer(sock, _state(client=False), len(self.peers))
            self.peers.append(peer)
            peer.state.initiate_connection()
            peer.send()
            while not peer.over:
                for event in peer.receive():
                    if isinstance(event, h2.events.RequestReceived):
                        self.requests.append((peer.number, event.stream_id, dict(text(event.headers))))
                    elif isinstance(event, h2.events.StreamReset):
                        self.resets.append((event.stream_id, event.error_code))
                    self.handle(peer, event)
                peer.send()


def reply(
    peer: Peer, stream_id: int, body: bytes = b"ok", *fields: tuple[str, str], status: str = "200"
) -> None:
    """Send a whole answer."""
    peer.state.send_headers(stream_id, [(":status", status), ("content-type", "text/plain"), *fields])
    peer.state.send_data(stream_id, body, end_stream=True)


def answer(peer: Peer, event: h2.events.Event) -> None:
    """Answer each request with "ok"."""
    if isinstance(event, h2.events.StreamEnded):
        reply(peer, event.stream_id)


def holding(count: int) -> tuple[Callable[[Peer, h2.events.Event], None], dict[int, list[int]]]:
    """Answer nothing before `count` requests are there on a connection, then say what a test wants."""
    held: dict[int, list[int]] = {}

    def handle(peer: Peer, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.StreamEnded):
            held.setdefault(peer.number, []).append(event.stream_id)

    return handle, held
