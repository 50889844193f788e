"""Secrets of this installation in files: written whole or not at all, checked whenever they are read.

A key that is empty or short is no key: anybody can guess what it signs.
"""

import logging
import secrets
from pathlib import Path

from secondlook.ground.files import write_whole
from secondlook.ground.lock import locked_folder

logger = logging.getLogger(__name__)

KEY_BYTES = 32


def fault_of(path: Path) -> str | None:
    """Return what is wrong with a secret, None where it is whole or not there yet. Raises OSError."""
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        return None
    return None if size == KEY_BYTES else f"{path} has {size} bytes instead of {KEY_BYTES}"


def read_or_make(path: Path, *, meaning: str) -> bytes:
    """Read a secret of `KEY_BYTES` random bytes; one that is missing or damaged is made anew.

    `meaning` shows in the log what a new one does to people. Raises OSError.
    """
    with locked_folder(path.parent):  # one process at a time: all others read the same
        fault = fault_of(path)
        if fault is not None or not path.exists():
            write_whole(path, secrets.token_bytes(KEY_BYTES), private=True)
        key = path.read_bytes()
    if fault is not None:
        logger.warning("%s; a new one was made: %s", fault, meaning)
    return key


def write(path: Path, key: bytes) -> None:
    """Put a secret in the place of the one that is there. Raises OSError."""
    with locked_folder(path.parent):
        write_whole(path, key, private=True)


def write_once(path: Path, content: bytes) -> None:
    """Put a secret in place, readable by its owner alone, where there is none yet. Raises OSError."""
    with locked_folder(path.parent):  # one process at a time: all others read the same
        if not path.exists():
            write_whole(path, content, private=True)
