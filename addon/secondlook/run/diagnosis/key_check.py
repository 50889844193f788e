"""Which secrets of an installation cannot be used, or are in others' reach, and what to do about each."""

import shlex
import stat
from collections.abc import Iterator
from pathlib import Path

from secondlook.ground import keyfile
from secondlook.ground.errors import ConfigError
from secondlook.run.diagnosis.authority_check import DamagedAuthorityError, read_certificate
from secondlook.run.diagnosis.check_result import CheckResult
from secondlook.run.supervisor.authority_files import AUTHORITY
from secondlook.run.supervisor.runfile import REVIEW_KEY_FILE, SERVER_FOLDER, SITE_KEY_FILE
from secondlook.server.publish.signing import KEY_FILE, read_private_key


def open_state(state: Path) -> Iterator[CheckResult]:
    """Look whether everybody on this machine can look into the state folder; its group may be a gateway's."""
    try:
        mode = stat.S_IMODE(state.stat().st_mode)
    except FileNotFoundError:
        return
    if mode & (stat.S_IROTH | stat.S_IWOTH):
        text = f"{state} is open to every user of this machine (mode {mode:04o})"
        yield CheckResult("state", "problem", text, f"close it with `chmod o= {shlex.quote(str(state))}`")


def damaged_keys(state: Path) -> Iterator[CheckResult]:
    """Look at the secrets of this installation; only what is wrong is worth a line."""
    for name in (SITE_KEY_FILE, REVIEW_KEY_FILE):
        try:
            fault = keyfile.fault_of(state / name)
        except OSError as error:
            yield CheckResult("key", "problem", str(error), "this user must be able to read it")
            continue
        if fault is not None:
            yield CheckResult("key", "problem", fault, "start the proxy again: it makes a new one")
    for path, read in (
        (state / SERVER_FOLDER / KEY_FILE, read_private_key),
        (state / "ca" / AUTHORITY, read_certificate),
    ):
        if not path.exists():
            continue
        try:
            read(path)
        except (OSError, ConfigError, DamagedAuthorityError) as error:
            fault, _, remedy = str(error).partition("; ")
            yield CheckResult("key", "problem", fault, remedy or "this user must be able to read it")
