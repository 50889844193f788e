"""What must not be blocked: the exceptions that a feed itself makes, and sites that are known to be good.

Both only ever take entries away.
"""

from collections.abc import Iterable, Iterator
from hashlib import sha256

from secondlook.core.expression import Suffixes
from secondlook.core.url import url_subject
from secondlook.feeds.entry import Entry, EntryKind
from secondlook.feeds.maker import Maker


class Exceptions:
    """The exceptions of a feed (`@@` rules) for hosts and URLs, to be asked once the whole feed is read.

    An exception for a host takes away every entry on it, below it, and above it: an entry for the parent
    would block the excepted host too, and nothing narrower can be said. An exception for a URL takes away the
    entries that would block it and those below its path.
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
        """Tell whether an entry, written as `host/` or `host/path`, must be dropped."""
        host, slash, path = line.partition("/")
        if host in self._parents or host in self._hosts or any(name in self._hosts for name in _above(host)):
            return True
        kept = self._paths.get(host)
        return kept is not None and any(
            _covers(slash + path, each) or _below(slash + path, each) for each in kept
        )

    def limited(self, lines: Iterable[bytes]) -> Iterator[int]:
        """Give the offsets of the lines that must be dropped."""
        offset = 0
        for line in lines:
            if self.limits(line.decode("utf-8", "replace").rstrip("\n")):
                yield offset
            offset += len(line)


class Guard:
    """Known-good sites, files and URLs; an entry that would block one of them is held back.

    Eight bytes of each hash are kept: a false alarm among a million sites is one in 10^13.
    """

    def __init__(self, suffixes: Suffixes) -> None:
        self._suffixes = suffixes
        self._held: set[bytes] = set()

    @classmethod
    def of_hosts(cls, hosts: Iterable[str], suffixes: Suffixes) -> "Guard":
        """Make a guard of hosts, addresses or URLs, as known-good lists have them."""
        guard = cls(suffixes)
        maker = Maker(suffixes, known_good=True)
        for host in hosts:
            made = maker.any(host)
            if isinstance(made, Entry):
                guard.add(made)
        return guard

    def __len__(self) -> int:
        return len(self._held)

    def add(self, known_good: Entry) -> None:
        """Note a known-good site, URL or file."""
        if known_good.kind.is_file:
            self._held.add(known_good.hash[:8])
            return
        text = known_good.text if known_good.kind is EntryKind.URL else f"{known_good.text}/"
        self._held.update(full[:8] for full in url_subject(f"http://{text}", self._suffixes).hashes)
        if known_good.kind is EntryKind.HOST:
            self._held.update(sha256(f"{name}/".encode()).digest()[:8] for name in _above(known_good.text))

    def holds_back(self, entry: Entry) -> bool:
        """Tell whether an entry would block something known to be good."""
        return entry.hash[:8] in self._held


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
    """Tell whether an entry's path would block a path: itself, without its query, or as a directory."""
    return (
        listed == path
        or listed == path.partition("?")[0]
        or (listed.endswith("/") and path.startswith(listed))
    )


def _below(path: str, kept: str) -> bool:
    """Tell whether a path is another one or lies below it."""
    return path.startswith(kept) and (kept.endswith("/") or path[len(kept) : len(kept) + 1] in {"", "/", "?"})
