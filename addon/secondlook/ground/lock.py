"""Locks between processes: held by an open descriptor, so that they end with the process that holds them."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def take_lock(path: Path, *, wait: bool = True) -> int:
    """Lock a file that is made where it is missing; the descriptor, whose closing lets it go.

    Raises BlockingIOError where it is held and not waited for, else OSError.
    """
    return _take(path, os.O_RDWR | os.O_CREAT, wait=wait)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of a file for a block, waiting for it. Raises OSError."""
    with _closing(take_lock(path)):
        yield


@contextmanager
def locked_folder(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder itself for a block, waiting for it. Raises OSError."""
    with _closing(_take(folder, os.O_RDONLY | os.O_DIRECTORY, wait=True)):
        yield


def _take(path: Path, flags: int, *, wait: bool) -> int:
    descriptor = os.open(path, flags | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


@contextmanager
def _closing(descriptor: int) -> Iterator[None]:
    try:
        yield
    finally:
        os.close(descriptor)
