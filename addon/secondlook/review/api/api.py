"""The API under `/api/v1`: everything the pages do, as JSON; OpenAPI at `/api/v1/openapi.json`."""

import json
import time
from collections.abc import Iterator, Sequence
from http import HTTPStatus
from importlib.metadata import version
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, FastAPI, Path, Query, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Match
from starlette.types import Scope

from secondlook.ground.errors import LedgerError
from secondlook.review import words
from secondlook.review.api.model import (
    BacktestRecord,
    CheckRecord,
    ClientName,
    ClientRecord,
    ClientStatus,
    ClientToErase,
    Erased,
    EventPage,
    EventRecord,
    EventTail,
    ExportedRule,
    FeedStatus,
    LateVerdict,
    ListStatus,
    NewPause,
    NewRule,
    NotedVerdicts,
    Overview,
    Problem,
    QuarantineItem,
    QueuePage,
    QueueRecord,
    Report,
    Resumed,
    RuleRecord,
    ServerStatus,
    SetupFacts,
    Statistics,
)
from secondlook.review.api.problem import problem
from secondlook.review.api.settings_api import settings_routes
from secondlook.review.export import export as exported
from secondlook.review.filters import (
    CURSOR,
    MOST_EXCLUDED,
    NAMES,
    NOT,
    LogFilter,
    UnusableFilterError,
    wanted_of,
)
from secondlook.review.operations.operations import MOST_RULES_IMPORTED, Missing, Operations, Refused
from secondlook.review.session import COOKIE

type Id = Annotated[str, Path(min_length=1, max_length=64, pattern=r"^[0-9A-Za-z_-]+$")]
type Filter = Annotated[str, Query(max_length=512)]
type Limit = Annotated[int, Query(ge=1, le=1000)]
FILTERS = [
    {"name": name, "in": "query", "schema": {"type": "string", "maxLength": 512, "default": ""}}
    for name in NAMES
] + [
    {
        "name": NOT,
        "in": "query",
        "description": "NAME:VALUE of what is left out",
        "schema": {"type": "array", "items": {"type": "string"}, "maxItems": MOST_EXCLUDED, "default": []},
    }
]  # of the operations that read the query as a whole
SIGNED_IN = {
    "token": {"type": "http", "scheme": "bearer", "description": "`token` of run.json"},
    "session": {
        "type": "apiKey",
        "in": "cookie",
        "name": COOKIE,
        "description": "of a signed-in browser; what changes something needs X-CSRF-Token too",
    },
}
type Cursor = Annotated[str, Query(pattern=CURSOR)] | None

ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem, "content": {"application/problem+json": {}}}
    for status in (400, 401, 403, 404, 422, 503)
}


def create_api(operations: Operations) -> FastAPI:
    """Make the API over the operations."""
    api = FastAPI(
        title="Second Look",
        version=version("secondlook"),
        docs_url=None,
        redoc_url=None,
        responses=ERRORS,
        redirect_slashes=False,
    )
    routes: list[BaseRoute] = []
    _errors(api, routes)
    for part in (_log_text, _log, _late, _rules, _protection, _data, settings_routes):
        router = APIRouter()
        part(router, operations)
        api.include_router(router)
        routes += router.routes
    _document(api)
    return api


def _document(api: FastAPI) -> None:
    """Describe in the document how one signs in; the gate before the API sees to it."""
    written = api.openapi

    def openapi() -> dict[str, Any]:
        document = written()
        document["components"]["securitySchemes"] = SIGNED_IN
        document["security"] = [{name: []} for name in SIGNED_IN]
        return document

    api.openapi = openapi  # type: ignore[method-assign]


