"""Filter lists in adblock and AdGuard DNS syntax.

Understood are the rules that `rule` reads, and lines of hosts files; the rest is rejected with its line.
"""

import re
from collections.abc import Iterable, Iterator

from secondlook.feeds.entries.entry import Entry, RejectClass
from secondlook.feeds.entries.maker import CLEAN_HOST, QUAD, Maker
from secondlook.feeds.entries.tally import Tally
from secondlook.feeds.formats.plain import holds_nothing, hosts_line, note_comment
from secondlook.feeds.formats.rule import read_rule
from secondlook.feeds.unpacking.text import batches

_COMMENT = re.compile(r"!|\[(?:adblock|ublock|adguard)|#(?!#|@#|\?#|\$#|%#)", re.IGNORECASE)
_HOST_RULE = re.compile(
    r"\|\|((?:[a-z0-9_-]{1,63}\.)+[a-z][a-z0-9-]{0,62})\^(?:\$(?:all|important|document|doc))?", re.ASCII
)
# a whole URL of plain characters, not defanged, that ends as none goes on; a modifier that changes nothing
_URL_RULE = re.compile(
    r"\|\|((?!hxxp)[a-z0-9_-]+(?:\.[a-z0-9_-]+)+(?::[0-9]+)?/(?:[A-Za-z0-9/?=&._~+%-]*[A-Za-z0-9/])?)\^?"
    r"(?:\$(?:all|important|document|doc))?",
    re.ASCII,
)
_HOSTS_LINE = re.compile(r"[0-9a-f.:]+\s+\S", re.ASCII)


def parse_adblock(chunks: Iterable[bytes], maker: Maker, tally: Tally) -> Iterator[Entry]:
    """Read a filter list."""
    for first, lines in batches(chunks):
        for number, line in enumerate(lines, first):
            made = _usual(line, maker)
            if made is None:
                yield from _other(number, line, maker, tally)
                continue
            tally.rows += 1
            entry = tally.settle(number, made, line)
            if entry is not None:
                yield entry


def _usual(line: str, maker: Maker) -> Entry | RejectClass | None:
    """Read what most lines of most lists are, quickly; None for all else, which `read_rule` reads."""
    if line[:2] == "||":
        if (rule := _HOST_RULE.fullmatch(line)) is not None:
            return maker.host(rule[1])
        if (rule := _URL_RULE.fullmatch(line)) is not None:
            return maker.url(f"http://{rule[1]}")
    elif QUAD.fullmatch(line):
        made = maker.quad(line)
        return made if isinstance(made, Entry) else None
    elif CLEAN_HOST.fullmatch(line) and line[0] != "-":
        return maker.name(line)
    return None


def _other(number: int, line: str, maker: Maker, tally: Tally) -> Iterator[Entry]:
    if holds_nothing(number, line, tally):
        return
    text = line.strip()
    if _COMMENT.match(text):
        note_comment(text, tally)
    elif _HOSTS_LINE.match(text):
        yield from hosts_line(number, text, maker, tally)
    else:
        tally.rows += 1
        yield from tally.settled(number, read_rule(text, maker, tally), text)
