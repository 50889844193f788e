"""Headers of tar as GNU tar and bsdtar read them, who unpack a file whatever its owner or device may be.

Python's tarfile takes a header with a field that is no number for none at all, and passes over its file.
"""

import tarfile
from collections.abc import Sequence
from typing import Self, cast

_MODE, _UID, _GID, _TIME = slice(100, 108), slice(108, 116), slice(116, 124), slice(136, 148)
_MAJOR, _MINOR = (
    slice(329, 337),
    slice(337, 345),
)  # of a file they may be anything, of old headers its content
_SUM = slice(148, 156)
_SIZE_MOST = 8 << 30  # beyond it a header has no room for a size
_REAL_SIZES = ("GNU.sparse.size", "GNU.sparse.realsize", "SCHILY.realsize")
_MAP, _MAP_LENGTH = "GNU.sparse.map", "GNU.sparse.numblocks"
_UNUSED = (0, 0)  # a place for a part in the head of GNU's older form
_BLOCK = tarfile.BLOCKSIZE
_BLANK_SUM = 8 * 0x20  # the sum is taken with spaces in its own place


class TarHeader(tarfile.TarInfo):
    """A header; one whose sum is right and which still cannot be read ends the look with `ReadError`.

    `stated` is the size that stands in it, whatever an extended header says.
    """

    stated: int

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        """Read a block, past numbers that say nothing about where files lie."""
        header = cls._read(buf, encoding, errors)
        header.stated = header.size
        return header

    @classmethod
    def _read(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        try:
            return super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError:
            if not _is_header(buf):
                raise
        try:
            return super().frombuf(_without_oddities(buf), encoding, errors)
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(f"a header that cannot be read: {error}") from None


def has_two_sizes(info: tarfile.TarInfo, packed: int) -> bool:
    """Return whether readers may unpack another content than tarfile: it is told twice, or has odd holes.

    `packed` is the room that it takes in the archive. GNU tar leaves a map whose length is not told. npm
    tells the same size in both headers.
    """
    told = info.pax_headers
    stated = str(cast("TarHeader", info).stated)
    if told.get("size", stated) != stated and info.size < _SIZE_MOST:
        return True
    if any(told.get(name, str(info.size)) != str(info.size) for name in _REAL_SIZES):
        return True
    parts = cast("Sequence[tuple[int, int]] | None", info.sparse)
    if parts is None:
        return False
    if _MAP in told and told.get(_MAP_LENGTH) != str(len(parts)):
        return True
    end = 0
    for at, size in parts:
        if (at, size) == _UNUSED:
            continue
        if at < end or size < 0:
            return True
        end = at + size
    return end > info.size or -(-sum(size for _, size in parts) // _BLOCK) * _BLOCK != packed


def _is_header(block: bytes | bytearray) -> bool:
    if len(block) != _BLOCK:
        return False
    rest = bytes(block[: _SUM.start] + block[_SUM.stop :])
    sums = {
        _BLANK_SUM + sum(rest),
        _BLANK_SUM + sum(memoryview(rest).cast("b")),
    }  # some took bytes with a sign
    return _number(block[_SUM]) in sums


def _without_oddities(block: bytes | bytearray) -> bytes:
    out = bytearray(block)
    for place in (_MODE, _UID, _GID, _TIME, _MAJOR, _MINOR):
        if _number(out[place]) is None:
            out[place] = bytes(place.stop - place.start)
    out[_SUM] = b"%06o\0 " % (sum(out) - sum(out[_SUM]) + _BLANK_SUM)
    return bytes(out)


def _number(field: bytes | bytearray) -> int | None:
    try:
        return int(tarfile.nti(field))  # type: ignore[attr-defined]
    except tarfile.HeaderError:
        return None
