"""What is known to be good, and which entries would block far more of it than they may.

A line `host` stands for a host; `.domain` also for what lies below a domain that its owner alone fills;
`host/` for a host where many people have pages of their own, `host/*` for one of which no page may be listed.
An entry is held back when it would block

* one of these hosts as a whole: an entry for the host itself or for a name above it,
* a host below a `.domain`, unless a platform lies between: what strangers name below one stays listable,
* more than a page of such a host: a first directory (`/wiki/`), a page that stands for every query
  (`/watch`, `/login.srf`), or any page of a host that signs people in,
* anything of a `host/*`, unless it is itself a platform.

An entry for one page, for one person's directory on a platform, or for one query stays.
"""

import re
from collections.abc import Iterable, Iterator

from secondlook.core.url.canonical import canonical_host
from secondlook.core.url.expression import Suffixes

# Segments of paths that sites use for all of their pages, not for one; without what follows a dot.
_COMMON = frozenset({
    "account", "accounts", "api", "articles", "assets", "auth", "authorize", "channel",
    "common", "company", "css", "d", "document", "e", "f", "file", "files", "forms", "groups", "home",
    "img", "images", "in", "index", "js", "log-in", "login", "logon", "main", "media", "new", "news",
    "oauth", "oauth2", "page", "pages", "posts", "presentation", "s", "search",
    "servicelogin", "session", "sessions", "share", "sign-in", "signin", "signon", "sso",
    "spreadsheets", "static", "status", "u", "uc", "url", "user", "users", "v1", "v2", "v3", "view", "w",
    "watch", "wiki", "wp-login", "www",
})  # fmt: skip
_SIGN_IN = frozenset({
    "account", "accounts", "appleid", "auth", "id", "idmsa", "login", "logon", "oauth",
    "oauth2", "passport", "signin", "sign-in", "sso",
})  # fmt: skip
_EXTENSION = re.compile(r"\.[a-z]{1,5}\Z")


class KnownGood:
    """Known-good hosts of lines, and those of a `base`; lines of another form are ignored."""

    def __init__(self, lines: Iterable[str], suffixes: Suffixes, base: "KnownGood | None" = None) -> None:
        self._suffixes = suffixes
        self.hosts: set[str] = set(base.hosts) if base else set()  # all of them
        self.owned: set[str] = set(base.owned) if base else set()
        self.platforms: set[str] = set(base.platforms) if base else set()
        self.whole: set[str] = set(base.whole) if base else set()
        self.tails: set[bytes] = set(base.tails) if base else set()  # the last two labels of each
        for line in lines:
            name, problem = canonical_host(line.removesuffix("/*").strip("./"))
            if problem or not name:
                continue
            self.hosts.add(name)
            self.tails.add(b".".join(name.encode().rsplit(b".", 2)[-2:]))
            if line.startswith("."):
                self.owned.add(name)
            elif line.endswith("/*"):
                self.whole.add(name)
            elif line.endswith("/"):
                self.platforms.add(name)

    def offsets(self, lines: bytes) -> Iterator[int]:
        """Return where the lines begin that `blocks_too_much`, each ended by a line feed."""
        tails = self.tails
        offset = 0
        for line in lines.split(b"\n"):
            host = line[: line.find(b"/")]
            # few have the last two labels of a known-good host, and need a closer look
            if host[host.rfind(b".", 0, max(host.rfind(b"."), 0)) + 1 :] in tails and self.blocks_too_much(
                line.decode("utf-8", "replace")
            ):
                yield offset
            offset += len(line) + 1

    def blocks_too_much(self, line: str) -> bool:
        """Return whether an entry, written as `host/` or `host/path`, covers more than it may."""
        host, _, path = line.partition("/")
        if host in self.whole and not self._suffixes.is_platform(host):
            return True
        owner = self._owner(host)
        if not path:
            return owner is not None and owner != host
        if "?" in path or (owner is None and host not in self.hosts):
            return False
        parts = path.rstrip("/").split("/")
        if all(_EXTENSION.sub("", part.lower()) in _COMMON for part in parts):
            return True
        if owner is None or self._has_pages_of_many(host):
            return False
        return (len(parts) == 1 and path.endswith("/")) or host.partition(".")[0] in _SIGN_IN

    def _owner(self, host: str) -> str | None:
        """Return the domain to whose owner a host belongs, where that is known."""
        name = host
        while name not in self.owned:
            if self._suffixes.is_platform(name) or name in self.platforms:
                return None
            name = name.partition(".")[2]
            if not name:
                return None
        return name

    def _has_pages_of_many(self, host: str) -> bool:
        while host:
            if host in self.platforms or self._suffixes.is_platform(host):
                return True
            host = host.partition(".")[2]
        return False
