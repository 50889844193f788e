"""A worker or gate worker killed in the middle of what it carries: seen by its clients, nothing lost, nothing let out. 20 s."""

import contextlib
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import h2.events
import pytest

from e2e.processes import Proxy, make_certificate, wait_for
from icapkit.wire import Reply, chunked, message, read_replies
from proxykit.http2 import Client, Origin, Peer, reply, text
from proxykit.samples import EICAR
from serverkit.ports import free_port

PAGES = 12
PATIENCE_S = 60.0
AWAY = """
servers: {intranet: [{url: "http://127.0.0.1:9", insecure: true}]}  # away: what is unknown is flagged
feeds: [{name: test, builtin: test}]
"""
FILE = [("content-type", "application/octet-stream")]


class HalfOrigin:
    """An origin that sends half of each answer, until it is let go on."""

    def __init__(self) -> None:
        self.halves = True
        self.asked: list[str] = []
        self._paths: dict[tuple[int, int], str] = {}

    def handle(self, peer: Peer, event: h2.events.Event) -> None:
        """Answer an event of a connection."""
        if isinstance(event, h2.events.RequestReceived):
            self._paths[peer.number, event.stream_id] = dict(text(event.headers))[":path"]
        if not isinstance(event, h2.events.StreamEnded):
            return
        path = self._paths[peer.number, event.stream_id]
        is_file = path.startswith("/file")
        body = EICAR if is_file else b"<p>a page</p>" * 100
        if self.halves:
            fields = [
                (":status", "200"),
                ("content-type", FILE[0][1] if is_file else "text/html"),
                ("content-length", str(len(body))),
            ]
            peer.state.send_headers(event.stream_id, fields)
            peer.state.send_data(event.stream_id, body[: len(body) // 2])
        else:
            reply(peer, event.stream_id, body, *(FILE if is_file else []))
        self.asked.append(path)


@pytest.fixture
def behind(tmp_path: Path) -> Iterator[tuple[HalfOrigin, int]]:
    certificate, key = make_certificate(tmp_path, "127.0.0.1")
    both = tmp_path / "both.pem"
    both.write_bytes(certificate.read_bytes() + key.read_bytes())
    half = HalfOrigin()
    with Origin(both, half.handle) as origin:
        yield half, origin.port


def _killed(proxy: Proxy, role: str) -> None:
    """Kill the only one of a role, and wait for the next."""
    [pid] = proxy.fresh_facts()[role]
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: (now := proxy.fresh_facts()[role]) and pid not in now, f"another of {role}")


def test_a_worker_killed_in_a_page_load_and_a_held_download(start_proxy, behind):
    origin, port = behind
    proxy: Proxy = start_proxy(f"workers: 1\nmitmproxy: {{ssl_insecure: true}}\n{AWAY}")
    proxy.command("block", f"https://127.0.0.1:{port}/listed/")
    origin.halves = False
    at_once = f"https://127.0.0.1:{port}/listed/at-once"
    wait_for(lambda: proxy.curl(at_once).status == 403 or None, "the rule in force")
    origin.halves, origin.asked = True, []
    pages = [f"/page/{number}" for number in range(PAGES)]
    wanted = [*pages, "/file/eicar.com"]
    with Client(proxy.port, port, proxy.ca) as client:
        streams = {path: client.ask(client.head(path=path, accept="text/html")) for path in wanted}
        listed = [client.ask(client.head(path=f"/listed/{number}")) for number in range(PAGES)]
        client.finish(*listed)
        wait_for(lambda: {*wanted} <= {*origin.asked}, "all at the origin")
        _killed(proxy, "workers")
        client.finish(*streams.values())  # or the end of the connection
        assert client.over
        assert not [path for path, stream in streams.items() if client.got[stream].whole]
        assert {client.got[stream].status for stream in listed} == {403}
    urls = {f"https://127.0.0.1:{port}{path}" for path in wanted}  # all of it was on its way before
    proxy.json_when(lambda queue: urls <= {each["url"] for each in queue}, "queue", "list")
    origin.halves = False
    with Client(proxy.port, port, proxy.ca) as client:
        assert {client.get(path, accept="text/html").status for path in pages} == {200}
        assert client.get("/listed/again").status == 403
        refused = client.get("/file/eicar.com")
        assert (refused.status, EICAR in refused.body) == (403, False)
    assert not [path for path in origin.asked if path.startswith("/listed")]


def _exchange(port: int, *parts: bytes) -> list[Reply]:
    """Send the parts of one message, and read until the gate worker hangs up or an answer is whole."""
    with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as link:
        for part in parts:
            link.sendall(part)
        return _answers(link)


def _answers(link: socket.socket) -> list[Reply]:
    heard = b""
    with contextlib.suppress(ConnectionResetError):
        while data := link.recv(1 << 16):
            heard += data
            replies = read_replies(heard)
            if replies and replies[-1].whole:
                break
    return read_replies(heard)


def _page(number: int) -> bytes:
    return (
        f"GET http://site.test/undrained/{number} HTTP/1.1\r\nHost: site.test\r\nAccept: text/html\r\n\r\n"
    ).encode()


def test_a_gate_worker_killed_between_answers_and_in_a_held_body(start_proxy):
    icap = free_port()
    proxy: Proxy = start_proxy(
        f"mode: none\ngateway: {{enabled: true, icap: '127.0.0.1:{icap}', workers: 1}}\n{AWAY}"
    )
    allowed = "Allow: 204\r\n"
    for number in range(PAGES):
        [told] = _exchange(icap, message("REQMOD", "reqmod", request=_page(number), headers=allowed))
        assert told.status == 204
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {FILE[0][1]}\r\nContent-Length: {len(EICAR)}\r\n\r\n".encode()
    request = b"GET http://site.test/file/eicar.com HTTP/1.1\r\nHost: site.test\r\n\r\n"
    bodied = message("RESPMOD", "respmod", request=request, response=head, body="res-body")
    with socket.create_connection(("127.0.0.1", icap), PATIENCE_S) as gateway:
        gateway.sendall(message("OPTIONS", "respmod"))
        assert gateway.recv(4096).startswith(b"ICAP/1.0 200")
        gateway.sendall(bodied + chunked(EICAR[: len(EICAR) // 2]))
        _killed(proxy, "gates")
        assert not [each for each in _answers(gateway) if each.whole]
    urls = {f"http://site.test/undrained/{number}" for number in range(PAGES)}
    proxy.json_when(lambda queue: urls <= {each["url"] for each in queue}, "queue", "list")
    [refused] = _exchange(icap, bodied + chunked(EICAR) + b"0\r\n\r\n")
    assert refused.head.startswith(b"HTTP/1.1 403")
    assert EICAR not in refused.body
