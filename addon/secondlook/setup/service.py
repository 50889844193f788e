"""Running as a service of the system: a hardened unit, a user of its own, and where its files lie.

```
/etc/systemd/system/secondlook.service   the unit; local changes go into secondlook.service.d/*.conf
/etc/sysusers.d/secondlook.conf          the user
/etc/tmpfiles.d/secondlook.conf          who may read the configuration
/etc/secondlook/proxy.yaml               the configuration; the shipped one where there is none
/var/lib/secondlook                      the state, which systemd makes
/run/secondlook                          for the socket of a gateway; systemd makes it, others may enter
```

No record of changes is kept: it would lie in a folder of the service's user, and root would believe it. What
is taken away are these files, where they say that they are ours; configuration, state and user stay.
"""

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from secondlook.ground.files import write_whole
from secondlook.setup import startup, tool
from secondlook.setup.journal import Outcome

NAME: Final = "secondlook"
UNIT: Final = f"{NAME}.service"
CONFIG: Final = Path("/etc/secondlook/proxy.yaml")
STATE: Final = Path("/var/lib/secondlook")
MARK: Final = "# Made by `secondlook setup service on`, taken away by `secondlook setup service off`."
UNREACHABLE: Final = ("/home", "/root", "/run/user", "/tmp", "/var/tmp")  # noqa: S108 - what the unit does not see

# No MemoryDenyWriteExecute: pyOpenSSL's callbacks are made of such memory, and no TLS would be opened.
_UNIT: Final = """\
{mark}
# Changes of your own: systemctl edit secondlook
[Unit]
Description=Second Look: checks every URL and every download
After=network.target nss-lookup.target

[Service]
Type=notify
NotifyAccess=all
ExecStart={command}
ExecReload=/bin/kill -HUP $MAINPID
KillMode=mixed
TimeoutStopSec=45
Restart=on-failure
RestartSec=2

User=secondlook
Group=secondlook
StateDirectory=secondlook
StateDirectoryMode=0700
RuntimeDirectory=secondlook
RuntimeDirectoryMode=0755
UMask=0077

CapabilityBoundingSet=
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
PrivateUsers=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
LockPersonality=yes
RemoveIPC=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged
SystemCallErrorNumber=EPERM

[Install]
WantedBy=multi-user.target
"""
_SYSUSERS: Final = f"""\
{MARK}
u {NAME} - "Second Look" {STATE}
"""
_TMPFILES: Final = f"""\
{MARK}
d {CONFIG.parent} 0750 root {NAME} -
z {CONFIG} 0640 root {NAME} -
"""


def files(words: Sequence[str]) -> dict[Path, str]:
    """Return the files of the service that runs this command, by their places."""
    return {
        Path("/etc/sysusers.d") / f"{NAME}.conf": _SYSUSERS,
        Path("/etc/tmpfiles.d") / f"{NAME}.conf": _TMPFILES,
        Path("/etc/systemd/system") / UNIT: _UNIT.format(mark=MARK, command=startup.command_line(words)),
    }


def hidden(*places: str) -> str | None:
    """Name the first of the places that a service cannot reach, None where it reaches all."""
    for place in (*places, *(str(Path(each).resolve()) for each in places)):
        if any(Path(place).is_relative_to(folder) for folder in UNREACHABLE):
            return place
    return None


def switch_on(words: Sequence[str], configuration: str, *, root: Path = Path("/")) -> list[Outcome]:
    """Write the files below `root`; with the system's own root, start the service too."""
    made = files(words)
    for path in made:
        foreign = _foreign(_below(root, path))
        if foreign is not None:
            return [foreign]
    outcomes = []
    config = _below(root, CONFIG)
    if config.exists():
        outcomes.append(Outcome(done=True, text=f"{config} stays as it is"))
    else:
        made[CONFIG] = re.sub(r"(?m)^state: .*$", f"state: {STATE}", configuration)
    for path, text in made.items():
        place = _below(root, path)
        place.parent.mkdir(parents=True, exist_ok=True)
        write_whole(place, text.encode())
        outcomes.append(Outcome(done=True, text=f"wrote {place}"))
    if root != Path("/"):
        return outcomes
    try:
        tool.run("systemd-sysusers", f"{NAME}.conf")
        tool.run("systemd-tmpfiles", "--create", f"{NAME}.conf")
        tool.run("systemctl", "daemon-reload")
        tool.run("systemctl", "enable", "--now", UNIT)
    except tool.ToolError as error:
        hint = f"mend that and run it again, or see: systemctl status {UNIT}"
        return [*outcomes, Outcome(done=False, text=str(error), hint=hint)]
    return [*outcomes, Outcome(done=True, text=f"{UNIT} runs, and starts with the system")]


def switch_off(*, root: Path = Path("/")) -> list[Outcome]:
    """Stop the service and take its files away; configuration, state and user stay."""
    ours = [_below(root, path) for path in files([sys.executable])]
    present = [path for path in ours if path.exists()]
    outcomes = []
    for path in present:
        foreign = _foreign(path)
        if foreign is not None:
            return [foreign]
    if root == Path("/") and any(path.name == UNIT for path in present):
        try:
            tool.run("systemctl", "disable", "--now", UNIT)
        except tool.ToolError as error:
            outcomes.append(Outcome(done=False, text=str(error), hint=f"see: systemctl status {UNIT}"))
            return outcomes
    for path in present:
        path.unlink()
        outcomes.append(Outcome(done=True, text=f"removed {path}"))
    if present:
        outcomes.append(
            Outcome(
                done=True, text=f"{_below(root, CONFIG)} and {_below(root, STATE)} stay; remove them by hand"
            )
        )
    return outcomes


def _foreign(path: Path) -> Outcome | None:
    """Return that a file is not ours, in words; None where it is, or is not there."""
    if not path.exists() or path.read_text(encoding="utf-8", errors="replace").startswith(MARK):
        return None
    hint = "its changes belong into secondlook.service.d/*.conf; move it away, then run this again"
    return Outcome(done=False, text=f"{path} is not of this command", hint=hint)


def _below(root: Path, path: Path) -> Path:
    return root / path.relative_to("/")
