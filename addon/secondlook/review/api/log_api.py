"""The log, the queue and late verdicts as JSON."""

import time
from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response, StreamingResponse

from secondlook.review import words
from secondlook.review.api.log_records import (
    EventPage,
    EventRecord,
    EventTail,
    LateVerdict,
    NotedVerdicts,
    QueuePage,
    QueueRecord,
    Report,
)
from secondlook.review.api.record import Id, Limit
from secondlook.review.export import export as exported
from secondlook.review.filters import CURSOR, LIVE_CURSOR, LONGEST, MOST_EXCLUDED, NAMES, NOT, wanted_of
from secondlook.review.operations.operations import QUEUE_CURSOR, Operations
from secondlook.review.operations.refused import Missing

type Cursor = Annotated[str, Query(pattern=CURSOR)] | None
type QueueCursor = Annotated[str, Query(pattern=QUEUE_CURSOR)] | None
type TailCursor = Annotated[str, Query(pattern=f"{CURSOR}|{LIVE_CURSOR}")] | None

FILTERS = [
    {"name": name, "in": "query", "schema": {"type": "string", "maxLength": LONGEST, "default": ""}}
    for name in NAMES
] + [
    {
        "name": NOT,
        "in": "query",
        "description": "NAME:VALUE of what is left out",
        "schema": {"type": "array", "items": {"type": "string"}, "maxItems": MOST_EXCLUDED, "default": []},
    }
]  # of the operations that read the query as a whole


def log_text_routes(api: APIRouter, operations: Operations) -> None:
    """Add exports, what is new, and reports: before the log, where their paths would be ids."""

    @api.get(
        "/events/export",
        response_class=StreamingResponse,
        responses={200: {"content": {"text/csv": {}, "application/jsonl": {}}}},
        openapi_extra={"parameters": FILTERS},
    )
    async def export(
        request: Request, as_: Annotated[str, Query(alias="as", pattern="^(csv|jsonl)$")] = "jsonl"
    ) -> Response:
        """Stream the filtered log, oldest first, as CSV or JSON Lines; the same filters as for events."""
        return exported(operations.log.export(wanted_of(request).event_filter(time.time())), as_)

    @api.get("/events/tail", openapi_extra={"parameters": FILTERS})
    async def tail(request: Request, after: TailCursor = None) -> EventTail:
        """Return events written after a cursor, and the next cursor: ask again and again to follow the log.

        Without `after` there are no events, only the cursor of now. The same filters as for events.
        """
        found, cursor = await operations.log.tail(wanted_of(request).event_filter(time.time()), after)
        return EventTail.model_validate({"events": found, "after": cursor})

    @api.get("/events/{event_id}/report")
    async def report(event_id: Id) -> Report:
        """Return a text to send to whoever keeps the list, about a mistake; nothing is sent."""
        found = await operations.log.find(event_id)
        if found is None:
            raise Missing("no such event")
        return Report(text=words.report(found))


def log_routes(api: APIRouter, operations: Operations) -> None:
    """Add the log and the queue."""

    @api.get("/events", openapi_extra={"parameters": FILTERS})
    async def events(
        request: Request, after: Cursor = None, before: Cursor = None, limit: Limit = 100
    ) -> EventPage:
        """Return one page of the log, newest first."""
        wanted = wanted_of(request).event_filter(time.time())
        found = await operations.log.page(wanted, after=after, before=before, limit=limit)
        return EventPage.model_validate({"events": found.events, "older": found.older, "newer": found.newer})

    @api.get("/events/{event_id}")
    async def event(event_id: Id) -> EventRecord:
        """Return one event."""
        found = await operations.log.find(event_id)
        if found is None:
            raise Missing("no such event")
        return EventRecord.model_validate(found)

    @api.get("/queue")
    async def queue(after: QueueCursor = None, limit: Limit = 100) -> QueuePage:
        """Return a page of what waits for a second look, oldest first."""
        entries, cursor = await operations.queue(after, limit)
        return QueuePage.model_validate(
            {"waiting": await operations.waiting(), "entries": entries, "after": cursor}
        )

    @api.get("/queue/closed")
    async def closed(limit: Limit = 100) -> list[EventRecord]:
        """Return how the latest flagged subjects ended, newest first."""
        return [EventRecord.model_validate(event) for event in await operations.closings(limit)]

    @api.get("/queue/{entry_id}")
    async def queue_entry(entry_id: Id) -> QueueRecord:
        """Return one subject that waits for its second look."""
        return QueueRecord.model_validate(await operations.waiting_entry(entry_id))

    @api.post("/queue/verify", status_code=202)
    async def verify() -> None:
        """Look at everything that is flagged now."""
        await operations.program.verify()


def late_routes(api: APIRouter, operations: Operations) -> None:
    """Add the late verdicts."""

    @api.get("/late-verdicts")
    async def late_verdicts() -> list[LateVerdict]:
        """Return what was let through, turned out bad, and has not been noted yet."""
        return [LateVerdict.model_validate(event) for event in await operations.late.fresh()]

    @api.post("/late-verdicts/{event_id}/seen", status_code=204)
    async def late_seen(event_id: Id) -> None:
        """Note a late verdict: it is taken off the top of the pages."""
        await operations.late.note(event_id)

    @api.post("/late-verdicts/seen", status_code=204)
    async def late_all_seen(noted: NotedVerdicts) -> None:
        """Note one late verdict and all before it."""
        if not await operations.late.note_all(noted.newest):
            raise Missing("no such late verdict: it may have been noted already")
