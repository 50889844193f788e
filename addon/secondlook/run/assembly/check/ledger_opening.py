"""Opening the ledger that the settings name; apart from the other parts, so that commands start fast."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from secondlook.config.agent import Settings
from secondlook.ground.errors import LedgerError
from secondlook.ledger.ledger import Ledger, LedgerOptions
from secondlook.run.supervisor.runfile import LEDGER_FILE, is_of_a_proxy

JOURNAL_FILE = "flags.journal"
KNOWN_FILE = "ledger-known.sqlite3"
NOTICES_FILE = "notices.json"  # that wait to be sent


def open_ledger(
    settings: Settings,
    *,
    keeper: bool = False,
    background: bool = True,
    folder: Path | None = None,
    counted: Callable[[str, int], None] | None = None,
) -> Ledger:
    """Open the ledger that the settings name. Raises LedgerError and ConfigError.

    `keeper`: for the one process that does the housekeeping; `background` is False for commands; `folder`
    holds its files, where that is not the state folder; `counted` hears how many events of a kind were
    written.
    """
    folder = folder or settings.state
    location: str | Path = settings.ledger.url
    if location == "default":
        location = folder / LEDGER_FILE
    return Ledger.open(
        location,
        LedgerOptions(
            proxy=settings.proxy_name,
            deadline_s=settings.ledger.deadline,
            synced=settings.ledger.synchronous == "full",
            keeper=keeper,
            privacy=settings.log.privacy,
            ignored_hosts=settings.log.ignore,
            retention_s=settings.log.retention,
            history_s=settings.recheck.history,
            first_look_s=settings.recheck.first,
            events_in_memory=settings.ledger.queue_memory,
            journal_bytes=settings.ledger.journal,
            log_allowed=settings.log.all,
            background=background,
            known=folder / KNOWN_FILE if background else None,
            counted=counted,
            erase_beside=partial(_erase_in_notices, folder / NOTICES_FILE),
        ),
        journal=folder / JOURNAL_FILE,
    )


def look_at_ledger(settings: Settings) -> None:
    """Raise LedgerError where what starts by these settings could not open the database that they name.

    A file of our own is mended by what opens it.
    """
    if settings.shares_ledger:
        Ledger.look(settings.ledger.url, LedgerOptions(known=settings.state / KNOWN_FILE))


def _erase_in_notices(path: Path, client: str) -> None:
    from secondlook.agent.actions.kept_notices import erase_client  # noqa: PLC0415 - few commands erase

    erase_client(path, client)


@contextmanager
def ledger_of(settings: Settings) -> Iterator[Ledger]:
    """Open the ledger for one command and close it. Raises LedgerError and ConfigError."""
    with suppress(OSError):  # opening says what is wrong
        settings.state.mkdir(mode=0o700, parents=True, exist_ok=True)
    with closing(open_ledger(settings, background=False)) as ledger:
        yield ledger


@contextmanager
def ledger_to_read(settings: Settings) -> Iterator[Ledger]:
    """Open the ledger for a command that writes nothing: where no state is, an empty one that leaves nothing.

    SQLite and the journal write even to be read: of a state that may not be written, a copy is read.
    Raises LedgerError and ConfigError.
    """
    state = settings.state
    has_state = state.is_dir() and (settings.ledger.url != "default" or is_of_a_proxy(state))
    if has_state and os.access(state, os.W_OK):
        with ledger_of(settings) as ledger:
            yield ledger
        return
    with TemporaryDirectory(prefix="second-look-") as folder:
        if has_state:
            _copy_ledger(state, Path(folder))
        with closing(open_ledger(settings, background=False, folder=Path(folder))) as ledger:
            yield ledger


def _copy_ledger(state: Path, folder: Path) -> None:
    """Copy the ledger of a state folder, with what its file does not have yet. Raises LedgerError."""
    for name in (LEDGER_FILE, f"{LEDGER_FILE}-wal"):
        try:
            shutil.copyfile(state / name, folder / name)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise LedgerError(f"cannot read {state / name}: {error.strerror or error}") from error
