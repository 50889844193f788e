"""How a ledger behaves: plain values, so that the room needs no configuration model."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

DAY_S: Final = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerOptions:
    """Settings of one process's ledger.

    `keeper` is true in exactly one process of a family (the service): it checkpoints the WAL, deletes
    what is past its retention, sets a damaged file aside, and keeps `known`. `repair` alone sets aside.
    """

    proxy: str | None = None  # name of the proxy whose events these are
    deadline_s: float = 0.5  # a flag is in the ledger or the journal within it
    synced: bool = True  # False: what is committed to SQLite may be lost with the power
    keeper: bool = False
    repair: bool = False
    privacy: int = 0
    ignored_hosts: tuple[str, ...] = ()
    retention_s: float = 30 * DAY_S
    history_s: float = 7 * DAY_S
    first_look_s: float = 60.0  # after a flag the second look is due, if nothing brings it forward
    events_in_memory: int = 20_000
    history_in_memory: int = 200_000
    journal_bytes: int = 16 << 20
    log_allowed: bool = True  # False: events of kind `check` are counted only
    max_pages: int | None = None  # bound of a SQLite file, in pages of 4 KiB
    background: bool = True  # False for a command: no housekeeping thread
    known: Path | None = None  # where PostgreSQL's last rules, pauses and confirmed set are, while it is away
    counted: Callable[[str, int], None] | None = None  # hears how many events of a kind were written
    erase_beside: Callable[[str], None] | None = None  # erases a client in what is kept beside; LedgerError
