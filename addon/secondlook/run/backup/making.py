"""Making a backup of an installation, beside a running proxy or without one.

| in the backup | how it is of one moment |
|---|---|
| the ledger | the engine's own snapshot (`ledger.upkeep.copying`) |
| flags that the ledger could not take yet | under the journal's lock, and first: one may be in both |
| the local lists, the embedded server | under the lock of whoever changes them |
| keys and the rest of the state folder | each file is replaced whole or not at all |
| the configuration | one file |

What can be had again or belongs to one run stays out.
"""

import os
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Final

from secondlook.agent.pattern.change import folder_lock
from secondlook.agent.pattern.files import FOLDER, PAST, read_stamp
from secondlook.config.agent import Settings
from secondlook.ground.errors import PatternError
from secondlook.ground.instant import rfc3339
from secondlook.ground.lock import locked, take_lock
from secondlook.ledger.engine.database import find_place
from secondlook.ledger.engine.migration import HEAD
from secondlook.ledger.queue.unread_flags import UnreadFlags
from secondlook.ledger.upkeep.copying import copy_out
from secondlook.run.assembly.check.ledger_opening import JOURNAL_FILE
from secondlook.run.backup.archive import SETTINGS, BackupError, Writer, writing
from secondlook.run.supervisor.runfile import (
    LAST_RUN_FILE,
    LEDGER_FILE,
    LOCK_FILE,
    RUN_FILE,
    SERVER_FOLDER,
    UNFINISHED_FILE,
)
from secondlook.server.store.store import ServerStore

FORMAT: Final = 1
LEDGER: Final = "ledger/ledger.sqlite3"
STATE: Final = "state"
QUARANTINE_FOLDER: Final = "quarantine"
ASIDE: Final = "before-restore-"  # folders of what a restore set aside
_WORK: Final = ".secondlook-backup-"  # beginning of the folders in which a ledger is copied
_HELD: Final = "held"  # the file in one whose lock shows that its backup is being made
_NEVER: Final = (".", ASIDE, LEDGER_FILE, JOURNAL_FILE)  # beginnings of names; these files are put in apart
# of one run, of one machine, or made anew by itself
LEFT_OUT: Final = frozenset(
    {
        LOCK_FILE, RUN_FILE, LAST_RUN_FILE, "command.sock", "metrics", "cache", "spool", "judged",
        "connections", "setup.json", "notices.json", "notices.lock", UNFINISHED_FILE, FOLDER, SERVER_FOLDER,
        QUARANTINE_FOLDER,
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Made:
    """What was put into a backup."""

    path: Path
    bytes: int
    files: int
    encrypted: bool
    quarantine: bool
    settings: bool


def make_backup(
    settings: Settings,
    config: Path | None,
    path: Path,
    *,
    passphrase: str | None = None,
    quarantine: bool = False,
    replace: bool = False,
) -> Made:
    """Write a backup of all that the settings lead to. Raises BackupError, LedgerError, PatternError."""
    url = settings.ledger.url
    place = find_place(settings.state / LEDGER_FILE if url == "default" else url)
    if place.path is not None and not place.path.exists():
        raise BackupError(
            f"there is no ledger at {place}: nothing to back up; name the state folder with --state"
        )
    facts = {
        "format": FORMAT,
        "program": version("secondlook"),
        "schema": HEAD,
        "made_at": rfc3339(time.time()),
        "host": socket.gethostname(),
        "ledger": "sqlite" if place.sqlite else "postgresql",
        "settings": config is not None,
        "quarantine": quarantine,
    }
    with writing(path, facts, passphrase, replace=replace) as writer:
        if config is not None:
            writer.add_bytes(SETTINGS, config.read_bytes())
        _add_journal(writer, settings.state)
        with _working(path.parent) as folder:
            copy = folder / LEDGER_FILE
            copy.touch(mode=0o600)
            copy_out(place, copy)
            with copy.open("rb") as ledger:
                copy.unlink()  # whatever ends this process from here on leaves no copy
                writer.add_open(LEDGER, ledger)
        _add_state(writer, settings.state, quarantine=quarantine)
        files = len(writer.sums)
    size = path.stat().st_size
    return Made(path, size, files, passphrase is not None, quarantine, config is not None)


@contextmanager
def _working(beside: Path) -> Iterator[Path]:
    """Make a folder for the copy of a ledger, and remove those that backups left that were killed."""
    for held in beside.glob(f"{_WORK}*/{_HELD}"):
        with suppress(OSError):  # being used, or gone meanwhile
            if held.parent.lstat().st_uid == os.geteuid():  # else it may be anything
                os.close(take_lock(held, wait=False))
                shutil.rmtree(held.parent)
    with tempfile.TemporaryDirectory(prefix=_WORK, dir=beside) as name:
        folder = Path(name)
        # it gets its name when it is locked: who looks in between cannot take the folder for one left behind
        lock = take_lock(folder / f".{_HELD}")
        try:
            (folder / f".{_HELD}").rename(folder / _HELD)
            yield folder
        finally:
            os.close(lock)


def _add_journal(writer: Writer, state: Path) -> None:
    path = state / JOURNAL_FILE
    if path.exists():
        with locked(path):  # the lock of those who append
            writer.add(f"{STATE}/{JOURNAL_FILE}", path)
    unread = UnreadFlags(path).path
    writer.add(f"{STATE}/{unread.name}", unread)


def _add_state(writer: Writer, state: Path, *, quarantine: bool) -> None:
    pattern, server = state / FOLDER, state / SERVER_FOLDER
    if pattern.is_dir():
        with folder_lock(pattern):
            wanted = set()
            with suppress(PatternError):  # damaged: then its lists are fetched again
                stamp = read_stamp(pattern)
                wanted = {each.file for each in stamp.lists} if stamp is not None else set()
            for file in _files(pattern, skip={PAST, LOCK_FILE}):
                if file.suffix != ".slh" or file.name in wanted:
                    _add(writer, state, file)
    if server.is_dir():
        store = ServerStore(server)
        with store.writing():
            current = store.current()
            kept = None if current is None else store.generation_folder(current)
            for file in _files(server, skip={LOCK_FILE}):
                if store.generations_folder not in file.parents or kept in file.parents:
                    _add(writer, state, file)
    skip = LEFT_OUT - {QUARANTINE_FOLDER} if quarantine else LEFT_OUT
    for file in _files(state, skip=skip):
        _add(writer, state, file)


def _add(writer: Writer, state: Path, file: Path) -> None:
    writer.add(f"{STATE}/{file.relative_to(state).as_posix()}", file)


def _files(top: Path, *, skip: frozenset[str] | set[str]) -> Iterator[Path]:
    """Walk regular files, through links too; of names at the top those in `skip` are left out.

    So is what is unfinished, and a link that leads to a folder in which the walk has been.
    """
    been = set()
    for folder, names, files in os.walk(top, followlinks=True):
        at = Path(folder)
        been.add(_identity(at))

        def wanted(name: str, *, at: Path = at) -> bool:
            if name.startswith(_NEVER) or (at == top and name in skip):
                return False
            path = at / name
            return not path.is_symlink() or (_is_trusted(path) and _identity(path) not in been)

        names[:] = sorted(filter(wanted, names))
        yield from (path for name in sorted(filter(wanted, files)) if (path := at / name).is_file())


def _identity(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino


def _is_trusted(link: Path) -> bool:
    """Return whether a link may be followed: one of a service taken over might be made for root to read."""
    try:
        return link.lstat().st_uid in {0, os.geteuid(), link.stat().st_uid}
    except OSError:  # leads nowhere
        return False
