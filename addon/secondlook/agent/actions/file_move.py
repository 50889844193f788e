"""Moving one file by its inode: away, back, or nowhere.

A name can be swapped at any moment by whoever owns the folder. So a file is first renamed to a private
name inside a folder of ours, and only then compared with the descriptor that was hashed: what is not the
same inode goes back under its name, without overwriting anything.
"""

import contextlib
import errno
import os
import signal
import stat
from collections.abc import Iterator
from pathlib import Path

from secondlook.agent.actions.file_search import Candidate, hash_of, look_at
from secondlook.core.event import QuarantineRecord
from secondlook.ground.errors import SecondLookError

BLOCKED_SUFFIX = ".blocked"
_PRIVATE = 0o600
_PRIVATE_FOLDER = 0o700
_CHUNK_BYTES = 1 << 20
_STEM_BYTES = 240
_OPEN_FOLDER = os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_DIRECTORY", 0)


class MoveError(SecondLookError):
    """A file was not moved, and lies where it lay; the message is why."""


def put_away(candidate: Candidate, folder: Path, record: QuarantineRecord) -> str | None:
    """Move a file into quarantine as mode 0600 under its hash. Return a remark, or None.

    Raise OSError or MoveError; the file then lies where it lay.
    """
    with _folder(folder) as store_fd:
        private = _moving(record)
        if _must_copy(candidate, store_fd):
            note = _copy_away(candidate, store_fd, private)
        else:
            os.rename(candidate.name, private, src_dir_fd=candidate.folder_fd, dst_dir_fd=store_fd)
            _same_or_back(candidate, store_fd, private)
            try:
                _make_private(candidate)
            except (OSError, MoveError):
                _put_back(candidate.folder_fd, candidate.name, store_fd, private)
                raise
            note = None
        # the same bytes may be here already: one copy serves every record
        os.replace(private, record.stored_as, src_dir_fd=store_fd, dst_dir_fd=store_fd)
        os.fsync(store_fd)
    users = holders(candidate.status)
    if users:
        remark = f"still open in {', '.join(users)}"
        return f"{note}; {remark}" if note else remark
    return note


def _make_private(candidate: Candidate) -> None:
    if hash_of(candidate.fd) != candidate.digest:
        raise MoveError("it changed while it was being moved")
    os.fchmod(candidate.fd, _PRIVATE)


def finish_move(folder: Path, record: QuarantineRecord) -> bool:
    """Finish what was interrupted in `put_away`; return whether the bytes lie in quarantine.

    If they do not, the file lies where it lay. Raise OSError or MoveError.
    """
    moving, target, digest = folder / _moving(record), Path(record.path), bytes.fromhex(record.sha256)
    if not os.path.lexists(moving):
        return stored_path(folder, record).is_file()
    whole = False
    if moving.is_file() and not moving.is_symlink():
        with moving.open("rb") as file:
            whole = hash_of(file.fileno()) == digest
    if whole:
        original = look_at(target, digest, None, [])
        if original is not None:  # a copy that was finished
            with contextlib.closing(original):
                _unlink_copied(original, moving)
        moving.chmod(_PRIVATE)
        moving.replace(stored_path(folder, record))
    elif os.path.lexists(target):
        moving.unlink()  # a copy that was not finished
    else:  # it changed while it was being moved
        with _folder(folder) as store_fd, _folder(target.parent) as folder_fd:
            _put_back(folder_fd, target.name, store_fd, moving.name)
    return whole


def _unlink_copied(original: Candidate, copy: Path) -> None:
    """Remove the file that was copied, or else the copy. Raise OSError or MoveError."""
    try:
        _unlink_same(original)
    except (OSError, MoveError):
        copy.unlink()
        raise


def _moving(record: QuarantineRecord) -> str:
    return f".moving-{record.id}"


def discard(candidate: Candidate) -> str | None:
    """Delete a file, and only it. Return a remark, or None. Raise OSError or MoveError."""
    _unlink_same(candidate)
    links = os.fstat(candidate.fd).st_nlink
    return _links_remark(links) if links else None


