"""What lies inside an archive: digests of its members, in bounded depth, number, size and time.

Runs in a child process (`archive_child.py`): a hostile archive may break or stall its reader, and must not
take the proxy along. Reads zip (with all that is built on it), tar, gzip, bzip2, xz and 7z; members that are
archives themselves are looked into as deep as allowed. A member that cannot be read or lies too deep is told,
and the others are looked at all the same; too much of everything (members, bytes, time) ends the look.
Nothing is ever written under a member's name.
"""

import bz2
import contextlib
import gzip
import hashlib
import io
import lzma
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import IO

from secondlook.proxy.archive_zip import Unpacked, open_member
from secondlook.proxy.decoding import Decoder, DecodeState

STEP_BYTES = 64 << 10
MEMORY_BYTES = 4 << 20
LABEL_CHARS = 200
_PROBLEM_CHARS = 300
_LOOK_BYTES = 265
_ENCODED_STEP_BYTES = 16 << 10
_TAR_AT = 257
_JOINED_ZIPS = 8  # zips one after the other


class OverLimitError(Exception):
    """The archive is deeper, larger, fuller or slower than allowed."""


class UnreadableError(Exception):
    """The archive is encrypted, broken or of a kind that cannot be read."""


@dataclass(frozen=True, slots=True)
class ArchiveLimits:
    """How far to look."""

    depth: int
    members: int
    max_bytes: int
    time_s: float


@dataclass(slots=True)
class Report:
    """Labelled SHA-256 digests (hexadecimal) of what was found, and why the look ended early."""

    members: list[tuple[str, str]] = field(default_factory=list)
    problem: str | None = None


def look_inside(
    file: IO[bytes],
    limits: ArchiveLimits,
    encodings: tuple[str, ...] = (),
    now: Callable[[], float] = time.monotonic,
) -> Report:
    """Hash the members of an archive that is in `encodings`; never raises for what an archive may hold."""
    walk = _Walk(limits, now)
    try:
        if not encodings:
            walk.archive(file, "", 1)
        else:
            with tempfile.SpooledTemporaryFile(max_size=MEMORY_BYTES) as plain:
                walk.decode(file, encodings, plain)
                walk.archive(plain, "", 1)
    except Exception as error:  # noqa: BLE001 - readers of hostile formats raise whatever they like
        walk.note(error)
    return walk.report


