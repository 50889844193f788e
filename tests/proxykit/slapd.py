"""A real directory: OpenLDAP's slapd on a free loopback port, with a few people in it."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from serverkit.ports import free_port

BASE = "dc=example,dc=org"
PEOPLE = f"ou=people,{BASE}"
TEMPLATE = f"uid={{user}},{PEOPLE}"
PASSWORD = "correct hörse"
READER = (f"cn=reader,{BASE}", "reads")
_SCHEMAS = Path("/etc/ldap/schema")
_MODULES = Path("/usr/lib/ldap")


class Slapd:
    """One server process; everything of it lies in `folder`."""

    def __init__(
        self, folder: Path, certificate: tuple[Path, Path] | None = None, scheme: str = "ldap"
    ) -> None:
        program = shutil.which("slapd", path="/usr/sbin:/usr/bin:/usr/local/sbin")
        if program is None:
            assert not os.environ.get("CI"), "slapd is missing"
            pytest.skip("slapd is not installed")
        self._program = program
        self._folder = folder
        self.port = free_port()
        self.uri = f"{scheme}://127.0.0.1:{self.port}"
        (folder / "data").mkdir(parents=True)
        (folder / "slapd.conf").write_text(_configuration(folder, certificate))
        (folder / "people.ldif").write_text(_people())
        self._run("-T", "add", "-l", str(folder / "people.ldif"))
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        with (self._folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [self._program, *self._options, "-h", self.uri, "-d", "256"], stdout=log, stderr=log
            )
        for _ in range(1000):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.01)
        raise AssertionError((self._folder / "log").read_text())

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def binds(self) -> int:
        """Return how many binds it was asked for."""
        return (self._folder / "log").read_text().count(" method=128")

    @property
    def _options(self) -> list[str]:
        return ["-f", str(self._folder / "slapd.conf")]

    def _run(self, *words: str) -> None:
        command = [self._program, *words[:2], *self._options, *words[2:]]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr


@contextmanager
def slapd(
    folder: Path, certificate: tuple[Path, Path] | None = None, scheme: str = "ldap"
) -> Iterator[Slapd]:
    """Run one, with `ldaps` in TLS from the first byte on."""
    server = Slapd(folder, certificate, scheme)
    try:
        yield server
    finally:
        server.kill()


def _configuration(folder: Path, certificate: tuple[Path, Path] | None) -> str:
    lines = [f"include {_SCHEMAS}/{name}.schema" for name in ("core", "cosine", "inetorgperson")]
    if certificate is not None:
        lines += [f"TLSCertificateFile {certificate[0]}", f"TLSCertificateKeyFile {certificate[1]}"]
    lines += [
        "allow bind_anon_cred bind_anon_dn",  # as careless as a directory can be: a bind without password is right
        f"modulepath {_MODULES}",
        "moduleload back_mdb",
        "database mdb",
        "maxsize 10485760",
        f'suffix "{BASE}"',
        f"directory {folder / 'data'}",
        "access to attrs=userPassword by anonymous auth by * none",
        f'access to * by dn.exact="{READER[0]}" read by anonymous auth by * none',
    ]
    return "\n".join(lines) + "\n"


def _people() -> str:
    entries = [
        f"dn: {BASE}\nobjectClass: dcObject\nobjectClass: organization\ndc: example\no: Example\n",
        f"dn: {PEOPLE}\nobjectClass: organizationalUnit\nou: people\n",
        f"dn: {READER[0]}\nobjectClass: person\ncn: reader\nsn: reader\nuserPassword: {READER[1]}\n",
    ]
    for uid, mail in (("ann", "ann@example.org"), ("ben", "both@example.org"), ("cleo", "both@example.org")):
        entries.append(
            f"dn: uid={uid},{PEOPLE}\nobjectClass: inetOrgPerson\nuid: {uid}\ncn: {uid}\nsn: {uid}\n"
            f"mail: {mail}\nuserPassword: {PASSWORD}\n"
        )
    return "\n".join(entries)
