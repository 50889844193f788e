"""Filter lists in adblock and AdGuard DNS syntax.

Understood are rules for a host (`||host^`, a bare host, lines of hosts files), for a URL (`||host/path`,
`|http://…`) and exceptions to them. Everything else is rejected with its line: wildcards, regular
expressions, page elements, rules that hold for some sites, clients or kinds of request only. A rejected
exception still holds back what it could limit.
"""

import re
from collections.abc import Iterable, Iterator

from secondlook.feeds.entry import Entry, EntryKind, RejectClass
from secondlook.feeds.maker import CLEAN_HOST, Maker
from secondlook.feeds.plain import hosts_line, note_comment
from secondlook.feeds.tally import Tally
from secondlook.feeds.text import TOO_LONG_MARK, batches

# a listed host is bad in every use; `document` is how browsers are told to stop the whole page
WHOLE_MODIFIERS = frozenset(("all", "important", "document", "doc"))

_COMMENT = re.compile(r"!|\[(?:adblock|ublock|adguard)|#(?!#|@#|\?#|\$#|%#)", re.IGNORECASE)
_ELEMENTS = re.compile(r"#@?[?$%]?#|\$\$|#@?%#")
_MODIFIERS = re.compile(r"\$(~?[a-z0-9_-]+(?:=[^,]*)?(?:,\s*~?[a-z0-9_-]+(?:=[^,]*)?)*)\Z", re.IGNORECASE)
_HOST_RULE = re.compile(r"\|\|((?:[a-z0-9_-]{1,63}\.)+[a-z][a-z0-9-]{0,62})\^", re.ASCII)
_HOSTS_LINE = re.compile(r"[0-9a-f.:]+\s+\S", re.ASCII)


def parse_adblock(chunks: Iterable[bytes], maker: Maker, tally: Tally) -> Iterator[Entry]:
    """Read a filter list."""
    for first, lines in batches(chunks):
        for number, line in enumerate(lines, first):
            simple = _HOST_RULE.fullmatch(line)
            if simple is not None:
                tally.rows += 1
                entry = tally.settle(number, maker.host(simple[1]), line)
                if entry is not None:
                    yield entry
                continue
            text = line.strip()
            if not text:
                tally.blanks += 1
            elif line == TOO_LONG_MARK:
                tally.rows += 1
                tally.reject(number, RejectClass.TOO_LONG, "")
            elif _COMMENT.match(text):
                note_comment(text, tally)
            elif _HOSTS_LINE.match(text):
                yield from hosts_line(number, text, maker, tally)
            else:
                tally.rows += 1
                entry = tally.settle(number, _rule_of_any_kind(text, maker, tally), text)
                if entry is not None:
                    yield entry


def _rule(text: str, maker: Maker) -> Entry | RejectClass:
    if _ELEMENTS.search(text):
        return RejectClass.NOT_A_BLOCK
    exception = text.startswith("@@")
    if exception:
        text = text[2:]
    if _is_regex(text):
        return RejectClass.PATTERN
    found = _MODIFIERS.search(text)
    if found is not None:
        names = {part.strip().partition("=")[0].lower() for part in found[1].split(",")}
        text = text[: found.start()]
        if "badfilter" in names:
            return _taken_back(_pattern(text, maker, exception=True))
        if not exception and not names <= WHOLE_MODIFIERS:
            return RejectClass.MODIFIER
        # an exception with modifiers holds for less; honouring it whole only blocks less
    return _pattern(text, maker, exception=exception)


def _is_regex(text: str) -> bool:
    return text.startswith("/") and (text.endswith("/") or "/$" in text)


def _rule_of_any_kind(text: str, maker: Maker, tally: Tally) -> Entry | RejectClass:
    """Read a rule; an exception that names nothing exactly is noted, to hold back what it could limit."""
    made = _rule(text, maker)
    if text.startswith("@@") and isinstance(made, RejectClass) and made is not RejectClass.NOT_A_BLOCK:
        limit = text[2:]
        found = None if _is_regex(limit) else _MODIFIERS.search(limit)
        tally.inexact.add_rule(limit if found is None else limit[: found.start()])
    return made


def _taken_back(made: Entry | RejectClass) -> Entry | RejectClass:
    """Limit an exception to the rule of the very same form, without the hosts below."""
    if isinstance(made, RejectClass) or made.kind is not EntryKind.HOST:
        return made
    return made._replace(text=f"{made.text}/", kind=EntryKind.URL)


def _pattern(text: str, maker: Maker, *, exception: bool) -> Entry | RejectClass:
    text = text.removesuffix("|").removesuffix("^")
    if "*" in text or "^" in text:
        return RejectClass.PATTERN
    if text.startswith("||"):
        return _anchored(text[2:], maker, exception=exception)
    if text.startswith("|"):
        text = text[1:]
        if not re.match(r"https?://", text):
            # this host without its subdomains cannot be said; an exception may take away more than it must
            return maker.host(text, exception=True) if exception else RejectClass.NOT_UNDERSTOOD
        return maker.indicator(text, exception=exception)
    if (CLEAN_HOST.fullmatch(text) and text[0] != "-") or re.match(r"https?://[^/]+/", text):
        return maker.indicator(text, exception=exception)
    made = maker.host(text, exception=exception) if re.fullmatch(r"[0-9A-Fa-f.:\[\]]+", text) else None
    if isinstance(made, Entry):
        return made
    return RejectClass.PATTERN  # a piece of text somewhere in the URL


def _anchored(text: str, maker: Maker, *, exception: bool) -> Entry | RejectClass:
    host = re.split(r"[/?:]", text, maxsplit=1)[0]
    if "@" in host or host.endswith(".") or host.startswith("."):
        return RejectClass.PATTERN  # the beginning or the end of a name
    if "/" not in text and "?" not in text:
        return (
            maker.host(text, exception=exception)
            if ":" not in text
            else maker.indicator(text, exception=exception)
        )
    return maker.indicator(text, exception=exception)
