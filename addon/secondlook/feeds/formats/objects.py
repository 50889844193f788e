"""JSON as it streams by: the objects inside arrays, one at a time, with the path that leads to them.

Only one record is in memory at a time. What is wrong inside a record (a comma too many) is mended or rejected
there; what is wrong between records is passed over. A quote that is missing costs its record: what begins
with a quote and is followed by no comma, colon or bracket is no string, and the brackets in it count. A
document that ends early is refused.
"""

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from secondlook.feeds.entries.entry import FeedRefused

MAX_RECORD_CHARS = 32 * 1024**2
MAX_DEPTH = 32
AT_ONCE_CHARS = (
    8 * 1024
)  # most records are shorter, and an error of the decoder costs as much as it was given

_SPACE = re.compile(r"[\s,:\ufeff]*")
_SCALAR = re.compile(r"[^\s,:\[\]{}\"]+")
_TEXT = r'"(?:[^"\\]++|\\.)*+'
_STRING = re.compile(rf'{_TEXT}"', re.DOTALL)
_PAIRED = rf'{_TEXT}"(?=\s*+[,:}}\]])'
_UNDECIDED = rf'{_TEXT}(?:\\|"\s*+)?\Z'  # a string or none: that depends on what is not read yet
_TO_BRACKET = r'(?:[^"\\{{}}\[\]]++|{strings}|\\.|")*+[{{}}\[\]]'
_BRACKET = re.compile(_TO_BRACKET.format(strings=_PAIRED), re.DOTALL)
_DECIDED_BRACKET = re.compile(_TO_BRACKET.format(strings=f"{_PAIRED}|{_UNDECIDED}"), re.DOTALL)
_TRAILING_COMMA = re.compile(r'("(?:[^"\\]|\\.?)*+(?:"|\Z))|,(?=\s*[\]}])', re.DOTALL)
_DECODER = json.JSONDecoder(strict=False)

type Path = tuple[str, ...]


class Found(NamedTuple):
    """One value: its line, the keys above it (`[]` for an array), and what it is; None: unreadable `text`."""

    line: int
    path: Path
    value: Any
    text: str = ""