def _protection(api: APIRouter, operations: Operations) -> None:
    @api.get("/overview")
    async def overview() -> Overview:
        """Return whether protection is on and what needs attention."""
        return Overview.model_validate(await operations.overview())

    @api.get("/statistics")
    async def statistics(
        range_: Annotated[Literal["1h", "24h", "7d", "30d"], Query(alias="range")] = "24h",
        client: Annotated[ClientName | None, Query()] = None,
    ) -> Statistics:
        """Return counts over time and who and what has most of them, of everybody or of one client."""
        return Statistics.model_validate(await operations.statistics(range_, client))

    @api.get("/clients")
    async def clients(
        range_: Annotated[Literal["1h", "24h", "7d", "30d"], Query(alias="range")] = "7d",
    ) -> list[ClientStatus]:
        """Return the clients of a range of time, the one seen last first."""
        return [ClientStatus.model_validate(each) for each in await operations.clients(range_)]

    @api.get("/clients/{name}")
    async def client(name: Annotated[ClientName, Path()]) -> ClientRecord:
        """Return one client: what holds for it, what was made for it, its latest blocks and flags."""
        return ClientRecord.model_validate(await operations.client(name))

    @api.get("/check")
    async def check(
        subject: Annotated[str, Query(min_length=1, max_length=8192)],
        client: Annotated[ClientName | None, Query()] = None,
    ) -> CheckRecord:
        """Check a URL or a digest, as everybody or as one client sees it; writes no event."""
        return CheckRecord.model_validate(await operations.check(subject, client))

    @api.post("/pause", status_code=204)
    async def pause(asked: NewPause) -> None:
        """Pause protection for everybody or one client; it ends by itself."""
        await operations.pause(asked.minutes, asked.client)

    @api.post("/resume", status_code=204)
    async def resume(asked: Resumed | None = None) -> None:
        """End every pause, or those of one client."""
        await operations.resume(asked.client if asked is not None else None)


def _log_text(api: APIRouter, operations: Operations) -> None:
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
        return exported(operations.export(wanted_of(request).event_filter(time.time())), as_)

    @api.get("/events/tail", openapi_extra={"parameters": FILTERS})
    async def tail(request: Request, after: Cursor = None) -> EventTail:
        """Return events written after a cursor, and the next cursor: ask again and again to follow the log.

        Without `after` there are no events, only the cursor of now. The same filters as for events.
        """
        found, cursor = await operations.tail(wanted_of(request).event_filter(time.time()), after)
        return EventTail.model_validate({"events": found, "after": cursor})

    @api.get("/events/{event_id}/report")
    async def report(event_id: Id) -> Report:
        """Return a text to send to whoever keeps the list, about a mistake; nothing is sent."""
        found = await operations.event(event_id)
        if found is None:
            raise Missing("no such event")
        return Report(text=words.report(found))


def _log(api: APIRouter, operations: Operations) -> None:
    @api.get("/events")
    async def events(
        *,
        search: Filter = "",
        decision: Filter = "",
        kind: Filter = "",
        stage: Filter = "",
        threat: Filter = "",
        host: Filter = "",
        client: Filter = "",
        list_: Annotated[str, Query(alias="list", max_length=512)] = "",
        proxy: Filter = "",
        gateway: Filter = "",
        since: Filter = "",
        until: Filter = "",
        not_: Annotated[
            list[str],
            Query(alias=NOT, max_length=MOST_EXCLUDED, description="NAME:VALUE of what is left out"),
        ] = [],  # noqa: B006 (never changed)
        after: Cursor = None,
        before: Cursor = None,
        limit: Limit = 100,
    ) -> EventPage:
        """Return one page of the log, newest first."""
        asked = LogFilter.parse(
            {
                "search": search,
                "decision": decision,
                "kind": kind,
                "stage": stage,
                "threat": threat,
                "host": host,
                "client": client,
                "list": list_,
                "proxy": proxy,
                "gateway": gateway,
                "since": since,
                "until": until,
            },
            not_,
        )
        found = await operations.log(asked.event_filter(time.time()), after=after, before=before, limit=limit)
        return EventPage.model_validate({"events": found.events, "older": found.older, "newer": found.newer})

    @api.get("/events/{event_id}")
    async def event(event_id: Id) -> EventRecord:
        """Return one event."""
        found = await operations.event(event_id)
        if found is None:
            raise Missing("no such event")
        return EventRecord.model_validate(found)

    @api.get("/queue")
    async def queue(after: Cursor = None, limit: Limit = 100) -> QueuePage:
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


def _late(api: APIRouter, operations: Operations) -> None:
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


