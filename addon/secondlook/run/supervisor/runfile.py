"""`STATE/run.json` and the lock that keeps a second proxy off the same state. Standard library only."""

import json
import os
from pathlib import Path
from typing import Any

from secondlook.ground.files import write_whole
from secondlook.ground.json_text import read_json
from secondlook.ground.lock import take_lock

RUN_FILE = "run.json"
LAST_RUN_FILE = "last-run.json"  # what `run.json` held until the proxy ended
LOCK_FILE = "lock"
PROXY = "proxy"  # in the lock beside the process's number; a server's folder has a lock of that name too
SITE_KEY_FILE = "site.key"
REVIEW_KEY_FILE = "review.key"
SERVER_FOLDER = "server"  # of the embedded server
LEDGER_FILE = "ledger.sqlite3"
UNFINISHED_FILE = "restore.unfinished"  # there while a restore replaces the state
_ENDED = {b"Z", b"X", b"x"}  # states of a process that is not waited for yet, or just was
_OF_A_PROXY = (RUN_FILE, LAST_RUN_FILE, LEDGER_FILE, "pattern", "ca", "metrics")


class StateLock:
    """An exclusive lock on a state folder, held by an open descriptor: it ends with the process."""

    def __init__(self, state: Path) -> None:
        """Take the lock. Raises BlockingIOError when another process holds it, else OSError."""
        self._descriptor = take_lock(state / LOCK_FILE, wait=False)
        os.ftruncate(self._descriptor, 0)
        os.write(self._descriptor, f"{os.getpid()} {PROXY}\n".encode())

    def release(self) -> None:
        """Let another process have the folder."""
        os.close(self._descriptor)


def is_of_a_proxy(state: Path) -> bool:
    """Return whether a folder is a proxy's state, be it one that is being made."""
    if any((state / name).exists() for name in _OF_A_PROXY):
        return True
    try:
        return (state / LOCK_FILE).read_bytes()[:40].split()[1:] == [PROXY.encode()]
    except OSError:
        return False


def write_run_file(state: Path, facts: dict[str, Any]) -> None:
    """Write `run.json` beside and rename it into place, readable by its owner alone."""
    content = json.dumps(facts, indent=2) + "\n"
    write_whole(state / RUN_FILE, content.encode(), synced=False, private=True)


def read_run_file(state: Path) -> dict[str, Any] | None:
    """Read the facts of the proxy that runs on this state; None when none does (whatever a dead one left)."""
    facts = _read(state / RUN_FILE)
    return facts if facts is not None and _alive(facts["pid"], facts.get("process")) else None


def last_run(state: Path) -> dict[str, Any] | None:
    """Read the facts of the proxy that runs on this state, or of the last one that did, however it ended."""
    return _read(state / RUN_FILE) or _read(state / LAST_RUN_FILE)


def remove_run_file(state: Path) -> None:
    """Set the file aside, where this process wrote it."""
    facts = _read(state / RUN_FILE)
    if facts is not None and facts["pid"] == os.getpid():
        (state / RUN_FILE).replace(state / LAST_RUN_FILE)


def _read(path: Path) -> dict[str, Any] | None:
    try:
        facts = read_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return facts if isinstance(facts, dict) and isinstance(facts.get("pid"), int) else None


def process_mark(pid: int) -> str | None:
    """Name a process as no other is named before or after it; None where it or the system does not say.

    Numbers come again: in a container the first process is always 1. One that has ended has no mark, even if
    nobody has waited for it yet. (proc(5): `boot_id`; in `stat` field 3 is the state, 22 when it began.)
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
        state, *fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        return None if state in _ENDED else f"{boot} {int(fields[18])}"
    except (OSError, ValueError, IndexError):
        return None


def _alive(pid: int, mark: object) -> bool:
    """Return whether a process runs; one that left its mark is known by it."""
    if isinstance(mark, str) and (present := process_mark(pid)) is not None:
        return present == mark
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    try:
        # after a crash and a restart of the machine the number may belong to somebody else
        return b"secondlook" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return True
