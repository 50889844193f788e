"""Rules: made, removed, tested, back-tested, exported and imported."""

import json

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from secondlook.config.value import parse_duration
from secondlook.review.operations import Operations, Refused
from secondlook.review.pages import Frame, back_to, local_path

MOST_DAYS = 90


class RulePages:
    """Handlers of the rules."""

    def __init__(self, operations: Operations, frame: Frame) -> None:
        self.operations = operations
        self.frame = frame

    async def rules(self, request: Request) -> Response:
        """List all rules; test a URL or back-test a rule when asked to."""
        params = request.query_params
        test, backtest = params.get("test", "").strip(), params.get("backtest", "").strip()
        try:
            days = min(max(int(params.get("days") or 7), 1), MOST_DAYS)
            fired = await self.operations.test_rules(test) if test else []
            tested = await self.operations.backtest(backtest, days) if backtest else None
        except (Refused, ValueError) as error:
            return await self.frame.refuse(request, error)
        return await self.frame.show(
            request,
            "rules.html",
            rules=await self.operations.rules(),
            draft=params.get("draft"),
            test=test,
            fired=fired,
            backtest=backtest,
            days=days,
            tested=tested,
        )

    async def add(self, request: Request) -> Response:
        """Make a rule."""
        form = {name: str(value).strip() for name, value in (await request.form()).items()}
        for action in ("allow", "block"):  # a button in a row of the log names both by itself
            if action in form:
                form |= {"action": action, "subject": form[action]}
        try:
            for_s = parse_duration(form["for"]) if form.get("for") else None
            rule = await self.operations.add_rule(
                form.get("action", ""),
                form.get("subject", ""),
                for_s=for_s,
                client=form.get("client") or None,
                reason=form.get("reason") or None,
            )
        except (Refused, ValueError) as error:
            return await self.frame.refuse(request, error)
        done = "allowed" if rule["action"] == "allow" else "blocked"
        return back_to(local_path(form.get("back"), "/rules"), done, undo=str(rule["id"]))

    async def remove(self, request: Request) -> Response:
        """Remove a rule."""
        try:
            await self.operations.remove_rule(request.path_params["id"])
        except Refused as error:
            return await self.frame.refuse(request, error, 404)
        return back_to(local_path(str((await request.form()).get("back") or ""), "/rules"), "removed")

    async def export(self, _request: Request) -> Response:
        """Hand out all rules as JSON."""
        headers = {"content-disposition": 'attachment; filename="second-look-rules.json"'}
        return JSONResponse(await self.operations.rules(), headers=headers)

    async def import_(self, request: Request) -> Response:
        """Take in an export; all of it, or nothing."""
        form = await request.form()
        try:
            await self.operations.import_rules(json.loads(str(form.get("text", ""))))
        except json.JSONDecodeError as error:
            detail = f"import: this is no export of rules, which is JSON (line {error.lineno}: {error.msg})"
            return await self.frame.refuse(request, ValueError(detail))
        except (Refused, ValueError) as error:
            return await self.frame.refuse(request, error)
        return back_to("/rules", "imported")

    def routes(self) -> list[Route]:
        """Return the routes of the rules."""
        return [
            Route("/rules", self.rules),
            Route("/rules", self.add, methods=["POST"]),
            Route("/rules.json", self.export),
            Route("/rules/import", self.import_, methods=["POST"]),
            Route("/rules/{id}/remove", self.remove, methods=["POST"]),
        ]
