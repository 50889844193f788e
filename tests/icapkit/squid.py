"""A real Squid that has every request and every body looked at by ICAP."""

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from serverkit.ports import free_port

STARTED_S = 60.0
HANDS_ON = """\
adaptation_masterx_shared_names X-Second-Look-Wanted
adaptation_meta X-Second-Look-Hands-On X-Second-Look-Wanted
acl piece req_header Range .
acl anew req_header Cache-Control no-cache
cache deny piece anew
"""


@dataclass(frozen=True, slots=True)
class Squid:
    """Where it listens."""

    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextlib.contextmanager
def squid(icap: str, *names: str, hands_on: str = "", more: str = "") -> Iterator[Squid]:
    """Run a Squid that asks `reqmod` and `respmod` at `icap`.

    `names` are of this machine; `hands_on` and `more` are lines of its settings.
    """
    program = shutil.which("squid") or "/usr/sbin/squid"
    if not os.access(program, os.X_OK):
        assert not os.environ.get("CI"), "squid is missing"
        pytest.skip("squid is missing")
    folder = Path(tempfile.mkdtemp(prefix="secondlook-squid-"))
    folder.chmod(0o777)  # started by root, it becomes another user
    port = free_port()
    (folder / "hosts").write_text("".join(f"127.0.0.1 {name}\n" for name in names))
    (folder / "squid.conf").write_text(f"""
http_port 127.0.0.1:{port}
pid_filename none
cache_log {folder}/cache.log
access_log none
coredump_dir {folder}
cache_mem 8 MB
hosts_file {folder}/hosts
pinger_enable off
shutdown_lifetime 0 seconds
http_access allow localhost
icap_enable on
icap_preview_enable on
icap_persistent_connections on
icap_service_failure_limit -1
adaptation_send_client_ip on
{hands_on}
{more}
icap_service asked reqmod_precache bypass=off icap://{icap}/reqmod
icap_service answered respmod_precache bypass=off icap://{icap}/respmod
adaptation_access asked allow all
adaptation_access answered allow all
""")
    name = f"sl{port}"  # two of one name would share memory
    server = subprocess.Popen(
        [program, "-N", "-n", name, "-f", str(folder / "squid.conf")],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + STARTED_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert server.poll() is None, "squid ended at its start"
                assert time.monotonic() < deadline
                time.sleep(0.05)
        yield Squid(port)
    finally:
        server.terminate()
        try:
            server.wait(30)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
        shutil.rmtree(folder, ignore_errors=True)
