"""A web server of the tests' own, which knows what reached it."""

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


@dataclass
class Origin:
    """A web server that counts connections and requests."""

    port: int
    connections: int = 0
    requests: list[tuple[str, str, str]] = field(default_factory=list)  # method, host, path
    pages: dict[str, tuple[Any, ...]] = field(default_factory=dict)  # path: content type, body
    ranges: list[str] = field(default_factory=list)  # that were asked for; it gives none

    def url(self, path: str = "/", host: str = "127.0.0.1", scheme: str = "http") -> str:
        """A URL on this origin."""
        return f"{scheme}://{host}:{self.port}{path}"


@contextlib.contextmanager
def origin(
    *, certificate: tuple[Path, Path] | None = None, address: tuple[str, int] = ("127.0.0.1", 0)
) -> Iterator[Origin]:
    """Run an origin; with `certificate` (certificate, key) over TLS."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            while length > 0:
                length -= len(self.rfile.read(min(length, 1 << 20)) or b"x" * length)
            found.requests.append((self.command, self.headers.get("Host", ""), self.path))
            found.ranges += self.headers.get_all("Range", [])
            kind, body, *more = found.pages.get(
                self.path.partition("?")[0], ("text/html", b"<h1>origin</h1>")
            )
            self.send_response(200)
            for name, value in (("Content-Type", kind), ("Content-Length", str(len(body))), *more):
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_GET = do_POST = do_PUT = do_HEAD = _answer  # noqa: N815 - the base class's names

        def log_message(self, *_: object) -> None:
            pass

    class Counting(ThreadingHTTPServer):
        daemon_threads = True

        def get_request(self) -> tuple[socket.socket, Any]:
            sock, address = super().get_request()
            found.connections += 1
            if context is not None:
                sock = context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
            return sock, address

        def handle_error(self, *_: object) -> None:
            pass

    context: ssl.SSLContext | None = None
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
    server = Counting(address, Handler)
    found = Origin(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
