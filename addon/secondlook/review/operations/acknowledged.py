"""Which late verdicts the reader has acknowledged: a small file beside the ledger."""

import json
from pathlib import Path
from typing import Final

from secondlook.ground.files import write_whole
from secondlook.ground.json_text import read_json

MOST_ACKNOWLEDGED: Final = 10_000


class Acknowledged:
    """Event ids, the newest kept; a damaged file counts as empty, so that nothing bad is hidden."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            kept = read_json(path.read_text(encoding="utf-8"))
            self._ids: dict[str, None] = dict.fromkeys(str(item) for item in kept)
        except (OSError, ValueError, TypeError):
            self._ids = {}

    def __contains__(self, event_id: str) -> bool:
        """Whether the reader has acknowledged it."""
        return event_id in self._ids

    def add(self, *event_ids: str) -> None:
        """Add some; blocks."""
        self._ids = dict.fromkeys([*self._ids, *event_ids][-MOST_ACKNOWLEDGED:])
        write_whole(self._path, json.dumps(list(self._ids)).encode())
