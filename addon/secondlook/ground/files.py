"""Files that change whole or not at all: written beside, brought to the disk, renamed into place.

A reader sees the old content or the new, never half of one; so does whoever starts after a crash.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import BinaryIO

_numbers = count()


def write_whole(path: Path, content: bytes, *, synced: bool = True, private: bool = False) -> None:
    """Give a file a new content; `synced` and `private` as for `replacing`. Raises OSError."""
    with replacing(path, synced=synced, private=private) as file:
        file.write(content)


@contextmanager
def replacing(path: Path, *, synced: bool = True, private: bool = False) -> Iterator[BinaryIO]:
    """Open a new file beside `path` that takes its place when the block ends well, and goes when it does not.

    It can be read and written; `file.name` is where it is meanwhile. Without `synced` the disk is not
    waited for, for what may be lost with the machine's power; a `private` file is its owner's alone.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}.{next(_numbers)}")
    beside.unlink(missing_ok=True)  # of a process that died and had this one's number
    mode = 0o600 if private else 0o666
    try:
        with open(beside, "xb+", opener=lambda name, flags: os.open(name, flags, mode)) as file:
            yield file
            file.flush()
            if synced:
                os.fsync(file.fileno())
        beside.replace(path)
    except BaseException as error:
        beside.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(path)  # a disk that takes no more names no file
        raise


def rewrite(path: Path, content: bytes, *, without: int = 0) -> None:
    """Give somebody's file a new content as `write_whole` does, with the mode and owner that it has.

    The permission bits in `without` are taken off. A link stays: what it leads to is written. Raises OSError,
    also where the owner cannot be kept.
    """
    path = path.resolve()
    status = path.stat()
    with replacing(path, private=True) as file:
        file.write(content)
        made = os.fstat(file.fileno())
        if (made.st_uid, made.st_gid) != (status.st_uid, status.st_gid):
            os.fchown(file.fileno(), status.st_uid, status.st_gid)
        os.fchmod(file.fileno(), stat.S_IMODE(status.st_mode) & ~without)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Bring to the disk which files a folder has. Raises OSError."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def give_to_owner(folder: Path, like: Path) -> None:
    """Have what root made in a folder, `like` or one inside it, belong to whom `like` belongs to.

    `like` may be a link, and is looked up once. In it that one may put links: none is followed, a file that
    has another name too may be from anywhere and stays root's, and what was another's before stays so.
    """
    handle = os.open(like, os.O_RDONLY | os.O_DIRECTORY)
    try:
        owner = os.fstat(handle)
        if os.geteuid() != owner.st_uid:
            _give(folder.relative_to(like), handle, owner)
    finally:
        os.close(handle)


def _give(folder: Path, inside: int, owner: os.stat_result) -> None:
    for _, folders, files, at in os.fwalk(folder, dir_fd=inside):
        for name in (".", *folders, *files):
            with suppress(FileNotFoundError):
                status = os.stat(name, dir_fd=at, follow_symlinks=False)
                one_name = stat.S_ISDIR(status.st_mode) or status.st_nlink == 1
                if status.st_uid == os.geteuid() and one_name:
                    os.chown(name, owner.st_uid, owner.st_gid, dir_fd=at, follow_symlinks=False)
