"""A worker and an origin, real ones, for tests of the proxy alone."""

import functools
import ssl
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import h2.events
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from mitmproxy.certs import CertStore

from proxykit import http2
from proxykit.gatekeeper import FakeGatekeeper
from proxykit.origin import Origin, Reply
from proxykit.proxy import RunningProxy


@functools.cache
def _origin_certificate() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="secondlook-origin-"))
    entry = CertStore.from_store(folder, "origin", 2048).get_cert("origin.test", [])
    key = entry.privatekey.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    pem = folder / "origin.pem"
    pem.write_bytes(entry.cert.to_pem() + key)
    return pem


@pytest.fixture
def origin_certificate() -> Path:
    """A certificate and its key in one file."""
    return _origin_certificate()


@pytest.fixture(scope="module")
def judge() -> FakeGatekeeper:
    """The gatekeeper of proxies that the tests of a module share."""
    return FakeGatekeeper()


@pytest.fixture
def gatekeeper(request: pytest.FixtureRequest) -> FakeGatekeeper:
    """A new one, or the module's, to which nothing has happened."""
    if "judge" not in request.fixturenames:
        return FakeGatekeeper()
    judge: FakeGatekeeper = request.getfixturevalue("judge")
    judge.forget()
    return judge


@pytest.fixture
def make_proxy(tmp_path: Path, gatekeeper: FakeGatekeeper) -> Iterator[Callable[..., RunningProxy]]:
    running: list[RunningProxy] = []

    def make(**settings: object) -> RunningProxy:
        proxy = RunningProxy(tmp_path / f"state{len(running)}", gatekeeper, **settings)
        running.append(proxy)
        return proxy

    yield make
    for proxy in running:
        proxy.close()


@pytest.fixture
def proxy(make_proxy: Callable[..., RunningProxy]) -> RunningProxy:
    return make_proxy()


@pytest.fixture(scope="module")
def one_proxy(tmp_path_factory: pytest.TempPathFactory, judge: FakeGatekeeper) -> Iterator[RunningProxy]:
    """A proxy that the tests of a module share."""
    proxy = RunningProxy(tmp_path_factory.mktemp("shared"), judge)
    yield proxy
    proxy.close()


@pytest.fixture
def make_origin(tmp_path: Path) -> Iterator[Callable[..., Origin]]:
    running: list[Origin] = []

    def make(reply: Reply, *, tls: bool = False) -> Origin:
        context = None
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(_origin_certificate())
        origin = Origin(reply, context)
        origin.start()
        running.append(origin)
        return origin

    yield make
    for origin in running:
        origin.close()


@pytest.fixture
def curl() -> Callable[..., subprocess.CompletedProcess[bytes]]:
    def run(proxy: RunningProxy, *arguments: str, timeout_s: int = 60) -> subprocess.CompletedProcess[bytes]:
        command = [
            "curl",
            "-sS",
            "-m",
            str(timeout_s),
            "-x",
            proxy.url,
            "--cacert",
            str(proxy.ca),
            *arguments,
        ]
        return subprocess.run(command, capture_output=True, check=False)

    return run


@pytest.fixture
def make_http2_origin(origin_certificate) -> Iterator[Callable[..., http2.Origin]]:
    running: list[http2.Origin] = []

    def make(handle: Callable[[http2.Peer, h2.events.Event], None] = http2.answer) -> http2.Origin:
        origin = http2.Origin(origin_certificate, handle)
        running.append(origin.__enter__())
        return origin

    yield make
    for origin in running:
        origin.__exit__()


@pytest.fixture
def connect_http2(proxy) -> Iterator[Callable[[http2.Origin], http2.Client]]:
    clients: list[http2.Client] = []

    def make(origin: http2.Origin) -> http2.Client:
        clients.append(http2.Client(proxy.port, origin.port, proxy.ca))
        return clients[-1]

    yield make
    for client in clients:
        client.sock.close()