class _Walker:
    def __init__(self, pieces: Iterator[str], enter: frozenset[str], *, top: bool) -> None:
        self._pieces = pieces
        self._top = top  # objects that stand alone are records too
        self._enter = enter  # keys whose arrays hold containers to walk into, not records
        self._text = ""
        self._at = 0
        self._line = 1
        self._counted = 0  # up to where lines are counted
        self._ended = False
        self._stack: list[str] = []  # "[" an array, "{" an object that waits for a key, "=" one for a value
        self._path: list[str] = []
        self._left: Path | None = None  # of the array left last, until a key or the end of an object follows

    def _more(self) -> bool:
        """Read on; at least doubles what is held, so that a long record is not scanned too often."""
        self._here()
        held = self._text[self._at :]
        if len(held) > MAX_RECORD_CHARS:
            raise FeedRefused(f"a record of the JSON document is longer than {MAX_RECORD_CHARS} characters")
        parts = [held]
        wanted = len(held)
        while wanted >= 0:
            piece = next(self._pieces, None)
            if piece is None:
                self._ended = True
                break
            parts.append(piece)
            wanted -= len(piece)
        self._text = "".join(parts)
        self._at = self._counted = 0
        return len(parts) > 1

    def _skip_space(self) -> str:
        while True:
            found = _SPACE.match(self._text, self._at)
            if found is not None:
                self._at = found.end()
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more():
                return ""

    def _match(self, pattern: re.Pattern[str]) -> str:
        """Match a token that may reach beyond what is held."""
        while True:
            found = pattern.match(self._text, self._at)
            if found is not None and (found.end() < len(self._text) or self._ended):
                self._at = found.end()
                return found[0]
            if not self._more():
                if found is None:
                    raise FeedRefused("truncated: the JSON document ends early")
                self._ended = True

    def _record(self, path: Path) -> Found:
        line = self._here()
        try:
            value, length = _DECODER.raw_decode(self._text[self._at : self._at + AT_ONCE_CHARS])
        except (ValueError, RecursionError):
            text = self._record_text()
            self._at += len(text)
            value = _decoded(text)
            return Found(line, path, value, text[:200] if value is None else "")
        self._at += length
        return Found(line, path, value)

    def _record_text(self) -> str:
        """Return the record that begins here, be it damaged; raises FeedRefused where it does not end."""
        while (end := self._record_end(_DECIDED_BRACKET)) < 0:
            if not self._more():
                end = self._record_end(_BRACKET)
                # a document that was cut ends in the middle of something: a bracket in a URL is no end
                if end < 0 or self._text.rstrip()[-1] not in "}]":
                    raise FeedRefused("truncated: the JSON document ends early")
                break
        return self._text[self._at : end]

    def _record_end(self, bracket: re.Pattern[str]) -> int:
        depth, at = 0, self._at
        while found := bracket.match(self._text, at):
            at = found.end()
            depth += 1 if self._text[at - 1] in "{[" else -1
            if depth == 0:
                return at
        return -1

    def _scalar(self) -> Any:
        text = self._match(_STRING if self._text[self._at] == '"' else _SCALAR)
        try:
            return _DECODER.decode(text)
        except ValueError:
            return text

    def _here(self) -> int:
        self._line += self._text.count("\n", self._counted, self._at)
        self._counted = self._at
        return self._line

    def walk(self) -> Iterator[Found]:
        """Go through the document."""
        seen = False
        while char := self._skip_space():
            seen = True  # several documents may follow one another (JSON lines)
            top = self._stack[-1] if self._stack else ""
            if char in "}]":
                self._at += 1
                self._leave(char)
            elif top == "{" and char == '"':
                self._left = None
                self._path[-1] = str(self._scalar())
                self._stack[-1] = "="
            elif char == "{" and (record_path := self._record_path(top)) is not None:
                yield self._record(record_path)
            elif char in "{[":
                if len(self._stack) >= MAX_DEPTH:
                    raise FeedRefused("the JSON document is nested too deeply")
                self._at += 1
                self._stack.append(char)
                self._path.append("[]" if char == "[" else "")
            else:
                line, path = self._here(), tuple(self._path)
                yield Found(line, path, self._scalar())
                self._value_done()
        if self._stack or not seen:
            raise FeedRefused("truncated: the JSON document ends early")

    def _record_path(self, top: str) -> Path | None:
        """Return the path of the object that begins here, None where it is no record.

        One that stands where a key or nothing must is an item of the array that was closed too soon.
        """
        if (top == "[" and not self._enters()) or (self._top and not top):
            return tuple(self._path)
        return self._left if top in {"", "{"} else None

    def _enters(self) -> bool:
        return len(self._path) > 1 and self._path[-2] in self._enter

    def _leave(self, char: str) -> None:
        """Leave what a bracket closes; one that closes nothing here is too many, and passed over."""
        if self._stack and (char == "]") == (self._stack[-1] == "["):
            self._left = tuple(self._path) if char == "]" and not self._enters() else None
            self._stack.pop()
            self._path.pop()
            self._value_done()

    def _value_done(self) -> None:
        """Wait for the next key, where the value was that of a key."""
        if self._stack and self._stack[-1] == "=":
            self._stack[-1] = "{"
            self._path[-1] = ""


def objects(
    pieces: Iterator[str], enter: frozenset[str] = frozenset(), *, top: bool = False
) -> Iterator[Found]:
    """Return every object that is an item of an array, and every scalar outside of such objects.

    `enter` names keys whose arrays hold containers: their items are walked through, not given. With `top`,
    objects that stand alone, one after another, are given too. Raises FeedRefused when the document ends
    early or is nested too deeply.
    """
    return _Walker(pieces, enter, top=top).walk()


def _decoded(text: str) -> Any:
    """Decode a record without the commas that are too many; None where that does not make it one."""
    try:
        return _DECODER.decode(_TRAILING_COMMA.sub(lambda found: found[1] or "", text))
    except (ValueError, RecursionError):
        return None
