"""Records of counts over time, and of servers' speed and availability."""

from secondlook.review.api.record import Moment, Record


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
