"""A chart of the statistics: what each bar is made of, and the figures of its axis, in units of its drawing.

Heights grow with the square root of the counts: one busy hour does not flatten the others, and a few blocks
among many checks are seen.
"""

from collections.abc import Sequence
from math import sqrt
from typing import Final

from secondlook.review.program import Json

BAR_STEP: Final = 10
HEIGHT: Final = 100
LEAST: Final = 1.5  # a single block among a million must still be seen
_ROUND: Final = (2, 4, 8, 20)  # a quarter of each, times a power of ten, is round too


def chart(bars: Sequence[Json]) -> Json:
    """Return `bars` (x, the `bar` itself, `parts` from below: kind, y, height), `top`, `quarter` and `width`.

    In each bar the blocked are below, the flagged on them, the rest above. y counts downwards. The figure
    `top` stands at the upper edge, and a quarter of it half-way.
    """
    top = _round_up(max((bar["checked"] for bar in bars), default=0))
    drawn = [{"x": at * BAR_STEP, "bar": bar, "parts": _parts(bar, top)} for at, bar in enumerate(bars)]
    return {"bars": drawn, "top": top, "quarter": top // 4 or None, "width": len(bars) * BAR_STEP}


def _parts(bar: Json, top: int) -> list[Json]:
    counts = {
        "blocked": bar["blocked"],
        "flagged": bar["flagged"],
        "allowed": max(bar["checked"] - bar["blocked"] - bar["flagged"], 0),
    }
    parts, below, foot = [], 0, float(HEIGHT)
    for kind, count in counts.items():
        if not count:
            continue
        below += count
        head = max(min(HEIGHT - sqrt(below / top) * HEIGHT, foot - LEAST), 0.0)
        parts.append({"kind": kind, "y": round(head, 2), "height": round(foot - head, 2)})
        foot = head
    return parts


def _round_up(most: int) -> int:
    """Return the next figure with few digits."""
    scale = 1
    while True:
        for figure in _ROUND:
            if figure * scale >= most:
                return figure * scale
        scale *= 10
