"""The other servers of a tier: compared with the one whose lists are used, reported when they differ.

```
equal ──differs──► suspected ──still differs at the next look──► alert
  ▲                    │                                           │
  └──────equal─────────┴───────────────────equal───────────────────┘
```

Servers that are fed alike publish at slightly different moments, so one look alone proves nothing.
A server that cannot be asked, or has nothing to serve yet, changes nothing: its circuit reports that.
"""

from collections.abc import Mapping
from typing import Protocol

from secondlook.agent.pattern.alerts import PatternAlerts
from secondlook.agent.pattern.files import Stamp
from secondlook.core.lists.name import parse_list_name
from secondlook.wire import safebrowsing_pb2 as pb

MIN_WIDTH = 8  # bytes: shorter lists are derived from these
MOST_NAMED = 5


class ComparedServer(Protocol):
    """What is asked of another member."""

    async def hash_lists(self) -> list[pb.HashList]:
        """Return every list with its checksum."""

    async def generation(self) -> str | None:
        """Return the generation that is served, None while there is nothing to serve."""


class Members:
    """What is known of the members of tiers whose lists are not used."""

    def __init__(self, alerts: PatternAlerts) -> None:
        self._alerts = alerts
        self._suspected: dict[str, frozenset[str]] = {}

    def is_suspected(self, name: str) -> bool:
        """Return whether a member differed at the last look and no alert was raised yet."""
        return bool(self._suspected.get(name)) and f"differs {name}" not in self._alerts.in_force

    async def compare(self, name: str, client: ComparedServer, stamp: Stamp, used: str) -> None:
        """Look at a member; an alert when lists differ from those of `used` twice running, ended by itself.

        Raise ServiceError and PatternError for a member that does not answer.
        """
        ours = {each.name: each.sha256 for each in stamp.lists if each.server == used}
        if not ours:
            return  # nothing to compare with yet
        theirs = _checksums(await client.hash_lists())
        if not theirs and await client.generation() is None:
            return  # nothing published yet: that is no other content
        differing = frozenset(
            each for each in ours.keys() | theirs.keys() if ours.get(each) != theirs.get(each)
        )
        certain = sorted(differing & self._suspected.get(name, frozenset()))
        self._suspected[name] = differing
        if not differing:
            self.forget(name)
        elif certain:
            named = ", ".join(certain[:MOST_NAMED]) + (" …" if len(certain) > MOST_NAMED else "")
            self._alerts.alert(
                f"differs {name}",
                f"the lists of {name} differ from those of {used}, which are used: {named}",
                server=name,
            )

    def forget(self, name: str) -> None:
        """End the alert about a member: it is equal, its lists are the used ones, or it is one no more."""
        self._suspected.pop(name, None)
        self._alerts.clear(f"differs {name}")

    def keep(self, names: set[str]) -> None:
        """End the alerts about every server that is not among these."""
        for key in list(self._alerts.in_force):
            kind, _, name = key.partition(" ")
            if kind == "differs" and name not in names:
                self.forget(name)


def _checksums(described: list[pb.HashList]) -> Mapping[str, str]:
    found = {}
    for each in described:
        meaning = parse_list_name(each.name)
        if meaning is not None and meaning.width >= MIN_WIDTH and each.metadata.complete:
            found[each.name] = each.sha256_checksum.hex()
    return found
