"""What runs through a tunnel is opened however its bytes are cut, or its host is judged; who is silent is served."""

import contextlib
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from proxykit.origin import Asked, send
from proxykit.pieces import tls_in_pieces
from proxykit.proxy import RunningProxy
from secondlook.core.verdict import Action
from serverkit.ports import free_port

GREETING = b"220 mail.test ESMTP\r\n"
MODES = ["regular", "socks5", "upstream"]


async def hello(asked: Asked, writer) -> None:
    await send(writer, b"hello " + asked.target.encode())


class Speaker:
    """A server on a raw socket that greets, and then answers each thing said with `OK` and it."""

    def __init__(self, greeting: bytes, host: str = "127.0.0.1") -> None:
        self.greeting, self.heard, self.connections = greeting, b"", 0
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.listening = socket.create_server((host, 0), family=family)
        self.port = self.listening.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                peer, _ = self.listening.accept()
                self.connections += 1
                threading.Thread(target=self._talk, args=(peer,), daemon=True).start()

    def _talk(self, peer: socket.socket) -> None:
        with peer, contextlib.suppress(OSError):
            peer.sendall(self.greeting)
            while data := peer.recv(4096):
                self.heard += data
                peer.sendall(b"OK " + data)


@pytest.fixture
def speak() -> Iterator[Callable[..., Speaker]]:
    speakers: list[Speaker] = []

    def make(greeting: bytes = b"", **options: str) -> Speaker:
        speakers.append(Speaker(greeting, **options))
        return speakers[-1]

    yield make
    for speaker in speakers:
        speaker.listening.shutdown(socket.SHUT_RDWR)  # ends what waits for a client
        speaker.listening.close()


@contextlib.contextmanager
def tunnel(proxy: RunningProxy, port: int, host: str = "127.0.0.1") -> Iterator[socket.socket]:
    """Open a tunnel in the way of the proxy's mode."""
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=30) as client:
        if proxy.settings.mode == "socks5":
            name = bytes([len(host)]) + host.encode()
            where = b"\x04" + socket.inet_pton(socket.AF_INET6, host) if ":" in host else b"\x03" + name
            client.sendall(b"\x05\x01\x00" + b"\x05\x01\x00" + where + struct.pack("!H", port))
            greeted = client.recv(2)
            while len(greeted) < 12:
                greeted += client.recv(12 - len(greeted))
        elif proxy.settings.mode == "regular" or proxy.settings.mode.startswith("upstream"):
            target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
            client.sendall(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode())
            assert b" 200 " in client.recv(1000)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield client


@pytest.fixture
def start(make_proxy) -> Callable[..., RunningProxy]:
    def run(mode: str, **settings: object) -> RunningProxy:
        if mode == "upstream":
            mode = f"upstream:{make_proxy().url}"
        return make_proxy(mode=mode, **settings)

    return run


def told(gatekeeper, action: Action = Action.ALLOW) -> list[str | None]:
    return [
        context.tunnel
        for _, _, context, decision in gatekeeper.seen
        if context.tunnel and decision.action is action
    ]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("cuts", [(1,), (2,), (1, 2, 3, 4, 5, 6)])
