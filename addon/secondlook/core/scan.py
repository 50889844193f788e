"""What engines report that look into files, and what it means: detections, and why there was no answer.

An engine that answers gives detections, or none; one that does not gives its `fault`, and the file is then
unverifiable. An engine that was not asked to look at such a file (`skipped`) leaves nothing open.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

from secondlook.core.verdict import SEVERITY, Risk, Threat

CLAMD: Final = "clamd"
YARA: Final = "yara"
ENGINES: Final = frozenset({CLAMD, YARA})
SIGNATURE_CHARS: Final = 200
MOST_DETECTIONS: Final = 50  # of one engine in one file

_RISKS: Final = {
    "dangerous": Risk.DANGEROUS,
    "critical": Risk.DANGEROUS,
    "high": Risk.DANGEROUS,
    "highly_suspicious": Risk.HIGHLY_SUSPICIOUS,
    "medium": Risk.HIGHLY_SUSPICIOUS,
    "suspicious": Risk.SUSPICIOUS,
    "low": Risk.SUSPICIOUS,
    "informational": Risk.SUSPICIOUS,
    "info": Risk.SUSPICIOUS,
}
_SURE_SCORE: Final = 75  # of 100, as the scanners count that rules with scores are written for
_LIKELY_SCORE: Final = 60
_SCORE_OF_TEN: Final = 10
_FAMILIES: Final = ("family", "malware_family", "malware", "threat_name")
_THREATS: Final = {threat.value: threat for threat in Threat}
_LIMITS: Final = "Heuristics.Limits.Exceeded"
_UNOFFICIAL: Final = ".UNOFFICIAL"  # of every signature that is not ClamAV's own
_NO_WORD: Final = re.compile(r"[^a-z]+")


@dataclass(frozen=True, slots=True)
class Detection:
    """One signature that fits a file; `member` is where inside it, `family` what it is called."""

    engine: str
    signature: str
    risk: Risk
    threat: Threat = Threat.MALWARE
    family: str | None = None
    member: str | None = None

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Self:
        """Make one of its fields as JSON has them."""
        return cls(**{**fields, "risk": Risk(fields["risk"]), "threat": Threat(fields["threat"])})


@dataclass(frozen=True, slots=True)
class EngineReport:
    """What one engine reports about one file.

    `version` names the engine with its signatures: the same file gives the same under the same version.
    `signatures_at` is when they were made (Unix seconds); `remembered`: it was looked at before, and that was
    kept at `kept_at`.
    """

    engine: str
    version: str | None = None
    detections: tuple[Detection, ...] = ()
    fault: str | None = None
    skipped: str | None = None
    elapsed_ms: float | None = None
    signatures_at: float | None = None
    remembered: bool = False
    kept_at: float | None = None

    @property
    def lasting(self) -> bool:
        """Whether the same file would give the same again."""
        return self.fault is None and self.skipped is None and self.version is not None


def worst(reports: Iterable[EngineReport]) -> tuple[Detection, EngineReport] | None:
    """Find the worst of all detections, with the report it stands in."""
    found = [(detection, report) for report in reports for detection in report.detections]
    return min(found, key=lambda one: SEVERITY[one[0].risk], default=None)


def fault_of(reports: Iterable[EngineReport]) -> str | None:
    """Return which engines gave no answer, and why; None where all did."""
    return (
        "; ".join(f"{report.engine}: {report.fault}" for report in reports if report.fault is not None)
        or None
    )


def from_clamav(signature: str) -> Detection | None:
    """Make a detection of a name that clamd gives; None where it only could not look at all."""
    name = signature.removesuffix(_UNOFFICIAL)[:SIGNATURE_CHARS]
    if name.startswith(_LIMITS):
        return None
    risk, threat = Risk.DANGEROUS, Threat.MALWARE
    if name.startswith("PUA."):
        risk, threat = Risk.SUSPICIOUS, Threat.UNWANTED_SOFTWARE
    elif name.startswith("Heuristics."):
        risk = Risk.SUSPICIOUS
    if "Phishing" in name.split("."):
        threat = Threat.SOCIAL_ENGINEERING
    return Detection(CLAMD, name, risk, threat)


def from_yara(
    identifier: str, metadata: Mapping[str, object], tags: Sequence[str] = (), *, member: str | None = None
) -> Detection:
    """Make a detection of a YARA rule that fits, by what its metadata state."""
    family = next((str(metadata[key])[:SIGNATURE_CHARS] for key in _FAMILIES if metadata.get(key)), None)
    named = str(metadata.get("threat", "")).lower()
    unwanted = any(tag.lower() in {"pua", "pup"} for tag in tags)
    threat = _THREATS.get(named, Threat.UNWANTED_SOFTWARE if unwanted else Threat.MALWARE)
    return Detection(YARA, identifier[:SIGNATURE_CHARS], _risk_of(metadata), threat, family, member)


def _risk_of(metadata: Mapping[str, object]) -> Risk:
    for key in ("risk", "severity"):
        value = metadata.get(key)
        if isinstance(value, str):
            known = _RISKS.get(_NO_WORD.sub("_", value.strip().lower()))
            if known is not None:
                return known
    for key in ("score", "severity"):
        score = _number(metadata.get(key))
        if score is not None:
            score = score * 10 if key == "severity" and score <= _SCORE_OF_TEN else score
            if score >= _SURE_SCORE:
                return Risk.DANGEROUS
            return Risk.HIGHLY_SUSPICIOUS if score >= _LIKELY_SCORE else Risk.SUSPICIOUS
    return Risk.HIGHLY_SUSPICIOUS


def _number(value: object) -> float | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return float(value)
    if isinstance(value, str) and value.strip().isdecimal():
        return float(value)
    return None
