"""Statistics of a range of time, of everybody or of one client: what pages draw and the API returns."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Final

from secondlook.ground.instant import rfc3339
from secondlook.ledger.log.counting import DAY_S, HOST, HOUR_S, LIST, SERVER, SLOT_S, THREAT, WAY
from secondlook.ledger.log.statistics import Statistics
from secondlook.review.operations.servers import availability, speed, ways
from secondlook.review.program import Json

TOP: Final = 8


@dataclass(frozen=True, slots=True)
class Range:
    """A range of time: `bars` of `bar_s` seconds, up to the end of the `step_s` that now is in.

    Names are added up from shares of `step_s`.
    """

    words: str
    step_s: int
    bar_s: int
    bars: int

    def begin(self, now: float) -> float:
        """Return when it begins (Unix seconds)."""
        return now // self.step_s * self.step_s + self.step_s - self.bar_s * self.bars

    @property
    def drawn_s(self) -> int:
        """Step of the shares that a bar is added up from."""
        return self.bar_s if self.bar_s in (SLOT_S, DAY_S) else HOUR_S


RANGES: Final[Mapping[str, Range]] = {
    "1h": Range("hour", SLOT_S, SLOT_S, 12),
    "24h": Range("24 hours", HOUR_S, HOUR_S, 24),
    "7d": Range("7 days", DAY_S, 6 * HOUR_S, 28),
    "30d": Range("30 days", DAY_S, DAY_S, 30),
}
USUAL: Final = "24h"
_OF_EVERYBODY: Final[Json] = {"gateways": [], "servers": [], "ways": [], "availability": []}
"""What is not counted for one client."""


def gather(figures: Statistics, name: str, client: str | None, now: float, titles: Mapping[str, str]) -> Json:
    """Read the statistics; `titles` are people's words for lists. Blocks."""
    chosen = RANGES[name]
    since = chosen.begin(now)
    bars = _bars(figures, chosen, client, since, now)
    counts = {key: sum(bar[key] for bar in bars) for key in ("checked", "blocked", "flagged")}
    threats = figures.top(THREAT, chosen.step_s, since, client=client, limit=TOP)
    hosts = figures.top(HOST, chosen.step_s, since, client=client, limit=TOP)
    lists = figures.top(LIST, chosen.step_s, since, client=client, limit=TOP)
    return {
        "range": name,
        "client": client,
        "since": rfc3339(since),
        **counts,
        "bars": bars,
        "clients": [] if client is not None else client_counts(figures, chosen.step_s, since, TOP),
        "hosts": [_named(host, count) for host, count in hosts],
        "lists": [_named(each, count, titles.get(each, each)) for each, count in lists],
        "threats": [_named(threat, count) for threat, count in threats],
        **(_OF_EVERYBODY if client is not None else _of_everybody(figures, chosen, since, len(bars))),
    }


def _of_everybody(figures: Statistics, chosen: Range, since: float, bars: int) -> Json:
    speeds = sorted(figures.latency(SERVER, chosen.step_s, since).items())
    looks = figures.availability(chosen.drawn_s, since)
    gateways = figures.gateways(chosen.step_s, since, limit=TOP)
    return {
        "gateways": [asdict(each) for each in gateways],
        "servers": [speed(*each) for each in speeds],
        "ways": ways(figures.latency(WAY, chosen.step_s, since)),
        "availability": availability(looks, since, chosen.bar_s, bars),
    }


def client_counts(figures: Statistics, step_s: int, since: float, limit: int) -> list[Json]:
    """Return clients with most checks first; blocks."""
    return [
        {**asdict(each), "last_seen": rfc3339(each.last_seen)}
        for each in figures.clients(step_s, since, limit=limit)
    ]


def _bars(figures: Statistics, chosen: Range, client: str | None, since: float, now: float) -> list[Json]:
    tallied = client is None and chosen.bar_s != SLOT_S
    found = figures.hourly(since, now) if tallied else figures.course(chosen.drawn_s, since, client)
    bars: list[Json] = [
        {
            "time": rfc3339(since + at * chosen.bar_s),
            "until": rfc3339(since + (at + 1) * chosen.bar_s),
            "checked": 0,
            "blocked": 0,
            "flagged": 0,
        }
        for at in range(min(chosen.bars, int((now - since) // chosen.bar_s) + 1))
    ]
    for each in found:
        at = int((each.at - since) // chosen.bar_s)
        if at < len(bars):
            bar = bars[at]
            bar["checked"] += each.checked
            bar["blocked"] += each.blocked
            bar["flagged"] += each.flagged
    return bars


def _named(name: str, count: int, title: str | None = None) -> Json:
    return {"name": name, "title": title or name, "count": count}
