"""Statistics of servers: how long checks took, by the way they went, and when each server answered."""

from collections.abc import Mapping, Sequence
from typing import Final

from secondlook.ground.instant import rfc3339
from secondlook.ledger.log.counting import ASKED, CACHED, LOCAL, WITHIN_MS
from secondlook.ledger.log.statistics import Looks
from secondlook.review.program import Json

MEDIAN, MOST = 0.5, 0.95
SPREAD_MS: Final = (1, 10, 100, 1000)
"""Bounds of what is drawn: up to each of them, and longer."""


def ways(found: Mapping[str, Mapping[str, int]]) -> list[Json]:
    """Return the ways that checks went, in this order: decided here, by a cached answer, by asking."""
    return [
        {**speed(way, found[way]), "spread": _spread(found[way])}
        for way in (LOCAL, CACHED, ASKED)
        if way in found
    ]


def speed(name: str, classes: Mapping[str, int]) -> Json:
    """Return within how many ms half and nearly all checks ended; None: longer than is counted."""
    answers = sum(classes.values())
    return {
        "name": name,
        "answers": answers,
        "median_ms": _within(classes, MEDIAN * answers),
        "p95_ms": _within(classes, MOST * answers),
    }


def _within(classes: Mapping[str, int], wanted: float) -> int | None:
    reached = 0
    for bound in WITHIN_MS:
        reached += classes.get(str(bound), 0)
        if reached >= wanted:
            return bound
    return None


def _spread(classes: Mapping[str, int]) -> list[float]:
    counts = [0] * (len(SPREAD_MS) + 1)
    for within, count in classes.items():
        at = len(SPREAD_MS)
        if within.isdecimal():
            at = sum(bound < int(within) for bound in SPREAD_MS)
        counts[at] += count
    return [round(count / sum(counts), 4) for count in counts]


def availability(found: Sequence[Looks], since: float, bar_s: int, bars: int) -> list[Json]:
    """Return for each server that was looked at the `share` of looks that found it answering.

    `course` has the same for each of `bars` stretches of `bar_s` seconds from `since` on.
    """
    counts: dict[str, list[list[int]]] = {}
    for each in found:
        at = int((each.at - since) // bar_s)
        if at < bars:
            stretch = counts.setdefault(each.server, [[0, 0] for _ in range(bars)])[at]
            stretch[0] += each.answered
            stretch[1] += each.looks
    return [_available(name, stretches, since, bar_s) for name, stretches in counts.items()]


def _available(name: str, stretches: Sequence[Sequence[int]], since: float, bar_s: int) -> Json:
    course = [
        {
            "time": rfc3339(since + at * bar_s),
            "until": rfc3339(since + (at + 1) * bar_s),
            "share": round(answered / looks, 4) if looks else None,
        }
        for at, (answered, looks) in enumerate(stretches)
    ]
    answered, looks = (sum(column) for column in zip(*stretches, strict=True))
    return {"name": name, "share": round(answered / looks, 6), "course": course}
