"""The same checks inside `mitmdump -s addon/main.py`, as developers run it: about 6 s."""

import hashlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.processes import BIN, START_S, Answer, Running, curl, wait_for
from proxykit.pieces import tls_in_pieces
from proxykit.samples import EICAR, program, prose, tarred, zipped
from serverkit.ports import free_port

CONFIG = """
state: {state}
feeds: [{{name: test, builtin: test}}]
downloads: {{spool_max: 64 MiB}}
"""
MIB = 1 << 20


class Dump(Running):
    """mitmdump with our script."""

    def __init__(self, folder: Path, repository: Path) -> None:
        config = folder / "proxy.yaml"
        config.write_text(CONFIG.format(state=folder / "state"))
        self.port = free_port()
        self.ca = folder / "ca" / "mitmproxy-ca-cert.pem"
        command = [
            str(BIN / "mitmdump"), "-q", "-s", str(repository / "addon" / "main.py"),
            "--listen-host", "127.0.0.1", "--listen-port", str(self.port),
            "--set", f"confdir={folder / 'ca'}", "--set", "ssl_insecure=true",
        ]  # fmt: skip
        super().__init__(
            command, folder / "mitmdump.log", env={**os.environ, "SECONDLOOK_CONFIG": str(config)}
        )
        wait_for(self._serves, "mitmdump", START_S)

    def _serves(self) -> bool:
        assert self.process.poll() is None, self.output
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def curl(self, url: str, *arguments: str) -> Answer:
        return curl(url, "-x", f"http://127.0.0.1:{self.port}", "--cacert", str(self.ca), *arguments)


@pytest.fixture(scope="module")
def dump(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Iterator[Dump]:
    running = Dump(tmp_path_factory.mktemp("dump"), repository)
    yield running
    running.stop()


def test_a_client_hello_in_pieces_is_opened(dump):
    host = "malware.secondlook.test"
    wait_for(lambda: dump.curl(f"http://{host}/").status == 403, "the lists")
    with socket.create_connection(("127.0.0.1", dump.port), timeout=30) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.sendall(f"CONNECT {host}:443 HTTP/1.1\r\nHost: {host}:443\r\n\r\n".encode())
        assert b" 200 " in client.recv(1000)
        answer = tls_in_pieces(client, (1, 2, 3), f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    assert b" 403 " in answer.partition(b"\r\n")[0]


@pytest.mark.parametrize("http", ["--http1.1", "--http2"])
def test_downloads_are_held_streamed_and_cut(dump, tls_origin, http):
    random = os.urandom(18 * MIB)
    clean = {
        "/small.txt": prose(1000),
        "/large.txt": prose(3 * MIB),
        "/setup.exe": program(300_000),
        "/large.exe": program(20 * MIB),
        "/large.tar": tarred({"readme": random}),
    }
    for path, body in clean.items():
        tls_origin.pages[path] = ("application/octet-stream", body)
        got = dump.curl(tls_origin.url(path, "localhost", "https"), http)
        assert (got.status, got.exit) == (200, 0), got.error
        assert hashlib.sha256(got.body).digest() == hashlib.sha256(body).digest()

    def listed() -> bool:
        return dump.curl("http://malware.secondlook.test/", http).status == 403

    wait_for(listed, "the test list")
    for path, body in (("/eicar.com", EICAR), ("/eicar.zip", zipped({"a": b"a", "eicar.com": EICAR}))):
        tls_origin.pages[path] = ("application/octet-stream", body)
        refused = dump.curl(tls_origin.url(f"{path}?{http}", "localhost", "https"), http)
        assert (refused.status, "stage=pattern" in refused.headers["x-second-look"]) == (403, True)
    body = tarred({"readme": random, "eicar.com": EICAR})
    tls_origin.pages["/eicar.tar"] = ("application/octet-stream", body)
    cut = dump.curl(tls_origin.url(f"/eicar.tar?{http}", "localhost", "https"), http)
    assert cut.exit != 0
    assert len(cut.body) <= len(body) - len(body) // 100
    assert dump.curl(tls_origin.url(f"/eicar.tar?{http}", "localhost", "https"), http).status == 403
    assert "Traceback" not in dump.output
