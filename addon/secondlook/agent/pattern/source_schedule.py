"""Which server of each tier is looked at, and when: one is in use, another takes over where it fails.

```
in use ──fails three times running──► whichever of the tier is due first ──its lists are in force──► in use
```

It takes over with what of its lists is good where the one before is away, and only with lists that are all
good where that one answers and is refused (`another_answers`).
"""

from collections.abc import Callable, Collection, Sequence
from random import random

from secondlook.agent.pattern.source import GOOGLE_START_S, UpdateSchedule, UpdateSource
from secondlook.core.answer import Tier

FAILURES_TO_SWITCH = 3
SHORTEST_S = 1.0  # between two looks at what is due


class SourceSchedule:
    """The sources, and the pace of each; `monotonic` is the clock, `poll_s` the longest rest."""

    def __init__(
        self,
        sources: Sequence[UpdateSource],
        monotonic: Callable[[], float],
        *,
        poll_s: float,
        reachable: Callable[[Tier], bool],
    ) -> None:
        self.sources = list(sources)
        self._monotonic = monotonic
        self._poll_s = poll_s
        self.reachable = reachable
        self.paces: dict[str, UpdateSchedule] = {}

    def announced(self) -> None:
        """Take up that announcing servers have something new."""
        for source in self.sources:
            if source.announced:
                self.paces.pop(source.name, None)

    def pace(self, source: UpdateSource) -> UpdateSchedule:
        """Return the pace of a source."""
        return self.paces.setdefault(source.name, UpdateSchedule())

    def choose(self, tier: Tier, in_use: Collection[str]) -> UpdateSource | None:
        """Return the tier's source: the one in use; where it failed too often, whichever is due first."""
        members = [source for source in self.sources if source.tier is tier]
        if not members or not self.reachable(tier):
            return None
        members.sort(key=lambda source: source.name not in in_use)
        paces = [self.paces.get(source.name, UpdateSchedule()) for source in members]
        if paces[0].failures < FAILURES_TO_SWITCH:
            return members[0]
        return members[min(range(len(members)), key=lambda at: paces[at].due_at)]

    def is_due(self, source: UpdateSource, *, only_due: bool) -> bool:
        """Return whether a source is looked at now; Google's is never before its time."""
        if source.google and only_due and source.name not in self.paces:
            self.pace(source).due_at = self._monotonic() + GOOGLE_START_S * random()  # noqa: S311 - jitter
        return not (only_due or source.google) or self._monotonic() >= self.pace(source).due_at

    def plan(self, source: UpdateSource, pace: UpdateSchedule, *, failed: bool) -> None:
        """Choose when a source is looked at again."""
        pace.plan(source, self._monotonic(), self._poll_s, random(), failed=failed)  # noqa: S311 - jitter

    def look_soon(self, source: UpdateSource, within_s: float) -> None:
        """Look at a source again sooner than planned."""
        pace = self.pace(source)
        pace.due_at = min(pace.due_at, self._monotonic() + within_s)

    def another_answers(self, source: UpdateSource, in_use: Collection[str]) -> bool:
        """Return whether the tier's lists are those of another server, which was refused but is not away."""
        return any(
            each.tier is source.tier
            and each.name in in_use
            and each.name != source.name
            and each.name in self.paces
            and self.paces[each.name].refused
            for each in self.sources
        )

    def forget_refusals_of_others(self, used: UpdateSource) -> set[str]:
        """Forget that other members of the tier were refused; return the names of all sources but these."""
        others = {each.name for each in self.sources if each.tier is used.tier and each is not used}
        for name in others & self.paces.keys():
            self.paces[name].refused = False
        return {each.name for each in self.sources} - others

    def rest_s(self) -> float:
        """Return for how long nothing is due; what is out of reach is not looked at, however long it was."""
        now = self._monotonic()
        dues = [
            self.paces[each.name].due_at
            for each in self.sources
            if each.name in self.paces and self.reachable(each.tier)
        ]
        return min(self._poll_s, max(SHORTEST_S, min([due - now for due in dues], default=self._poll_s)))
