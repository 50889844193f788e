"""Records of the flags journal that this program cannot read or store: another version wrote them.

They move to `flags.journal.unread`, a JSON value a line, so that the journal can be emptied; each start reads
them again, as the program may be a newer one by then. The file is changed only while the journal's replay
lock is held. A line that a crash tore was still in the journal, and is added once more.
"""

import json
import logging
import os
from pathlib import Path
from typing import Final

from secondlook.ground.errors import LedgerError
from secondlook.ground.files import sync_folder, write_whole
from secondlook.ground.json_text import read_json
from secondlook.ledger.engine.journal import SIZE_BYTES, Record

logger = logging.getLogger(__name__)

_CLOCKS_DIFFER_S: Final = 86_400.0  # by less
SUFFIX: Final = ".unread"  # behind the journal's name


class UnreadFlags:
    """The records of one journal that wait for another program; methods block, and raise LedgerError."""

    def __init__(self, journal: Path, *, most_bytes: int = 2 * SIZE_BYTES) -> None:
        self.path = journal.with_name(f"{journal.name}{SUFFIX}")
        self._most_bytes = most_bytes

    def read(self) -> list[Record]:
        """Read what waits, oldest first; a line that a damaged disk changed keeps nothing else back."""
        records: list[Record] = []
        for line in self._content().splitlines():
            try:
                records.append(read_json(line))
            except ValueError:
                logger.warning("unread flags %s: a line is damaged and left out", self.path)
        return records

    def add(self, records: list[Record], *, bounded: bool = True) -> int:
        """Keep records, those that wait already but once; return how many came to them."""
        if not records:
            return 0
        content = self._content()
        known = set(content.splitlines())
        fresh = [line for line in dict.fromkeys(map(_line, records)) if line not in known]
        if not fresh:
            return 0
        added = b"".join(line + b"\n" for line in fresh)
        if content and not content.endswith(b"\n"):  # what a crash tore stays a line of its own
            added = b"\n" + added
        if bounded and len(content) + len(added) > self._most_bytes:
            raise LedgerError(f"unread flags {self.path}: full")
        try:
            with open(self.path, "ab", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
                file.write(added)
                file.flush()
                os.fsync(file.fileno())
            if not content:
                sync_folder(self.path.parent)
        except OSError as error:
            raise self._failed(error) from error
        return len(fresh)

    def replace(self, records: list[Record]) -> None:
        """Let nothing but these wait; that is no change from which `forget` counts."""
        try:
            if records:
                changed_at_ns = self.path.stat().st_mtime_ns if self.path.exists() else None
                write_whole(self.path, b"".join(_line(one) + b"\n" for one in records), private=True)
                if changed_at_ns is not None:
                    os.utime(self.path, ns=(changed_at_ns, changed_at_ns))
            else:
                self.path.unlink(missing_ok=True)
            sync_folder(self.path.parent)
        except OSError as error:
            raise self._failed(error) from error

    def forget(self, *, before: float) -> None:
        """Let go what was flagged before; what shows no time goes by when something was last added."""
        records = self.read()
        if not records:
            return
        try:
            changed_at = self.path.stat().st_mtime
        except OSError as error:
            raise self._failed(error) from error
        kept = [record for record in records if _time_of(record, changed_at) >= before]
        if len(kept) < len(records):
            self.replace(kept)

    def _content(self) -> bytes:
        try:
            return self.path.read_bytes()
        except FileNotFoundError:
            return b""
        except OSError as error:
            raise self._failed(error) from error

    def _failed(self, error: OSError) -> LedgerError:
        return LedgerError(f"unread flags {self.path}: {error.strerror or error}")


def _line(record: Record) -> bytes:
    """Write a record as the journal does: no line is longer than what it came from."""
    return json.dumps(record, separators=(",", ":")).encode()


def _time_of(record: object, added_at: float) -> float:
    """Return when something was flagged, as far as it shows; another version may count in another unit."""
    match record:
        case {"event": {"time": int() | float() as time}} | {"flag": {"time": int() | float() as time}}:
            return time if time < added_at + _CLOCKS_DIFFER_S else added_at
        case _:
            return added_at
