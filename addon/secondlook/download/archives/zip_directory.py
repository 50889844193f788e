"""Directories of a zip archive: the one that `zipfile` goes by, and those that other readers are led to."""

import contextlib
import io
import re
import struct
import zipfile
from collections.abc import Iterator
from typing import IO, cast

from secondlook.download.archives.archive_zip import ENCRYPTED, Entry, ZipError, read_header
from secondlook.download.body.zip_end import ZIP_END_BYTES

_LISTED_MARK = b"PK\x01\x02"
_END = re.compile(rb"PK\x05\x06(?=.{18})", re.DOTALL)
_END_BYTES = 22
_MOST_ENDS = 64  # that are followed


class _View:
    """The file as `zipfile` reads it: up to some place, and then an end.

    The directory is read in one piece, and would be taken apart whatever that costs.
    """

    def __init__(self, file: IO[bytes], most: int, size: int, end: bytes = b"") -> None:
        self._file, self._most, self._size, self._end = file, most, size, end
        self._at = 0

    def tell(self) -> int:
        return self._at

    def seek(self, at: int, whence: int = io.SEEK_SET) -> int:
        self._at = at + (self._size + len(self._end) if whence == io.SEEK_END else 0)
        if self._at < 0:
            raise OSError("there is nothing before the beginning")
        return self._at

    def read(self, count: int = -1) -> bytes:
        upto = self._size + len(self._end) if count < 0 else self._at + count
        self._file.seek(self._at)
        data = self._file.read(max(0, min(upto, self._size) - self._at))
        data += self._end[max(0, self._at - self._size) : max(0, upto - self._size)]
        self._at += len(data)
        if data.count(_LISTED_MARK) > self._most:
            raise ZipError(f"its directory lists more than {self._most} members")
        return data


def listed(file: IO[bytes], most: int) -> tuple[list[Entry], str | None]:
    """Return the members in the directory at the end, and what about it is ambiguous.

    Raises ZipError for a directory of more than `most` members, and what `zipfile` raises.
    """
    size, ends = _ends(file)
    entries, why = _directory(file, _View(file, most, size))
    return entries, "it has two directories" if sum(_is_last(*end, size) for end in ends) > 1 else why


def listed_otherwise(file: IO[bytes], most: int, known: list[Entry]) -> Iterator[Entry]:
    """Give the members in other directories that some end leads to, by ZIP64 or not, whatever stands between.

    Raises ZipError for more than `most` members in all of them, and for too many ends.
    """
    size, ends = _ends(file)
    inside = [(entry.start, entry.start + (entry.packed or 0)) for entry in known]
    ours = [  # others are of archives that are members
        (at, end)
        for at, end in ends
        if _is_last(at, end, size) or not any(first <= at < behind for first, behind in inside)
    ]
    if len(ours) > _MOST_ENDS:
        raise ZipError(f"it has more than {_MOST_ENDS} ends")
    found, count = set(known), 0
    for at, end in ours:
        length, offset = struct.unpack_from("<2I", end, 12)
        for upto in dict.fromkeys((at, offset + length)):
            if upto > at or (upto == at and at == ours[-1][0]):
                continue  # there is no such place, or it is what is known
            with contextlib.suppress(zipfile.BadZipFile, OSError, struct.error):
                others, _ = _directory(file, _View(file, most, upto, end[:-2] + b"\0\0"))
                count += len(others)
                if count > most:
                    raise ZipError(f"its directories list more than {most} members")
                yield from (entry for entry in others if entry not in found)
                found.update(others)


def _is_last(at: int, end: bytes, size: int) -> bool:
    """Return whether the comment behind an end of a directory reaches the end of the file."""
    return at + len(end) + int.from_bytes(end[-2:], "little") == size


def _ends(file: IO[bytes]) -> tuple[int, list[tuple[int, bytes]]]:
    """Return the size of a file, and all that may end a directory: where it stands, and its head."""
    size = file.seek(0, io.SEEK_END)
    at = file.seek(max(0, size - ZIP_END_BYTES))
    last = file.read()
    return size, [(at + found.start(), last[found.start() :][:_END_BYTES]) for found in _END.finditer(last)]


def _directory(file: IO[bytes], view: _View) -> tuple[list[Entry], str | None]:
    entries: list[Entry] = []
    why = None
    with zipfile.ZipFile(cast("IO[bytes]", view)) as archive:
        for info in archive.infolist():
            here = read_header(file, info.header_offset)
            if here is None:
                why = why or f"{info.filename!r} has no header"
                continue
            if _disagrees(here, info):
                why = why or f"its directory and its headers disagree about {info.filename!r}"
            entry = Entry(
                info.filename,
                info.compress_type,
                bool(info.flag_bits & ENCRYPTED),
                info.header_offset,
                here.start,
                info.compress_size,
                info.file_size,
                info.CRC,
                here.open_ended,
            )
            entries.append(entry)
    return entries, why


def _disagrees(here: Entry, info: zipfile.ZipInfo) -> bool:
    stated = ((here.packed, info.compress_size), (here.size, info.file_size), (here.check, info.CRC))
    different = any(one is not None and one != other for one, other in stated)
    return different or here.method != info.compress_type or here.encrypted != bool(info.flag_bits & 1)
