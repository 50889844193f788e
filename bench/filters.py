"""What others have in the place of our gate worker: services of c-icap, and e2guardian.

| peer | what it does |
|---|---|
| echo | c-icap answers each body with itself: what ICAP alone costs |
| virus_scan | c-icap's antivirus service (Debian's `libc-icap-mod-virus-scan`): clamd looks into each body |
| e2guardian | a proxy of its own (Debian's): lists of addresses and phrases, and clamd looks into each body |

SquidClamav is not among the packages of Debian 12; virus_scan does the same work with the same clamd. Both
take part in G4 alone: through virus_scan, of 300 MB nothing had come after 15 s (Squid 5.7, which may stop
reading an origin whose body is held back whole: its bug 5352), and e2guardian looks into nothing over 20 MB.
"""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil

from e2e.processes import needs, wait_for
from peers import Peer, is_open
from serverkit.ports import free_port

C_ICAP = """\
PidFile {folder}/c-icap.pid
CommandsSocket {folder}/c-icap.ctl
MaxKeepAliveRequests -1
KeepAliveTimeout 600
StartServers 1
MaxServers 1
ThreadsPerChild 80
MaxRequestsPerChild 0
Port 127.0.0.1:{port}
TmpDir {folder}
DebugLevel 0
ModulesDir {modules}
ServicesDir {modules}
ServerLog {folder}/c-icap.log
TemplateDir /usr/share/c_icap/templates/
LoadMagicFile /etc/c-icap/c-icap.magic
{services}
"""
ECHO = "Service echo srv_echo.so"
VIRUS_SCAN = """\
Module common clamd_mod.so
clamd_mod.ClamdSocket {clamd}
Service antivirus virus_scan.so
virus_scan.ScanFileTypes TEXT DATA EXECUTABLE ARCHIVE GIF JPEG MSOFFICE
virus_scan.SendPercentData 5
virus_scan.StartSendPercentDataAfter 2M
virus_scan.MaxObjectSize 5M
virus_scan.DefaultEngine clamd
ServiceAlias avscan virus_scan?allow204=on&sizelimit=off&mode=simple
"""
ASKING = """\
icap_enable on
icap_preview_enable on
icap_persistent_connections on
icap_service peer respmod_precache bypass=off icap://127.0.0.1:{port}/{service}
adaptation_access peer allow all
"""
E2GUARDIAN = Path("/etc/e2guardian")


@contextlib.contextmanager
def c_icap(folder: Path, services: str) -> Iterator[tuple[int, tuple[int, ...]]]:
    """Run c-icap with services; gives its port and the processes that serve."""
    folder.mkdir()
    port = free_port()
    (modules,) = Path("/usr/lib").glob("*/c_icap")
    config = folder / "c-icap.conf"
    config.write_text(C_ICAP.format(folder=folder, port=port, modules=modules, services=services))
    process = subprocess.Popen([needs("c-icap"), "-N", "-f", str(config)])
    try:
        wait_for(lambda: is_open(port), "c-icap")
        serving = wait_for(psutil.Process(process.pid).children, "c-icap's process that serves")
        yield port, tuple(each.pid for each in serving)
    finally:
        process.terminate()
        process.wait()


@contextlib.contextmanager
def e2guardian(folder: Path, clamd: str) -> Iterator[Peer]:
    """Run e2guardian with Debian's lists, and a clamd that may read its files."""
    port, other_port = free_port(), free_port()
    shutil.copytree(E2GUARDIAN, folder, ignore=shutil.ignore_patterns("private"))
    (folder / "cache").mkdir()
    for path in folder.rglob("*"):
        if path.is_file():
            text = path.read_text("latin-1")
            path.write_text(text.replace(str(E2GUARDIAN), str(folder)), "latin-1")
    (folder / "contentscanners" / "clamdscan.conf").write_text(
        f"plugname = 'clamdscan'\nclamdudsfile = '{clamd}'\n"
    )
    with (folder / "e2guardian.conf").open("a") as config:
        config.write(
            f"contentscanner = '{folder}/contentscanners/clamdscan.conf'\n"
            f"pidfilename = '{folder}/pid'\nloglocation = '{folder}/access.log'\n"
            "daemonuser = 'nobody'\ndaemongroup = 'nogroup'\n"
        )
    own = {
        "filterip": "127.0.0.1",
        "filterports": str(port),
        "transparenthttpsport": str(other_port),
        "filecachedir": f"'{folder}/cache'",
        "nodaemon": "on",
    }
    text = (folder / "e2guardian.conf").read_text()
    lines = (line for line in text.splitlines() if line.partition("=")[0].strip() not in own)
    settings = "".join(f"{key} = {value}\n" for key, value in own.items())
    (folder / "e2guardian.conf").write_text("\n".join(lines) + "\n" + settings)
    as_other = ["unshare", "--user", "--map-user=65534", "--map-group=65534"] if os.getuid() == 0 else []
    command = [*as_other, needs("e2guardian"), "-N", "-c", str(folder / "e2guardian.conf")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: is_open(port), "e2guardian")
        yield Peer(f"127.0.0.1:{port}", (process.pid,))
    finally:
        process.kill()  # it does not end when it is asked to
        process.wait()