def _rules(api: APIRouter, operations: Operations) -> None:
    @api.get("/rules")
    async def rules() -> list[RuleRecord]:
        """Return all rules."""
        return [RuleRecord.model_validate(rule) for rule in await operations.rules()]

    @api.post("/rules", status_code=201)
    async def add_rule(rule: NewRule) -> RuleRecord:
        """Make a rule; it is in force within a second."""
        made = await operations.add_rule(
            rule.action, rule.subject, for_s=rule.for_s, client=rule.client, reason=rule.reason
        )
        return RuleRecord.model_validate(made)

    @api.post("/rules/import", status_code=204)
    async def import_rules(
        rules: Annotated[list[ExportedRule], Body(max_length=MOST_RULES_IMPORTED)],
    ) -> None:
        """Add rules as `GET /rules` gives them, all of them or none."""
        await operations.import_rules([rule.model_dump() for rule in rules])

    @api.delete("/rules/{rule_id}", status_code=204)
    async def remove_rule(rule_id: Id) -> None:
        """Remove a rule."""
        await operations.remove_rule(rule_id)

    @api.get("/rules/test")
    async def test_rules(url: Annotated[str, Query(min_length=1, max_length=8192)]) -> list[RuleRecord]:
        """Return every rule that fires for a URL, the deciding one first."""
        return [RuleRecord.model_validate(rule) for rule in await operations.test_rules(url)]

    @api.get("/rules/backtest")
    async def backtest(
        rule: Annotated[str, Query(min_length=1, max_length=4096)],
        days: Annotated[int, Query(ge=1, le=90)] = 7,
        action: Literal["allow", "block"] = "block",
    ) -> BacktestRecord:
        """Return what a rule, a list or a level would have changed in the last days of the log."""
        return BacktestRecord.model_validate(await operations.backtest(rule, days, action))


def _data(api: APIRouter, operations: Operations) -> None:
    @api.get("/quarantine")
    async def quarantine() -> list[QuarantineItem]:
        """Return the quarantined files."""
        return [QuarantineItem.model_validate(item) for item in await operations.quarantine()]

    @api.post("/quarantine/{item_id}/restore", status_code=204)
    async def restore(item_id: Id) -> None:
        """Put a file back where it was, and allow it."""
        await operations.restore(item_id)

    @api.delete("/quarantine/{item_id}", status_code=204)
    async def delete_quarantined(item_id: Id) -> None:
        """Delete a quarantined file for good."""
        await operations.delete_quarantined(item_id)

    @api.post("/clients/erase")
    async def erase_client(asked: ClientToErase) -> Erased:
        """Delete for good what was kept of one client; its rules stay."""
        return Erased(events=await operations.erase_client(asked.client))

    @api.get("/lists")
    async def lists() -> list[ListStatus]:
        """Return the lists of the pattern."""
        return [ListStatus.model_validate(item) for item in operations.program.lists()]

    @api.post("/lists/update", status_code=202)
    async def update(force: bool = False) -> None:
        """Fetch the lists now; `force`: also what a rollback gave up."""
        await operations.program.update(force=force)

    @api.get("/servers")
    async def servers() -> list[ServerStatus]:
        """Return the Smart Protection Servers."""
        return [ServerStatus.model_validate(item) for item in operations.program.servers()]

    @api.get("/setup")
    async def setup() -> SetupFacts:
        """Return what is needed to use the proxy."""
        return SetupFacts.model_validate(await operations.setup())

    @api.get("/feeds")
    async def feeds() -> list[FeedStatus]:
        """Return the feeds of the embedded server."""
        return [FeedStatus.model_validate(item) for item in operations.program.feeds()]


def _errors(api: FastAPI, routes: Sequence[BaseRoute]) -> None:
    """Give every error the one shape."""

    @api.exception_handler(RequestValidationError)
    async def invalid(_request: Request, error: RequestValidationError) -> JSONResponse:
        return problem(422, "unusable request", "; ".join(_complaints(error)))

    @api.exception_handler(UnusableFilterError)
    async def unusable(_request: Request, error: UnusableFilterError) -> JSONResponse:
        return problem(400, "unusable filter", str(error))

    @api.exception_handler(Refused)
    async def refused(_request: Request, error: Refused) -> JSONResponse:
        return problem(404 if isinstance(error, Missing) else 400, "refused", str(error))

    @api.exception_handler(LedgerError)
    async def away(_request: Request, error: LedgerError) -> JSONResponse:
        return problem(503, "the ledger does not answer", str(error))

    @api.exception_handler(HTTPException)
    async def other(request: Request, error: HTTPException) -> JSONResponse:
        answer = problem(error.status_code, "refused", str(error.detail))
        answer.headers.update(error.headers or {})
        if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            answer.headers["allow"] = ", ".join(_methods(routes, request.scope))
        return answer


def _methods(routes: Sequence[BaseRoute], scope: Scope) -> list[str]:
    """Name what may be asked at a path: each method has a route of its own, and the router names one."""
    found: set[str] = set()
    for route in routes:
        if route.matches(scope)[0] is not Match.NONE:
            found |= getattr(route, "methods", None) or set()
    return sorted(found)


def _complaints(error: RequestValidationError) -> Iterator[str]:
    for fault in error.errors():
        where = ".".join(str(part) for part in fault["loc"])
        got = json.dumps(fault.get("input"), default=str)[:80]
        yield f"{where}: {fault['msg'].lower()}, got {got}"
