"""`STATE/command.sock`: where a command asks the running proxy to answer it. Standard library only.

```
command                                   service
   │ connect ─────────────────────────────►  │
   │ ◄──────────────── {"program", "config"} │   another program or configuration: go elsewhere
   │ {"words", "columns", "environ"} ──────► │
   │ ◄──── {"printed", "status"} │ {"elsewhere"}
```

One JSON object a line. Only the owner of the state folder may connect (mode 0600), who may read and write
everything in it anyway. `printed` are pairs of a stream's name and what the command wrote to it.
"""

import json
import os
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from secondlook.ground.json_text import read_json

SOCKET_FILE = "command.sock"
MOST_ASKED_BYTES = 64 << 10
MOST_ANSWERED_BYTES = 8 << 20  # of what is kept of an answer; what answers stops long before
GREETED_S = 1.0  # a service that is busy for longer is not waited for
ANSWERED_S = 60.0
_PACKAGE = Path(__file__).parents[2]


def program_mark() -> str:
    """Name this very program: where it lies, and names, sizes and times of its sources.

    A proxy that was started from other sources would print what those hold, so it is not asked.
    """
    return f"{_PACKAGE}:{hash(tuple(sorted(_sources(str(_PACKAGE))))):x}"


def _sources(folder: str) -> Iterator[tuple[int, int, int]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith(".py"):
                status = entry.stat()
                yield status.st_ino, status.st_mtime_ns, status.st_size
            elif entry.is_dir() and entry.name != "__pycache__":
                yield from _sources(entry.path)


class Conversation:
    """One connection of a command to the service. Everything unexpected is an OSError or a ValueError."""

    def __init__(self, state: Path) -> None:
        """Connect and hear the greeting. Raises OSError, ValueError."""
        self._socket = socket.socket(socket.AF_UNIX)
        try:
            self._socket.settimeout(GREETED_S)
            self._socket.connect(str(state / SOCKET_FILE))
            self._lines = self._socket.makefile("rb")
            self.greeting = self._hear()
        except BaseException:
            self._socket.close()
            raise

    def ask(self, asked: Mapping[str, object]) -> dict[str, Any]:
        """Send what is asked and wait for the answer. Raises OSError, ValueError."""
        line = json.dumps(asked).encode() + b"\n"
        if len(line) > MOST_ASKED_BYTES:
            raise ValueError("too long to be asked")
        self._socket.settimeout(ANSWERED_S)
        self._socket.sendall(line)
        return self._hear()

    def close(self) -> None:
        """Hang up."""
        self._lines.close()
        self._socket.close()

    def _hear(self) -> dict[str, Any]:
        heard = read_json(self._lines.readline(MOST_ANSWERED_BYTES))
        if not isinstance(heard, dict):
            raise ValueError("expected an object")  # noqa: TRY004 (it is a bad value of theirs)
        return heard
