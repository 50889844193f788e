"""Finding a file in the download folders: by size first, then by the hash of its open descriptor.

Symbolic links inside the folders are never followed; special files are never opened for reading. A file
that is found stays open, so that what is moved later can be compared with what was hashed.
"""

import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path

MOST_FILES = 200_000
DEEPEST = 8  # folders below a download folder
_CHUNK_BYTES = 1 << 20
_OPEN = os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
_OPEN_FOLDER = os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_DIRECTORY", 0)


@dataclass(slots=True)
class Candidate:
    """A file whose bytes have the wanted hash: open descriptors of it and of its folder."""

    path: Path
    name: str
    folder_fd: int
    fd: int
    status: os.stat_result
    digest: bytes

    def close(self) -> None:
        """Close both descriptors."""
        os.close(self.fd)
        os.close(self.folder_fd)


@dataclass(slots=True)
class FoundFiles:
    """What a search found, and what it could not look at, in words."""

    candidates: list[Candidate] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def search(folders: Sequence[Path], digest: bytes, size: int | None, ending: str = "") -> FoundFiles:
    """Find every regular file with this SHA-256 (32 bytes) in the folders.

    `size` in bytes where known; only files whose names have this `ending` (lower case) are looked at.
    """
    found = FoundFiles()
    for path in _files_in(folders, found.problems):
        if not path.name.lower().endswith(ending):
            continue
        candidate = look_at(path, digest, size, found.problems)
        if candidate is not None:
            found.candidates.append(candidate)
    return found


@dataclass(slots=True)
class FileIndex:
    """The files of the download folders by their sizes, so that many are found with one look."""

    paths: dict[int, list[Path]] = field(default_factory=dict)

    def find(self, digest: bytes, size: int | None) -> Candidate | None:
        """Open a file with this SHA-256; None where there is none."""
        for path in self.paths.get(-1 if size is None else size, ()):
            candidate = look_at(path, digest, size, [])
            if candidate is not None:
                return candidate
        return None


def index_files(folders: Sequence[Path]) -> FileIndex:
    """Note every regular file in the folders, up to `MOST_FILES`."""
    index = FileIndex()
    for path in _files_in(folders, []):
        with suppress(OSError):  # gone since it was listed
            index.paths.setdefault(path.lstat().st_size, []).append(path)
    return index


def _files_in(folders: Sequence[Path], problems: list[str]) -> Iterator[Path]:
    """Yield every regular file in the folders, up to `MOST_FILES`."""
    visited: set[tuple[int, int]] = set()
    files = chain.from_iterable(_walk(folder, 0, problems, visited) for folder in folders)
    yield from islice(files, MOST_FILES)
    if next(files, None) is not None:
        problems.append(f"more than {MOST_FILES} files in the download folders; the rest was not searched")


def _walk(folder: Path, depth: int, problems: list[str], visited: set[tuple[int, int]]) -> Iterator[Path]:
    try:
        status = folder.stat()
        if (status.st_dev, status.st_ino) in visited:
            return
        visited.add((status.st_dev, status.st_ino))
        with os.scandir(folder) as entries:
            listing = list(entries)
    except OSError as error:
        problems.append(f"{folder}: folder not searched: {reason_of(error)}")
        return
    for entry in listing:
        try:
            if entry.is_dir(follow_symlinks=False):
                if depth < DEEPEST:
                    yield from _walk(Path(entry.path), depth + 1, problems, visited)
            elif entry.is_file(follow_symlinks=False):
                yield Path(entry.path)
        except OSError as error:
            problems.append(f"{entry.path}: {reason_of(error)}")


def look_at(path: Path, digest: bytes, size: int | None, problems: list[str]) -> Candidate | None:
    """Open a regular file with this SHA-256; None where it has another, is gone, a link or not readable."""
    try:
        if size is not None and path.lstat().st_size != size:
            return None
        folder_fd = os.open(path.parent, _OPEN_FOLDER)
    except OSError as error:
        problems.append(f"{path}: not looked at: {reason_of(error)}")
        return None
    fd = -1
    try:
        fd = os.open(path.name, _OPEN, dir_fd=folder_fd)
        status = os.fstat(fd)
        if (
            stat.S_ISREG(status.st_mode)
            and (size is None or status.st_size == size)
            and hash_of(fd) == digest
        ):
            return Candidate(path, path.name, folder_fd, fd, status, digest)
    except FileNotFoundError:
        pass  # gone since it was listed
    except OSError as error:
        problems.append(f"{path}: not looked at: {reason_of(error)}")
    if fd >= 0:
        os.close(fd)
    os.close(folder_fd)
    return None


def hash_of(fd: int) -> bytes:
    """Return the SHA-256 of an open file's bytes, from its beginning."""
    digest = hashlib.sha256()
    position = 0
    while chunk := os.pread(fd, _CHUNK_BYTES, position):
        digest.update(chunk)
        position += len(chunk)
    return digest.digest()


def reason_of(error: OSError) -> str:
    """Return the system's words for an error, to go on a sentence with."""
    return (error.strerror or str(error)).lower()
