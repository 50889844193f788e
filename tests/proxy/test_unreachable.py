"""What a client is told where the origin gave no answer, through a real worker. About 2 s."""

import contextlib
import json
import socket
import ssl
import threading
import warnings

import pytest

from secondlook.core.event import EventKind
from secondlook.proxy.mitm import unreachable
from secondlook.proxy.mitm.tls import tls_layers

BREAKS_OFF = "it closed the connection without an answer"
PAGE = ("-H", "Accept: text/html")


async def hang_up(_asked, writer) -> None:
    writer.close()


@pytest.fixture
def deaf():
    """Give an address where nobody listens, and nobody else will meanwhile."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{held.getsockname()[1]}"


@pytest.mark.parametrize("form", [("--http1.1",), ("--http2",), ("--http1.1", "-d", "x" * 100_000)])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_programs_get_a_document(proxy, curl, deaf, scheme, form):
    done = curl(proxy, "-w", "\n%{http_code} %{content_type}", *form, f"{scheme}://{deaf}/")
    document, _, status = done.stdout.rpartition(b"\n")
    assert status == b"502 application/problem+json", done.stderr
    told = json.loads(document)
    assert (
        told["title"]
        == "Second Look did not block this, but 127.0.0.1 cannot be opened: it refuses connections"
    )


def test_browsers_get_a_page_that_runs_nothing(proxy, curl, make_origin):
    origin = make_origin(hang_up, tls=True)
    done = curl(proxy, "-i", *PAGE, f"https://127.0.0.1:{origin.port}/%3Cscript%3E")
    assert b"mitmproxy" not in done.stdout
    assert BREAKS_OFF.encode() in done.stdout
    assert b"<title>This cannot be shown</title>" in done.stdout
    assert b"default-src 'none'" in done.stdout
    assert b"script" not in done.stdout.partition(b"</style>")[2]


def test_a_certificate_that_does_not_fit(make_proxy, curl, make_origin):
    origin = make_origin(hang_up, tls=True)
    proxy = make_proxy(mitmproxy={})
    done = curl(proxy, f"https://127.0.0.1:{origin.port}/")
    assert (
        b"its certificate does not prove who it is (it was issued by an authority that is not known here"
        in done.stdout
    )
    assert b"passthrough.hosts" in done.stdout
    assert not origin.requests
    [event] = proxy.log.events
    assert (event.kind, event.client, event.host) == (EventKind.ERROR, "127.0.0.1", "127.0.0.1")
    assert "certificate verify failed" in (event.detail or "").lower()


def _curl_again(proxy, curl, *arguments: str) -> list[bytes]:
    return [curl(proxy, "-i", *arguments).stdout for _ in range(2)]


@pytest.mark.parametrize("form", ["--http1.1", "--http2"])
def test_a_browser_may_fall_back_to_http_and_who_meant_https_sees_the_reason_then(proxy, curl, form):
    navigation = (form, "-H", "Sec-Fetch-Dest: document", "-H", "Accept: text/html")
    first, second = _curl_again(proxy, curl, *navigation, "https://nobody.invalid/")
    assert first.count(b"HTTP/") == 1, "only the tunnel's own answer"
    assert b"nobody.invalid cannot be opened" in second


@pytest.mark.parametrize(
    ("url", "dest"),
    [
        ("https://nobody.invalid/", "empty"),
        ("https://nobody.invalid:8443/", "document"),
        ("http://nobody.invalid/", "document"),
        ("https://nobody/", "document"),
    ],
)
def test_what_no_browser_would_try_over_http_is_told_at_once(proxy, curl, url, dest):
    done = curl(proxy, "-i", "-H", f"Sec-Fetch-Dest: {dest}", "-H", "Accept: text/html", url)
    assert b" 502" in done.stdout


class Shaking:
    """A TLS server on a raw socket that stays open whatever TLS says; `None` as its context: it says nothing."""

    def __init__(self, context: ssl.SSLContext | None) -> None:
        self._context = context
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)  # ends what waits for a client
        self._listening.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                peer, _ = self._listening.accept()
                with peer:
                    self._shake(peer)

    def _shake(self, peer: socket.socket) -> None:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = self._context.wrap_bio(incoming, outgoing, server_side=True) if self._context else None
        while data := peer.recv(65536):
            incoming.write(data)
            if tls is not None:
                with contextlib.suppress(ssl.SSLError):
                    tls.do_handshake()
                peer.sendall(outgoing.read())


@pytest.mark.parametrize("form", ["--http1.1", "--http2"])
def test_an_origin_that_wants_a_certificate_is_told_of_at_once(proxy, curl, origin_certificate, form):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(origin_certificate)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(origin_certificate)
    with contextlib.closing(Shaking(context)) as origin:
        done = curl(proxy, form, f"https://127.0.0.1:{origin.port}/", timeout_s=20)
    assert b"it wants a certificate of its client" in done.stdout, done
    assert b"passthrough.hosts" in done.stdout
    [event] = proxy.log.events
    assert "certificate required" in (event.detail or "")


def test_an_origin_that_speaks_only_an_old_tls(proxy, curl, origin_certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(origin_certificate)
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings(action="ignore"):  # that it is old is the point
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1
    with contextlib.closing(Shaking(context)) as origin:
        done = curl(proxy, f"https://127.0.0.1:{origin.port}/", timeout_s=20)
    assert b"it speaks only an old TLS" in done.stdout, done
    assert b"passthrough.hosts" in done.stdout
    assert b"/unopened/" in done.stdout
    [event] = proxy.log.events
    assert event.stage == "tls"


def test_an_origin_that_never_begins_tls_is_given_up(proxy, curl, monkeypatch):
    monkeypatch.setattr(tls_layers, "HANDSHAKE_S", 0.3)
    with contextlib.closing(Shaking(None)) as origin:
        done = curl(proxy, f"https://127.0.0.1:{origin.port}/", timeout_s=15)
    assert b"it takes connections but does not begin TLS" in done.stdout


def test_a_client_that_never_ends_its_handshake_is_let_go(proxy, monkeypatch):
    monkeypatch.setattr(tls_layers, "HANDSHAKE_S", 0.3)
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=60) as client:
        client.sendall(b"CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n")
        assert b" 200 " in client.recv(1000)
        client.sendall(b"\x16\x03\x01\x01")
        assert client.recv(1000) == b""


@pytest.mark.parametrize(
    ("message", "why"),
    [
        (f"[Errno {socket.EAI_NONAME}] Name or service not known", "there is no site of that name"),
        ("server closed connection", BREAKS_OFF),
        ("Certificate verify failed: \x1b[31mno", r"who it is (\u{001b}[31mno)"),
        ("Certificate verify failed: self-signed certificate", "(the site issued it itself)"),
        ("Certificate verify failed: certificate has expired", "(it has expired)"),
        ("Certificate verify failed: hostname mismatch", "(it is for another name)"),
        ("[Errno 9999] <b>", "it gave no proper answer"),
        ("", "it gave no proper answer"),
    ],
)
def test_the_words(message, why):
    assert unreachable.sentence("site.test", message).endswith(why)
    assert (unreachable.advice(message) is not None) == message.startswith("Certificate")
