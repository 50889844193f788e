"""Expressions: the host-suffix/path-prefix forms of a URL (Safe Browsing v5).

At most 30: 5 hosts by 6 paths. Hosts are the exact one and, unless it is an IP address, the
registrable domain (public suffix + 1) with up to three more labels in front. Paths are the exact one with its
query, the exact one without, `/`, and up to three more directories.
"""

from functools import lru_cache
from typing import Protocol

MAX_HOSTS = 5
MAX_DIRECTORIES = 4  # `/` included


class Suffixes(Protocol):
    """Which host names are public suffixes, under which anybody may register a name."""

    def __hash__(self) -> int: ...

    def registrable(self, host: str) -> str | None:
        """Return the public suffix and one label more; None when the host is itself a public suffix."""

    def is_suffix(self, host: str) -> bool:
        """Return whether a host is a public suffix (a TLD, `co.uk`, `github.io`)."""

    def is_registry(self, host: str) -> bool:
        """Return whether a host is a suffix whose names a registry gives (a TLD, `co.uk`)."""

    def is_tenant(self, host: str) -> bool:
        """Return whether a host is the site of one tenant of a platform (`someone.github.io`)."""

    def is_platform(self, host: str) -> bool:
        """Return whether a host itself is a platform with the sites of many, not one site below it."""

    def is_shared_platform(self, host: str) -> bool:
        """Return whether unrelated people publish under this host."""


@lru_cache(maxsize=16_384)
def host_expressions(host: str, suffixes: Suffixes) -> tuple[str, ...]:
    """List the hosts to look up for a canonical host, the exact one first."""
    if host[:1] == "[" or (host[-1:].isdigit() and host.rpartition(".")[2].isdigit()):
        return (host,)  # an address
    root = suffixes.registrable(host)
    if root is None or root == host:
        return (host,)
    hosts = [root]
    end = len(host) - len(root) - 1
    while len(hosts) < MAX_HOSTS - 1 and end > 0:
        start = host.rfind(".", 0, end)
        if start < 0:
            break
        hosts.append(host[start + 1 :])
        end = start
    return (host, *reversed(hosts))


def path_expressions(path: str) -> tuple[str, ...]:
    """List the paths to look up for a canonical path with its query, the exact one first."""
    if path == "/":
        return ("/",)
    bare, mark, _ = path.partition("?")
    found = [path, bare] if mark else [path]
    end = 0
    for _ in range(MAX_DIRECTORIES):
        end = bare.find("/", end) + 1
        if end == 0 or end == len(bare):
            break
        found.append(bare[:end])
    return tuple(found)


def expressions(host: str, path: str, suffixes: Suffixes) -> tuple[str, ...]:
    """List all expressions of a canonical URL, the exact one first."""
    paths = path_expressions(path)
    return tuple([name + suffix for name in host_expressions(host, suffixes) for suffix in paths])


def listing_expression(expression: str) -> str:
    """Return the form under which a publisher lists an exact expression: without an empty query."""
    return (
        expression[:-1]
        if expression[-1:] == "?" and expression.find("?") == len(expression) - 1
        else expression
    )
