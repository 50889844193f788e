"""The API's records: the contract's shapes as types, so that the OpenAPI document holds them."""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, create_model

from secondlook.core.event import EVENT_FIELDS
from secondlook.core.event_field import Form
from secondlook.core.rules.rule import LONGEST_PAUSE_S, LONGEST_RULE_S, SHORTEST_S
from secondlook.ledger.log.shape import ALL_EVENT_KEYS

type Moment = Annotated[str, Field(description="RFC 3339, UTC", examples=["2026-01-31T12:00:00.000Z"])]
type SubjectText = Annotated[str, StringConstraints(min_length=1, max_length=8192)]


class Record(BaseModel):
    """Base of all records: unknown values are null, never missing."""

    model_config = ConfigDict(populate_by_name=True, extra="ignore")


class Problem(Record):
    """The one error shape (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str


_VALUES: Final[dict[Form, Any]] = {
    Form.CODE: str,
    Form.WORD: str,
    Form.TEXT: str,
    Form.URL: str,
    Form.MOMENT: Moment,
    Form.MILLISECONDS: float,
    Form.SIZE: int,
    Form.COUNT: int,
    Form.FLAG: bool,
    Form.JSON: dict[str, object],
}


def _event_fields() -> dict[str, Any]:
    """Return the fields of the API's events, made of those of an event in the order of their JSON."""
    described: dict[str, Any] = {}
    for field in sorted(EVENT_FIELDS, key=lambda field: ALL_EVENT_KEYS.index(field.name)):
        if field.form is Form.DIGEST:
            continue
        value = _VALUES[field.form]
        described[field.name] = (value | None if field.optional else value, ...)
    return described


if TYPE_CHECKING:  # what is made when the module is imported, a type checker cannot know
    _EventFields = Record
else:
    _EventFields = create_model("_EventFields", __base__=Record, **_event_fields())


class EventRecord(_EventFields):
    """One event of the log."""


class EventPage(Record):
    """A page of the log, newest first; `older` and `newer` go into `after` and `before`."""

    events: list[EventRecord]
    older: str | None
    newer: str | None


class EventTail(Record):
    """New events in the order of writing; `after` is where to go on."""

    events: list[EventRecord]
    after: str


class Report(Record):
    """A text about a mistake, to be sent by a person."""

    text: str


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


class QueueRecord(Record):
    """One flagged subject that waits for its second look."""

    id: str
    subject: str
    class_: str | None = Field(alias="class")
    url: str | None
    host: str | None
    sha256: str | None
    filename: str | None
    size: int | None
    clients: list[str]
    count: int
    first_seen: Moment
    last_seen: Moment
    attempts: int
    next_attempt: Moment | None
    reason: str | None


class QueuePage(Record):
    """A page of the queue, oldest first."""

    waiting: int
    entries: list[QueueRecord]
    after: str | None


type RuleSource = Literal["operator", "override", "quarantine", "config"]
type ClientName = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=256),
    Field(description="an address, a network or a user's name"),
]


class RuleRecord(Record):
    """One rule of the operator."""

    id: str
    action: Literal["allow", "block"]
    subject: str
    scope: str
    client: str | None
    reason: str | None
    created: Moment
    expires: Moment | None
    hits: int
    source: RuleSource


class NewRule(Record):
    """A rule to be made."""

    model_config = ConfigDict(extra="forbid")

    action: Literal["allow", "block"]
    subject: SubjectText
    for_s: Annotated[float, Field(strict=True, ge=SHORTEST_S, le=LONGEST_RULE_S)] | None = None
    client: ClientName | None = None
    reason: Annotated[str, StringConstraints(max_length=500)] | None = None


class ExportedRule(NewRule):
    """A rule as an export holds it; what has ended meanwhile is left out."""

    model_config = ConfigDict(extra="ignore")

    created: datetime | None = None
    expires: datetime | None = None
    source: RuleSource = "operator"


class ClientToErase(Record):
    """A client, by address or by user name, of whom nothing is to be kept."""

    model_config = ConfigDict(extra="forbid")

    client: ClientName


class Erased(Record):
    """What was deleted."""

    events: int


class Resumed(Record):
    """Whose pause is to end; nobody named: every pause."""

    model_config = ConfigDict(extra="forbid")

    client: ClientName | None = None


