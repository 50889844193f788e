"""Operator rules as records. Matching them is `core.rules.rulebook`."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal

SHORTEST_S: Final = 1.0  # of a timed rule or a pause: less is over before it is in force
LONGEST_RULE_S: Final = 10 * 365 * 86_400.0
LONGEST_PAUSE_S: Final = 7 * 86_400.0


class Scope(StrEnum):
    """What part of a URL (or which file) a rule is about; strongest first."""

    SHA256 = "sha256"
    URL = "url"
    PREFIX = "prefix"
    HOST = "host"  # written `=host`: this host alone
    DOMAIN = "domain"  # written `host`: the host and its subdomains
    REGEX = "regex"


SET_BACK_S = 60.0  # by which the clocks of several machines may differ, and are set right all the time


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule. `subject` is the normal form: hex digest, canonical URL, host or regular expression."""

    id: str
    action: Literal["allow", "block"]
    scope: Scope
    subject: str
    client: str | None  # IP address, network, or user; None: everybody
    reason: str | None
    created: float
    expires: float | None
    hits: int = 0
    source: str = "operator"  # operator | override | quarantine | config


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """Protection switched off for a while, for everybody or one client."""

    id: str
    client: str | None
    created: float
    until: float
