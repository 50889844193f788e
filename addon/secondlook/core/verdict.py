"""What is known about a subject, how bad it is, and what is done about it.

Every value is the stable string stored in the ledger and shown in every interface (query process, "Words").
*Evidence* is what the stages of a check found; the policy turns it into a *Decision*.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from secondlook.ground.quickly import quickly_made


class Verdict(StrEnum):
    """What is known."""

    CLEAN = "clean"
    MALICIOUS = "malicious"
    SUSPICIOUS = "suspicious"
    UNKNOWN = "unknown"


class Risk(StrEnum):
    """The band of a verdict, worst first."""

    DANGEROUS = "dangerous"
    HIGHLY_SUSPICIOUS = "highly_suspicious"
    SUSPICIOUS = "suspicious"
    UNTESTED = "untested"
    SAFE = "safe"


SEVERITY: Final = {risk: place for place, risk in enumerate(Risk)}  # 0 is the worst


class Threat(StrEnum):
    """Kinds of threat, named after the Safe Browsing v5 threat types."""

    MALWARE = "malware"
    SOCIAL_ENGINEERING = "social_engineering"
    UNWANTED_SOFTWARE = "unwanted_software"
    POTENTIALLY_HARMFUL = "potentially_harmful_application"


class Action(StrEnum):
    """What is done."""

    ALLOW = "allow"
    BLOCK = "block"
    FLAG = "flag"


class Stage(StrEnum):
    """Where in the order of stages a decision fell."""

    ACCESS = "access"  # closed to this client whatever it asks for (loopback, metadata, own pages)
    PAUSED = "paused"
    RULES = "rules"
    CONFIRMED = "confirmed"
    PATTERN = "pattern"
    KNOWN_GOOD = "known_good"
    CACHE = "cache"
    SCAN = "scan"  # engines that look into the file
    QUERY = "query"
    UNVERIFIABLE = "unverifiable"
    MALFORMED = "malformed"
    LEDGER = "ledger"  # a flag that nothing could store: refused


class SubjectClass(StrEnum):
    """What a subject is used for; decides what `policy.unverifiable` does."""

    PAGE = "page"
    SUBRESOURCE = "subresource"
    DOWNLOAD = "download"
    MALFORMED = "malformed"


@dataclass(frozen=True, slots=True)
class Step:
    """One consulted stage, in the words shown to a person."""

    stage: Stage
    outcome: str  # miss | hit | listed | not_listed | expired | skipped | failed | unverifiable
    detail: str | None = None
    elapsed_ms: float | None = None


@quickly_made
@dataclass(frozen=True, slots=True)
class Evidence:
    """What the stages found, before any policy.

    `unverifiable` holds the reason when nobody could answer; the verdict is then UNKNOWN.
    `hit` is the full hash (32 bytes) that decided and `expression` the form of the URL it stands for.
    """

    verdict: Verdict
    risk: Risk
    stage: Stage
    threat: Threat | None = None
    list: str | None = None
    rule: str | None = None
    server: str | None = None
    source: str | None = None  # who must be credited: a server's name, or "google"
    tier: str | None = None  # value of core.answer.Tier: who listed it
    expires_at: float | None = None  # Unix seconds: the evidence holds until then
    list_age_s: float | None = None
    stale: bool = False
    hit: bytes | None = None
    expression: str | None = None
    unverifiable: str | None = None
    allowed_by_rule: bool = False
    blocked_by_rule: bool = False
    attempts: int = 0
    detail: str | None = None
    steps: tuple[Step, ...] = ()


@quickly_made
@dataclass(frozen=True, slots=True)
class Decision:
    """What is done, and everything needed to explain it afterwards.

    In assessment mode and while paused `action` is what is enforced (allow or flag) and
    `would_block`: it would have been a block.
    """

    action: Action
    evidence: Evidence
    elapsed_ms: float = 0.0
    would_block: bool = False
    reason: str | None = None  # one sentence in plain words
    event_id: str | None = None  # of the event that records it, once settled
