"""An origin that sends a body in two halves, the second when it is told to."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

PATIENCE_S = 60.0
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-msdownload\r\nContent-Length: %d\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Halves:
    """Where it listens, and its two events."""

    port: int
    begun: threading.Event = field(default_factory=threading.Event)  # the first half was sent
    go_on: threading.Event = field(default_factory=threading.Event)  # set by the test


@contextlib.contextmanager
def halves(body: bytes) -> Iterator[Halves]:
    """Run an origin for one request; at the end what it has not sent stays unsent."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(PATIENCE_S)
        found = Halves(listening.getsockname()[1])
        over = threading.Event()

        def serve() -> None:
            link, _ = listening.accept()
            with link:
                link.recv(65536)
                link.sendall(HEAD % len(body) + body[: len(body) // 2])
                found.begun.set()
                found.go_on.wait(PATIENCE_S)
                if not over.is_set():
                    with contextlib.suppress(OSError):
                        link.sendall(body[len(body) // 2 :])

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield found
        finally:
            over.set()
            found.go_on.set()
            thread.join(PATIENCE_S)
