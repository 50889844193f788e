"""Exceptions that name no host or URL exactly: wildcards, regular expressions, pieces of an address.

What such an exception allows cannot be published, so every entry of its own list that it could limit is
held back: one whose text it matches, one whose host it matches (whatever the rest of it asks for), and one
that stands above the part of it that is plain. One that names nothing (a stray `@@`, `@@*`, `@@|http://`)
excepts nothing: it would match everything. A star is not taken to be a site: `||blog.*.top^` holds back
`blog.evil.top` and not `evil.top`, or one line would empty a list. What a regular expression asks for beyond
RE2 (to look ahead or behind, to refer back) is left out of it, so that it matches more. One that cannot be
read even so excepts nothing.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from secondlook.core.rules.regex import RegexError, any_of
from secondlook.feeds.entries.entry import FeedRefused

MAX_INEXACT: Final = 5_000
_AT_ONCE: Final = 50  # in one search, so that its memory is bounded
_SITE: Final = r"https?://(?:[^/]*\.)?"
_SEPARATOR: Final = r"(?:[^\w.%-]|$)"
_HEAD: Final = re.compile(r"[^/?^|]*")
_PORT: Final = re.compile(r":[0-9]+(?=[/^*|]|\Z)")
_REGEX: Final = re.compile(r"/(.+)/(?:\$.*)?\Z")
_ASSERTION: Final = re.compile(r"\(\?<?[=!]")
_UNHEARD_OF: Final = ("qqq.qqq/", "zz.777.zz/")  # with no letter in common: what fits both fits anything

type Search = Callable[[str], bool]
type Subjects = Callable[[str], tuple[str, ...]]


def _as_url(line: str) -> tuple[str, ...]:
    return (f"http://{line}",)


def _in_every_way(line: str) -> tuple[str, ...]:
    return f"http://{line}", f"https://{line}", line.partition("/")[0]


def _searches(patterns: list[str]) -> Iterator[Search]:
    try:
        yield any_of(patterns)
    except RegexError:
        if len(patterns) > 1:  # one that cannot be read, or too much for one search
            middle = len(patterns) // 2
            yield from _searches(patterns[:middle])
            yield from _searches(patterns[middle:])


class InexactExceptions:
    """The inexact exceptions of one feed, in the order of its lines.

    `covered` are URLs that they allow for certain: what would block one of these is held back too.
    """

    def __init__(self) -> None:
        self.covered: list[str] = []
        self._globs: list[str] = []
        self._regexes: list[str] = []

    def __len__(self) -> int:
        return len(self._globs) + len(self._regexes)

    def add_rule(self, text: str) -> None:
        """Note an adblock rule without its `@@` and its modifiers. Raises FeedRefused for too many."""
        regex = _REGEX.match(text)
        if regex is not None:
            self._keep(self._regexes, f"(?i){_loosened(regex[1])}", _in_every_way)
            return
        text = _PORT.sub("", re.sub(r"\A\|?https?(?=:)", "", text.lower()))
        if text.startswith("||"):
            self._anchored(_SITE, text[2:])
        elif text.startswith(("|", "://")):
            self._anchored("https?://", text.removeprefix("|").removeprefix("://"))
        else:
            self._keep(self._globs, _glob(text))

    def add_host(self, text: str) -> None:
        """Note a host with wildcards, its subdomains included. Raises FeedRefused for too many."""
        self._anchored(_SITE, text.lower() + "^")

    def add_network(self, octets: Iterable[str]) -> None:
        """Note the IPv4 addresses that begin with some numbers. Raises FeedRefused for too many."""
        start = "".join(rf"{re.escape(each)}\." for each in octets)
        self._keep(self._globs, rf"https?://{start}[0-9.]+/")

    def _anchored(self, start: str, text: str) -> None:
        head = _HEAD.match(text)
        assert head is not None
        host, rest = head[0], text[head.end() :]
        self._keep(self._globs, f"\\A{start}{_glob(text)}")
        if not rest:
            return  # the beginning of a name
        self._keep(self._globs, f"\\A{start}{_glob(host)}/\\z")
        if "*" not in host:
            path = re.split(r"[*^|]", rest, maxsplit=1)[0] if rest[0] == "/" else ""
            self.covered.append(f"http://{host}{path or '/'}")
        else:
            parent = host.rpartition("*")[2].partition(".")[2]
            if parent:
                self.covered.append(f"http://{parent}/")

    def _keep(self, kind: list[str], pattern: str, subjects: Subjects = _as_url) -> None:
        searches = list(_searches([pattern]))
        if all(any(search(each) for search in searches for each in subjects(text)) for text in _UNHEARD_OF):
            return
        if len(self) >= 2 * MAX_INEXACT:
            raise FeedRefused(f"more than {MAX_INEXACT} exceptions with wildcards or regular expressions")
        kind.append(pattern)

    def limited(self, lines: Callable[[], Iterable[bytes]]) -> Iterator[int]:
        """Return the offsets of lines (`host/` or `host/path`) that could be excepted, some of them twice.

        The lines are gone through once for every fifty exceptions.
        """
        for patterns, subjects in ((self._globs, _as_url), (self._regexes, _in_every_way)):
            for start in range(0, len(patterns), _AT_ONCE):
                searches = list(_searches(patterns[start : start + _AT_ONCE]))
                offset = 0
                for line in lines():
                    text = line.decode("utf-8", "replace").rstrip("\n")
                    if any(search(subject) for subject in subjects(text) for search in searches):
                        yield offset
                    offset += len(line)


def _glob(text: str) -> str:
    """Write a pattern of adblock as a regular expression."""
    end = r"/?\z" if text.endswith("|") else ""
    each = {"*": ".*", "^": _SEPARATOR}
    return "".join(each.get(char) or re.escape(char) for char in text.removesuffix("|")) + end


def _loosened(regex: str) -> str:
    """Leave out of a regular expression what RE2 does not know, so that it matches more."""
    out: list[str] = []
    at, in_class = 0, False
    while at < len(regex):
        char = regex[at]
        if char == "\\":
            pair = regex[at : at + 2]
            out.append(".*" if pair[1:].isdigit() and not in_class and pair != "\\0" else pair)
            at += 2
            continue
        if not in_class and _ASSERTION.match(regex, at):
            at = _end_of_group(regex, at)
            continue
        in_class = char == "[" or (in_class and char != "]")
        out.append(char)
        at += 1
    return "".join(out)


def _end_of_group(regex: str, at: int) -> int:
    depth, in_class = 0, False
    while at < len(regex):
        char = regex[at]
        if char == "\\":
            at += 2
            continue
        in_class = char == "[" or (in_class and char != "]")
        depth += (char == "(") - (char == ")") if not in_class else 0
        at += 1
        if depth == 0:
            break
    return at
