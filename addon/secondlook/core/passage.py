"""TLS that is passed through for a while, because a program refused our certificate; told by events.

Such an event is an `action` with this stage, a client and a host; it holds from its time on for the
`passthrough.learn.duration` of whoever reads it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from secondlook.core.event import Event

PASSTHROUGH: Final = "passthrough"  # the stage of the event


@dataclass(frozen=True, slots=True)
class Passage:
    """A host whose TLS is not opened for a client; Unix seconds."""

    client: str
    host: str
    since: float
    until: float


def passages(events: Iterable[Event], duration_s: float, now: float) -> list[Passage]:
    """Give what is in force by some events, in any order; the one that ends first comes first."""
    last: dict[tuple[str, str], float] = {}
    for event in events:
        if event.stage == PASSTHROUGH and event.client and event.host:
            pair = event.client, event.host
            last[pair] = max(event.time, last.get(pair, event.time))
    found = [Passage(*pair, since, since + duration_s) for pair, since in last.items()]
    return sorted((each for each in found if now < each.until), key=lambda each: each.until)