def archive_kind(first: bytes) -> str | None:
    """Name the kind of archive that some bytes begin; None for no archive that can be read."""
    if first.startswith((b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")):
        return "zip"
    if first.startswith(b"7z\xbc\xaf\x27\x1c"):
        return "7z"
    if first.startswith(b"\x1f\x8b\x08"):
        return "gzip"
    if first.startswith(b"BZh"):
        return "bzip2"
    if first.startswith(b"\xfd7zXZ\x00"):
        return "xz"
    if first[_TAR_AT : _TAR_AT + 5] == b"ustar":
        return "tar"
    return None


class _Walk:
    def __init__(self, limits: ArchiveLimits, now: Callable[[], float]) -> None:
        self._limits = limits
        self._now = now
        self._until = now() + limits.time_s
        self._bytes = 0
        self._count = 0
        self.report = Report()

    def archive(self, file: IO[bytes], label: str, level: int) -> None:
        """Look into one archive."""
        file.seek(0)
        kind = archive_kind(file.read(_LOOK_BYTES))
        file.seek(0)
        match kind:
            case "zip":
                self._zip(file, label, level)
            case "7z":
                self._7z(file, label, level)
            case "tar":
                self._tar(file, label, level)
            case "gzip":
                with gzip.GzipFile(fileobj=file, mode="rb") as stream:
                    self._packed(stream, label, level)
            case "bzip2":
                with bz2.BZ2File(file) as stream:
                    self._packed(stream, label, level)
            case "xz":
                with lzma.LZMAFile(file) as stream:
                    self._packed(stream, label, level)
            case _ if zipfile.is_zipfile(file):  # a self-extracting one, or with a picture before it
                self._zip(file, label, level)
            case _:
                raise UnreadableError("not an archive that can be read")

    def decode(self, file: IO[bytes], encodings: tuple[str, ...], plain: IO[bytes]) -> None:
        """Undo a Content-Encoding; the bytes are counted once, as those of the archive itself."""
        decoder = Decoder(encodings, ratio=self._limits.max_bytes)
        file.seek(0)
        while decoder.state is DecodeState.WORKING and (piece := file.read(_ENCODED_STEP_BYTES)):
            for part in decoder.feed(piece):
                self._room_for(plain.tell() + len(part))
                plain.write(part)
        for part in decoder.finish():
            self._room_for(plain.tell() + len(part))
            plain.write(part)
        if decoder.state is not DecodeState.DONE:
            self.note(UnreadableError(f"its content encoding is {decoder.state.value}"))

    def _room_for(self, size: int) -> None:
        if size > self._limits.max_bytes:
            raise OverLimitError(f"more than {self._limits.max_bytes} bytes")
        self.add_bytes(0)

    def _zip(self, file: IO[bytes], label: str, level: int) -> None:
        """Look into a zip and those before it: some readers take the first, others the last."""
        start = self._one_zip(file, label, level)
        for _ in range(_JOINED_ZIPS):
            file.seek(0)
            if start == 0 or archive_kind(file.read(_LOOK_BYTES)) != "zip":
                return
            with tempfile.SpooledTemporaryFile(max_size=MEMORY_BYTES) as before:
                file.seek(0)
                while piece := file.read(min(STEP_BYTES, start - before.tell())):
                    before.write(piece)
                    self.add_bytes(0)
                start = self._one_zip(before, label, level)
        self.note(OverLimitError("more archives one after the other than are looked into"))

    def _one_zip(self, file: IO[bytes], label: str, level: int) -> int:
        """Look into the last zip of a file; give where it begins."""
        with zipfile.ZipFile(file) as archive:
            start = min((info.header_offset for info in archive.infolist()), default=archive.start_dir)
            for info in archive.infolist():
                self._one_more()
                if info.is_dir():
                    continue
                if info.flag_bits & 1:
                    self.note(UnreadableError("it is encrypted"))
                    continue
                with self._going_on():
                    self.member(open_member(archive, info), f"{label}/{info.filename}", level)
        return start

    def _tar(self, file: IO[bytes], label: str, level: int) -> None:
        with tarfile.open(fileobj=file, mode="r|") as archive:
            for info in archive:
                self._one_more()
                if not info.isreg():
                    continue
                member = archive.extractfile(info)
                if member is not None:  # its bytes were counted with the tar, if they are there
                    counted = info.sparse is None
                    self.member(member, f"{label}/{info.name}", level, counted=counted)

    def _7z(self, file: IO[bytes], label: str, level: int) -> None:
        import py7zr  # noqa: PLC0415 - takes long to load and is seldom needed
        from py7zr.exceptions import PasswordRequired  # noqa: PLC0415

        from secondlook.proxy.archive_7z import MemberFactory  # noqa: PLC0415

        try:
            opened = py7zr.SevenZipFile(file)
        except PasswordRequired as error:
            raise UnreadableError("it is encrypted") from error
        with opened as archive, contextlib.closing(MemberFactory(self.add_bytes)) as factory:
            if archive.needs_password():
                raise UnreadableError("it is encrypted")
            if len(archive.files) > self._limits.members:
                raise OverLimitError(f"more than {self._limits.members} members")
            archive.extractall(factory=factory)  # noqa: S202 - into our own receivers
            for name, member in factory.members:
                self._one_more()
                self._done(member.digest, f"{label}/{name}")
                if archive_kind(member.first) is not None:
                    self._nested(member.content(), f"{label}/{name}", level)

    def _packed(self, stream: IO[bytes] | io.BufferedIOBase, label: str, level: int) -> None:
        """Look into what one packed stream holds: one file, or a tar (which is no level of its own)."""
        self.member(stream, f"{label}/unpacked", level - 1)

    def member(
        self,
        stream: IO[bytes] | io.BufferedIOBase | Unpacked,
        label: str,
        level: int,
        *,
        counted: bool = False,
    ) -> None:
        """Hash one member of an archive at a level, and look into it when it is an archive."""
        digest = hashlib.sha256()
        with tempfile.SpooledTemporaryFile(max_size=MEMORY_BYTES) as copy:
            kind: str | None = None
            while piece := stream.read(STEP_BYTES):
                self.add_bytes(0 if counted else len(piece))
                if copy.tell() == 0 and kind is None:
                    kind = archive_kind(piece[:_LOOK_BYTES])
                digest.update(piece)
                if kind is not None:
                    copy.write(piece)
            self._done(digest.digest(), label)
            if kind is not None:
                self._nested(copy, label, level)

    def note(self, error: Exception) -> None:
        """Keep the first reason why not all could be looked at."""
        if self.report.problem is not None:
            return
        if isinstance(error, OverLimitError):
            self.report.problem = f"archive: {error}"
            return
        name = "" if isinstance(error, UnreadableError) else type(error).__name__
        told = ": ".join(part for part in (name, str(error)) if part)
        self.report.problem = f"archive cannot be read: {told}"[:_PROBLEM_CHARS]

    def _nested(self, file: IO[bytes], label: str, level: int) -> None:
        """Look into a member that is an archive."""
        if level >= self._limits.depth:
            self.note(OverLimitError(f"nested deeper than {self._limits.depth} levels"))
            return
        with self._going_on():
            self.archive(file, label, level + 1)

    @contextlib.contextmanager
    def _going_on(self) -> Iterator[None]:
        """Let a member that cannot be read spoil no other; only too much of everything ends the look."""
        try:
            yield
        except OverLimitError:
            raise
        except Exception as error:  # noqa: BLE001 - readers of hostile formats raise whatever they like
            self.note(error)

    def add_bytes(self, count: int) -> None:
        """Count unpacked bytes, and look at the clock."""
        self._bytes += count
        if self._bytes > self._limits.max_bytes:
            raise OverLimitError(f"more than {self._limits.max_bytes} bytes unpacked")
        if self._now() > self._until:
            raise OverLimitError(f"longer than {self._limits.time_s:g} s")

    def _one_more(self) -> None:
        self._count += 1
        if self._count > self._limits.members:
            raise OverLimitError(f"more than {self._limits.members} members")

    def _done(self, digest: bytes, label: str) -> None:
        self.report.members.append((label.lstrip("/")[-LABEL_CHARS:], digest.hex()))
