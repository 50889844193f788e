"""An origin with a page that plays a sound of ten minutes, served with ranges."""

import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

RATE, SECONDS = 8000, 600
SIZE = RATE * SECONDS
HEAD = struct.pack(
    "<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + SIZE, b"WAVE", b"fmt ", 16, 1, 1, RATE, RATE, 1, 8, b"data", SIZE
)
SOUND = HEAD + b"\x80" * SIZE
PAGE = b"<video id=a src=/sound.wav preload=metadata></video>"


@contextmanager
def video() -> Iterator[tuple[str, list[str]]]:
    """Serve the page while the block runs: its URL, and the `Range` of each request for the sound."""
    ranges: list[str] = []

    class Origin(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            if self.path == "/":
                self._send(200, PAGE, "text/html", [])
                return
            asked = self.headers.get("Range", "")
            ranges.append(asked)
            found = re.fullmatch(r"bytes=(\d+)-(\d*)", asked)
            if not found:
                self._send(200, SOUND, "audio/wav", [])
                return
            first, last = int(found[1]), int(found[2] or len(SOUND) - 1)
            place = f"bytes {first}-{last}/{len(SOUND)}"
            self._send(206, SOUND[first : last + 1], "audio/wav", [("Content-Range", place)])

        def _send(self, status: int, body: bytes, kind: str, headers: list[tuple[str, str]]) -> None:
            self.send_response(status)
            for name, value in [
                *headers,
                ("Content-Type", kind),
                ("Accept-Ranges", "bytes"),
                ("ETag", '"w"'),
            ]:
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            try:
                self.wfile.write(body)
            except OSError:
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Origin)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://localhost:{server.server_address[1]}/", ranges
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
