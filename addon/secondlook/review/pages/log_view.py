"""The log as a reader sees it: filters, order and rows, all of which stand in the page's address.

A row holds what belongs together: the request and the body of one page or download, and what happened
again and again in the same way.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

from secondlook.core.subject import SubjectKind
from secondlook.ground.instant import read_instant, rfc3339
from secondlook.review import words
from secondlook.review.filters import NAMES, NOT, LogFilter, Query, UnusableFilterError
from secondlook.review.pages.render import query_string

type Json = Mapping[str, Any]

NEWEST, OLDEST = "", "oldest"
SORTS: Final = (NEWEST, OLDEST, "host", "what", "client")
"""The ledger gives the newest or the oldest first; by anything else the rows of one page are put in order."""
APART: Final = "1"
FOLD_S: Final = 3600.0
"""How long after its request a body may have come."""
_SAME: Final = ("kind", "decision", "url", "host", "filename", "sha256", "client", "stage", "list", "rule")
_WORDED: Final = frozenset({"decision", "kind", "stage", "threat"})
_SINGLE: Final = frozenset({"update", "server", "error", "action", "paused"})
"""Kinds of which each event says something of its own."""


@dataclass(slots=True)
class Row:
    """One row: the event that it is about, the request before it, and how often the same was seen earlier."""

    event: Json
    request: Json | None = None
    earlier: list["Row"] = field(default_factory=list)

    @property
    def count(self) -> int:
        """How often it happened."""
        return 1 + len(self.earlier)


@dataclass(frozen=True, slots=True)
class Chip:
    """An active filter in words, and the query without it; an instant goes beside its words."""

    text: str
    query: str
    time: str | None = None


@dataclass(frozen=True, slots=True)
class LogView:
    """What is asked for, in which order, and whether each event gets a row of its own."""

    asked: LogFilter
    sort: str = NEWEST
    apart: bool = False

    @classmethod
    def parse(cls, params: Mapping[str, str], excluded: Iterable[str]) -> "LogView":
        """Read a view out of a URL's query. Raises UnusableFilterError."""
        sort = params.get("sort", "")
        if sort not in SORTS:
            raise UnusableFilterError(f"expected one of {', '.join(SORTS[1:])}, got {sort[:80]!r}", "sort")
        return cls(LogFilter.parse(params, excluded), sort, params.get("apart") == APART)

    def params(self) -> Query:
        """Return what is set, for links that keep it."""
        view = {"sort": self.sort, "apart": APART if self.apart else ""}
        return {**self.asked.params(), **{name: value for name, value in view.items() if value}}

    def query(self, **places: str | None) -> str:
        """Return the query of this view, at a place in the log."""
        return query_string({**self.params(), **places})

    def only(self, name: str, value: str) -> str:
        """Return the query of what has a value."""
        return replace(self, asked=self.asked.having(name, value)).query()

    def without(self, name: str, value: str) -> str:
        """Return the query of this view without what has a value."""
        asked = self.asked.but((*self.asked.excluded, (name, value)))
        return replace(self, asked=asked).query()

    def sorted_by(self, sort: str) -> str:
        """Return the query of this view in another order."""
        return replace(self, sort=sort).query()

    def each_apart(self, apart: bool) -> str:
        """Return the query of this view with or without a row for each event."""
        return replace(self, apart=apart).query()

    def chips(self, titles: Mapping[str, str]) -> Iterator[Chip]:
        """Yield the active filters."""
        for name in NAMES:
            value = getattr(self.asked, name)
            if value:
                asked = self.asked.having(name, "")
                instant = _instant(value) if name in ("since", "until") else None
                label = name if instant else _label(name, value, titles)
                yield Chip(label, replace(self, asked=asked).query(), instant)
        for each in self.asked.excluded:
            left = tuple(other for other in self.asked.excluded if other != each)
            asked = self.asked.but(left)
            yield Chip(f"{NOT} {_label(*each, titles)}", replace(self, asked=asked).query())

    def rows(self, events: Sequence[Json]) -> list[Row]:
        """Return the rows of a page of events, which come newest first, in the order of this view."""
        rows = [Row(event) for event in events] if self.apart else group(fold(events))
        match self.sort:
            case "oldest":
                rows.reverse()
            case "host":
                rows.sort(key=lambda row: words.address(row.event).host.casefold())
            case "what":
                rows.sort(key=lambda row: str(row.event.get("decision") or row.event.get("kind")))
            case "client":
                rows.sort(key=lambda row: str(row.event.get("client") or ""))
            case _:
                pass
        return rows


def fold(events: Sequence[Json]) -> list[Row]:
    """Put the request of a page or download to its body; events come newest first."""
    rows: list[Row] = []
    bodies: dict[tuple[object, ...], list[Row]] = {}
    for event in events:
        key = (event.get("url"), event.get("client"), event.get("method"))
        if event.get("subject") == SubjectKind.URL and event.get("url"):
            waiting = [row for row in bodies.get(key, ()) if _lasted(event, row.event) <= FOLD_S]
            if waiting:
                bodies[key].remove(waiting[-1])  # the nearest: they come oldest last
                waiting[-1].request = event
                continue
        row = Row(event)
        rows.append(row)
        if event.get("subject") == SubjectKind.FILE and event.get("url"):
            bodies.setdefault(key, []).append(row)
    return rows


def group(rows: Sequence[Row]) -> list[Row]:
    """Put what happened again in the same way into one row, at the place of the newest."""
    found: dict[tuple[object, ...], Row] = {}
    grouped: list[Row] = []
    for row in rows:
        request = row.request
        key = (
            *(row.event.get(name) for name in _SAME),
            None if request is None else (request.get("decision"), request.get("kind")),
        )
        first = None if row.event.get("kind") in _SINGLE else found.setdefault(key, row)
        if first is None or first is row:
            grouped.append(row)
        else:
            first.earlier.append(row)
    return grouped


def _instant(value: str) -> str | None:
    """Return a date as the log takes it (UTC where it names no zone): a browser would take its own zone."""
    with suppress(ValueError):
        return rfc3339(read_instant(value))
    return None


def _label(name: str, value: str, titles: Mapping[str, str]) -> str:
    shown = titles.get(value, value) if name == "list" else words.plain(value) if name in _WORDED else value
    return f"{name}: {shown}"


def _lasted(request: Json, body: Json) -> float:
    before, after = (datetime.fromisoformat(str(event["time"])) for event in (request, body))
    return (after - before).total_seconds()
