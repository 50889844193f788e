"""The log's filters: from a URL's query to the ledger's filter and back.

The whole state of the log page stands in its URL. A time is an age (`1d`, `90m`) or RFC 3339, where a date
alone is midnight UTC.
"""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from pydantic_core import PydanticCustomError

from secondlook.config.value import parse_duration
from secondlook.core.event import EventKind
from secondlook.core.url.canonical import host_filter
from secondlook.core.verdict import Action, Stage, Threat
from secondlook.ledger.log.filter import EventFilter

LONGEST = 512
LIVE_CURSOR = r"^(s|t[0-9]{1,20}\.)[0-9]{1,18}$"  # a place in the order of writing
CURSOR = r"^(s-?[0-9]{1,18}|[0-7][0-9A-HJKMNP-TV-Z]{25})$"  # a place in the log, or an event's id

CHOICES: dict[str, tuple[str, ...]] = {
    "decision": tuple(Action),
    "kind": tuple(EventKind),
    "stage": tuple(Stage),
    "threat": tuple(Threat),
}


class UnusableFilterError(ValueError):
    """A filter's value cannot be understood; the message is for the reader."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogFilter:
    """What the reader asked for, as typed."""

    search: str = ""
    decision: str = ""
    kind: str = ""
    stage: str = ""
    threat: str = ""
    host: str = ""
    client: str = ""
    list: str = ""
    since: str = ""
    until: str = ""

    @classmethod
    def parse(cls, params: Mapping[str, str]) -> "LogFilter":
        """Read the filters out of a URL's query. Raises UnusableFilterError."""
        given = {name: params.get(name, "").strip() for name in cls.__dataclass_fields__}
        for name, value in given.items():
            if len(value) > LONGEST:
                raise UnusableFilterError(f"{name}: expected at most {LONGEST} characters")
            choices = CHOICES.get(name)
            if value and choices and value not in choices:
                raise UnusableFilterError(f"{name}: expected one of {', '.join(choices)}, got {value!r}")
        return cls(**given)

    def params(self) -> dict[str, str]:
        """Return the filters that are set, for links that keep them."""
        return {name: value for name, value in asdict(self).items() if value}

    def event_filter(self, now: float) -> EventFilter:
        """Turn into the ledger's filter; ages count back from `now` (Unix seconds)."""
        host = host_filter(self.host.rstrip(".")) or None
        return EventFilter(
            search=self.search or None,
            decision=self.decision or None,
            kind=self.kind or None,
            stage=self.stage or None,
            threat=self.threat or None,
            host=host,
            client=self.client or None,
            list=self.list or None,
            since=parse_moment(self.since, now) if self.since else None,
            until=parse_moment(self.until, now) if self.until else None,
        )


def parse_moment(text: str, now: float) -> float:
    """Read an age or a date into Unix seconds. Raises UnusableFilterError."""
    try:
        return now - parse_duration(text)
    except PydanticCustomError:
        pass
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UnusableFilterError(
            f"expected an age such as 90m or 7d, or a date such as 2026-01-31, got {text!r}"
        ) from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def parse_cursor(text: str | None, form: str = CURSOR) -> str | None:
    """Check a cursor that came in a URL. Raises UnusableFilterError."""
    if text is not None and not re.fullmatch(form, text):
        raise UnusableFilterError(f"expected a place in the log as its links give it, got {text[:80]!r}")
    return text
