"""Pieces of files (RFC 9110, 14): a piece proves nothing about the whole.

A risky file is asked for whole, unless what its URL gives was judged before (`pieces.py`); the client's range
is then cut from what was judged. Where only the answer (206) shows that it is a piece of a risky file, the
request is made once more, without its range, before anything goes on; where the piece is too short to know,
with a wider one.

A piece that was asked for passes if it is harmless or of a file that was judged, and is refused if that was
judged bad under whatever URL of that host. Any other 206 (not asked for, all there is, not what was asked
for) is what its client will keep: it is judged like a 200, and flagged as `partial` where it says it is a
piece. Several pieces are right only where several were asked for; a client that asked for them and would put
together what comes without having been asked for gets nothing.
"""

import re
from dataclasses import dataclass

from lru import LRU

from secondlook.core.verdict import Decision

_REMEMBERED = 8192
_MOST_RANGES = 64  # in one request
_ONE_RANGE = re.compile(r"\s*bytes\s*=\s*(?:(\d{1,18})-(\d{0,18})|-(\d{1,18}))\s*", re.ASCII | re.IGNORECASE)
_CONTENT_RANGE = re.compile(r"\s*bytes\s+(\d{1,18})-(\d{1,18})/(\d{1,18}|\*)\s*", re.ASCII | re.IGNORECASE)
_BOUNDARY = re.compile(r'boundary\s*=\s*(?:"([^"]{1,200})"|([^\s;]{1,200}))', re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class WantedRange:
    """What a client asked for; `first` None: the last `last` bytes; `last` None: up to the end."""

    first: int | None
    last: int | None
    if_range: str | None

    def within(self, size: int) -> tuple[int, int] | None:
        """Return first byte and count in an entity of `size` bytes; None when it cannot be satisfied."""
        if self.first is None:
            assert self.last is not None
            count = min(self.last, size)
            return (size - count, count) if count else None
        end = size if self.last is None else min(self.last + 1, size)
        return (self.first, end - self.first) if self.first < end else None

    def windows(self, size: int) -> list[tuple[int, int]]:
        """Return first byte and count in an entity of `size` bytes; none when it cannot be satisfied."""
        part = self.within(size)
        return [] if part is None else [part]

    def holds(self, etag: str | None, modified: str | None) -> bool:
        """Return whether If-Range (where there is one) names this entity, by strong comparison."""
        if self.if_range is None:
            return True
        wanted = self.if_range.strip()
        if wanted.startswith('"'):
            return wanted == (etag or "").strip()
        return not wanted.startswith("W/") and modified is not None and wanted == modified.strip()


@dataclass(frozen=True, slots=True)
class SeveralRanges:
    """What a client asked for in one request."""

    ranges: tuple[WantedRange, ...]

    def windows(self, size: int) -> list[tuple[int, int]]:
        """Return first bytes and counts in order; what touches or overlaps is one (RFC 9110, 14.6)."""
        found: list[tuple[int, int]] = []
        for first, count in sorted(part for each in self.ranges for part in each.windows(size)):
            if found and first <= sum(found[-1]):
                first, count = found[-1][0], max(sum(found[-1]), first + count) - found[-1][0]  # noqa: PLW2901
                found.pop()
            found.append((first, count))
        return found

    def holds(self, etag: str | None, modified: str | None) -> bool:
        """Return whether If-Range (where there is one) names this entity, by strong comparison."""
        return self.ranges[0].holds(etag, modified)


type Wanted = WantedRange | SeveralRanges


@dataclass(frozen=True, slots=True)
class Piece:
    """What a 206 claims to be: first and last byte, and the length of the whole where it is given."""

    first: int
    last: int
    whole: int | None


def read_range(header: str | None, if_range: str | None) -> WantedRange | None:
    """Read a Range of one piece; None for none, several or nonsense (the whole is then right)."""
    found = _ONE_RANGE.fullmatch(header or "")
    if found is None:
        return None
    if found[3] is not None:
        return WantedRange(None, int(found[3]), if_range)
    first, last = int(found[1]), int(found[2]) if found[2] else None
    if last is not None and last < first:
        return None
    return WantedRange(first, last, if_range)


def read_ranges(header: str | None, if_range: str | None) -> Wanted | None:
    """Read a Range of one piece or a few; None for none, too many or nonsense (the whole is then right)."""
    unit, _, several = (header or "").partition("=")
    parts = several.split(",")
    if not 1 < len(parts) <= _MOST_RANGES:
        return read_range(header, if_range)
    ranges = tuple(read_range(f"{unit}={part}", if_range) for part in parts)
    known = tuple(each for each in ranges if each is not None)
    return SeveralRanges(known) if len(known) == len(ranges) else None


def counts_from_end(wanted: Wanted | None) -> bool:
    """Return whether some of what is wanted is counted from the end of the file."""
    ranges = wanted.ranges if isinstance(wanted, SeveralRanges) else (wanted,)
    return any(each is not None and each.first is None for each in ranges)


def begins_first(wanted: Wanted | None) -> bool:
    """Return whether the first of what is wanted is the beginning of the file."""
    return isinstance(wanted, SeveralRanges) and wanted.ranges[0].first == 0


def write_range(wanted: WantedRange) -> str:
    """Write the Range that `read_range` reads so."""
    first, last = ("" if place is None else place for place in (wanted.first, wanted.last))
    return f"bytes={first}-{last}"


def may_hide_the_first(header: str) -> bool:
    """Return whether several ranges may hold the beginning of a file where nobody looks: behind another."""
    return any(part.lstrip().lstrip("0").lstrip()[:1] == "-" for part in header.split(",")[1:])


def read_content_range(header: str | None) -> Piece | None:
    """Read a Content-Range; None for none or nonsense."""
    found = _CONTENT_RANGE.fullmatch(header or "")
    if found is None:
        return None
    first, last = int(found[1]), int(found[2])
    whole = None if found[3] == "*" else int(found[3])
    if last < first or (whole is not None and last >= whole):
        return None
    return Piece(first, last, whole)


def is_whole(piece: Piece | None, length: int | None) -> bool:
    """Return whether a piece claims to be all there is, and is as long as it claims."""
    return (
        piece is not None
        and piece.first == 0
        and piece.last + 1 == piece.whole
        and length in {None, piece.whole}
    )


def is_answer(piece: Piece | None, wanted: WantedRange | None, length: int | None) -> bool:
    """Return whether a piece is what was asked for and may go by that name.

    One from the first byte on must end where the client wanted it to: else the client may take it for all.
    """
    if piece is None or wanted is None or length not in {None, piece.last - piece.first + 1}:
        return False
    if wanted.first is None:
        return piece.first > 0 and (piece.whole is None or piece.last + 1 == piece.whole)
    if piece.first != wanted.first:
        return False
    return piece.first > 0 or (piece.last == wanted.last and piece.last + 1 != piece.whole)


@dataclass(frozen=True, slots=True)
class Part:
    """The head of the first part of a multipart/byteranges body, and the first bytes after it."""

    content_type: str | None
    piece: Piece | None
    first: bytes


def mark_of(content_type: str) -> bytes | None:
    """Return what stands before each part, without the end of a line; None where no boundary is named."""
    boundary = _BOUNDARY.search(content_type)
    return None if boundary is None else b"--" + (boundary[1] or boundary[2]).encode("latin-1", "replace")


def may_be_parts(content_type: str, data: bytes) -> bool:
    """Return whether a body may still be parts, with nothing before the first but a line's end."""
    mark, first = mark_of(content_type), data.lstrip(b"\r\n")
    return mark is not None and (first.startswith(mark) or mark.startswith(first))


def read_first_part(content_type: str, data: bytes) -> Part | None:
    """Read the head of the first part; None while it is not whole, or when there is none."""
    mark = mark_of(content_type)
    if mark is None:
        return None
    start = data.find(mark)
    end = data.find(b"\r\n\r\n", start + len(mark)) if start >= 0 else -1
    if end < 0:
        return None
    kind = piece = None
    for line in data[start + len(mark) : end].split(b"\r\n"):
        name, _, value = line.partition(b":")
        match name.strip().lower():
            case b"content-type":
                kind = value.decode("latin-1").strip()
            case b"content-range":
                piece = read_content_range(value.decode("latin-1"))
            case _:
                pass
    return Part(kind, piece, data[end + 4 :])


class EntityMemory:
    """Entities this process has seen whole, and what came of them."""

    def __init__(self) -> None:
        self._risky: LRU[bytes, bool] = LRU(_REMEMBERED)
        self._bad: LRU[tuple[str, str, int], Decision] = LRU(_REMEMBERED)

    def note_risky(self, url: bytes) -> None:
        """Remember that a URL (its 32-byte identity) gives a risky file."""
        self._risky[url] = True

    def forget_risky(self, url: bytes) -> None:
        """Forget that, once the whole of it was found harmless."""
        self._risky.pop(url, None)

    def is_risky(self, url: bytes) -> bool:
        """Return whether a URL gave a risky file before."""
        return url in self._risky

    def note_bad(self, host: str, etag: str | None, size: int, decision: Decision) -> None:
        """Remember a blocked entity by what a new URL for it would show too."""
        if etag:
            self._bad[host, etag.strip().removeprefix("W/"), size] = decision

    def bad(self, host: str, etag: str | None, size: int | None) -> Decision | None:
        """Find the decision about an entity that was blocked before."""
        if not etag or size is None:
            return None
        found: Decision | None = self._bad.get((host, etag.strip().removeprefix("W/"), size))
        return found
