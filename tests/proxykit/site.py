"""A small site of its own on this machine, for what fetches pages by itself."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

type Answer = Callable[[BaseHTTPRequestHandler], None]


@contextlib.contextmanager
def serving(answer: Answer) -> Iterator[str]:
    """Serve a site, each GET and POST answered by `answer`; give its address, which ends in a slash."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer(self)

        do_POST = do_GET  # noqa: N815 - as http.server names them

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()


def send_page(request: BaseHTTPRequestHandler, body: bytes, status: int = 200) -> None:
    """Answer with a body of known length, and no word on its type."""
    request.send_response(status)
    request.send_header("content-length", str(len(body)))
    request.end_headers()
    request.wfile.write(body)
