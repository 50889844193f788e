"""The log: a page of it, one entry in full, the live tail and the export, all by one filter."""

import json
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from secondlook.core.display import shown_host
from secondlook.core.event import EVENT_FIELDS
from secondlook.core.event_field import Form
from secondlook.core.verdict import Action
from secondlook.ground.instant import rfc3339
from secondlook.ledger.log.filter import EventFilter
from secondlook.review import words
from secondlook.review.export import export
from secondlook.review.filters import (
    CHOICES,
    LIVE_CURSOR,
    NAMES,
    NOT,
    LogFilter,
    UnusableFilterError,
    parse_cursor,
    wanted_of,
)
from secondlook.review.operations.log_operations import LogPage
from secondlook.review.operations.refused import Missing
from secondlook.review.pages.frame import Handlers, back_to, local_path
from secondlook.review.pages.log_view import OLDEST, LogView, Row
from secondlook.review.pages.render import NO_FAULTS, fragment
from secondlook.review.pages.rule_pages import lasting

PAGE = 100

FACTS = tuple((field.label, field.name) for field in EVENT_FIELDS if field.label is not None)
EXTRA_NAMES = {"age_s": "List age (s)"}
APART = frozenset({"steps", "let_through"})
"""Shown elsewhere on the page of an entry."""
SPOKEN = frozenset(field.name for field in EVENT_FIELDS if field.form is Form.WORD)


