"""One rule of a filter list in adblock or AdGuard DNS syntax, wherever it stands.

Understood are rules for a host (`||host^`, a bare host), for a URL (`||host/path`, `|http://…`) and
exceptions to them. Everything else is rejected: wildcards, regular expressions, page elements, rules that
hold for some sites, clients or kinds of request only, and the beginning of a name or path, which no entry can
be. A rejected exception still holds back what it could limit.
"""

import re

from secondlook.feeds.entries.entry import Entry, EntryKind, RejectClass
from secondlook.feeds.entries.maker import CLEAN_HOST, Maker
from secondlook.feeds.entries.tally import Tally

# a listed host is bad in every use; `document` is how browsers are made to stop the whole page
WHOLE_MODIFIERS = frozenset(("all", "important", "document", "doc"))
# kinds of request, which add to `document` and to each other
_KINDS = frozenset(
    (
        *("css", "font", "frame", "image", "media", "object", "other", "ping", "popup", "script"),
        *("stylesheet", "subdocument", "webrtc", "websocket", "xhr", "xmlhttprequest"),
    )
)

_START = re.compile(r"@@|\|\||\|https?:", re.IGNORECASE)
_REMARK = re.compile(r"(?<!\s)\s++#(?![#@?$%]).*\Z", re.DOTALL)
_PATH_GOES_ON = tuple("_.=&~+,;:%-")
_QUERY_GOES_ON = ("=", "&")

_ELEMENTS = re.compile(r"#@?[?$%]?#|\$\$|#@?%#")
_FIRST_MODIFIER = re.compile(r"\$~?[a-z0-9_-]+(?:=|\Z)", re.IGNORECASE)
_MODIFIER = re.compile(r"\s*~?[a-z0-9_-]+(?:=|\Z)", re.IGNORECASE)


def _rule(text: str, maker: Maker) -> Entry | RejectClass:
    if _ELEMENTS.search(text):
        return RejectClass.NOT_A_BLOCK
    exception = text.startswith("@@")
    if exception:
        text = text[2:]
    if _is_regex(text):
        return RejectClass.PATTERN
    start = _modifiers_at(text)
    if start >= 0:
        names = {part.strip().partition("=")[0].lower() for part in text[start + 1 :].split(",")}
        text = text[:start]
        if "badfilter" in names:
            return _taken_back(_pattern(text, maker, exception=True))
        allowed = WHOLE_MODIFIERS | _KINDS if names & (WHOLE_MODIFIERS - {"important"}) else WHOLE_MODIFIERS
        if not exception and not names <= allowed:
            return RejectClass.MODIFIER
        # an exception with modifiers holds for less; honouring it whole only blocks less
    return _pattern(text, maker, exception=exception)


def _modifiers_at(text: str) -> int:
    """Return where the modifiers of a rule begin (`$all,important`), or -1."""
    start, end = -1, len(text)
    while True:
        part = text.rfind(",", 0, end) + 1
        first = _FIRST_MODIFIER.search(text, part, end)
        if first is not None:
            start = first.start()
        if part == 0 or _MODIFIER.match(text, part, end) is None:
            return start
        end = part - 1


def _goes_on(text: str) -> bool:
    """Return whether a path or query is only the beginning of one."""
    path, mark = text.rfind("/"), text.find("?")
    return (path > text.rfind("?") and text.endswith(_PATH_GOES_ON)) or (
        0 <= mark < len(text) - 1 and text.endswith(_QUERY_GOES_ON)
    )


def _is_regex(text: str) -> bool:
    return text.startswith("/") and (text.endswith("/") or "/$" in text)


def is_rule(text: str) -> bool:
    """Return whether a line can only be a rule, in a list of whatever kind."""
    return _START.match(text) is not None


def read_rule(text: str, maker: Maker, tally: Tally) -> Entry | RejectClass:
    """Read a rule; an exception that names nothing exactly is noted, to hold back what it could limit."""
    text = _REMARK.sub("", text)
    made = _rule(text, maker)
    if text.startswith("@@") and isinstance(made, RejectClass) and made is not RejectClass.NOT_A_BLOCK:
        limit = text[2:]
        start = -1 if _is_regex(limit) else _modifiers_at(limit)
        tally.inexact.add_rule(limit if start < 0 else limit[:start])
    return made


def _taken_back(made: Entry | RejectClass) -> Entry | RejectClass:
    """Limit an exception to the rule of the very same form, without the hosts below."""
    if isinstance(made, RejectClass) or made.kind is not EntryKind.HOST:
        return made
    return made._replace(text=f"{made.text}/", kind=EntryKind.URL)


def _pattern(text: str, maker: Maker, *, exception: bool) -> Entry | RejectClass:
    closed = text.endswith(("|", "^"))
    text = text.removesuffix("|").removesuffix("^")
    if "*" in text or "^" in text:
        return RejectClass.PATTERN
    if not closed and _goes_on(text.partition("://")[2] or text.removeprefix("||")):
        return RejectClass.PATTERN
    if text.startswith("||"):
        return _anchored(text[2:], maker, exception=exception)
    if text.startswith("|"):
        text = text[1:]
        if not re.match(r"https?://", text):
            # this host without its subdomains is inexpressible; an exception may take away more than it must
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
