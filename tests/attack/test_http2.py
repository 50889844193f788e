"""HTTP/2. What frames a client or a site sends to have much done for little."""

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import h2.events
import pytest
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    PushPromiseFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from attackkit.stand import PATIENCE_S, at_once
from proxykit.http2 import Client, Origin, Peer, answer, reply
from proxykit.samples import EICAR, program

CANCEL = 8
BLOCK = b"\x82\x87\x84"  # GET, https, /
LARGE = program(3_000_000, 4)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from e2e.processes import make_certificate

    folder = tmp_path_factory.mktemp("http2")
    both = folder / "both.pem"
    both.write_bytes(
        b"".join(part.read_bytes() for part in make_certificate(folder, "localhost", "127.0.0.1"))
    )
    return both


@pytest.fixture
def serve(certificate: Path) -> Iterator[Callable[..., Origin]]:
    with contextlib.ExitStack() as stack:
        yield lambda handle=answer: stack.enter_context(Origin(certificate, handle))


@pytest.fixture
def connect(stand) -> Iterator[Callable[[Origin], Client]]:
    clients: list[Client] = []

    def make(origin: Origin) -> Client:
        clients.append(Client(stand.port, origin.port, stand.proxy.ca))
        clients[-1].sock.settimeout(PATIENCE_S)
        return clients[-1]

    yield make
    for client in clients:
        client.sock.close()


def over(client: Client, patience_s: float = PATIENCE_S) -> bool:
    """Read until the proxy ends the connection."""
    end = time.monotonic() + patience_s
    client.sock.settimeout(patience_s)
    with contextlib.suppress(TimeoutError):
        while not client.over and time.monotonic() < end:
            client.read()
    return client.over


def unread(client: Client, patience_s: float = 3.0) -> None:
    """Leave what comes unread for a while."""
    time.sleep(patience_s)
    client.over = True
    client.sock.close()  # what it kept waiting goes with it


def _resets(client: Client) -> bytes:
    for _ in range(2000):
        client.state.reset_stream(client.ask(client.head()), CANCEL)
    return b""


def _provoked(client: Client) -> bytes:
    raw = b""
    for _ in range(2000):
        stream = client.ask(client.head("POST"), end=False)
        raw += client.state.data_to_send() + b"\0\0\4\x08\0" + stream.to_bytes(4) + b"\0\0\0\0"
        client.state.reset_stream(stream)
        client.state.clear_outbound_data_buffer()
    return raw


def _empty_data(client: Client) -> bytes:
    return DataFrame(client.ask(client.head("POST"), end=False)).serialize() * 50_000


def _tables(_: Client) -> bytes:
    return b"".join(SettingsFrame(0, {1: size}).serialize() for size in (0, 1 << 30) * 10_000)


FLOODS: dict[str, Callable[[Client], bytes]] = {
    "resets": _resets,
    "provoked resets": _provoked,
    "PING": lambda _: PingFrame(0, b"12345678").serialize() * 50_000,
    "SETTINGS": lambda _: SettingsFrame(0, {4: 65_535}).serialize() * 50_000,
    "sizes of the header table": _tables,
    "PRIORITY": lambda _: PriorityFrame(1, depends_on=3).serialize() * 50_000,
    "WINDOW_UPDATE": lambda _: WindowUpdateFrame(0, window_increment=1).serialize() * 50_000,
    "RST_STREAM of nothing": lambda _: RstStreamFrame(1, error_code=8).serialize() * 50_000,
    "unknown frames": lambda _: b"\0\0\0\xfe\0\0\0\0\0" * 50_000,
    "empty DATA": _empty_data,
    "CONTINUATION": lambda _: (
        HeadersFrame(1, b"\0" * 16_000).serialize() + ContinuationFrame(1, b"\0" * 16_000).serialize() * 2000
    ),
    "empty CONTINUATION": lambda _: (
        HeadersFrame(1, BLOCK).serialize() + ContinuationFrame(1).serialize() * 50_000
    ),
}


