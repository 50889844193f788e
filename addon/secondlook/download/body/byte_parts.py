"""Several pieces in one answer (`multipart/byteranges`): each is what its head says, and none hides another.

Whoever asked for several ranges puts each part where its `Content-Range` says (RFC 9110, 14.6). The first one
is judged by its bytes; a later one that begins with the first byte may be all of a file that nobody has seen.
So the parts are followed: one that begins there, or that two readers may divide differently, ends the body.
"""

from secondlook.download.body.body_type import Declared
from secondlook.download.body.mixed_parts import MixedParts
from secondlook.download.body.ranges import mark_of, read_content_range

_HEAD_MAX_BYTES = 8192
_MOST_AT_ONCE = 500  # parts in what came at once, some milliseconds: who asks for pieces asks for larger ones
_LINE_END = b"\r\n"
_HEAD_END = b"\r\n\r\n"
_RANGE = b"content-range"


class ByteParts:
    """Follows the parts as they come; `from_start`: the first one was asked for from the first byte on."""

    why = "a part of it is not what was asked for, or may be read in two ways"

    def __init__(self, content_type: str, *, from_start: bool) -> None:
        mark = mark_of(content_type)
        self._mark = mark or b""
        self._may_begin = from_start
        self._rest = b""
        self._left = 0  # bytes of the content of a part that are to come
        self._seam = b""
        self._over = False
        self.hides = mark is None

    def feed(self, data: bytes) -> bool:
        """Take the next bytes; return whether a part is another than it should be, or may be."""
        self._rest += data
        at = 0
        for _ in range(2 * _MOST_AT_ONCE):
            if self.hides or at == len(self._rest):
                break
            step = self._read_content(at) if self._left else self._read_head(at)
            if not step:
                break
            at += step
        else:
            self.hides = True
        self._rest = self._rest[at:]
        return self.hides

    def _read_content(self, at: int) -> int:
        content = self._rest[at : at + self._left]
        self._left -= len(content)
        seen = self._seam + content
        self.hides = self._mark in seen
        self._seam = seen[1 - len(self._mark) :]
        return len(content)

    def _read_head(self, at: int) -> int:
        """Read line ends, a mark and a head between two contents; return their length once they are whole."""
        rest = self._rest
        if self._over:
            self.hides = bool(rest[at:].strip())
            return len(rest) - at
        between = rest[at : at + _HEAD_MAX_BYTES]
        line = between.lstrip(_LINE_END)
        if not line.startswith(self._mark):
            self.hides = not self._mark.startswith(line) or len(rest) - at > _HEAD_MAX_BYTES
            return 0
        end = at + len(between) - len(line) + len(self._mark)
        if rest.startswith(b"--", end):
            self._over = True
            return end + 2 - at
        head_end = rest.find(_HEAD_END, end, end + _HEAD_MAX_BYTES)
        if head_end < 0:
            self.hides = len(rest) - end > _HEAD_MAX_BYTES
            return 0
        self._take(rest[end:head_end])
        self._seam = b""
        return head_end + len(_HEAD_END) - at

    def _take(self, head: bytes) -> None:
        behind_mark, *lines = head.split(_LINE_END)
        fields = [line.partition(b":") for line in lines]
        ranges = [value for name, _, value in fields if name.lower() == _RANGE]
        odd = bool(behind_mark.strip()) or any(
            name != name.strip() or b"\n" in name + text for name, _, text in fields
        )
        piece = read_content_range(ranges[0].decode("latin-1")) if len(ranges) == 1 and not odd else None
        if piece is None or (piece.first == 0 and not self._may_begin):
            self.hides = True
            return
        self._may_begin, self._left = False, piece.last + 1 - piece.first


def parts_of(
    stated: Declared, encoding: str | None, *, partial: bool, multipart: bool, from_start: bool
) -> MixedParts | ByteParts | None:
    """Return what follows the parts of a body; None for one that has none."""
    if multipart:
        return ByteParts(stated.full_type, from_start=from_start)
    return MixedParts(stated, encoding) if stated.mixed and not partial else None
