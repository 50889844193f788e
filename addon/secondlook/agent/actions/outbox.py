"""Findings to be reported: a file for each in the state folder, until a server has taken it.

Any process of the family, or a command, puts one there; the service sends it (`agent.actions.reporter`).
"""

import hashlib
import json
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from secondlook.core.verdict import Risk
from secondlook.ground.files import write_whole
from secondlook.ground.json_text import read_json
from secondlook.wire.finding import MAX_NAME_CHARS, MAX_SUBJECT_CHARS, MOST_FINDINGS, Finding

FOLDER = "reports"  # in the state folder
MOST_WAITING = 1000


class Outbox:
    """The findings of one state folder that no server has taken yet; its methods block."""

    def __init__(self, state: Path) -> None:
        self._folder = state / FOLDER

    def put(self, finding: Finding) -> bool:
        """Keep a finding until it was reported; False where too many wait already, or it is too long to be.

        The same subject again takes the place of what waits. Raises OSError.
        """
        if len(finding.subject) > MAX_SUBJECT_CHARS:
            return False
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        name = f"{hashlib.sha256(finding.subject.encode()).hexdigest()[:32]}.json"
        if not (self._folder / name).exists() and sum(1 for _ in self._paths()) >= MOST_WAITING:
            return False
        write_whole(self._folder / name, json.dumps(asdict(finding)).encode(), private=True)
        return True

    def waiting(self) -> dict[Path, Finding]:
        """Return what waits, as much as one report takes; what cannot be read is removed."""
        found: dict[Path, Finding] = {}
        for path in sorted(self._paths()):
            if len(found) == MOST_FINDINGS:
                break
            with suppress(FileNotFoundError):
                try:
                    raw = read_json(path.read_bytes())
                    found[path] = Finding(**{**raw, "risk": Risk(raw["risk"])})
                except (ValueError, TypeError, KeyError):
                    path.unlink(missing_ok=True)
        return found

    def drop(self, reported: dict[Path, Finding]) -> None:
        """Remove what was reported."""
        for path in reported:
            path.unlink(missing_ok=True)

    def _paths(self) -> list[Path]:
        return [path for path in self._folder.glob("*.json") if not path.name.startswith(".")]


def finding_of(subject: str, *, name: str, engine: str, risk: Risk = Risk.DANGEROUS) -> Finding:
    """Make a finding whose texts a report can hold."""
    shown = "".join(char if char.isprintable() else "?" for char in name)[:MAX_NAME_CHARS]
    return Finding(subject=subject, name=shown or "?", engine=engine[:MAX_NAME_CHARS], risk=risk)
