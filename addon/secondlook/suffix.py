"""Public suffixes from the publicsuffixlist package, and hosts where unrelated people publish.

Rules are matched as publicsuffix.org describes: the longest rule wins, `*.x` makes every child of `x` a
suffix, `!y.x` takes one back, and a name that no rule matches has its last label for suffix. `x` of a rule
`*.x` counts as a suffix too, as the list's own linter demands.
"""

import unicodedata
from collections.abc import Iterator
from functools import cache
from importlib.resources import files

import publicsuffixlist

_PRIVATE_MARK = "// ===BEGIN PRIVATE DOMAINS==="


class PublicSuffixes:
    """A parsed public suffix list and a list of shared platforms: `core.url.expression.Suffixes`."""

    def __init__(self, text: str, platforms: str = "") -> None:
        self._exact: set[str] = set()
        self._wild: set[str] = set()
        self._exceptions: set[str] = set()
        self._private: set[str] = set()
        private = False
        for line in text.splitlines():
            rule = line.split(maxsplit=1)[0] if line.strip() else ""
            if line.startswith(_PRIVATE_MARK):
                private = True
            if not rule or rule.startswith("//"):
                continue
            self._add(rule, private=private)
        self._platforms = frozenset(
            line.strip() for line in platforms.splitlines() if line.strip() and not line.startswith("#")
        )

    def _add(self, rule: str, *, private: bool) -> None:
        kind = self._exact
        if rule.startswith("!"):
            kind, rule = self._exceptions, rule[1:]
        elif rule.startswith("*."):
            kind, rule = self._wild, rule[2:]
            self._exact.add(_ascii(rule))
        name = _ascii(rule)
        kind.add(name)
        if private and kind is not self._exceptions:
            self._private.add(name)

    def _suffix(self, host: str) -> str:
        name = host
        while True:
            rest = name.partition(".")[2]
            if name in self._exceptions:
                return rest
            if name in self._exact or (rest and rest in self._wild):
                return name
            if not rest:
                return name
            name = rest

    def registrable(self, host: str) -> str | None:
        """Return the public suffix and one label more; None when the host is itself a public suffix."""
        suffix = self._suffix(host)
        if len(suffix) >= len(host):
            return None
        start = host.rfind(".", 0, len(host) - len(suffix) - 1)
        return host[start + 1 :]

    def is_suffix(self, host: str) -> bool:
        """Return whether a host is a public suffix; a name of one label always is, an address never."""
        parent = host.partition(".")[2]
        listed = host in self._exact or parent == "" or parent in self._wild
        return listed and host not in self._exceptions and host[:1] != "["

    def is_tenant(self, host: str) -> bool:
        """Return whether a host is the site of one tenant of a platform, maybe a suffix by a wildcard."""
        if host in self._exact or any(name in self._platforms for name in _upwards(host)):
            return False
        parent = host.partition(".")[2]
        return parent in self._private and (parent in self._wild or self._suffix(host) == parent)

    def is_registry(self, host: str) -> bool:
        """Return whether a host is a suffix that the list names and whose names a registry gives."""
        rule = host if host in self._exact else host.partition(".")[2]
        return (rule is host or rule in self._wild) and rule not in self._private and self.is_suffix(host)

    def is_platform(self, host: str) -> bool:
        """Return whether a host itself is a platform with the sites of many, not one site below it."""
        return host in self._platforms or host in self._private

    def is_shared_platform(self, host: str) -> bool:
        """Return whether a host lies in the list's private section or on a known shared platform."""
        return any(name in self._private or name in self._platforms for name in _upwards(host))


def _upwards(host: str) -> Iterator[str]:
    """Yield a host and the names above it."""
    while host:
        yield host
        host = host.partition(".")[2]


def _ascii(rule: str) -> str:
    if rule.isascii():
        return rule.lower()
    labels = unicodedata.normalize("NFC", rule.lower()).split(".")
    return ".".join(
        label if label.isascii() else "xn--" + label.encode("punycode").decode("ascii") for label in labels
    )


@cache
def load_suffixes() -> PublicSuffixes:
    """Load the list of the installed publicsuffixlist package and the shipped list of shared platforms."""
    text = files(publicsuffixlist).joinpath("public_suffix_list.dat").read_text(encoding="utf-8")
    platforms = files("secondlook").joinpath("shared_platforms.txt").read_text(encoding="utf-8")
    return PublicSuffixes(text, platforms)
