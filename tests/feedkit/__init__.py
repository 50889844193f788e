"""Reading feeds in tests: from text or bytes, cut into chunks of any size."""

from collections.abc import Iterable

from secondlook.feeds.entries.entry import Entry
from secondlook.feeds.reader import Reading, read
from secondlook.suffix import load_suffixes


def chunked(data: bytes, size: int = 65_536) -> Iterable[bytes]:
    """Cut data into chunks."""
    return (data[start : start + size] for start in range(0, len(data), size))


def read_all(data: bytes | str, name: str = "", size: int = 65_536, **options) -> tuple[list[Entry], Reading]:
    """Read a feed to its end."""
    raw = data.encode("utf-8", "surrogateescape") if isinstance(data, str) else data
    reading = read(chunked(raw, size), suffixes=load_suffixes(), name_hint=name, **options)
    return list(reading), reading


def texts(data: bytes | str, name: str = "", **options) -> list[str]:
    """Give the texts of a feed's entries, exceptions marked with `@@`."""
    return [("@@" if entry.exception else "") + entry.text for entry in read_all(data, name, **options)[0]]


def outcomes(data: bytes | str, name: str = "", **options) -> list[str]:
    """Give the entries' texts and, after them, the reject classes."""
    entries, reading = read_all(data, name, **options)
    found = [("@@" if entry.exception else "") + entry.text for entry in entries]
    return found + [f"{reject.line}: {reject.cls}" for reject in reading.tally.rejects]