@pytest.mark.parametrize("flood", FLOODS)
def test_flood(stand, serve, connect, flood):
    """A flood of frames that cost nothing: its connection ends, others are served."""
    client = connect(serve())
    raw = FLOODS[flood](client)
    client.send(raw)
    assert over(client, 30)


def test_hpack_giants(stand, serve, connect):
    """A header of 250 kB from a site, eight times at once, and one of 1 MB: others are served."""

    def handle(peer: Peer, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.StreamEnded):
            reply(peer, event.stream_id, b"ok", ("x-big", "a" * int(dict(peer_sizes)["size"])))

    peer_sizes = {"size": 250_000}
    origin = serve(handle)
    at_once(*(lambda: connect(origin).get("/") for _ in range(8)))
    peer_sizes["size"] = 1_000_000
    assert connect(origin).get("/").status == 502
    stand.site.put("/x-big", b"ok", f"X-Big: {'~' * 250_000}")
    at_once(*(lambda: stand.curl(stand.site.url("/x-big", tls=True), "--http2") for _ in range(4)))


def test_hpack_bomb(stand, serve, connect):
    """Head blocks of 16 kB that name one large field again and again, 64 MB each: refused."""
    client = connect(serve())
    entry = b"\x40\x01x\x7f\x81\x1e" + b"a" * (127 + 0x81 - 0x80 + (0x1E << 7))
    block = BLOCK + b"\x41\x0a127.0.0.1" + entry + b"\xbe" * 12_000
    frame = HeadersFrame(1, block[:16_000], flags=["END_STREAM"])
    rest = ContinuationFrame(1, block[16_000:], flags=["END_HEADERS"])
    client.sock.settimeout(5)
    client.send(frame.serialize() + (rest.serialize() if len(block) > 16_000 else b""))
    over(client, 2)
    assert not client.got.get(1)


def test_two_requests_in_a_method(stand, serve, connect):
    """A :method that holds a request line of its own, before an HTTP/1.1 site: the site is not asked."""
    url = stand.site.url("/", tls=True)
    origin = int(url.split(":")[2].strip("/"))

    class There:
        port = origin

    client = connect(There())
    for method in (
        "GET /hidden-method HTTP/1.1 ",
        "GET /hidden-method HTTP/1.1\r\nX:",
        "G\0T",
        "GET\t/hidden-method",
    ):
        client.ask([(":method", method), *client.head()[1:]])
    client.ask([*client.head()[:3], (":path", "/a HTTP/1.1\r\nHost: x\r\n\r\nGET /hidden-method")])
    client.finish(*client.got)
    assert not [asked for asked in stand.site.asked if "hidden-method" in asked.target]


def test_windows_shut(stand, serve, connect):
    """A hundred streams of a 3 MB program whose client opens no window: they are not collected whole."""

    def handle(peer: Peer, event: h2.events.Event) -> None:
        pass

    stand.site.put("/large", LARGE, "Content-Type: video/mp4")
    origin = int(stand.site.url("/", tls=True).split(":")[2].strip("/"))

    class There:
        port = origin

    client = connect(There())
    for _ in range(100):
        client.ask(client.head(path="/large"))
    client.send(SettingsFrame(0, {4: 0}).serialize())
    unread(client)


def test_windows_of_a_byte(stand, serve, connect):
    """A client that opens its window a byte at a time, ten thousand times: its connection ends or it is served."""
    origin = serve(
        lambda peer, event: (
            isinstance(event, h2.events.StreamEnded) and reply(peer, event.stream_id, b"x" * 60_000)
        )
    )
    client = connect(origin)
    client.send(SettingsFrame(0, {4: 0}).serialize())
    stream = client.ask(client.head())
    client.send(WindowUpdateFrame(stream, window_increment=1).serialize() * 10_000)
    over(client, 3)


def test_dribbled(stand, serve, connect):
    """A hundred uploads by DATA of one byte, 40,000 frames: others are served."""
    client = connect(serve())
    streams = [client.ask(client.head("POST"), end=False) for _ in range(100)]
    client.send(b"".join(DataFrame(stream, b"x").serialize() for stream in streams) * 400)
    for stream in streams:
        client.state.streams[stream]
    client.send(b"".join(DataFrame(stream, b"", flags=["END_STREAM"]).serialize() for stream in streams))
    over(client, 4)


