"""Putting a backup back, in steps that leave either what was or all that is new.

```
read       every byte is checked while it is unpacked into STATE/.restore; the lock keeps a proxy off
prepared   the ledger is brought to this program's schema, or goes into its empty database
exchanged  what was there moves to STATE/before-restore-TIME, what came takes its place
```

While files are exchanged `restore.unfinished` marks it: `secondlook run` starts nothing on half of two
states, and the same restore begins anew; a database that it had filled already is left as it is. Nothing is
deleted.
"""

import shutil
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from secondlook.agent.pattern.files import FOLDER
from secondlook.config.agent import Settings
from secondlook.config.source import load_settings
from secondlook.ground.errors import ConfigError
from secondlook.ground.files import give_to_owner, replacing, rewrite, sync_folder, write_whole
from secondlook.ledger.engine.database import find_place
from secondlook.ledger.engine.migration import HEAD, known_revisions, migrate
from secondlook.ledger.upkeep.copying import holds_same, is_empty, put_in, single_file
from secondlook.run.backup.archive import BackupError, Preface, unpack
from secondlook.run.backup.making import ASIDE, FORMAT, LEDGER, LEFT_OUT, QUARANTINE_FOLDER, STATE
from secondlook.run.supervisor.runfile import (
    LEDGER_FILE,
    SERVER_FOLDER,
    UNFINISHED_FILE,
    StateLock,
    read_run_file,
)

STAGING: Final = ".restore"
_SIDE_FILES: Final = ("-wal", "-shm")


@dataclass(frozen=True, slots=True)
class Wanted:
    """Where a backup goes; `state` None: where its settings, or those here, say, and `usual` without any.

    `keep_ledger`: the database is left as it is, for a proxy that comes back to the others that use it.
    """

    config: Path | None
    state: Path | None
    keep_settings: bool = False
    usual: Path | None = None
    keep_ledger: bool = False


@dataclass(slots=True)
class Restored:
    """What was put back."""

    facts: dict[str, Any]
    settings: Settings
    config: Path | None = None  # written
    aside: list[Path] = field(default_factory=list)


def check_backup(path: Path, ask: Callable[[], str]) -> dict[str, Any]:
    """Read a backup to its end without writing anything; give its facts. Raises BackupError."""

    def nowhere(preface: Preface) -> None:
        _fits(path, preface.facts)

    return unpack(path, ask, nowhere).facts


def restore_backup(path: Path, wanted: Wanted, ask: Callable[[], str]) -> Restored:
    """Put a backup in the place of the state. Raises BackupError, LedgerError, ConfigError."""
    opened: list[_Target] = []

    def place(preface: Preface) -> Path:
        _fits(path, preface.facts)
        opened.append(_Target(wanted, preface))
        return opened[0].stage()

    try:
        preface = unpack(path, ask, place)
        return opened[0].exchange(preface)
    except OSError as error:
        reason = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        raise BackupError(f"cannot restore: {reason}") from error
    finally:
        for target in opened:
            target.close()


def _fits(path: Path, facts: dict[str, Any]) -> None:
    made_by = f"made by Second Look {facts.get('program')}"
    if facts["format"] > FORMAT or (facts["schema"] not in known_revisions() and facts["schema"] > HEAD):
        raise BackupError(
            f"{path} was {made_by}, which is newer than this program (ledger schema {facts['schema']}, known "
            f"is {HEAD}); upgrade the program, then restore"
        )
    if facts["schema"] not in known_revisions():
        raise BackupError(f"{path} was {made_by}: its ledger has an unknown schema, {facts['schema']!r}")


