"""Regular expressions of operators, matched in linear time whatever they are.

Python's own engine backtracks: one unlucky rule would let a page freeze the proxy. RE2 cannot (no back
references, no lookaround), and matches a whole set of expressions in one pass.
"""

from collections.abc import Callable, Sequence
from typing import Final

import re2

MAX_CHARS: Final = 1_000
MAX_PROGRAM_BYTES: Final = 1 << 20
_SET_BYTES: Final = 8 << 20
_SET_BYTES_EACH: Final = 2 << 20  # a set that runs out of memory would miss without a word
_ANY_BYTES: Final = 16 << 20


class RegexError(ValueError):
    """A regular expression that cannot be used; the message is why."""


def _options(max_mem: int) -> re2.Options:
    options = re2.Options()
    options.max_mem = max_mem
    options.log_errors = False
    return options


_ONE: Final = _options(MAX_PROGRAM_BYTES)


def check_regex(pattern: str) -> None:
    """Accept or refuse a regular expression. Raise RegexError."""
    if len(pattern) > MAX_CHARS:
        raise RegexError(f"the regular expression is longer than {MAX_CHARS} characters")
    try:
        re2.compile(pattern, _ONE)
    except (re2.error, UnicodeEncodeError) as error:
        raise RegexError(f"not a regular expression that can be used: {_words(error)}") from None


def _words(error: Exception) -> str:
    reason = error.args[0] if error.args else error
    return reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)


def any_of(patterns: Sequence[str]) -> Callable[[str], bool]:
    """Return a search for any of some regular expressions, in bounded memory. Raise RegexError."""
    try:
        search = re2.compile("|".join(f"(?:{pattern})" for pattern in patterns), _options(_ANY_BYTES)).search
    except (re2.error, UnicodeEncodeError) as error:
        raise RegexError(f"not a regular expression that can be used: {_words(error)}") from None
    return lambda text: search(text) is not None


class RegexSet:
    """Many regular expressions, searched together; each must have passed `check_regex`."""

    __slots__ = ("_set",)

    def __init__(self, patterns: Sequence[str]) -> None:
        self._set = re2.Set.SearchSet(_options(_SET_BYTES + _SET_BYTES_EACH * len(patterns)))
        for pattern in patterns:
            self._set.Add(pattern)
        self._set.Compile()

    def search(self, text: str) -> list[int]:
        """The numbers of the patterns that occur in `text`, in no particular order."""
        found: list[int] | None = self._set.Match(text)
        return found or []