class LogPages(Handlers):
    """Handlers of the log."""

    async def log(self, request: Request) -> Response:
        """Show one page of the log; what cannot be understood is shown beside its field."""
        params = request.query_params
        excluded = params.getlist(NOT)
        try:
            view = LogView.parse(params, excluded)
            wanted = view.asked.event_filter(time.time())
            places = {at: parse_cursor(params.get(at)) for at in ("after", "before")}
        except UnusableFilterError as error:
            if error.field not in NAMES:
                return await self.frame.refuse(request, error)
            typed = LogView(LogFilter.typed(params))
            faults = {str(error.field): error.message}
            return await self._show(request, typed, LogPage([], None, None), {}, faults)
        return await self._show(request, view, await self._page(view, wanted, places), places)

    async def _page(self, view: LogView, wanted: EventFilter, places: Mapping[str, str | None]) -> LogPage:
        return await self.operations.log.page(
            wanted,
            after=places["after"],
            before=places["before"],
            limit=PAGE,
            oldest_first=view.sort == OLDEST,
        )

    async def _show(
        self,
        request: Request,
        view: LogView,
        found: LogPage,
        places: Mapping[str, str | None],
        faults: Mapping[str, str] = NO_FAULTS,
    ) -> Response:
        older, newer = ("before", "after") if view.sort == OLDEST else ("after", "before")
        return await self.frame.show(
            request,
            "log.html",
            view=view,
            f=view.asked,
            faults=faults,
            chips=list(view.chips(await self.operations.titles())),
            rows=view.rows(found.events),
            query=view.asked.query(),
            back="/log?" + view.query(**places),
            older=found.older and view.query(**{older: found.older}),
            newer=found.newer and view.query(**{newer: found.newer}),
            live_from=await self.operations.log.end() if not faults else "",
            live_possible=not (any(places.values()) or view.sort or faults),
            kinds=CHOICES["kind"],
            stages=CHOICES["stage"],
            threats=CHOICES["threat"],
            shared=self.operations.program.shared_as is not None,
            gateways=self.operations.program.gateways,
        )

    async def decide(self, request: Request) -> Response:
        """Make a rule for each of the chosen entries: for its address or file, or for its host."""
        form = await request.form()
        back = local_path(str(form.get("back") or ""), "/log")
        rules = await self.operations.rules.decide(
            [str(each) for each in form.getlist("id")],
            str(form.get("action") or ""),
            hosts=form.get("reach") == "host",
            for_s=lasting(str(form.get("for") or "")),
        )
        done = "allowed" if rules[0]["action"] == Action.ALLOW else "blocked"
        return back_to(back, done, undo=".".join(str(rule["id"]) for rule in rules))

    async def entry(self, request: Request) -> Response:
        """Show everything about one event, and what can be done about it."""
        event = await self.operations.log.find(request.path_params["id"])
        if event is None:
            raise Missing("no such event: it may have been deleted")
        return await self.frame.show(
            request,
            "entry.html",
            e=event,
            sentence=words.sentence(event, titles=await self.operations.titles()),
            facts=list(facts(event)),
            steps_=(event.get("extra") or {}).get("steps", []),
            visits=[
                {
                    "who": visit.get("user") or visit.get("client") or "somebody",
                    "time": rfc3339(visit["time"]),
                }
                for visit in (event.get("extra") or {}).get("let_through", ())
            ],
            choices=[] if event.get("stage") in words.UNLIFTED else words.choices(event),
            unlifted=event.get("stage") in words.UNLIFTED,
            report=words.report(event) if event.get("list") else None,
        )

    async def live(self, request: Request) -> Response:
        """Send new events as finished table rows, by server-sent events.

        Each carries the place in the log as its id: a browser that lost the connection goes on from there.
        """
        after = request.headers.get("last-event-id") or request.query_params.get("after")
        try:
            view = LogView.parse(request.query_params, request.query_params.getlist(NOT))
            wanted = view.asked.event_filter(time.time())
            after = parse_cursor(after, LIVE_CURSOR)
        except UnusableFilterError as error:
            return PlainTextResponse(str(error), status_code=400)

        async def stream() -> AsyncIterator[str]:
            yield "retry: 2000\n\n"
            async for events, place in self.operations.log.follow(wanted, after):
                shared = {
                    "view": view,
                    "titles": await self.operations.titles(),
                    "names": self.operations.names(),
                }
                rows = [fragment("log_rows.html", rows=[Row(event)], **shared) for event in events]
                yield f"id: {place}\n" + (f"data: {json.dumps(rows)}\n\n" if rows else ": still here\n\n")

        return StreamingResponse(
            stream(), media_type="text/event-stream", headers={"x-accel-buffering": "no"}
        )

    async def export_csv(self, request: Request) -> Response:
        """Stream the filtered log as CSV, oldest first."""
        return self._export(request, "csv")

    async def export_json(self, request: Request) -> Response:
        """Stream the filtered log as JSON Lines, oldest first."""
        return self._export(request, "jsonl")

    def _export(self, request: Request, form: str) -> Response:
        try:
            wanted = wanted_of(request).event_filter(time.time())
        except UnusableFilterError as error:
            return PlainTextResponse(str(error), status_code=400)
        return export(self.operations.log.export(wanted), form)

    def routes(self) -> list[Route]:
        """Return the routes of the log."""
        return [
            Route("/log", self.log),
            Route("/log/decide", self.decide, methods=["POST"]),
            Route("/log.live", self.live),
            Route("/log.csv", self.export_csv),
            Route("/log.jsonl", self.export_json),
            Route("/log/{id}", self.entry),
        ]


def facts(event: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the name and the text of everything an event holds."""
    for name, key in FACTS:
        value = event.get(key)
        if value is None or value == "" or value is False or (key, value) == ("attempts", 0):
            continue
        if key == "decision" and words.plain(value) == words.plain(event.get("kind")):
            continue
        if key == "size":
            yield name, f"{value:,} bytes ({words.size(value)})"
        elif key == "host":
            yield name, shown_host(f"//{value}")
        else:
            yield name, words.plain(value) if key in SPOKEN else _text(value)
    for name, value in (event.get("extra") or {}).items():
        if name not in APART and value not in (None, "", [], {}, event.get("detail")):
            yield EXTRA_NAMES.get(name) or name.replace("_", " ").capitalize(), _text(value)


def _text(value: object) -> str:
    match value:
        case bool():
            return "yes" if value else "no"
        case list() if all(isinstance(item, str) for item in value):
            return ", ".join(value)
        case list() if all(isinstance(item, dict) and "action" in item for item in value):
            return "; ".join(f"{item['action']}: {item.get('detail') or 'done'}" for item in value)
        case list() | dict():
            return json.dumps(value)
        case _:
            return str(value)
