"""Records of rules and pauses, and of checks and what a rule would change."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, StringConstraints

from secondlook.core.rules.rule import LONGEST_PAUSE_S, LONGEST_RULE_S, SHORTEST_S
from secondlook.review.api.record import ClientName, Moment, Record, SubjectText

type RuleSource = Literal["operator", "override", "quarantine", "config"]


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


class Resumed(Record):
    """Whose pause is to end; nobody named: every pause."""

    model_config = ConfigDict(extra="forbid")

    client: ClientName | None = None


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


class PauseRecord(Record):
    """A pause; without a client it is everybody's."""

    id: str
    client: str | None
    created: Moment
    until: Moment