def test_a_client_hello_in_pieces_is_opened(start, gatekeeper, make_origin, mode, cuts):
    origin = make_origin(hello, tls=True)
    gatekeeper.bad.add("127.0.0.1/bad")
    proxy = start(mode)
    with tunnel(proxy, origin.port) as client:
        answer = tls_in_pieces(client, cuts, b"GET /bad HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    assert b" 403 " in answer.partition(b"\r\n")[0]
    assert origin.connections == 0


def test_a_client_hello_in_many_records_is_opened(proxy, gatekeeper, make_origin):
    origin = make_origin(hello, tls=True)
    gatekeeper.bad.add("127.0.0.1/bad")
    with tunnel(proxy, origin.port) as client:
        request = b"GET /bad HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
        assert b" 403 " in tls_in_pieces(client, (1, 7), request, records=3)
    with tunnel(proxy, origin.port) as client:
        request = b"GET /good HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
        assert tls_in_pieces(client, (4,), request, records=100).endswith(b"hello /good")


@pytest.mark.parametrize("inside", [False, True], ids=["plain", "inside TLS without ALPN"])
@pytest.mark.parametrize("begin", [b"G", b"GE", b"\r\nGET", b"  ", b"GET\t/bad\tHTTP/1.1\r", b"GET /bad\r"])
def test_http_in_pieces_is_opened(proxy, gatekeeper, make_origin, begin, inside):
    origin = make_origin(hello, tls=inside)
    gatekeeper.bad.add("127.0.0.1/bad")
    whole = b"GET /bad HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    rest = b"\n\r\n" if begin.endswith(b"\r") else whole.removeprefix(begin.strip())
    with contextlib.ExitStack() as stack:
        client = stack.enter_context(tunnel(proxy, origin.port))
        if inside:
            trusting = ssl.create_default_context(cafile=proxy.ca)
            client = stack.enter_context(trusting.wrap_socket(client, server_hostname="127.0.0.1"))
        client.sendall(begin)
        time.sleep(0.1)
        client.sendall(rest)
        answer = client.recv(65536)
    assert answer[9:12] in {b"403", b"400"}, answer  # malformed lines are refused as such
    assert origin.connections == 0


@pytest.mark.parametrize("port", [53, 5353])
def test_a_port_does_not_make_a_protocol(proxy, gatekeeper, port):
    gatekeeper.bad.add("front.test/bad")
    with tunnel(proxy, port, "front.test") as client:
        assert b" 403 " in tls_in_pieces(client, (), b"GET /bad HTTP/1.1\r\nHost: front.test\r\n\r\n")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("listed", [False, True])
def test_a_server_that_speaks_first_is_heard_and_its_host_judged(start, gatekeeper, speak, mode, listed):
    server = speak(GREETING)
    if listed:
        gatekeeper.bad.add("127.0.0.1/")
    proxy = start(mode)
    with tunnel(proxy, server.port) as client:
        if listed:
            client.settimeout(2.5)
            with pytest.raises(TimeoutError):  # it may yet begin TLS, which gets a page
                client.recv(100)
            assert server.connections == 0
            client.sendall(b"EHLO a\r\n")
            assert client.recv(100) == b""
            assert told(gatekeeper, Action.BLOCK)
            assert server.connections == 0
            return
        assert client.recv(100) == GREETING
        client.sendall(b"EHLO a\r\n")
        assert client.recv(100) == b"OK EHLO a\r\n"
        client.sendall(b"more\r\n")
        assert client.recv(100) == b"OK more\r\n"
    assert "SMTP, its server spoke first" in told(gatekeeper)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("tls", [False, True])
def test_a_client_that_takes_its_time_is_opened_all_the_same(start, gatekeeper, make_origin, mode, tls):
    origin = make_origin(hello, tls=tls)
    gatekeeper.bad.add("127.0.0.1/bad")
    proxy = start(mode)
    for path in (b"/bad", b"/good"):
        request = b"GET " + path + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
        with tunnel(proxy, origin.port) as client:
            time.sleep(1.5)  # longer than a silence that makes the proxy connect
            if tls:
                answer = tls_in_pieces(client, (1,), request)
            else:
                client.sendall(request)
                answer = client.recv(65536)
        assert (b" 403 " in answer) == (path == b"/bad")
        assert answer.endswith(b"hello /good") == (path == b"/good")
    assert [asked.target for asked in origin.requests] == ["/good"]


@pytest.mark.parametrize("begin", [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00"])
def test_a_greeting_does_not_turn_the_checks_off(proxy, gatekeeper, speak, begin):
    server = speak(b"!")
    with tunnel(proxy, server.port) as client:
        assert client.recv(10) == b"!"
        client.sendall(begin)
        assert client.recv(10) == b""
    assert server.heard == b""
    assert "spoke before its client" in (told(gatekeeper, Action.BLOCK)[-1] or "")


def test_a_server_that_speaks_first_inside_tls_is_heard(proxy, gatekeeper, origin_certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(origin_certificate)
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            with context.wrap_socket(listening.accept()[0], server_side=True) as peer:
                peer.sendall(b"* OK ready\r\n")
                peer.sendall(b"got " + peer.recv(100))
                peer.recv(1)

        threading.Thread(target=serve, daemon=True).start()
        trusting = ssl.create_default_context(cafile=proxy.ca)
        with (
            tunnel(proxy, listening.getsockname()[1]) as client,
            trusting.wrap_socket(client, server_hostname="127.0.0.1") as tls,
        ):
            assert tls.recv(100) == b"* OK ready\r\n"
            tls.sendall(b"a1 NOOP\r\n")
            assert tls.recv(100) == b"got a1 NOOP\r\n"
    assert "IMAP inside TLS, its server spoke first" in told(gatekeeper)


def test_a_dead_server_ends_the_tunnel_of_a_silent_client(proxy):
    with tunnel(proxy, free_port()) as client:
        assert client.recv(10) == b""


def test_a_name_is_judged_by_its_addresses_too(proxy, gatekeeper, speak):
    server = speak()
    gatekeeper.bad.add("127.0.0.1/")
    with tunnel(proxy, server.port, "localhost") as client:
        client.sendall(b"\x01\x02\x03")
        assert client.recv(10) == b""
    assert server.connections == 0


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("listed", [False, True])
def test_a_tunnel_to_an_address_of_ipv6(start, gatekeeper, speak, mode, listed):
    server = speak(host="::1")
    if listed:
        gatekeeper.bad.add("[::1]/")
    with tunnel(start(mode), server.port, "::1") as client:
        client.sendall(b"SSH-2.0-x\r\n")
        assert client.recv(100) == (b"" if listed else b"OK SSH-2.0-x\r\n")
    assert server.connections == int(not listed)


SHARED = {"networks": ["192.0.2.0/24"]}
MINE = {
    "networks": ["192.0.2.0/24"],
    "groups": [{"name": "me", "networks": ["127.0.0.1/32"], "unknown": "allow"}],
}


@pytest.mark.parametrize(
    ("clients", "unknown", "passes"),
    [
        (None, None, True),
        (None, "block", False),
        (SHARED, None, False),
        (SHARED, "allow", True),
        (MINE, "block", True),
        (SHARED, "PORT", True),
    ],
)
def test_what_is_neither_needs_leave(make_proxy, gatekeeper, speak, clients, unknown, passes):
    server = speak()
    said: object = {"otherwise": "block", "ports": {server.port: "allow"}} if unknown == "PORT" else unknown
    settings: dict[str, object] = {"passthrough": {"unknown": said}} if said is not None else {}
    proxy = make_proxy(clients=clients, **settings)
    with tunnel(proxy, server.port) as client:
        client.sendall(b"SSH-2.0-x\r\n")
        assert client.recv(100) == (b"OK SSH-2.0-x\r\n" if passes else b"")
    assert told(gatekeeper, Action.ALLOW if passes else Action.BLOCK) == ["SSH"]
    assert server.connections == int(passes)


def test_another_protocol_after_an_upgrade_needs_leave_too(make_proxy, gatekeeper, make_origin):
    async def switch(asked: Asked, writer) -> None:
        writer.write(b"HTTP/1.1 101 Switching\r\nUpgrade: tcp\r\nConnection: upgrade\r\n\r\nraw")

    origin = make_origin(switch)
    for unknown, answer in (("allow", b"raw"), ("block", b"")):
        proxy = make_proxy(passthrough={"unknown": unknown})
        with socket.create_connection(("127.0.0.1", proxy.port), timeout=30) as client:
            head = f"GET http://127.0.0.1:{origin.port}/ HTTP/1.1\r\nHost: 127.0.0.1:{origin.port}\r\n"
            client.sendall(f"{head}Upgrade: tcp\r\nConnection: upgrade\r\n\r\n".encode())
            got = b""
            while (piece := client.recv(1000)) and not got.endswith(b"raw"):
                got += piece
                if unknown == "allow" and got.endswith(b"raw"):
                    break
        assert got.partition(b"\r\n\r\n")[2] == answer
    assert told(gatekeeper) == ["upgraded to tcp"]
