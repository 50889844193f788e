"""Headers of tar as GNU tar and bsdtar read them, who unpack a file whatever its owner or device may be.

Python's tarfile takes a header with a field that is no number for none at all, and passes over its file.
"""

import tarfile
from typing import Self

_MODE, _UID, _GID, _TIME = slice(100, 108), slice(108, 116), slice(116, 124), slice(136, 148)
_MAJOR, _MINOR = (
    slice(329, 337),
    slice(337, 345),
)  # of a file they may be anything, of old headers its content
_SUM = slice(148, 156)
_BLANK_SUM = 8 * 0x20  # the sum is taken with spaces in its own place


class TarHeader(tarfile.TarInfo):
    """A header; one whose sum is right and which still cannot be read ends the look with `ReadError`."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        """Read a block, past numbers that say nothing about where files lie."""
        try:
            return super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError:
            if not _is_header(buf):
                raise
        try:
            return super().frombuf(_without_oddities(buf), encoding, errors)
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(f"a header that cannot be read: {error}") from None


def _is_header(block: bytes | bytearray) -> bool:
    if len(block) != tarfile.BLOCKSIZE:
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
