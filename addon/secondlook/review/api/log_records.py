"""Records of the log and the queue; events are made of the fields of `core.event`."""

from typing import TYPE_CHECKING, Annotated, Any, Final

from pydantic import ConfigDict, Field, StringConstraints, create_model

from secondlook.core.event import EVENT_FIELDS
from secondlook.core.event_field import Form
from secondlook.ledger.log.shape import ALL_EVENT_KEYS
from secondlook.review.api.record import Moment, Record

_VALUES: Final[dict[Form, Any]] = {
    Form.CODE: str,
    Form.WORD: str,
    Form.TEXT: str,
    Form.URL: str,
    Form.MOMENT: Moment,
    Form.MILLISECONDS: float,
    Form.SIZE: int,
    Form.COUNT: int,
    Form.FLAG: bool,
    Form.JSON: dict[str, object],
}


def _event_fields() -> dict[str, Any]:
    """Return the fields of the API's events, made of those of an event in the order of their JSON."""
    described: dict[str, Any] = {}
    for field in sorted(EVENT_FIELDS, key=lambda field: ALL_EVENT_KEYS.index(field.name)):
        if field.form is Form.DIGEST:
            continue
        value = _VALUES[field.form]
        described[field.name] = (value | None if field.optional else value, ...)
    return described


if TYPE_CHECKING:  # what is made when the module is imported, a type checker cannot know
    _EventFields = Record
else:
    _EventFields = create_model("_EventFields", __base__=Record, **_event_fields())


class EventRecord(_EventFields):
    """One event of the log."""


class EventPage(Record):
    """A page of the log, newest first; `older` and `newer` go into `after` and `before`."""

    events: list[EventRecord]
    older: str | None
    newer: str | None


class EventTail(Record):
    """New events in the order of writing; `after` is where to go on."""

    events: list[EventRecord]
    after: str


class Report(Record):
    """A text about a mistake, to be sent by a person."""

    text: str


class QueueRecord(Record):
    """One flagged subject that waits for its second look."""

    id: str
    subject: str
    class_: str | None = Field(alias="class")
    url: str | None
    host: str | None
    sha256: str | None
    filename: str | None
    size: int | None
    clients: list[str]
    count: int
    first_seen: Moment
    last_seen: Moment
    attempts: int
    next_attempt: Moment | None
    reason: str | None


class QueuePage(Record):
    """A page of the queue, oldest first."""

    waiting: int
    entries: list[QueueRecord]
    after: str | None


class Passed(Record):
    """Who was let through, and when."""

    client: str | None
    user: str | None
    time: Moment


class LateVerdict(EventRecord):
    """Something that was let through and turned out bad, not yet acknowledged by the reader."""

    visited_at: Moment | None
    let_through: list[Passed]
    unchecked: bool  # nobody could answer then; else nothing bad was known


class NotedVerdicts(Record):
    """Late verdicts that the reader knows of: one, and all before it."""

    model_config = ConfigDict(extra="forbid")

    newest: Annotated[str, StringConstraints(min_length=1, max_length=64)]
