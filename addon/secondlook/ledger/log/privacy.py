"""How much of what people do is written down (`log.privacy`, `log.ignore`), applied before any write.

| level | events and queue keep |
|---|---|
| 0 | everything |
| 1 | everything but the query strings of URLs |
| 2 | hosts only: no URL, file name or referrer; hashes stay |
| 3 | counts only; what concerns a flagged or confirmed subject keeps its hashes, not who or where |

Of an ignored host (and its subdomains) nothing is kept but counts, and what is flagged there keeps
hashes only. Nothing flagged is ever dropped by a privacy setting.
"""

import re
from collections.abc import Callable
from dataclasses import replace
from enum import IntEnum
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

from secondlook.core.event import EVENT_FIELDS, ConfirmedEntry, Event, EventKind, FlagEntry
from secondlook.core.event_field import Form, Reveals
from secondlook.core.subject import SubjectKind
from secondlook.core.tls_exception import PASSTHROUGH


class Privacy(IntEnum):
    """The levels of `log.privacy`."""

    EVERYTHING = 0
    NO_QUERY = 1
    HOSTS = 2
    COUNTS = 3


_NEVER_DROPPED: Final = frozenset({
    EventKind.FLAGGED,
    EventKind.CONFIRMED,
    EventKind.WITHDRAWN,
    EventKind.CLEARED,
    EventKind.EXPIRED,
    EventKind.LATE_VERDICT,
})  # fmt: skip
_ABOUT_US: Final = frozenset(
    {EventKind.UPDATE, EventKind.SERVER, EventKind.ERROR, EventKind.PAUSED, EventKind.ACTION}
)

_URLS: Final = tuple(field.attribute for field in EVENT_FIELDS if field.form is Form.URL)
_NO_PAGE: Final[dict[str, Any]] = {
    field.attribute: None for field in EVENT_FIELDS if field.reveals is Reveals.PAGE
}
_NO_VISIT: Final[dict[str, Any]] = {
    field.attribute: None for field in EVENT_FIELDS if field.reveals is not Reveals.NOTHING
}


_USER: Final = re.compile(r"\A([^/]*//)[^/]*@")


def without_query(url: str | None) -> str | None:
    """Cut query and fragment (and any user name) off a URL."""
    if url is None:
        return None
    try:
        parts = urlsplit(url)
        netloc = parts.netloc.rpartition("@")[2]
        return urlunsplit((parts.scheme, netloc, parts.path, "", ""))
    except ValueError:
        return _USER.sub(r"\1", url.split("?", 1)[0].split("#", 1)[0])


class Discretion:
    """What a ledger with these settings writes down; pure and cheap enough for every request."""

    def __init__(self, level: int = 0, ignored_hosts: tuple[str, ...] = ()) -> None:
        self.level = Privacy(level)
        self._ignored = frozenset(host.lower().strip(".") for host in ignored_hosts)

    def ignored(self, host: str | None) -> bool:
        """Return whether the host or a parent of it is on the ignore list."""
        if not self._ignored or not host:
            return False
        name = host.lower().rstrip(".")
        while name:
            if name in self._ignored:
                return True
            name = name.partition(".")[2]
        return False

    def level_of(self, host: str | None) -> Privacy:
        """Return the level that holds for a host."""
        return Privacy.COUNTS if self.ignored(host) else self.level

    def event(self, event: Event) -> Event | None:
        """Return what may be written of an event; None when nothing but its count may."""
        match self.level_of(event.host):
            case Privacy.EVERYTHING:
                return event
            case Privacy.NO_QUERY:
                return replace(event, **_cut_queries(event))
            case Privacy.HOSTS:
                return replace(event, **{**_NO_PAGE, "detail": _own(event)})
            case Privacy.COUNTS:
                if event.kind not in _NEVER_DROPPED and event.kind not in _ABOUT_US:
                    return None
                # where there is a host the detail may name who and where
                return replace(event, **{**_NO_VISIT, "detail": _own(event) if event.host is None else None})

    def flag(self, entry: FlagEntry) -> FlagEntry:
        """Return what may be written of a flag: the hashes always stay."""
        match self.level_of(entry.host):
            case Privacy.EVERYTHING:
                return entry
            case Privacy.NO_QUERY:
                return replace(entry, url=without_query(entry.url))
            case Privacy.HOSTS:
                return replace(entry, url=None, filename=None)
            case Privacy.COUNTS:
                return replace(entry, url=None, host=None, filename=None, client=None)

    def confirmed(self, entry: ConfirmedEntry) -> ConfirmedEntry:
        """Return what may be written of a confirmed subject."""
        match self.level_of(entry.host):
            case Privacy.EVERYTHING:
                return entry
            case Privacy.NO_QUERY:
                return replace(entry, url=without_query(entry.url), expression=_path(entry.expression))
            case Privacy.HOSTS:
                return replace(entry, url=None, filename=None, expression=None)
            case Privacy.COUNTS:
                return replace(entry, url=None, host=None, filename=None, expression=None)


def _cut_queries(event: Event) -> dict[str, Any]:
    cut: dict[str, Any] = {name: without_query(getattr(event, name)) for name in _URLS}
    if event.extra is not None and event.subject == SubjectKind.URL:
        cut["extra"] = {name: _CUT.get(name, _same)(value) for name, value in event.extra.items()}
    return cut


def _cut_steps(steps: Any) -> list[Any]:
    """Cut the query off the address that a rule names; a regular expression is none."""
    return [
        {**step, "detail": _path(detail)}
        if (detail := step.get("detail")) and detail.split(" ")[1:2] in (["url"], ["prefix"])
        else step
        for step in steps
    ]


def _same(value: object) -> object:
    return value


def _own(event: Event) -> str | None:
    """Keep the detail of an event about the program itself; of one about a subject it may hold a URL."""
    ours = event.kind in _ABOUT_US or event.stage == PASSTHROUGH
    return event.detail if ours and event.identity is None else None


def _path(expression: str | None) -> str | None:
    return None if expression is None else expression.split("?", 1)[0]


_CUT: Final[dict[str, Callable[[Any], object]]] = {"expression": _path, "steps": _cut_steps}
"""What of an explanation may hold an address."""
