"""What fuzzing found: a folder for each target, and the small form of what failed."""

import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

from conftest import REPOSITORY

_FOLDER = REPOSITORY / ".hypothesis/corpus"
_SHRINK_S = 20.0


class Corpus:
    """The inputs on which one target failed, by the names of its arguments."""

    def __init__(self, target: str) -> None:
        self._folder = _FOLDER / target

    def read(self, name: str) -> list[bytes]:
        """Give the kept inputs of an argument."""
        return [path.read_bytes() for path in sorted((self._folder / name).glob("*"))]

    def keep(self, name: str, data: bytes) -> None:
        """Keep an input for the next time."""
        folder: Path = self._folder / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / sha256(data).hexdigest()[:16]).write_bytes(data)


def smaller(once: Callable[..., None], drawn: dict[str, object], name: str, kind: type[Exception]) -> bytes:
    """Leave out of a failing input what the same error does not need."""
    data = drawn[name]
    assert isinstance(data, bytes)
    until = time.monotonic() + _SHRINK_S
    step = len(data) // 2
    while step and time.monotonic() < until:
        at = 0
        while at < len(data) and time.monotonic() < until:
            shorter = data[:at] + data[at + step :]
            if _fails(once, {**drawn, name: shorter}, kind):
                data = shorter
            else:
                at += step
        step //= 2
    return data


def _fails(once: Callable[..., None], drawn: dict[str, object], kind: type[Exception]) -> bool:
    try:
        once(**drawn)
    except Exception as error:  # noqa: BLE001 - a target may fail with anything
        return isinstance(error, kind)
    return False
