"""A proxy to attack: a real `secondlook run`, the site behind it, the watch beside it."""

import contextlib
import http.client
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from attackkit.site import Site
from attackkit.watch import Watch
from e2e.processes import Answer, Proxy

PATIENCE_S = 10.0


@dataclass
class Stand:
    """What an attack is given."""

    start: Callable[[], Proxy]
    site: Site
    proxy: Proxy
    watch: Watch
    login: str = ""  # of the watch

    @classmethod
    def make(cls, start: Callable[[], Proxy], site: Site, login: str = "") -> "Stand":
        """Start the proxy and the watch."""
        proxy = start()
        return cls(start, site, proxy, cls._watched(proxy, login), login)

    @staticmethod
    def _watched(proxy: Proxy, login: str) -> Watch:
        return Watch(proxy.address, proxy.facts["workers"][0], login)

    def close(self) -> None:
        """End both."""
        self.watch.__exit__()
        if self.proxy.process.poll() is None:
            self.proxy.stop()

    def renew(self) -> None:
        """Start another proxy in place of one that serves nobody any more."""
        self.watch.__exit__()
        self.proxy.kill_family()
        self.proxy = self.start()
        self.watch = self._watched(self.proxy, self.login)

    @property
    def port(self) -> int:
        """The proxy's port."""
        return self.proxy.port

    # ---- clients

    def curl(self, url: str, *arguments: str) -> Answer:
        """Fetch with curl; a client that has patience."""
        return self.proxy.curl(url, "--max-time", str(PATIENCE_S), *arguments)

    @contextlib.contextmanager
    def line(self) -> Iterator[socket.socket]:
        """Connect to the proxy."""
        with socket.create_connection(("127.0.0.1", self.port), PATIENCE_S) as line:
            line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            yield line

    @contextlib.contextmanager
    def tunnel(self, port: int, host: str = "127.0.0.1") -> Iterator[socket.socket]:
        """Open a tunnel."""
        with self.line() as line:
            line.sendall(f"CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
            assert b" 200 " in line.recv(1000)
            yield line

    def trusting(self, *protocols: str) -> ssl.SSLContext:
        """TLS that trusts the proxy's authority."""
        context = ssl.create_default_context(cafile=self.proxy.ca)
        context.set_alpn_protocols(list(protocols) or ["http/1.1"])
        return context

    def say(self, data: bytes, *, patience_s: float = PATIENCE_S) -> bytes:
        """Say something over a connection of its own, and no more; what comes back until it is quiet or closed."""
        with self.line() as line:
            with contextlib.suppress(OSError):
                line.sendall(data)
            return heard(line, patience_s)

    def get(self, path: str, *headers: str, host: str = "") -> bytes:
        """GET a path of the site over a connection of its own that is closed: all that came."""
        url = self.site.url(path)
        lines = [
            f"GET {url} HTTP/1.1",
            f"Host: {host or url.split('/')[2]}",
            "Connection: close",
            *headers,
            "",
            "",
        ]
        return self.say("\r\n".join(lines).encode("latin-1"))

    # ---- what the program says of it

    def events(self, since: float) -> list[dict[str, Any]]:
        """The newest events from a moment on (wall time)."""
        found = api(self.proxy, "GET", "/events?limit=500")["events"]
        begun = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(since - 1))
        return [event for event in found if event["time"] >= begun]

    def event(self, since: float, about: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        """Wait for an event; the last of those that fit."""
        end = time.monotonic() + PATIENCE_S
        while True:
            events = self.events(since)
            for event in events:
                if about(event):
                    return event
            assert time.monotonic() < end, f"no such event, only {[_brief(event) for event in events[:10]]}"
            time.sleep(0.2)


def api(proxy: Proxy, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
    """Ask the review page's API: a command would cost a start of Python."""
    line = http.client.HTTPConnection("127.0.0.1", proxy.review_port, timeout=PATIENCE_S * 3)
    headers = {"Authorization": f"Bearer {proxy.facts['token']}", "Content-Type": "application/json"}
    try:
        line.request(method, f"/api/v1{path}", json.dumps(body) if body else None, headers)
        answer = line.getresponse()
        came = answer.read()
    finally:
        line.close()
    assert answer.status < 300, came
    return json.loads(came)


def _brief(event: dict[str, Any]) -> str:
    return " ".join(str(event.get(name)) for name in ("kind", "url", "stage", "detail"))


def heard(line: socket.socket, patience_s: float = PATIENCE_S) -> bytes:
    """What comes until the end of a connection, or until nothing has come for so long."""
    line.settimeout(patience_s)
    came = bytearray()
    with contextlib.suppress(OSError):
        while piece := line.recv(1 << 18):
            came += piece
    return bytes(came)


def body_of(answer: bytes) -> bytes:
    """All behind the head."""
    return answer.partition(b"\r\n\r\n")[2]


def at_once(*calls: Callable[[], object]) -> None:
    """Make calls each in a thread of its own; the first fault is raised here."""
    faults: list[BaseException] = []

    def run(call: Callable[[], object]) -> None:
        try:
            call()
        except BaseException as fault:  # noqa: BLE001 - raised below
            faults.append(fault)

    threads = [threading.Thread(target=run, args=(call,), daemon=True) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S * 3)
    if faults:
        raise faults[0]
