"""The findings that are not listed: those that wait for approval, and those that were withdrawn.

A listed finding is an own entry (`store.manual_entries`) whose `who` names the agent. A withdrawn one stays
here, so that the next agent that finds the same does not list it again.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import Literal

from secondlook.ground.errors import PatternError
from secondlook.ground.files import write_whole
from secondlook.ground.json_text import read_json
from secondlook.server.store.manual_entries import BY_AGENT, ManualScope
from secondlook.server.store.store import ServerStore, dump_json

BOOK = "findings.json"  # in the server's folder
MOST_KEPT = 10_000  # waiting and withdrawn ones

type FindingState = Literal["waiting", "withdrawn", "listed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptFinding:
    """One finding; `text` and `scope` are those of a `ManualEntry`, `at` is in Unix seconds."""

    id: str
    state: FindingState
    scope: ManualScope
    text: str
    list: str
    name: str
    engine: str
    agent: str
    address: str
    at: float
    count: int = 1  # how often it was reported

    @property
    def mark(self) -> str:
        """A mark of what it is about: once it is gone, another finding may get its id."""
        return sha256(f"{self.scope} {self.text}".encode()).hexdigest()[:32]

    @property
    def who(self) -> str:
        """The agent as own entries name who made them."""
        return f"{BY_AGENT}{self.agent} ({self.address})"

    @property
    def reason(self) -> str:
        """What was found, as own entries give their reason."""
        return f"{self.engine}: {self.name}"


def read_findings(store: ServerStore) -> list[KeptFinding]:
    """Read every kept finding, oldest first; raises PatternError for a damaged file."""
    path = store.root / BOOK
    try:
        return [KeptFinding(**raw) for raw in read_json(path.read_bytes())]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, TypeError) as error:
        raise PatternError(f"cannot read {path}: {error}") from error


def write_findings(store: ServerStore, findings: Sequence[KeptFinding]) -> None:
    """Write every kept finding; the caller holds the writer's lock."""
    write_whole(store.root / BOOK, dump_json([asdict(each) for each in findings]))


def next_finding_id(findings: Sequence[KeptFinding]) -> str:
    """Return an identity that no finding has."""
    return f"found-{max((int(each.id.removeprefix('found-')) for each in findings), default=0) + 1}"
