"""What the stories of the review page share: its address, requests through its proxy, sites beside it."""

import contextlib
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from playwright.sync_api import Page

from e2e.processes import Proxy

BLOCKED = "http://malware.secondlook.test/page"


def review(proxy: Proxy) -> str:
    """Return the address of the review page."""
    return f"http://{proxy.facts['review']}"


def curl(proxy: Proxy, *arguments: str) -> str:
    """Ask through a proxy, whatever the environment says; return status and `X-Second-Look`."""
    command = ["curl", "-sS", "--noproxy", "", "-x", proxy.url]
    shown = ["-o", "/dev/null", "-w", "%{http_code} %header{x-second-look}"]
    return subprocess.run(
        [*command, *shown, *arguments], capture_output=True, text=True, timeout=60, check=False
    ).stdout


def first_event(page: Page) -> str:
    """Open the entry of a block; return the identifier of its event."""
    page.goto("/log?decision=block&host=malware.secondlook.test")
    page.locator("tbody a").first.click()
    return page.url.rpartition("/")[2]


@contextlib.contextmanager
def serving(answer: Callable[[BaseHTTPRequestHandler], None]) -> Iterator[str]:
    """Serve a site of its own on this machine, each GET answered by `answer`; give its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer(self)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()
