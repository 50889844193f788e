"""How long a process holds its event loop at a time, as it notes itself (`steps/sitecustomize.py`)."""

import json
from pathlib import Path
from typing import NamedTuple

import pytest

FOLDER = Path(__file__).parent / "steps"


class Step(NamedTuple):
    """One callback: milliseconds of processor time, and what it was."""

    worked_ms: float
    what: str


class LoopSteps:
    """The steps of processes that are started from now on (with `real_starts`), in a file."""

    def __init__(self, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._file = file
        monkeypatch.setenv("PYTHONPATH", str(FOLDER))
        monkeypatch.setenv("SECONDLOOK_STEPS", str(file))

    def longest(self, process: int, begun: float, ended: float) -> Step:
        """Return the longest step of a process that began between two moments of the monotonic clock."""
        steps = [
            Step(round(worked_s * 1000, 1), what)
            for pid, at, worked_s, what in map(json.loads, self._file.read_text().splitlines())
            if pid == process and begun < at < ended
        ]
        return max(steps, default=Step(0.0, "none"))
