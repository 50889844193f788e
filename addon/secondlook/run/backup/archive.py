"""The file of a backup: a gzipped tar whose last member says what all others have to be, sealed on request.

```
backup.json          what made it, of what, when: known before anything is unpacked
settings/proxy.yaml  the configuration, where there is one
…                    files, in any order
contents.json        size and SHA-256 of each file; last, so that a backup that was cut has none
```

`tar xzf` opens one that is not encrypted, `age --decrypt FILE | tar xz` one that is.
"""

import errno
import gzip
import hashlib
import io
import json
import os
import tarfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any, BinaryIO, Final, NamedTuple

from secondlook.ground.errors import SecondLookError
from secondlook.ground.files import replacing, sync_folder
from secondlook.ground.json_text import read_json
from secondlook.run.backup.age import MAGIC, Opened, Sealer, SealError

FACTS: Final = "backup.json"
SETTINGS: Final = "settings/proxy.yaml"
CONTENTS: Final = "contents.json"
_BLOCK_BYTES: Final = 1 << 20
_MOST_SMALL_BYTES: Final = 64 << 20  # of what is read into memory: the facts, the configuration, the sums
_LEVEL: Final = 6
_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class BackupError(SecondLookError):
    """A backup cannot be made or used; the message is why."""


class Preface(NamedTuple):
    """What stands at the beginning of a backup."""

    facts: dict[str, Any]
    configuration: bytes | None


class Writer:
    """Puts files into a backup."""

    def __init__(self, tar: tarfile.TarFile) -> None:
        self._tar = tar
        self.sums: dict[str, tuple[int, str]] = {}

    def add(self, name: str, path: Path) -> bool:
        """Put in a file as it is now; False where it is gone. Raises OSError."""
        try:
            file = path.open("rb")
        except FileNotFoundError:
            return False
        with file:
            self.add_open(name, file)
        return True

    def add_open(self, name: str, file: IO[bytes]) -> None:
        """Put in an open file as it is now. Raises OSError."""
        size = os.fstat(file.fileno()).st_size
        self._put(name, size, _Measured(file, size))

    def add_bytes(self, name: str, content: bytes) -> None:
        """Put in a file of this content."""
        self._put(name, len(content), _Measured(io.BytesIO(content), len(content)))

    def _put(self, name: str, size: int, measured: "_Measured") -> None:
        member = tarfile.TarInfo(name)
        member.size, member.mode = size, 0o600
        self._tar.addfile(member, measured)  # type: ignore[arg-type]  # `read` is all that it uses
        self.sums[name] = (size, measured.digest.hexdigest())


