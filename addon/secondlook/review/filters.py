"""The log's filters: from a URL's query to the ledger's filter and back.

The whole state of the log page stands in its URL. A time is an age (`1d`, `90m`) or RFC 3339, where a date
alone is midnight UTC. What is left out stands there as `not=NAME:VALUE`, as often as wanted.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from urllib.parse import urlencode

from pydantic_core import PydanticCustomError
from starlette.requests import Request

from secondlook.config.value import parse_span
from secondlook.core.event import EventKind
from secondlook.core.rules.client import ClientNameError, recorded_client
from secondlook.core.url.canonical import host_filter
from secondlook.core.verdict import Action, Stage, Threat
from secondlook.ground.instant import read_instant
from secondlook.ledger.log.filter import EventFilter

LONGEST = 512
LIVE_CURSOR = r"^(s|t[0-9]{1,20}\.)[0-9]{1,18}$"  # a place in the order of writing
CURSOR = r"^(s-?[0-9]{1,18}|[0-7][0-9A-HJKMNP-TV-Z]{25})$"  # a place in the log, or an event's id

type Query = dict[str, str | list[str]]

CHOICES: dict[str, tuple[str, ...]] = {
    "decision": tuple(Action),
    "kind": tuple(EventKind),
    "stage": tuple(Stage),
    "threat": tuple(Threat),
}


EXCLUDABLE = ("search", *CHOICES, "host", "client", "list", "proxy", "gateway")
MOST_EXCLUDED = 20
NOT = "not"


class UnusableFilterError(ValueError):
    """A filter's value cannot be understood; the message is for the reader, `field` names the filter."""

    def __init__(self, message: str, field: str | None = None) -> None:
        super().__init__(message if field is None else f"{field}: {message}")
        self.field = field
        self.message = message


@dataclass(frozen=True, slots=True, kw_only=True)
class LogFilter:
    """What the reader asked for, as typed; `excluded` are names and values that are left out."""

    search: str = ""
    decision: str = ""
    kind: str = ""
    stage: str = ""
    threat: str = ""
    host: str = ""
    client: str = ""
    list: str = ""
    proxy: str = ""
    gateway: str = ""
    since: str = ""
    until: str = ""
    excluded: tuple[tuple[str, str], ...] = ()

    @classmethod
    def typed(cls, params: Mapping[str, str], excluded: Iterable[str] = ()) -> "LogFilter":
        """Read the filters as they were typed, unusable ones too; `excluded` are texts of `not`."""
        given = {name: params.get(name, "").strip() for name in NAMES}
        parted = (text.partition(":") for text in excluded)
        return cls(**given, excluded=tuple(dict.fromkeys((name, value) for name, _, value in parted)))

    @classmethod
    def parse(cls, params: Mapping[str, str], excluded: Iterable[str] = ()) -> "LogFilter":
        """Read the filters out of a URL's query. Raises UnusableFilterError."""
        asked = cls.typed(params, excluded)
        for name in NAMES:
            _usable(name, getattr(asked, name), name)
        if len(asked.excluded) > MOST_EXCLUDED:
            raise UnusableFilterError(f"expected at most {MOST_EXCLUDED} times", NOT)
        for name, value in asked.excluded:
            if name not in EXCLUDABLE or not value.strip():
                known = ", ".join(EXCLUDABLE)
                raise UnusableFilterError(
                    f"expected NAME:VALUE with one of {known}, got {f'{name}:{value}'[:80]!r}", NOT
                )
            _usable(name, value, NOT)
        return asked

    def having(self, name: str, value: str) -> "LogFilter":
        """Return these filters with one of them set."""
        return LogFilter.typed({**{each: getattr(self, each) for each in NAMES}, name: value}).but(
            self.excluded
        )

    def but(self, excluded: tuple[tuple[str, str], ...]) -> "LogFilter":
        """Return these filters with something else left out."""
        return replace(self, excluded=excluded)

    def params(self) -> Query:
        """Return the filters that are set, for links that keep them."""
        found: Query = {name: getattr(self, name) for name in NAMES}
        found[NOT] = [f"{name}:{value}" for name, value in self.excluded]
        return {name: value for name, value in found.items() if value}

    def query(self) -> str:
        """Return the query of these filters."""
        return urlencode(self.params(), doseq=True)

    def event_filter(self, now: float) -> EventFilter:
        """Turn into the ledger's filter; ages count back from `now` (Unix seconds)."""
        since, until = _moment("since", self.since, now), _moment("until", self.until, now)
        if since is not None and until is not None and since >= until:
            raise UnusableFilterError(
                f"expected a time after that of since: none lies between {self.since} and {self.until}",
                "until",
            )
        return EventFilter(
            search=self.search or None,
            decision=self.decision or None,
            kind=self.kind or None,
            stage=self.stage or None,
            threat=self.threat or None,
            host=_host(self.host),
            client=_client(self.client),
            list=self.list or None,
            proxy=self.proxy or None,
            gateway=self.gateway or None,
            since=since,
            until=until,
            without=tuple(LogFilter().having(name, value).event_filter(now) for name, value in self.excluded),
        )


NAMES = tuple(field.name for field in fields(LogFilter) if field.name != "excluded")


def wanted_of(request: Request) -> LogFilter:
    """Read the filters of a request. Raises UnusableFilterError."""
    return LogFilter.parse(request.query_params, request.query_params.getlist(NOT))


def _usable(name: str, value: str, field: str) -> None:
    if len(value) > LONGEST:
        raise UnusableFilterError(f"expected at most {LONGEST} characters", field)
    choices = CHOICES.get(name)
    if value and choices and value not in choices:
        raise UnusableFilterError(f"expected one of {', '.join(choices)}, got {value!r}", field)


def _host(text: str) -> str | None:
    return host_filter(text.rstrip(".")) or None


def _client(text: str) -> str | None:
    try:
        return recorded_client(text) if text else None
    except ClientNameError as error:
        raise UnusableFilterError(str(error), "client") from None


def _moment(field: str, text: str, now: float) -> float | None:
    try:
        return parse_moment(text, now) if text else None
    except UnusableFilterError as error:
        raise UnusableFilterError(error.message, field) from None


def parse_moment(text: str, now: float) -> float:
    """Read an age or a date into Unix seconds. Raises UnusableFilterError."""
    try:
        return now - parse_span(text)
    except PydanticCustomError:
        pass
    try:
        return read_instant(text)
    except ValueError:
        raise UnusableFilterError(
            f"expected an age such as 90m or 7d, or a date such as 2026-01-31, got {text!r}"
        ) from None


def parse_cursor(text: str | None, form: str = CURSOR) -> str | None:
    """Check a cursor that came in a URL. Raises UnusableFilterError."""
    if text is not None and not re.fullmatch(form, text):
        raise UnusableFilterError(f"expected a place in the log as its links give it, got {text[:80]!r}")
    return text
