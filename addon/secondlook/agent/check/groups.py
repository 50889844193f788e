"""Who a client is: groups with their own policy, and pauses for one client.

A client is named by its IP address, a network it lies in, or its user name.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from secondlook.core.rules.client import names_client
from secondlook.core.rules.policy import BLOCKED, Policy
from secondlook.core.rules.rule import Pause
from secondlook.core.verdict import Risk


@dataclass(frozen=True, slots=True)
class ClientGroup:
    """Clients that share a policy of their own."""

    name: str
    networks: tuple[str, ...]
    users: tuple[str, ...]
    policy: Policy


class Policies:
    """The common policy, and those of groups: a user's group first, then the first that holds the address."""

    __slots__ = ("_groups", "_known", "common")

    def __init__(self, common: Policy, groups: Sequence[ClientGroup] = ()) -> None:
        self.common = common
        self._groups = tuple(groups)
        self._known: dict[tuple[str | None, str | None], Policy] = {}

    @property
    def grouped(self) -> bool:
        """Whether clients differ at all."""
        return bool(self._groups)

    def of(self, client: str | None, user: str | None) -> Policy:
        """Find the policy for one client and user."""
        if not self._groups:
            return self.common
        key = (client, user)
        known = self._known.get(key)
        if known is None:
            if len(self._known) >= _MOST_KNOWN_CLIENTS:
                self._known.clear()
            known = self._known[key] = self._find(client, user)
        return known

    def others_are_stricter(self, client: str | None, user: str | None) -> bool:
        """Return whether some group is kept from more than a client is."""
        if not self._groups:
            return False
        blocked = BLOCKED[self.of(client, user).level]
        return any(
            not BLOCKED[each.level] <= blocked for each in (self.common, *(g.policy for g in self._groups))
        )

    def anybody_blocks(self, risk: Risk) -> bool:
        """Return whether a listed subject of this risk is blocked for some client at least."""
        return any(policy.blocks(risk) for policy in (self.common, *(group.policy for group in self._groups)))

    def may_block(self, risk: Risk, client: str | None) -> bool:
        """Return whether a listed subject of this risk may be blocked for a client; its user is not known."""
        if client is None:
            return self.anybody_blocks(risk)
        of_users = (group.policy for group in self._groups if group.users)
        return any(policy.blocks(risk) for policy in (self.of(client, None), *of_users))

    def _find(self, client: str | None, user: str | None) -> Policy:
        for group in self._groups:
            if user is not None and user in group.users:
                return group.policy
        for group in self._groups:
            if client is not None and any(names_client(name, client, None) for name in group.networks):
                return group.policy
        return self.common


_MOST_KNOWN_CLIENTS = 10_000


def pause_for(pauses: Iterable[Pause], client: str | None, user: str | None, now: float) -> Pause | None:
    """Find the pause in force for a client: the one that lasts longest."""
    found: Pause | None = None
    for pause in pauses:
        if not pause.created <= now < pause.until:
            continue
        if pause.client is not None and not names_client(pause.client, client, user):
            continue
        if found is None or pause.until > found.until:
            found = pause
    return found
