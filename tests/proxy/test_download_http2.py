"""HTTP/2 on both sides, with nginx as the origin: listed files, stalled streams beside running ones."""

import contextlib
import hashlib
import os
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator

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


@pytest.mark.parametrize("size", [300_000, 20_000_000])
def test_listed_files_do_not(proxy, gatekeeper, origin, curl, size):
    body = program(size)
    (origin.root / "f.exe").write_bytes(body)
    gatekeeper.bad.add(hashlib.sha256(body).hexdigest())
    done = curl(proxy, "--http2", f"https://127.0.0.1:{origin.http2}/f.exe")
    assert len(done.stdout) < len(body)
    assert done.returncode != 0 or b"secondlook.internal" in done.stdout


def test_a_stalled_stream_neither_grows_memory_nor_stops_others(proxy, origin):
    with (origin.root / "large.mp4").open("wb") as file:
        file.truncate(300 * MIB)
    (origin.root / "small.mp4").write_bytes(prose(50_000))
    before = psutil.Process().memory_info().rss
    common = ["curl", "-sS", "-m", "240", "--http2", "-x", proxy.url, "--cacert", str(proxy.ca)]
    slow = [*common, "--limit-rate", "50k", "-o", "/dev/null", f"https://127.0.0.1:{origin.http2}/large.mp4"]
    with subprocess.Popen(slow) as stalled:
        time.sleep(3)  # what is watched is growth while nobody reads
        done = subprocess.run(
            [*common, f"https://127.0.0.1:{origin.http2}/small.mp4"], capture_output=True, check=False
        )
        assert done.stdout == prose(50_000)
        assert stalled.poll() is None  # it has not ended: the small one did not wait for it
        grown = psutil.Process().memory_info().rss - before
        stalled.kill()
    assert grown < 40 * MIB, grown


def test_a_slow_client_that_resets_its_stream_had_little_sent_ahead_and_stops_the_origin(
    make_proxy, origin_certificate, tmp_path
):
    """The body has no length (compressed on the way), so it is held at first, then sent as the client reads."""
    proxy = make_proxy(downloads={"hold_up_to": 8 * MIB, "spool_memory": 64 << 10})
    compressed = "gzip on; gzip_types *; gzip_comp_level 1;"
    with nginx(tmp_path / "nginx", origin_certificate, origin_certificate, compressed) as origin:
        (origin.root / "f.exe").write_bytes(os.urandom(MIB) * 60)
        _read_and_reset(proxy, origin.http2, "/f.exe", 4 * MIB)
        deadline = time.monotonic() + 60
        while not (sent := origin.sent("/f.exe")):
            assert time.monotonic() < deadline, "the origin was not stopped"
            time.sleep(0.05)
    assert sent[0] < 16 * MIB, sent


def test_an_origin_that_closes_its_connections_now_and_then_loses_no_request(
    proxy, tmp_path, origin_certificate, curl
):
    with nginx(
        tmp_path / "nginx", origin_certificate, origin_certificate, "keepalive_requests 20;"
    ) as origin:
        (origin.root / "a.txt").write_bytes(prose(2000))
        wanted = [f"https://127.0.0.1:{origin.http2}/a.txt?{number}" for number in range(60)]
        arguments = [word for url in wanted for word in ("-o", "/dev/null", url)]
        done = curl(proxy, "--http2", "-Z", "--parallel-max", "12", "-w", "%{http_code}\n", *arguments)
    assert done.stdout.split() == [b"200"] * 60


def _read_and_reset(proxy, port: int, path: str, count: int) -> None:
    """Read the beginning of a body in small steps, reset its stream, and keep the connection."""
    with socket.create_connection(("127.0.0.1", proxy.port), 60) as raw:
        raw.sendall(f"CONNECT 127.0.0.1:{port} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        assert b" 200 " in raw.recv(1000)
        context = ssl.create_default_context(cafile=proxy.ca)
        context.set_alpn_protocols(["h2"])
        with context.wrap_socket(raw, server_hostname="127.0.0.1") as tls:
            client = h2.connection.H2Connection()
            client.initiate_connection()
            head = [
                (":method", "GET"),
                (":scheme", "https"),
                (":authority", f"127.0.0.1:{port}"),
                (":path", path),
            ]
            client.send_headers(1, [*head, ("accept-encoding", "gzip")], end_stream=True)
            while count > 0:
                tls.sendall(client.data_to_send())
                time.sleep(0.002)  # slower than the origin
                received = tls.recv(16_384)
                assert received
                for event in client.receive_data(received):
                    if isinstance(event, h2.events.DataReceived):
                        count -= len(event.data)
                        client.acknowledge_received_data(event.flow_controlled_length, 1)
            client.reset_stream(1, 8)
            tls.sendall(client.data_to_send())
            tls.settimeout(1)
            with contextlib.suppress(TimeoutError):
                while tls.recv(65_536):
                    pass
