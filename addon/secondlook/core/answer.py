"""Answers of Smart Protection Servers about 4-byte prefixes; also what the cache keeps."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from secondlook.core.verdict import Risk, Threat

MOST_PREFIXES: Final = 1000  # in one request, by the protocol
MIN_EXPIRY_S: Final = 10.0  # how long a server's answer may hold at the least, and at the most
MAX_EXPIRY_S: Final = 86_400.0
EMBEDDED: Final = "embedded"  # what the server inside the program is called
GOOGLE: Final = "google"  # as a source to be credited
GOOGLE_FRESH_S: Final = 1800.0  # Google's conditions of use: older data may not block


class Tier(StrEnum):
    """Groups of servers (query process, "Asking the servers")."""

    LOCAL = "local"
    INTRANET = "intranet"
    NETWORK = "network"


@dataclass(frozen=True, slots=True)
class ListedHash:
    """One full hash (32 bytes) that a server lists, with one threat and one risk.

    `frames_only`: enforced on pages and frames, never on what they load (attribute FRAME_ONLY).
    """

    full_hash: bytes
    threat: Threat
    risk: Risk
    list: str | None = None
    feeds: tuple[str, ...] = ()
    family: str | None = None
    first_seen: float | None = None
    frames_only: bool = False


@dataclass(frozen=True, slots=True)
class PrefixAnswer:
    """All that one tier lists under one asked prefix; empty `listed` is an answer too.

    `stored_at` and `expires_at` are Unix seconds; `server` answered, `source` is to be credited
    ("google" or the server's name).
    """

    listed: tuple[ListedHash, ...]
    stored_at: float
    expires_at: float
    server: str
    source: str


@dataclass(frozen=True, slots=True)
class Attempt:
    """One request to one server, as shown in the explanation."""

    server: str
    outcome: str  # answered | timeout | refused | status 500 | bad answer: … | circuit open
    elapsed_ms: float


@dataclass(frozen=True, slots=True)
class TierAnswer:
    """The outcome of asking one tier: an answer for every asked prefix, or the reason why there is none."""

    tier: Tier
    answers: dict[bytes, PrefixAnswer]
    attempts: tuple[Attempt, ...] = ()
    error: str | None = None  # set when some prefix stayed unanswered