def test_dribbled_answer(stand, serve, connect):
    """An answer of 40,000 DATA frames of one byte with 200 of padding: others are served."""

    def handle(peer: Peer, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.StreamEnded):
            peer.state.send_headers(event.stream_id, [(":status", "200"), ("content-type", "text/html")])
            frame = b"\0\0\xca\0\x08" + event.stream_id.to_bytes(4) + b"\xc8x" + bytes(200)
            peer.send(frame * 300)  # what the first window holds
            for _ in range(130):
                peer.send(DataFrame(event.stream_id, b"x").serialize() * 30)

    client = connect(serve(handle))
    stream = client.ask(client.head())
    client.send()
    over(client, 3)
    assert len(client.got[stream].body) < 100_000


def test_site_floods(stand, serve, connect):
    """A site that floods with PING, SETTINGS and promises, or says GOAWAY to each request: its client is told."""
    floods = [
        PingFrame(0, b"12345678").serialize() * 20_000,
        SettingsFrame(0, {3: 1}).serialize() * 20_000,
        PushPromiseFrame(1, promised_stream_id=2, data=BLOCK, flags=["END_HEADERS"]).serialize() * 1000,
        GoAwayFrame(0, last_stream_id=0).serialize(),
        SettingsFrame(0, {3: 0}).serialize(),
        b"\xff\xff\xff\0\0\0\0\0\1" + bytes(100_000),
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    ]
    for flood in floods:

        def handle(peer: Peer, event: h2.events.Event, flood: bytes = flood) -> None:
            if isinstance(event, h2.events.RequestReceived):
                peer.send(flood)
                peer.sock.close()
                peer.over = True

        assert connect(serve(handle)).get().status == 502


def test_many_fields(stand, serve, connect):
    """Requests with 10,000 crumbs of cookies, twenty times: each is refused."""
    client = connect(serve())
    fields = [*client.head(), *(("cookie", "a=b") for _ in range(10_000))]
    for _ in range(20):
        with contextlib.suppress(Exception):
            client.finish(client.ask(fields))
    assert not any(got.body == b"ok" for got in client.got.values())


def test_trailers_without_end(stand, serve, connect):
    """A site whose answer has trailers of 200 blocks: the listed file before them does not arrive whole."""

    def handle(peer: Peer, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.StreamEnded):
            peer.state.send_headers(event.stream_id, [(":status", "200")])
            peer.state.send_data(event.stream_id, EICAR)
            peer.send(HeadersFrame(event.stream_id, b"\0\1x\1y", flags=["END_HEADERS"]).serialize() * 200)

    got = connect(serve(handle)).get()
    assert EICAR not in got.body


def test_half_heads(stand, serve, connect):
    """Two hundred connections, each with a head that is not ended: others are served."""
    origin = serve()

    def half() -> None:
        for _ in range(25):
            client = connect(origin)
            client.send(HeadersFrame(1, BLOCK * 4000).serialize())

    at_once(*([half] * 8))
    time.sleep(1)


def test_listed_in_pieces_of_frames(stand, serve, connect):
    """A listed file in frames of a byte, with a false length, or behind an interim answer: it does not arrive whole."""

    def handle(peer: Peer, event: h2.events.Event) -> None:
        if not isinstance(event, h2.events.StreamEnded):
            return
        path = dict(next(head for _, stream, head in reversed(origin.requests) if stream == event.stream_id))[
            ":path"
        ]
        if path == "/interim":
            peer.state.send_headers(event.stream_id, [(":status", "103"), ("link", "<a>")])
        length = [("content-length", "10")] if path == "/length" else []
        peer.state.send_headers(event.stream_id, [(":status", "200"), *length])
        peer.send()
        peer.send(b"".join(b"\0\0\1\0\0" + event.stream_id.to_bytes(4) + bytes([one]) for one in EICAR))
        peer.send(b"\0\0\0\0\1" + event.stream_id.to_bytes(4))

    origin = serve(handle)
    for path in ("/bytes", "/interim", "/length"):
        assert EICAR not in connect(origin).get(path).body, path