class _Measured:
    """A file of which exactly so many bytes are read, whatever is appended meanwhile, with their hash."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self._file = file
        self._left = size
        self.digest = hashlib.sha256()

    def read(self, count: int) -> bytes:
        wanted = min(count, self._left)
        data = self._file.read(wanted)
        data += bytes(wanted - len(data))
        self._left -= wanted
        self.digest.update(data)
        return data


@contextmanager
def writing(
    path: Path, facts: Mapping[str, object], passphrase: str | None, *, replace: bool
) -> Iterator[Writer]:
    """Write a backup that takes its place when the block ends well: synced, mode 0600. Raises BackupError."""
    if not replace and path.exists():
        raise BackupError(f"{path} exists already; name another file, or give --replace")
    if not path.parent.is_dir():
        raise BackupError(f"cannot write the backup: there is no folder {path.parent}")
    try:
        with replacing(path, private=True) as file:
            sealer = None if passphrase is None else Sealer(file, passphrase)
            with (
                gzip.GzipFile(
                    filename="", mode="wb", compresslevel=_LEVEL, fileobj=sealer or file, mtime=0
                ) as packed,
                tarfile.open(mode="w|", fileobj=packed, format=tarfile.PAX_FORMAT) as tar,
            ):
                writer = Writer(tar)
                writer.add_bytes(FACTS, json.dumps(facts, indent=2).encode() + b"\n")
                yield writer
                writer.add_bytes(CONTENTS, json.dumps(writer.sums, indent=1).encode() + b"\n")
            if sealer is not None:
                sealer.close()
        sync_folder(path.parent)
    except OSError as error:
        # what lies beside it is what it is written to before it gets its name
        beside = error.filename is None or Path(error.filename).parent == path.parent
        place = path if beside else error.filename
        raise BackupError(f"cannot write the backup: {place}: {error.strerror or error}") from error


def unpack(path: Path, ask: Callable[[], str], place: Callable[[Preface], Path | None]) -> Preface:
    """Read a backup to its end and check every byte; give what stands at its beginning.

    `place` sees that before anything is unpacked: it raises where this program cannot use it, and says into
    which folder the files go (None: they are only read). Raises BackupError.
    """
    with _opened(path) as file:
        sealed = file.read(len(MAGIC)) == MAGIC
        file.seek(0)
        try:
            source: IO[bytes] = io.BufferedReader(Opened(file, ask)) if sealed else file
            with (
                gzip.GzipFile(fileobj=source, mode="rb") as packed,
                tarfile.open(mode="r|", fileobj=packed) as tar,
            ):
                preface = _read(tar, place)
                while packed.read(_BLOCK_BYTES):
                    pass  # to gzip's own checksum
        except SealError as error:
            raise BackupError(f"{path}: {error}") from None
        except (
            gzip.BadGzipFile,
            EOFError,
            zlib.error,
            tarfile.TarError,
            ValueError,
            KeyError,
            TypeError,
        ) as error:
            raise BackupError(
                f"{path} is no backup of Second Look, or was cut or altered ({_in_words(error)})"
            ) from None
    return preface


def _read(tar: tarfile.TarFile, place: Callable[[Preface], Path | None]) -> Preface:
    found: dict[str, tuple[int, str]] = {}
    facts = _json(_small(_next(tar, FACTS), found))
    configuration = _small(_next(tar, SETTINGS), found) if facts["settings"] else None
    preface = Preface(facts, configuration)
    folder = place(preface)
    while (member := _next(tar)).name != CONTENTS:
        target = None if folder is None else folder / member.name
        _take(member, found, target)
    stated = {name: (size, digest) for name, (size, digest) in _json(_small(member, {})).items()}
    if stated != found:
        odd = sorted(name for name in stated.keys() | found.keys() if stated.get(name) != found.get(name))
        raise tarfile.TarError(f"not as it was put in: {odd[0]}")
    if tar.next() is not None:
        raise tarfile.TarError(f"something comes after {CONTENTS}")
    return preface


class _Member(NamedTuple):
    name: str
    file: IO[bytes]


def _next(tar: tarfile.TarFile, wanted: str | None = None) -> _Member:
    """Go to the next file. Raises TarError where there is none, or not the one that is wanted."""
    member = tar.next()
    if member is None:
        raise tarfile.TarError("its end is missing")
    file = tar.extractfile(member) if member.isreg() else None
    if file is None or not _harmless(member.name) or wanted not in (None, member.name):
        raise tarfile.TarError(f"it holds {member.name!r}" + (f", expected {wanted}" if wanted else ""))
    return _Member(member.name, file)


def _small(member: _Member, found: dict[str, tuple[int, str]]) -> bytes:
    """Read a file that is kept in memory, and note size and SHA-256."""
    content = member.file.read(_MOST_SMALL_BYTES)
    if member.file.read(1):
        raise tarfile.TarError(f"{member.name} is larger than {_MOST_SMALL_BYTES} bytes")
    found[member.name] = (len(content), hashlib.sha256(content).hexdigest())
    return content


def _take(member: _Member, found: dict[str, tuple[int, str]], target: Path | None) -> None:
    """Read a file, into one of its owner alone where there is a target, and note size and SHA-256."""
    digest, size = hashlib.sha256(), 0
    with ExitStack() as stack:
        out: BinaryIO | None = None
        if target is not None:
            _make_folder(target.parent)
            out = stack.enter_context(open(target, "xb", opener=_private))
        while block := member.file.read(_BLOCK_BYTES):
            digest.update(block)
            size += len(block)
            if out is not None:
                out.write(block)
        if out is not None:
            out.flush()
            os.fsync(out.fileno())
    found[member.name] = (size, digest.hexdigest())


def _make_folder(folder: Path) -> None:
    """Make a folder, and those above it, for their owner alone."""
    if not folder.is_dir():
        _make_folder(folder.parent)
        folder.mkdir(mode=0o700)


def _private(name: str, flags: int) -> int:
    return os.open(name, flags, 0o600)


def _json(content: bytes) -> dict[str, Any]:
    read: Any = read_json(content)
    if not isinstance(read, dict):
        raise tarfile.TarError(f"{FACTS} and {CONTENTS} have to be objects")
    return read


def _in_words(error: Exception) -> str:
    return "it is not compressed" if isinstance(error, gzip.BadGzipFile) else str(error)


def _harmless(name: str) -> bool:
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts and str(path) == name and "\0" not in name


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    try:
        with path.open("rb") as file:
            yield file
    except OSError as error:
        if error.errno is None:  # of a library's own, not of the system
            raise
        does = "unpack" if error.errno in _NO_ROOM else "read"
        raise BackupError(f"cannot {does} the backup: {error.filename or path}: {error.strerror}") from error
