"""The chart of the overview: what each hour's bar is made of, in the units of its drawing."""

from collections.abc import Sequence

from secondlook.review.program import Json

BAR_STEP = 10
HEIGHT = 100
LEAST = 1.5  # a single block among thousands must still be seen


def chart(hours: Sequence[Json]) -> list[Json]:
    """Return one bar an hour: blocked below, flagged on it, the rest above, scaled to the busiest hour.

    Each has `x`, the `hour` itself, and `parts` (kind, y, height) from below; y counts downwards.
    """
    most = max((hour["checked"] for hour in hours), default=0) or 1
    bars = []
    for index, hour in enumerate(hours):
        counts = {
            "blocked": hour["blocked"],
            "flagged": hour["flagged"],
            "allowed": max(hour["checked"] - hour["blocked"] - hour["flagged"], 0),
        }
        parts, foot = [], float(HEIGHT)
        for kind, count in counts.items():
            height = max(count / most * HEIGHT, LEAST) if count else 0.0
            foot -= height
            parts.append({"kind": kind, "y": round(max(foot, 0.0), 2), "height": round(height, 2)})
        bars.append({"x": index * BAR_STEP + 1, "hour": hour, "parts": parts})
    return bars
