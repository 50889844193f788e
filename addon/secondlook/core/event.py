"""Ledger records: what happened, what waits for a second look, the operator's rules.

Field names are the contract's (`log --json`, `queue list --json`, `rules list --json`);
unknown values are None, never missing. Instants are Unix seconds (UTC) here and RFC 3339 outside.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Final, NamedTuple

from secondlook.core.event_field import Field, Form, Reveals, fields_of
from secondlook.core.subject import SubjectKind
from secondlook.core.verdict import SubjectClass
from secondlook.ground.quickly import quickly_made


class EventKind(StrEnum):
    """Every kind of event the ledger holds."""

    CHECK = "check"
    BLOCKED = "blocked"
    FLAGGED = "flagged"
    CONFIRMED = "confirmed"
    WITHDRAWN = "withdrawn"
    CLEARED = "cleared"
    EXPIRED = "expired"
    LATE_VERDICT = "late_verdict"
    PAUSED = "paused"
    OVERRIDDEN = "overridden"
    WOULD_BLOCK = "would_block"
    ACTION = "action"
    UPDATE = "update"
    SERVER = "server"
    ERROR = "error"


@quickly_made
@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One line of the log; `id` is given by the ledger (a ULID-like sortable string) or by the caller.

    How a field is added, and what is made from its annotation, is in CONTRIBUTING.md#a-field-of-an-event.
    The order is that of the page of an entry.
    """

    id: Annotated[str, Field(Form.CODE)]
    time: Annotated[float, Field(Form.MOMENT)]
    kind: Annotated[EventKind, Field(Form.WORD, "What")]
    decision: Annotated[str | None, Field(Form.WORD, "Decision")] = None
    subject: Annotated[SubjectKind | None, Field(Form.WORD)] = None
    url: Annotated[str | None, Field(Form.URL, "URL", Reveals.PAGE)] = None
    host: Annotated[str | None, Field(Form.TEXT, "Host", Reveals.VISIT)] = None
    method: Annotated[str | None, Field(Form.TEXT, "Method", Reveals.VISIT)] = None
    cls: Annotated[SubjectClass | None, Field(Form.WORD, "Class", name="class")] = None
    client: Annotated[str | None, Field(Form.TEXT, "Client", Reveals.VISIT)] = None
    user: Annotated[str | None, Field(Form.TEXT, "User", Reveals.VISIT)] = None
    referrer: Annotated[str | None, Field(Form.URL, "Referrer", Reveals.PAGE)] = None
    filename: Annotated[str | None, Field(Form.TEXT, "File", Reveals.PAGE)] = None
    content_type: Annotated[str | None, Field(Form.TEXT, "Type", Reveals.VISIT)] = None
    size: Annotated[int | None, Field(Form.SIZE, "Size")] = None
    sha256: Annotated[str | None, Field(Form.CODE, "SHA-256")] = None
    verdict: Annotated[str | None, Field(Form.WORD, "Verdict")] = None
    risk: Annotated[str | None, Field(Form.WORD, "Risk")] = None
    threat: Annotated[str | None, Field(Form.WORD, "Threat")] = None
    stage: Annotated[str | None, Field(Form.WORD, "Stage")] = None
    list: Annotated[str | None, Field(Form.TEXT, "List")] = None
    rule: Annotated[str | None, Field(Form.TEXT, "Rule")] = None
    server: Annotated[str | None, Field(Form.TEXT, "Server")] = None
    stale: Annotated[bool | None, Field(Form.FLAG, "Stale")] = None
    elapsed_ms: Annotated[float | None, Field(Form.MILLISECONDS, "Decided in (ms)")] = None
    attempts: Annotated[int | None, Field(Form.COUNT, "Attempts")] = None
    # of the subject, 32 bytes: by it a later verdict finds this event at every privacy level
    identity: Annotated[bytes | None, Field(Form.DIGEST)] = None
    # of an event about the program itself it is kept at every level (`ledger.log.privacy`)
    detail: Annotated[str | None, Field(Form.TEXT, "Detail", Reveals.PAGE)] = None
    # explanation steps, digests, archive member
    extra: Annotated[dict[str, object] | None, Field(Form.JSON, reveals=Reveals.PAGE)] = None
    # given by the ledger that writes it
    proxy: Annotated[str | None, Field(Form.TEXT, "Proxy")] = None
    # through which its request came, where another proxy carries the traffic and asks
    gateway: Annotated[str | None, Field(Form.TEXT, "Gateway", Reveals.VISIT)] = None


EVENT_FIELDS: Final = tuple(fields_of(Event))


@dataclass(frozen=True, slots=True, kw_only=True)
class FlagEntry:
    """A subject let through unverified, before it is in the queue."""

    identity: bytes  # 32 bytes
    kind: SubjectKind
    cls: SubjectClass
    hashes: tuple[bytes, ...]  # every full hash to ask about, identity first
    url: str | None
    host: str | None
    client: str | None
    time: float
    reason: str
    sha256: str | None = None
    filename: str | None = None
    size: int | None = None
    labels: tuple[str, ...] = ()  # of the hashes of a file


class Remembered(NamedTuple):
    """What is needed of a subject that was allowed to find it among newer findings; there are millions."""

    identity: bytes
    kind: SubjectKind
    hashes: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueEntry:
    """A flagged subject in the queue; one per identity."""

    id: str
    identity: bytes
    kind: SubjectKind
    cls: SubjectClass
    hashes: tuple[bytes, ...]
    url: str | None
    host: str | None
    sha256: str | None
    filename: str | None
    size: int | None
    clients: tuple[str, ...]
    count: int
    first_seen: float
    last_seen: float
    attempts: int
    next_attempt: float
    reason: str
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfirmedEntry:
    """A subject that a recheck or an answer found malicious: stage 2 of every check."""

    identity: bytes  # of the subject (what was asked about)
    hit: bytes  # the full hash that is listed
    kind: SubjectKind
    verdict: str
    risk: str
    threat: str | None
    list: str | None
    server: str | None
    source: str | None
    confirmed_at: float
    expires_at: float | None  # asked again then
    url: str | None = None
    host: str | None = None
    sha256: str | None = None
    filename: str | None = None
    size: int | None = None
    expression: str | None = None
    tier: str | None = None  # value of core.answer.Tier that listed it; None: the local pattern alone
    cls: SubjectClass | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class QuarantineRecord:
    """One file taken out of a download folder; written (`moving`) before the file is touched."""

    id: str
    state: str  # moving | held | restored | deleted | failed
    sha256: str
    size: int
    path: str  # where it stood
    stored_as: str  # file name inside the quarantine folder
    mode: int  # permission bits it had
    modified_at: float
    moved_at: float
    threat: str | None = None
    list: str | None = None
    url: str | None = None
    client: str | None = None
    identity: bytes | None = None
    detail: str | None = None
    proxy: str | None = None  # name of the one on whose machine it lies
