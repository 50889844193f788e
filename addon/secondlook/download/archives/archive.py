"""What lies inside an archive: digests of its members, in bounded depth, number, size and time.

Runs in a child process (`archive_child.py`): a hostile archive may break or stall its reader, and must not
take the proxy along. Reads zip (with all that is built on it), tar, ar (deb), gzip, bzip2, xz, lzma, zstd and
7z; members that are archives themselves are looked into as deep as allowed. What other unpackers open and
nobody here reads is reported. A member that cannot be read or lies too deep is reported,
and the others are looked at all the same; too much of everything (members, bytes, time) ends the look.
Nothing is ever written under a member's name.
"""

import bz2
import contextlib
import io
import itertools
import lzma
import shutil
import tarfile
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import IO, cast

from secondlook.download.archives import archive_ar, archive_zip, zip_directory
from secondlook.download.archives.archive_stream import (
    GZIP,
    STEP_BYTES,
    Clocked,
    Inflated,
    OverLimitError,
    PackedStreams,
    Stream,
)
from secondlook.download.archives.archive_tar import TarHeader, has_two_sizes
from secondlook.download.archives.kinds import BEHIND, behind, kinds_of
from secondlook.download.archives.member_forms import MemberForms, without_holes
from secondlook.download.body.decoding import Decoder, DecodeState
from secondlook.ground.zstd import begin_frame
from secondlook.scan.yara_look import YaraLook

RATIO = 1000  # of what is unpacked, beyond the first megabytes: a few bytes of bzip2 can stand for gigabytes
RATIO_FROM_BYTES = 16 << 20
MEMORY_BYTES = 4 << 20
LABEL_CHARS = 200
_PROBLEM_CHARS = 300
_ENCODED_STEP_BYTES = 16 << 10


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
    *,
    look: YaraLook | None = None,
    archive: bool | None = True,
) -> Report:
    """Hash the members of an archive that is in `encodings`; never raises for what an archive may hold.

    `look` is shown the file, what it decodes to and each member; a file that is no `archive` is only decoded
    (None: it may be one).
    """
    most = max(RATIO_FROM_BYTES, file.seek(0, io.SEEK_END) * RATIO)
    walk = _Walk(replace(limits, max_bytes=min(limits.max_bytes, most)), look)
    try:
        walk.show(file, None)
        if encodings:
            with tempfile.SpooledTemporaryFile(max_size=MEMORY_BYTES) as plain:
                walk.decode(file, encodings, plain)
                walk.show(plain, None)
                if archive:
                    walk.archive(plain, "", 1)
        elif archive or (archive is None and set(kinds_of(file)) - {"blank"}):
            walk.archive(file, "", 1)
    except Exception as error:  # noqa: BLE001 - readers of hostile formats raise whatever they like
        walk.note(error)
    if look is not None and walk.report.problem is not None and look.fault is None:
        look.fault = walk.report.problem  # it was not shown all of it
    return walk.report


