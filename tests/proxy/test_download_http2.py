"""HTTP/2 on both sides, with nginx as the origin: listed files, stalled streams beside running ones."""

import hashlib
import subprocess
import time
from collections.abc import Iterator

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
