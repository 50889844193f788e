"""Which events of the log are wanted, and that as conditions of SQL."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

import sqlalchemy as sa

from secondlook.core.rules.client import network_of
from secondlook.core.url.canonical import canonical_host
from secondlook.ledger.engine.codec import clean
from secondlook.ledger.engine.tables import events
from secondlook.ledger.log import search

_ASCII: Final = 0x80
_ASCII_TEXT: Final = "".join(map(chr, range(_ASCII)))
_URL: Final = re.compile(r"([a-z][a-z0-9+.-]*://)?([^/?#:@]*)(.*)", re.IGNORECASE | re.ASCII | re.DOTALL)
_WORDS: Final = 16  # of a search; further ones are passed over
_WORD_LIMIT: Final = 256  # characters of one

type Choice = str | tuple[str, ...]
"""One value, or several of which any will do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventFilter:
    """Which events are wanted; None: any.

    `client` is an address or a user's name. `host` is exact, or `*.example.com` for a host with its
    subdomains. `since` and `until` are Unix seconds (until is exclusive). `search` is words, all of which
    must occur somewhere in the text of the event, in any case. What any filter of `without` fits is left out.
    Texts are made storable as those of events are (`engine.codec`): a column holds no others.
    """

    decision: Choice | None = None
    kind: Choice | None = None
    stage: Choice | None = None
    threat: Choice | None = None
    subject: Choice | None = None
    cls: Choice | None = None
    host: str | None = None
    client: str | None = None
    list: str | None = None
    rule: str | None = None
    sha256: str | None = None
    identity: bytes | None = None
    proxy: str | None = None
    gateway: str | None = None
    since: float | None = None
    until: float | None = None
    search: str | None = None
    without: tuple["EventFilter", ...] = ()

    def __post_init__(self) -> None:
        for name in ("host", "client", "list", "rule", "sha256", "proxy", "gateway", "search"):
            object.__setattr__(self, name, clean(getattr(self, name)))


_PARTIAL: Final = {
    "kind": "kind != 'check'",
    "decision": "decision != 'allow'",
    "threat": "threat IS NOT NULL",
}
"""What the indexes of these columns leave out: SQLite uses them only for a query with the same condition."""


def column_in(column: sa.ColumnElement[Any], values: Sequence[Any]) -> sa.ColumnElement[bool]:
    """Compare with one value, or with any of several."""
    return column == values[0] if len(values) == 1 else column.in_(values)


def led_by(column: sa.Column[Any], values: Sequence[Any]) -> sa.ColumnElement[bool]:
    """Compare so that the column's index can serve it."""
    partial = _PARTIAL.get(column.name)
    found = column_in(column, values)
    return found if partial is None else sa.and_(found, sa.literal_column(f"events.{partial}"))


def _values(choice: Choice | None) -> tuple[str, ...]:
    if choice is None:
        return ()
    return (str(choice),) if isinstance(choice, str) else tuple(str(value) for value in choice)


def indexed(wanted: EventFilter) -> list[tuple[sa.Column[Any], tuple[Any, ...]]]:
    """Conditions that an index serves."""
    found: list[tuple[sa.Column[Any], tuple[Any, ...]]] = []
    if wanted.host is not None and not wanted.host.startswith("*."):
        found.append((events.c.host, (wanted.host.lower(),)))
    if wanted.client is not None and network_of(wanted.client) is not None:
        found.append((events.c.client, (wanted.client,)))
    for column, choice, everywhere in (
        (events.c.threat, wanted.threat, None),
        (events.c.kind, wanted.kind, "check"),
        (events.c.decision, wanted.decision, "allow"),
        (events.c.stage, wanted.stage, None),
    ):
        values = _values(choice)
        if values and everywhere not in values:
            found.append((column, values))
    return found