class _Walk:
    def __init__(self, limits: ArchiveLimits, look: YaraLook | None) -> None:
        self._limits = limits
        self._look = look
        self._until = time.monotonic() + limits.time_s
        self._bytes = 0
        self._count = 0
        self.report = Report()

    def show(self, file: IO[bytes], label: str | None) -> None:
        """Let the rules look at a file; that has a time of its own."""
        if self._look is not None:
            self._until += self._look.at(file, None if label is None else _shown(label))

    def archive(self, file: IO[bytes], label: str, level: int) -> None:
        """Look into one archive, as each of the kinds that it may be taken for."""
        kinds = kinds_of(file)
        if not kinds:
            raise UnreadableError("not an archive that can be read")
        for kind in kinds:
            with self._going_on():
                self._as(kind, file, label, level)

    def _clocked(self, file: IO[bytes]) -> IO[bytes]:
        return cast("IO[bytes]", Clocked(file, self.add_bytes))

    def _as(self, kind: str, plain: IO[bytes], label: str, level: int) -> None:  # noqa: C901 - one for each kind
        plain.seek(0)
        file = self._clocked(plain)
        match kind:
            case "zip":
                self._zip(file, label, level)
            case "7z":
                self._7z(plain, label, level)  # py7zr takes nothing but a file
            case _ if kind == BEHIND:
                self._7z_behind(plain, label, level)
            case "tar":
                self._tar(file, label, level)
            case "ar":
                for name, member in archive_ar.members(file):
                    self._one_more()
                    self.member(member, f"{label}/{name}", level)
            case "gzip":
                self._packed(PackedStreams(file, partial(Inflated, GZIP)), label, level)
            case "bzip2":
                self._packed(PackedStreams(file, bz2.BZ2Decompressor), label, level)
            case "xz" | "lzma":
                self._packed(PackedStreams(file, lzma.LZMADecompressor), label, level)
            case "blank":
                return
            case "zstd":
                self._packed(PackedStreams(file, begin_frame), label, level)
            case _:
                raise UnreadableError(f"{kind} is a kind that is not looked into")

    def decode(self, file: IO[bytes], encodings: tuple[str, ...], plain: IO[bytes]) -> None:
        """Undo a Content-Encoding; the bytes are counted once, as those of the archive itself."""

        def begin_anew() -> None:
            plain.truncate(plain.seek(0))

        decoder = Decoder(encodings, ratio=self._limits.max_bytes, on_restart=begin_anew)
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
        """Look into a zip by its directory, and by the headers that it does not lead to."""
        ends: dict[int, int] = {}
        entries: list[archive_zip.Entry] = []
        with self._going_on():
            entries, why = zip_directory.listed(file, self._limits.members)
            if why is not None:
                self.note(UnreadableError(why))
        with self._going_on():
            others = zip_directory.listed_otherwise(file, self._limits.members, entries)
            for entry in itertools.chain(entries, others):
                ends[entry.header] = self._zip_member(file, entry, label, level)
        for entry, header in archive_zip.unlisted(file, ends):
            ends[header] = self._zip_member(file, entry, label, level)

    def _zip_member(self, file: IO[bytes], entry: archive_zip.Entry, label: str, level: int) -> int:
        """Look at one member; return from where on other headers may stand."""
        self._one_more()
        end = entry.searched_from
        if not entry.is_dir:
            with self._going_on():
                if entry.packed is None:
                    entry = next(archive_zip.ended_behind(file, entry), entry)
                unpacked = archive_zip.Unpacked(file, entry)
                self.member(unpacked, f"{label}/{entry.name}", level, stated=entry.size)
                end = unpacked.end if entry.packed is None else min(end, unpacked.end)
                for shorter in archive_zip.ended_behind(file, entry):
                    self._one_more()
                    self.member(archive_zip.Unpacked(file, shorter), f"{label}/{entry.name}", level)
        return end

    def _tar(self, file: IO[bytes], label: str, level: int) -> None:
        """Look into a tar, past blocks that are no headers too: some readers stop there, others go on."""
        with tarfile.open(fileobj=file, mode="r|", ignore_zeros=True, tarinfo=TarHeader) as archive:
            for info in archive:
                self._one_more()
                if has_two_sizes(info, archive.offset - info.offset_data):
                    self.note(UnreadableError("a member has two sizes"))
                if not info.isreg() and info.type in tarfile.SUPPORTED_TYPES:
                    if info.size:
                        self.note(UnreadableError("a link or a folder has content"))
                    continue
                member = archive.extractfile(info)
                if member is not None:  # its bytes were counted with the tar, if they are there
                    counted = info.sparse is None
                    parts = cast("Sequence[tuple[int, int]]", info.sparse or ())
                    self.member(member, f"{label}/{info.name}", level, counted=counted, parts=parts)

    def _7z_behind(self, file: IO[bytes], label: str, level: int) -> None:
        found = behind(file)
        assert found is not None
        with tempfile.SpooledTemporaryFile(max_size=MEMORY_BYTES) as alone:
            file.seek(found[1])
            shutil.copyfileobj(file, alone)
            alone.seek(0)
            self._7z(alone, label, level)

    def _7z(self, file: IO[bytes], label: str, level: int) -> None:
        import py7zr  # noqa: PLC0415 - takes long to load and is seldom needed
        from py7zr.exceptions import PasswordRequired  # noqa: PLC0415

        from secondlook.download.archives.archive_7z import MemberFactory, unpack  # noqa: PLC0415

        try:
            opened = py7zr.SevenZipFile(file)
        except PasswordRequired as error:
            raise UnreadableError("it is encrypted") from error
        with opened as archive, contextlib.closing(MemberFactory(self.add_bytes, MEMORY_BYTES)) as factory:
            if archive.needs_password():
                raise UnreadableError("it is encrypted")
            if len(archive.files) > self._limits.members:
                raise OverLimitError(f"more than {self._limits.members} members")
            broken: Exception | None = None
            try:
                unpack(archive, factory)
            except OverLimitError:
                raise
            except Exception as error:  # noqa: BLE001 - what came of it is what some readers leave
                broken = error
            for name, member in factory.members:
                self._one_more()
                self._done(member.digest, f"{label}/{name}")
                self.show(member.content(), f"{label}/{name}")
                if set(kinds_of(member.content())) - {"blank"}:
                    self._nested(member.content(), f"{label}/{name}", level)
            if broken is not None:
                raise broken

    def _packed(self, stream: PackedStreams, label: str, level: int) -> None:
        """Look into what packed streams hold: one file, or a tar (which is no level of its own)."""
        self.member(stream, f"{label}/unpacked", level - 1)

    def member(
        self,
        stream: Stream,
        label: str,
        level: int,
        *,
        counted: bool = False,
        stated: int | None = None,
        parts: Sequence[tuple[int, int]] = (),
    ) -> None:
        """Hash one member of an archive at a level, and look into it when it is an archive.

        `stated` is the size that its header gives: some readers go no further. `parts` are where what is in
        the archive stands in it, with holes between: some leave those out.
        """
        forms = MemberForms(stated)
        with tempfile.SpooledTemporaryFile(max_size=MEMORY_BYTES) as copy:
            broken: Exception | None = None
            try:
                while piece := stream.read(STEP_BYTES):
                    self.add_bytes(0 if counted else len(piece))
                    for digest, what in forms.take(piece, getattr(stream, "number", 1)):
                        self._done(digest, f"{label} ({what})")
                    copy.write(piece)
            except OverLimitError:
                raise
            except Exception as error:  # noqa: BLE001 - what came of it is what some readers leave
                broken = error
            if forms.size or broken is None:
                self._done(forms.whole, label)
                self.show(cast("IO[bytes]", copy), label)
            if parts:
                self._done(
                    without_holes(self._clocked(cast("IO[bytes]", copy)), parts), f"{label} (without holes)"
                )
            if forms.size and set(kinds_of(copy)) - {"blank"}:
                self._nested(copy, label, level)
            if broken is not None:
                raise broken

    def note(self, error: Exception) -> None:
        """Keep the first reason why not all could be looked at."""
        if self.report.problem is not None:
            return
        if isinstance(error, OverLimitError):
            self.report.problem = f"archive: {error}"
            return
        plain = isinstance(error, UnreadableError | archive_zip.ZipError | archive_ar.ArError)
        name = "" if plain else type(error).__name__
        problem = ": ".join(part for part in (name, str(error)) if part)
        self.report.problem = f"archive cannot be read: {problem}"[:_PROBLEM_CHARS]

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
        if time.monotonic() > self._until:
            raise OverLimitError(f"longer than {self._limits.time_s:g} s")
        if self._bytes > self._limits.max_bytes:
            raise OverLimitError(f"more than {self._limits.max_bytes} bytes unpacked")

    def _one_more(self) -> None:
        self._count += 1
        if self._count > self._limits.members:
            raise OverLimitError(f"more than {self._limits.members} members")

    def _done(self, digest: bytes, label: str) -> None:
        self.report.members.append((_shown(label), digest.hex()))


def _shown(label: str) -> str:
    return label.lstrip("/")[-LABEL_CHARS:]
