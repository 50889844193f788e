"""TLS that is passed through for a while, recorded as events, by which every process knows of it.

| kind | why | for whom | holds for |
|---|---|---|---|
| `action` | a program refused our certificate again and again | a client | `passthrough.learn.duration` |
| `overridden` | somebody let an origin's TLS pass | client and user | `policy.override.duration` |

Such an event has this stage, a client and a host; it holds from its time on, by the settings of its reader.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from secondlook.core.event import Event, EventKind

PASSTHROUGH: Final = "passthrough"  # the stage of the event
ORIGIN_TLS: Final = "tls"  # of an error: an origin's TLS cannot be opened, and passing it through would help
KINDS: Final = (EventKind.ACTION, EventKind.OVERRIDDEN)
LOOK_EVERY_S: Final = 0.5  # every worker looks for what others recorded


@dataclass(frozen=True, slots=True)
class Lasting:
    """How long passages last (s), learned ones and those that a client makes; 0: there are none."""

    learned_s: float = 0.0
    excepted_s: float = 0.0

    @property
    def longest_s(self) -> float:
        """How far back an event may lie that still holds."""
        return max(self.learned_s, self.excepted_s)

    def of(self, kind: EventKind) -> float:
        """Return how long a passage of this kind lasts."""
        return self.learned_s if kind is EventKind.ACTION else self.excepted_s


@dataclass(frozen=True, slots=True)
class Passage:
    """A host whose TLS is not opened for a client (and the user it is logged in as); Unix seconds."""

    kind: EventKind
    client: str
    user: str | None
    host: str
    since: float
    until: float


def passage_of(event: Event, lasting: Lasting) -> Passage | None:
    """Return the exception that an event records, in force or past."""
    if event.stage != PASSTHROUGH or event.kind not in KINDS or not event.client or not event.host:
        return None
    until = event.time + lasting.of(event.kind)
    return Passage(event.kind, event.client, event.user, event.host, event.time, until)


def passages(events: Iterable[Event], lasting: Lasting, now: float) -> list[Passage]:
    """Return what is in force by some events, in any order; the one that ends first comes first."""
    last: dict[tuple[object, ...], Passage] = {}
    for event in events:
        if (found := passage_of(event, lasting)) is None:
            continue
        whose = found.kind, found.client, found.user, found.host
        if whose not in last or last[whose].since < found.since:
            last[whose] = found
    return sorted((each for each in last.values() if now < each.until), key=lambda each: each.until)
