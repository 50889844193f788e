"""Clients: who asks through the proxy, what holds for each, and what became of its checks, as data."""

from collections.abc import Iterable
from typing import Final

from secondlook.core.rules.client import names_client, network_of
from secondlook.core.rules.rule import Pause, Rule
from secondlook.ground.instant import rfc3339
from secondlook.ledger.ledger import EventFilter, Ledger
from secondlook.ledger.log.counting import DAY_S
from secondlook.ledger.log.shape import pause_json, rule_json
from secondlook.ledger.log.statistics import Statistics
from secondlook.review.operations.statistics import RANGES, client_counts
from secondlook.review.program import Json

MOST: Final = 250
_EVENTS: Final = 200  # the latest of a client, in which its users are looked for


def listing(figures: Statistics, chosen: str, now: float) -> list[Json]:
    """Return the clients of a range of time, the one seen last first; blocks."""
    ranged = RANGES[chosen]
    found = client_counts(figures, ranged.step_s, ranged.begin(now), MOST)
    return sorted(found, key=lambda each: str(each["last_seen"]), reverse=True)


def facts(ledger: Ledger, client: str, now: float) -> Json:
    """Return what the ledger has of one client: users, when it was last seen, what was made for it; blocks.

    `rules` and `pauses` hold those that name it, its network or one of its users, while they are in force;
    `exceptions` are the rules that it made for itself.
    """
    latest = ledger.events.page(EventFilter(client=client), limit=_EVENTS).events
    users = sorted({event.user for event in latest if event.user})
    who = [client, *users]
    ages = ledger.statistics.clients(DAY_S, 0.0, only=client, limit=1)
    rules = [rule for rule in ledger.rules.all() if _names(rule.client, client, users) and _lasts(rule, now)]
    return {
        "client": client,
        "users": [user for user in users if user != client],
        "last_seen": rfc3339(ages[0].last_seen if ages else latest[0].time if latest else None),
        "rules": [rule_json(rule) for rule in rules if rule.source != "override"],
        "exceptions": [rule_json(rule) for rule in rules if rule.source == "override"],
        "pauses": [pause_json(pause) for pause in _in_force(ledger.snapshots.pauses(), who, now)],
    }


def _names(name: str | None, client: str, users: Iterable[str]) -> bool:
    if name is None:
        return False
    address = client if network_of(client) is not None else None
    known = [*users, client] if address is None else [*users, None]
    return any(names_client(name, address, user) for user in known)


def _lasts(rule: Rule, now: float) -> bool:
    return rule.expires is None or rule.expires > now


def _in_force(pauses: Iterable[Pause], who: list[str], now: float) -> list[Pause]:
    client, *users = who
    return [
        pause
        for pause in pauses
        if pause.created <= now < pause.until
        and (pause.client is None or _names(pause.client, client, users))
    ]
