"""What a check of `doctor` finds."""

from dataclasses import dataclass
from typing import Literal

NETWORK_TIMEOUT_S = 5.0  # for an answer from anybody who is asked


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What one check found: `ok`, `problem` (with what to do), or `unknown` when it could not look."""

    check: str
    result: Literal["ok", "problem", "unknown"]
    text: str
    remedy: str | None = None
