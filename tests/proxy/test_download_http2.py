"""HTTP/2 on both sides, with nginx as the origin: whole files, trailers, stalled streams beside running ones."""

import hashlib
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator

import h2.config
import h2.connection
import h2.events
import psutil
import pytest

from proxykit.nginx import Nginx, nginx
from proxykit.samples import program, prose

MIB = 1 << 20


@pytest.fixture
def origin(tmp_path, origin_certificate) -> Iterator[Nginx]:
    with nginx(tmp_path / "nginx", origin_certificate, origin_certificate) as found:
        yield found


def _fetch(proxy, port: int, path: str) -> tuple[bytes, dict[str, str]]:
    """Fetch over HTTP/2 through a tunnel; give the body and the trailers, which curl hides."""
    context = ssl.create_default_context(cafile=str(proxy.ca))
    context.set_alpn_protocols(["h2"])
    trailers: dict[str, str] = {}
    body = bytearray()
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=20) as raw:
        raw.sendall(f"CONNECT 127.0.0.1:{port} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
        assert b"200" in raw.recv(1000)
        with context.wrap_socket(raw, server_hostname="127.0.0.1") as tls:
            client = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
            client.initiate_connection()
            head = [
                (":method", "GET"),
                (":scheme", "https"),
                (":authority", f"127.0.0.1:{port}"),
                (":path", path),
            ]
            client.send_headers(1, [*head, ("te", "trailers")], end_stream=True)
            tls.sendall(client.data_to_send())
            while True:
                for event in client.receive_data(tls.recv(65536)):
                    if isinstance(event, h2.events.DataReceived):
                        body += event.data
                        client.acknowledge_received_data(event.flow_controlled_length, 1)
                    elif isinstance(event, h2.events.TrailersReceived):
                        trailers.update(event.headers)
                    elif isinstance(event, h2.events.StreamEnded):
                        return bytes(body), trailers
                    elif isinstance(event, h2.events.StreamReset):
                        pytest.fail(str(event))
                tls.sendall(client.data_to_send())


@pytest.mark.parametrize("size", [1, 65_537, 300_000, 20_000_000])
@pytest.mark.parametrize("kind", ["exe", "mp4"])
def test_clean_files_arrive_whole_with_their_trailers(proxy, origin, size, kind):
    body = program(size) if kind == "exe" else prose(size)
    (origin.root / f"f.{kind}").write_bytes(body)
    got, trailers = _fetch(proxy, origin.http2, f"/f.{kind}")
    assert hashlib.sha256(got).digest() == hashlib.sha256(body).digest()
    assert trailers == {"x-end": "whole"}


@pytest.mark.parametrize("size", [300_000, 20_000_000])
def test_listed_files_do_not(proxy, gatekeeper, origin, curl, size):
    body = program(size)
    (origin.root / "f.exe").write_bytes(body)
    gatekeeper.bad.add(hashlib.sha256(body).hexdigest())
    done = curl(proxy, "--http2", f"https://127.0.0.1:{origin.http2}/f.exe")
    assert len(done.stdout) < len(body)
    assert done.returncode != 0 or b"secondlook.internal" in done.stdout


def test_trailers_of_http2_are_dropped_for_an_http1_client(proxy, origin, curl):
    (origin.root / "f.mp4").write_bytes(prose(100_000))
    done = curl(proxy, "--http1.1", f"https://127.0.0.1:{origin.http2}/f.mp4")
    assert done.stdout == prose(100_000)


def test_a_stalled_stream_neither_grows_memory_nor_stops_others(proxy, origin):
    with (origin.root / "large.mp4").open("wb") as file:
        file.truncate(300 * MIB)
    (origin.root / "small.mp4").write_bytes(prose(50_000))
    before = psutil.Process().memory_info().rss
    common = ["curl", "-sS", "-m", "60", "--http2", "-x", proxy.url, "--cacert", str(proxy.ca)]
    slow = [*common, "--limit-rate", "50k", "-o", "/dev/null", f"https://127.0.0.1:{origin.http2}/large.mp4"]
    with subprocess.Popen(slow) as stalled:
        time.sleep(3)  # what is watched is growth while nobody reads
        started = time.monotonic()
        done = subprocess.run(
            [*common, f"https://127.0.0.1:{origin.http2}/small.mp4"], capture_output=True, check=False
        )
        assert done.stdout == prose(50_000)
        assert time.monotonic() - started < 10
        grown = psutil.Process().memory_info().rss - before
        stalled.kill()
    assert grown < 40 * MIB, grown
