"""A Squid on another machine, by the lines that `docs/gateway.md` shows for it: two network namespaces. 15 s."""

import contextlib
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from e2e.namespaces import cable, inside, ip, namespaces
from e2e.origin import Origin, origin
from e2e.processes import Answer, Proxy, curl, needs, wait_for
from e2e.shown import Page, replaced
from icapkit.wire import message
from proxykit.samples import EICAR

HERE, THERE, STRANGER = "10.78.0.1", "10.78.0.2", "10.78.0.3"  # Second Look, its gateway, another machine
SQUID = f"http://{THERE}:3128"
PAGE = Page("gateway.md")
AGENT = replaced(PAGE.shown("yaml", "clients: ["), ("192.0.2.7", HERE), ("192.0.2.8", THERE))
CONF = """\
http_port 3128
pid_filename none
cache_log {folder}/cache.log
access_log none
coredump_dir {folder}
cache deny all
hosts_file {folder}/hosts
pinger_enable off
shutdown_lifetime 0 seconds
{lines}
http_access allow all
"""


@dataclass(frozen=True, slots=True)
class Office:
    """The two machines, and what runs on them."""

    here: str
    there: str
    agent: Proxy
    site: Origin

    def fetch(self, url: str, *arguments: str) -> Answer:
        """Fetch something through Squid, on its own machine."""
        with inside(self.there):
            return curl(url, "-x", SQUID, *arguments)


def lines() -> str:
    """Return those of the page, without the two for a Squid that opens TLS."""
    shown = PAGE.shown("", "icap://icap.example:1344/reqmod")
    tunnel = [line for line in shown.splitlines() if "secondlook_tunnel" in line]
    assert len(tunnel) == 2
    return replaced(shown, *((f"{line}\n", "") for line in tunnel))


@contextlib.contextmanager
def squid(folder: Path) -> Iterator[None]:
    """Run Squid in this namespace."""
    program = needs("squid")
    folder.chmod(0o777)  # started by root, it becomes another user
    (folder / "hosts").write_text(f"{HERE} icap.example\n127.0.0.1 malware.secondlook.test inside.test\n")
    settings = folder / "squid.conf"
    settings.write_text(CONF.format(folder=folder, lines=lines()))
    server = subprocess.Popen(
        [program, "-N", "-n", "secondlookelsewhere", "-f", settings],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

    def listens() -> bool:
        assert server.poll() is None, "Squid ended at its start"
        try:
            socket.create_connection((THERE, 3128), 5).close()
        except OSError:
            return False
        return True

    try:
        wait_for(listens, "Squid's start")
        yield
    finally:
        server.terminate()
        server.wait(30)


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    place = tmp_path_factory.mktemp("office")
    (place / "proxy.yaml").write_text(AGENT)
    folder = Path(tempfile.mkdtemp(prefix="secondlook-squid-"))
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        here, there = stack.enter_context(namespaces("office", "edge"))
        cable(here, f"{HERE}/24", there, f"{THERE}/24", "wire")
        ip("-n", there, "addr", "add", f"{STRANGER}/24", "dev", "wire")
        with inside(here):
            agent = Proxy(place / "state", place / "proxy.yaml")
        stack.callback(agent.stop)
        with inside(there):
            site = stack.enter_context(origin())
            stack.enter_context(squid(folder))
        site.pages["/eicar.com"] = ("application/octet-stream", EICAR)
        yield Office(here, there, agent, site)


def test_pages_downloads_and_tunnels_go_by_what_second_look_says(office):
    own = ["-x", "http://127.0.0.1:3128"]  # as somebody who may reach the origin on loopback
    assert office.fetch(f"http://inside.test:{office.site.port}/page", *own).body == b"<h1>origin</h1>"
    before = office.site.connections
    url = f"http://malware.secondlook.test:{office.site.port}/elsewhere"
    refused = office.fetch(url, *own)
    assert (refused.status, refused.headers["x-second-look"].partition(";")[0]) == (403, "blocked")
    tunnel = office.fetch(f"https://malware.secondlook.test:{office.site.port}/", *own)
    assert (tunnel.exit, "403" in tunnel.error) == (56, True)
    assert office.site.connections == before
    download = office.fetch(f"http://inside.test:{office.site.port}/eicar.com", *own)
    assert (download.status, "x-second-look" in download.headers) == (403, True)
    with inside(office.here):
        (event,) = office.agent.json_when(bool, "log", "--kind", "blocked", "--search", "/elsewhere")
    assert (event["url"], event["client"], event["gateway"]) == (url, "127.0.0.1", THERE)


def test_clients_of_other_machines_reach_nothing_inside_the_gateway_but_our_pages(office):
    for host in ("127.0.0.1", "inside.test"):
        answer = office.fetch(f"http://{host}:{office.site.port}/inside")
        assert (answer.status, "x-second-look" in answer.headers) == (403, False)
    assert "/inside" not in {path for _, _, path in office.site.requests}
    assert office.fetch("http://secondlook.internal/healthz").body.strip() == b"ok"


def test_a_gateway_that_is_not_named_is_refused(office):
    said = {}
    for source in (THERE, STRANGER):
        with inside(office.there), socket.create_connection((HERE, 1344), 30, (source, 0)) as link:
            link.sendall(message("OPTIONS", "reqmod"))
            said[source] = link.recv(4096).partition(b"\r\n")[0]
    assert said == {THERE: b"ICAP/1.0 200 OK", STRANGER: b"ICAP/1.0 403 Forbidden"}
