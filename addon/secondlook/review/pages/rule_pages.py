"""Rules: made, removed, tested, back-tested, exported and imported."""

import json
from collections.abc import Mapping, Sequence

from pydantic_core import PydanticCustomError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from secondlook.config.value import parse_span
from secondlook.ground.json_text import read_json
from secondlook.review.operations.refused import Refused
from secondlook.review.pages.frame import Handlers, back_to, local_path
from secondlook.review.program import Json

MOST_DAYS = 90


def lasting(text: str | None) -> float | None:
    """Read how long a rule holds; nothing is for ever. Raises Refused."""
    try:
        return parse_span(text) if text else None
    except PydanticCustomError as error:
        raise Refused(error.message(), "for") from None


class RulePages(Handlers):
    """Handlers of the rules."""

    async def rules(self, request: Request) -> Response:
        """List all rules; test a URL or back-test a rule when asked to."""
        params = request.query_params
        typed = {"subject": params.get("draft", ""), "days": "7", **params}
        test, backtest = params.get("test", "").strip(), params.get("backtest", "").strip()
        faults: dict[str, str] = {}
        fired: list[Json] = []
        tested: Json | None = None
        days = params.get("days") or "7"
        if not (days.isdecimal() and len(days) <= len(str(MOST_DAYS)) and 1 <= int(days) <= MOST_DAYS):
            faults["days"] = f"expected days, from 1 to {MOST_DAYS}"
        try:
            fired = await self.operations.rules.firing(test) if test else []
        except (Refused, ValueError) as error:
            faults["test"] = str(error)
        try:
            if backtest and not faults:
                action = "allow" if params.get("action") == "allow" else "block"
                tested = await self.operations.rules.backtest(backtest, int(days), action)
        except Refused as error:
            faults["backtest"] = str(error)
        return await self._show(request, typed, faults, fired=fired, tested=tested)

    async def _show(
        self,
        request: Request,
        typed: Mapping[str, str],
        faults: Mapping[str, str],
        *,
        fired: Sequence[Json] = (),
        tested: Json | None = None,
    ) -> Response:
        """Show the page with what was typed, and beside each field what is wrong with it."""
        return await self.frame.show(
            request,
            "rules.html",
            rules=await self.operations.rules.all(),
            typed=typed,
            faults=faults,
            fired=fired,
            tested=tested,
        )

    async def add(self, request: Request) -> Response:
        """Make a rule; what cannot be understood is shown beside its field."""
        form = {name: str(value).strip() for name, value in (await request.form()).items()}
        for action in ("allow", "block"):  # a button in a row of the log names both by itself
            if action in form:
                form |= {"action": action, "subject": form[action]}
        try:
            rule = await self.operations.rules.add(
                form.get("action", ""),
                form.get("subject", ""),
                for_s=lasting(form.get("for")),
                client=form.get("client") or None,
                reason=form.get("reason") or None,
            )
        except Refused as error:
            return await self._show(request, form, {error.field or "subject": str(error)})
        done = "allowed" if rule["action"] == "allow" else "blocked"
        return back_to(local_path(form.get("back"), "/rules"), done, undo=str(rule["id"]))

    async def remove(self, request: Request) -> Response:
        """Remove a rule."""
        form = await request.form()
        await self.operations.rules.remove(request.path_params["id"])
        return back_to(local_path(str(form.get("back") or ""), "/rules"), "removed")

    async def undo(self, request: Request) -> Response:
        """Take back the rules that a form names: some may be gone already."""
        form = await request.form()
        await self.operations.rules.undo(*map(str, form.getlist("id")))
        return back_to(local_path(str(form.get("back") or ""), "/rules"), "undone")

    async def export(self, _request: Request) -> Response:
        """Hand out all rules as JSON."""
        headers = {"content-disposition": 'attachment; filename="second-look-rules.json"'}
        return JSONResponse(await self.operations.rules.all(), headers=headers)

    async def import_(self, request: Request) -> Response:
        """Take in an export; all of it, or nothing."""
        text = str((await request.form()).get("text", ""))
        try:
            await self.operations.rules.import_all(read_json(text))
        except json.JSONDecodeError as error:
            detail = f"this is no export of rules, which is JSON (line {error.lineno}: {error.msg})"
            return await self._show(request, {"text": text}, {"text": detail})
        except (Refused, ValueError) as error:
            return await self._show(request, {"text": text}, {"text": str(error)})
        return back_to("/rules", "imported")

    def routes(self) -> list[Route]:
        """Return the routes of the rules."""
        return [
            Route("/rules", self.rules),
            Route("/rules", self.add, methods=["POST"]),
            Route("/rules.json", self.export),
            Route("/rules/import", self.import_, methods=["POST"]),
            Route("/rules/undo", self.undo, methods=["POST"]),
            Route("/rules/{id}/remove", self.remove, methods=["POST"]),
        ]
