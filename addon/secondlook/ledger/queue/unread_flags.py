"""Records of the flags journal that this program cannot read: another version wrote them.

They move to `flags.journal.unread`, a JSON value a line, so that the journal can be emptied; each start reads
them again, as the program may be a newer one by then. The file is changed only while the journal's replay
lock is held.
"""

import json
import logging
from pathlib import Path
from typing import Final

from secondlook.ground.errors import LedgerError
from secondlook.ground.files import sync_folder, write_whole
from secondlook.ledger.engine.journal import SIZE_BYTES, Record

logger = logging.getLogger(__name__)

SUFFIX: Final = ".unread"  # behind the journal's name


class UnreadFlags:
    """The records of one journal that wait for another program; methods block, and raise LedgerError."""

    def __init__(self, journal: Path, *, most_bytes: int = SIZE_BYTES) -> None:
        self.path = journal.with_name(f"{journal.name}{SUFFIX}")
        self._most_bytes = most_bytes

    def read(self) -> list[Record]:
        """Read what waits, oldest first; a line that a damaged disk changed keeps nothing else back."""
        try:
            lines = self.path.read_bytes().splitlines()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise LedgerError(f"unread flags {self.path}: {error.strerror or error}") from error
        records: list[Record] = []
        for line in lines:
            try:
                records.append(json.loads(line))
            except ValueError:
                logger.warning("unread flags %s: a line is damaged and left out", self.path)
        return records

    def add(self, records: list[Record]) -> int:
        """Keep records, those that wait already but once; return how many came to them."""
        known = self.read()
        fresh = [record for record in records if record not in known]
        if fresh:
            self.replace([*known, *fresh])
        return len(fresh)

    def replace(self, records: list[Record]) -> None:
        """Let nothing but these wait."""
        content = b"".join(json.dumps(record).encode() + b"\n" for record in records)
        if len(content) > self._most_bytes:
            raise LedgerError(f"unread flags {self.path}: full")
        try:
            if records:
                write_whole(self.path, content, private=True)
            else:
                self.path.unlink(missing_ok=True)
            sync_folder(self.path.parent)
        except OSError as error:
            raise LedgerError(f"unread flags {self.path}: {error.strerror or error}") from error
