"""nginx as an origin of files: plain HTTP/1.1, HTTPS with HTTP/1.1 alone and HTTPS with HTTP/2."""

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from serverkit.ports import free_port


@dataclass(frozen=True, slots=True)
class Nginx:
    """Where it listens (127.0.0.1), and the folder whose files it gives."""

    root: Path
    plain: int
    tls: int
    http2: int

    def sent(self, target: str) -> list[int]:
        """How many bytes of the body each request for a target was sent, of those that are over."""
        lines = (self.root.parent / "access.log").read_text().splitlines()
        return [int(line.split('"')[2].split()[1]) for line in lines if f" {target} " in line]


@contextlib.contextmanager
def nginx(folder: Path, certificate: Path, key: Path, more: str = "") -> Iterator[Nginx]:
    """Serve the files of `folder / "www"`, under /chunked/ without their length in HTTP/1.1.

    HTTP/2 answers end with a trailer; `more` goes into the set-up of each server.
    """
    program = shutil.which("nginx") or "/usr/sbin/nginx"
    if not os.access(program, os.X_OK):
        assert not os.environ.get("CI"), "nginx is missing"
        pytest.skip("nginx is missing")
    root = folder / "www"
    root.mkdir(parents=True)
    folder.chmod(0o755)
    plain, tls, http2 = (free_port() for _ in range(3))
    each = (
        f"add_header X-Protocol $server_protocol; {more}"
        f"location /chunked/ {{ alias {root}/; add_trailer X-End whole; }}"
    )
    (folder / "nginx.conf").write_text(f"""
daemon off; pid {folder}/pid; error_log {folder}/error.log; worker_processes 1;
{"user root;" if os.geteuid() == 0 else ""}
events {{ worker_connections 256; }}
http {{
  client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s; root {root}; access_log {folder}/access.log combined;
  types {{ application/x-msdownload exe; video/mp4 mp4; text/html html; application/zip zip; text/plain com; }}
  ssl_certificate {certificate}; ssl_certificate_key {key};
  server {{ listen 127.0.0.1:{plain}; {each} }}
  server {{ listen 127.0.0.1:{tls} ssl; {each} }}
  server {{ listen 127.0.0.1:{http2} ssl http2; add_trailer X-End whole; {each} }}
}}
""")
    server = subprocess.Popen([program, "-c", str(folder / "nginx.conf"), "-p", str(folder)])
    try:
        deadline = time.monotonic() + 60
        for port in (plain, tls, http2):
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port), 1).close()
                    break
                except OSError:
                    assert server.poll() is None, "nginx ended at its start"
                    assert time.monotonic() < deadline
                    time.sleep(0.05)
        yield Nginx(root, plain, tls, http2)
    finally:
        server.terminate()
        server.wait()
