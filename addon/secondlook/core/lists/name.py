"""What a list's name means: threat, risk, kind of subject and width (contract, "Smart Protection Server").

`[x-file-]THREAT[-hs|-s]-WIDTHb` is a list of what is bad (`mw-8b`, `se-hs-8b`, `x-file-mw-s-8b`), and
`[x-file-]gc-32b` one of what is known to be good. The 4-byte ones are Safe Browsing's own.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from secondlook.core.subject import SubjectKind
from secondlook.core.verdict import Risk, Threat


class Role(StrEnum):
    """What a hit in a list means."""

    BLOCK = "block"  # the list decides alone
    QUERY = "query"  # a reason to ask a server, no more
    KNOWN_GOOD = "known_good"


@dataclass(frozen=True, slots=True)
class ListName:
    """The meaning of a list's name; `width` in bytes."""

    name: str
    kind: SubjectKind
    role: Role
    threat: Threat | None
    risk: Risk
    width: int


THREATS: Final = {
    "mw": Threat.MALWARE,
    "mwb": Threat.MALWARE,
    "se": Threat.SOCIAL_ENGINEERING,
    "uws": Threat.UNWANTED_SOFTWARE,
    "uwsa": Threat.UNWANTED_SOFTWARE,
    "pha": Threat.POTENTIALLY_HARMFUL,
}
RISKS: Final = {None: Risk.DANGEROUS, "hs": Risk.HIGHLY_SUSPICIOUS, "s": Risk.SUSPICIOUS}

# Public lists of Safe Browsing v5 that we never fill, by width.
OTHER_PUBLIC: Final = {
    "uwsa-4b": 4,
    "pha-4b": 4,
    "mwb-4b": 4,
    "bi-4b": 4,
    "srf-4b": 4,
    "sus-4b": 4,
    "test-4b": 4,
    "mcrx-16b": 16,
    "csda-32b": 32,
    "csdda-32b": 32,
    "test-32b": 32,
}

_NAME: Final = re.compile(r"(x-file-)?([a-z]+)(?:-(hs|s))?-(4|8|16|32)b")


def parse_list_name(name: str) -> ListName | None:
    """Return what the name of a list means, or None for a name that follows no rule we know."""
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    file, stem, band, digits = match.groups()
    kind = SubjectKind.FILE if file else SubjectKind.URL
    width = int(digits)
    if stem == "gc":
        good = band is None and width == 32  # noqa: PLR2004 (bytes: a short prefix could be forged)
        return ListName(name, kind, Role.KNOWN_GOOD, None, Risk.SAFE, width) if good else None
    threat = THREATS.get(stem)
    if threat is None:
        return None
    role = Role.QUERY if width == 4 else Role.BLOCK  # noqa: PLR2004 (bytes)
    return ListName(name, kind, role, threat, RISKS[band], width)


def list_name(kind: SubjectKind, threat: Threat, risk: Risk, width: int = 8) -> str:
    """The name of our list of that kind, threat and risk. Raise ValueError where there is none."""
    bands = {meaning: band for band, meaning in RISKS.items()}
    if risk not in bands:
        raise ValueError(f"no list holds entries of risk {risk}")
    stem = next(stem for stem, meaning in THREATS.items() if meaning is threat)
    prefix = "x-file-" if kind is SubjectKind.FILE else ""
    middle = f"-{bands[risk]}" if bands[risk] else ""
    return f"{prefix}{stem}{middle}-{width}b"
