"""What no feed may block: popular sites, shared platforms, captive portals, certificate services.

A site is blocked as a whole by an entry `host/` for its host or a parent of it: the guard holds the hashes of
all such expressions. What lies below a domain, and pages that stand for many, are found in the texts of the
entries. What is caught is held back and reported, unless the operator insists.
"""

import re
from collections.abc import Iterable, Sequence
from functools import cache, cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from secondlook.core.url.expression import Suffixes
from secondlook.feeds.known_good import KnownGood
from secondlook.known_good import host_lines, root_hashes, shipped_lines, shipped_roots
from secondlook.server.store.manual_entries import ManualEntry, manual_hash
from secondlook.server.store.records import Keys, Records, keys, sorted_keys

BLOCK_BYTES = 4 << 20  # of text looked at at once


def among(values: Keys, wanted: Keys) -> npt.NDArray[np.bool_]:
    """Mark the values that a sorted array holds; soon done where they are sorted too, or few."""
    if not len(wanted):
        return np.zeros(len(values), dtype=np.bool_)
    at = np.searchsorted(wanted, values).clip(max=len(wanted) - 1)
    found: npt.NDArray[np.bool_] = wanted[at] == values
    return found


@cache
def shipped_known_good(suffixes: Suffixes) -> KnownGood:
    """Return what the shipped lists name; made once a process."""
    return KnownGood(shipped_lines(), suffixes)


@lru_cache(maxsize=4)
def guard_of(suffixes: Suffixes, more: tuple[str, ...] = ()) -> "Guard":
    """Make a guard of everything known to be good: the shipped lists, and more lines."""
    return Guard(more, suffixes)


def lines_of(files: Iterable[Path]) -> list[str]:
    """Read files of hosts; raises OSError."""
    return [line for path in files for line in host_lines(path.read_text("utf-8", errors="replace"))]


class Guard:
    """The shipped lists and `more` lines, as something that can be laid over the texts of a source."""

    def __init__(self, more: Sequence[str], suffixes: Suffixes) -> None:
        self.roots = shipped_roots(suffixes)
        self._known_good = shipped_known_good(suffixes)
        if more:
            self.roots = {**self.roots, **root_hashes(more, suffixes)}
            self._known_good = KnownGood(more, suffixes, self._known_good)

    @cached_property
    def root_keys(self) -> Keys:
        """Return the sorted keys of `roots`; made once."""
        return sorted_keys(self.roots)

    def offsets(self, texts: Any) -> npt.NDArray[np.uint64]:
        """Find where in a source's (mapped) text the lines stand that would block too much."""
        found: list[int] = []
        start = 0
        while start < len(texts):
            block = bytes(texts[start : start + BLOCK_BYTES])
            block = block[: block.rindex(b"\n") + 1]  # a line is far shorter than a block
            found += [start + offset for offset in self._known_good.offsets(block)]
            start += len(block)
        return np.array(found, dtype=np.uint64)


def _wide_pattern(wide: Sequence[tuple[bytes, bool]]) -> re.Pattern[bytes] | None:
    """Make one pattern of texts and whether subdomains count."""
    if not wide:
        return None
    each = [(rb"(?:[^/\n]*\.)?" if below else b"") + re.escape(text) for text, below in wide]
    return re.compile(rb"^(?:" + b"|".join(each) + b")", re.MULTILINE)


def _found(pattern: re.Pattern[bytes] | None, texts: Any) -> npt.NDArray[np.uint64]:
    if pattern is None or not len(texts):
        return np.empty(0, dtype=np.uint64)
    return np.fromiter((found.start() for found in pattern.finditer(texts)), dtype=np.uint64)


class Exceptions:
    """The operator's exceptions, as something that can be laid over arrays of records."""

    def __init__(self, entries: Iterable[ManualEntry]) -> None:
        wanted = [entry for entry in entries if entry.action == "except"]
        self._exact = sorted_keys([manual_hash(entry.scope, entry.text) for entry in wanted])
        self._wide = _wide_pattern(
            [
                (entry.text.encode(), entry.scope == "host")
                for entry in wanted
                if entry.scope in {"host", "prefix"}
            ]
        )

    def offsets(self, texts: Any) -> npt.NDArray[np.uint64]:
        """Find where in a source's (mapped) text the lines stand that a host or path exception takes out."""
        return _found(self._wide, texts)

    def excepted(self, records: Records, offsets: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
        """Mark the records that are taken out; `offsets` belong to their source."""
        marked = np.isin(keys(records), self._exact) if len(self._exact) else np.zeros(len(records), np.bool_)
        if len(offsets):
            marked |= np.isin(records["text"], offsets)
        return marked
