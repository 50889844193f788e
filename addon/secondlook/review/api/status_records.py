"""Records of how the proxy stands: overview, set-up, lists, servers, feeds, quarantine."""

from typing import Literal

from pydantic import Field

from secondlook.review.api.log_records import EventRecord
from secondlook.review.api.record import Moment, Record


class AuthorityFacts(Record):
    """The certificate of the proxy's authority."""

    fingerprint: str
    until: str


class FirstStep(Record):
    """One of the first steps of whoever sets the proxy up."""

    name: str
    title: str
    taken: bool


class SetupFacts(Record):
    """How to use the proxy."""

    proxy: str
    proxy_host: str
    proxy_port: str
    ca: AuthorityFacts | None
    ca_fault: str | None
    steps: list[FirstStep]


class QuarantineItem(Record):
    """One quarantined file."""

    id: str
    state: str
    sha256: str
    size: int | None
    path: str
    threat: str | None
    list_: str | None = Field(alias="list")
    url: str | None
    client: str | None
    moved_at: Moment | None
    detail: str | None
    proxy: str | None


class ListStatus(Record):
    """One list of the pattern; `title` is what people call it."""

    name: str
    title: str
    meaning: str
    count: int
    server: str
    generation: str
    confirmed_at: Moment | None


class ServerStatus(Record):
    """One Smart Protection Server as this proxy sees it."""

    name: str
    tier: str
    up: bool
    detail: str | None


class FeedStatus(Record):
    """One feed of the embedded server."""

    name: str
    licence: str | None
    count: int | None
    fetched_at: Moment | None
    state: str | None
    held_back: int = 0
    off: bool = False  # kept, and not in force


class Attention(Record):
    """Something that a person should know, in words."""

    kind: Literal["bad", "warn"]
    title: str
    text: str
    href: str | None = None
    link: str | None = None
    until: Moment | None = None
    client: str | None = None  # whose protection is paused


class Day(Record):
    """Counts of the last 24 hours."""

    checked: int
    blocked: int
    flagged: int


class Hour(Record):
    """Counts of one hour."""

    time: Moment
    checked: int
    blocked: int
    flagged: int


class PatternStatus(Record):
    """The pattern in short."""

    lists: int
    entries: int
    size_bytes: int | None
    updated_at: Moment | None


class QueueStatus(Record):
    """The queue in short."""

    waiting: int
    oldest: Moment | None


class Overview(Record):
    """Everything that the overview shows."""

    running_since: Moment | None
    proxy: str
    assessing: bool
    paused_until: Moment | None
    attention: list[Attention]
    day: Day
    hours: list[Hour]
    servers: list[ServerStatus]
    pattern: PatternStatus
    queue: QueueStatus
    latest: list[EventRecord]
