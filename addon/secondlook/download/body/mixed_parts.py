"""A page that is replaced again and again (`multipart/x-mixed-replace`): no part of it may be a file.

Firefox takes such an answer apart where somebody goes to it, and saves a part that it does not show: the
digest of that is none of the body's. Cameras and tickers send pictures and texts, which go on as they come.
Where a part is anything else, or cannot be followed, the body ends there; nobody waits for more of it.
"""

import re

from secondlook.download.body.body_type import Declared, declared
from secondlook.download.body.signatures import SIGNATURE_BYTES, is_binary, is_media, risky_signature

# Firefox reads up to a semicolon, others a quoted text: what is found is the beginning of either.
_BOUNDARY = re.compile(r"""boundary=[\s"-]*([\w.'()+,/:=?-]{1,70})""", re.IGNORECASE | re.ASCII)
_HEAD_END = re.compile(rb"\n\r?\n")
_HEAD_MAX_BYTES = 8192
_MOST_AT_ONCE = 100  # parts in what came at once, some milliseconds: cameras and tickers send a few
_BEFORE = b"\r\n\t -"  # what may stand before the first mark


class MixedParts:
    """Follows the parts as they come; `stated` is what the whole says of itself."""

    why = "a part of it is a file, or may be, which a browser would save"

    def __init__(self, stated: Declared, encoding: str | None) -> None:
        boundary = _BOUNDARY.search(stated.full_type)
        self._boundary = b"" if boundary is None else boundary[1].encode()
        self._name = stated.filename or ""
        self._rest = b""
        self._in_head = False
        self._begun = False  # the first part
        self._first = b""  # of the content of a part
        self._untyped = False
        self.hides = bool(encoding) or boundary is None

    def feed(self, data: bytes) -> bool:
        """Take the next bytes; return whether they are of a file, or may be."""
        self._rest += data
        for _ in range(2 * _MOST_AT_ONCE):
            if self.hides or not (self._read_head() if self._in_head else self._read_content()):
                return self.hides
        self.hides = True
        return True

    def _read_head(self) -> bool:
        end = _HEAD_END.search(self._rest)
        if end is None:
            self.hides = len(self._rest) > _HEAD_MAX_BYTES
            return False
        head, self._rest = self._rest[: end.start()], self._rest[end.end() :]
        self._in_head, self._first = False, b""
        fields: dict[bytes, str] = {}
        for line in head.split(b"\n")[1:]:  # the first is what follows the mark
            name, _, value = line.partition(b":")
            self.hides |= line[:1] in {b" ", b"\t"} or name.strip().lower() in fields
            fields[name.strip().lower()] = value.decode("latin-1").strip()
        said = declared(fields.get(b"content-type"), fields.get(b"content-disposition"), f"/{self._name}")
        self._untyped = said.untyped
        self.hides |= said.risky or (said.saved and not said.untyped)
        return True

    def _read_content(self) -> bool:
        mark = b"--" + self._boundary
        at = self._rest.find(mark)
        end = at if at >= 0 else max(0, len(self._rest) - len(mark) + 1)  # a mark may have begun behind it
        content = self._rest[:at] if at >= 0 else self._rest
        if self._begun:
            self._look(content)
        elif before := content.strip(_BEFORE):
            self.hides = at >= 0 or not self._boundary.startswith(before)
        self._first = (self._first + self._rest[:end])[:SIGNATURE_BYTES]
        self._rest = self._rest[end:]
        if at < 0:
            return False
        self._rest, self._in_head, self._begun = self._rest[len(mark) :], True, True
        return True

    def _look(self, content: bytes) -> None:
        if len(self._first) == SIGNATURE_BYTES:
            return
        first = (self._first + content)[:SIGNATURE_BYTES]
        odd = self._untyped and is_binary(first) and not is_media(first)
        self.hides |= odd or risky_signature(first) is not None