def rename_in_place(candidate: Candidate) -> Path:
    """Rename a file so that no click opens it, without its run bits. Raise OSError or MoveError."""
    private = f".second-look-{os.getpid()}-{candidate.status.st_ino}"
    os.rename(candidate.name, private, src_dir_fd=candidate.folder_fd, dst_dir_fd=candidate.folder_fd)
    _same_or_back(candidate, candidate.folder_fd, private)
    with contextlib.suppress(PermissionError):  # of another user: its name has to do
        os.fchmod(candidate.fd, stat.S_IMODE(candidate.status.st_mode) & ~0o111)
    stem = os.fsdecode(os.fsencode(candidate.name)[:_STEM_BYTES])  # a name has 255 at most
    name = _free_name(candidate.folder_fd, private, stem + BLOCKED_SUFFIX)
    return candidate.path.with_name(name)


def stored_path(folder: Path, record: QuarantineRecord) -> Path:
    """Return where a record's bytes lie."""
    return folder / record.stored_as


def delete_stored(folder: Path, record: QuarantineRecord) -> None:
    """Delete a record's bytes; nothing is wrong when they are gone already."""
    stored_path(folder, record).unlink(missing_ok=True)


def restore_stored(folder: Path, record: QuarantineRecord, *, keep: bool) -> Path:
    """Put a file back under its old name, or one beside it when that is taken; `keep`: others need it too.

    Raise OSError, or MoveError when the stored bytes are not what was put away.
    """
    stored = stored_path(folder, record)
    target = Path(record.path)
    target.parent.mkdir(parents=True, exist_ok=True)
    source_fd = os.open(stored, os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0))
    try:
        if hash_of(source_fd) != bytes.fromhex(record.sha256):
            raise MoveError("the stored bytes do not match their hash")
        folder_fd = os.open(target.parent, _OPEN_FOLDER)
        try:
            private = f".second-look-{record.id}"
            with contextlib.suppress(FileNotFoundError):
                os.unlink(private, dir_fd=folder_fd)  # of a try that was killed
            _copy(source_fd, folder_fd, private, bytes.fromhex(record.sha256))
            os.chmod(private, record.mode & 0o777, dir_fd=folder_fd)
            os.utime(private, (record.modified_at, record.modified_at), dir_fd=folder_fd)
            name = _free_name(folder_fd, private, target.name)
        finally:
            os.close(folder_fd)
    finally:
        os.close(source_fd)
    if not keep:
        stored.unlink()
    return target.with_name(name)


def holders(status: os.stat_result) -> list[str]:
    """Name the programs that have a file open or run it, as far as /proc shows them; our own left out."""
    found: list[str] = []
    for process in Path("/proc").glob("[0-9]*"):
        if process.name == str(os.getpid()):
            continue
        with contextlib.suppress(OSError):  # it ended, or is another user's
            if _holds(process, status):
                name = (process / "comm").read_text(errors="replace").strip()
                found.append(f"{name} (process {process.name})")
    return found


def _holds(process: Path, status: os.stat_result) -> bool:
    """Return whether a process has a file open or runs it. Raises OSError where it may not be looked into."""
    for link in (process / "exe", *(process / "fd").iterdir()):
        with contextlib.suppress(OSError):  # closed since it was listed
            if os.path.samestat(link.stat(), status):
                return True
    return False


@contextlib.contextmanager
def _folder(folder: Path) -> Iterator[int]:
    folder.mkdir(mode=_PRIVATE_FOLDER, parents=True, exist_ok=True)
    fd = os.open(folder, _OPEN_FOLDER)
    try:
        yield fd
    finally:
        os.close(fd)


def _must_copy(candidate: Candidate, store_fd: int) -> bool:
    """Return whether bytes must be copied.

    So it is on another file system, with further names of the inode, of another user, and with a writer.
    """
    return (
        os.geteuid() not in {0, candidate.status.st_uid}
        or candidate.status.st_dev != os.fstat(store_fd).st_dev
        or candidate.status.st_nlink > 1
        or _has_writer(candidate.fd)
    )


def _has_writer(fd: int) -> bool:
    """Return whether a file is open for writing anywhere; unknown counts as no."""
    try:
        import fcntl  # noqa: PLC0415 - POSIX only

        # should somebody open it for writing just now, the kernel sends this signal, which does nothing
        fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except (ImportError, AttributeError):
        return False
    except OSError as error:
        return error.errno == errno.EAGAIN
    fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return False