class Passed(Record):
    """Who was let through, and when."""

    client: str | None
    user: str | None
    time: Moment


class LateVerdict(EventRecord):
    """Something that was let through and turned out bad, not yet acknowledged by the reader."""

    visited_at: Moment | None
    let_through: list[Passed]
    unchecked: bool  # nobody could answer then; else nothing bad was known


class NotedVerdicts(Record):
    """Late verdicts that the reader knows of: one, and all before it."""

    model_config = ConfigDict(extra="forbid")

    newest: Annotated[str, StringConstraints(min_length=1, max_length=64)]


class NewPause(Record):
    """A pause to be made."""

    model_config = ConfigDict(extra="forbid")

    minutes: Annotated[float, Field(strict=True, ge=SHORTEST_S / 60, le=LONGEST_PAUSE_S / 60)]
    client: ClientName | None = None


class StepRecord(Record):
    """One consulted stage."""

    stage: str
    outcome: str
    detail: str | None = None
    elapsed_ms: float | None = None


class CheckRecord(Record):
    """What Second Look thinks of a subject, and why."""

    subject: str
    decision: str
    verdict: str
    risk: str
    stage: str
    list_: str | None = Field(alias="list")
    rule: str | None
    threat: str | None
    canonical: str | None
    expressions: list[str] | None
    stages: list[StepRecord]


class HostCount(Record):
    """One host and how many of its requests are meant."""

    host: str
    count: int


class BacktestRecord(Record):
    """What a rule, list or level would have changed."""

    examined: int
    matched: int  # blocked in addition
    hosts: list[HostCount]  # of these
    newly_allowed: int  # no longer blocked
    allowed_hosts: list[HostCount]  # of these


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


class Bar(Record):
    """Counts of one stretch of time."""

    time: Moment
    until: Moment
    checked: int
    blocked: int
    flagged: int


class NamedCount(Record):
    """A host, list or threat and how many checks it refused; `title` is what people call it."""

    name: str
    title: str
    count: int


class ClientCounts(Record):
    """Checks of one client."""

    client: str
    checked: int
    blocked: int
    flagged: int
    last_seen: Moment


class ClientStatus(ClientCounts):
    """Checks of one client, with its group."""

    group: str | None


class PauseRecord(Record):
    """A pause; without a client it is everybody's."""

    id: str
    client: str | None
    created: Moment
    until: Moment


class ClientRecord(Record):
    """One client: what holds for it, what was made for it, its latest blocks and flags."""

    client: str
    users: list[str]
    last_seen: Moment | None
    group: str | None
    policy: dict[str, str]
    rules: list[RuleRecord]
    exceptions: list[RuleRecord]
    pauses: list[PauseRecord]
    latest: list[EventRecord]


class ServerSpeed(Record):
    """Checks that asked a server: half, and 95 of 100, ended within so many ms; null: over 5 s."""

    name: str
    answers: int
    median_ms: int | None
    p95_ms: int | None


class Stretch(Record):
    """Which share of the looks at a server found it answering; null: nobody looked."""

    time: Moment
    until: Moment
    share: float | None


class Availability(Record):
    """Which share of the time a server answered (0 to 1), as far as this proxy ran, and in each stretch."""

    name: str
    share: float
    course: list[Stretch]


class WaySpeed(ServerSpeed):
    """Checks that were decided here (local), by a cached answer (cached) or by asking (asked).

    `spread`: shares of those that took up to 1, 10, 100, 1000 ms, and longer.
    """

    spread: list[float]


class GatewayCounts(Record):
    """Checks that one gateway asked for."""

    gateway: str
    checked: int
    blocked: int
    flagged: int


class Statistics(Record):
    """What happened in a range of time, to everybody or to one client."""

    range: str
    client: str | None
    since: Moment
    checked: int
    blocked: int
    flagged: int
    bars: list[Bar]
    clients: list[ClientCounts]
    hosts: list[NamedCount]
    lists: list[NamedCount]
    threats: list[NamedCount]
    gateways: list[GatewayCounts]
    servers: list[ServerSpeed]
    ways: list[WaySpeed]
    availability: list[Availability]
    assessing: bool  # what is named would have been blocked