def unindexed(wanted: EventFilter) -> Iterator[sa.ColumnElement[bool]]:
    """Conditions that are tested on each row."""
    yield from _within_times(wanted)
    for column, choice, everywhere in (
        (events.c.kind, wanted.kind, "check"),
        (events.c.decision, wanted.decision, "allow"),
    ):
        values = _values(choice)
        if everywhere in values:
            yield column_in(column, values)
    for column, choice in ((events.c.subject, wanted.subject), (events.c["class"], wanted.cls)):
        values = _values(choice)
        if values:
            yield column_in(column, values)
    if wanted.host is not None and wanted.host.startswith("*."):
        name = wanted.host[2:].lower()
        yield sa.or_(events.c.host == name, events.c.host.like("%." + _escape(name), escape="\\"))
    if wanted.client is not None and network_of(wanted.client) is None:
        yield sa.or_(events.c.client == wanted.client, events.c.user == wanted.client)
    for one, value in (
        (events.c.list, wanted.list),
        (events.c.rule, wanted.rule),
        (events.c.sha256, wanted.sha256),
        (events.c.identity, wanted.identity),
        (events.c.proxy, wanted.proxy),
        (events.c.gateway, wanted.gateway),
    ):
        if value is not None:
            yield one == value


def _within_times(wanted: EventFilter) -> Iterator[sa.ColumnElement[bool]]:
    if wanted.since is not None:
        yield events.c.time >= wanted.since
    if wanted.until is not None:
        yield events.c.time < wanted.until


def names_of(wanted: EventFilter) -> list[str]:
    """Return names that the search index leads to as words: a host with its subdomains, a user."""
    found = [wanted.host[2:].lower()] if wanted.host is not None and wanted.host.startswith("*.") else []
    if wanted.client is not None and network_of(wanted.client) is None:
        found.append(wanted.client)
    return found


def words(wanted: EventFilter) -> list[str]:
    """Return the words that are searched for."""
    return [word[:_WORD_LIMIT] for word in (wanted.search or "").split(maxsplit=_WORDS)[:_WORDS]]


def spellings(word: str) -> tuple[str, ...]:
    """Return a word of a search, and how URLs of the log have it: a host as `xn--…`, the rest escaped.

    A host's labels are found so as wholes alone. What too little is left of for the index is no spelling.
    """
    found = _URL.fullmatch(word)
    if word.isascii() or found is None:
        return (word,)
    scheme, host, rest = found.groups("")
    host = canonical_host(host)[0]
    in_urls = (scheme + host + _escaped(rest), _escaped(word))
    return tuple(dict.fromkeys((word, *(each for each in in_urls if len(each) >= search.SHORTEST))))


def _escaped(text: str) -> str:
    return quote(text, safe=_ASCII_TEXT)


def word_condition(word: str, *, sqlite: bool) -> sa.ColumnElement[bool]:
    """Look for a word in the texts of an event, in any case and in any of its spellings."""
    return sa.or_(*[_contains(spelled, sqlite=sqlite) for spelled in spellings(word)])


def _contains(word: str, *, sqlite: bool) -> sa.ColumnElement[bool]:
    if sqlite and any(ord(char) >= _ASCII for char in word):
        folded = word.casefold()
        return sa.or_(*[sa.func.contains(column, folded) == 1 for column in search.TEXT_COLUMNS])
    like = "%" + _escape(word) + "%"
    if sqlite:  # LIKE there has no regard to case (ASCII)
        return sa.or_(*[column.like(like, escape="\\") for column in search.TEXT_COLUMNS])
    # One comparison of the joined text takes a third of the time of eleven; no word holds a line end.
    text = sa.func.lower(sa.func.concat_ws("\n", *search.TEXT_COLUMNS))
    return text.like(sa.func.lower(like), escape="\\")


def conditions_of(wanted: EventFilter, *, sqlite: bool) -> list[sa.ColumnElement[bool]]:
    """Return everything that a filter asks of a row, whichever index serves it."""
    found = list(unindexed(wanted)) + [column_in(column, values) for column, values in indexed(wanted)]
    found += [word_condition(word, sqlite=sqlite) for word in words(wanted)]
    return found + excluded(wanted, sqlite=sqlite)


def excluded(wanted: EventFilter, *, sqlite: bool) -> list[sa.ColumnElement[bool]]:
    """Return what keeps out the rows that are not wanted; a comparison with nothing fits no row."""
    asked = [conditions_of(each, sqlite=sqlite) for each in wanted.without]
    return [sa.not_(sa.func.coalesce(sa.and_(*conditions), sa.false())) for conditions in asked if conditions]


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