def _copy_away(candidate: Candidate, store_fd: int, private: str) -> str | None:
    try:
        _copy(candidate.fd, store_fd, private, candidate.digest)
        _unlink_same(candidate)
    except (OSError, MoveError):
        with contextlib.suppress(OSError):
            os.unlink(private, dir_fd=store_fd)
        raise
    links = os.fstat(candidate.fd).st_nlink
    return _links_remark(links) if links else None


def _copy(source_fd: int, folder_fd: int, name: str, digest: bytes) -> None:
    """Copy bytes into a new private file and hold it against the hash. Raise OSError or MoveError."""
    target_fd = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _PRIVATE, dir_fd=folder_fd)
    try:
        position = 0
        while chunk := os.pread(source_fd, _CHUNK_BYTES, position):
            view = memoryview(chunk)
            while view:
                view = view[os.write(target_fd, view) :]
            position += len(chunk)
        os.fsync(target_fd)
        same = hash_of(target_fd) == digest
    except BaseException:
        os.unlink(name, dir_fd=folder_fd)
        raise
    finally:
        os.close(target_fd)
    if not same:
        os.unlink(name, dir_fd=folder_fd)
        raise MoveError("it changed while it was being copied")


def _unlink_same(candidate: Candidate) -> None:
    """Remove a file's name if it still leads to the hashed inode."""
    private = f".second-look-{os.getpid()}-{candidate.status.st_ino}"
    os.rename(candidate.name, private, src_dir_fd=candidate.folder_fd, dst_dir_fd=candidate.folder_fd)
    _same_or_back(candidate, candidate.folder_fd, private)
    os.unlink(private, dir_fd=candidate.folder_fd)


def _same_or_back(candidate: Candidate, folder_fd: int, private: str) -> None:
    """Compare what was renamed with what was hashed; put it back and raise MoveError if they differ."""
    moved = os.stat(private, dir_fd=folder_fd, follow_symlinks=False)
    hashed = os.fstat(candidate.fd)
    if (moved.st_dev, moved.st_ino) != (hashed.st_dev, hashed.st_ino):
        _put_back(candidate.folder_fd, candidate.name, folder_fd, private)
        raise MoveError("another file stands under its name by now; that one was left alone")


def _put_back(to_fd: int, wanted: str, folder_fd: int, private: str) -> None:
    name = _free_name(to_fd, private, wanted, from_fd=folder_fd)
    if name != wanted:
        raise MoveError(f"it was put back as {name}, as its name was taken")


def _free_name(folder_fd: int, private: str, wanted: str, *, from_fd: int | None = None) -> str:
    """Give `private` the wanted name, or `name (2)` and so on, never overwriting. Return the name."""
    source_fd = folder_fd if from_fd is None else from_fd
    status = os.stat(private, dir_fd=source_fd, follow_symlinks=False)
    for number in range(1, 1000):
        stem, dot, extension = wanted.rpartition(".")
        numbered = f"{stem} ({number}){dot}{extension}" if stem else f"{wanted} ({number})"
        name = wanted if number == 1 else numbered
        try:
            if stat.S_ISDIR(status.st_mode):  # a folder cannot be linked; rename refuses a full one
                os.mkdir(name, dir_fd=folder_fd)
                os.rename(private, name, src_dir_fd=source_fd, dst_dir_fd=folder_fd)
                return name
            os.link(private, name, src_dir_fd=source_fd, dst_dir_fd=folder_fd, follow_symlinks=False)
        except FileExistsError:
            continue
        except PermissionError:
            # a file system without hard links
            if _exists(folder_fd, name):
                continue
            os.rename(private, name, src_dir_fd=source_fd, dst_dir_fd=folder_fd)
            return name
        os.unlink(private, dir_fd=source_fd)
        return name
    raise MoveError(f"no free name beside {wanted}")


def _exists(folder_fd: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=folder_fd, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _links_remark(links: int) -> str:
    return f"{links} further name{'s' if links > 1 else ''} (hard link) outside the download folders remain"
