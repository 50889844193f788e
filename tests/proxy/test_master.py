"""What mitmproxy is told: the operator's options first, origins are verified, and TLS carries no HTTP/3."""

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from proxykit.proxy import RunningProxy
from secondlook.proxy.mitm import master


def told(tmp_path, given):
    async def make():
        return master.make_options(str(tmp_path), "regular", given).ssl_verify_upstream_trusted_ca

    return asyncio.run(make())


@pytest.fixture
def bundle(tmp_path, monkeypatch):
    path = tmp_path / "bundle.crt"
    path.write_text("")
    monkeypatch.setattr(master, "SYSTEM_STORES", (str(tmp_path / "none.crt"), str(path)))
    return str(path)


def test_origins_are_verified_by_the_systems_store(tmp_path, bundle):
    assert told(tmp_path, {}) == bundle


def test_the_operators_choice_stands(tmp_path, bundle):
    own = f"{bundle}.own"
    assert told(tmp_path, {"ssl_verify_upstream_trusted_ca": own}) == own
    assert told(tmp_path, {"ssl_verify_upstream_trusted_confdir": str(tmp_path)}) is None


def test_without_a_store_mitmproxys_own_list_is_used(tmp_path, monkeypatch):
    monkeypatch.setattr(master, "SYSTEM_STORES", (str(tmp_path / "none.crt"),))
    assert told(tmp_path, {}) is None


QUIC_ALONE = ["h3", "h3-29"]


class Agreeing:
    """An origin over TLS that agrees to HTTP/3 where it is offered, and answers all alike; notes what it agreed to."""

    def __init__(self, certificate: Path) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate)
        self._context.set_alpn_protocols([*QUIC_ALONE, "http/1.1"])
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.port = self.listening.getsockname()[1]
        self.agreed: list[str | None] = []
        self.connected = threading.Event()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                raw, _ = self.listening.accept()
                self.connected.set()
                peer = self._context.wrap_socket(raw, server_side=True)
                self.agreed.append(peer.selected_alpn_protocol())
                threading.Thread(target=self._answer, args=(peer,), daemon=True).start()

    @staticmethod
    def _answer(peer: ssl.SSLSocket) -> None:
        with peer, contextlib.suppress(OSError):
            if peer.recv(4096):
                peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                peer.recv(1)


@pytest.fixture
def agreeing(origin_certificate: Path) -> Iterator[Agreeing]:
    origin = Agreeing(origin_certificate)
    yield origin
    origin.listening.shutdown(socket.SHUT_RDWR)  # ends what waits for a client
    origin.listening.close()


@pytest.mark.parametrize(
    ("offers", "agreed"),
    [
        (["h3"], None),
        (["h3-29"], None),
        (["h3", "http/1.1"], "http/1.1"),
        (["spdy/3", "h3", "http/1.1"], "http/1.1"),
    ],
)
@pytest.mark.parametrize(
    "silent", [False, True], ids=["", "after a silence, in which the origin was connected to"]
)
def test_nobody_agrees_to_http3_over_tcp(
    proxy: RunningProxy, agreeing: Agreeing, offers: list[str], agreed: str | None, silent: bool
):
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=30) as raw:
        raw.sendall(f"CONNECT 127.0.0.1:{agreeing.port} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        assert b" 200 " in raw.recv(1000)
        if silent:
            assert agreeing.connected.wait(30)
        context = ssl.create_default_context(cafile=proxy.ca)
        context.set_alpn_protocols(offers)
        with context.wrap_socket(raw, server_hostname="127.0.0.1") as tls:
            assert tls.selected_alpn_protocol() == agreed
            tls.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            assert tls.recv(4096).startswith(b"HTTP/1.1 200 OK")
    assert agreeing.agreed == [agreed]


def test_options_are_read_as_they_stand_and_what_can_change_is_a_copy(tmp_path):
    opts = master.make_options(str(tmp_path), "regular", {})
    assert (opts.confdir, opts.cert_passphrase) == (str(tmp_path), None)
    opts.update(cert_passphrase="x", ignore_hosts=["a.example"])
    opts.ignore_hosts.append("b.example")
    assert (opts.cert_passphrase, opts.ignore_hosts) == ("x", ["a.example"])
    with pytest.raises(AttributeError, match="No such option: nothing"):
        _ = opts.nothing
