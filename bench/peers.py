"""What is measured, and an origin: stock mitmdump, Debian's Squid, our proxy and that of another checkout."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from e2e.processes import Proxy, Running, make_certificate, wait_for
from serverkit.ports import free_port

BIN = Path(sys.executable).parent
CERTGEN = "/usr/lib/squid/security_file_certgen"
SQUID = """\
{listen}
pid_filename {folder}/squid.pid
cache_log {folder}/cache.log
coredump_dir {folder}
access_log none
cache deny all
shutdown_lifetime 1 seconds
pinger_enable off
{lines}
http_access allow all
"""
LISTEN = "http_port 127.0.0.1:{port}"
BUMP = """\
http_port 127.0.0.1:{port} ssl-bump tls-cert={authority} generate-host-certificates=on
sslcrtd_program {certgen} -s {folder}/certificates -M 16MB
ssl_bump bump all
tls_outgoing_options flags=DONT_VERIFY_PEER"""


@dataclass(frozen=True)
class Peer:
    """A proxy that is measured, and the processes that take part in its answers."""

    address: str
    pids: tuple[int, ...]

    def cpu_s(self) -> float:
        """Processor time taken so far."""
        times = [psutil.Process(pid).cpu_times() for pid in self.pids]
        return float(sum(each.user + each.system for each in times))


@contextlib.contextmanager
def nginx(folder: Path) -> Iterator[tuple[int, int]]:
    """Run an origin; gives its plain and its TLS port."""
    certificate, key = make_certificate(folder, "localhost", "127.0.0.1")
    plain, tls = free_port(), free_port()
    (folder / "page.html").write_text("<html><body>" + "x" * 2680 + "</body></html>")
    (folder / "nginx.conf").write_text(f"""
daemon off; {"user root;" if os.geteuid() == 0 else ""} pid {folder}/nginx.pid;
error_log {folder}/error.log; worker_processes 1;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 1000000; client_body_temp_path {folder}/b; proxy_temp_path {folder}/p;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  default_type text/html; types {{ text/html html; video/mp4 mp4; text/javascript js; image/svg+xml svg; }}
  server {{ listen 127.0.0.1:{plain}; location / {{ root {folder}; try_files $uri /page.html =404; }} }}
  server {{ listen 127.0.0.1:{tls} ssl http2; ssl_certificate {certificate}; ssl_certificate_key {key};
           location / {{ root {folder}; try_files $uri /page.html =404; }} }}
}}
""")
    program = shutil.which("nginx") or "/usr/sbin/nginx"
    server = subprocess.Popen(
        [program, "-c", str(folder / "nginx.conf"), "-p", str(folder)], stderr=subprocess.DEVNULL
    )
    try:
        wait_for(lambda: is_open(plain), "nginx")
        wait_for(lambda: is_open(tls), "nginx")
        yield plain, tls
    finally:
        server.terminate()
        server.wait()


def is_open(port: int) -> bool | None:
    """Return True once something listens there, None before."""
    try:
        socket.create_connection(("127.0.0.1", port), 0.5).close()
    except OSError:
        return None
    return True


@contextlib.contextmanager
def mitmdump(folder: Path, *arguments: str) -> Iterator[Peer]:
    """Run stock mitmdump."""
    port = free_port()
    options = ["--listen-host", "127.0.0.1", "-p", str(port), "--set", f"confdir={folder}/stock"]
    program = str(BIN / "mitmdump")
    running = Running([program, "-q", "--ssl-insecure", *options, *arguments], folder / "mitmdump.log")
    try:
        wait_for(lambda: is_open(port), "mitmdump")
        yield Peer(f"127.0.0.1:{port}", (running.process.pid,))
    finally:
        running.stop()


@contextlib.contextmanager
def squid(
    folder: Path, lines: str = "", others: tuple[int, ...] = (), *, authority: Path | None = None
) -> Iterator[Peer]:
    """Run a Squid with these lines in its configuration; with `authority` it opens TLS.

    `authority` is a file with certificate and key; `others` are processes that take part in its answers.
    """
    folder.mkdir()
    port = free_port()
    listen = LISTEN.format(port=port)
    if authority is not None:
        made = [CERTGEN, "-c", "-s", str(folder / "certificates"), "-M", "4MB"]
        subprocess.run(made, check=True, capture_output=True)
        listen = BUMP.format(port=port, authority=authority, certgen=CERTGEN, folder=folder)
    (folder / "squid.conf").write_text(SQUID.format(listen=listen, folder=folder, lines=lines))
    as_other = ["unshare", "--user", "--map-user=65534", "--map-group=65534"] if os.getuid() == 0 else []
    program = shutil.which("squid") or "/usr/sbin/squid"
    command = [*as_other, program, "-N", "-n", f"slb{port}", "-f", str(folder / "squid.conf")]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: is_open(port), "Squid")
        children = psutil.Process(process.pid).children(recursive=True)
        yield Peer(f"127.0.0.1:{port}", (process.pid, *(each.pid for each in children), *others))
    finally:
        process.terminate()
        process.wait()


def make_authority(folder: Path) -> Path:
    """Make what signs Squid's certificates for sites: one file with certificate and key."""
    place = folder / "authority"
    place.mkdir()
    certificate, key = make_certificate(place, "authority.test")
    both = place / "both.pem"
    both.write_bytes(certificate.read_bytes() + key.read_bytes())
    return both


def checkout_program(checkout: Path) -> tuple[list[str], dict[str, str]]:
    """Return command and environment of another checkout: its own `.venv`, or else its package in ours."""
    own = checkout / ".venv" / "bin" / "python"
    package = checkout / "addon"
    if not package.is_dir():
        raise SystemExit(f"--against: {checkout} is no checkout of Second Look")
    program = [str(own if own.exists() else sys.executable), "-m", "secondlook"]
    return program, {**os.environ, "PYTHONPATH": str(package)}


class CheckoutProxy(Proxy):
    """The proxy of another checkout."""

    def __init__(self, checkout: Path, state: Path, config: Path) -> None:
        self.program, env = checkout_program(checkout)
        super().__init__(state, config, env=env)


@contextlib.contextmanager
def secondlook(
    folder: Path, state: Path, config: str, checkout: Path | None = None, *, workers: int = 1
) -> Iterator[Peer]:
    """Run our proxy, or that of another checkout."""
    path = folder / f"{state.name}.yaml"
    path.write_text(f"workers: {workers}\nmitmproxy: {{ssl_insecure: true}}\n{config}")
    proxy = Proxy(state, path) if checkout is None else CheckoutProxy(checkout, state, path)
    try:
        time.sleep(1)  # the start is over when the lists are in
        yield Peer(proxy.address, tuple(proxy.facts["workers"]))
    finally:
        proxy.stop()
