"""The exceptions that a feed itself makes: they only ever take entries away."""

from collections.abc import Iterable, Iterator

from secondlook.feeds.entries.entry import Entry, EntryKind


class Exceptions:
    """The exceptions of a feed (`@@` rules) for hosts and URLs, to be asked once the whole feed is read.

    An exception for a host takes away every entry on it, below it, and above it: an entry for the parent
    would block the excepted host too, and nothing narrower can be expressed. An exception for a URL takes
    away the entries that would block it and those below its path.
    """

    def __init__(self) -> None:
        self._hosts: set[str] = set()
        self._parents: set[str] = set()
        self._paths: dict[str, list[str]] = {}  # by host, and by the hosts above it

    def __len__(self) -> int:
        return len(self._hosts) + len(self._paths)

    def add(self, exception: Entry) -> None:
        """Note an exception for a host or a URL."""
        if exception.kind is EntryKind.HOST:
            self._hosts.add(exception.text)
            self._parents.update(_above(exception.text))
            return
        host, slash, path = exception.text.partition("/")
        for name in (host, *_above(host)):
            self._paths.setdefault(name, []).append(slash + path)

    def limits(self, line: str) -> bool:
        """Return whether an entry, written as `host/` or `host/path`, must be dropped."""
        host, slash, path = line.partition("/")
        if host in self._parents or host in self._hosts or any(name in self._hosts for name in _above(host)):
            return True
        kept = self._paths.get(host)
        return kept is not None and any(
            _covers(slash + path, each) or _below(slash + path, each) for each in kept
        )

    def limited(self, lines: Iterable[bytes]) -> Iterator[int]:
        """Return the offsets of the lines that must be dropped."""
        offset = 0
        for line in lines:
            if self.limits(line.decode("utf-8", "replace").rstrip("\n")):
                yield offset
            offset += len(line)


def _above(host: str) -> list[str]:
    """List the parents of a host name; an address has none."""
    if host[:1] == "[" or host.rpartition(".")[2].isdigit():
        return []
    found = []
    name = host
    while name := name.partition(".")[2]:
        found.append(name)
    return found


def _covers(listed: str, path: str) -> bool:
    """Return whether an entry's path would block a path: itself, without its query, or as a directory."""
    return (
        listed == path
        or listed == path.partition("?")[0]
        or (listed.endswith("/") and path.startswith(listed))
    )


def _below(path: str, kept: str) -> bool:
    """Return whether a path is another one or lies below it."""
    return path.startswith(kept) and (kept.endswith("/") or path[len(kept) : len(kept) + 1] in {"", "/", "?"})
