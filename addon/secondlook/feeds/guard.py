"""What must not be blocked: the exceptions that a feed itself makes, and sites that are known to be good.

Both only ever take entries away.
"""

from collections.abc import Iterable
from hashlib import sha256

from secondlook.core.expression import Suffixes
from secondlook.core.url import url_subject
from secondlook.feeds.entry import Entry, EntryKind
from secondlook.feeds.maker import Maker


class Exceptions:
    """The exceptions of a feed (`@@` rules, `.fp` signatures), to be asked once the whole feed is read.

    An exception for a host takes away every entry on it, below it, and above it: an entry for the parent
    would block the excepted host too, and nothing narrower can be said. An exception for a URL takes away the
    entries that would block it and those below its path.
    """

    def __init__(self) -> None:
        self._digests: set[bytes] = set()
        self._hosts: set[str] = set()
        self._parents: set[str] = set()
        self._paths: dict[str, list[str]] = {}

    def __len__(self) -> int:
        return len(self._digests) + len(self._hosts) + sum(map(len, self._paths.values()))

    def add(self, exception: Entry) -> None:
        """Note an exception."""
        if exception.kind.is_file:
            self._digests.add(exception.hash)
        elif exception.kind is EntryKind.HOST:
            self._hosts.add(exception.text)
            self._parents.update(_above(exception.text))
        else:
            host, slash, path = exception.text.partition("/")
            self._paths.setdefault(host, []).append(slash + path)

    def limits(self, entry: Entry) -> bool:
        """Tell whether an entry must be dropped."""
        if entry.kind.is_file:
            return entry.hash in self._digests
        host, slash, path = entry.text.partition("/")
        path = slash + path or "/"
        if host in self._parents or host in self._hosts:
            return True
        if any(name in self._hosts for name in _above(host)):
            return True
        if not self._paths:
            return False
        return any(
            _covers(path, kept) or path.startswith(kept)
            for name, paths in self._paths.items()
            if name == host or name.endswith("." + host)
            for kept in paths
        )


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
