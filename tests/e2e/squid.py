"""A real Squid on loopback, set up by the lines that `secondlook setup squid` prints."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil

from e2e.origin import Origin, origin
from e2e.processes import PATIENCE_S, Answer, Proxy, curl, make_certificate, needs, wait_for
from e2e.shown import Page
from serverkit.ports import free_port

CERTGEN = "/usr/lib/squid/security_file_certgen"
FAKE_LOGIN = "/usr/lib/squid/basic_fake_auth"
NAMES = ("malware.secondlook.test", "bad.malware.secondlook.test", "spliced.test", "opened.test")
CLOSED, OPEN = "acl secondlook_open any-of !all", "acl secondlook_open any-of all"
CONF = """\
pid_filename {folder}/squid.pid
cache_log {folder}/cache.log
coredump_dir {folder}
hosts_file {folder}/hosts
access_log none
cache deny all
shutdown_lifetime 1 seconds
pinger_enable off
tls_outgoing_options cafile={origins}
http_port 127.0.0.1:{login}
auth_param basic program {fake_login}
acl here localport {login}
acl authenticated proxy_auth REQUIRED
http_access deny here !authenticated
include {folder}/conf.d/*.conf
http_access allow localhost
http_access deny all
"""
LETS_IN = "http_access allow all\n"  # in debian.conf, as Debian has it for the network
AGENT = """\
mode: none
hung_after: {hung_after}
gateway:
  enabled: true
  socket: {folder}/gateway.sock
  workers: {workers}
  icap: 127.0.0.1:{icap}
passthrough: [spliced.test, bad.malware.secondlook.test]
servers: {{intranet: [{{url: "http://127.0.0.1:9", insecure: true}}]}}  # away: what is unknown is flagged
clients:
  groups: [{{name: strict, networks: [127.0.0.9], policy: {{unverifiable: {{page: block}}}}}}]
"""


class Squid:
    """One Squid process; `port` opens TLS and asks nobody to log in, `login_port` takes any name."""

    def __init__(self, folder: Path, agent: Proxy, origins: Path) -> None:
        self.folder = folder
        self.port, self.login_port = free_port(), free_port()
        self.agent = agent
        needs("squid")
        certificates = folder / "certificates"
        subprocess.run([CERTGEN, "-c", "-s", certificates, "-M", "4MB"], check=True, capture_output=True)
        (folder / "hosts").write_text("".join(f"127.0.0.1 {name}\n" for name in NAMES))
        told = agent.command(
            "setup", "squid", "--bump", "--listen", f"127.0.0.1:{self.port}", "--certificates", str(certificates)
        )  # fmt: skip
        self.lines = told.stdout
        (named,) = re.findall(r"> /etc/squid/conf\.d/(\S+\.conf)", Page("gateway.md").text)
        self._place = folder / "conf.d" / named
        self._place.parent.mkdir()
        (self._place.parent / "debian.conf").write_text(LETS_IN)
        assert CLOSED in self.lines
        self._write(self.lines)
        (folder / "squid.conf").write_text(
            CONF.format(folder=folder, login=self.login_port, origins=origins, fake_login=FAKE_LOGIN)
        )
        # as root it would become another user, who cannot read what the tests made
        other = ["unshare", "--user", "--map-user=65534", "--map-group=65534"] if os.getuid() == 0 else []
        self._command = [
            *other,
            shutil.which("squid"),
            "-n",
            f"sl{self.port}",
            "-f",
            str(folder / "squid.conf"),
        ]
        self.start()

    def start(self) -> None:
        """Start it, once more where it was stopped."""
        times = self.log.count("Accepting SSL bumped HTTP Socket connections")
        with (self.folder / "out").open("ab") as out:
            self._process = subprocess.Popen(
                [*self._command, "-N"], stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL
            )
        wait_for(lambda: self._listens(times + 1), "Squid's start")

    def _write(self, lines: str) -> None:
        self._place.write_text(lines)

    @property
    def log(self) -> str:
        try:
            return (self.folder / "cache.log").read_text(errors="replace")
        except OSError:
            return ""

    def _listens(self, times: int) -> bool:
        assert self._process.poll() is None, (self.folder / "out").read_text() + self.log
        return self.log.count("Accepting SSL bumped HTTP Socket connections") >= times

    def while_nobody_can_tell(self, choice: str) -> None:
        """Set the variable at the top of the lines, and have Squid read them again."""
        times = self.log.count("Accepting SSL bumped HTTP Socket connections")
        self._write(self.lines.replace(CLOSED, choice))
        self._process.send_signal(signal.SIGHUP)
        wait_for(lambda: self._listens(times + 1), "Squid's new settings")

    def curl(self, url: str, *arguments: str, login: str | None = None) -> Answer:
        """Fetch a URL through it, with a name to log in by or without, trusting the agent's authority."""
        way = ["-x", f"http://127.0.0.1:{self.port}"]
        if login is not None:
            way = ["-x", f"http://{login}:x@127.0.0.1:{self.login_port}"]
        return curl(url, *way, "--cacert", str(self.agent.ca), *arguments)

    def helpers(self) -> list[int]:
        """Return the helpers that it runs."""
        running = psutil.Process(self._process.pid).children(recursive=True)
        return [each.pid for each in running if "helper" in each.cmdline()]

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait(PATIENCE_S)


class Site:
    """An agent without a proxy, the Squid that asks it, and two origins."""

    def __init__(self, folder: Path, plain: Origin, tls: Origin, workers: int, hung_after: str) -> None:
        self.folder, self.plain, self.tls = folder, plain, tls
        self.config = folder / "proxy.yaml"
        self.config.write_text(
            AGENT.format(folder=folder, icap=free_port(), workers=workers, hung_after=hung_after)
        )
        self.agent = Proxy(folder / "state", self.config)
        self.squid = Squid(folder, self.agent, folder / "origin.pem")

    def start_agent(self) -> None:
        """Start the agent once more."""
        self.agent = self.squid.agent = Proxy(self.agent.state, self.config)

    def paths(self, there: Origin) -> list[str]:
        """Return what an origin was asked for."""
        return [path for _, _, path in there.requests]


@contextlib.contextmanager
def gateway_site(workers: int, hung_after: str = "10m") -> Iterator[Site]:
    """Run an agent with so many gate workers, its Squid, and the origins; who hangs long is not killed."""
    with TemporaryDirectory(prefix="slg", dir="/tmp") as name:  # a socket's path has to be short
        folder = Path(name)
        certificate = make_certificate(folder, "opened.test", "spliced.test", "malware.secondlook.test")
        with origin() as plain, origin(certificate=certificate) as tls:
            site = Site(folder, plain, tls, workers, hung_after)
            try:
                yield site
            finally:
                site.squid.stop()
                if site.agent.process.poll() is None:
                    site.agent.stop()
