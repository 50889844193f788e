"""JSON as it streams by: the objects inside arrays, one at a time, with the path that leads to them.

Only one record is in memory at a time. What is wrong inside a record (a comma too many) is mended or rejected
there; what is wrong between records is passed over. A quote that is missing costs its record: where quotes
lead to no end, brackets alone have to. A document that ends early is refused.
"""

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from secondlook.feeds.entries.entry import FeedRefused

MAX_RECORD_CHARS = 32 * 1024**2
MAX_VAIN_CHARS = MAX_RECORD_CHARS  # looked at for ends that are not there, before the next record without one
MAX_DEPTH = 32
PIECE_CHARS = 64 * 1024
MAX_HELD_CHARS = 2 * PIECE_CHARS  # after an error

_SPACE = re.compile(r"[\s,:\ufeff]*")
_BRACKETS = re.compile(r'"(?:[^"\\]|\\.?)*+(?:"|\Z)|[{}\[\]]', re.DOTALL)  # a string without end is one, too
_BARE_BRACKETS = re.compile(r"[{}\[\]]")
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_SCALAR = re.compile(r"[^\s,:\[\]{}\"]+")
_DECODER = json.JSONDecoder(strict=False)
_TRAILING_COMMA = re.compile(r'("(?:[^"\\]|\\.?)*+(?:"|\Z))|,(?=\s*[\]}])', re.DOTALL)

type Path = tuple[str, ...]


class Found(NamedTuple):
    """One value: its line, the keys above it (`[]` for an array) and what it is; None: unreadable."""

    line: int
    path: Path
    value: Any
    text: str = ""


class _Walker:
    def __init__(self, pieces: Iterator[str], enter: frozenset[str], *, top: bool) -> None:
        self._pieces = pieces
        self._returned: list[str] = []  # pieces read too early, the next one last
        self._top = top  # objects that stand alone are records too
        self._enter = enter  # keys whose arrays hold containers to walk into, not records
        self._text = ""
        self._at = 0
        self._line = 1
        self._counted = 0  # up to where lines are counted
        self._ended = False
        self._vain = 0  # characters looked at for ends that were not there
        self._stack: list[str] = []  # "[" an array, "{" an object that waits for a key, "=" one for a value
        self._path: list[str] = []

    def _more(self) -> bool:
        """Read on; at least doubles what is held, so that a long record is not scanned too often."""
        self._here()
        held = self._text[self._at :]
        if len(held) > MAX_RECORD_CHARS:
            raise FeedRefused(f"a record of the JSON document is longer than {MAX_RECORD_CHARS} characters")
        parts = [held]
        wanted = len(held)
        while wanted >= 0:
            piece = self._returned.pop() if self._returned else next(self._pieces, None)
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

    def _record_end(self, brackets: re.Pattern[str]) -> int:
        depth = 0
        for found in brackets.finditer(self._text, self._at):
            mark = found[0]
            if mark in "{[":
                depth += 1
            elif mark in "}]":
                depth -= 1
                if depth == 0:
                    return found.end()
        return -1

    def _record(self, path: Path) -> Found:
        while True:
            line = self._here()
            try:
                value, end = _DECODER.raw_decode(self._text, self._at)
            except (ValueError, RecursionError):
                end = self._record_end(_BRACKETS)
                paired = end >= 0
                if not paired:
                    if self._held() <= MAX_RECORD_CHARS and self._more():
                        continue
                    end = self._end_without_strings()
                text = self._text[self._at : end]
                value = _mended(text)
                self._at = end
                self._let_go(ahead=paired)
                return Found(line, path, value, text[:200])
            self._at = end
            return Found(line, path, value)

    def _let_go(self, *, ahead: bool) -> None:
        """Hold little after an error: the decoder's next one counts lines in all that is held before it.

        With `ahead`, what was read too early is given back, too. Where quotes do not pair up it stays: the
        next record may need all of it, and would have to read it again.
        """
        if len(self._text) <= MAX_HELD_CHARS:
            return
        self._here()
        self._text = self._text[self._at :]
        self._at = self._counted = 0
        if ahead:
            starts = range(0, len(self._text), PIECE_CHARS)
            self._returned += [self._text[at : at + PIECE_CHARS] for at in reversed(starts)]
            self._text, self._ended = "", False

    def _held(self) -> int:
        return len(self._text) - self._at

    def _end_without_strings(self) -> int:
        """Return where a record ends whose quotes do not pair up; raises FeedRefused where it does not.

        Whoever gets a quote into a feed must neither keep all of it away nor have it read again and again.
        """
        if self._vain > MAX_VAIN_CHARS:
            raise FeedRefused("too many records of the JSON document have quotes that do not pair up")
        self._vain += self._held()
        # a document that was cut ends in the middle of something, and a bracket in a URL is no end of it
        cut = self._ended and self._text.rstrip()[-1:] not in {"}", "]"}
        end = -1 if cut else self._record_end(_BARE_BRACKETS)
        if end < 0:
            self._more()  # raises what is wrong with a record that is too long
            raise FeedRefused("truncated: the JSON document ends early")
        return end

    def _scalar(self) -> Any:
        text = self._match(_STRING if self._text[self._at] == '"' else _SCALAR)
        try:
            return json.loads(text, strict=False)
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
                self._leave()
            elif top == "{" and char == '"':
                self._path[-1] = str(self._scalar())
                self._stack[-1] = "="
            elif char == "{" and ((top == "[" and not self._enters()) or (self._top and not top)):
                yield self._record(tuple(self._path))
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

    def _enters(self) -> bool:
        return len(self._path) > 1 and self._path[-2] in self._enter

    def _leave(self) -> None:
        if self._stack:
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


def _mended(text: str) -> Any:
    try:
        return json.loads(_TRAILING_COMMA.sub(lambda found: found[1] or "", text), strict=False)
    except (ValueError, RecursionError):
        return None
