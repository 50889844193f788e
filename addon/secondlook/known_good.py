"""Sites that must not be blocked as a whole: popular sites, banks, shared platforms, captive portals.

The publisher holds such entries back; the agent refuses a list that would block one of them, unless its
publisher is known to be who may mean it.
"""

from collections.abc import Iterable, Mapping
from functools import cache
from hashlib import sha256
from importlib import resources

from secondlook.core.url.canonical import canonical_host
from secondlook.core.url.expression import Suffixes, host_expressions

_SHIPPED = ("known_good.txt", "known_good_own.txt")


def host_lines(text: str) -> list[str]:
    """Read a list of hosts (see `feeds.known_good`): one a line, `#` begins a comment."""
    return [line for raw in text.splitlines() if (line := raw.partition("#")[0].strip())]


@cache
def shipped_lines() -> tuple[str, ...]:
    """Return the lines of the lists that are shipped with the program."""
    folder = resources.files("secondlook")
    return tuple(line for name in _SHIPPED for line in host_lines(folder.joinpath(name).read_text("utf-8")))


def root_hashes(lines: Iterable[str], suffixes: Suffixes) -> dict[bytes, str]:
    """Return the hash of every expression that blocks one of these hosts as a whole, with its text."""
    guarded: dict[bytes, str] = {}
    for line in lines:
        name, problem = canonical_host(line.removesuffix("/*").strip("./"))
        if problem or not name:
            continue
        for candidate in (*host_expressions(name, suffixes), "www." + name):
            guarded[sha256(f"{candidate}/".encode()).digest()] = f"{candidate}/"
    return guarded


@cache
def shipped_roots(suffixes: Suffixes) -> Mapping[bytes, str]:
    """Return `root_hashes` of the shipped lists; made once a process, to be read only."""
    return root_hashes(shipped_lines(), suffixes)