class _Target:
    """The state that a backup takes the place of; nobody else uses it meanwhile."""

    def __init__(self, wanted: Wanted, preface: Preface) -> None:
        self._config = wanted.config
        self._configuration = None if wanted.keep_settings else preface.configuration
        self.settings = self._settings(wanted)
        self._state = self.settings.state
        url = self.settings.ledger.url
        self._ledger = find_place(self._state / LEDGER_FILE if url == "default" else url)
        self._keep_ledger = wanted.keep_ledger
        if self._keep_ledger and self._ledger.sqlite:
            raise BackupError(
                "--keep-ledger leaves a database as it is; the ledger here is a file of this proxy alone"
            )
        self._filled = not self._ledger.sqlite and not self._keep_ledger and not is_empty(self._ledger)
        if self._filled and not (self._state / UNFINISHED_FILE).exists():
            raise self._not_empty()
        self._state.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = self._locked()
        self.staging = self._state / STAGING

    def _not_empty(self) -> BackupError:
        return BackupError(
            f"the database {self._ledger} is not empty; name a new one under `ledger` (and give "
            "--keep-settings), empty it, or restore all but the ledger (--keep-ledger): what other proxies "
            "wrote there is not overwritten"
        )

    def stage(self) -> Path:
        """Make the folder to unpack into."""
        shutil.rmtree(self.staging, ignore_errors=True)  # of a restore that was broken off
        self.staging.mkdir(mode=0o700)
        return self.staging

    def _locked(self) -> StateLock:
        try:
            return StateLock(self._state)
        except BlockingIOError:
            facts = read_run_file(self._state)
            which = f" (process {facts['pid']})" if facts is not None else ""
            raise BackupError(f"Second Look runs on {self._state}{which}; stop it, then restore") from None

    def _settings(self, wanted: Wanted) -> Settings:
        if self._configuration is None or self._config is None:
            exists = wanted.config is not None and wanted.config.is_file()
            state = wanted.state if exists else wanted.state or wanted.usual
            return load_settings(wanted.config if exists else None, state=state)
        beside = self._config.with_name(f".{self._config.name}.restoring")
        self._config.parent.mkdir(parents=True, exist_ok=True)
        try:
            write_whole(beside, self._configuration, synced=False, private=True)
            return load_settings(beside, state=wanted.state)
        except ConfigError as error:
            why = str(error).replace(str(beside), "proxy.yaml")
            raise BackupError(
                f"the backup's configuration cannot be used here: {why}; --keep-settings restores all but it"
            ) from None
        finally:
            beside.unlink(missing_ok=True)

    def exchange(self, preface: Preface) -> Restored:
        """Put what was unpacked in the place of what is there."""
        staged = self.staging / LEDGER
        migrate(find_place(staged))
        single_file(staged)
        give_to_owner(self.staging, self._state)
        if self._filled and not holds_same(staged, self._ledger):
            raise self._not_empty()
        (self._state / UNFINISHED_FILE).touch(mode=0o600)
        if not (self._ledger.sqlite or self._filled or self._keep_ledger):
            put_in(staged, self._ledger)
        aside = _Aside(self._state)
        came = self.staging / STATE
        for old in self._replaced(quarantine=preface.facts["quarantine"]):
            aside.take(old)
        for new in sorted(came.iterdir()) if came.is_dir() else ():
            new.rename(self._state / new.name)
        if self._ledger.path is not None:
            _move(staged, self._ledger.path)
        done = Restored(preface.facts, self.settings, aside=aside.taken)
        if self._configuration is not None and self._config is not None:
            self._put_configuration(self._config, self._configuration, aside)
            done.config = self._config
        sync_folder(self._state)
        (self._state / UNFINISHED_FILE).unlink()
        return done

    def _replaced(self, *, quarantine: bool) -> Iterator[Path]:
        """Name what the backup takes the place of, be it in it or not."""
        apart = {FOLDER, SERVER_FOLDER} | ({QUARANTINE_FOLDER} if quarantine else set())
        for path in sorted(self._state.iterdir()):
            mine = path.name in apart or path.name not in LEFT_OUT
            if (
                mine
                and not path.name.startswith((".", ASIDE))
                and not path.name.endswith((".lock", ".replay"))
            ):
                yield path
        if self._ledger.path is not None and self._ledger.path.parent != self._state:
            for suffix in ("", *_SIDE_FILES):
                path = self._ledger.path.with_name(self._ledger.path.name + suffix)
                if path.exists():
                    yield path

    @staticmethod
    def _put_configuration(config: Path, content: bytes, aside: "_Aside") -> None:
        if config.is_file():
            if config.read_bytes() == content:
                return
            aside.copy(config)
            with suppress(PermissionError):  # somebody else's, whose file it cannot stay
                rewrite(config, content, without=stat.S_IRWXO)  # it may hold secrets
                return
        write_whole(config, content, private=True)

    def close(self) -> None:
        """Let others use the state, without what was not used."""
        shutil.rmtree(self.staging, ignore_errors=True)
        with suppress(PermissionError):  # only root can give files away
            give_to_owner(self._state, self._state)
        self._lock.release()


class _Aside:
    """Where goes what was there: a folder of the state, or beside what lies elsewhere."""

    def __init__(self, state: Path) -> None:
        name = f"{ASIDE}{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
        taken = sum(path.name.startswith(name) for path in state.iterdir())
        self._folder = state / (f"{name}-{taken}" if taken else name)
        self.taken: list[Path] = []

    def take(self, path: Path) -> None:
        """Move a file or folder away."""
        if path.parent == self._folder.parent:
            path.rename(self._inside() / path.name)
        else:
            beside = path.with_name(f"{path.name}.{self._folder.name}")
            path.rename(beside)
            self.taken.append(beside)

    def copy(self, path: Path) -> None:
        """Keep a copy of a file that is about to be replaced in one step."""
        shutil.copy2(path, self._inside() / path.name)

    def _inside(self) -> Path:
        if not self._folder.exists():
            self._folder.mkdir(mode=0o700)
            self.taken.append(self._folder)
        return self._folder


def _move(source: Path, target: Path) -> None:
    """Move a file whole into its place, from another file system too."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.stat().st_dev == target.parent.stat().st_dev:
        source.replace(target)
        return
    with source.open("rb") as old, replacing(target, private=True) as new:
        shutil.copyfileobj(old, new)
