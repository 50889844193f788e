"""Large and many downloads, clients that stall and clients that go: memory is bounded, the origin stops. 25 s.

What grows is measured by the kernel: the highest resident memory of the one worker since it was last reset.
"""

import contextlib
import hashlib
import os
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h2.config
import h2.connection
import psutil
import pytest

from e2e.processes import Memory, Proxy, make_certificate, wait_for
from proxykit.nginx import Nginx, nginx

MIB = 1 << 20
GROWTH_BYTES = 32 * MIB
UNSENT_BYTES = 100 * MIB  # of a gigabyte: the buffers of four sockets, as large as the system lets them grow
# the tail of a body of 48 MiB is as long as that of 1 GiB would be
CONFIG = "workers: 1\nfeeds: []\ndownloads: {tail_part: 0.214}\nmitmproxy: {ssl_insecure: true}\n"
ROADS = {"plain": ("http", "--http1.1"), "tls": ("https", "--http1.1"), "http2": ("https", "--http2")}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    folder = tmp_path_factory.mktemp("site")
    with nginx(folder / "nginx", *make_certificate(folder, "localhost", "127.0.0.1")) as found:
        (found.root / "warm.exe").write_bytes(b"MZ" + bytes(2 * MIB))
        for kind in ("exe", "mp4"):
            with (found.root / f"endless.{kind}").open("wb") as file:
                file.write(b"MZ" if kind == "exe" else b"\0\0")
                file.truncate(1024 * MIB)
        yield found


@contextlib.contextmanager
def _running(site: Nginx, folder: Path) -> Iterator[Proxy]:
    config = folder / "proxy.yaml"
    config.write_text(CONFIG)
    proxy = Proxy(folder / "state", config)
    try:
        for road, (scheme, version) in ROADS.items():
            assert proxy.curl(f"{scheme}://localhost:{getattr(site, road)}/warm.exe", version).status == 200
        yield proxy
    finally:
        proxy.stop()


@pytest.fixture(scope="module")
def proxy(site: Nginx, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    with _running(site, tmp_path_factory.mktemp("proxy")) as proxy:
        yield proxy


@pytest.fixture
def own_proxy(site: Nginx, tmp_path: Path) -> Iterator[Proxy]:
    """One that no other test measures: memory that was used once is not given back."""
    with _running(site, tmp_path) as proxy:
        yield proxy


def _fill(path: Path, size: int) -> str:
    """Write a body of `size` bytes, a program by its first two; give its SHA-256."""
    digest, start = hashlib.sha256(), b"MZ" if path.suffix == ".exe" else b"\0\0"
    with path.open("wb") as file:
        while file.tell() < size:
            piece = (start + os.urandom(MIB - len(start)))[: size - file.tell()]
            digest.update(piece)
            file.write(piece)
            start = b""
    return digest.hexdigest()


def _digest(proxy: Proxy, url: str, version: str, size: int) -> str:
    """Download with curl as fast as it goes; give the SHA-256 of what came."""
    command = ["curl", "-sS", version, "-m", "600", "-x", proxy.url, "--cacert", str(proxy.ca), url]
    digest, length = hashlib.sha256(), 0
    with subprocess.Popen(command, stdout=subprocess.PIPE) as client:
        assert client.stdout is not None
        while piece := client.stdout.read(MIB):
            digest.update(piece)
            length += len(piece)
    assert (client.returncode, length) == (0, size), url
    return digest.hexdigest()


@pytest.mark.parametrize("mib", [48, pytest.param(1024, marks=pytest.mark.soak)])
def test_a_large_file_arrives_whole_and_grows_no_memory(proxy, site, mib):
    size = mib * MIB + 1
    expected = {kind: _fill(site.root / f"large.{kind}", size) for kind in ("exe", "mp4")}
    memory = Memory(proxy.facts["workers"][0])
    for road, (scheme, version) in ROADS.items():
        for kind, whole in expected.items():
            for folder in ("", "/chunked"):
                url = f"{scheme}://localhost:{getattr(site, road)}{folder}/large.{kind}"
                assert _digest(proxy, url, version, size) == whole, url
    assert memory.grown() <= GROWTH_BYTES


@pytest.mark.parametrize("mb", [4, pytest.param(20, marks=pytest.mark.soak)])
def test_fifty_downloads_at_once(own_proxy, site, mb):
    """Held files keep one MiB each in memory, and what is on its way to the disk."""
    size = mb * 1_000_000
    whole = _fill(site.root / "one.exe", size)
    memory = Memory(own_proxy.facts["workers"][0])
    roads = [list(ROADS)[number % 3] for number in range(50)]

    def get(numbered: tuple[int, str]) -> str:
        number, road = numbered
        scheme, version = ROADS[road]
        return _digest(
            own_proxy, f"{scheme}://localhost:{getattr(site, road)}/one.exe?{number}", version, size
        )

    with ThreadPoolExecutor(50) as pool:
        assert set(pool.map(get, enumerate(roads))) == {whole}
    assert memory.grown() <= 50 * 2 * MIB
    wait_for(lambda: not list((own_proxy.state / "spool").iterdir()), "the spool to be empty again")


def _unread(proxy: Proxy, site: Nginx, road: str, http2: bool, path: str) -> socket.socket:
    """Ask for a large file, read the beginning and no more; an HTTP/2 client also opens no window."""
    port = getattr(site, road)
    sock = socket.create_connection(proxy.address.rsplit(":", 1), timeout=60)
    if road == "plain":
        sock.sendall(f"GET http://localhost:{port}{path} HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n".encode())
    else:
        sock.sendall(f"CONNECT localhost:{port} HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n".encode())
        assert b" 200 " in sock.recv(1000)
        context = ssl.create_default_context(cafile=proxy.ca)
        context.set_alpn_protocols(["h2" if http2 else "http/1.1"] + ["http/1.1"] * http2)
        sock = context.wrap_socket(sock, server_hostname="localhost")
        if http2:
            client = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
            client.initiate_connection()
            head = {":method": "GET", ":scheme": "https", ":authority": f"localhost:{port}", ":path": path}
            client.send_headers(1, head.items(), end_stream=True)
            sock.sendall(client.data_to_send())
        else:
            sock.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n".encode())
    got = 0
    while got < 32_768:  # an HTTP/2 client is sent no more than its first window, 65,535 bytes
        got += len(sock.recv(65_536))
    return sock


def _idle(worker: psutil.Process) -> bool:
    """Whether a worker has nothing to do: it used hardly any CPU for half a second."""
    before = sum(worker.cpu_times()[:2])
    time.sleep(0.5)
    return sum(worker.cpu_times()[:2]) - before < 0.05


@pytest.mark.parametrize("kind", ["exe", "mp4"])
def test_a_client_that_stalls_and_goes_takes_nothing_and_stops_the_origin(proxy, site, kind):
    """The origin's own count of what it sent is small, though it was asked for a gigabyte."""
    worker = psutil.Process(proxy.facts["workers"][0])
    memory = Memory(proxy.facts["workers"][0])
    clients = {}
    for road, http2 in (("plain", False), ("tls", False), ("tls", True), ("http2", True)):
        path = f"/endless.{kind}?{road}.{http2}"
        clients[path] = _unread(proxy, site, road, http2, path)
    wait_for(lambda: _idle(worker), "a worker that waits for its clients")
    assert not any(site.sent(path) for path in clients)  # all of them are under way
    for sock in clients.values():
        sock.close()
    for path in clients:
        (sent,) = wait_for(lambda path=path: site.sent(path) or None, f"the end of {path}")
        assert sent <= UNSENT_BYTES
    assert memory.grown() <= GROWTH_BYTES
